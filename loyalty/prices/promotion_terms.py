"""What the terms of a promotion say: what it does, to which goods, on which days, for whom, and what it goes with.

Source: docs/rules/promotion.md
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Self
from uuid import UUID

from loyalty.coupons.coupon_terms import Scope
from loyalty.money import BP, apply_bp
from loyalty.programme import Definition, Fields, Name, Noun, Reason, invalid, scope_names

MAX_SCOPE = 200
MAX_STEPS = 10
MAX_PROMOTION_FEN = 1_000_000_000
MAX_USES = 10_000_000


class PromotionKind(StrEnum):
    """What a promotion does."""

    DISCOUNT = "discount"
    NEWCOMER = "newcomer"
    MEMBER_DAY = "member_day"
    BUNDLE = "bundle"
    PIECES = "pieces"
    AMOUNT_OFF = "amount_off"

    @property
    def of_pieces(self) -> bool:
        """Whether it lowers the price of single pieces; the others look at the whole order."""
        return self in (PromotionKind.DISCOUNT, PromotionKind.NEWCOMER, PromotionKind.MEMBER_DAY)


class Partner(StrEnum):
    """What a promotion may go with on the same goods."""

    TIER = "tier"
    PROMOTIONS = "promotions"
    COUPONS = "coupons"
    POINTS = "points"


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionScope:
    """Which goods a promotion is for: a coupon's scope, and single SKUs. Exclusions win."""

    goods: Scope = field(default_factory=Scope)
    sku_ids: frozenset[UUID] = frozenset()
    excluded_sku_ids: frozenset[UUID] = frozenset()

    def covers(self, sku_id: UUID, product_id: UUID, category_ids: Collection[UUID]) -> bool:
        """Whether a SKU is meant; ``category_ids`` are its product's category and the one above."""
        excluded = sku_id in self.excluded_sku_ids
        excluded = excluded or product_id in self.goods.excluded_product_ids
        if excluded or not self.goods.excluded_category_ids.isdisjoint(category_ids):
            return False
        if sku_id in self.sku_ids:
            return True
        if self.sku_ids and not self.goods.category_ids and not self.goods.product_ids:
            return False
        return self.goods.covers(product_id, category_ids)

    def definition(self) -> dict[str, list[str]]:
        """What ``_parse_scope`` reads back."""
        skus = {"sku_ids": self.sku_ids, "excluded_sku_ids": self.excluded_sku_ids}
        return self.goods.definition() | {name: sorted(str(one) for one in ids) for name, ids in skus.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class OffStep:
    """From ``threshold_fen`` on, ``off_fen`` less."""

    threshold_fen: int
    off_fen: int


_BUT_TIER = frozenset(Partner) - {Partner.TIER}


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionTerms:
    """One version of a promotion's terms.

    ``discount_bp``, ``amount_fen`` and ``price_fen``: what pieces (of a bundle: all of them together) cost less or
    cost. ``pieces`` is N, of which the ``rewarded`` cheapest are cheaper. ``steps`` ascend; with ``repeat`` there is
    one, for every full threshold, up to ``cap_fen``. ``weekdays`` 1 to 7, ``month_days`` 1 to 31 and ``dates`` say when
    a member day is; any of them is enough. Without ``tier_codes`` it is for every tier. ``member_limit`` None: no
    limit.
    """

    kind: PromotionKind
    scope: PromotionScope = field(default_factory=PromotionScope)
    discount_bp: int | None = None
    amount_fen: int | None = None
    price_fen: int | None = None
    pieces: int | None = None
    rewarded: int | None = None
    steps: tuple[OffStep, ...] = ()
    repeat: bool = False
    cap_fen: int | None = None
    weekdays: frozenset[int] = frozenset()
    month_days: frozenset[int] = frozenset()
    dates: frozenset[date] = frozenset()
    tier_codes: frozenset[str] = frozenset()
    newcomers_only: bool = False
    combines: frozenset[Partner] = frozenset(Partner)
    member_limit: int | None = None

    @classmethod
    def parse(cls, definition: Definition) -> Self:
        """Read a definition. Raises: ProgrammeInvalid, which names the first field that cannot work."""
        fields = Fields(definition)
        kind = fields.choice("kind", PromotionKind)
        for name, owners in _OWNERS.items():
            if fields.has(name) and kind not in owners:
                reason = Reason(f"does not belong to a promotion of the kind {kind}", "不适用于此类促销")
                raise invalid(name, reason)
        terms = cls(
            kind=kind,
            scope=_parse_scope(fields),
            **_parse_effect(fields, kind),
            steps=_parse_steps(fields) if kind is PromotionKind.AMOUNT_OFF else (),
            repeat=fields.boolean("repeat", False),
            cap_fen=fields.optional_integer("cap_fen", 1, MAX_PROMOTION_FEN),
            weekdays=frozenset(fields.integers("weekdays", 1, 7)),
            month_days=frozenset(fields.integers("month_days", 1, 31)),
            dates=_parse_dates(fields),
            tier_codes=frozenset(fields.codes("tier_codes")),
            newcomers_only=fields.boolean("newcomers_only", False) or kind is PromotionKind.NEWCOMER,
            combines=_parse_combines(fields, kind),
            member_limit=fields.optional_integer("member_limit", 1, MAX_USES)
            or (1 if kind is PromotionKind.NEWCOMER else None),
        )
        fields.done()
        if terms.repeat and len(terms.steps) != 1:
            raise invalid("steps", Reason("must be one step to repeat", "每满模式只能有一档"))
        if kind is PromotionKind.MEMBER_DAY and not (terms.weekdays or terms.month_days or terms.dates):
            raise invalid("weekdays", Reason("or month_days or dates are required", "、month_days 或 dates 至少填一项"))
        return terms

    def definition(self) -> dict[str, object]:
        """The definition that ``parse`` reads back to equal terms."""
        return {
            "kind": self.kind.value,
            "scope": self.scope.definition(),
            "discount_bp": self.discount_bp,
            "amount_fen": self.amount_fen,
            "price_fen": self.price_fen,
            "pieces": self.pieces,
            "rewarded": self.rewarded,
            "steps": [{"threshold_fen": step.threshold_fen, "off_fen": step.off_fen} for step in self.steps] or None,
            "repeat": self.repeat or None,
            "cap_fen": self.cap_fen,
            "weekdays": sorted(self.weekdays) or None,
            "month_days": sorted(self.month_days) or None,
            "dates": [day.isoformat() for day in sorted(self.dates)] or None,
            "tier_codes": sorted(self.tier_codes),
            "newcomers_only": self.newcomers_only,
            "combines": sorted(self.combines),
            "member_limit": self.member_limit,
        }

    def names(self) -> list[Name]:
        """The goods of the scope and the tiers, which must be there."""
        tiers = [Name("tier_codes", Noun.TIER, code) for code in sorted(self.tier_codes)]
        return scope_names(self.scope.definition()) + tiers

    def piece_price(self, from_fen: int) -> int:
        """What a piece that costs ``from_fen`` costs with it, never more; for the kinds of single pieces."""
        assert self.kind.of_pieces, "a promotion of the whole order has no price of a piece"
        if self.price_fen is not None:
            return min(self.price_fen, from_fen)
        off_fen = self.amount_fen if self.amount_fen is not None else apply_bp(from_fen, self.discount_bp or 0)
        return max(1, from_fen - off_fen)

    def off_at(self, goods_fen: int) -> int:
        """What the steps take off goods of ``goods_fen``; 0 below the first threshold."""
        if self.repeat:
            step = self.steps[0]
            off_fen = goods_fen // step.threshold_fen * step.off_fen
            return off_fen if self.cap_fen is None else min(off_fen, self.cap_fen)
        return max((step.off_fen for step in self.steps if step.threshold_fen <= goods_fen), default=0)

    def on_day(self, day: date) -> bool:
        """Whether it runs on this day of the shop; only member days have days."""
        if self.kind is not PromotionKind.MEMBER_DAY:
            return True
        return day.isoweekday() in self.weekdays or day.day in self.month_days or day in self.dates

    def is_for(self, *, tier_code: str | None, newcomer: bool) -> bool:
        """Whether a member of this tier may have it; a visitor is of no tier."""
        return (not self.tier_codes or tier_code in self.tier_codes) and (newcomer or not self.newcomers_only)


_SETS = frozenset({PromotionKind.BUNDLE, PromotionKind.PIECES})
_OWNERS = {
    "discount_bp": {PromotionKind.DISCOUNT, PromotionKind.MEMBER_DAY, PromotionKind.PIECES},
    "amount_fen": {PromotionKind.DISCOUNT},
    "price_fen": {PromotionKind.DISCOUNT, PromotionKind.NEWCOMER, PromotionKind.BUNDLE},
    "pieces": _SETS,
    "rewarded": {PromotionKind.PIECES},
    "steps": {PromotionKind.AMOUNT_OFF},
    "repeat": {PromotionKind.AMOUNT_OFF},
    "cap_fen": {PromotionKind.AMOUNT_OFF},
    "weekdays": {PromotionKind.MEMBER_DAY},
    "month_days": {PromotionKind.MEMBER_DAY},
    "dates": {PromotionKind.MEMBER_DAY},
}


def _parse_effect(fields: Fields, kind: PromotionKind) -> dict[str, int]:
    found: dict[str, int] = {}
    if kind is PromotionKind.DISCOUNT:
        named = [name for name in ("discount_bp", "amount_fen", "price_fen") if fields.has(name)]
        if len(named) != 1:
            reason = Reason("or an amount or a price is required, exactly one", "、减价金额、特价须且只能填一项")
            raise invalid("discount_bp", reason)
        found[named[0]] = fields.integer(named[0], 1, BP if named[0] == "discount_bp" else MAX_PROMOTION_FEN)
    if kind in (PromotionKind.NEWCOMER, PromotionKind.BUNDLE):
        found["price_fen"] = fields.integer("price_fen", 1, MAX_PROMOTION_FEN)
    if kind is PromotionKind.MEMBER_DAY:
        found["discount_bp"] = fields.integer("discount_bp", 1, BP)
    if kind in _SETS:
        found["pieces"] = fields.integer("pieces", 2, 99)
    if kind is PromotionKind.PIECES:
        found["rewarded"] = fields.integer("rewarded", 1, found["pieces"] - 1, 1)
        found["discount_bp"] = fields.integer("discount_bp", 1, BP, BP)
    return found


def _parse_steps(fields: Fields) -> tuple[OffStep, ...]:
    steps: list[OffStep] = []
    for at, part in enumerate(fields.parts("steps", MAX_STEPS)):
        threshold_fen = part.integer("threshold_fen", 1, MAX_PROMOTION_FEN)
        step = OffStep(threshold_fen=threshold_fen, off_fen=part.integer("off_fen", 1, threshold_fen))
        part.done()
        if steps and (step.threshold_fen <= steps[-1].threshold_fen or step.off_fen <= steps[-1].off_fen):
            raise invalid(f"steps[{at}]", Reason("must be higher than the one before it", "必须高于前一档"))
        steps.append(step)
    if not steps:
        raise invalid("steps", Reason("must have at least one step", "至少要有一档"))
    return tuple(steps)


def _parse_dates(fields: Fields) -> frozenset[date]:
    days = fields.texts("dates", 100)
    return frozenset(Fields({f"dates[{at}]": day}).day(f"dates[{at}]") for at, day in enumerate(days))


def _parse_combines(fields: Fields, kind: PromotionKind) -> frozenset[Partner]:
    if not fields.has("combines"):
        return _BUT_TIER if kind in (PromotionKind.DISCOUNT, PromotionKind.NEWCOMER) else frozenset(Partner)
    found = fields.codes("combines")
    return frozenset(
        Fields({f"combines[{at}]": one}).choice(f"combines[{at}]", Partner) for at, one in enumerate(found)
    )


def _parse_scope(fields: Fields) -> PromotionScope:
    part = fields.part("scope")
    if part is None:
        return PromotionScope()
    ids = {name: frozenset(part.ids(name, MAX_SCOPE)) for name in PromotionScope().definition()}
    part.done()
    return PromotionScope(
        goods=Scope(
            category_ids=ids["category_ids"],
            product_ids=ids["product_ids"],
            excluded_category_ids=ids["excluded_category_ids"],
            excluded_product_ids=ids["excluded_product_ids"],
        ),
        sku_ids=ids["sku_ids"],
        excluded_sku_ids=ids["excluded_sku_ids"],
    )
