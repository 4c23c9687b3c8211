"""Whether what operators name is there: tiers, coupon templates, categories, products and SKUs."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from loyalty.programme import Name, Noun
from loyalty.programme import admit_names as admit
from models.engine import rows

TIERS = """
SELECT level->>'code' AS name FROM programme_version, jsonb_array_elements(definition->'levels') level
WHERE kind = 'tier' AND (effective_at > $2 OR id = (
    SELECT id FROM programme_version WHERE kind = 'tier' AND effective_at <= $2
    ORDER BY effective_at DESC, version DESC LIMIT 1
))
"""
"""The tiers of the table in force at $2 and of those that are published for later."""

_OF_TIERS = f"SELECT name FROM ({TIERS}) tier WHERE name = ANY($1::text[])"

_KNOWN: Mapping[Noun, str] = {
    Noun.COUPON_TEMPLATE: "SELECT code AS name FROM coupon_template WHERE code = ANY($1::text[])",
    Noun.CATEGORY: "SELECT id::text AS name FROM category WHERE id = ANY($1::text[]::uuid[])",
    Noun.PRODUCT: "SELECT id::text AS name FROM product WHERE id = ANY($1::text[]::uuid[])",
    Noun.SKU: "SELECT id::text AS name FROM sku WHERE id = ANY($1::text[]::uuid[])",
}


async def admit_names(names: Sequence[Name], now: datetime) -> None:
    """Whether everything that is named is there, in one statement for each noun; a tier may also be one of a table that
    is published for later.

    Raises: ProgrammeInvalid, for the first that is not.
    """
    known: dict[Noun, set[str]] = {}
    for noun in {name.noun for name in names}:
        values = [name.value for name in names if name.noun is noun]
        found = await (rows(_OF_TIERS, [values, now]) if noun is Noun.TIER else rows(_KNOWN[noun], [values]))
        known[noun] = {row["name"] for row in found}
    admit(names, known)
