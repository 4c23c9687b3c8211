"""The gate of a flash sale on every form of Redis, with a failover in the middle of the sale."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from cache import flash_gate
from cache.address import Form
from cache.client import Client
from cache.flash_gate import Asked, GateAnswer, GateContent
from cache.outage import OUTAGES
from models.ids import new_id, new_secret
from tests.redis_forms import RedisForm

NOW = datetime(2026, 11, 20, 4, tzinfo=UTC)
PIECES = 20
BUYERS = 60


def content(tickets: Sequence[Asked] = ()) -> GateContent:
    return GateContent(
        epoch=1 + len(tickets),
        opens_at=NOW - timedelta(minutes=1),
        closes_at=NOW + timedelta(minutes=10),
        member_limit=1,
        open_count=PIECES - len(tickets),
        closed=False,
        tickets=[(one, False) for one in tickets],
    )


async def told(redis: Client, item_id: UUID, asked: Asked) -> GateAnswer:
    """What the gate says; asked again with the same request while Redis is away."""
    for _ in range(100):
        try:
            found = await flash_gate.take(redis, item_id, asked, now=NOW, most_early=timedelta(0))
            return found.answer
        except OUTAGES:
            await asyncio.sleep(0.02)
    raise AssertionError("redis did not come back")


def buyers() -> list[Asked]:
    members = [new_id(NOW) for _ in range(BUYERS)]
    return [Asked(request=f"{one}:{new_secret(6)}", member_id=one, quantity=1) for one in members]


async def test_a_rush_gets_exactly_the_pieces_and_each_request_one_ticket(redis: Client) -> None:
    item_id, rush = new_id(NOW), buyers()
    assert await flash_gate.load(redis, item_id, content(), now=NOW)
    answers = await asyncio.gather(*(told(redis, item_id, one) for one in rush for _ in range(3)))
    counted = Counter(answers)
    assert counted[GateAnswer.TAKEN] == PIECES
    assert counted[GateAnswer.KNOWN] + counted[GateAnswer.SOLD_OUT] == 3 * BUYERS - PIECES
    again = [await told(redis, item_id, one) for one in rush]
    assert Counter(again) == {GateAnswer.KNOWN: PIECES, GateAnswer.SOLD_OUT: BUYERS - PIECES}


async def test_a_failover_in_the_middle_of_a_sale_sells_none_twice(redis_form: RedisForm, redis: Client) -> None:
    item_id, rush = new_id(NOW), buyers()
    early, late = rush[: PIECES // 2], rush[PIECES // 2 :]
    assert await flash_gate.load(redis, item_id, content(), now=NOW)
    assert set(await asyncio.gather(*(told(redis, item_id, one) for one in early))) == {GateAnswer.TAKEN}
    await asyncio.to_thread(redis_form.fail_over, f"flash:{{sale:{item_id}}}:gate")
    first = await told(redis, item_id, early[0])
    if redis_form.form is Form.STANDALONE:
        # A server without a replica comes back empty: the gate is gone, and loaded again from what the database knows.
        assert first is GateAnswer.GONE
        assert await flash_gate.load(redis, item_id, content(early), now=NOW)
    else:
        assert first is GateAnswer.KNOWN
    answers = await asyncio.gather(*(told(redis, item_id, one) for one in rush))
    assert answers[: len(early)] == [GateAnswer.KNOWN] * len(early)
    assert Counter(answers[len(early) :]) == {
        GateAnswer.TAKEN: PIECES - len(early),
        GateAnswer.SOLD_OUT: len(late) - (PIECES - len(early)),
    }
