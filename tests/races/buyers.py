"""Members who buy through the public API, and what a race looks at afterwards."""

import asyncio
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

import pytest

from models import engine
from models.engine import rows
from models.ids import new_secret
from models.people.member import Member
from resolvers.deps import Deps
from resolvers.invariants.verify import verify
from tests.doors import Bearer, Door, bearer, make_member
from tests.patience import PATIENCE_S
from tests.sandbox_server import SandboxControl

PLACE = """
mutation Place($lines: [OrderLineInput!]!, $points: Points!, $key: IdempotencyKey!) {
  done: orderPlace(input: {lines: $lines, points: $points}, idempotencyKey: $key) {
    __typename ... on OrderPlaced { order { id state payable pointsUsed } } ... on Refusal { code }
  }
}
"""
PAY = """
mutation Pay($id: ID!) {
  done: orderPay(orderId: $id) {
    __typename
    ... on PaymentRequested { timeStamp nonceStr package signType paySign }
    ... on Refusal { code }
  }
}
"""
CANCEL = """
mutation Cancel($id: ID!) {
  done: orderCancel(orderId: $id) { __typename ... on OrderChanged { order { id state } } ... on Refusal { code } }
}
"""
CONFIRM = """
mutation Confirm($id: ID!) {
  done: orderConfirmPayment(orderId: $id) {
    __typename ... on OrderChanged { order { id state } } ... on Refusal { code }
  }
}
"""
ORDER = "query Order($id: ID!) { done: order(id: $id) { id state timeline { kind } } }"
TRIES = 20

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Buyer:
    """A signed-in member with a phone."""

    shop: Door
    token: Bearer

    @property
    def member_id(self) -> UUID:
        """Whose phone it is."""
        return self.token.subject_id

    async def signed_in_again(self, deps: Deps) -> "Buyer":
        """The same member, after the access token has ended."""
        return Buyer(self.shop, await bearer(deps, await Member.get(id=self.member_id)))

    async def ask(self, document: str, **variables: object) -> dict[str, Any]:
        """The payload or refusal; what a busy store asks to be sent again is sent again, as a phone does."""
        for _ in range(TRIES):
            answer = (await self.shop.send(document, variables, token=self.token)).json()
            if "errors" not in answer:
                found: dict[str, Any] = answer["data"]["done"]
                return found
            codes = [error["extensions"]["code"] for error in answer["errors"]]
            assert codes == ["TRY_AGAIN"], answer["errors"]
        raise AssertionError("the store is busy for too long")

    async def place(
        self, sku_id: UUID, *, quantity: int = 1, points: int = 0, key: str | None = None
    ) -> dict[str, Any]:
        """One tap on "order"."""
        lines = [{"skuId": str(sku_id), "quantity": quantity}]
        return await self.ask(PLACE, lines=lines, points=points, key=key or new_secret(12))

    async def placed(self, sku_id: UUID, *, quantity: int = 1, points: int = 0) -> str:
        """The id of a new order."""
        answer = await self.place(sku_id, quantity=quantity, points=points)
        assert answer["__typename"] == "OrderPlaced", answer
        order_id: str = answer["order"]["id"]
        return order_id

    async def pay(self, wechat: SandboxControl, order_id: str) -> None:
        """Open the payment and pay it in WeChat; the notice is on its way."""
        params = await self.ask(PAY, id=order_id)
        assert params.pop("__typename") == "PaymentRequested", params
        await wechat.post("request_payment", **params)

    async def bought(self, wechat: SandboxControl, sku_id: UUID, *, points: int = 0) -> str:
        """The id of a new order whose payment is booked."""
        order_id = await self.placed(sku_id, points=points)
        await self.pay(wechat, order_id)
        await wechat.settle()
        assert await self.state(order_id) == "PAID"
        return order_id

    async def state(self, order_id: str) -> str:
        """Where the order stands."""
        state: str = (await self.ask(ORDER, id=order_id))["state"]
        return state

    async def timeline(self, order_id: str) -> list[str]:
        """What happened to the order."""
        return [event["kind"] for event in (await self.ask(ORDER, id=order_id))["timeline"]]


async def buyer(deps: Deps, shop: Door, wechat: SandboxControl) -> Buyer:
    """A new member whom WeChat knows."""
    return Buyer(shop, await bearer(deps, await make_member(deps, openid=await wechat.openid())))


async def at_once(calls: Iterable[Awaitable[T]]) -> list[T]:
    """All of them, started together."""
    return await asyncio.gather(*calls)


async def one(sql: str, *values: object) -> Any:
    """The only value of the only row."""
    found = await rows(sql, values)
    assert len(found) == 1, found
    (value,) = found[0].values()
    return value


async def assert_the_books_are_right() -> None:
    """Every invariant of the store holds."""
    broken = {finding.invariant.name: finding.offenders for finding in await verify() if finding.offenders}
    assert not broken, broken


async def attempts(order_id: str) -> list[str]:
    """The numbers under which WeChat was asked to collect the order, oldest first."""
    found = await rows("SELECT out_trade_no FROM payment_attempt WHERE order_id = $1 ORDER BY id", [UUID(order_id)])
    return [row["out_trade_no"] for row in found]


def without_member_locks(monkeypatch: pytest.MonkeyPatch, *, together: int) -> None:
    """For controls: members' verbs no longer wait for each other, but the first so many start side by side."""
    begun = 0
    all_begun = asyncio.Event()

    async def no_lock(members: Iterable[UUID]) -> None:
        nonlocal begun
        await rows("SELECT id FROM member WHERE id = ANY($1::uuid[])", [list(members)])
        begun += 1
        if begun == together:
            all_begun.set()
        await asyncio.wait_for(all_begun.wait(), PATIENCE_S)

    monkeypatch.setattr(engine, "lock_members", no_lock)


def decided_before_any_writes(monkeypatch: pytest.MonkeyPatch, owner: object, write: str, *, together: int) -> None:
    """For controls: so many calls of ``owner.write`` wait for each other, so all had decided when the first wrote."""
    all_decided = asyncio.Barrier(together)
    real = getattr(owner, write)

    async def waiting(*args: Any, **kwargs: Any) -> Any:
        await asyncio.wait_for(all_decided.wait(), PATIENCE_S)
        return await real(*args, **kwargs)

    monkeypatch.setattr(owner, write, waiting)


async def without_constraints(*tables: str) -> None:
    """For controls: the tables of this store no longer refuse what breaks their checks and unique keys."""
    found = await rows(
        "SELECT conrelid::regclass::text AS name, conname FROM pg_constraint "
        "WHERE conrelid = ANY($1::regclass[]) AND contype IN ('c', 'u')",
        [list(tables)],
    )
    for row in found:
        await rows(f'ALTER TABLE {row["name"]} DROP CONSTRAINT "{row["conname"]}"')
    for table in tables:
        for row in await rows(
            "SELECT indexrelid::regclass::text AS name FROM pg_index "
            "WHERE indrelid = $1::regclass AND indisunique AND NOT indisprimary",
            [table],
        ):
            await rows(f"DROP INDEX {row['name']}")
