"""The tier's birthday gift: on the day, once, by the tier that applies."""

from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from uuid import UUID

import pytest
import pytest_asyncio

from jobs.sweeps import SWEEPS
from loyalty.people.rights import Role
from loyalty.shop_time import birthdays_on, is_birthday
from models.asyncpg_backend import SqlCount, sql_count
from models.coupons.coupon import Coupon
from models.engine import rows
from models.ids import new_id
from models.people.birthday import Birthday
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.invariants.verify import verify
from resolvers.people import birthday
from resolvers.programme import ProgrammeKind
from tests.coupons import make_template
from tests.doors import Bearer, Door, make_member
from tests.rulebook import buys, published, tiers

KEEP = next(sweep for sweep in SWEEPS if sweep.name == "keep_birthdays")
LEVELS = (
    {"code": "basic", "name": "普卡", "threshold": 0},
    {"code": "silver", "name": "银卡", "threshold": 100, "benefits": [{"kind": "birthday_gift", "figure": 200}]},
    {"code": "gold", "name": "金卡", "threshold": 500, "benefits": [{"kind": "birthday_gift", "code": "cake"}]},
)
TODAY = date(2026, 11, 20)


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(own_store_url: str) -> str:
    """A store of its own, because the tests publish rules."""
    return own_store_url


async def member_born(deps: Deps, day: date, *, growth: int) -> UUID:
    member = await make_member(deps, birthday=day)
    if growth:
        await buys(deps, member.id, new_id(deps.clock.now()), growth)
    return member.id


async def entries(member_id: UUID) -> list[tuple[str, int]]:
    found = await rows("SELECT kind, amount FROM points_entry WHERE member_id = $1 ORDER BY seq", [member_id])
    return [(row["kind"], row["amount"]) for row in found]


async def sweep(deps: Deps) -> None:
    while await KEEP.round(deps):
        pass


@pytest.mark.parametrize("day", [date(2026, 2, 28), date(2028, 2, 28), date(2028, 2, 29), TODAY])
def test_the_days_of_birth_of_a_day_are_those_that_celebrate_it(day: date) -> None:
    year = [date(1992, month, 1 + at) for month in range(1, 13) for at in range(28)] + [date(1992, 2, 29)]
    found = {(born.month, born.day) for born in year if is_birthday(born, day)}
    assert found == set(birthdays_on(day))


async def test_points_come_on_the_day_and_once(deps: Deps, clock: SetClock) -> None:
    await tiers(deps, *LEVELS)
    await published(deps, ProgrammeKind.POINTS, {"cap_per_day": 10})
    silver = await member_born(deps, date(1990, 11, 20), growth=100)
    basic = await member_born(deps, date(1990, 11, 20), growth=0)
    tomorrow = await member_born(deps, date(1990, 11, 21), growth=100)
    for _ in range(2):
        await sweep(deps)
    assert await entries(silver) == [("gift", 200)]
    assert await entries(basic) == []
    assert await entries(tomorrow) == []
    clock.at = datetime(2026, 11, 20, 16, tzinfo=UTC)
    await sweep(deps)
    assert await entries(tomorrow) == [("gift", 200)]
    clock.at = datetime(2027, 11, 20, 4, tzinfo=UTC)
    await sweep(deps)
    assert await entries(silver) == [("gift", 200)] * 2
    assert not [finding for finding in await verify() if finding.offenders]


async def test_a_birthday_that_moves_brings_no_second_gift_within_330_days(deps: Deps, clock: SetClock) -> None:
    await tiers(deps, *LEVELS)
    member_id = await member_born(deps, date(1990, 11, 20), growth=100)
    await sweep(deps)
    await rows("UPDATE member SET birthday = '1990-06-01' WHERE id = $1", [member_id])
    clock.at = datetime(2027, 6, 1, 4, tzinfo=UTC)
    await sweep(deps)
    assert await entries(member_id) == [("gift", 200)]


async def test_nobody_gets_a_gift_on_another_day(deps: Deps) -> None:
    await tiers(deps, *LEVELS)
    member_id = await member_born(deps, date(1990, 11, 19), growth=100)
    assert await birthday.keep(deps, member_id=member_id) is None
    assert await entries(member_id) == []


async def test_a_gift_that_is_not_points_is_listed_for_operators(
    deps: Deps, admin: Door, operator_token: Callable[..., Awaitable[Bearer]]
) -> None:
    await tiers(deps, *LEVELS)
    member_id = await member_born(deps, date(1990, 11, 20), growth=500)
    await sweep(deps)
    asked = "{ birthdayGifts { nodes { memberId businessDay tierCode points giftCode } } }"
    staff = await operator_token(Role.STAFF)
    assert (await admin.ask(asked, token=staff))["birthdayGifts"]["nodes"] == [
        {
            "memberId": str(member_id),
            "businessDay": "2026-11-20",
            "tierCode": "gold",
            "points": 0,
            "giftCode": "cake",
        }
    ]
    assert await statements(admin, asked, staff) == 2
    for _ in range(9):
        await member_born(deps, date(1990, 11, 20), growth=500)
    await sweep(deps)
    assert len((await admin.ask(asked, token=staff))["birthdayGifts"]["nodes"]) == 10
    assert await statements(admin, asked, staff) == 2
    assert await admin.codes(asked) == ["UNAUTHENTICATED"]
    assert await admin.codes(asked, token=await operator_token(Role.CONTENT_OPERATIONS)) == ["FORBIDDEN"]


async def statements(door: Door, document: str, token: str) -> int:
    counter = SqlCount()
    mark = sql_count.set(counter)
    await door.ask(document, token=token)
    sql_count.reset(mark)
    return counter.value


async def test_a_tier_gives_coupons_on_the_birthday_as_far_as_there_are_any(deps: Deps) -> None:
    template = await make_template(deps, total_limit=3, claimable=False)
    gift = {"kind": "birthday_coupons", "figure": 2, "code": template.code}
    await tiers(deps, {"code": "basic", "name": "普卡", "threshold": 0, "benefits": [gift]})
    first, second = await member_born(deps, TODAY, growth=0), await member_born(deps, TODAY, growth=0)
    await sweep(deps)
    await sweep(deps)
    kept = sorted([(await Birthday.get(member_id=one)) for one in (first, second)], key=lambda row: -row.coupon_count)
    assert [(row.coupon_count, row.coupon_refusal) for row in kept] == [(2, ""), (1, "COUPONS_GONE")]
    given = await Coupon.filter(template_id=template.id)
    assert sorted(coupon.member_id for coupon in given) == sorted([kept[0].member_id] * 2 + [kept[1].member_id])
    assert {coupon.channel for coupon in given} == {"birthday"}
    assert {coupon.cause_id for coupon in given} == {row.id for row in kept}
    assert not [found for found in await verify() if found.offenders]
