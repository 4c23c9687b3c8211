"""The files of the rooms lie in groups: the same for a stem in every room, and none too long to be read."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("loyalty", "resolvers", "models", "schema")
MOST = 25
"""How many files a folder may have: about twenty, and some to grow."""


def grouped() -> dict[str, set[str]]:
    """The groups in which each stem lies, over all rooms."""
    found: dict[str, set[str]] = {}
    for room in ROOMS:
        for path in (ROOT / room).glob("*/*.py"):
            if path.parent.name != "migrations" and path.name != "__init__.py":
                found.setdefault(path.stem, set()).add(path.parent.name)
    return found


def test_a_stem_lies_in_the_same_group_in_every_room() -> None:
    assert {stem: groups for stem, groups in grouped().items() if len(groups) > 1} == {}


def test_no_folder_of_a_room_is_too_long() -> None:
    sizes = {
        folder.relative_to(ROOT): len(list(folder.glob("*.py")))
        for room in ROOMS
        for folder in (ROOT / room, *(path.parent for path in (ROOT / room).glob("*/__init__.py")))
        if folder.name != "migrations"
    }
    assert {folder: size for folder, size in sizes.items() if size > MOST} == {}


def test_tests_lie_in_the_groups_of_their_room() -> None:
    groups = set().union(*grouped().values())
    for room in ROOMS:
        folders = {path.parent for path in (ROOT / "tests" / room).glob("*/test_*.py")}
        assert {folder.name for folder in folders} <= groups, room


def test_every_group_is_a_package_that_says_what_it_is() -> None:
    groups = set().union(*grouped().values())
    for room in ROOMS:
        for group in groups:
            folder = ROOT / room / group
            if folder.exists():
                assert (folder / "__init__.py").read_text(encoding="utf-8").startswith('"""'), folder
