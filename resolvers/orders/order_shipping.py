"""What it costs to ship an order, found when it is priced, and how its fee came about, kept when it is placed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import lru_cache
from typing import Any
from uuid import UUID

import orjson

from loyalty.delivery.shipping import (
    ShippingLine,
    ShippingQuote,
    ShippingTerms,
    TemplateInForce,
    TierShipping,
    admit_without_address,
    fee,
    shares,
)
from loyalty.orders.order import OrderState
from loyalty.shop_time import business_day
from loyalty.tiers.tier import TierLevel
from loyalty.tiers.tier_benefit import BenefitKind
from models.delivery.shipping import OrderShipping
from models.engine import in_transaction, rows
from models.ids import new_id
from models.orders.order import Order
from models.people.address import Address
from resolvers.deps import Deps

_TEMPLATES = """
SELECT sku.id, sku.weight_g, template.code, terms.id AS version_id, terms.definition::text AS definition
FROM sku JOIN product ON product.id = sku.product_id
LEFT JOIN shipping_template template ON template.id = coalesce(
    product.shipping_template_id, (SELECT id FROM shipping_template WHERE is_default)
)
LEFT JOIN LATERAL (
    SELECT version.id, version.definition FROM shipping_template_version version
    WHERE version.template_id = template.id AND version.made_at <= $2 ORDER BY version.version DESC LIMIT 1
) terms ON true
WHERE sku.id = ANY($1::uuid[])
"""

_USED = """
SELECT count(*)::int AS many FROM order_shipping shipping JOIN shop_order o ON o.id = shipping.order_id
WHERE shipping.member_id = $1 AND shipping.waived_by = 'tier' AND shipping.placed_on >= $2
    AND o.state <> ALL($3::text[])
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goods:
    """So many pieces of a SKU, and what they cost after promotions, before coupons and points, in fen."""

    sku_id: UUID
    quantity: int
    goods_fen: int


async def quote(
    member_id: UUID,
    goods: Sequence[Goods],
    *,
    address: Address | None,
    tier: TierLevel,
    now: datetime,
    zone: tzinfo,
    terms_of: datetime | None = None,
) -> ShippingQuote:
    """What it costs to ship these goods to the address, None: to nowhere; under the terms as they were at ``terms_of``.

    Raises:
        AddressRequired: there is no address, and some of the goods have a template.
        RegionNotDelivered: some of the goods are not delivered there.
    """
    found = {row["id"]: row for row in await rows(_TEMPLATES, [[one.sku_id for one in goods], terms_of or now])}
    lines = [_line(one, found[one.sku_id]) for one in goods]
    if address is None:
        return admit_without_address(lines)
    return fee(lines, region_code=address.region_code, tier=await _tier_shipping(member_id, tier, now, zone))


def _line(goods: Goods, row: Mapping[str, Any]) -> ShippingLine:
    template = None
    if row["version_id"] is not None:
        template = TemplateInForce(code=row["code"], version_id=row["version_id"], terms=_parsed(row["definition"]))
    return ShippingLine(
        sku_id=goods.sku_id,
        quantity=goods.quantity,
        goods_fen=goods.goods_fen,
        weight_g=row["weight_g"],
        template=template,
    )


@lru_cache(maxsize=256)
def _parsed(definition: str) -> ShippingTerms:
    return ShippingTerms.parse(orjson.loads(definition))


async def _tier_shipping(member_id: UUID, tier: TierLevel, now: datetime, zone: tzinfo) -> TierShipping | None:
    benefit = tier.benefit(BenefitKind.FREE_SHIPPING)
    if benefit is None:
        return None
    if benefit.monthly_limit is None:
        return TierShipping(benefit=benefit)
    month = business_day(now, zone).replace(day=1)
    found = await rows(_USED, [member_id, month, [OrderState.CLOSED, OrderState.REFUNDED]])
    return TierShipping(benefit=benefit, used_count=found[0]["many"])


async def write(deps: Deps, order: Order, quoted: ShippingQuote, now: datetime) -> None:
    """Keep how the fee of a new order came about, in its transaction; nothing for goods without a template."""
    assert in_transaction(), "an order is written together with its fee"
    if quoted.parts:
        await OrderShipping.create(
            id=new_id(now),
            order_id=order.id,
            member_id=order.member_id,
            full_fen=quoted.full_fen,
            fee_fen=quoted.fee_fen,
            waived_by=quoted.waived_by,
            parts=shares(quoted),
            placed_on=business_day(now, deps.zone),
        )


async def of_orders(_: Deps, order_ids: Sequence[UUID]) -> Mapping[UUID, OrderShipping]:
    """How the fees of these orders came about, as far as they are shipped under a template."""
    return {row.order_id: row for row in await OrderShipping.filter(order_id__in=list(order_ids))}
