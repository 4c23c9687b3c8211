"""A place for the data of a program under test."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A data folder that every user of the machine can reach, as PostgreSQL must when root runs the tests.

    Its parent is free for other files of the test.
    """
    folder = Path(tempfile.mkdtemp(prefix="youli-test-"))
    folder.chmod(0o755)
    yield folder / "var"
    shutil.rmtree(folder, ignore_errors=True)
