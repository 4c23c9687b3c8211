"""A promotion's terms, as they are shown and as operators write them."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from uuid import UUID

import strawberry

from loyalty.prices.promotion_terms import Partner, PromotionKind, PromotionTerms
from loyalty.programme import ProgrammeInvalid
from schema.enums import describe
from schema.programme import definition_of, in_api_words
from schema.scalars import Fen

describe(
    PromotionKind,
    "What a promotion does.",
    {
        PromotionKind.DISCOUNT: "Pieces cost less for a time 限时折扣.",
        PromotionKind.NEWCOMER: "A price for members who have never paid an order 新人价.",
        PromotionKind.MEMBER_DAY: "Pieces cost less on certain days 会员日.",
        PromotionKind.BUNDLE: "Any N pieces together for one price N 件 X 元.",
        PromotionKind.PIECES: "Of every N pieces the cheapest are cheaper or free 第 N 件折扣、买 N 付 M.",
        PromotionKind.AMOUNT_OFF: "From a threshold on, an amount off 满减.",
    },
)
describe(
    Partner,
    "What a promotion may go with on the same goods.",
    {
        Partner.TIER: "Member price and tier discount.",
        Partner.PROMOTIONS: "Other promotions, if they say so too.",
        Partner.COUPONS: "Coupons.",
        Partner.POINTS: "Points.",
    },
)


@strawberry.type(description="Which goods a promotion is for. Without any named: all. Exclusions win.")
class PromotionScope:
    """Six lists."""

    category_ids: list[UUID] = strawberry.field(description="These categories, with those under them.")
    product_ids: list[UUID] = strawberry.field(description="These products.")
    sku_ids: list[UUID] = strawberry.field(description="These SKUs.")
    excluded_category_ids: list[UUID] = strawberry.field(description="Not these categories, nor those under them.")
    excluded_product_ids: list[UUID] = strawberry.field(description="Not these products.")
    excluded_sku_ids: list[UUID] = strawberry.field(description="Not these SKUs.")


@strawberry.type(description="One step of an amount-off promotion.")
class PromotionStep:
    """From an amount on, less."""

    threshold: Fen = strawberry.field(description="The goods cost at least this before promotions, in fen.")
    off: Fen = strawberry.field(description="What comes off then, in fen.")


@strawberry.type(name="PromotionTerms", description="What a promotion does. A version of its terms never changes.")
class PromotionTermsView:
    """One version."""

    kind: PromotionKind = strawberry.field(description="What it does.")
    scope: PromotionScope = strawberry.field(description="Which goods it is for.")
    discount_bp: int | None = strawberry.field(description="What pieces cost less, in 1/10,000; null: not by a rate.")
    amount: Fen | None = strawberry.field(description="What a piece costs less, in fen; null: not by an amount.")
    price: Fen | None = strawberry.field(
        description="What a piece costs, or all pieces of a bundle together, in fen; null: no fixed price."
    )
    pieces: int | None = strawberry.field(description="N of an N-for-M promotion; null for others.")
    rewarded: int | None = strawberry.field(description="How many of the N pieces are cheaper; null for others.")
    steps: list[PromotionStep] = strawberry.field(description="Amount-off steps, the lowest first; empty for others.")
    repeat: bool = strawberry.field(description="Whether the one step counts for every full threshold 每满.")
    cap: Fen | None = strawberry.field(description="The most that repeated steps take off, in fen; null without a cap.")
    weekdays: list[int] = strawberry.field(description="Days of the week of a member day, 1 is Monday.")
    month_days: list[int] = strawberry.field(description="Days of the month of a member day, 1 to 31.")
    dates: list[date] = strawberry.field(description="Single days of a member day.")
    tier_codes: list[str] = strawberry.field(description="Only for members of these tiers; empty: of every tier.")
    newcomers_only: bool = strawberry.field(description="Only for members who have never paid an order.")
    combines: list[Partner] = strawberry.field(description="What it goes with on the same goods.")
    member_limit: int | None = strawberry.field(description="Uses for each member; null without a limit.")

    @classmethod
    def from_rule(cls, terms: PromotionTerms) -> "PromotionTermsView":
        """The terms as the rule knows them."""
        scope = terms.scope
        return cls(
            kind=terms.kind,
            scope=PromotionScope(
                category_ids=sorted(scope.goods.category_ids),
                product_ids=sorted(scope.goods.product_ids),
                sku_ids=sorted(scope.sku_ids),
                excluded_category_ids=sorted(scope.goods.excluded_category_ids),
                excluded_product_ids=sorted(scope.goods.excluded_product_ids),
                excluded_sku_ids=sorted(scope.excluded_sku_ids),
            ),
            discount_bp=terms.discount_bp,
            amount=None if terms.amount_fen is None else Fen(terms.amount_fen),
            price=None if terms.price_fen is None else Fen(terms.price_fen),
            pieces=terms.pieces,
            rewarded=terms.rewarded,
            steps=[PromotionStep(threshold=Fen(one.threshold_fen), off=Fen(one.off_fen)) for one in terms.steps],
            repeat=terms.repeat,
            cap=None if terms.cap_fen is None else Fen(terms.cap_fen),
            weekdays=sorted(terms.weekdays),
            month_days=sorted(terms.month_days),
            dates=sorted(terms.dates),
            tier_codes=sorted(terms.tier_codes),
            newcomers_only=terms.newcomers_only,
            combines=sorted(terms.combines),
            member_limit=terms.member_limit,
        )


@strawberry.input(description="Which goods a promotion is for. Without any named: all. Exclusions win.")
class PromotionScopeInput:
    """Six lists of at most 200 ids each."""

    category_ids: list[UUID] | None = strawberry.field(default=None, description="These, with those under them.")
    product_ids: list[UUID] | None = strawberry.field(default=None, description="These products.")
    sku_ids: list[UUID] | None = strawberry.field(default=None, description="These SKUs.")
    excluded_category_ids: list[UUID] | None = strawberry.field(
        default=None, description="Not these categories, nor those under them."
    )
    excluded_product_ids: list[UUID] | None = strawberry.field(default=None, description="Not these products.")
    excluded_sku_ids: list[UUID] | None = strawberry.field(default=None, description="Not these SKUs.")


@strawberry.input(description="One step of an amount-off promotion.")
class PromotionStepInput:
    """From an amount on, less."""

    threshold: Fen = strawberry.field(description="In fen, 1 to 1,000,000,000, higher than that of the step before.")
    off: Fen = strawberry.field(description="In fen, 1 to the threshold, higher than that of the step before.")


@strawberry.input(description="What a promotion does. A whole version: what is left out takes its default.")
class PromotionTermsInput:
    """The terms."""

    kind: PromotionKind = strawberry.field(description="What it does. It stays what it is.")
    scope: PromotionScopeInput | None = strawberry.field(default=None, description="Which goods; all unless given.")
    discount_bp: int | None = strawberry.field(
        default=None,
        description="What pieces cost less, 1 to 10,000 in 1/10,000. DISCOUNT: this, amount or price; MEMBER_DAY: "
        "required; PIECES: 10,000, free, unless given.",
    )
    amount: Fen | None = strawberry.field(
        default=None, description="What a piece costs less with a DISCOUNT, in fen, 1 to 1,000,000,000."
    )
    price: Fen | None = strawberry.field(
        default=None,
        description="What a piece costs with a DISCOUNT or NEWCOMER, or all pieces of a BUNDLE together, in fen.",
    )
    pieces: int | None = strawberry.field(default=None, description="N of a BUNDLE or PIECES, 2 to 99; required there.")
    rewarded: int | None = strawberry.field(
        default=None, description="How many of the N pieces of PIECES are cheaper, 1 to N less 1; 1 unless given."
    )
    steps: list[PromotionStepInput] | None = strawberry.field(
        default=None, description="1 to 10 steps of AMOUNT_OFF, the lowest first; one with repeat."
    )
    repeat: bool | None = strawberry.field(
        default=None, description="Whether the one step of AMOUNT_OFF counts for every full threshold 每满."
    )
    cap: Fen | None = strawberry.field(
        default=None, description="The most that repeated steps take off, in fen; no cap unless given."
    )
    weekdays: list[int] | None = strawberry.field(default=None, description="Of a MEMBER_DAY, 1 (Monday) to 7.")
    month_days: list[int] | None = strawberry.field(default=None, description="Of a MEMBER_DAY, 1 to 31.")
    dates: list[date] | None = strawberry.field(default=None, description="Of a MEMBER_DAY, at most 100 shop days.")
    tier_codes: list[str] | None = strawberry.field(
        default=None, description="Only for members of these tiers; for every tier unless given."
    )
    newcomers_only: bool = strawberry.field(
        default=False, description="Only for members who have never paid an order; NEWCOMER always is."
    )
    combines: list[Partner] | None = strawberry.field(
        default=None,
        description="What it goes with on the same goods; all unless given, for DISCOUNT and NEWCOMER all but TIER.",
    )
    member_limit: int | None = strawberry.field(
        default=None, description="Uses for each member, 1 to 10,000,000; no limit unless given, 1 for NEWCOMER."
    )

    def to_definition(self) -> dict[str, object]:
        """What the rule parses, every field named so that a change takes what was left out away."""
        given = definition_of(self)
        for name in ("amount", "price", "cap"):
            given[f"{name}_fen"] = given.pop(name, None)
        if self.steps is not None:
            given["steps"] = [{"threshold_fen": one.threshold, "off_fen": one.off} for one in self.steps]
        return {**dict.fromkeys(_TERMS), **given}


_TERMS = (
    "scope",
    "discount_bp",
    "pieces",
    "rewarded",
    "steps",
    "repeat",
    "weekdays",
    "month_days",
    "dates",
    "tier_codes",
    "combines",
    "member_limit",
)
_TOP = frozenset({"code", "total_limit", "budget_fen", "priority", "opens_at", "closes_at", "title"})
_MONEY = {
    "amount_fen": "terms.amount",
    "price_fen": "terms.price",
    "cap_fen": "terms.cap",
    "budget_fen": "budget",
}


@contextmanager
def named_as_here() -> Iterator[None]:
    """The terms are an input of their own here, and money has no unit in its name."""
    try:
        yield
    except ProgrammeInvalid as refusal:
        named = str(refusal.data["field"])
        if named in _TOP or named in _MONEY:
            raise in_api_words(refusal, _MONEY) from None
        here = f"terms.{named}".removesuffix("_fen")
        raise in_api_words(ProgrammeInvalid(**{**refusal.data, "field": here})) from None
