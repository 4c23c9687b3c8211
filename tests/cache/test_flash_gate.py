"""The gate by itself, on Redis in all its forms: what it says, what it keeps, and what it forgets."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from cache import flash_gate
from cache.client import Client
from cache.flash_gate import Asked, Fate, GateAnswer, GateContent, Told
from models.ids import new_id, new_secret

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


def content(epoch: int = 1, left: int = 3, **fields: object) -> GateContent:
    """Open from noon for an hour, 2 for each member."""
    known = {
        "epoch": epoch,
        "opens_at": NOON,
        "closes_at": NOON + timedelta(hours=1),
        "member_limit": 2,
        "open_count": left,
        "closed": False,
        "tickets": (),
    }
    return GateContent(**{**known, **fields})  # type: ignore[arg-type]


def asked(quantity: int = 1, member_id: UUID | None = None, request: str | None = None) -> Asked:
    """A request, of somebody else each time."""
    return Asked(request=request or new_secret(12), member_id=member_id or new_id(NOON), quantity=quantity)


async def take(redis: Client, item_id: UUID, one: Asked, now: datetime = NOON, early: timedelta | None = None) -> Told:
    """One request at the gate."""
    return await flash_gate.take(redis, item_id, one, now=now, most_early=DAY, early=early)


async def left(redis: Client, item_id: UUID) -> int | None:
    """What it lets through."""
    return (await flash_gate.left_of(redis, [item_id])).get(item_id)


@pytest.fixture
async def item_id(redis: Client) -> UUID:
    """A loaded gate."""
    item_id = new_id(NOON)
    assert await flash_gate.load(redis, item_id, content(), now=NOON)
    return item_id


async def test_it_answers_by_window_limit_and_pieces(redis: Client, item_id: UUID) -> None:
    member_id = new_id(NOON)
    assert (await take(redis, new_id(NOON), asked())).answer is GateAnswer.GONE
    assert (await take(redis, item_id, asked(), NOON - DAY - MINUTE)).answer is GateAnswer.NOT_OPEN
    assert (await take(redis, item_id, asked(), NOON + timedelta(hours=1))).answer is GateAnswer.OVER
    assert (await take(redis, item_id, asked(2, member_id))).answer is GateAnswer.TAKEN
    assert await take(redis, item_id, asked(1, member_id)) == Told(answer=GateAnswer.LIMIT, limit=2, had=2)
    assert (await take(redis, item_id, asked(2))).answer is GateAnswer.SOLD_OUT
    assert (await take(redis, item_id, asked(1))).answer is GateAnswer.TAKEN
    assert (await take(redis, item_id, asked(1))).answer is GateAnswer.SOLD_OUT


async def test_a_request_takes_one_ticket_however_often_it_comes(redis: Client, item_id: UUID) -> None:
    one = asked()
    assert (await take(redis, item_id, one)).answer is GateAnswer.TAKEN
    assert (await take(redis, item_id, one)).answer is GateAnswer.KNOWN
    assert (await take(redis, item_id, one, NOON + DAY)).answer is GateAnswer.KNOWN
    assert await left(redis, item_id) == 2


async def test_early_access_is_asked_for_once_and_remembered_for_a_minute(redis: Client, item_id: UUID) -> None:
    gold, basic = new_id(NOON), new_id(NOON)
    before = NOON - 5 * MINUTE
    assert (await take(redis, item_id, asked(1, gold), before)).answer is GateAnswer.ASK_EARLY
    assert (await take(redis, item_id, asked(1, gold), before, 10 * MINUTE)).answer is GateAnswer.TAKEN
    assert (await take(redis, item_id, asked(1, basic), before, timedelta(0))).answer is GateAnswer.NOT_OPEN
    assert (await take(redis, item_id, asked(1, basic), before)).answer is GateAnswer.NOT_OPEN
    assert (await take(redis, item_id, asked(1, basic), before + MINUTE)).answer is GateAnswer.ASK_EARLY
    assert (await take(redis, item_id, asked(1, basic))).answer is GateAnswer.TAKEN


async def test_what_became_of_a_ticket_counts_once(redis: Client, item_id: UUID) -> None:
    kept, dropped = asked(), asked()
    for one in (kept, dropped):
        await take(redis, item_id, one)
    for _ in range(2):
        await flash_gate.settle(redis, item_id, [(Fate.KEEP, kept), (Fate.DROP, dropped)])
        assert await left(redis, item_id) == 2
    await flash_gate.settle(redis, item_id, [(Fate.DROP, kept)])
    assert await left(redis, item_id) == 2
    for _ in range(2):
        await flash_gate.settle(redis, item_id, [(Fate.RELEASE, kept)])
        assert await left(redis, item_id) == 3
    assert (await take(redis, item_id, kept)).answer is GateAnswer.KNOWN
    assert (await take(redis, item_id, dropped)).answer is GateAnswer.TAKEN


async def test_a_part_of_a_ticket_that_comes_back_counts_once(redis: Client, item_id: UUID) -> None:
    member_id = new_id(NOON)
    one = asked(2, member_id)
    await take(redis, item_id, one)
    await flash_gate.settle(redis, item_id, [(Fate.KEEP, one)])
    still = asked(1, member_id, one.request)
    for _ in range(2):
        await flash_gate.settle(redis, item_id, [(Fate.KEEP, still)], open_count=2)
        assert await left(redis, item_id) == 2
        # The same tap is told with all it asked for, and changes nothing.
        await flash_gate.settle(redis, item_id, [(Fate.KEEP, one)])
        assert await left(redis, item_id) == 2
    assert await take(redis, item_id, asked(2, member_id)) == Told(answer=GateAnswer.LIMIT, limit=2, had=1)
    await flash_gate.settle(redis, item_id, [(Fate.RELEASE, one)], open_count=3)
    assert await left(redis, item_id) == 3
    assert (await take(redis, item_id, asked(2, member_id))).answer is GateAnswer.TAKEN


async def test_what_comes_back_for_the_queue_raises_nothing(redis: Client, item_id: UUID) -> None:
    one = asked(2)
    await take(redis, item_id, one)
    await flash_gate.settle(redis, item_id, [(Fate.KEEP, one)])
    await flash_gate.settle(redis, item_id, [(Fate.RELEASE, one)], open_count=1)
    assert await left(redis, item_id) == 1


async def test_an_order_that_passed_a_lost_gate_is_counted_when_it_is_told(redis: Client, item_id: UUID) -> None:
    bought, claimed = asked(), asked()
    await flash_gate.settle(redis, item_id, [(Fate.KEEP, bought), (Fate.CLAIM, claimed)])
    assert await left(redis, item_id) == 2, "a claim takes what was set aside"
    for one in (bought, claimed):
        assert (await take(redis, item_id, one)).answer is GateAnswer.KNOWN
    nowhere = new_id(NOON)
    await flash_gate.settle(redis, nowhere, [(Fate.KEEP, bought)])
    assert await left(redis, nowhere) is None


async def test_a_loading_knows_every_ticket_and_never_goes_back_in_time(redis: Client) -> None:
    item_id = new_id(NOON)
    mine, released = asked(2), asked()
    full = content(epoch=5, left=1, tickets=((mine, False), (released, True)))
    assert await flash_gate.load(redis, item_id, full, now=NOON)
    assert (await take(redis, item_id, asked(1, mine.member_id))).answer is GateAnswer.LIMIT
    for one in (mine, released):
        assert (await take(redis, item_id, one)).answer is GateAnswer.KNOWN
    for epoch in (4, 5):
        assert not await flash_gate.load(redis, item_id, content(epoch=epoch, left=99), now=NOON)
    assert await flash_gate.load(redis, item_id, content(epoch=6, left=7, closed=True), now=NOON)
    assert await left(redis, item_id) == 7
    assert (await take(redis, item_id, asked())).answer is GateAnswer.CLOSED


async def test_it_is_lowered_at_once_and_raised_only_when_nothing_has_happened(redis: Client, item_id: UUID) -> None:
    seen = await flash_gate.look(redis, item_id, old_before=NOON, lower_to=1)
    assert seen is not None
    assert (seen.left, seen.in_flight, await left(redis, item_id)) == (3, 0, 1)
    seen = await flash_gate.look(redis, item_id, old_before=NOON)
    assert seen is not None
    one = asked()
    await take(redis, item_id, one)
    assert not await flash_gate.load(redis, item_id, content(epoch=2, left=9), now=NOON, mark=seen.mark)
    seen = await flash_gate.look(redis, item_id, old_before=NOON + MINUTE)
    assert seen is not None
    assert (seen.in_flight, seen.old) == (1, [one])
    assert not await flash_gate.load(redis, item_id, content(epoch=2, left=9), now=NOON, mark=seen.mark)
    await flash_gate.settle(redis, item_id, [(Fate.DROP, one)])
    seen = await flash_gate.look(redis, item_id, old_before=NOON + MINUTE)
    assert seen is not None
    assert await flash_gate.load(redis, item_id, content(epoch=2, left=9), now=NOON, mark=seen.mark)
    assert await left(redis, item_id) == 9
    assert await flash_gate.look(redis, new_id(NOON), old_before=NOON) is None


async def test_one_loads_at_a_time(redis: Client, item_id: UUID) -> None:
    assert await flash_gate.begin_loading(redis, item_id)
    assert not await flash_gate.begin_loading(redis, item_id)
    await flash_gate.end_loading(redis, item_id)
    assert await flash_gate.begin_loading(redis, item_id)


async def test_a_thousand_tickets_are_loaded_whole_and_forgotten_whole(redis: Client) -> None:
    item_id = new_id(NOON)
    tickets = [(asked(), False) for _ in range(1_500)]
    assert await flash_gate.load(redis, item_id, content(left=5, tickets=tickets), now=NOON)
    for one, _ in (tickets[0], tickets[-1]):
        assert (await take(redis, item_id, one)).answer is GateAnswer.KNOWN
    await flash_gate.forget(redis, item_id)
    assert (await take(redis, item_id, tickets[0][0])).answer is GateAnswer.GONE


async def test_a_gate_of_another_life_of_its_server_has_missed_something(redis: Client, item_id: UUID) -> None:
    async def missed() -> bool:
        seen = await flash_gate.look(redis, item_id, old_before=NOON)
        assert seen is not None
        return seen.missed

    assert not await missed()
    # As it is after a restart from the server's file, or at a replica that has taken its place.
    await redis.execute_command("HSET", f"flash:{{sale:{item_id}}}:gate", "life", "0" * 40)
    assert await missed()
    assert await flash_gate.load(redis, item_id, content(epoch=2), now=NOON)
    assert not await missed()
