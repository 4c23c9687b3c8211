"""A coupon off the shipping fee: in the cart with the reason, in the best combination, on the order."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest_asyncio

from models.coupons.coupon import Coupon, OrderCoupon
from models.ids import new_secret
from models.orders.order import Order
from resolvers.deps import Deps
from resolvers.invariants.verify import verify
from tests.conftest import make_database
from tests.coupons import claimed
from tests.doors import Bearer, Door
from tests.schema.orders.test_order_shipping import address, basket, goods, template

Tokens = Callable[..., Awaitable[Bearer]]

CART = """
query Cart($lines: [OrderLineInput!]!, $address: ID) {
  done: cartCoupons(lines: $lines, addressId: $address) {
    __typename
    ... on CartCoupons {
      bestCouponIds bestDiscount usable { couponId verdict discount } unusable { couponId reason missing }
    }
    ... on Refusal { code }
  }
}
"""
PLACE = """
mutation Place($input: OrderPlaceInput!, $key: IdempotencyKey!) {
  done: orderPlace(input: $input, idempotencyKey: $key) {
    __typename ... on OrderPlaced { order { id payable couponAmount shipping } }
    ... on Refusal { code } ... on CouponNotUsable { reason }
  }
}
"""


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(postgres_url: str, migrated_template: str, worker_id: str) -> str:
    """A store of its own: a default template concerns every order of a store."""
    return await make_database(postgres_url, f"youli_fee_coupons_{worker_id}", template=migrated_template)


async def ask(door: Door, who: Bearer, text: str, /, **variables: Any) -> dict[str, Any]:
    done: dict[str, Any] = (await door.ask(text, variables, token=who))["done"]
    return done


async def test_a_cart_weighs_the_fee_up_and_the_order_pays_less_of_it(
    shop: Door, deps: Deps, member_token: Tokens
) -> None:
    mine = await member_token()
    sku_id = await goods(deps, await template(deps), price_fen=5_000)
    home = await address(shop, mine)
    together = {"group": "g", "combines_with": ["g"]}
    fee = await claimed(deps, mine.subject_id, kind="shipping", cap_fen=800, threshold_fen=5_000, **together)
    dear = await claimed(deps, mine.subject_id, kind="shipping", threshold_fen=5_001)
    ten = await claimed(deps, mine.subject_id, **together)
    later = await claimed(deps, mine.subject_id, kind="shipping", delay_days=1)
    lines = basket((sku_id, 1))["lines"]
    unknown = await ask(shop, mine, CART, lines=lines)
    assert {one["couponId"]: one["reason"] for one in unknown["unusable"]} == {
        str(fee.id): "NO_SHIPPING_FEE",
        str(dear.id): "BELOW_THRESHOLD",
        str(later.id): "NOT_STARTED",
    }
    cart = await ask(shop, mine, CART, lines=lines, address=home)
    assert {one["couponId"]: one["discount"] for one in cart["usable"]} == {str(fee.id): 800, str(ten.id): 1_000}
    assert {one["couponId"]: one["missing"] for one in cart["unusable"]} == {str(dear.id): 1, str(later.id): None}
    assert (sorted(cart["bestCouponIds"]), cart["bestDiscount"]) == (sorted([str(fee.id), str(ten.id)]), 1_800)
    wish = basket((sku_id, 1), addressId=home, couponIds=cart["bestCouponIds"])
    placed = await ask(shop, mine, PLACE, input=wish, key=new_secret(12))
    assert placed["order"]["couponAmount"] == 1_800
    assert placed["order"]["payable"] == 5_000 - 1_000 + placed["order"]["shipping"] - 800
    order = await Order.get(id=placed["order"]["id"])
    taken = await OrderCoupon.get(order_id=order.id, coupon_id=fee.id)
    assert (taken.discount_fen, taken.shipping_fen, taken.shares) == (800, 800, [0])
    assert order.shipping_coupon_fen == 800
    assert (await Coupon.get(id=fee.id)).state == "reserved"
    assert not [finding.invariant.name for finding in await verify() if finding.offenders]


async def test_a_shipping_coupon_without_a_fee_is_refused(shop: Door, deps: Deps, member_token: Tokens) -> None:
    mine = await member_token()
    sku_id = await goods(deps, await template(deps), price_fen=9_900)
    fee = await claimed(deps, mine.subject_id, kind="shipping")
    wish = basket((sku_id, 1), addressId=await address(shop, mine), couponIds=[str(fee.id)])
    refused = await ask(shop, mine, PLACE, input=wish, key=new_secret(12))
    assert (refused["code"], refused["reason"]) == ("COUPON_NOT_USABLE", "no_shipping_fee")
    assert (await Coupon.get(id=fee.id)).state == "issued"
