"""The history of prices, and what may be struck through: written with every price, never by hand."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from loyalty.orders.order import OrderKind
from loyalty.prices.price_history import WINDOW, Beside, Deal, Listed, struck_through
from models.catalogue.catalogue import Sku
from models.engine import in_transaction, rows
from models.ids import new_id
from models.keyset import Key, Keyset, Page, Slice, fetch
from models.prices.price_change import PriceChange
from resolvers.deps import Deps

AFRESH = timedelta(minutes=1)
"""So long a baseline stands beside the price of an activity that has not opened yet, or only just has."""

NEWEST = Keyset("price_change.newest", (Key("seq", int),))

_ASKED = """
WITH asked AS (
    SELECT * FROM unnest($1::uuid[], $2::timestamptz[], $3::uuid[]) WITH ORDINALITY
    AS one(sku_id, began_at, flash_item_id, place)
)
"""

_LISTED = f"""
{_ASKED} SELECT asked.place, listed.* FROM asked CROSS JOIN LATERAL (
    SELECT least(price_fen, member_price_fen) AS price_fen, at AS from_at,
        coalesce(lead(at) OVER (ORDER BY seq), asked.began_at) AS until_at
    FROM price_change WHERE sku_id = asked.sku_id
) listed
"""

_DEAL = """
SELECT (line.goods_fen - line.discount_fen - line.promotion_fen - line.coupon_fen) / line.quantity AS price_fen,
    o.paid_at AS at
FROM order_line line JOIN shop_order o ON o.id = line.order_id
WHERE line.sku_id = asked.sku_id AND o.kind <> $5 AND o.paid_at < asked.began_at
    AND line.goods_fen - line.discount_fen - line.promotion_fen - line.coupon_fen >= line.quantity
    AND NOT EXISTS (SELECT 1 FROM flash_ticket own WHERE own.order_id = o.id AND own.item_id = asked.flash_item_id)
"""

_DEALS = f"""
{_ASKED} SELECT asked.place, deal.* FROM asked CROSS JOIN LATERAL (
    (SELECT min(price_fen) AS price_fen, max(at) AS at
        FROM ({_DEAL} AND o.paid_at >= asked.began_at - $4::interval) recent HAVING count(*) > 0)
    UNION ALL ({_DEAL} AND o.paid_at < asked.began_at - $4::interval ORDER BY o.paid_at DESC LIMIT 1)
) deal
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
    baseline_fen = last.baseline_fen
    if not same:
        (baseline_fen,) = await baselines([Beside(sku_id=sku.id, present_fen=price_fen, began_at=now)])
    await PriceChange.create(
        id=new_id(now),
        sku_id=sku.id,
        seq=last.seq + 1,
        price_fen=price_fen,
        member_price_fen=member_price_fen,
        baseline_fen=baseline_fen,
        began_at=last.began_at if same else now,
        at=now,
    )


async def baselines(asked: Sequence[Beside]) -> list[int | None]:
    """What may be struck through beside each of these prices, in fen; None if there is no honest one.

    What was sold as the flash item itself does not count.
    """
    columns = [[one.sku_id for one in asked], [one.began_at for one in asked], [one.flash_item_id for one in asked]]
    listed: list[list[Listed]] = [[] for _ in asked]
    for row in await rows(_LISTED, columns):
        listed[row.pop("place") - 1].append(Listed(**row))
    deals: list[list[Deal]] = [[] for _ in asked]
    for row in await rows(_DEALS, [*columns, WINDOW, OrderKind.MALL]):
        deals[row.pop("place") - 1].append(Deal(**row))
    return [
        struck_through(present_fen=one.present_fen, began_at=one.began_at, listed=shown, deals=sold)
        for one, shown, sold in zip(asked, listed, deals, strict=True)
    ]


async def beside_activities(deps: Deps, asked: Sequence[Beside]) -> Mapping[Beside, int | None]:
    """What may be struck through beside prices of activities. A minute after they began that is known for good."""
    now = deps.clock.now()
    found, missing = deps.baselines.look(asked, now)
    if missing:
        worked_out = dict(zip(missing, await baselines(missing), strict=True))
        for one, fen in worked_out.items():
            deps.baselines.keep(one, fen, until=_good_until(one.began_at, now))
        found |= worked_out
    return found


def _good_until(began_at: datetime, now: datetime) -> datetime | None:
    if now < began_at:
        return min(now + AFRESH, began_at)
    # What was paid just before may not be committed yet.
    return began_at + AFRESH if now < began_at + AFRESH else None


async def struck_through_prices(_: Deps, sku_ids: Sequence[UUID]) -> Mapping[UUID, int | None]:
    """What may be struck through beside the present price of each SKU, in fen."""
    return {row["sku_id"]: row["baseline_fen"] for row in await rows(_PRESENT, [list(sku_ids)])}


async def history(deps: Deps, sku_id: UUID, *, page: Page) -> Slice[PriceChange]:
    """Every price that a SKU had, newest first."""
    return await fetch(PriceChange.filter(sku_id=sku_id), page)
