"""The import rules: import-linter's contracts, the bans that ruff carries, and what neither can see."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("schema", "hooks", "jobs", "demo", "resolvers", "models", "cache", "wechat", "loyalty")
COMPOSITION_ROOT = frozenset(
    {"application.py", "dependencies.py", "server.py", "serving.py", "settings.py", "surroundings.py"}
)


def sources() -> list[Path]:
    """Every source file of the project itself: the rooms and the files beside them."""
    return [*sorted(ROOT.glob("*.py")), *(path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py")))]


def imported(path: Path) -> set[str]:
    """The modules a file imports, with those inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
    return found


def test_import_linter_finds_no_broken_contract() -> None:
    shown = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr


def test_every_room_is_under_the_contracts() -> None:
    configured = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["root_packages"]
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "bench"}
    assert set(configured) == rooms


@pytest.mark.parametrize("library", ["strawberry", "graphql"])
def test_strawberry_is_spoken_in_schema_only(library: str) -> None:
    speakers = {path.relative_to(ROOT).parts[0] for path in sources() if _uses(path, library)}
    assert speakers <= {"schema"}


def test_starlette_is_spoken_in_the_doors_and_the_sandbox_only() -> None:
    for path in sources():
        if _uses(path, "starlette"):
            place = path.relative_to(ROOT)
            assert place.parts[0] in {"schema", "hooks", "application.py"} or place.parts[:2] == (
                "wechat",
                "sandbox",
            ), place


def test_only_resolvers_open_transactions() -> None:
    for path in sources():
        place = path.relative_to(ROOT)
        if place.parts[0] not in {"resolvers", "models"}:
            assert "models.engine.transaction" not in imported(path), place


def test_only_the_composition_root_reads_settings() -> None:
    for path in sources():
        place = str(path.relative_to(ROOT))
        if place not in COMPOSITION_ROOT:
            assert not imported(path) & {file.removesuffix(".py") for file in COMPOSITION_ROOT}, place


def test_the_environment_is_read_by_the_composition_root_only() -> None:
    # A library that must be told by environment, and the path of the machine, are the only other reasons.
    allowed = {"telemetry.py", "models/postgres.py"}
    for path in sources():
        place = str(path.relative_to(ROOT))
        if place not in COMPOSITION_ROOT | allowed:
            text = path.read_text()
            assert "os.environ" not in text, place
            assert "getenv" not in text, place


def test_rules_neither_wait_nor_look_around() -> None:
    forbidden = {"asyncio", "os", "pathlib", "random", "secrets", "socket", "time", "logging", "uuid.uuid4"}
    for path in sorted((ROOT / "loyalty").rglob("*.py")):
        assert not imported(path) & forbidden, path.name
        assert not any(
            isinstance(node, ast.Await | ast.AsyncFunctionDef) for node in ast.walk(ast.parse(path.read_text()))
        )


def test_nothing_is_left_to_do_without_a_place_where_it_is_tracked() -> None:
    words = ("TO" + "DO", "FIX" + "ME", "XX" + "X")
    for path in sources():
        assert not any(word in path.read_text() for word in words), path.name


def _uses(path: Path, library: str) -> bool:
    return any(name == library or name.startswith(f"{library}.") for name in imported(path))
