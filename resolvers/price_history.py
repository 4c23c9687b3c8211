"""The history of prices, and what may be struck through: written with every price, never by hand."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from loyalty.order import OrderKind
from loyalty.price_history import WINDOW, Deal, Listed, struck_through
from models.catalogue import Sku
from models.engine import in_transaction, rows
from models.ids import new_id
from models.keyset import Key, Keyset, Page, Slice, fetch
from models.price_change import PriceChange
from resolvers.deps import Deps

NEWEST = Keyset("price_change.newest", (Key("seq", int),))

_LISTED = """
SELECT least(price_fen, member_price_fen) AS price_fen, at AS from_at,
    coalesce(lead(at) OVER (ORDER BY seq), $2::timestamptz) AS until_at
FROM price_change WHERE sku_id = $1
"""

_DEAL = """
SELECT (line.goods_fen - line.discount_fen - line.promotion_fen - line.coupon_fen) / line.quantity AS price_fen,
    o.paid_at AS at
FROM order_line line JOIN shop_order o ON o.id = line.order_id
WHERE line.sku_id = $1 AND o.kind <> $4 AND o.paid_at < $2
    AND line.goods_fen - line.discount_fen - line.promotion_fen - line.coupon_fen >= line.quantity
"""

_DEALS = f"""
(SELECT min(price_fen) AS price_fen, max(at) AS at FROM ({_DEAL} AND o.paid_at >= $3) recent HAVING count(*) > 0)
UNION ALL ({_DEAL} AND o.paid_at < $3 ORDER BY o.paid_at DESC LIMIT 1)
"""

_PRESENT = """
SELECT DISTINCT ON (sku_id) sku_id, baseline_fen FROM price_change WHERE sku_id = ANY($1::uuid[])
ORDER BY sku_id, seq DESC
"""


async def begin(sku: Sku, now: datetime) -> None:
    """Write the first line of a new SKU's history, in the transaction that makes the SKU."""
    assert in_transaction(), "a SKU and its history begin together"
    await PriceChange.create(
        id=new_id(now),
        sku_id=sku.id,
        seq=1,
        price_fen=sku.price_fen,
        member_price_fen=sku.member_price_fen,
        began_at=now,
        at=now,
    )


async def go_on(sku: Sku, *, price_fen: int, member_price_fen: int | None, now: datetime) -> None:
    """Write the next line of a SKU's history with the prices that it gets, if they are others than its last line's.

    Inside the transaction that changes the price, with the SKU's product locked.
    """
    assert in_transaction(), "a price and its history change together"
    last = await PriceChange.filter(sku_id=sku.id).order_by("-seq").first()
    assert last is not None, "a SKU has a history from its first day"
    if (price_fen, member_price_fen) == (last.price_fen, last.member_price_fen):
        return
    same = price_fen == last.price_fen
    await PriceChange.create(
        id=new_id(now),
        sku_id=sku.id,
        seq=last.seq + 1,
        price_fen=price_fen,
        member_price_fen=member_price_fen,
        baseline_fen=last.baseline_fen if same else await baseline(sku.id, present_fen=price_fen, began_at=now),
        began_at=last.began_at if same else now,
        at=now,
    )


async def baseline(sku_id: UUID, *, present_fen: int, began_at: datetime) -> int | None:
    """What may be struck through beside ``present_fen`` fen, a price or an activity's price that began at ``began_at``.

    None if there is no honest one.
    """
    listed = await rows(_LISTED, [sku_id, began_at])
    deals = await rows(_DEALS, [sku_id, began_at, began_at - WINDOW, OrderKind.MALL])
    return struck_through(
        present_fen=present_fen,
        began_at=began_at,
        listed=[Listed(**row) for row in listed],
        deals=[Deal(**row) for row in deals],
    )


async def struck_through_prices(_: Deps, sku_ids: Sequence[UUID]) -> Mapping[UUID, int | None]:
    """What may be struck through beside the present price of each SKU, in fen."""
    return {row["sku_id"]: row["baseline_fen"] for row in await rows(_PRESENT, [list(sku_ids)])}


async def history(deps: Deps, sku_id: UUID, *, page: Page) -> Slice[PriceChange]:
    """Every price that a SKU had, newest first."""
    return await fetch(PriceChange.filter(sku_id=sku_id), page)
