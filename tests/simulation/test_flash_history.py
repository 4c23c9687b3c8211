"""Random buyers of a flash sale over HTTP while its processes are killed, stopped and lied to: nothing is sold twice.

The buyers' choices and the misfortunes follow from the seed; how they fall together is the machine's. In the end, when
everything is healed and the gate was reconciled for the documented time, what the buyers saw is held against the books
(``flash_history``). ``YOULI_SIMULATE_SALES`` makes more sales of it, ``YOULI_SIMULATE_SEED`` the same ones again;
``make simulate`` sets and prints both.
"""

import asyncio
import os
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import httpx
import pytest

from cache import engine as valkey
from cache import flash_gate as cached_gate
from models import engine
from models.engine import rows, script
from resolvers import flash_gate as gate
from resolvers.clock import SetClock, SystemClock
from resolvers.deps import Deps
from resolvers.seal import Seal
from resolvers.token import TokenIssuer
from tests.flash import Sale, make_sale, pieces
from tests.races.buyers import CANCEL, PAY, assert_the_books_are_right
from tests.races.test_flash_race import BUY
from tests.races.test_kill_race import sandbox_of, signed_in
from tests.simulation.flash_history import BookedOrder, Books, Call, problems
from tests.simulation.flash_store import FlashStore, flash_store

SALES = int(os.environ.get("YOULI_SIMULATE_SALES", "1"))
SEED = int(os.environ.get("YOULI_SIMULATE_SEED", "20261121"))
MISFORTUNES = int(os.environ.get("YOULI_SIMULATE_MISFORTUNES", "3"))
MEMBERS = 8
STOCK = 14
LIMIT = 3
CALM_S = 1.0
WITHIN_S = 120.0
LEDGER = """
CREATE TABLE item_seen (seq bigint GENERATED ALWAYS AS IDENTITY, item_id uuid, level int);
CREATE FUNCTION see_item() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO item_seen (item_id, level) VALUES (NEW.id, NEW.held_count + NEW.sold_count); RETURN NULL;
END $$;
CREATE TRIGGER see_item AFTER UPDATE ON flash_item FOR EACH ROW EXECUTE FUNCTION see_item();
"""


@dataclass
class Shopper:
    """A member with a phone that notes down every call, and does not know what became of those without an answer."""

    member: str
    token: str
    http: httpx.AsyncClient
    sale: Sale
    sandbox: str
    rng: random.Random
    calls: list[Call] = field(default_factory=list)
    open_keys: dict[str, int] = field(default_factory=dict)
    mine: dict[str, str] = field(default_factory=dict)

    async def _call(self, call: Call, document: str, **variables: object) -> dict[str, Any] | None:
        self.calls.append(call)
        try:
            reply = await self.http.post(
                "/graphql",
                json={"query": document, "variables": variables},
                headers={"authorization": f"Bearer {self.token}"},
            )
            body = reply.json()
        except (httpx.TransportError, ValueError):
            return None
        if "errors" in body:
            codes = {error["extensions"]["code"] for error in body["errors"]}
            assert codes <= {"TRY_AGAIN"}, f"{call.what}: {body}"
            return None
        call.answered_at = time.monotonic()
        done: dict[str, Any] = body["data"]["done"]
        call.answer = done.get("code") or done["__typename"]
        return done

    async def buy(self, key: str, quantity: int) -> str | None:
        """One tap; None when nobody answered."""
        self.open_keys[key] = quantity
        call = Call(member=self.member, what="buy", key=key, quantity=quantity, sent_at=time.monotonic())
        done = await self._call(call, BUY, item=str(self.sale.item_id), quantity=quantity, key=key)
        if done is None:
            return None
        self.open_keys.pop(key, None)
        if "order" in done:
            call.order_id = done["order"]["id"]
            self.mine.setdefault(call.order_id, "UNPAID")
        return call.answer

    async def cancel(self, order_id: str) -> None:
        """Give an order back."""
        call = Call(member=self.member, what="cancel", order_id=order_id, sent_at=time.monotonic())
        self.mine.pop(order_id)
        done = await self._call(call, CANCEL, id=order_id)
        call.answer = done["order"]["state"] if done and "order" in done else call.answer

    async def pay(self, order_id: str) -> None:
        """Pay in WeChat; the shop hears of it from there."""
        done = await self._call(
            Call(member=self.member, what="ask to pay", order_id=order_id, sent_at=time.monotonic()), PAY, id=order_id
        )
        if done is None or done.pop("__typename") != "PaymentRequested":
            return
        call = Call(member=self.member, what="pay", order_id=order_id, sent_at=time.monotonic())
        async with httpx.AsyncClient(trust_env=False, timeout=20.0) as wechat:
            paid = await wechat.post(f"{self.sandbox}/_sandbox/request_payment", json=done)
        if paid.status_code == 200:
            self.calls.append(call)
            call.answer, call.answered_at = "PAID", time.monotonic()
            self.mine.pop(order_id)

    async def shop(self, over: asyncio.Event) -> None:
        """Whatever comes to mind, until it is over."""
        while not over.is_set():
            await self._do_something()
            await asyncio.sleep(self.rng.uniform(0.0, 0.15))

    async def _do_something(self) -> None:
        mind = self.rng.random()
        if mind < 0.25 and self.open_keys:
            key = self.rng.choice(sorted(self.open_keys))
            await self.buy(key, self.open_keys[key])
        elif mind < 0.45 and self.mine:
            await self.cancel(self.rng.choice(sorted(self.mine)))
        elif mind < 0.52 and self.mine:
            await self.pay(self.rng.choice(sorted(self.mine)))
        elif mind < 0.7:
            await asyncio.gather(*(self.buy(self._key(), 1) for _ in range(3)))
        elif mind < 0.8:
            key = self._key()
            await asyncio.gather(*(self.buy(key, 1) for _ in range(3)))
        else:
            await self.buy(self._key(), self.rng.randint(1, 2))

    def _key(self) -> str:
        return f"{self.rng.getrandbits(64):016x}"

    async def finish(self) -> None:
        """Send what had no answer again until it has one, as a phone does."""
        async with asyncio.timeout(WITHIN_S):
            while self.open_keys:
                key = min(self.open_keys)
                await self.buy(key, self.open_keys[key])

    async def take_what_is_left(self) -> None:
        """Buy one by one until the limit or the end."""
        async with asyncio.timeout(WITHIN_S):
            while await self.buy(self._key(), 1) not in ("FLASH_SOLD_OUT", "FLASH_LIMIT_REACHED"):
                continue


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user of the machine can reach, as PostgreSQL must when root runs the tests."""
    made = Path(tempfile.mkdtemp(prefix="youli-sale-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.mark.timeout(0)
@pytest.mark.xdist_group("server")
def test_whatever_befalls_a_sale_its_history_is_right(folder: Path) -> None:
    print(f"YOULI_SIMULATE_SEED={SEED} YOULI_SIMULATE_SALES={SALES} YOULI_SIMULATE_MISFORTUNES={MISFORTUNES}")
    with flash_store(folder) as store:
        asyncio.run(_sales(store))
        bugs = [line for line in store.log.read_text().splitlines() if '"outcome":"bug"' in line]
        assert not bugs, bugs[:5]


async def _sales(store: FlashStore) -> None:
    await store.proxy.start(int(store.env["REDIS_URL"].rpartition(":")[2].partition("/")[0]))
    redis = valkey.connect(store.redis.url)
    for number in range(SALES):
        async with engine.database(store.database.url, pool_size=4):
            if number == 0:
                await script(LEDGER)
            sale = await make_sale(_deps(redis), stock=STOCK, member_limit=LIMIT)
        calls = await _sell(store, sale, SEED + number)
        async with engine.database(store.database.url, pool_size=4):
            await _everything_is_told(sale, calls)
            await _reconciled_for_the_documented_time(redis, sale)
            calls += await _drained(store, sale, calls)
            await _everything_is_told(sale, calls)
            wrong = problems(calls, await _books(redis, sale))
            assert not wrong, "\n".join(wrong)
            counts = await pieces(sale)
            assert counts["held"] + counts["sold"] == STOCK, f"pieces are left that nobody can buy: {counts}"
            await assert_the_books_are_right()
        told = Counter(call.answer or "no answer" for call in calls)
        print(f"seed {SEED + number}: {len(calls)} calls, {dict(told)}", flush=True)
    await redis.aclose()
    await store.proxy.stop()


async def _sell(store: FlashStore, sale: Sale, seed: int) -> list[Call]:
    rng = random.Random(seed)
    sandbox, over = sandbox_of(Path(store.env["YOULI_DATA_DIR"])), asyncio.Event()
    async with httpx.AsyncClient(base_url=store.server.address, trust_env=False, timeout=20.0) as http:
        shoppers = [await _shopper(http, sandbox, sale, random.Random(f"{seed}:{n}")) for n in range(MEMBERS)]
        shopping = [asyncio.create_task(one.shop(over)) for one in shoppers]
        await asyncio.sleep(CALM_S)
        known = store.misfortunes
        for name in rng.sample(sorted(known), min(MISFORTUNES, len(known))):
            print(f"  {name}", flush=True)
            await known[name](rng)
            await asyncio.sleep(rng.uniform(0.0, CALM_S))
        over.set()
        await asyncio.gather(*shopping)
        await asyncio.gather(*(one.finish() for one in shoppers))
    return [call for one in shoppers for call in one.calls]


async def _shopper(http: httpx.AsyncClient, sandbox: str, sale: Sale, rng: random.Random) -> Shopper:
    phone = await signed_in(http, sandbox)
    return Shopper(phone.member_id, phone.token, http, sale, sandbox, rng)


async def _reconciled_for_the_documented_time(redis: Any, sale: Sale) -> None:
    """What the sweeps do within a minute and two rounds, on a clock that is ahead."""
    later = replace(_deps(redis), clock=SetClock(SystemClock().now() + gate.OLD_AFTER + timedelta(seconds=1)))
    for _ in range(2):
        await gate.reconcile(later, item_id=sale.item_id)


async def _everything_is_told(sale: Sale, calls: list[Call]) -> None:
    """Wait until no order is between two states, what was paid is booked, and the gate knows of all of them."""
    give_up = time.monotonic() + WITHIN_S
    paid = [UUID(call.order_id) for call in calls if call.what == "pay"]
    while many := await _under_way(sale, paid):
        assert time.monotonic() < give_up, f"{many} orders are still under way"
        await asyncio.sleep(0.1)


async def _under_way(sale: Sale, paid: list[UUID]) -> int:
    found = await rows(
        "SELECT count(*)::int AS many FROM flash_ticket ticket JOIN shop_order o ON o.id = ticket.order_id "
        "WHERE ticket.item_id = $1 AND (ticket.gate_due_at IS NOT NULL OR o.state = 'closing' "
        "OR (o.state = 'unpaid' AND o.id = ANY($2::uuid[])))",
        [sale.item_id, paid],
    )
    many: int = found[0]["many"]
    return many


async def _drained(store: FlashStore, sale: Sale, before: list[Call]) -> list[Call]:
    """New members take everything that can be taken: what is then left was undersold."""
    sandbox = sandbox_of(Path(store.env["YOULI_DATA_DIR"]))
    async with httpx.AsyncClient(base_url=store.server.address, trust_env=False, timeout=20.0) as http:
        last = [
            await _shopper(http, sandbox, sale, random.Random(f"{len(before)}:{n}")) for n in range(STOCK // LIMIT + 1)
        ]
        for one in last:
            await one.take_what_is_left()
    return [call for one in last for call in one.calls]


async def _books(redis: Any, sale: Sale) -> Books:
    tickets = await rows(
        "SELECT o.id, o.member_id, o.state, max(ticket.reservation) AS reservation, count(ticket.id)::int AS tickets, "
        "max(ticket.quantity) AS quantity FROM shop_order o LEFT JOIN flash_ticket ticket ON ticket.order_id = o.id "
        "JOIN order_line line ON line.order_id = o.id WHERE line.sku_id = $1 GROUP BY o.id",
        [sale.sku_id],
    )
    levels = await rows("SELECT level FROM item_seen WHERE item_id = $1 ORDER BY seq", [sale.item_id])
    key = f"flash:{{sale:{sale.item_id}}}:gate"
    fields = await redis.execute_command("HGETALL", key)
    seen = await cached_gate.look(redis, sale.item_id, old_before=SystemClock().now())
    assert seen is not None, "the gate is there"
    return Books(
        carved=STOCK,
        limit=LIMIT,
        counts=await pieces(sale),
        orders=[
            BookedOrder(
                id=str(row["id"]),
                member=str(row["member_id"]),
                key=row["reservation"].partition(":")[2],
                quantity=row["quantity"],
                state=row["state"].upper(),
                tickets=row["tickets"],
            )
            for row in tickets
        ],
        levels=[row["level"] for row in levels],
        gate_left=seen.left,
        gate_in_flight=seen.in_flight,
        gate_had={
            name.decode()[2:]: int(value) for name, value in fields.items() if name.startswith(b"m:") and int(value)
        },
    )


def _deps(redis: Any) -> Deps:
    return Deps(
        clock=SystemClock(),
        zone=ZoneInfo("Asia/Shanghai"),
        redis=redis,
        login=None,  # type: ignore[arg-type]
        pay=None,  # type: ignore[arg-type]
        pay_notify_url="",
        member_tokens=TokenIssuer({"m": "m" * 32}, audience="member", ttl=timedelta(hours=2)),
        operator_tokens=TokenIssuer({"o": "o" * 32}, audience="operator", ttl=timedelta(hours=2)),
        seal=Seal({"s": b"s" * 32}),
        pay_window=timedelta(minutes=30),
        shipping=None,  # type: ignore[arg-type]
    )


# The checker itself


def a_purchase(member: str, order_id: str, *, at: float, key: str = "", quantity: int = 1) -> Call:
    """A purchase that was answered a moment after it was sent."""
    return Call(
        member=member,
        what="buy",
        key=key or order_id,
        quantity=quantity,
        sent_at=at,
        answered_at=at + 0.1,
        answer="FlashSalePurchased",
        order_id=order_id,
    )


def a_booking(member: str, order_id: str, *, state: str = "UNPAID", tickets: int = 1) -> BookedOrder:
    """Its order in the books."""
    return BookedOrder(id=order_id, member=member, key=order_id, quantity=1, state=state, tickets=tickets)


HONEST = [
    a_purchase("ann", "1", at=1),
    a_purchase("bob", "2", at=2),
    a_purchase("cai", "3", at=6),
    Call(member="bob", what="cancel", order_id="2", sent_at=4, answered_at=5, answer="CLOSED"),
    Call(member="dee", what="buy", key="4", quantity=1, sent_at=3),
]
RIGHT = Books(
    carved=2,
    limit=1,
    counts={"left": 0, "held": 2, "sold": 0, "returned": 0, "waiting": 0},
    orders=[a_booking("ann", "1"), a_booking("bob", "2", state="CLOSED"), a_booking("cai", "3")],
    levels=[1, 2, 1, 2],
    gate_left=0,
    gate_in_flight=0,
    gate_had={"ann": 1, "cai": 1},
)


def test_an_honest_history_is_right() -> None:
    assert problems(HONEST, RIGHT) == []


@pytest.mark.parametrize(
    ("what", "calls", "books"),
    [
        ("oversold", [*HONEST, a_purchase("eve", "5", at=3)], replace(RIGHT, orders=[*RIGHT.orders])),
        ("oversold", HONEST, replace(RIGHT, levels=[1, 2, 3, 2])),
        ("limit", [*HONEST, a_purchase("ann", "5", at=5)], RIGHT),
        ("limit", HONEST, replace(RIGHT, orders=[*RIGHT.orders, a_booking("ann", "5")])),
        ("lost", HONEST, replace(RIGHT, orders=[*RIGHT.orders[1:]])),
        ("lost", HONEST, replace(RIGHT, orders=[RIGHT.orders[0], a_booking("bob", "2"), RIGHT.orders[2]])),
        ("lost", [*HONEST, Call(member="ann", what="pay", order_id="1", sent_at=7, answer="PAID")], RIGHT),
        ("twice", HONEST, replace(RIGHT, orders=[a_booking("ann", "1", tickets=2), *RIGHT.orders[1:]])),
        ("twice", [*HONEST, a_purchase("ann", "5", key="1", at=7)], RIGHT),
        ("apart", HONEST, replace(RIGHT, counts={**RIGHT.counts, "left": 1})),
        ("apart", HONEST, replace(RIGHT, counts={**RIGHT.counts, "left": 1, "held": 1})),
        ("apart", HONEST, replace(RIGHT, gate_left=1)),
        ("apart", HONEST, replace(RIGHT, gate_in_flight=1)),
        ("apart", HONEST, replace(RIGHT, gate_had={"ann": 1})),
    ],
)
def test_a_forged_history_is_caught(what: str, calls: list[Call], books: Books) -> None:
    assert any(problem.startswith(what) for problem in problems(calls, books))
