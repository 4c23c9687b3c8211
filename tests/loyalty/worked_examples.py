"""Reads the worked examples of docs/rules, so that the tests replay exactly what operators and members are told."""

from pathlib import Path

RULES = Path(__file__).resolve().parents[2] / "docs" / "rules"


def worked(page: str, title: str) -> list[dict[str, str]]:
    """The rows of the table under the heading ``title`` of a rule page, by column name."""
    lines = (RULES / page).read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.lstrip("#").strip() == title and line[:1] == "#")
    table: list[list[str]] = []
    for line in lines[start + 1 :]:
        if line.startswith("|"):
            table.append([cell.strip() for cell in line.strip().strip("|").split("|")])
        elif table or line.startswith("#"):
            break
    assert len(table) > 2, f"{page} has no table under {title!r}"
    header, _, *rows = table
    assert all(len(row) == len(header) for row in rows), f"a row of {title!r} in {page} has not all its cells"
    return [dict(zip(header, row, strict=True)) for row in rows]


def number(cell: str) -> int:
    """A whole number as pages write it: ``1,200``, ``-50``; an empty cell or a dash is 0."""
    return 0 if cell in {"", "-", "–"} else int(cell.replace(",", ""))


def numbers(cell: str) -> list[int]:
    """A list of numbers as pages write it: ``10 + 20 + 30``."""
    return [number(part.strip()) for part in cell.split(" + ")] if cell and cell != "-" else []
