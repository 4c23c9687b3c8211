"""A market day over HTTP: orders, payments and refunds at random, while WeChat and its notices misbehave.

Everything members and operators do goes through the two GraphQL doors; WeChat is the sandbox with its faults. At the
end both sides' books are laid side by side.
"""

import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx

from jobs.sweep import BATCH
from jobs.sweeps import SWEEPS
from loyalty.people.rights import Role
from models.engine import changed, rows
from models.ids import new_secret
from models.people.member import Member
from models.people.operator import Operator
from resolvers.invariants.verify import verify
from resolvers.points import points_book
from tests.coupons import make_template
from tests.doors import Bearer, Door, bearer, doors_app, make_member, make_operator
from tests.sandbox_server import Refused
from tests.shelf import put_on_shelf
from tests.simulation.world import World

MEMBERS_FOR_ORDERS = 25
TOKEN_GOOD_FOR = timedelta(minutes=10)
SHELF = (
    {"price_fen": 12_800, "stock_left": 100_000},
    {"price_fen": 9_999, "stock_left": 100_000, "member_price_fen": 8_888},
    {"price_fen": 3_333, "stock_left": 100_000},
    {"price_fen": 59_800, "stock_left": 200},
    {"price_fen": 700, "stock_left": 150},
)
NOTICES: tuple[dict[str, object] | None, ...] = (
    None,
    None,
    None,
    {"drop": True, "first_attempts": None},
    {"drop": True, "first_attempts": 2},
    {"delay_s": 90},
    {"delay_s": 7_200},
    {"duplicate": 2},
    {"duplicate": 2, "fresh_ids": True},
    {"hold": True},
    {"signature": "forged", "first_attempts": 1},
    {"tamper": "ciphertext", "first_attempts": 1},
)
FORGERIES: tuple[dict[str, object], ...] = (
    {"signature": "forged"},
    {"signature": "missing"},
    {"tamper": "body"},
    {"timestamp_offset_s": -400},
)
FAULTS = (
    ("prepay", "system_error_after_effect"),
    ("prepay", "reset_after_effect"),
    ("prepay", "truncated_json"),
    ("query", "system_error"),
    ("query", "unsigned"),
    ("close", "system_error"),
    ("close", "system_error_after_effect"),
    ("close", "reset"),
    ("close", "pay_first"),
    ("refund", "system_error_after_effect"),
    ("refund", "reset_after_effect"),
    ("refund", "not_enough"),
    ("refund", "slow"),
    ("refund_query", "system_error"),
    ("refund_query", "forged_signature"),
)
REFUNDS: tuple[dict[str, object] | None, ...] = (
    None,
    None,
    {"at_once": True},
    {"after_s": 3_600},
    {"status": "ABNORMAL"},
    {"status": "CLOSED"},
    {"status": "PROCESSING"},
)

PLACE = """mutation($input: OrderPlaceInput!, $k: IdempotencyKey!) { orderPlace(input: $input, idempotencyKey: $k) {
  ... on OrderPlaced { order { id state lines { id quantity } } } ... on Refusal { code } } }"""
PAY = """mutation($id: ID!) { orderPay(orderId: $id) {
  ... on PaymentRequested { timeStamp nonceStr package signType paySign } ... on Refusal { code } } }"""
CANCEL = "mutation($id: ID!) { orderCancel(orderId: $id) { __typename ... on Refusal { code } } }"
CLAIM = """mutation($id: ID!, $k: IdempotencyKey!) { couponClaim(templateId: $id, idempotencyKey: $k) {
  __typename ... on Refusal { code } } }"""
REFUND = """mutation($id: ID!, $k: IdempotencyKey!) { orderRefund(orderId: $id, reason: "市集", idempotencyKey: $k) {
  __typename ... on Refusal { code } } }"""
REFUND_LINES = """mutation($id: ID!, $lines: [RefundLineInput!]!, $k: IdempotencyKey!) {
  orderRefundLines(orderId: $id, lines: $lines, reason: "市集", idempotencyKey: $k) {
  __typename ... on Refusal { code } } }"""
CASES = """query($after: String) { exceptionCases(first: 50, after: $after) {
  nodes { id kind orderId details actions } pageInfo { hasNextPage endCursor } } }"""
RETRY = """mutation($id: ID!, $k: IdempotencyKey!) { exceptionCaseRetry(id: $id, idempotencyKey: $k) {
  ... on ExceptionCaseChanged { exceptionCase { resolvedAt } } ... on Refusal { code } } }"""
RETURN = """mutation($id: ID!, $k: IdempotencyKey!) {
  exceptionCaseRefund(id: $id, reason: "市集", idempotencyKey: $k) {
  ... on ExceptionCaseChanged { exceptionCase { resolvedAt } } ... on Refusal { code } } }"""
BY_HAND = """mutation($id: ID!, $k: IdempotencyKey!) {
  exceptionCasePaidByHand(id: $id, evidence: "银行转账", idempotencyKey: $k) {
  ... on ExceptionCaseChanged { exceptionCase { resolvedAt } } ... on Refusal { code } } }"""


@dataclass
class Bought:
    """An order as its buyer remembers it. ``sheets`` are the payment sheets that were shown."""

    id: UUID
    member: Member
    lines: list[dict[str, Any]]
    sheets: list[dict[str, Any]] = field(default_factory=list)


class Market:
    """Opened by ``opened`` over a world that has begun."""

    def __init__(self, world: World, http: httpx.AsyncClient, seed: int) -> None:
        self.world = world
        self.chance = random.Random(seed)
        self.shop, self.admin = Door(http, "/graphql"), Door(http, "/admin/graphql")
        self.boss: Operator
        self.members: list[Member] = []
        self.skus: list[UUID] = []
        self.templates: list[UUID] = []
        self.orders: list[Bought] = []
        self.told: Counter[str] = Counter()
        self._tokens: dict[UUID, tuple[Bearer, datetime]] = {}

    @classmethod
    @asynccontextmanager
    async def opened(cls, world: World, seed: int, *, orders: int) -> AsyncIterator["Market"]:
        """A market with members, goods and coupons for so many orders."""
        transport = httpx.ASGITransport(doors_app(world.deps))
        async with httpx.AsyncClient(transport=transport, base_url="http://store.test", timeout=120) as http:
            market = cls(world, http, seed)
            await market._fill(orders)
            yield market

    async def _fill(self, orders: int) -> None:
        deps = self.world.deps
        self.boss = await make_operator(deps, Role.OWNER)
        for _ in range(max(4, orders // MEMBERS_FOR_ORDERS)):
            member = await make_member(deps, openid=await self.world.wechat.openid())
            await points_book.adjust(
                deps,
                operator_id=self.boss.id,
                member_id=member.id,
                amount=20_000,
                reason="开市",
                idempotency_key=new_secret(12),
            )
            self.members.append(member)
        self.skus = [await put_on_shelf(deps, **terms) for terms in SHELF]
        self.templates = [
            (await make_template(deps, amount_fen=1_000, threshold_fen=5_000)).id,
            (await make_template(deps, kind="percent", discount_bp=1_500, cap_fen=3_000)).id,
            (await make_template(deps, kind="percent", discount_bp=10_000)).id,
        ]

    async def _token(self, subject: Member | Operator) -> Bearer:
        now = self.world.clock.now()
        kept = self._tokens.get(subject.id)
        if kept is None or now - kept[1] >= TOKEN_GOOD_FOR:
            kept = self._tokens[subject.id] = (await bearer(self.world.deps, subject), now)
        return kept[0]

    async def _member(self, member: Member, document: str, **variables: object) -> dict[str, Any]:
        return await self._asked(self.shop, member, document, variables)

    async def _operator(self, document: str, **variables: object) -> dict[str, Any]:
        return await self._asked(self.admin, self.boss, document, variables)

    async def _asked(
        self, door: Door, who: Member | Operator, document: str, variables: Mapping[str, object]
    ) -> dict[str, Any]:
        for _ in range(3):
            answer = (await door.send(document, variables, token=await self._token(who))).json()
            codes = [error["extensions"]["code"] for error in answer.get("errors", [])]
            if "RATE_LIMITED" not in codes:
                break
            # A buyer who is told to wait, waits; here that needs no time.
            await self.world.deps.redis.flushdb()
        assert not codes, answer
        found: dict[str, Any] = next(iter(answer["data"].values()))
        if "code" in found:
            self.told[found["code"]] += 1
        return found

    # --- a day ----------------------------------------------------------------------------------------------------

    async def trade(self, orders: int) -> None:
        """So many orders, each with what becomes of it, and time in between."""
        acts: Sequence[tuple[Callable[[], Coroutine[Any, Any, None]], int]] = (
            (self.pay, 60),
            (self.cancel, 12),
            (self.open_sheet, 12),
            (self.lose_sheet, 10),
            (self.pay_old_sheet, 15),
            (self.underpay, 3),
            (self.forge, 8),
            (self.refund, 12),
            (self.refund_some, 16),
            (self.fail, 12),
            (self.time_passes, 30),
            (self.sweep, 30),
        )
        weights = [weight for _, weight in acts]
        for _ in range(orders):
            await self.place()
            for act in self.chance.choices([one for one, _ in acts], weights, k=3):
                await act()

    def _one(self) -> Bought | None:
        """An order, most likely a young one."""
        if not self.orders:
            return None
        back = min(int(self.chance.expovariate(0.25)), len(self.orders) - 1)
        return self.orders[-1 - back]

    async def place(self) -> None:
        """An order of one to three lines, with coupons and points as it happens."""
        member = self.chance.choice(self.members)
        if self.chance.random() < 0.4:
            template_id = self.chance.choices(self.templates, [5, 3, 1])[0]
            await self._member(member, CLAIM, id=str(template_id), k=self._key())
        skus = self.chance.sample(self.skus, self.chance.choices([1, 2, 3], [6, 3, 2])[0])
        wanted = {
            "lines": [{"skuId": str(sku_id), "quantity": self.chance.randint(1, 3)} for sku_id in skus],
            "bestCoupons": self.chance.random() < 0.5,
            "points": self.chance.choice([0, 0, 0, 100, 300, 700]),
        }
        key = self._key()
        told = await self._member(member, PLACE, input=wanted, k=key)
        if "order" not in told:
            return
        if self.chance.random() < 0.1:
            assert await self._member(member, PLACE, input=wanted, k=key) == told, "the same key is the same order"
        placed = told["order"]
        self.orders.append(Bought(UUID(placed["id"]), member, placed["lines"]))

    async def open_sheet(self) -> None:
        """The phone shows the payment sheet."""
        if one := self._one():
            told = await self._member(one.member, PAY, id=str(one.id))
            if "paySign" in told:
                one.sheets.append(told)

    async def pay(self) -> None:
        """The newest order is paid, and WeChat's notice goes its way."""
        if not self.orders:
            return
        one = self.orders[-1]
        told = await self._member(one.member, PAY, id=str(one.id))
        if "paySign" in told:
            one.sheets.append(told)
            await self._confirm(told)

    async def pay_old_sheet(self) -> None:
        """A sheet that was left open is confirmed now, whatever became of its order."""
        one = self._one()
        if one and one.sheets:
            await self._confirm(self.chance.choice(one.sheets))

    async def _confirm(self, sheet: Mapping[str, Any]) -> None:
        script = self.chance.choice(NOTICES)
        if script is not None:
            await self.world.wechat.script_notices(event_type="TRANSACTION", **script)
        try:
            await self.world.wechat.post("request_payment", **sheet)
        except Refused:
            await self.world.wechat.delete("scripts")
        await self.world.wechat.settle()

    async def lose_sheet(self) -> None:
        """What a crash would do: the store believes an attempt closed that WeChat has open."""
        if one := self._one():
            await changed(
                "UPDATE payment_attempt SET state = 'closed', poll_due_at = NULL "
                "WHERE order_id = $1 AND state IN ('created', 'prepaid')",
                [one.id],
            )

    async def underpay(self) -> None:
        """What cannot happen: WeChat collects one fen less than was asked for."""
        open_now = await rows("SELECT out_trade_no, total_fen FROM payment_attempt WHERE state = 'prepaid' ORDER BY id")
        if open_now:
            one = self.chance.choice(open_now)
            try:
                await self.world.wechat.pay(one["out_trade_no"], total_fen=max(one["total_fen"] - 1, 1))
            except Refused:
                return
            await self.world.wechat.settle()

    async def cancel(self) -> None:
        """A member changes their mind."""
        if one := self._one():
            await self._member(one.member, CANCEL, id=str(one.id))

    async def forge(self) -> None:
        """A notice that WeChat never sent."""
        asked = await rows("SELECT out_trade_no FROM payment_attempt WHERE state <> 'created' ORDER BY id DESC LIMIT 9")
        if asked:
            spoilt = self.chance.choice(FORGERIES)
            number = self.chance.choice(asked)["out_trade_no"]
            await self.world.wechat.post("notices/forge", out_trade_no=number, **spoilt)

    async def refund(self) -> None:
        """All of an order goes back."""
        if one := self._one():
            await self._script_refund()
            await self._operator(REFUND, id=str(one.id), k=self._key())
            await self.world.wechat.settle()

    async def refund_some(self) -> None:
        """Some pieces of an order go back."""
        if one := self._one():
            await self._script_refund()
            lines = self.chance.sample(one.lines, self.chance.randint(1, len(one.lines)))
            wanted = [{"lineId": line["id"], "quantity": self.chance.randint(1, line["quantity"])} for line in lines]
            await self._operator(REFUND_LINES, id=str(one.id), lines=wanted, k=self._key())
            await self.world.wechat.settle()

    async def _script_refund(self) -> None:
        script = self.chance.choice(REFUNDS)
        if script is not None:
            await self.world.wechat.script_refunds(**script)

    async def fail(self) -> None:
        """WeChat will misbehave."""
        endpoint, fault = self.chance.choice(FAULTS)
        await self.world.wechat.fault(endpoint, fault, times=self.chance.randint(1, 3), seconds=4.0)

    async def time_passes(self) -> None:
        """Some time, mostly little."""
        await self._advance(timedelta(seconds=self.chance.choice([20, 45, 90, 300, 1_200, 1_900])))

    async def _advance(self, by: timedelta) -> None:
        await self.world.wechat.post("clock/set", at=self.world.clock.advance(by).isoformat(), stands=True)
        await self.world.wechat.settle()

    async def sweep(self) -> None:
        """Jobs about orders and money; unlike in the worker, a failure is a failure."""
        for each in SWEEPS:
            if each.name in MONEY:
                for thing in await each.due(self.world.deps, BATCH):
                    await each.do(self.world.deps, thing)
        await self.world.wechat.settle()

    def _key(self) -> str:
        return f"{self.chance.getrandbits(64):016x}"

    # --- the end --------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """WeChat behaves again, everything that is retried has its time, and the bills are read."""
        await self.world.wechat.delete("faults")
        await self.world.wechat.delete("scripts")
        for hours in (1, 2, 4, 7, 13, 25, 25, 25):
            await self._advance(timedelta(hours=hours))
            while await self._swept():
                pass

    async def _swept(self) -> bool:
        before = await rows(UNREST, [self.world.clock.now()])
        await self.sweep()
        return await rows(UNREST, [self.world.clock.now()]) != before

    async def cases(self) -> list[dict[str, Any]]:
        """Everything open in the inbox, as an operator sees it."""
        found: list[dict[str, Any]] = []
        after = None
        while True:
            told = await self._operator(CASES, after=after)
            found += told["nodes"]
            if not told["pageInfo"]["hasNextPage"]:
                return found
            after = told["pageInfo"]["endCursor"]

    async def work_the_inbox(self) -> None:
        """Do what each open case suggests, and the other thing where that did not help."""
        for case in await self.cases():
            if case["kind"] == "refund_abnormal":
                await self._operator(BY_HAND, id=case["id"], k=self._key())
            elif "REFUND" in case["actions"] and case["kind"] != "late_payment":
                await self._operator(RETURN, id=case["id"], k=self._key())
        await self.close()
        for case in await self.cases():
            if "RETRY" in case["actions"]:
                await self._operator(RETRY, id=case["id"], k=self._key())
        await self.close()

    async def assert_the_books_agree(self) -> None:
        """Both sides have the same payments and refunds, or the difference is an open case; nobody is out of pocket."""
        broken = {found.invariant.name: found.offenders for found in await verify() if found.offenders}
        assert not broken, broken
        told, cases = await self.world.wechat.ledger(), await self.cases()
        named = {str(value) for case in cases for value in case["details"].values()}
        there = {each["transaction_id"]: each for each in told["orders"] if "transaction_id" in each}
        here = {row["transaction_id"]: row for row in await rows(PAYMENTS)}
        assert set(here) <= set(there)
        for transaction_id, each in there.items():
            if transaction_id in here:
                assert here[transaction_id]["total_fen"] == each["amount"]["total"], transaction_id
            else:
                assert transaction_id in named, f"{transaction_id} is booked nowhere and stands in no case"
        back = {row["out_refund_no"]: row for row in await rows(REFUNDED)}
        asked = {each["out_refund_no"]: each for each in told["refunds"]}
        assert set(asked) == set(back)
        for number, row in back.items():
            told_state = STATES[row["state"]] if not row["evidence"] else asked[number]["status"]
            assert (told_state, row["amount_fen"]) == (asked[number]["status"], asked[number]["amount"]["refund"])
            if row["state"] in ("abnormal", "closed") and not row["made_good"]:
                assert str(row["id"]) in named, f"refund {number} is {row['state']} and stands in no case"
        about = {str(case["orderId"]) for case in cases}
        self._assert_nobody_is_out_of_pocket(await rows(MONEY_OF_ORDERS), named, about)

    @staticmethod
    def _assert_nobody_is_out_of_pocket(orders: Sequence[Mapping[str, Any]], named: set[str], about: set[str]) -> None:
        for one in orders:
            kept = one["paid"] - one["back"]
            if one["state"] == "paid" or one["state"] == "refunding":
                due = one["payable_fen"] - one["refunded_fen"]
            else:
                assert one["state"] in ("closed", "refunded") or str(one["id"]) in about, (
                    f"{one['id']} is {one['state']} and stands in no case"
                )
                due = 0
            waiting = [str(refund_id) for refund_id in one["waiting"]]
            assert kept == due + one["underway"], dict(one)
            assert all(refund_id in named for refund_id in waiting), f"{waiting} wait, and stand in no case"


MONEY = frozenset({"close_orders", "poll_payments", "send_refunds", "apply_notices", "watch_holds", "reconcile_bills"})
STATES = {"succeeded": "SUCCESS", "processing": "PROCESSING", "closed": "CLOSED", "abnormal": "ABNORMAL"}
UNREST = (
    "SELECT (SELECT count(*) FROM shop_order WHERE close_due_at <= $1) AS orders, "
    "(SELECT count(*) FROM refund WHERE due_at <= $1) AS refunds, "
    "(SELECT count(*) FROM payment_notice WHERE due_at <= $1) AS notices, "
    "(SELECT count(*) FROM bill_run) AS bills, (SELECT count(*) FROM exception_case) AS cases"
)
PAYMENTS = "SELECT transaction_id, total_fen, outcome FROM payment"
REFUNDED = """
SELECT refund.*, EXISTS (SELECT FROM refund other WHERE other.payment_id = refund.payment_id AND other.id <> refund.id
    AND other.order_refund_id IS NOT DISTINCT FROM refund.order_refund_id AND other.state <> 'closed') AS made_good
FROM refund
"""
MONEY_OF_ORDERS = """
SELECT o.id, o.state, o.payable_fen, o.refunded_fen,
    coalesce((SELECT sum(total_fen) FROM payment WHERE order_id = o.id), 0)::bigint AS paid,
    coalesce((SELECT sum(amount_fen) FROM refund WHERE order_id = o.id AND state = 'succeeded'), 0)::bigint AS back,
    coalesce((SELECT sum(payment.total_fen) FROM payment WHERE order_id = o.id
        AND outcome NOT IN ('settled', 'revived') AND NOT EXISTS (SELECT FROM refund WHERE payment_id = payment.id
        AND state = 'succeeded')), 0)::bigint AS underway,
    ARRAY(SELECT refund.id FROM refund WHERE order_id = o.id AND state NOT IN ('succeeded', 'closed', 'processing'))
        AS waiting
FROM shop_order o
"""
