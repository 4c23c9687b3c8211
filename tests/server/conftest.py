"""A store that has run before: what a first start makes takes most of a start, and few tests are about that."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.postgres import throwaway_folder
from tests.ports import free_port
from tests.server.processes_seen import environment, running


@pytest.fixture(scope="session")
def kept_data() -> Iterator[Path]:
    """The data folder of a store that was started with ``run`` and ended, to be copied."""
    folder = throwaway_folder()
    folder.chmod(0o755)
    with running(("run",), environment(folder / "var", free_port()), folder / "log") as program:
        program.wait_until_ready()
    yield folder / "var"
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def used_data_dir(data_dir: Path, kept_data: Path) -> Path:
    """A ``data_dir`` in which a store has run before."""
    subprocess.run(["cp", "-a", kept_data, data_dir], check=True)
    return data_dir
