"""The newcomer pack: which coupons a member is given for joining, once.

Source: docs/rules/newcomer_pack.md
"""

from dataclasses import dataclass
from typing import Self

from loyalty.programme import DUPLICATE, Definition, Fields, Name, Noun, invalid

MAX_ITEMS = 10
MAX_COUNT = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PackItem:
    """``count`` coupons of the template ``template_code``."""

    template_code: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NewcomerPack:
    """One version of the pack; without items there is none."""

    items: tuple[PackItem, ...] = ()

    @classmethod
    def parse(cls, definition: Definition) -> Self:
        """Read a definition. Raises: ProgrammeInvalid, which names the first field that cannot work."""
        fields = Fields(definition)
        items: list[PackItem] = []
        for part in fields.parts("items", MAX_ITEMS):
            item = PackItem(template_code=part.code("template_code"), count=part.integer("count", 1, MAX_COUNT))
            if any(other.template_code == item.template_code for other in items):
                raise invalid(part.path("template_code"), DUPLICATE)
            part.done()
            items.append(item)
        fields.done()
        return cls(items=tuple(items))

    def definition(self) -> dict[str, object]:
        """The definition that ``parse`` reads back to an equal pack."""
        return {"items": [{"template_code": item.template_code, "count": item.count} for item in self.items]}

    def names(self) -> list[Name]:
        """The templates, which must be there."""
        return [
            Name(f"items[{at}].template_code", Noun.COUPON_TEMPLATE, item.template_code)
            for at, item in enumerate(self.items)
        ]
