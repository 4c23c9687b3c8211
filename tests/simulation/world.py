"""A whole store in one event loop, opened anew for each story: real engines, the sandbox WeChat, a clock that is set.

Its verbs are what members, an operator, time and bad luck do. Each raises only what a verb of the store may refuse.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import httpx

from cache import engine as valkey
from jobs.sweep import BATCH
from jobs.sweeps import SWEEPS
from loyalty.orders.order import OrderLine
from loyalty.people.rights import Role
from loyalty.people.session import MEMBER_ACCESS_TTL, OPERATOR_ACCESS_TTL
from loyalty.points.points_lot import available
from loyalty.refusal import Refusal
from models import engine
from models.engine import rows
from models.ids import new_secret
from models.points import points_ledger as ledger
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.invariants.verify import verify
from resolvers.orders import order
from resolvers.payments import payment, refund
from resolvers.people.seal import Seal
from resolvers.people.token import TokenIssuer
from resolvers.points import check_in, points_book
from resolvers.programme import ProgrammeKind
from resolvers.replay import KEPT
from tests.conftest import make_database
from tests.doors import make_member, make_operator
from tests.rulebook import published, tiers
from tests.sandbox_server import Refused, SandboxControl, shipping_client
from tests.shelf import put_on_shelf
from tests.store_server import reachable
from wechat.login import LoginClient
from wechat.mini import MiniProgramHost
from wechat.pay import PayClient
from wechat.pay_types import PayParams

OPENED_AT = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)
MEMBERS = 3
POINTS = 1_500
SHELF = (
    {"price_fen": 500_000, "stock_left": 20},
    {"price_fen": 99_999, "stock_left": 6, "member_price_fen": 88_888},
    {"price_fen": 3, "stock_left": 30, "purchase_limit": 3},
)
PATIENCE = httpx.Timeout(60.0, read=2.0)
QUIET = (timedelta(minutes=31), *(timedelta(hours=hours) for hours in (1, 2, 4, 7, 13, 25)))
"""What passes at the end of a story, so that everything retried has been tried, before the books are compared."""

T = TypeVar("T")
Tap = Literal["pay", "cancel", "confirm", "again"]


@dataclass
class Story:
    """What has happened so far, as those outside the store remember it."""

    members: list[UUID] = field(default_factory=list)
    skus: list[UUID] = field(default_factory=list)
    boss: UUID = field(default_factory=lambda: UUID(int=0))
    orders: list[UUID] = field(default_factory=list)
    owner: dict[UUID, UUID] = field(default_factory=dict)
    phones: list[PayParams] = field(default_factory=list)
    keys: list[tuple[str, dict[str, Any], UUID, datetime]] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)


class World:
    """Opened by ``opened``; ``begin`` starts a story in an empty store."""

    def __init__(self, postgres_url: str, template: str, name: str, wechat: SandboxControl) -> None:
        self._postgres_url, self._template, self._name = postgres_url, template, name
        self._store = AsyncExitStack()
        self.wechat = wechat
        self.clock = SetClock(OPENED_AT)
        self.deps: Deps
        self.story = Story()

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, *, postgres_url: str, template: str, name: str, redis_url: str, wechat_url: str
    ) -> AsyncIterator["World"]:
        """A world without a story yet, for as long as the block runs."""
        world = cls(postgres_url, template, name, SandboxControl(wechat_url))
        redis = valkey.connect(redis_url)
        app, pay_config = await world.wechat.config(), await world.wechat.pay_config()
        async with httpx.AsyncClient(trust_env=False, verify=False) as http:
            host = MiniProgramHost(http, base_url=wechat_url)
            deps = Deps(
                clock=world.clock,
                zone=ZoneInfo("Asia/Shanghai"),
                redis=redis,
                login=LoginClient(host, appid=app["appid"], secret=app["secret"]),
                pay=PayClient(pay_config, http, base_url=wechat_url, now=world.clock.now, timeout=PATIENCE),
                pay_notify_url="",
                member_tokens=TokenIssuer({"m1": "m" * 32}, audience="member", ttl=MEMBER_ACCESS_TTL),
                operator_tokens=TokenIssuer({"o1": "o" * 32}, audience="operator", ttl=OPERATOR_ACCESS_TTL),
                seal=Seal({"s1": b"s" * 32}),
                pay_window=timedelta(minutes=30),
                shipping=shipping_client(host, redis, app),
            )
            async with reachable(deps) as reached:
                world.deps = replace(reached)
                yield world
        await redis.aclose()
        await world.wechat.close()

    async def begin(self, points_programme: dict[str, object]) -> None:
        """An empty store with members, goods and rules, and a WeChat that knows nobody else."""
        self.clock.at = OPENED_AT
        self.story = story = Story()
        await self.deps.redis.flushdb()
        await self.wechat.reset()
        await self.wechat.post("notices/courier", on_call=True)
        await self.wechat.post("clock/set", at=OPENED_AT.isoformat(), stands=True)
        url = await make_database(self._postgres_url, self._name, template=self._template)
        await self._store.enter_async_context(engine.database(url, pool_size=6))
        await published(self.deps, ProgrammeKind.POINTS, points_programme)
        await published(
            self.deps,
            ProgrammeKind.CHECK_IN,
            {"base_points": 150, "base_growth": 40, "streak_rewards": [{"days": 2, "points": 300}]},
        )
        await tiers(self.deps)
        story.members = [(await make_member(self.deps, openid=await self.wechat.openid())).id for _ in range(MEMBERS)]
        story.skus = [await put_on_shelf(self.deps, **terms) for terms in SHELF]
        story.boss = (await make_operator(self.deps, Role.OWNER)).id
        for member_id in story.members:
            await points_book.adjust(
                self.deps,
                operator_id=story.boss,
                member_id=member_id,
                amount=POINTS,
                reason="开业礼",
                idempotency_key=new_secret(12),
            )

    async def end(self) -> None:
        """Leave the store."""
        await self._store.aclose()

    async def _allowed(self, verb: Awaitable[T]) -> T | None:
        """What the verb gives; None when the store refuses, which is its right."""
        try:
            return await verb
        except Refusal as refusal:
            self.story.refusals[refusal.code] += 1
            return None

    # What members do

    async def place(self, member: int, sku: int, quantity: int, points: int) -> None:
        """An order, under a key of its own."""
        member_id = self.story.members[member]
        wanted: dict[str, Any] = {
            "member_id": member_id,
            "lines": [OrderLine(sku_id=self.story.skus[sku], quantity=quantity)],
            "points_wanted": points,
            "expected_fen": None,
            "remark": "",
        }
        key = new_secret(12)
        placed = await self._allowed(order.place(self.deps, **wanted, idempotency_key=key))
        if placed is not None:
            self.story.orders.append(placed.id)
            self.story.owner[placed.id] = member_id
            self.story.keys.append((key, wanted, placed.id, self.clock.now()))

    async def place_again(self, which: int) -> None:
        """The reply was lost, so the phone sends the same order again, while its key is remembered."""
        if self.story.keys:
            key, wanted, order_id, at = _latest(self.story.keys, which)
            if self.clock.now() - at >= KEPT:
                return
            again = await order.place(self.deps, **wanted, idempotency_key=key)
            assert again.id == order_id

    async def open_payment(self, which: int) -> None:
        """The phone shows the payment sheet."""
        if self.story.orders:
            order_id = _latest(self.story.orders, which)
            params = await self._allowed(
                payment.pay(self.deps, member_id=self.story.owner[order_id], order_id=order_id)
            )
            if params is not None:
                self.story.phones.append(params)

    async def pay(self, which: int, notice: dict[str, object] | None) -> None:
        """Somebody confirms a payment sheet; its notice is sent as told."""
        if not self.story.phones:
            return
        if notice is not None:
            await self.wechat.script_notices(event_type="TRANSACTION", **notice)
        try:
            await self.wechat.request_payment(_latest(self.story.phones, which))
        except Refused:
            await self.wechat.delete("scripts")
        await self.wechat.settle()

    async def underpay(self, which: int) -> None:
        """What cannot happen: WeChat collects one fen less than was asked for."""
        open_now = await rows("SELECT out_trade_no, total_fen FROM payment_attempt WHERE state = 'prepaid' ORDER BY id")
        if open_now:
            chosen = _latest(open_now, which)
            try:
                await self.wechat.pay(chosen["out_trade_no"], total_fen=max(chosen["total_fen"] - 1, 1))
            except Refused:
                return
            await self.wechat.settle()

    async def confirm(self, which: int) -> None:
        """The phone asks whether it is paid."""
        if self.story.orders:
            order_id = _latest(self.story.orders, which)
            await self._allowed(payment.confirm(self.deps, member_id=self.story.owner[order_id], order_id=order_id))

    async def cancel(self, which: int) -> None:
        """The member changes their mind."""
        if self.story.orders:
            order_id = _latest(self.story.orders, which)
            await self._allowed(order.cancel(self.deps, member_id=self.story.owner[order_id], order_id=order_id))
            await self.wechat.settle()

    async def tap(self, which: int, taps: list[Tap]) -> None:
        """Taps on one order, all at the same moment."""
        verbs = {"pay": self.open_payment, "cancel": self.cancel, "confirm": self.confirm, "again": self.place_again}
        await asyncio.gather(*(verbs[tap](which) for tap in taps))

    async def check_in(self, member: int) -> None:
        """Today's check-in."""
        await self._allowed(
            check_in.check_in(self.deps, member_id=self.story.members[member], idempotency_key=new_secret(12))
        )

    # What the operator does

    async def refund(self, which: int, outcome: dict[str, object] | None) -> None:
        """All of an order goes back; WeChat brings it to the given end."""
        if self.story.orders:
            if outcome is not None:
                await self.wechat.script_refunds(**outcome)
            await self._allowed(
                refund.refund_order(
                    self.deps,
                    operator_id=self.story.boss,
                    order_id=_latest(self.story.orders, which),
                    reason="不想要了",
                    idempotency_key=new_secret(12),
                )
            )
            await self.wechat.settle()

    # What time and bad luck do

    async def advance(self, by: timedelta) -> None:
        """Time passes for the store and for WeChat, whose due notices arrive."""
        await self.wechat.post("clock/set", at=self.clock.advance(by).isoformat(), stands=True)
        await self.wechat.settle()

    async def sweep(self) -> None:
        """One round of every job; unlike in the worker, a failure is a failure."""
        for each in SWEEPS:
            for thing in await each.due(self.deps, BATCH):
                await each.do(self.deps, thing)
        await self.wechat.settle()

    async def forge(self, which: int, spoilt: dict[str, object]) -> None:
        """A notice comes that WeChat never sent, or never sent so."""
        asked = await rows("SELECT out_trade_no FROM payment_attempt WHERE state <> 'created' ORDER BY id")
        if asked:
            await self.wechat.post("notices/forge", out_trade_no=_latest(asked, which)["out_trade_no"], **spoilt)

    async def lose_redis(self) -> None:
        """Everything in Redis is gone."""
        await self.deps.redis.flushdb()

    async def fault(self, endpoint: str, fault: str, times: int) -> None:
        """WeChat will misbehave."""
        await self.wechat.fault(endpoint, fault, times=times, seconds=4.0)

    # What must hold

    async def assert_the_books_are_right(self) -> None:
        """Every invariant holds, nobody has negative points, and no notice was kept without being applied."""
        broken = {finding.invariant.name: finding.offenders for finding in await verify() if finding.offenders}
        assert not broken, broken
        for member_id in self.story.members:
            lots = await ledger.open_lots(member_id)
            assert available(lots, self.clock.now()) >= 0
            assert all(0 <= lot.held <= lot.remaining for lot in lots)
        unhandled = await rows("SELECT id, event_type FROM payment_notice WHERE handled_at IS NULL")
        assert not unhandled, unhandled

    async def come_to_rest(self) -> None:
        """WeChat behaves again, and enough time passes for everything that is retried."""
        await self.wechat.delete("faults")
        await self.wechat.delete("scripts")
        for by in QUIET:
            await self.advance(by)
            await self.sweep()
            await self.sweep()

    async def assert_wechat_agrees(self) -> None:
        """WeChat's ledger and the store's agree to the fen, or the difference is an open case."""
        told = await self.wechat.ledger()
        cases = await rows("SELECT kind, details FROM exception_case WHERE resolved_at IS NULL")
        open_cases = " ".join(str(case["details"]) for case in cases)
        there = {each["transaction_id"]: each["amount"]["total"] for each in told["orders"] if "transaction_id" in each}
        here = {
            row["transaction_id"]: row["total_fen"]
            for row in await rows("SELECT transaction_id, total_fen FROM payment")
        }
        assert here.items() <= there.items()
        unknown = [transaction_id for transaction_id in there if transaction_id not in here]
        assert all(transaction_id in open_cases for transaction_id in unknown), unknown
        back_there = {each["out_refund_no"]: (each["status"], each["amount"]["refund"]) for each in told["refunds"]}
        back_here = {
            row["out_refund_no"]: (_AT_WECHAT[row["state"]], row["amount_fen"])
            for row in await rows("SELECT out_refund_no, state, amount_fen FROM refund")
        }
        assert back_here == back_there
        stuck = await rows(
            "SELECT id FROM refund WHERE state IN ('closed', 'abnormal') AND NOT EXISTS (SELECT FROM refund anew "
            "WHERE anew.payment_id = refund.payment_id AND anew.id <> refund.id AND anew.state <> 'closed' "
            "AND anew.order_refund_id IS NOT DISTINCT FROM refund.order_refund_id)"
        )
        assert all(str(row["id"]) in open_cases for row in stuck), stuck


def _latest(things: Sequence[T], which: int) -> T:
    """0 is the newest; beyond the oldest it begins again."""
    return things[-1 - which % len(things)]


_AT_WECHAT = {"succeeded": "SUCCESS", "processing": "PROCESSING", "closed": "CLOSED", "abnormal": "ABNORMAL"}
