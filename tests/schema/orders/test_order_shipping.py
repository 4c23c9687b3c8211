"""Orders that are shipped: their fee, their address, and what refuses them, through the public API."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest_asyncio

from loyalty.people.rights import Role
from models.catalogue.catalogue import Product, Sku
from models.engine import rows
from models.ids import new_secret
from models.people.member import Member
from models.people.operator import AuditRow
from resolvers.clock import SetClock
from resolvers.delivery import shipping
from resolvers.deps import Deps
from resolvers.invariants.verify import verify
from resolvers.orders import order
from tests.conftest import make_database
from tests.coupons import claimed
from tests.doors import Bearer, Door, make_operator
from tests.rulebook import LEVELS, tiers
from tests.schema.people.test_address import CREATE as KEEP_ADDRESS
from tests.schema.people.test_address import HOME
from tests.shelf import put_on_shelf

Tokens = Callable[..., Awaitable[Bearer]]

PREVIEW = """
query($input: OrderPlaceInput!) {
  done: orderPreview(input: $input) {
    __typename
    ... on OrderQuote { payable shipping shippingCouponAmount explain { step amount code } }
    ... on RegionNotDelivered { skuId }
    ... on Refusal { code }
  }
}
"""
PLACE = """
mutation($input: OrderPlaceInput!, $key: IdempotencyKey!) {
  done: orderPlace(input: $input, idempotencyKey: $key) {
    __typename
    ... on OrderPlaced { order { ...Shipped } }
    ... on RegionNotDelivered { skuId }
    ... on Refusal { code }
  }
}
"""
SHIPPED = """
fragment Shipped on Order {
  id payable shipping
  shippingDetail { fullFee fee waivedBy shares { code fee free } }
  address { recipient phone street city regionCode }
}
"""
ORDER = f"query($id: ID!) {{ order(id: $id) {{ ...Shipped }} }} {SHIPPED}"
ELSEWHERE = {"regionCode": "540102", "province": "西藏自治区", "city": "拉萨市", "district": "城关区"}
FAR = {"regionCode": "810000", "province": "香港特别行政区", "city": "香港", "district": "中西区"}
TERMS: dict[str, Any] = {
    "regions": [{"codes": ["54"], "first_fen": 2_000, "further_fen": 1_500}],
    "otherwise": {"first_fen": 1_000, "further_fen": 200, "free_from_fen": 9_900},
    "undelivered": ["81"],
}


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(postgres_url: str, migrated_template: str, worker_id: str) -> str:
    """A store of its own: a default template and tiers concern every order of a store."""
    return await make_database(postgres_url, f"youli_shipping_{worker_id}", template=migrated_template)


@pytest_asyncio.fixture(loop_scope="session")
async def proven(store: None) -> AsyncIterator[None]:
    """The books are right when the test is over."""
    yield
    assert not [finding.invariant.name for finding in await verify() if finding.offenders]


async def template(deps: Deps, terms: dict[str, Any] | None = None, *, is_default: bool = False) -> UUID:
    boss = await make_operator(deps)
    made = await shipping.create(
        deps,
        operator_id=boss.id,
        code=f"t{new_secret(6)}".lower().replace("-", "_"),
        title="快递",
        terms=terms or TERMS,
        is_default=is_default,
        idempotency_key=new_secret(12),
    )
    return made.id


async def goods(deps: Deps, template_id: UUID | None, *, weight_g: int = 0, **fields: Any) -> UUID:
    sku_id = await put_on_shelf(deps, **fields)
    sku = await Sku.get(id=sku_id)
    await Sku.filter(id=sku_id).update(weight_g=weight_g)
    await Product.filter(id=sku.product_id).update(shipping_template_id=template_id)
    return sku_id


async def address(shop: Door, token: Bearer, **region: str) -> str:
    variables = {"input": {**HOME, **region}, "key": new_secret(12)}
    kept = (await shop.ask(KEEP_ADDRESS, variables, token=token))["done"]
    found: str = kept["address"]["id"]
    return found


def basket(*lines: tuple[UUID, int], **more: object) -> dict[str, object]:
    return {"lines": [{"skuId": str(sku_id), "quantity": pieces} for sku_id, pieces in lines], **more}


async def preview(shop: Door, token: Bearer, *lines: tuple[UUID, int], **more: object) -> Any:
    return (await shop.ask(PREVIEW, {"input": basket(*lines, **more)}, token=token))["done"]


async def place(shop: Door, token: Bearer, *lines: tuple[UUID, int], key: str | None = None, **more: object) -> Any:
    variables = {"input": basket(*lines, **more), "key": key or new_secret(12)}
    return (await shop.ask(PLACE + SHIPPED, variables, token=token))["done"]


async def test_an_order_is_charged_what_its_preview_said(
    shop: Door, member_token: Tokens, deps: Deps, proven: None
) -> None:
    mine = await member_token()
    sku_id = await goods(deps, await template(deps), price_fen=3_000)
    here, there = await address(shop, mine), await address(shop, mine, **ELSEWHERE)
    for address_id, fee in ((here, 1_200), (there, 3_500)):
        quote = await preview(shop, mine, (sku_id, 2), addressId=address_id)
        assert (quote["shipping"], quote["payable"]) == (fee, 6_000 + fee)
        assert quote["explain"][-1] == {"step": "SHIPPING", "amount": fee, "code": None}
        placed = (await place(shop, mine, (sku_id, 2), addressId=address_id, expectedPayable=quote["payable"]))["order"]
        assert (placed["payable"], placed["shipping"]) == (6_000 + fee, fee)
        assert placed["shippingDetail"]["fee"] == placed["shippingDetail"]["fullFee"] == fee
        assert [share["fee"] for share in placed["shippingDetail"]["shares"]] == [fee]
    free = await preview(shop, mine, (sku_id, 4), addressId=here)
    assert (free["shipping"], free["payable"]) == (0, 12_000)


async def test_without_an_address_only_goods_without_a_template_can_be_ordered(
    shop: Door, member_token: Tokens, deps: Deps, proven: None
) -> None:
    mine = await member_token()
    light, heavy = await goods(deps, None), await goods(deps, await template(deps))
    assert (await preview(shop, mine, (light, 1)))["shipping"] == 0
    placed = (await place(shop, mine, (light, 1)))["order"]
    assert (placed["shipping"], placed["shippingDetail"], placed["address"]) == (0, None, None)
    assert (await preview(shop, mine, (light, 1), (heavy, 1)))["code"] == "ADDRESS_REQUIRED"
    assert (await place(shop, mine, (light, 1), (heavy, 1)))["code"] == "ADDRESS_REQUIRED"
    left = (await rows("SELECT stock_left FROM sku WHERE id = $1", [heavy]))[0]["stock_left"]
    assert left == 100


async def test_a_region_that_is_not_delivered_to_and_a_strange_address_are_refused(
    shop: Door, member_token: Tokens, deps: Deps
) -> None:
    mine, other = await member_token(), await member_token()
    sku_id = await goods(deps, await template(deps))
    far, theirs = await address(shop, mine, **FAR), await address(shop, other)
    refused = await place(shop, mine, (sku_id, 1), addressId=far)
    assert (refused["code"], refused["skuId"]) == ("REGION_NOT_DELIVERED", str(sku_id))
    assert (await preview(shop, mine, (sku_id, 1), addressId=far))["skuId"] == str(sku_id)
    assert (await place(shop, mine, (sku_id, 1), addressId=theirs))["code"] == "ADDRESS_NOT_FOUND"
    assert not await rows("SELECT id FROM shop_order WHERE member_id = $1", [mine.subject_id])


async def test_the_default_template_is_for_products_that_name_none(
    shop: Door, member_token: Tokens, deps: Deps, proven: None
) -> None:
    mine = await member_token()
    await template(deps, {"otherwise": {"first_fen": 700}}, is_default=True)
    by_weight = {
        "charge_by": "weight",
        "otherwise": {"first_units": 500, "first_fen": 900, "further_units": 500, "further_fen": 300},
    }
    plain, heavy = await goods(deps, None), await goods(deps, await template(deps, by_weight), weight_g=400)
    here = await address(shop, mine)
    assert (await preview(shop, mine, (plain, 3), addressId=here))["shipping"] == 700
    assert (await preview(shop, mine, (heavy, 3), addressId=here))["shipping"] == 900 + 2 * 300
    both = (await place(shop, mine, (plain, 3), (heavy, 3), addressId=here))["order"]
    assert both["shipping"] == 1_500
    assert [share["fee"] for share in both["shippingDetail"]["shares"]] == [0, 1_500]
    boss = await make_operator(deps)
    await shipping.set_default(deps, operator_id=boss.id, template_id=None, idempotency_key=new_secret(12))
    assert (await preview(shop, mine, (plain, 3), addressId=here))["shipping"] == 0


async def test_an_order_keeps_its_address_and_its_fee_when_both_change(
    shop: Door, admin: Door, member_token: Tokens, operator_token: Tokens, deps: Deps, proven: None
) -> None:
    mine = await member_token()
    template_id = await template(deps)
    sku_id = await goods(deps, template_id, price_fen=100)
    here = await address(shop, mine)
    placed = (await place(shop, mine, (sku_id, 1), addressId=here))["order"]
    boss = await operator_token(Role.OWNER)
    await shipping.change(
        deps,
        operator_id=boss.subject_id,
        template_id=template_id,
        changes={"terms": {"otherwise": {"first_fen": 9_999}}},
        idempotency_key=new_secret(12),
    )
    document = "mutation($id: ID!) { addressDelete(addressId: $id) { __typename } }"
    await shop.ask(document, {"id": here}, token=mine)
    kept = (await shop.ask(ORDER, {"id": placed["id"]}, token=mine))["order"]
    assert kept == placed
    assert kept["address"]["recipient"] == "王小明"
    assert kept["address"]["street"] == HOME["street"]
    operator_order = "query($id: ID!) { order(id: $id) { address { recipient phone street city } } }"
    masked = (await admin.ask(operator_order, {"id": placed["id"]}, token=boss))["order"]["address"]
    assert masked == {"recipient": "王**", "phone": "5678", "street": None, "city": "广州市"}
    stored = str(await rows("SELECT * FROM order_address WHERE order_id = $1", [UUID(placed["id"])]))
    assert "王小明" not in stored
    assert "5678" not in stored


REVEAL = """
mutation($id: ID!) {
  done: orderAddressReveal(orderId: $id) {
    ... on OrderAddressRevealed { address { recipient phone street } } ... on Refusal { code }
  }
}
"""


async def test_a_look_at_an_orders_address_is_audited(
    shop: Door, admin: Door, member_token: Tokens, operator_token: Tokens, deps: Deps
) -> None:
    mine = await member_token()
    sku_id = await goods(deps, await template(deps))
    order_id = (await place(shop, mine, (sku_id, 1), addressId=await address(shop, mine)))["order"]["id"]
    finance, support = await operator_token(Role.FINANCE), await operator_token(Role.SUPPORT)
    assert await admin.codes(REVEAL, {"id": order_id}, token=finance) == ["FORBIDDEN"]
    assert not await AuditRow.filter(subject_id=order_id)
    for looks in (1, 2):
        answer = (await admin.ask(REVEAL, {"id": order_id}, token=support))["done"]
        assert answer["address"] == {"recipient": "王小明", "phone": "13812345678", "street": HOME["street"]}
        found = await AuditRow.filter(subject_id=order_id, action="order_address.reveal")
        assert [row.operator_id for row in found] == [support.subject_id] * looks
        assert "138" not in str([(row.before, row.after) for row in found])
    missing = (await admin.ask(REVEAL, {"id": str(mine.subject_id)}, token=support))["done"]
    assert missing == {"code": "ORDER_NOT_FOUND"}


async def test_a_tier_ships_free_for_so_many_orders_a_month(
    shop: Door, member_token: Tokens, deps: Deps, clock: SetClock, proven: None
) -> None:
    mine = await member_token()
    sku_id = await goods(deps, await template(deps), price_fen=3_000)
    here = await address(shop, mine)
    benefit = {"kind": "free_shipping", "figure": 5_000, "monthly_limit": 1}
    await tiers(deps, {**LEVELS[0], "benefits": [benefit]}, *LEVELS[1:])
    assert (await preview(shop, mine, (sku_id, 1), addressId=here))["shipping"] == 1_000
    quote = await preview(shop, mine, (sku_id, 2), addressId=here)
    assert quote["shipping"] == 0
    assert quote["explain"][-1] == {"step": "SHIPPING", "amount": 0, "code": "tier"}
    first = (await place(shop, mine, (sku_id, 2), addressId=here))["order"]
    assert first["shippingDetail"]["waivedBy"] == "TIER"
    assert (first["shippingDetail"]["fullFee"], first["shipping"]) == (1_200, 0)
    assert (await place(shop, mine, (sku_id, 2), addressId=here))["order"]["shipping"] == 1_200
    await order.cancel(deps, member_id=mine.subject_id, order_id=UUID(first["id"]))
    assert (await place(shop, mine, (sku_id, 2), addressId=here))["order"]["shipping"] == 0
    assert (await preview(shop, mine, (sku_id, 2), addressId=here))["shipping"] == 1_200
    clock.advance(timedelta(days=31))
    mine = await member_token(await Member.get(id=mine.subject_id))
    assert (await preview(shop, mine, (sku_id, 2), addressId=here))["shipping"] == 0


async def test_the_thresholds_count_goods_before_coupons(
    shop: Door, member_token: Tokens, deps: Deps, proven: None
) -> None:
    mine = await member_token()
    sku_id = await goods(deps, await template(deps), price_fen=9_900)
    here = await address(shop, mine)
    coupon = await claimed(deps, mine.subject_id, kind="amount", amount_fen=5_000)
    quote = await preview(shop, mine, (sku_id, 1), addressId=here, couponIds=[str(coupon.id)])
    assert (quote["shipping"], quote["payable"]) == (0, 4_900)


async def test_a_shipping_coupon_takes_off_the_fee_and_nothing_else(
    shop: Door, member_token: Tokens, deps: Deps, proven: None
) -> None:
    mine = await member_token()
    sku_id = await goods(deps, await template(deps), price_fen=3_000)
    here = await address(shop, mine)
    coupon = await claimed(deps, mine.subject_id, kind="shipping")
    given: dict[str, Any] = {"addressId": here, "couponIds": [str(coupon.id)]}
    quote = await preview(shop, mine, (sku_id, 1), **given)
    assert (quote["shipping"], quote["shippingCouponAmount"], quote["payable"]) == (1_000, 1_000, 3_000)
    placed = (await place(shop, mine, (sku_id, 1), **given))["order"]
    assert (placed["shipping"], placed["payable"]) == (1_000, 3_000)
    assert (await preview(shop, mine, (sku_id, 1), **given))["code"] == "COUPON_NOT_USABLE"


async def test_a_repeated_order_is_the_first_and_another_address_is_another_content(
    shop: Door, member_token: Tokens, deps: Deps
) -> None:
    mine = await member_token()
    sku_id = await goods(deps, await template(deps))
    here, there = await address(shop, mine), await address(shop, mine, **ELSEWHERE)
    first = await place(shop, mine, (sku_id, 1), addressId=here, key="one-tap-on-order")
    assert await place(shop, mine, (sku_id, 1), addressId=here, key="one-tap-on-order") == first
    assert (await place(shop, mine, (sku_id, 1), addressId=there, key="one-tap-on-order"))["code"] == "KEY_REUSED"


SET_ADDRESS = """
mutation($order: ID!, $address: ID!) {
  done: orderAddressSet(orderId: $order, addressId: $address) {
    __typename
    ... on OrderAddressSet { order { payable address { street } timeline { kind } } }
    ... on RegionNotDelivered { skuId }
    ... on OrderStateRefused { state }
    ... on Refusal { code }
  }
}
"""


async def test_an_order_without_an_address_is_given_one_once(
    shop: Door, member_token: Tokens, deps: Deps, proven: None
) -> None:
    mine, other = await member_token(), await member_token()
    sku_id = await goods(deps, None, price_fen=5_000)
    here, moved = await address(shop, mine), await address(shop, mine, street="体育西路 1 号")
    theirs, far = await address(shop, other), await address(shop, mine, **FAR)
    order_id = (await place(shop, mine, (sku_id, 1)))["order"]["id"]

    async def send_to(address_id: str, token: Bearer = mine) -> Any:
        given = {"order": order_id, "address": address_id}
        return (await shop.ask(SET_ADDRESS, given, token=token))["done"]

    assert (await send_to(here, other))["code"] == "ORDER_NOT_FOUND"
    assert (await send_to(theirs))["code"] == "ADDRESS_NOT_FOUND"
    sku = await Sku.get(id=sku_id)
    await Product.filter(id=sku.product_id).update(shipping_template_id=await template(deps))
    refused = await send_to(far)
    assert (refused["code"], refused["skuId"]) == ("REGION_NOT_DELIVERED", str(sku_id))
    for _ in range(2):
        sent = (await send_to(here))["order"]
        assert (sent["payable"], sent["address"]["street"]) == (5_000, HOME["street"])
        assert [event["kind"] for event in sent["timeline"]] == ["placed", "address_set"]
    assert (await send_to(moved))["code"] == "ORDER_ADDRESS_KEPT"
    await order.cancel(deps, member_id=mine.subject_id, order_id=UUID(order_id))
    closed = await send_to(here)
    assert (closed["code"], closed["state"]) == ("ORDER_STATE_REFUSED", "closed")
