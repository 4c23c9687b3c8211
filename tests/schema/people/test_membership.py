"""What members see of themselves and operators of members, through both doors."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from loyalty.people.rights import Role
from loyalty.points.points import EntryKind
from models.asyncpg_backend import SqlCount, sql_count
from models.engine import transaction
from models.ids import new_id, new_secret
from models.people.member import Member
from models.points.check_in import CheckIn
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.points import points
from resolvers.programme import points_programme
from tests.doors import Bearer, Door, make_member
from tests.rulebook import buys

Tokens = Callable[..., Awaitable[Bearer]]

HOME = """
{
  memberHome {
    member { id nickname avatarUrl joinedAt }
    tier { level { code name } growthValue since keepUntil nextLevel { code } missing }
    points { balance available pending held debt soonestExpiry { points at } }
    checkIn {
      businessDay done cycleDay streakDays totalDays points growth programme { basePoints cycleDays }
    }
    unpaidOrderCount refundingOrderCount
  }
}
"""
CHECK_IN = """
mutation ($key: IdempotencyKey!) {
  checkIn(idempotencyKey: $key) {
    ... on CheckInDone {
      checkIn {
        id businessDay cycleDay streakDays totalDays points growth at rewards { kind days points growth }
      }
    }
    ... on AlreadyCheckedIn { day }
    ... on Refusal { code message }
  }
}
"""
UPDATE = """
mutation ($input: MemberUpdateInput!) {
  memberUpdate(input: $input) {
    ... on MemberUpdated { member { nickname avatarUrl } }
    ... on Refusal { code message }
  }
}
"""
POINTS = """
query ($first: Int!, $after: String) {
  pointsHistory(first: $first, after: $after) {
    nodes {
      id seq kind amount balanceAfter debtChange causeKind causeId at
      draws { amount lot { id amount remaining opensAt expiresAt originId } }
    }
    pageInfo { hasNextPage endCursor }
  }
}
"""
MEMBERS = """
query ($first: Int!) {
  members(first: $first) {
    nodes {
      id nickname joinedAt
      tier { growthValue level { code } }
      pointsAccount { balance available soonestExpiry { points } }
    }
  }
}
"""


async def earn(deps: Deps, member_id: UUID, amount: int) -> None:
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
        )


async def counted(question: Awaitable[dict[str, Any]]) -> int:
    """How many statements the answer took."""
    counter = SqlCount()
    token = sql_count.set(counter)
    await question
    sql_count.reset(token)
    return counter.value


async def signing_in_takes(door: Door, token: str) -> int:
    """The statements of knowing who asks, once the token has been seen."""
    await door.ask("{ serverInfo { time } }", token=token)
    return await counted(door.ask("{ serverInfo { time } }", token=token))


@pytest.mark.parametrize(
    "document",
    [
        "{ me { id } }",
        HOME,
        "{ pointsAccount { balance } }",
        "{ pointsHistory { nodes { id } } }",
        "{ growthHistory { nodes { id } } }",
        "{ tierHistory { nodes { id } } }",
        "{ checkInStatus { done } }",
        "{ checkInCalendar { month } }",
        'mutation { checkIn(idempotencyKey: "as-a-visitor") { __typename } }',
        'mutation { memberUpdate(input: {idempotencyKey: "as-a-visitor"}) { __typename } }',
    ],
)
async def test_visitors_and_operators_see_nothing_of_a_member(
    shop: Door, operator_token: Tokens, document: str
) -> None:
    assert await shop.codes(document) == ["UNAUTHENTICATED"]
    assert await shop.codes(document, token=await operator_token()) == ["UNAUTHENTICATED"]


@pytest.mark.parametrize("document", ["{ tierTable { levels { code } } }", "{ pointsProgramme { expiry } }"])
async def test_visitors_read_the_rules(shop: Door, document: str) -> None:
    assert await shop.codes(document) == []


async def test_home_shows_everything_in_one_query(
    deps: Deps, shop: Door, member_token: Tokens, clock: SetClock
) -> None:
    token = await member_token(nickname="小友")
    await earn(deps, token.subject_id, 120)
    await buys(deps, token.subject_id, new_id(clock.now()), 30)
    await shop.ask(CHECK_IN, {"key": "first-check-in"}, token=token)
    assert (await shop.ask(HOME, token=token))["memberHome"] == {
        "member": {
            "id": str(token.subject_id),
            "nickname": "小友",
            "avatarUrl": "",
            "joinedAt": "2026-11-20T04:00:00Z",
        },
        "tier": {
            "level": {"code": "member", "name": "会员"},
            "growthValue": 30,
            "since": "2026-11-20T04:00:00Z",
            "keepUntil": None,
            "nextLevel": None,
            "missing": 0,
        },
        "points": {
            "balance": 121,
            "available": 121,
            "pending": 0,
            "held": 0,
            "debt": 0,
            "soonestExpiry": {"points": 121, "at": "2027-12-31T16:00:00Z"},
        },
        "checkIn": {
            "businessDay": "2026-11-20",
            "done": True,
            "cycleDay": 1,
            "streakDays": 1,
            "totalDays": 1,
            "points": 1,
            "growth": 0,
            "programme": {"basePoints": 1, "cycleDays": 7},
        },
        "unpaidOrderCount": 0,
        "refundingOrderCount": 0,
    }


async def test_home_takes_as_many_statements_for_a_busy_member_as_for_a_new_one(
    deps: Deps, shop: Door, member_token: Tokens, clock: SetClock
) -> None:
    new, busy = await member_token(), await member_token()
    for _ in range(20):
        await earn(deps, busy.subject_id, 10)
        await buys(deps, busy.subject_id, new_id(clock.now()), 10)
    for token in (new, busy):
        signing_in = await signing_in_takes(shop, token)
        assert await counted(shop.ask(HOME, token=token)) - signing_in == 4


async def test_me_is_whoever_the_token_speaks_for(shop: Door, member_token: Tokens) -> None:
    token = await member_token(nickname="Ann")
    document = "{ me { id nickname tier { level { code } } pointsAccount { balance } } }"
    assert (await shop.ask(document, token=token))["me"] == {
        "id": str(token.subject_id),
        "nickname": "Ann",
        "tier": {"level": {"code": "member"}},
        "pointsAccount": {"balance": 0},
    }


async def test_checking_in_twice_is_refused_with_the_day(shop: Door, member_token: Tokens) -> None:
    token = await member_token()
    done = (await shop.ask(CHECK_IN, {"key": "the-first-tap"}, token=token))["checkIn"]["checkIn"]
    assert done["rewards"] == [{"kind": "BASE", "days": 0, "points": 1, "growth": 0}]
    assert (done["businessDay"], done["streakDays"], done["points"]) == ("2026-11-20", 1, 1)
    again = await shop.ask(CHECK_IN, {"key": "the-second-tap"}, token=token, accept_language="en")
    assert again["checkIn"] == {
        "day": "2026-11-20",
        "code": "ALREADY_CHECKED_IN",
        "message": "Already checked in on 2026-11-20.",
    }
    assert await CheckIn.filter(member_id=token.subject_id).count() == 1


async def test_a_key_that_is_no_key_is_bad_input(shop: Door, member_token: Tokens) -> None:
    token = await member_token()
    assert await shop.codes(CHECK_IN, {"key": "short"}, token=token) == ["BAD_INPUT"]
    assert not await CheckIn.exists(member_id=token.subject_id)


async def test_the_calendar_shows_a_month_in_one_statement(shop: Door, member_token: Tokens, clock: SetClock) -> None:
    token = await member_token()
    await shop.ask(CHECK_IN, {"key": "on-the-twentieth"}, token=token)
    document = "query ($month: Date) { checkInCalendar(month: $month) { month days { day mark } } }"
    found = (await shop.ask(document, token=token))["checkInCalendar"]
    assert (found["month"], len(found["days"])) == ("2026-11-01", 30)
    assert found["days"][18:21] == [
        {"day": "2026-11-19", "mark": "BEFORE_JOINING"},
        {"day": "2026-11-20", "mark": "CHECKED"},
        {"day": "2026-11-21", "mark": "AHEAD"},
    ]
    signing_in = await signing_in_takes(shop, token)
    assert await counted(shop.ask(document, token=token)) - signing_in == 1
    for month, codes in (
        ("2000-01-01", []),
        ("1999-12-31", ["BAD_INPUT"]),
        ("2027-11-21", []),
        ("2027-11-22", ["BAD_INPUT"]),
        ("9999-12-31", ["BAD_INPUT"]),
        ("2026-02-30", ["BAD_INPUT"]),
    ):
        assert await shop.codes(document, {"month": month}, token=token) == codes, month


async def test_the_profile_changes_in_parts_and_is_bounded(shop: Door, member_token: Tokens) -> None:
    token = await member_token(nickname="before")
    given = {"nickname": " Ann ", "avatarUrl": "https://cdn.test/a.png", "idempotencyKey": "profile-1"}
    assert (await shop.ask(UPDATE, {"input": given}, token=token))["memberUpdate"]["member"] == {
        "nickname": "Ann",
        "avatarUrl": "https://cdn.test/a.png",
    }
    only_avatar = {"avatarUrl": "", "idempotencyKey": "profile-2"}
    assert (await shop.ask(UPDATE, {"input": only_avatar}, token=token))["memberUpdate"]["member"] == {
        "nickname": "Ann",
        "avatarUrl": "",
    }
    for given, code in (
        ({"nickname": "x" * 33, "idempotencyKey": "profile-3"}, "NICKNAME_INVALID"),
        ({"avatarUrl": "http://cdn.test/a.png", "idempotencyKey": "profile-4"}, "AVATAR_INVALID"),
        ({"nickname": "Bob", "idempotencyKey": "profile-1"}, "KEY_REUSED"),
    ):
        assert (await shop.ask(UPDATE, {"input": given}, token=token))["memberUpdate"]["code"] == code
    row = await Member.get(id=token.subject_id)
    assert (row.nickname, row.avatar_url) == ("Ann", "")


async def test_a_nickname_of_null_is_bad_input(shop: Door, member_token: Tokens) -> None:
    given = {"nickname": None, "idempotencyKey": "a-null-name"}
    assert await shop.codes(UPDATE, {"input": given}, token=await member_token()) == ["BAD_INPUT"]


async def test_points_history_goes_back_page_by_page_with_its_lots(
    deps: Deps, shop: Door, member_token: Tokens, clock: SetClock
) -> None:
    token = await member_token()
    for amount in (10, 20, 30):
        await earn(deps, token.subject_id, amount)
    first = (await shop.ask(POINTS, {"first": 2}, token=token))["pointsHistory"]
    assert [(one["seq"], one["kind"], one["amount"], one["balanceAfter"]) for one in first["nodes"]] == [
        (3, "EARN", 30, 60),
        (2, "EARN", 20, 30),
    ]
    draw = first["nodes"][0]["draws"][0]
    assert (draw["amount"], draw["lot"]["amount"], draw["lot"]["remaining"]) == (30, 30, 30)
    assert (draw["lot"]["opensAt"], draw["lot"]["expiresAt"]) == ("2026-11-20T04:00:00Z", "2027-12-31T16:00:00Z")
    await earn(deps, token.subject_id, 40)
    rest = await shop.ask(POINTS, {"first": 2, "after": first["pageInfo"]["endCursor"]}, token=token)
    assert [one["seq"] for one in rest["pointsHistory"]["nodes"]] == [1], "what came meanwhile moves nothing"
    assert rest["pointsHistory"]["pageInfo"]["hasNextPage"] is False


async def test_a_page_of_points_history_takes_the_same_statements_for_1_and_20_entries(
    deps: Deps, shop: Door, member_token: Tokens
) -> None:
    token = await member_token()
    for _ in range(20):
        await earn(deps, token.subject_id, 10)
    signing_in = await signing_in_takes(shop, token)
    assert await counted(shop.ask(POINTS, {"first": 1}, token=token)) - signing_in == 2
    assert await counted(shop.ask(POINTS, {"first": 20}, token=token)) - signing_in == 2


async def test_a_member_sees_no_entries_of_another(deps: Deps, shop: Door, member_token: Tokens) -> None:
    mine, other = await member_token(), await member_token()
    await earn(deps, other.subject_id, 10)
    await buys(deps, other.subject_id, new_id(deps.clock.now()), 5)
    assert (await shop.ask(POINTS, {"first": 5}, token=mine))["pointsHistory"]["nodes"] == []
    assert (await shop.ask("{ growthHistory { nodes { id } } }", token=mine))["growthHistory"]["nodes"] == []


async def test_growth_and_tier_history_say_what_decided(deps: Deps, shop: Door, member_token: Tokens) -> None:
    token = await member_token()
    bought = new_id(deps.clock.now())
    await buys(deps, token.subject_id, bought, 25)
    document = """
    {
      growthHistory { nodes { seq kind amount balanceAfter causeKind causeId } }
      tierHistory { nodes { fromCode toCode reason growthValue threshold } }
    }
    """
    found = await shop.ask(document, token=token)
    assert found["growthHistory"]["nodes"] == [
        {"seq": 1, "kind": "EARN", "amount": 25, "balanceAfter": 25, "causeKind": "order", "causeId": str(bought)}
    ]
    assert found["tierHistory"]["nodes"] == [
        {"fromCode": None, "toCode": "member", "reason": "JOINED", "growthValue": 0, "threshold": 0}
    ]


MEMBER_QUERIES = [
    "query ($id: ID!) { member(id: $id) { id tier { growthValue } pointsAccount { balance } } }",
    "query ($id: ID!) { pointsHistory(memberId: $id) { nodes { id draws { amount } } } }",
    "query ($id: ID!) { growthHistory(memberId: $id) { nodes { id } } }",
    "query ($id: ID!) { tierHistory(memberId: $id) { nodes { id } } }",
    "{ members { nodes { id } } }",
]


@pytest.mark.parametrize("document", MEMBER_QUERIES)
async def test_only_operators_with_the_right_see_members(
    deps: Deps, admin: Door, member_token: Tokens, operator_token: Tokens, document: str
) -> None:
    given = {"id": str((await make_member(deps)).id)}
    assert await admin.codes(document, given) == ["UNAUTHENTICATED"]
    assert await admin.codes(document, given, token=await member_token()) == ["UNAUTHENTICATED"]
    assert await admin.codes(document, given, token=await operator_token(Role.CONTENT_OPERATIONS)) == ["FORBIDDEN"]
    assert await admin.codes(document, given, token=await operator_token(Role.SUPPORT)) == []


async def test_an_operator_sees_a_member_as_the_member_does(
    deps: Deps, admin: Door, operator_token: Tokens, member_token: Tokens
) -> None:
    member_id = (await member_token(nickname="Ann")).subject_id
    await earn(deps, member_id, 70)
    token = await operator_token(Role.SUPPORT)
    found = await admin.ask(
        "query ($id: ID!) { member(id: $id) { nickname pointsAccount { balance available } } "
        "pointsHistory(memberId: $id) { nodes { amount draws { amount } } } }",
        {"id": str(member_id)},
        token=token,
    )
    assert found == {
        "member": {"nickname": "Ann", "pointsAccount": {"balance": 70, "available": 70}},
        "pointsHistory": {"nodes": [{"amount": 70, "draws": [{"amount": 70}]}]},
    }
    nobody = {"id": str(new_id(deps.clock.now()))}
    assert (await admin.ask(MEMBER_QUERIES[0], nobody, token=token))["member"] is None


async def test_a_page_of_members_takes_the_same_statements_for_1_and_20(
    deps: Deps, admin: Door, operator_token: Tokens, clock: SetClock
) -> None:
    for _ in range(20):
        clock.advance(timedelta(milliseconds=1))
        await earn(deps, (await make_member(deps)).id, 5)
    token = await operator_token(Role.SUPPORT)
    signing_in = await signing_in_takes(admin, token)
    one = await counted(admin.ask(MEMBERS, {"first": 1}, token=token)) - signing_in
    twenty = await counted(admin.ask(MEMBERS, {"first": 20}, token=token)) - signing_in
    assert (one, twenty) == (5, 5)


async def test_members_come_newest_first(deps: Deps, admin: Door, operator_token: Tokens, clock: SetClock) -> None:
    clock.advance(timedelta(minutes=10))
    names = [new_secret(6) for _ in range(3)]
    for name in names:
        clock.advance(timedelta(milliseconds=1))
        await make_member(deps, nickname=name)
    found = await admin.ask("{ members(first: 50) { nodes { nickname } } }", token=await operator_token(Role.SUPPORT))
    seen = [one["nickname"] for one in found["members"]["nodes"] if one["nickname"] in names]
    assert seen == names[::-1]
