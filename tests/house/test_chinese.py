"""Chinese messages are Chinese: no English but names of the API and of the trade, no raw values of ours."""

import ast
import re
from collections.abc import Iterator
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from string import Formatter

import pytest

from loyalty.refusal import Refusal

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("loyalty", "cache", "resolvers", "schema", "hooks")
SOURCES = {
    path: ast.parse(path.read_text(encoding="utf-8")) for folder in FOLDERS for path in ROOT.glob(f"{folder}/**/*.py")
}
TERMS = frozenset(
    re.findall(
        r"\w+",
        "ASCII Authorization Bearer Content GET GraphQL JSON POST SKU Type UTF YYYY extensions false https "
        "idempotencyKey operationName query true variables",
    )
)
"""What people who read such a message know by no other name."""

OWN = frozenset(
    re.findall(
        r"\w+",
        "action actual available bought day days exchanged expected first from_day had last least left limit most "
        "most_days position sku_code step tier wanted",
    )
)
"""Values that are numbers, days, or names that somebody gave."""

ALSO = {
    "CLAWBACK_BLOCKED": {"missing"},
    "PROGRAMME_INVALID": {"field", "reason_zh"},
}
"""Here these are numbers, fields of the API, and a reason in Chinese."""

GIVEN = frozenset({"most", "low", "high", "longest", "request_id", "retry_after_s", "sizes", "value", "what_zh"})
"""Numbers and names that somebody gave, put into a text where it is made; so are constants."""

HELPERS = frozenset({"_bounded", "_admit_text", "_fit"})
"""What refuses a field in a rule, whose name is the first argument."""


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def refusals() -> list[type[Refusal]]:
    for path in SOURCES:
        if module_of(path).startswith(("loyalty.", "cache.")):
            import_module(module_of(path))
    return [one for one in Refusal.registry.values() if one.__module__.split(".")[0] in FOLDERS]


REFUSALS = refusals()


def fields_of_the_api() -> frozenset[str]:
    """Fields and arguments of both APIs, in the words of the rules too."""
    names = set[str]()
    for path in (ROOT / "schema" / "sdl").glob("*.graphql"):
        names |= set(re.findall(r"(\w+)(?:\(|:)", path.read_text(encoding="utf-8")))
    return frozenset(names | {re.sub(r"[A-Z]", lambda found: f"_{found.group().lower()}", name) for name in names})


FIELDS = fields_of_the_api()


def english(text: str) -> set[str]:
    """Words of three letters or more that are no names of the API or the trade."""
    return set(re.findall(r"[A-Za-z_]{3,}", text)) - TERMS - FIELDS


def placeholders(template: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(template) if name}


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            named = node.func
            yield named.id if isinstance(named, ast.Name) else getattr(named, "attr", ""), node


def chinese() -> Iterator[tuple[str, ast.expr]]:
    """Every Chinese text that is handed to a refusal or an error, and where it stands."""
    for path, tree in SOURCES.items():
        for name, call in calls(tree):
            given = [one.value for one in call.keywords if one.arg == "zh"]
            if name == "Reason":
                given = [call.args[1]]
            for text in given:
                yield f"{path.relative_to(ROOT)}:{call.lineno}", text


def test_messages_have_no_english_words() -> None:
    assert len(REFUSALS) > 100
    for refusal in REFUSALS:
        assert not english(re.sub(r"\{\w+\}", "", refusal.zh)), refusal.code


def test_what_is_said_of_a_value_is_ours_in_chinese() -> None:
    for refusal in REFUSALS:
        said = placeholders(refusal.zh) - OWN - ALSO.get(refusal.code, set())
        assert not said or refusal.zh_words, f"{refusal.code} says {said} in English"
        assert not english(" ".join(refusal.zh_words.values())), refusal.code
        for value, word in refusal.zh_words.items():
            kind = type(value)
            if issubclass(kind, StrEnum):
                assert set(refusal.zh_words) == set(kind), f"{refusal.code} does not know every {kind.__name__}"
            (name,) = said
            assert word in refusal(**dict.fromkeys(placeholders(refusal.zh), 1) | {name: str(value)}).message("zh")


def test_every_field_that_a_rule_refuses_has_a_chinese_name() -> None:
    by_name = {refusal.__name__: refusal for refusal in REFUSALS if refusal.zh_words}
    checked = 0
    for path, tree in SOURCES.items():
        here = [one for one in by_name.values() if one.__module__ == module_of(path)]
        for name, call in calls(tree):
            given = (
                [one.value for one in call.keywords if one.arg in placeholders(by_name[name].zh)]
                if (name in by_name)
                else call.args[:1]
                if name in HELPERS
                else []
            )
            for value in given:
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    owners = [by_name[name]] if name in by_name else here
                    assert any(value.value in one.zh_words for one in owners), f"{path.name}:{call.lineno}"
                    checked += 1
    assert checked > 30


def test_reasons_have_no_english_words_and_no_raw_values() -> None:
    found = list(chinese())
    assert len(found) > 100
    for place, text in found:
        if isinstance(text, ast.Constant):
            assert not english(str(text.value)), place
        if isinstance(text, ast.JoinedStr):
            for part in text.values:
                if isinstance(part, ast.Constant):
                    assert not english(str(part.value)), place
                elif isinstance(part, ast.FormattedValue):
                    inner = ast.unparse(part.value)
                    assert inner in GIVEN or inner.removeprefix("_").split("[")[0].split(".")[-1].isupper(), (
                        f"{place} says {inner}"
                    )


@pytest.mark.parametrize(("text", "words"), [("须为 true", set()), ("不适用于 weekday 类", {"weekday"}), ("", set())])
def test_english_words_are_found(text: str, words: set[str]) -> None:
    assert english(text) == words
