"""The card, birthdays, preferences, deeds and make-ups through both doors: who may, what is refused, what it costs."""

import dataclasses
from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio

from cache import engine as valkey
from loyalty.people.rights import RIGHTS, Right, Role
from models.asyncpg_backend import SqlCount, sql_count
from models.ids import new_secret
from models.people.member import Member
from models.people.operator import AuditRow
from models.points.check_in import CheckIn
from models.points.points import PointsAccount
from models.points.points_action import PointsAction
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.points import check_in
from resolvers.points.check_in_calendar import make_up_day
from resolvers.programme import ProgrammeKind
from tests.doors import Bearer, Door, doors_app, make_member
from tests.rulebook import published

Tokens = Callable[..., Awaitable[Bearer]]

CODE = "mutation { memberCode { ... on MemberCode { code endsAt } ... on Refusal { code } } }"
RESOLVE = """
mutation ($code: String!, $key: IdempotencyKey!) {
  memberCodeResolve(code: $code, idempotencyKey: $key) {
    ... on MemberCodeResolved { member { id nickname tier { level { code } } pointsAccount { available } } }
    ... on Refusal { code message }
  }
}
"""
REWARD = """
mutation ($member: ID!, $action: String!, $cause: String!, $key: IdempotencyKey!) {
  pointsActionReward(memberId: $member, actionCode: $action, causeId: $cause, idempotencyKey: $key) {
    ... on PointsActionRewarded { action { id memberId actionCode causeId businessDay points at } }
    ... on Refusal { code message }
  }
}
"""
ME = """
{ me { nickname birthday birthdayChangeableFrom preferences { personalised marketingTopics } } }
"""
BIRTHDAY = """
mutation ($day: Date!, $key: IdempotencyKey!) {
  memberBirthdaySet(birthday: $day, idempotencyKey: $key) {
    ... on MemberUpdated { member { birthday } }
    ... on BirthdayLocked { fromDay }
    ... on Refusal { code message }
  }
}
"""
FORGET = """
mutation ($key: IdempotencyKey!) {
  memberBirthdayRemove(idempotencyKey: $key) { ... on MemberUpdated { member { birthday } } ... on Refusal { code } }
}
"""
PREFER = """
mutation ($personal: Boolean!, $topics: [MarketingTopic!]!, $key: IdempotencyKey!) {
  memberPreferencesSet(personalised: $personal, marketingTopics: $topics, idempotencyKey: $key) {
    ... on MemberUpdated { member { preferences { personalised marketingTopics } } }
    ... on Refusal { code }
  }
}
"""
MAKE_UP = """
mutation ($day: Date!, $key: IdempotencyKey!) {
  checkInMakeUp(day: $day, idempotencyKey: $key) {
    ... on CheckInMadeUp {
      checkIn { businessDay streakDays totalDays points growth madeUpOn pricePoints rewards { kind days points } }
    }
    ... on AlreadyCheckedIn { day }
    ... on MakeUpOutOfWindow { first last }
    ... on MakeUpLimitReached { limit }
    ... on PointsShort { available wanted }
    ... on Refusal { code message }
  }
}
"""
CALENDAR = "{ checkInCalendar { makeUpsLeft days { day mark canMakeUp } } }"
HOME = """
{
  memberHome {
    member { id nickname birthday preferences { personalised marketingTopics } }
    tier { level { code } growthValue nextLevel { code } missing }
    points { balance available pending held debt soonestExpiry { points at } }
    checkIn { done streakDays programme { makeUp { windowDays monthlyLimit pricePoints paysDay } } }
    unpaidOrderCount refundingOrderCount
  }
}
"""
MEMBER_MUTATIONS: dict[str, tuple[str, dict[str, object]]] = {
    "memberCode": (CODE, {}),
    "memberBirthdaySet": (BIRTHDAY, {"day": "1990-05-01", "key": "key-of-nobody"}),
    "memberBirthdayRemove": (FORGET, {"key": "key-of-nobody"}),
    "memberPreferencesSet": (PREFER, {"personal": False, "topics": [], "key": "key-of-nobody"}),
    "checkInMakeUp": (MAKE_UP, {"day": "2026-11-19", "key": "key-of-nobody"}),
}


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(own_store_url: str) -> str:
    return own_store_url


async def counted(question: Awaitable[dict[str, Any]]) -> int:
    counter = SqlCount()
    token = sql_count.set(counter)
    await question
    sql_count.reset(token)
    return counter.value


async def rewards(deps: Deps) -> None:
    await published(deps, ProgrammeKind.POINTS, {"actions": [{"code": "review", "points": 10, "times_per_day": 1}]})


async def came(deps: Deps, member_id: UUID) -> None:
    await check_in.check_in(deps, member_id=member_id, idempotency_key=new_secret(12))


# Who may


@pytest.mark.parametrize("name", MEMBER_MUTATIONS)
async def test_only_a_member_has_a_card_a_birthday_and_days(shop: Door, operator_token: Tokens, name: str) -> None:
    document, variables = MEMBER_MUTATIONS[name]
    assert await shop.codes(document, variables) == ["UNAUTHENTICATED"]
    assert await shop.codes(document, variables, token=await operator_token(Role.OWNER)) == ["UNAUTHENTICATED"]


@pytest.mark.parametrize("role", list(Role))
async def test_only_a_till_resolves_a_code(
    deps: Deps, shop: Door, admin: Door, member_token: Tokens, operator_token: Tokens, role: Role
) -> None:
    mine = await member_token()
    code = (await shop.ask(CODE, token=mine))["memberCode"]["code"]
    asked = {"code": code, "key": "till-key-1"}
    assert await admin.codes(RESOLVE, asked) == ["UNAUTHENTICATED"]
    assert await admin.codes(RESOLVE, asked, token=mine) == ["UNAUTHENTICATED"]
    operator = await operator_token(role)
    if Right.MEMBER_CODE_RESOLVE in RIGHTS[role]:
        data = await admin.ask(RESOLVE, asked, token=operator)
        assert data["memberCodeResolve"]["member"]["id"] == str(mine.subject_id)
    else:
        assert await admin.codes(RESOLVE, asked, token=operator) == ["FORBIDDEN"]
        assert not await AuditRow.exists(operator_id=operator.subject_id)
        data = await admin.ask(RESOLVE, asked, token=await operator_token(Role.STAFF))
        assert "member" in data["memberCodeResolve"], "whoever may not took nothing"


@pytest.mark.parametrize("role", list(Role))
async def test_only_some_roles_reward_deeds(
    deps: Deps, admin: Door, member_token: Tokens, operator_token: Tokens, role: Role
) -> None:
    await rewards(deps)
    mine = await member_token()
    asked = {"member": str(mine.subject_id), "action": "review", "cause": "r-1", "key": "reward-key"}
    assert await admin.codes(REWARD, asked) == ["UNAUTHENTICATED"]
    assert await admin.codes(REWARD, asked, token=mine) == ["UNAUTHENTICATED"]
    operator = await operator_token(role)
    if Right.POINTS_REWARD in RIGHTS[role]:
        found = (await admin.ask(REWARD, asked, token=operator))["pointsActionReward"]["action"]
        assert (found["memberId"], found["points"], found["businessDay"]) == (str(mine.subject_id), 10, "2026-11-20")
        assert (found["actionCode"], found["causeId"]) == ("review", "r-1")
    else:
        assert await admin.codes(REWARD, asked, token=operator) == ["FORBIDDEN"]
        assert not await PointsAction.exists(member_id=mine.subject_id)


# What is refused


async def test_a_code_is_refused_the_second_time_when_unknown_and_when_ended(
    clock: SetClock, shop: Door, admin: Door, member_token: Tokens, operator_token: Tokens
) -> None:
    mine, till = await member_token(), await operator_token(Role.STAFF)
    codes = [(await shop.ask(CODE, token=mine))["memberCode"]["code"] for _ in range(2)]

    async def read(code: str) -> dict[str, Any]:
        data = await admin.ask(RESOLVE, {"code": code, "key": new_secret(12)}, token=till, accept_language="en")
        found: dict[str, Any] = data["memberCodeResolve"]
        return found

    assert (await read(f" {codes[0]} "))["member"]["pointsAccount"] == {"available": 0}
    refusals = [await read(codes[0]), await read("88" + "0" * 16), await read("x")]
    clock.advance(timedelta(minutes=1))
    refusals.append(await read(codes[1]))
    assert {one["code"] for one in refusals} == {"MEMBER_CODE_INVALID"}
    assert len({one["message"] for one in refusals}) == 1, "which of the reasons it was is not told"


async def test_without_redis_a_till_is_told_to_try_again_and_the_code_is_still_good(
    deps: Deps, shop: Door, admin: Door, member_token: Tokens, operator_token: Tokens
) -> None:
    mine, till = await member_token(), await operator_token(Role.STAFF)
    code = (await shop.ask(CODE, token=mine))["memberCode"]["code"]
    nowhere = valkey.connect("redis://127.0.0.1:9/0")
    app = doors_app(dataclasses.replace(deps, redis=nowhere))
    asked = {"code": code, "key": "till-key-2"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://store.test") as http:
        assert await Door(http, "/admin/graphql").codes(RESOLVE, asked, token=till) == ["TRY_AGAIN"]
        assert await Door(http, "/graphql").codes(CODE, token=mine) == ["TRY_AGAIN"]
    await nowhere.aclose()
    data = await admin.ask(RESOLVE, asked, token=till)
    assert data["memberCodeResolve"]["member"]["id"] == str(mine.subject_id)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"action": "share"}, "ACTION_NOT_REWARDED"),
        ({"cause": "a b"}, "ACTION_CAUSE_INVALID"),
        ({"cause": "r-2"}, "ACTION_LIMIT_REACHED"),
        ({"member": str(UUID(int=1))}, "MEMBER_NOT_FOUND"),
        ({"key": "reward-key"}, "KEY_REUSED"),
    ],
)
async def test_deeds_that_earn_nothing_are_refused_with_their_codes(
    deps: Deps, admin: Door, operator_token: Tokens, change: dict[str, str], code: str
) -> None:
    await rewards(deps)
    member_id, boss = (await make_member(deps)).id, await operator_token(Role.USER_OPERATIONS)
    first = {"member": str(member_id), "action": "review", "cause": "r-1", "key": "reward-key"}
    await admin.ask(REWARD, first, token=boss)
    other = first | {"cause": "r-9", "key": new_secret(12)} | change
    data = await admin.ask(REWARD, other, token=boss)
    assert data["pointsActionReward"]["code"] == code
    assert await PointsAction.filter(member_id=member_id).count() == 1
    assert (await PointsAccount.get(member_id=member_id)).balance == 10


async def test_what_is_no_id_is_bad_input(admin: Door, operator_token: Tokens) -> None:
    asked = {"member": "nobody", "action": "review", "cause": "r-1", "key": "reward-key"}
    assert await admin.codes(REWARD, asked, token=await operator_token(Role.OWNER)) == ["BAD_INPUT"]


async def test_a_birthday_is_set_locked_and_forgotten(shop: Door, member_token: Tokens) -> None:
    mine = await member_token()
    assert (await shop.ask(ME, token=mine))["me"] == {
        "nickname": "",
        "birthday": None,
        "birthdayChangeableFrom": None,
        "preferences": {"personalised": True, "marketingTopics": []},
    }

    async def born(day: str) -> dict[str, Any]:
        data = await shop.ask(BIRTHDAY, {"day": day, "key": new_secret(12)}, token=mine)
        found: dict[str, Any] = data["memberBirthdaySet"]
        return found

    assert (await born("2026-11-21"))["code"] == "BIRTHDAY_INVALID"
    assert (await born("1990-02-28"))["member"] == {"birthday": "1990-02-28"}
    locked = await born("1990-03-01")
    assert (locked["code"], locked["fromDay"]) == ("BIRTHDAY_LOCKED", "2027-11-20")
    assert (await shop.ask(ME, token=mine))["me"]["birthdayChangeableFrom"] == "2027-11-20"
    data = await shop.ask(FORGET, {"key": new_secret(12)}, token=mine)
    assert data["memberBirthdayRemove"]["member"] == {"birthday": None}
    assert await shop.codes(BIRTHDAY, {"day": "1990-02-30", "key": new_secret(12)}, token=mine) == ["BAD_INPUT"]


async def test_preferences_are_set_whole(shop: Door, member_token: Tokens) -> None:
    mine = await member_token()
    asked = {"personal": False, "topics": ["EVENTS", "NEW_ARRIVALS", "EVENTS"], "key": new_secret(12)}
    data = await shop.ask(PREFER, asked, token=mine)
    wanted = {"personalised": False, "marketingTopics": ["NEW_ARRIVALS", "EVENTS"]}
    assert data["memberPreferencesSet"]["member"]["preferences"] == wanted
    assert (await shop.ask(ME, token=mine))["me"]["preferences"] == wanted
    wrong = {**asked, "topics": ["WEATHER"], "key": new_secret(12)}
    assert await shop.codes(PREFER, wrong, token=mine) == ["BAD_INPUT"]


async def test_a_day_is_made_up_and_each_refusal_says_what_a_phone_needs(
    deps: Deps, clock: SetClock, shop: Door, member_token: Tokens
) -> None:
    clock.advance(timedelta(days=-10))
    make_up = {"window_days": 5, "monthly_limit": 2, "price_points": 3}
    await published(
        deps,
        ProgrammeKind.CHECK_IN,
        {"base_points": 2, "streak_rewards": [{"days": 3, "points": 9}], "make_up": make_up, "cycle_days": 30},
    )
    member = await make_member(deps)
    clock.advance(timedelta(days=7))
    await came(deps, member.id)
    clock.advance(timedelta(days=2))
    await came(deps, member.id)
    clock.advance(timedelta(days=1))
    mine = await member_token(member)

    async def made_up(day: str, key: str | None = None) -> dict[str, Any]:
        data = await shop.ask(MAKE_UP, {"day": day, "key": key or new_secret(12)}, token=mine)
        found: dict[str, Any] = data["checkInMakeUp"]
        return found

    done = await made_up("2026-11-18", "make-up-key")
    assert done["checkIn"] == {
        "businessDay": "2026-11-18",
        "streakDays": 2,
        "totalDays": 2,
        "points": 11,
        "growth": 0,
        "madeUpOn": "2026-11-20",
        "pricePoints": 3,
        "rewards": [{"kind": "BASE", "days": 0, "points": 2}, {"kind": "STREAK", "days": 3, "points": 9}],
    }
    assert await made_up("2026-11-18", "make-up-key") == done
    assert (await made_up("2026-11-18"))["day"] == "2026-11-18"
    outside = await made_up("2026-11-14")
    assert (outside["code"], outside["first"], outside["last"]) == (
        "MAKE_UP_OUT_OF_WINDOW",
        "2026-11-15",
        "2026-11-19",
    )
    await made_up("2026-11-16")
    limited = await made_up("2026-11-15")
    assert (limited["code"], limited["limit"]) == ("MAKE_UP_LIMIT_REACHED", 2)
    assert await shop.codes(MAKE_UP, {"day": "yesterday", "key": "make-up-key-2"}, token=mine) == ["BAD_INPUT"]
    poor = await member_token(await make_member(deps, created_at=clock.now() - timedelta(days=3)))
    data = await shop.ask(MAKE_UP, {"day": "2026-11-19", "key": new_secret(12)}, token=poor)
    assert data["checkInMakeUp"]["code"] == "POINTS_SHORT"
    assert (data["checkInMakeUp"]["available"], data["checkInMakeUp"]["wanted"]) == (0, 3)
    assert not await CheckIn.exists(member_id=poor.subject_id)


# What it costs


async def busy_year(deps: Deps, clock: SetClock) -> Member:
    """A member with sixty check-ins, made-up days, a birthday, deeds and topics."""
    clock.advance(timedelta(days=-70))
    await rewards(deps)
    await published(
        deps, ProgrammeKind.CHECK_IN, {"make_up": {"window_days": 62, "monthly_limit": 31}, "cycle_days": 30}
    )
    member = await make_member(deps, nickname="小友", birthday=date(1990, 5, 1), marketing_topics=["offers", "events"])
    for at in range(70):
        if at % 7:
            await came(deps, member.id)
        clock.advance(timedelta(days=1))
    for days_ago in (7, 14, 21):
        await make_up_day(
            deps,
            member_id=member.id,
            day=clock.now().date() - timedelta(days=days_ago),
            idempotency_key=new_secret(12),
        )
    return member


async def test_home_and_calendar_cost_the_same_for_a_new_member_and_a_busy_one(
    deps: Deps, clock: SetClock, shop: Door, member_token: Tokens
) -> None:
    busy = await member_token(await busy_year(deps, clock))
    fresh = await member_token()
    counts: dict[str, list[int]] = {"home": [], "calendar": []}
    for token in (fresh, busy):
        await shop.ask("{ serverInfo { time } }", token=token)
        counts["home"].append(await counted(shop.ask(HOME, token=token)))
        counts["calendar"].append(await counted(shop.ask(CALENDAR, token=token)))
    assert counts == {"home": [4, 4], "calendar": [1, 1]}
    home = (await shop.ask(HOME, token=busy))["memberHome"]
    assert home["member"]["birthday"] == "1990-05-01"
    assert home["member"]["preferences"]["marketingTopics"] == ["OFFERS", "EVENTS"]
    assert home["checkIn"]["programme"]["makeUp"] == {
        "windowDays": 62,
        "monthlyLimit": 31,
        "pricePoints": 0,
        "paysDay": True,
    }
    calendar = (await shop.ask(CALENDAR, token=busy))["checkInCalendar"]
    assert calendar["makeUpsLeft"] == 28
    assert [one["mark"] for one in calendar["days"]].count("MADE_UP") == 2


PUBLISH = """
mutation ($programme: CheckInProgrammeInput!, $key: IdempotencyKey!) {
  checkInProgrammePublish(programme: $programme, idempotencyKey: $key) {
    ... on CheckInProgrammePublished {
      version { programme { makeUp { windowDays monthlyLimit pricePoints paysDay } } }
    }
    ... on ProgrammeInvalid { field }
    ... on Refusal { code }
  }
}
"""


async def test_make_up_is_published_with_its_limits_and_price(admin: Door, operator_token: Tokens) -> None:
    boss = await operator_token(Role.ACTIVITY_OPERATIONS)
    terms = {"windowDays": 62, "monthlyLimit": 31, "pricePoints": 1_000_000, "paysDay": False}
    data = await admin.ask(PUBLISH, {"programme": {"makeUp": terms}, "key": new_secret(12)}, token=boss)
    assert data["checkInProgrammePublish"]["version"]["programme"]["makeUp"] == terms


@pytest.mark.parametrize(
    ("terms", "field"),
    [
        ({"windowDays": 63, "monthlyLimit": 1}, "makeUp.windowDays"),
        ({"windowDays": 0, "monthlyLimit": 1}, "makeUp.windowDays"),
        ({"windowDays": 1, "monthlyLimit": 32}, "makeUp.monthlyLimit"),
        ({"windowDays": 1, "monthlyLimit": 0}, "makeUp.monthlyLimit"),
        ({"windowDays": 1, "monthlyLimit": 1, "pricePoints": -1}, "makeUp.pricePoints"),
    ],
)
async def test_an_impossible_make_up_is_refused_with_the_field(
    admin: Door, operator_token: Tokens, terms: dict[str, int], field: str
) -> None:
    boss = await operator_token(Role.ACTIVITY_OPERATIONS)
    data = await admin.ask(PUBLISH, {"programme": {"makeUp": terms}, "key": new_secret(12)}, token=boss)
    assert data["checkInProgrammePublish"] == {"field": field, "code": "PROGRAMME_INVALID"}
