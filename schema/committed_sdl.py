"""The schemas as text, committed so that a change of the API is seen in review. ``make schema`` writes them."""

from collections.abc import Mapping
from pathlib import Path

from schema.operator import operator_schema
from schema.shop import shop_schema

FOLDER = Path(__file__).parent / "sdl"


def sdl() -> Mapping[Path, str]:
    """The text that each committed file should have."""
    return {
        FOLDER / "shop.graphql": f"{shop_schema().as_str()}\n",
        FOLDER / "operator.graphql": f"{operator_schema().as_str()}\n",
    }


def write_sdl() -> None:
    """Bring the committed files up to date."""
    for path, text in sdl().items():
        path.write_text(text, encoding="utf-8")
