"""The end of points and the points book, over the API."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from jobs.sweeps import SWEEPS
from loyalty.people.rights import Role
from loyalty.points.points import EntryKind, PointsProgramme
from models.engine import rows, transaction
from models.ids import new_id, new_secret
from models.people.member import Member
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.invariants.verify import verify
from resolvers.points import points, points_expiry
from resolvers.programme import points_programme
from tests.doors import Bearer, Door, bearer, make_member

Tokens = Callable[..., Awaitable[Bearer]]

EXPIRE = next(sweep for sweep in SWEEPS if sweep.name == "expire_points")
TELL = next(sweep for sweep in SWEEPS if sweep.name == "tell_of_ending_points")


async def give(deps: Deps, member_id: UUID, amount: int) -> None:
    now = deps.clock.now()
    async with transaction(member_id):
        await points.credit(
            member_id,
            amount=amount,
            kind=EntryKind.EARN,
            cause_kind="test",
            cause_id=new_id(now),
            key=new_secret(12),
            now=now,
            zone=deps.zone,
            programme=await points_programme(now),
        )


async def balance(member_id: UUID) -> int:
    return int((await rows("SELECT balance FROM points_account WHERE member_id = $1", [member_id]))[0]["balance"])


async def test_points_leave_the_books_at_shop_midnight_once(deps: Deps, clock: SetClock) -> None:
    assert PointsProgramme().definition()["expiry"] == "year_end"
    member = await make_member(deps)
    await give(deps, member.id, 70)
    clock.at = datetime(2027, 12, 31, 15, 59, 59, tzinfo=UTC)
    assert await points_expiry.expire(deps, member_id=member.id) == 0
    clock.advance(timedelta(seconds=1))
    while await EXPIRE.round(deps):
        pass
    assert await balance(member.id) == 0
    assert await points_expiry.expire(deps, member_id=member.id) == 0
    kinds = await rows("SELECT kind, amount FROM points_entry WHERE member_id = $1 ORDER BY seq", [member.id])
    assert kinds == [{"kind": "earn", "amount": 70}, {"kind": "expire", "amount": -70}]


async def test_expiry_after_a_partial_spend_takes_only_the_rest(deps: Deps, clock: SetClock) -> None:
    member = await make_member(deps)
    await give(deps, member.id, 300)
    cause = new_id(clock.now())
    async with transaction(member.id):
        await points.hold(member.id, amount=200, cause_kind="order", cause_id=cause, now=clock.now())
        programme = await points_programme(clock.now())
        await points.post(cause_kind="order", cause_id=cause, now=clock.now(), version_id=programme.version_id)
    clock.at = datetime(2028, 1, 1, tzinfo=UTC)
    assert await points_expiry.expire(deps, member_id=member.id) == 100
    assert await balance(member.id) == 0
    await give(deps, member.id, 50)
    assert await balance(member.id) == 50


async def test_points_held_by_an_open_order_do_not_end_under_it(deps: Deps, clock: SetClock) -> None:
    member = await make_member(deps)
    clock.at = datetime(2027, 12, 31, 15, 50, tzinfo=UTC)
    await give_ending(deps, member.id, 300, at=datetime(2026, 3, 1, tzinfo=UTC))
    cause = new_id(clock.now())
    async with transaction(member.id):
        await points.hold(member.id, amount=200, cause_kind="order", cause_id=cause, now=clock.now())
    clock.advance(timedelta(minutes=20))
    assert await points_expiry.expire(deps, member_id=member.id) == 100
    async with transaction(member.id):
        await points.release(
            cause_kind="order", cause_id=cause, now=clock.now(), programme=await points_programme(clock.now())
        )
    assert await points_expiry.expire(deps, member_id=member.id) == 0
    lots = await rows(
        "SELECT remaining, expires_at, origin_id IS NOT NULL AS renewed FROM points_lot "
        "WHERE member_id = $1 AND remaining > 0",
        [member.id],
    )
    assert lots == [{"remaining": 200, "expires_at": clock.now() + timedelta(days=7), "renewed": True}]
    assert not [finding for finding in await verify() if finding.offenders]


async def test_an_order_that_is_only_placed_and_cancelled_moves_no_end(deps: Deps, clock: SetClock) -> None:
    member = await make_member(deps)
    clock.at = datetime(2027, 12, 30, 4, tzinfo=UTC)
    await give_ending(deps, member.id, 300, at=datetime(2026, 3, 1, tzinfo=UTC))
    before = await open_lots(member.id)
    await hold_and_release(deps, clock, member.id, 300, held_for=timedelta(minutes=20))
    assert await open_lots(member.id) == before


async def test_points_held_over_their_end_get_one_grace_and_no_second(deps: Deps, clock: SetClock) -> None:
    member = await make_member(deps)
    clock.at = datetime(2027, 12, 31, 15, 50, tzinfo=UTC)
    await give_ending(deps, member.id, 300, at=datetime(2026, 3, 1, tzinfo=UTC))
    await hold_and_release(deps, clock, member.id, 300, held_for=timedelta(minutes=20))
    assert [lot["expires_at"] for lot in await open_lots(member.id)] == [clock.now() + timedelta(days=7)]
    clock.advance(timedelta(days=7) - timedelta(minutes=10))
    await hold_and_release(deps, clock, member.id, 300, held_for=timedelta(minutes=20))
    assert await points_expiry.expire(deps, member_id=member.id) == 300
    assert await open_lots(member.id) == []
    assert not [finding for finding in await verify() if finding.offenders]


async def hold_and_release(deps: Deps, clock: SetClock, member_id: UUID, amount: int, *, held_for: timedelta) -> None:
    """What an order does that is placed and closed without being paid."""
    cause = new_id(clock.now())
    async with transaction(member_id):
        await points.hold(member_id, amount=amount, cause_kind="order", cause_id=cause, now=clock.now())
    clock.advance(held_for)
    async with transaction(member_id):
        programme = await points_programme(clock.now())
        await points.release(cause_kind="order", cause_id=cause, now=clock.now(), programme=programme)


async def open_lots(member_id: UUID) -> list[dict[str, object]]:
    return await rows(
        "SELECT id, remaining, held, expires_at FROM points_lot WHERE member_id = $1 AND remaining > 0", [member_id]
    )


async def give_ending(deps: Deps, member_id: UUID, amount: int, *, at: datetime) -> None:
    """Points as if they had been earned at another instant."""
    async with transaction(member_id):
        await points.credit(
            member_id,
            amount=amount,
            kind=EntryKind.EARN,
            cause_kind="test",
            cause_id=new_id(at),
            key=new_secret(12),
            now=at,
            zone=deps.zone,
            programme=await points_programme(at),
        )


@pytest.mark.parametrize("days", [30, 7, 1])
async def test_a_member_is_told_once_before_points_end(
    shop: Door, deps: Deps, clock: SetClock, member_token: Tokens, days: int
) -> None:
    token = await member_token()
    await give(deps, token.subject_id, 40)
    clock.at = datetime(2027, 12, 31, 4, tzinfo=UTC) - timedelta(days=days)
    token = await renewed(deps, token.subject_id)
    for _ in range(2):
        while await TELL.round(deps):
            pass
    asked = (
        "{ pointsExpiryNotices { nodes { points daysBefore endsAt } } pointsExpiryCalendar { lastUsableOn points } }"
    )
    told = await shop.ask(asked, token=token)
    assert told["pointsExpiryNotices"]["nodes"] == [
        {"points": 40, "daysBefore": days, "endsAt": "2027-12-31T16:00:00Z"}
    ]
    assert told["pointsExpiryCalendar"] == [{"lastUsableOn": "2027-12-31", "points": 40}]


async def renewed(deps: Deps, member_id: UUID) -> Bearer:
    return await bearer(deps, await Member.get(id=member_id))


ADJUST = """
mutation($m: ID!, $a: Points!, $r: String!, $k: IdempotencyKey!) {
  pointsAdjust(memberId: $m, amount: $a, reason: $r, idempotencyKey: $k) {
    __typename
    ... on PointsAdjusted { entry { amount balanceAfter } }
    ... on Refusal { code }
  }
}
"""


async def test_an_adjustment_is_booked_once_with_its_reason(admin: Door, deps: Deps, operator_token: Tokens) -> None:
    member = await make_member(deps)
    boss = await operator_token(Role.USER_OPERATIONS)
    given = {"m": str(member.id), "a": 500, "r": "补偿", "k": new_secret(12)}
    for _ in range(2):
        told = await admin.ask(ADJUST, given, token=boss)
        assert told["pointsAdjust"]["entry"] == {"amount": 500, "balanceAfter": 500}
    taken = await admin.ask(ADJUST, given | {"a": -200, "k": new_secret(12)}, token=boss)
    assert taken["pointsAdjust"]["entry"] == {"amount": -200, "balanceAfter": 300}
    reused = await admin.ask(ADJUST, given | {"a": 501}, token=boss)
    assert reused["pointsAdjust"]["code"] == "KEY_REUSED"
    short = await admin.ask(ADJUST, given | {"a": -301, "k": new_secret(12)}, token=boss)
    assert short["pointsAdjust"]["code"] == "POINTS_SHORT"
    for bad in ({"a": 0}, {"a": 10_000_001}, {"r": " "}, {"r": "x" * 201}):
        told = await admin.ask(ADJUST, given | bad | {"k": new_secret(12)}, token=boss)
        assert told["pointsAdjust"]["code"] == "POINTS_ADJUSTMENT_INVALID"
    nobody = await admin.ask(ADJUST, given | {"m": str(new_id(deps.clock.now())), "k": new_secret(12)}, token=boss)
    assert nobody["pointsAdjust"]["code"] == "MEMBER_NOT_FOUND"
    assert await balance(member.id) == 300
    found = await rows("SELECT action FROM audit_row WHERE subject_id = $1", [str(member.id)])
    assert [row["action"] for row in found] == ["points.adjust"] * 2


async def test_who_may_adjust_points(admin: Door, deps: Deps, member_token: Tokens, operator_token: Tokens) -> None:
    member = await make_member(deps)
    given = {"m": str(member.id), "a": 5, "r": "补偿", "k": new_secret(12)}
    assert await admin.codes(ADJUST, given) == ["UNAUTHENTICATED"]
    assert await admin.codes(ADJUST, given, token=await member_token()) == ["UNAUTHENTICATED"]
    wrong = await operator_token(Role.CONTENT_OPERATIONS)
    assert await admin.codes(ADJUST, given, token=wrong) == ["FORBIDDEN"]
    assert await balance(member.id) == 0


async def test_the_liability_book_adds_up_to_the_balances(admin: Door, deps: Deps, operator_token: Tokens) -> None:
    member = await make_member(deps)
    await give(deps, member.id, 250)
    finance = await operator_token(Role.FINANCE)
    asked = (
        "{ pointsLiability { month tierCode members points worth } pointsLiabilityCsv "
        "pointsBreakage(months: 2) { month earned expired } }"
    )
    told = await admin.ask(asked, token=finance)
    alive = await rows(
        "SELECT coalesce(sum(remaining), 0)::bigint AS points FROM points_lot "
        "WHERE expires_at IS NULL OR expires_at > $1",
        [deps.clock.now()],
    )
    assert sum(row["points"] for row in told["pointsLiability"]) == alive[0]["points"] >= 250
    assert "2027-12-01" in [row["month"] for row in told["pointsLiability"]]
    lines = told["pointsLiabilityCsv"].splitlines()
    assert lines[0] == "month,tier_code,members,points,held,pending,worth_fen"
    assert len(lines) == 1 + len(told["pointsLiability"])
    assert "2026-11-01" in [row["month"] for row in told["pointsBreakage"]]
    assert await admin.codes("{ pointsBreakage(months: 0) { month } }", token=finance) == ["BAD_INPUT"]
