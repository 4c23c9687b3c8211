"""Joining, the first screen in a fixed number of statements, and the profile."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from loyalty.idempotency import KeyReused
from loyalty.people.member import AvatarInvalid, NicknameInvalid
from loyalty.points.points import EntryKind
from models.asyncpg_backend import SqlCount, sql_count
from models.engine import transaction
from models.ids import new_id, new_secret
from models.people.member import Member
from models.points.points import PointsAccount
from models.tiers.tier import Membership
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.people import member
from resolvers.people.member import join
from resolvers.points import balance, check_in, points
from resolvers.programme import points_programme
from tests.doors import make_member
from tests.rulebook import buys


async def credit(deps: Deps, member_id: UUID, amount: int, *, opens_at: datetime | None = None) -> None:
    now = deps.clock.now()
    async with transaction(member_id):
        await points.credit(
            member_id,
            amount=amount,
            kind=EntryKind.EARN,
            cause_kind="order",
            cause_id=new_id(now),
            key=f"earn:{new_id(now)}",
            now=now,
            zone=deps.zone,
            programme=await points_programme(now),
            opens_at=opens_at,
        )


async def hold(deps: Deps, member_id: UUID, amount: int) -> None:
    now = deps.clock.now()
    async with transaction(member_id):
        await points.hold(member_id, amount=amount, cause_kind="order", cause_id=new_id(now), now=now)


async def statements(deps: Deps, member_id: UUID) -> int:
    counter = SqlCount()
    token = sql_count.set(counter)
    await member.home(deps, member_id=member_id)
    sql_count.reset(token)
    return counter.value


async def test_joining_gives_a_tier_and_an_account_or_nothing(deps: Deps) -> None:
    now = deps.clock.now()
    member_id = new_id(now)

    async def join_and_fail() -> None:
        async with transaction():
            await Member.create(id=member_id, created_at=now)
            await join(member_id, now=now)
            raise RuntimeError("the session could not be opened")

    with pytest.raises(RuntimeError, match="session"):
        await join_and_fail()
    assert not await Membership.exists(member_id=member_id)
    assert not await PointsAccount.exists(member_id=member_id)
    with pytest.raises(AssertionError, match="account"):
        await join(member_id, now=now)


async def test_the_home_of_a_new_member_is_empty_and_complete(deps: Deps) -> None:
    row = await make_member(deps, nickname="小友")
    found = await member.home(deps, member_id=row.id)
    assert (found.member.id, found.member.nickname) == (row.id, "小友")
    assert (found.standing.growth_value, found.standing.progress.current.threshold) == (0, 0)
    assert (found.balance.balance, found.balance.available, found.balance.soonest_expiry) == (0, 0, None)
    assert (found.check_in.done, found.check_in.points) == (False, 1)
    assert (found.unpaid_orders, found.refunding_orders) == (0, 0)


async def test_home_takes_four_statements_however_much_a_member_has_done(deps: Deps, clock: SetClock) -> None:
    new = (await make_member(deps)).id
    busy = (await make_member(deps)).id
    for day in range(20):
        clock.advance(timedelta(days=1))
        await check_in.check_in(deps, member_id=busy, idempotency_key=new_secret(12))
        await credit(deps, busy, 100 + day)
        await buys(deps, busy, new_id(clock.now()), 10)
    assert (await statements(deps, new), await statements(deps, busy)) == (4, 4)


async def test_the_balance_tells_apart_what_is_available_pending_held_and_ends_first(
    deps: Deps, clock: SetClock
) -> None:
    member_id = (await make_member(deps)).id
    await credit(deps, member_id, 100)
    await credit(deps, member_id, 40)
    await credit(deps, member_id, 30, opens_at=clock.now() + timedelta(days=7))
    await hold(deps, member_id, 25)
    clock.at = datetime(2027, 2, 1, tzinfo=UTC)
    await credit(deps, member_id, 50)
    clock.at = datetime(2026, 11, 21, tzinfo=UTC)
    found = (await balance.balances(deps, [member_id]))[member_id]
    assert (found.balance, found.held, found.debt) == (220, 25, 0)
    assert (found.available, found.pending) == (115, 80)
    assert found.soonest_expiry is not None
    assert found.soonest_expiry.points == 145
    assert found.soonest_expiry.at == datetime(2027, 12, 31, 16, 0, tzinfo=UTC)


async def test_points_that_have_ended_are_neither_available_nor_about_to_end(deps: Deps, clock: SetClock) -> None:
    member_id = (await make_member(deps)).id
    await credit(deps, member_id, 100)
    clock.at = datetime(2027, 12, 31, 16, 0, tzinfo=UTC) - timedelta(microseconds=1)
    assert (await balance.balances(deps, [member_id]))[member_id].available == 100
    clock.advance(timedelta(microseconds=1))
    found = (await balance.balances(deps, [member_id]))[member_id]
    assert (found.available, found.soonest_expiry, found.balance) == (0, None, 100)


async def change(deps: Deps, member_id: UUID, *, nickname: str | None = None, avatar_url: str | None = None) -> Member:
    return await member.update(
        deps, member_id=member_id, nickname=nickname, avatar_url=avatar_url, idempotency_key=new_secret(12)
    )


async def test_a_part_of_the_profile_changes_and_the_rest_stays(deps: Deps) -> None:
    member_id = (await make_member(deps, nickname="old", avatar_url="https://cdn.test/a.png")).id
    assert (await change(deps, member_id, nickname="  Ann  ")).nickname == "Ann"
    row = await Member.get(id=member_id)
    assert (row.nickname, row.avatar_url) == ("Ann", "https://cdn.test/a.png")
    await change(deps, member_id, avatar_url="")
    row = await Member.get(id=member_id)
    assert (row.nickname, row.avatar_url) == ("Ann", "")


@pytest.mark.parametrize("nickname", ["", "   ", "友" * 33, "a\nb", "a\u2028b", "\x07"])
async def test_a_nickname_that_cannot_be_shown_is_refused(deps: Deps, nickname: str) -> None:
    member_id = (await make_member(deps, nickname="before")).id
    with pytest.raises(NicknameInvalid):
        await change(deps, member_id, nickname=nickname)
    assert (await Member.get(id=member_id)).nickname == "before"


async def test_the_longest_nickname_is_kept(deps: Deps) -> None:
    member_id = (await make_member(deps)).id
    assert (await change(deps, member_id, nickname="友" * 32)).nickname == "友" * 32


@pytest.mark.parametrize(
    "url",
    [
        "http://cdn.test/a.png",
        "javascript:alert(1)",
        "https://",
        "https://user@cdn.test/a.png",
        "https://cdn.test/a b.png",
        "https://cdn.test/图.png",
        "https://[",
        "https://cdn.test/" + "a" * 496,
    ],
)
async def test_an_avatar_that_is_no_https_address_is_refused(deps: Deps, url: str) -> None:
    member_id = (await make_member(deps)).id
    with pytest.raises(AvatarInvalid):
        await change(deps, member_id, nickname="not kept", avatar_url=url)
    row = await Member.get(id=member_id)
    assert (row.nickname, row.avatar_url) == ("", "")


async def test_the_longest_avatar_is_kept(deps: Deps) -> None:
    member_id = (await make_member(deps)).id
    url = "https://cdn.test/" + "a" * 495
    assert len(url) == 512
    assert (await change(deps, member_id, avatar_url=url)).avatar_url == url


async def test_a_profile_key_with_other_content_is_refused(deps: Deps) -> None:
    member_id = (await make_member(deps)).id
    for nickname in ("Ann", "Ann"):
        await member.update(
            deps, member_id=member_id, nickname=nickname, avatar_url=None, idempotency_key="profile-key"
        )
    with pytest.raises(KeyReused):
        await member.update(deps, member_id=member_id, nickname="Bob", avatar_url=None, idempotency_key="profile-key")
    assert (await Member.get(id=member_id)).nickname == "Ann"
