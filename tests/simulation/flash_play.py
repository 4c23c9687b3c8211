"""A sale from its first tap to its last piece: shopping in misfortune, healing, and holding it against the books."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from models.engine import rows
from resolvers.clock import SetClock, SystemClock
from resolvers.deps import Deps
from resolvers.flash_sales import flash_gate as gate
from resolvers.flash_sales.flash_gate import Repair
from tests.flash import Sale, pieces
from tests.patience import PATIENCE_S
from tests.races.buyers import assert_the_books_are_right
from tests.simulation.flash_history import problems
from tests.simulation.flash_ledger import books_of
from tests.simulation.flash_redis import Misfortune
from tests.simulation.flash_seen import Call
from tests.simulation.flash_shopkeeper import Shopkeeper
from tests.simulation.flash_shopper import Shopper

STOCK = 8
LIMIT = 3


@dataclass
class Play:
    """One sale. ``newcomer`` is a new shopper; ``calm_s`` the most that passes between two misfortunes.

    One that ``closes`` does so in the middle of it.
    """

    sale: Sale
    seed: int
    database_url: str
    shopkeeper: Shopkeeper
    newcomer: Callable[[random.Random], Awaitable[Shopper]]
    misfortunes: Mapping[str, Misfortune]
    members: int
    calm_s: float
    closes: bool = False

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)
        self._shoppers: list[Shopper] = []
        self._deadlines: list[Call] = []

    @property
    def calls(self) -> list[Call]:
        """What everybody saw."""
        callers = [self.shopkeeper, *self._shoppers]
        return [*self._deadlines, *(call for one in callers for call in one.calls)]

    async def shop(self, many: int) -> None:
        """Members shop and are refunded while so many misfortunes befall the store; in the end all is answered."""
        over = asyncio.Event()
        for number in range(self.members):
            self._shoppers.append(await self.newcomer(random.Random(f"{self.seed}:{number}")))
        acting = [asyncio.create_task(one.shop(over)) for one in self._shoppers]
        acting.append(asyncio.create_task(self.shopkeeper.mind_the_shop(self._shoppers, over)))
        acting.append(asyncio.create_task(self._time_passes(over)))
        # Until it is sold out and a queue has formed.
        await asyncio.sleep(2 * self.calm_s)
        names = self._rng.sample(sorted(self.misfortunes), min(many, len(self.misfortunes)))
        closes_with = self._rng.choice(names) if self.closes else ""
        for name in names:
            print(f"  {name}{', and the session is closed' * (name == closes_with)}", flush=True)
            happening = [self.misfortunes[name](self._rng)]
            if name == closes_with:
                happening.append(self.shopkeeper.close(self.sale.id))
            await asyncio.gather(*happening)
            await asyncio.sleep(self._rng.uniform(self.calm_s / 2, self.calm_s))
        over.set()
        await asyncio.gather(*acting)
        await asyncio.gather(self.shopkeeper.finish(), *(one.finish() for one in self._shoppers))

    async def _time_passes(self, over: asyncio.Event) -> None:
        """Now and then an unpaid order's pay deadline comes, or the end of an offer's claim window."""
        rng = random.Random(f"{self.seed}:time")
        while not over.is_set():
            await asyncio.sleep(rng.uniform(0.1, 0.4))
            with suppress(
                OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError
            ):
                connection = await asyncpg.connect(self.database_url, timeout=5)
                try:
                    await (self._ends_offer if rng.random() < 0.5 else self._ends_order)(connection)
                finally:
                    connection.terminate()

    async def _ends_order(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        order_id = await connection.fetchval(
            "SELECT o.id FROM shop_order o JOIN flash_ticket ticket ON ticket.order_id = o.id "
            "WHERE ticket.item_id = $1 AND o.state = 'unpaid' ORDER BY md5(o.id::text) LIMIT 1",
            self.sale.item_id,
        )
        if order_id is not None:
            self._deadlines.append(Call(member="", what="deadline", order_id=str(order_id), sent_at=time.time()))
            await connection.execute(
                "UPDATE shop_order SET pay_by = $2, close_due_at = $2 WHERE id = $1 AND state = 'unpaid'",
                order_id,
                datetime.now(UTC),
            )

    async def _ends_offer(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        place_id = await connection.fetchval(
            "SELECT id FROM flash_wait WHERE item_id = $1 AND state = 'offered' AND claim_by > $2 "
            "ORDER BY offered_at, id LIMIT 1",
            self.sale.item_id,
            datetime.now(UTC),
        )
        if place_id is not None:
            self._deadlines.append(Call(member="", what="deadline", place_id=str(place_id), sent_at=time.time()))
            await connection.execute(
                "UPDATE flash_wait SET claim_by = $2 WHERE id = $1 AND state = 'offered'", place_id, datetime.now(UTC)
            )

    async def hold_to_the_books(self, deps: Deps) -> None:
        """When all is healed: twice, with those who wait still waiting, and after the last piece is bought.

        Of a closed one the last pieces are given back instead.
        """
        await self._everything_is_told()
        await self._reconciled_for_the_documented_time(deps)
        await self._assert_right(deps)
        await (self._give_everything_back() if self.closes else self._take_what_is_left(deps))
        await self._everything_is_told()
        await self._assert_right(deps)
        counts = await pieces(self.sale)
        if self.closes:
            assert counts["held"] == 0, f"pieces are held that nobody has: {counts}"
        else:
            assert counts["held"] + counts["sold"] == STOCK, f"pieces are left that nobody can buy: {counts}"
        await assert_the_books_are_right()
        told = Counter(f"{call.what} {call.answer or '?'}" for call in self.calls)
        print(f"seed {self.seed}: {len(self.calls)} calls, {dict(sorted(told.items()))}", flush=True)

    async def _take_what_is_left(self, deps: Deps) -> None:
        await asyncio.gather(*(one.leave_the_queue() for one in self._shoppers))
        await self._everything_is_told()
        await self._reconciled_for_the_documented_time(deps)
        for number in range(STOCK // LIMIT + 1):
            last = await self.newcomer(random.Random(f"{self.seed}:last:{number}"))
            self._shoppers.append(last)
            await last.take_what_is_left()

    async def _give_everything_back(self) -> None:
        late = await self.newcomer(random.Random(f"{self.seed}:late"))
        self._shoppers.append(late)
        await late.buy(1)
        await late.finish()
        assert late.calls[-1].answer == "FLASH_NOT_OFFERED", "the gate knows that the session is closed"
        await asyncio.gather(*(one.give_everything_back() for one in self._shoppers))
        await self._everything_is_told()
        for order_id in sorted({order_id for one in self._shoppers for order_id in one.paid}):
            await self.shopkeeper.refund(order_id)
        await self.shopkeeper.finish()

    async def _assert_right(self, deps: Deps) -> None:
        books = await books_of(deps.redis, self.sale, carved=STOCK, limit=LIMIT)
        wrong = problems(self.calls, books)
        if wrong:
            told = sorted(self.calls, key=lambda one: one.sent_at)
            print(*told, *books.orders, *books.places, *books.levels, f"seed {self.seed}", *wrong, sep="\n", flush=True)
            pytest.fail("\n".join(wrong))

    async def _everything_is_told(self) -> None:
        """Wait until no order or place is between two states, what was paid is booked, and the gate knows of all."""
        give_up = time.monotonic() + PATIENCE_S
        paid = [UUID(call.order_id) for call in self.calls if call.what == "pay"]
        while many := await _under_way(self.sale, paid):
            assert time.monotonic() < give_up, f"{many} orders and places are still under way"
            await asyncio.sleep(0.1)

    async def _reconciled_for_the_documented_time(self, deps: Deps) -> None:
        """What the sweeps do within a minute and two rounds, on a clock that is ahead by the minute."""
        later = replace(deps, clock=SetClock(SystemClock().now() + gate.OLD_AFTER + timedelta(seconds=1)))
        first = await gate.reconcile(later, item_id=self.sale.item_id)
        if first.repair is not Repair.NONE:
            print(f"  {first.repair} by {first.pieces}", flush=True)
            await asyncio.sleep(gate.CHECK_EVERY.total_seconds())
            await gate.reconcile(later, item_id=self.sale.item_id)


async def _under_way(sale: Sale, paid: list[UUID]) -> int:
    found = await rows(
        "SELECT (SELECT count(*) FROM flash_ticket ticket JOIN shop_order o ON o.id = ticket.order_id "
        "WHERE ticket.item_id = $1 AND (ticket.gate_due_at IS NOT NULL OR o.state = 'closing' "
        "OR (o.state = 'unpaid' AND (o.id = ANY($2::uuid[]) OR o.pay_by <= $3)) "
        "OR EXISTS (SELECT FROM order_refund part WHERE part.order_id = o.id AND part.state = 'requested'))) "
        "+ (SELECT count(*) FROM flash_wait "
        "WHERE item_id = $1 AND state = 'offered' AND claim_by <= $3) + (SELECT count(*) FROM flash_item item "
        "JOIN flash_wait first ON first.item_id = item.id AND first.state = 'waiting' WHERE item.id = $1 "
        "AND first.quantity <= item.left_count AND NOT EXISTS (SELECT 1 FROM flash_wait WHERE item_id = $1 "
        "AND state = 'waiting' AND id < first.id)) AS many",
        [sale.item_id, paid, SystemClock().now()],
    )
    many: int = found[0]["many"]
    return many
