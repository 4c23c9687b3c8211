import ast
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from string import Formatter

import loyalty
from loyalty.refusal import Refusal
from tests.loyalty.worked_examples import RULES

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(Path(path) for folder in loyalty.__path__ for path in Path(folder).rglob("*.py"))
for source in SOURCES:
    import_module(".".join(source.relative_to(ROOT).with_suffix("").parts))
OURS = {refusal.__name__: refusal for refusal in Refusal.registry.values() if refusal.__module__.startswith("loyalty.")}


def placeholders(template: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(template) if name}


def raised() -> Iterator[tuple[type[Refusal], set[str], str]]:
    """Every place in the rules that makes a refusal, with the values that it is given."""
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in OURS:
                given = {keyword.arg for keyword in node.keywords if keyword.arg}
                yield OURS[node.func.id], given, f"{source.name}:{node.lineno}"


def test_every_refusal_of_the_rules_stands_in_a_page() -> None:
    pages = "\n".join(page.read_text(encoding="utf-8") for page in RULES.glob("*.md"))
    missing = [refusal.code for refusal in OURS.values() if f"`{refusal.code}`" not in pages]
    assert OURS
    assert not missing


def test_every_code_is_upper_snake_case_and_has_both_messages() -> None:
    for refusal in OURS.values():
        assert refusal.code.replace("_", "A").isalnum(), refusal
        assert refusal.code == refusal.code.upper(), refusal
        assert refusal.zh, refusal
        assert refusal.en, refusal
        assert not refusal.zh.isascii(), f"{refusal.code} has no Chinese message"
        assert refusal.en.isascii(), f"{refusal.code} has no English message"


def test_every_refusal_is_given_what_its_messages_say() -> None:
    places = list(raised())
    assert len(places) > 30
    for refusal, given, place in places:
        wanted = placeholders(refusal.zh) | placeholders(refusal.en)
        assert wanted <= given, f"{place} does not give {refusal.code} its {wanted - given}"
