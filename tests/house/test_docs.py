"""What the pages say can be followed: their links lead somewhere, and the documents in them are good ones."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
from graphql import GraphQLSchema, build_schema, parse, validate

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
TEMPLATE = re.compile(r"`([^`]*)`")
CONSTANT = re.compile(r'^const ([A-Z]+) = "(.*)"$', re.MULTILINE)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as they are made of them on GitHub."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def links(page: Path) -> list[str]:
    """Where a page's links within the project lead."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    return [link for link in LINK.findall(text) if not re.match(r"[a-z]+:", link)]


def blocks(page: Path, language: str) -> list[str]:
    """The code of a page in a language."""
    return [code for said, code in FENCE.findall(page.read_text(encoding="utf-8")) if said == language]


def documents(page: Path) -> Iterator[str]:
    """The GraphQL of a page, by itself and within JavaScript."""
    yield from blocks(page, "graphql")
    scripts = blocks(page, "js")
    constants = dict(CONSTANT.findall("\n".join(scripts)))
    for script in scripts:
        for text in TEMPLATE.findall(script):
            if text.lstrip().startswith(("mutation", "query", "{")):
                yield re.sub(r"\$\{([A-Z]+)\}", lambda found: constants[found[1]], text)


@pytest.fixture(scope="module")
def schemas() -> list[GraphQLSchema]:
    return [
        build_schema(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "schema" / "sdl").glob("*.graphql"))
    ]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_link_is_dead(page: Path) -> None:
    for link in links(page):
        place, _, anchor = unquote(link).partition("#")
        there = (page.parent / place).resolve() if place else page
        assert there.exists(), link
        assert there.is_relative_to(ROOT), link
        if anchor:
            assert anchor in anchors(there), link


def test_every_rule_page_is_in_the_list_of_rules() -> None:
    listed = set(links(ROOT / "docs" / "rules" / "README.md"))
    assert {page.name for page in (ROOT / "docs" / "rules").glob("*.md")} - listed == {"README.md"}


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, ahead = set[Path](), [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page in reached:
            continue
        reached.add(page)
        for link in links(page):
            there = (page.parent / unquote(link).partition("#")[0]).resolve()
            ahead += sorted(there.glob("*.md")) if there.is_dir() else [there] if there.suffix == ".md" else []
    assert [name_of(page) for page in PAGES if page not in reached] == []


@pytest.mark.parametrize("page", [page for page in PAGES if list(documents(page))], ids=name_of)
def test_every_document_is_one_of_ours(page: Path, schemas: list[GraphQLSchema]) -> None:
    for document in documents(page):
        problems = [validate(schema, parse(document)) for schema in schemas]
        assert [] in problems, f"{document}\n{problems}"


def test_both_readmes_show_the_same() -> None:
    english, chinese = ROOT / "README.md", ROOT / "README.zh-CN.md"
    assert [link for link in links(chinese) if link != "README.md"] == [
        link for link in links(english) if link != "README.zh-CN.md"
    ]
    for language in ("js", "graphql"):
        said = [[re.sub(r" *//.*", "", code) for code in blocks(page, language)] for page in (english, chinese)]
        assert said[0] == said[1]
