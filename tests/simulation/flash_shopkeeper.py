"""The operator of a flash sale: refunds paid orders piece by piece and whole while it runs, and may close it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.patience import PATIENCE_S
from tests.simulation.flash_caller import Caller
from tests.simulation.flash_shopper import Bought, Shopper

CLOSE = """
mutation Close($id: ID!, $key: IdempotencyKey!) {
  done: flashSaleClose(id: $id, idempotencyKey: $key) {
    __typename ... on FlashSaleChanged { sale { state } } ... on Refusal { code }
  }
}
"""
REFUND = """
mutation Refund($id: ID!, $key: IdempotencyKey!) {
  done: orderRefund(orderId: $id, reason: "秒杀", idempotencyKey: $key) { __typename ... on Refusal { code } }
}
"""
REFUND_PIECE = """
mutation RefundPiece($id: ID!, $line: ID!, $back: Boolean!, $key: IdempotencyKey!) {
  done: orderRefundLines(
    orderId: $id, lines: [{lineId: $line, quantity: 1}], reason: "秒杀", goodsComeBack: $back, idempotencyKey: $key
  ) { __typename ... on Refusal { code } }
}
"""
SEND_PIECE = """
mutation SendPiece($id: ID!, $line: ID!, $number: String!, $key: IdempotencyKey!) {
  done: parcelCreate(
    input: {orderId: $id, carrier: "YTO", trackingNumber: $number, lines: [{lineId: $line, quantity: 1}]}
    idempotencyKey: $key
  ) { __typename ... on Refusal { code } }
}
"""


class Errand(NamedTuple):
    """What a key stands for. ``about`` is what the call is noted down with."""

    what: str
    document: str
    variables: dict[str, Any]
    about: dict[str, Any]


@dataclass(kw_only=True)
class Shopkeeper(Caller):
    """An operator who may do everything. Sends what had no answer again."""

    path = "/admin/graphql"
    member: str = ""
    open_keys: dict[str, Errand] = field(default_factory=dict)

    async def _run(self, key: str, errand: Errand) -> dict[str, Any] | None:
        self.open_keys[key] = errand
        call = self.new(errand.what, key=key, **errand.about)
        done = await self.call(call, errand.document, **errand.variables, key=key)
        if done is not None:
            self.open_keys.pop(key, None)
            call.answer = done["sale"]["state"] if "sale" in done else call.answer
        return done

    async def close(self, sale_id: object) -> None:
        """Close the session, and ask until it is answered."""
        key, errand = self.key(), Errand("close", CLOSE, {"id": str(sale_id)}, {})
        async with asyncio.timeout(PATIENCE_S):
            while await self._run(key, errand) is None:
                continue

    async def refund(self, order_id: str) -> None:
        """All that is left of an order."""
        await self._run(self.key(), Errand("refund", REFUND, {"id": order_id}, {"order_id": order_id}))

    async def refund_piece(self, order_id: str, bought: Bought, *, keeps: bool) -> None:
        """One piece, which the member may keep if it was sent."""
        variables = {"id": order_id, "line": bought.line_id, "back": not keeps}
        about = {"order_id": order_id, "quantity": 1, "keeps": keeps}
        await self._run(self.key(), Errand("refund", REFUND_PIECE, variables, about))

    async def send_piece(self, order_id: str, bought: Bought) -> None:
        """One piece in a parcel."""
        variables = {"id": order_id, "line": bought.line_id, "number": f"YT{self.key()}"}
        await self._run(self.key(), Errand("send", SEND_PIECE, variables, {"order_id": order_id}))

    async def mind_the_shop(self, shoppers: Sequence[Shopper], over: asyncio.Event) -> None:
        """Refund and send what was paid as it comes to mind, until it is over."""
        while not over.is_set():
            paid = {order_id: bought for one in shoppers for order_id, bought in one.paid.items()}
            mind = self.rng.random()
            if self.open_keys and mind < 0.5:
                await self._again()
            elif paid:
                # Of the newest: older ones have gone back mostly.
                order_id = self.rng.choice(sorted(paid)[-3:])
                if mind < 0.3:
                    await self.refund(order_id)
                elif mind < 0.8:
                    await self.refund_piece(order_id, paid[order_id], keeps=self.rng.random() < 0.5)
                else:
                    await self.send_piece(order_id, paid[order_id])
            await asyncio.sleep(self.rng.uniform(0.1, 0.4))

    async def _again(self) -> None:
        key = min(self.open_keys)
        await self._run(key, self.open_keys[key])

    async def finish(self) -> None:
        """Send what had no answer again until it has one."""
        async with asyncio.timeout(PATIENCE_S):
            while self.open_keys:
                await self._again()
