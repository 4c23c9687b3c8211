"""The points mall: what points buy besides a discount, who may have it, and what can be given back.

Source: docs/rules/points_mall.md
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Self
from uuid import UUID

from loyalty.catalogue.catalogue import MAX_STOCK
from loyalty.orders.order import MAX_PAYABLE_FEN, OutOfStock, QuantityInvalid
from loyalty.points.points import PointsShort
from loyalty.prices.pricing import Explanation, Quote, QuotedLine
from loyalty.prices.unit_price import PriceSource, PriceStep
from loyalty.programme import Definition, Fields, Name, Noun, Reason, between, invalid
from loyalty.refusal import Refusal

MAX_ITEM_POINTS = 100_000_000
MAX_EXCHANGE_QUANTITY = 99


class MallItemKind(StrEnum):
    """What an exchange gives."""

    GOODS = "goods"
    COUPON = "coupon"
    TIER_TRIAL = "tier_trial"
    CHARITY = "charity"


class MallItemState(StrEnum):
    """A draft has never been seen; hiding takes it out of the mall, publishing brings it (back)."""

    DRAFT = "draft"
    PUBLISHED = "published"
    HIDDEN = "hidden"


class MallItemNotFound(Refusal):
    """No such item, for an operator."""

    code = "MALL_ITEM_NOT_FOUND"
    zh = "兑换商品不存在"
    en = "There is no such item."


class MallStockNotCounted(Refusal):
    """The item has no stock of its own: its SKU's counts, or none does."""

    code = "MALL_STOCK_NOT_COUNTED"
    zh = "该兑换商品不单独计库存"
    en = "This item has no stock of its own."


class MallPriceChanged(Refusal):
    """The member agreed to another price; it costs ``points`` and ``cash`` fen in all now."""

    code = "MALL_PRICE_CHANGED"
    zh = "兑换价格已变化，请重新确认"
    en = "The price has changed; please confirm it again."


class MallItemNotOffered(Refusal):
    """No such item, or not offered now."""

    code = "MALL_ITEM_NOT_OFFERED"
    zh = "该兑换商品不存在或不在兑换时间内"
    en = "This item is not offered."


class MallTierRefused(Refusal):
    """The item is for other tiers than the member's."""

    code = "MALL_TIER_REFUSED"
    zh = "您的会员等级暂不能兑换该商品"
    en = "This item is not for your tier."


class MallLimitReached(Refusal):
    """A member may have ``limit`` of the item and has exchanged ``exchanged`` already."""

    code = "MALL_LIMIT_REACHED"
    zh = "每人限兑 {limit} 件，您已兑换 {exchanged} 件"
    en = "The limit is {limit} for each member; you have exchanged {exchanged}."


class MallNotReturnable(Refusal):
    """What the exchange gave has been used, or is of a kind that is never given back."""

    code = "MALL_NOT_RETURNABLE"
    zh = "该兑换已使用或不支持退还"
    en = "This exchange cannot be returned."


@dataclass(frozen=True, slots=True, kw_only=True)
class MallItem:
    """One version of an item's terms. A piece costs ``points`` and, for points plus cash, ``cash_fen``.

    ``target_code`` names the coupon template, the tier or the charity; goods are tied to a SKU beside the terms.
    ``member_limit`` None: as many as one likes. ``tier_limits`` replaces it for the tiers it names; with
    ``tier_codes``, nobody else may exchange at all.
    """

    kind: MallItemKind
    points: int
    cash_fen: int = 0
    target_code: str | None = None
    trial_days: int | None = None
    member_limit: int | None = None
    tier_codes: tuple[str, ...] = ()
    tier_limits: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def parse(cls, definition: Definition) -> Self:
        """Read a definition. Raises: ProgrammeInvalid, which names the first field that cannot work."""
        fields = Fields(definition)
        kind = fields.choice("kind", MallItemKind)
        if kind is MallItemKind.GOODS and fields.has("target_code"):
            raise invalid("target_code", Reason("does not belong to goods", "不适用于实物商品"))
        if kind is not MallItemKind.TIER_TRIAL and fields.has("trial_days"):
            raise invalid("trial_days", Reason("belongs to a tier trial", "仅用于等级体验"))
        tier_codes = fields.codes("tier_codes")
        item = cls(
            kind=kind,
            points=fields.integer("points", 1, MAX_ITEM_POINTS),
            cash_fen=fields.integer("cash_fen", 0, MAX_PAYABLE_FEN, 0),
            target_code=None if kind is MallItemKind.GOODS else fields.code("target_code"),
            trial_days=fields.integer("trial_days", 1, 365) if kind is MallItemKind.TIER_TRIAL else None,
            member_limit=fields.optional_integer("member_limit", 1, 1_000_000),
            tier_codes=tier_codes,
            tier_limits=_parse_tier_limits(fields, tier_codes),
        )
        if kind is MallItemKind.CHARITY and item.cash_fen:
            raise invalid("cash_fen", Reason("must be 0: a charity takes points alone", "公益兑换仅支持积分"))
        fields.done()
        return item

    def definition(self) -> dict[str, object]:
        """The definition that ``parse`` reads back to equal terms."""
        return {
            "kind": self.kind.value,
            "points": self.points,
            "cash_fen": self.cash_fen,
            "target_code": self.target_code,
            "trial_days": self.trial_days,
            "member_limit": self.member_limit,
            "tier_codes": list(self.tier_codes),
            "tier_limits": [{"tier_code": code, "limit": limit} for code, limit in self.tier_limits.items()],
        }

    def names(self) -> list[Name]:
        """The tiers, which must be there. A coupon's template must be only when the item is published."""
        tiers = {f"tier_codes[{at}]": code for at, code in enumerate(self.tier_codes)}
        tiers |= {f"tier_limits[{at}].tier_code": code for at, code in enumerate(self.tier_limits)}
        if self.kind is MallItemKind.TIER_TRIAL and self.target_code is not None:
            tiers["target_code"] = self.target_code
        return [Name(path, Noun.TIER, code) for path, code in tiers.items()]

    def limit_for(self, tier_code: str) -> int | None:
        """How many a member of that tier may have in all; None: no limit."""
        return self.tier_limits.get(tier_code, self.member_limit)


def _parse_tier_limits(fields: Fields, tier_codes: tuple[str, ...]) -> dict[str, int]:
    limits: dict[str, int] = {}
    for item in fields.parts("tier_limits", 20):
        code = item.code("tier_code")
        if code in limits:
            raise invalid(item.path("tier_code"), Reason("stands there twice", "重复"))
        if tier_codes and code not in tier_codes:
            raise invalid(item.path("tier_code"), Reason("is not among tier_codes", "不在 tier_codes 中"))
        limits[code] = item.integer("limit", 1, 1_000_000)
        item.done()
    return limits


@dataclass(frozen=True, slots=True, kw_only=True)
class MallOffer:
    """The state of an item when somebody wants it: offered from ``opens_at`` until before ``closes_at``.

    ``stock_left`` None: not counted, as for coupons whose template counts for itself.
    """

    published: bool
    stock_left: int | None
    opens_at: datetime | None = None
    closes_at: datetime | None = None

    def offered(self, now: datetime) -> bool:
        """Whether the item can be exchanged at ``now``."""
        opened = self.opens_at is None or self.opens_at <= now
        return self.published and opened and (self.closes_at is None or now < self.closes_at)


def admit_exchange(
    item: MallItem,
    offer: MallOffer,
    *,
    quantity: int,
    tier_code: str,
    exchanged_count: int,
    available_points: int,
    now: datetime,
) -> None:
    """Whether a member may exchange ``quantity`` pieces, 1..99; a tier trial is exchanged one at a time.

    ``exchanged_count`` is what the member has of it in exchanges that were not returned.

    Raises, in this order: MallItemNotOffered, QuantityInvalid, MallTierRefused, MallLimitReached, OutOfStock,
    PointsShort.
    """
    if not offer.offered(now):
        raise MallItemNotOffered()
    most = 1 if item.kind is MallItemKind.TIER_TRIAL else MAX_EXCHANGE_QUANTITY
    if not 1 <= quantity <= most:
        raise QuantityInvalid(most=most)
    if item.tier_codes and tier_code not in item.tier_codes:
        raise MallTierRefused()
    admit_limit(item, quantity=quantity, tier_code=tier_code, exchanged_count=exchanged_count)
    if offer.stock_left is not None and quantity > offer.stock_left:
        raise OutOfStock(left=max(offer.stock_left, 0))
    if item.points * quantity > available_points:
        raise PointsShort(available=available_points, wanted=item.points * quantity)


def admit_agreed(quote: Quote, *, points: int, cash_fen: int) -> None:
    """Whether the exchange costs what the member saw, all pieces together. Raises: MallPriceChanged."""
    if (points, cash_fen) != (quote.points_used, quote.payable_fen):
        raise MallPriceChanged(points=quote.points_used, cash=quote.payable_fen)


def admit_limit(item: MallItem, *, quantity: int, tier_code: str, exchanged_count: int) -> None:
    """Whether a member of that tier may have so many more. Raises: MallLimitReached."""
    limit = item.limit_for(tier_code)
    if limit is not None and exchanged_count + quantity > limit:
        raise MallLimitReached(limit=limit, exchanged=exchanged_count)


def quote_exchange(item: MallItem, *, sku_id: UUID, quantity: int) -> Quote:
    """The exchange as an order: its cash is the list price, its points are held and posted like any other.

    ``sku_id`` is the SKU of goods, or the item's own id. No tier discount and no further points apply.
    """
    assert quantity >= 1, f"{quantity} pieces"
    cash_fen, points = item.cash_fen * quantity, item.points * quantity
    line = QuotedLine(
        sku_id=sku_id,
        quantity=quantity,
        list_price_fen=item.cash_fen,
        unit_price_fen=item.cash_fen,
        price_source=PriceSource.LIST,
        goods_fen=cash_fen,
        discount_fen=0,
        points_used=points,
        payable_fen=cash_fen,
    )
    return Quote(
        lines=(line,),
        goods_fen=cash_fen,
        discount_fen=0,
        points_used=points,
        points_fen=0,
        payable_fen=cash_fen,
        points_most=points,
        explain=(Explanation(step=PriceStep.LIST, amount_fen=cash_fen),),
    )


def admit_return(item: MallItem, *, used: bool) -> None:
    """Whether an exchange may be given back, points into their lots and cash to the payer.

    ``used``: the goods were sent, the coupon was used, or the trial has begun. Charity is never given back.

    Raises: MallNotReturnable.
    """
    if used or item.kind is MallItemKind.CHARITY:
        raise MallNotReturnable()


# What operators make


def admit_counting(kind: MallItemKind, *, has_sku: bool, stock: int | None) -> None:
    """Whether an item may be counted so: goods by their SKU's stock or one of their own, others by their own or not.

    ``stock`` is what it starts with, None: it has none of its own.

    Raises: ProgrammeInvalid, which names ``sku_id`` or ``stock``.
    """
    if kind is MallItemKind.GOODS:
        if has_sku and stock is not None:
            raise invalid("stock", Reason("does not belong to goods with a SKU", "关联规格的商品不单独设库存"))
        if not has_sku and stock is None:
            raise invalid("stock", Reason("is required for goods without a SKU", "未关联规格的实物商品必须设库存"))
    elif has_sku:
        raise invalid("sku_id", Reason("belongs to goods", "仅用于实物商品"))
    if stock is not None and not 0 <= stock <= MAX_STOCK:
        raise invalid("stock", between(0, MAX_STOCK))


def admit_window(*, opens_at: datetime | None, closes_at: datetime | None) -> None:
    """Whether an item may be offered in this time, closed-open; None is open on that side. Raises: ProgrammeInvalid."""
    if opens_at is not None and closes_at is not None and closes_at <= opens_at:
        raise invalid("closes_at", Reason("must be later than opens_at", "必须晚于 opens_at"))


def admit_same_kind(item: MallItem, wanted: MallItem) -> None:
    """Whether an item may get these terms: what it gives stays what it is. Raises: ProgrammeInvalid."""
    if wanted.kind is not item.kind:
        raise invalid("kind", Reason("stays what it is", "创建后不可更改"))
