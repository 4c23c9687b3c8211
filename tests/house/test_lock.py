"""The lock files hold what pyproject.toml asks for, and no trace of the machine they were made on."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", re.MULTILINE)
LOCKS = {"requirements.lock": ("engines",), "requirements-dev.lock": ("engines", "dev")}


def pins(lock: str) -> dict[str, Version]:
    """Each locked library and its version."""
    return {_name(name): Version(version) for name, version in PINNED.findall((ROOT / lock).read_text())}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_is_locked_at_a_version_it_allows(lock: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(line for extra in LOCKS[lock] for line in project["optional-dependencies"][extra]),
    ]
    locked = pins(lock)
    for requirement in map(Requirement, wanted):
        assert locked[_name(requirement.name)] in requirement.specifier, requirement


def test_the_development_lock_agrees_with_the_runtime_lock() -> None:
    development = pins("requirements-dev.lock")
    assert pins("requirements.lock").items() <= development.items()


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_index_and_no_place(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert "--index" not in text
    assert " @ " not in text
    assert len(PINNED.findall(text)) <= text.count("--hash=sha256:")


def _name(written: str) -> str:
    return re.sub(r"[-_.]+", "-", written).lower()
