"""Paid orders and operators who send them, for tests of fulfilment."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from loyalty.orders.order import OrderLine
from models.engine import rows
from models.ids import new_secret
from models.orders.order import Order
from models.people.member import Member
from resolvers.deps import Deps
from resolvers.orders import order
from resolvers.orders.order_delivery import DeliveryWish
from resolvers.payments import payment
from tests.doors import Door, bearer, make_member, make_operator
from tests.sandbox_server import SandboxControl
from tests.shelf import put_on_shelf

PARCEL = """
mutation Parcel($input: ParcelCreateInput!, $key: IdempotencyKey!) {
  done: parcelCreate(input: $input, idempotencyKey: $key) {
    __typename
    ... on ParcelKept { parcel { id carrier trackingNumber voidedAt lines { lineId quantity } } }
    ... on Refusal { code }
    ... on ParcelTooMuch { left }
    ... on FulfilmentStateRefused { state }
  }
}
"""
ORDER = """
query ($id: ID!) {
  done: order(id: $id) {
    state fulfilment receiveBy completedAt pickUpReadyAt
    pickUpPoint { id name }
    lines { id quantity shippedCount }
    parcels { carrier trackingNumber lines { quantity } }
    timeline { kind event title }
  }
}
"""


@dataclass(frozen=True)
class Desk:
    """An operator who sends parcels, at the operators' door."""

    admin: Door
    token: str

    async def ask(self, document: str, **variables: object) -> dict[str, Any]:
        """What comes of a mutation that is called ``done``."""
        found: dict[str, Any] = (await self.admin.ask(document, variables, token=self.token))["done"]
        return found

    async def send(
        self, order_id: UUID, *pieces: tuple[UUID, int], number: str | None = None, key: str | None = None, **more: str
    ) -> dict[str, Any]:
        """A parcel with these pieces, or with all that is left."""
        given: dict[str, object] = {
            "orderId": str(order_id),
            "carrier": "YTO",
            "trackingNumber": number or "YT" + new_secret(6).replace("_", "-"),
            **more,
        }
        if pieces:
            given["lines"] = [{"lineId": str(line_id), "quantity": quantity} for line_id, quantity in pieces]
        return await self.ask(PARCEL, input=given, key=key or new_secret(12))

    async def sent(self, order_id: UUID, *pieces: tuple[UUID, int], **more: str) -> dict[str, Any]:
        """The same, taken."""
        answer = await self.send(order_id, *pieces, **more)
        assert answer["__typename"] == "ParcelKept", answer
        parcel: dict[str, Any] = answer["parcel"]
        return parcel


async def desk(deps: Deps, admin: Door, role: str = "owner") -> Desk:
    """A desk of its own operator."""
    return Desk(admin, await bearer(deps, await make_operator(deps, role)))


async def seen(deps: Deps, shop: Door, order_row: Order) -> dict[str, Any]:
    """The order as its member sees it."""
    token = await bearer(deps, await Member.get(id=order_row.member_id))
    found: dict[str, Any] = (await shop.ask(ORDER, {"id": str(order_row.id)}, token=token))["done"]
    return found


async def paid_order(
    deps: Deps, wechat: SandboxControl, *quantities: int, pick_up_point_id: UUID | None = None, price_fen: int = 10_000
) -> tuple[Order, list[UUID]]:
    """An order of a new member, paid over WeChat, with a line for each quantity; and the ids of its lines."""
    member = await make_member(deps, openid=await wechat.openid())
    wanted = [
        OrderLine(sku_id=await put_on_shelf(deps, price_fen=price_fen), quantity=quantity)
        for quantity in quantities or (1,)
    ]
    placed = await order.place(
        deps,
        member_id=member.id,
        lines=wanted,
        points_wanted=0,
        expected_fen=None,
        remark="",
        idempotency_key=new_secret(12),
        delivery=DeliveryWish(pick_up_point_id=pick_up_point_id),
    )
    await pay(deps, wechat, placed)
    lines = await rows("SELECT id FROM order_line WHERE order_id = $1 ORDER BY position", [placed.id])
    return await Order.get(id=placed.id), [line["id"] for line in lines]


async def pay(deps: Deps, wechat: SandboxControl, placed: Order) -> None:
    """Pay an order in WeChat and book it."""
    params = await payment.pay(deps, member_id=placed.member_id, order_id=placed.id)
    await wechat.request_payment(params)
    await payment.confirm(deps, member_id=placed.member_id, order_id=placed.id)
