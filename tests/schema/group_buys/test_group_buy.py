"""Group-buys through both doors: campaigns by right, teams by token, every refusal by its code."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest_asyncio

from loyalty.people.rights import Role
from models.asyncpg_backend import SqlCount, sql_count
from models.engine import rows
from models.group_buys.group_buy import GroupBuy, GroupSeat, GroupTeam
from models.ids import new_secret
from models.orders.order import Order
from models.people.member import Member
from models.people.operator import AuditRow
from resolvers.clock import SetClock
from resolvers.deps import Deps
from tests import teams
from tests.doors import Bearer, Door
from tests.sandbox_server import SandboxControl
from tests.shelf import put_on_shelf
from tests.store_server import reachable

Tokens = Callable[..., Awaitable[Bearer]]

CREATE = """
mutation Create($input: GroupBuyCreateInput!, $key: IdempotencyKey!) {
  done: groupBuyCreate(input: $input, idempotencyKey: $key) {
    __typename
    ... on GroupBuyCreated { groupBuy { id title state sizes teamHours virtualFrom newcomersOnly memberLimit mostPieces
      publishedAt items { skuId listPrice prices { size price } } } }
    ... on ProgrammeInvalid { field }
    ... on Refusal { code message }
  }
}
"""
CHANGE = """
mutation Change($input: GroupBuyChangeInput!, $key: IdempotencyKey!) {
  done: groupBuyChange(input: $input, idempotencyKey: $key) {
    __typename
    ... on GroupBuyChanged { groupBuy { title sizes virtualFrom memberLimit items { prices { size price } } } }
    ... on ProgrammeInvalid { field }
    ... on Refusal { code }
  }
}
"""
TURN = """
mutation Turn($id: ID!, $key: IdempotencyKey!) {
  done: %s(id: $id, idempotencyKey: $key) {
    __typename ... on GroupBuyChanged { groupBuy { state publishedAt closedAt } } ... on Refusal { code message }
  }
}
"""
SEAT = """
  __typename
  ... on GroupSeatHeld {
    order { id kind state payable fulfilment groupSeat { state fallback team { id } } }
    seat { orderId state fallback team { id token state size joinedCount freeCount endsAt } }
  }
  ... on GroupLimitReached { limit }
  ... on Refusal { code message }
"""
OPEN = f"""
mutation Open($input: GroupWishInput!, $size: Int!, $key: IdempotencyKey!) {{
  done: groupBuyOpen(input: $input, size: $size, idempotencyKey: $key) {{ {SEAT} }}
}}
"""
JOIN = f"""
mutation Join($input: GroupWishInput!, $token: String!, $fallback: Fallback! = REFUND, $key: IdempotencyKey!) {{
  done: groupBuyJoin(input: $input, token: $token, fallback: $fallback, idempotencyKey: $key) {{ {SEAT} }}
}}
"""
LEAVE = """
mutation Leave($id: ID!) {
  done: groupBuyLeave(orderId: $id) {
    __typename ... on GroupBuyLeft { order { id state groupSeat { state } } } ... on Refusal { code message }
  }
}
"""
TEAM = """
query Team($token: String!) {
  groupTeam(token: $token) {
    id token state size joinedCount freeCount openedAt endsAt settledAt serverTime
    groupBuy { id title sizes items { id prices { size price } } }
    members { nickname avatarUrl isLeader isYou joinedAt }
  }
}
"""
TEAMS = """
query Teams($id: ID!, $size: Int, $first: Int! = 20) {
  groupTeams(groupBuyId: $id, size: $size, first: $first) {
    nodes { token size freeCount groupBuy { title } members { nickname } } pageInfo { hasNextPage }
  }
}
"""
MINE = "query Mine($first: Int! = 20) { myGroupSeats(first: $first) { nodes { orderId state team { token state } } } }"
SHOWN = """
query Shown($first: Int! = 20) {
  groupBuys(first: $first) { nodes { id title serverTime items { id productTitle } } pageInfo { hasNextPage } }
}
"""
SEEN = """
query Seen($id: ID!, $first: Int! = 20, $state: TeamState) {
  groupTeams(groupBuyId: $id, first: $first, state: $state) {
    nodes {
      id state size joinedCount heldCount isVirtual leaderId
      seats { memberId orderId nickname state isLeader createdAt joinedAt }
    }
  }
}
"""
COUNTS = "query Counts($id: ID!) { groupTeams(groupBuyId: $id) { nodes { joinedCount } } }"


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(own_store_url: str) -> str:
    """A store as new: no campaign of another test is shown in it."""
    return own_store_url


@pytest_asyncio.fixture(loop_scope="session")
async def deps(deps: Deps) -> AsyncIterator[Deps]:
    """A store that WeChat can reach."""
    async with reachable(deps) as reached:
        yield reached


def wish(deps: Deps, sku_id: object, **changed: Any) -> dict[str, Any]:
    """A campaign of a week from now on."""
    now = deps.clock.now()
    return {
        "title": "周末拼团",
        "opensAt": now.isoformat(),
        "closesAt": (now + timedelta(days=7)).isoformat(),
        "sizes": [2, 5],
        "items": [{"skuId": str(sku_id), "prices": [9_000, 7_000]}],
        **changed,
    }


async def done(door: Door, document: str, variables: dict[str, Any], token: Bearer, **headers: str) -> dict[str, Any]:
    """What a mutation answers; a key is made where it takes one."""
    if "$key" in document:
        variables = {"key": new_secret(12), **variables}
    found: dict[str, Any] = (await door.ask(document, variables, token=token, **headers))["done"]
    return found


async def payer(deps: Deps, wechat: SandboxControl, member_token: Tokens, **fields: Any) -> Bearer:
    """The token of a new member who can pay."""
    return await member_token(openid=await wechat.openid(), **fields)


async def pay(deps: Deps, wechat: SandboxControl, answer: dict[str, Any]) -> None:
    """Pay the order of an answer."""
    await teams.pay(deps, wechat, await Order.get(id=UUID(answer["order"]["id"])))


def of(sale: teams.Campaign, **changed: Any) -> dict[str, Any]:
    """One piece of a campaign's item."""
    return {"itemId": str(sale.item_id), **changed}


async def test_an_operator_makes_changes_publishes_and_closes_a_campaign(
    admin: Door, shop: Door, deps: Deps, operator_token: Tokens
) -> None:
    boss = await operator_token(Role.ACTIVITY_OPERATIONS)
    sku_id = await put_on_shelf(deps)
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"title": " "}, "title"),
        ({"sizes": [5, 2]}, "sizes[1]"),
        ({"items": [{"skuId": str(sku_id), "prices": [9_000]}]}, "items[0].prices"),
        ({"items": [{"skuId": str(sku_id), "prices": [9_000, 9_001]}]}, "items[0].prices[1]"),
        ({"virtualFrom": 5}, "virtualFrom"),
        ({"items": [{"skuId": str(sku_id), "prices": [9_000, 8_000]}] * 2}, "items[1].skuId"),
    )
    for change, where in wrong:
        refused = await done(admin, CREATE, {"input": wish(deps, sku_id, **change)}, boss)
        assert (refused["code"], refused["field"]) == ("PROGRAMME_INVALID", where)
    unknown = [{"skuId": str(boss.subject_id), "prices": [9_000, 7_000]}]
    refused = await done(admin, CREATE, {"input": wish(deps, sku_id, items=unknown)}, boss)
    assert refused["code"] == "SKU_NOT_FOUND"
    assert await GroupBuy.all().count() == 0
    key = new_secret(12)
    made = (await done(admin, CREATE, {"input": wish(deps, sku_id), "key": key}, boss))["groupBuy"]
    assert made == {
        "id": made["id"],
        "title": "周末拼团",
        "state": "DRAFT",
        "sizes": [2, 5],
        "teamHours": 24,
        "virtualFrom": None,
        "newcomersOnly": False,
        "memberLimit": None,
        "mostPieces": 1,
        "publishedAt": None,
        "items": [
            {
                "skuId": str(sku_id),
                "listPrice": 10_000,
                "prices": [{"size": 2, "price": 9_000}, {"size": 5, "price": 7_000}],
            }
        ],
    }
    again = await done(admin, CREATE, {"input": wish(deps, sku_id), "key": key}, boss)
    assert again["groupBuy"]["id"] == made["id"]
    other = await done(admin, CREATE, {"input": wish(deps, sku_id, teamHours=1), "key": key}, boss)
    assert other["code"] == "KEY_REUSED"
    assert (await shop.ask(SHOWN))["groupBuys"]["nodes"] == []
    changes: dict[str, Any] = {"id": made["id"], "title": "新团", "sizes": [3], "virtualFrom": 2, "memberLimit": 2}
    refused = await done(admin, CHANGE, {"input": changes}, boss)
    assert (refused["code"], refused["field"]) == ("PROGRAMME_INVALID", "items[0].prices")
    changes["items"] = [{"skuId": str(sku_id), "prices": [8_000]}]
    changed = await done(admin, CHANGE, {"input": changes}, boss)
    assert changed["groupBuy"] == {
        "title": "新团",
        "sizes": [3],
        "virtualFrom": 2,
        "memberLimit": 2,
        "items": [{"prices": [{"size": 3, "price": 8_000}]}],
    }
    kept = await done(admin, CHANGE, {"input": {"id": made["id"], "memberLimit": None}}, boss)
    assert (kept["groupBuy"]["memberLimit"], kept["groupBuy"]["virtualFrom"]) == (None, 2)
    turn = {"id": made["id"]}
    assert (await done(admin, TURN % "groupBuyClose", turn, boss))["code"] == "GROUP_BUY_STATE_REFUSED"
    published = (await done(admin, TURN % "groupBuyPublish", turn, boss))["groupBuy"]
    assert (published["state"], published["closedAt"]) == ("PUBLISHED", None)
    assert (await done(admin, CHANGE, {"input": {"id": made["id"]}}, boss))["code"] == "GROUP_BUY_STATE_REFUSED"
    (shown,) = (await shop.ask(SHOWN))["groupBuys"]["nodes"]
    assert (shown["id"], shown["title"]) == (made["id"], "新团")
    assert (await done(admin, TURN % "groupBuyClose", turn, boss))["groupBuy"]["state"] == "CLOSED"
    assert (await done(admin, TURN % "groupBuyPublish", turn, boss))["code"] == "GROUP_BUY_STATE_REFUSED"
    assert (await shop.ask(SHOWN))["groupBuys"]["nodes"] == []
    trail = await AuditRow.filter(subject_id=UUID(made["id"])).order_by("id")
    assert [row.action for row in trail] == [
        "group_buy.create",
        "group_buy.change",
        "group_buy.change",
        "group_buy.publish",
        "group_buy.close",
    ]
    assert {row.operator_id for row in trail} == {boss.subject_id}
    missing = {"id": str(boss.subject_id)}
    english = await done(admin, TURN % "groupBuyPublish", missing, boss, accept_language="en")
    assert (english["code"], english["message"]) == ("GROUP_BUY_NOT_FOUND", "There is no such group-buy.")
    assert (await done(admin, TURN % "groupBuyPublish", missing, boss))["message"] == "拼团活动不存在"


async def test_only_those_with_the_right_touch_a_campaign(
    admin: Door, deps: Deps, member_token: Tokens, operator_token: Tokens
) -> None:
    sale = await teams.campaign(deps)
    before = await AuditRow.all().count()
    variables = {"id": str(sale.id), "key": new_secret(12)}
    new = {"input": wish(deps, sale.sku_id), "key": new_secret(12)}
    change = {"input": {"id": str(sale.id), "title": "新"}, "key": new_secret(12)}
    mine, staff = await member_token(), await operator_token(Role.STAFF)
    writes: list[tuple[str, dict[str, Any]]] = [
        (CREATE, new),
        (CHANGE, change),
        (TURN % "groupBuyPublish", variables),
        (TURN % "groupBuyClose", variables),
    ]
    reads: list[tuple[str, dict[str, Any]]] = [
        ("query One($id: ID!) { groupBuy(id: $id) { state } }", {"id": str(sale.id)}),
        ("{ groupBuys { nodes { state } } }", {}),
        (SEEN, {"id": str(sale.id)}),
    ]
    for document, given in (*writes, *reads):
        assert await admin.codes(document, given) == ["UNAUTHENTICATED"]
        assert await admin.codes(document, given, token=mine) == ["UNAUTHENTICATED"]
    for document, given in writes:
        assert await admin.codes(document, given, token=staff) == ["FORBIDDEN"]
    for document, given in reads:
        assert await admin.codes(document, given, token=staff) == []
    assert (await GroupBuy.get(id=sale.id)).state == "published"
    assert (await GroupBuy.all().count(), await AuditRow.all().count()) == (1, before)


async def test_members_open_join_and_complete_a_team(
    shop: Door, admin: Door, deps: Deps, wechat: SandboxControl, member_token: Tokens, operator_token: Tokens
) -> None:
    sale = await teams.campaign(deps, sizes=(2,), prices=(8_000,))
    leader = await payer(deps, wechat, member_token, nickname="王小明")
    opened = await done(shop, OPEN, {"input": of(sale, expectedPayable=8_000), "size": 2}, leader)
    order, seat = opened["order"], opened["seat"]
    assert (order["kind"], order["state"], order["payable"]) == ("GROUP", "UNPAID", 8_000)
    assert order["groupSeat"] == {"state": "PENDING", "fallback": "NEW_TEAM", "team": {"id": seat["team"]["id"]}}
    assert (seat["team"]["state"], seat["team"]["freeCount"], seat["team"]["endsAt"]) == ("PENDING", 1, None)
    token = seat["team"]["token"]
    assert len(token) == 22
    assert (await shop.ask(TEAM, {"token": token}))["groupTeam"] is None
    await pay(deps, wechat, opened)
    page = (await shop.ask(TEAM, {"token": token}))["groupTeam"]
    assert (page["state"], page["size"], page["joinedCount"], page["freeCount"]) == ("OPEN", 2, 1, 1)
    assert (page["serverTime"], page["openedAt"]) == ("2026-11-20T04:00:00Z", "2026-11-20T04:00:00Z")
    assert (page["endsAt"], page["settledAt"]) == ("2026-11-21T04:00:00Z", None)
    (shown,) = page["members"]
    assert (shown["nickname"], shown["isLeader"], shown["isYou"]) == ("王**", True, False)
    assert "小明" not in str(page)
    friend = await payer(deps, wechat, member_token, nickname="Li")
    joined = await done(shop, JOIN, {"input": of(sale), "token": token}, friend)
    assert (joined["seat"]["team"]["freeCount"], joined["seat"]["fallback"]) == (0, "REFUND")
    assert (await shop.ask(TEAM, {"token": token}))["groupTeam"]["freeCount"] == 0
    await pay(deps, wechat, joined)
    page = (await shop.ask(TEAM, {"token": token}, token=friend))["groupTeam"]
    assert (page["state"], page["freeCount"], page["settledAt"]) == ("COMPLETE", 0, "2026-11-20T04:00:00Z")
    assert [(one["nickname"], one["isLeader"], one["isYou"]) for one in page["members"]] == [
        ("王**", True, False),
        ("L**", False, True),
    ]
    (mine,) = (await shop.ask(MINE, token=friend))["myGroupSeats"]["nodes"]
    assert (mine["orderId"], mine["state"], mine["team"]) == (
        joined["order"]["id"],
        "POSTED",
        {"token": token, "state": "COMPLETE"},
    )
    boss = await operator_token()
    (team,) = (await admin.ask(SEEN, {"id": str(sale.id), "state": "COMPLETE"}, token=boss))["groupTeams"]["nodes"]
    assert (team["joinedCount"], team["heldCount"], team["isVirtual"]) == (2, 0, False)
    assert team["leaderId"] == str(leader.subject_id)
    assert [(one["nickname"], one["state"], one["isLeader"], one["memberId"]) for one in team["seats"]] == [
        ("王**", "POSTED", True, str(leader.subject_id)),
        ("L**", "POSTED", False, str(friend.subject_id)),
    ]
    assert team["seats"][1]["orderId"] == joined["order"]["id"]
    assert team["seats"][1]["joinedAt"] == "2026-11-20T04:00:00Z"
    content = await operator_token(Role.CONTENT_OPERATIONS)
    counts = (await admin.ask(COUNTS, {"id": str(sale.id)}, token=content))["groupTeams"]["nodes"]
    assert counts == [{"joinedCount": 2}]
    assert await admin.codes(SEEN, {"id": str(sale.id)}, token=content) == ["FORBIDDEN"]
    assert (await admin.ask(SEEN, {"id": str(sale.id), "state": "FAILED"}, token=boss))["groupTeams"]["nodes"] == []
    document = "query One($id: ID!) { order(id: $id) { groupSeat { state team { id joinedCount } } } }"
    found = await admin.ask(document, {"id": joined["order"]["id"]}, token=boss)
    assert found["order"]["groupSeat"] == {"state": "POSTED", "team": {"id": team["id"], "joinedCount": 2}}


async def test_a_member_leaves_over_http(shop: Door, deps: Deps, wechat: SandboxControl, member_token: Tokens) -> None:
    sale = await teams.campaign(deps)
    leader = await payer(deps, wechat, member_token)
    opened = await done(shop, OPEN, {"input": of(sale), "size": 3}, leader)
    order = {"id": opened["order"]["id"]}
    assert (await done(shop, LEAVE, order, leader))["code"] == "GROUP_SEAT_NOT_FOUND"
    await pay(deps, wechat, opened)
    thief = await member_token()
    assert (await done(shop, LEAVE, order, thief))["code"] == "ORDER_NOT_FOUND"
    assert await shop.codes(LEAVE, order) == ["UNAUTHENTICATED"]
    assert (await GroupTeam.get(group_buy_id=sale.id)).joined_count == 1
    left = await done(shop, LEAVE, order, leader)
    assert left["order"] == {"id": order["id"], "state": "REFUNDING", "groupSeat": {"state": "LEFT"}}
    await wechat.settle()
    again = await done(shop, LEAVE, order, leader)
    assert again["order"]["state"] == "REFUNDED"
    assert (await shop.ask(TEAM, {"token": opened["seat"]["team"]["token"]}))["groupTeam"]["state"] == "FAILED"


async def test_what_cannot_be_opened_is_refused_by_its_code(
    shop: Door, deps: Deps, clock: SetClock, wechat: SandboxControl, member_token: Tokens
) -> None:
    sale = await teams.campaign(deps, member_limit=1, most_pieces=2, stock=2)
    mine = await payer(deps, wechat, member_token)
    refused: dict[str, dict[str, Any]] = {
        "GROUP_NOT_OFFERED": {"input": {"itemId": str(mine.subject_id)}},
        "QUANTITY_INVALID": {"input": of(sale, quantity=3)},
        "AMOUNT_CHANGED": {"input": of(sale, expectedPayable=7_999)},
        "REMARK_TOO_LONG": {"input": of(sale, remark="好" * 201)},
    }
    for code, given in refused.items():
        assert (await done(shop, OPEN, {"size": 3, **given}, mine))["code"] == code
    assert (await done(shop, OPEN, {"input": of(sale), "size": 4}, mine))["code"] == "GROUP_NOT_OFFERED"
    assert await shop.codes(OPEN, {"input": of(sale), "size": 3, "key": new_secret(12)}) == ["UNAUTHENTICATED"]
    assert (await GroupTeam.all().count(), await GroupSeat.all().count()) == (0, 0)
    key = new_secret(12)
    first = await done(shop, OPEN, {"input": of(sale, quantity=2), "size": 3, "key": key}, mine)
    again = await done(shop, OPEN, {"input": of(sale, quantity=2), "size": 3, "key": key}, mine)
    assert again["order"]["id"] == first["order"]["id"]
    assert (await done(shop, OPEN, {"input": of(sale), "size": 3, "key": key}, mine))["code"] == "KEY_REUSED"
    limit = await done(shop, OPEN, {"input": of(sale), "size": 3}, mine, accept_language="en")
    assert (limit["code"], limit["limit"]) == ("GROUP_LIMIT_REACHED", 1)
    assert limit["message"] == "The limit is 1 for each member."
    other = await payer(deps, wechat, member_token)
    assert (await done(shop, OPEN, {"input": of(sale), "size": 3}, other))["code"] == "OUT_OF_STOCK"
    clock.advance(timedelta(days=7))
    other = await payer(deps, wechat, member_token)
    assert (await done(shop, OPEN, {"input": of(sale), "size": 3}, other))["code"] == "GROUP_NOT_OFFERED"
    assert await GroupTeam.all().count() == 1


async def test_what_cannot_be_joined_is_refused_by_its_code(
    shop: Door, deps: Deps, clock: SetClock, wechat: SandboxControl, member_token: Tokens
) -> None:
    sale = await teams.campaign(deps, sizes=(2,), newcomers_only=True, member_limit=1)
    team = await teams.open_team(deps, wechat, sale, size=2)
    leader = await member_token(await Member.get(id=(await GroupSeat.get(team_id=team.id)).member_id))
    first = await payer(deps, wechat, member_token)
    there = {"input": of(sale), "token": team.token}

    async def code(who: Bearer, **changed: Any) -> str:
        found: str = (await done(shop, JOIN, {**there, **changed}, who))["code"]
        return found

    assert await code(first, token="nowhere") == "GROUP_TEAM_NOT_FOUND"
    assert await code(first, token="x" * 33) == "GROUP_TEAM_NOT_FOUND"
    assert await code(leader) == "GROUP_ALREADY_IN"
    held = await done(shop, JOIN, there, first)
    assert held["__typename"] == "GroupSeatHeld"
    assert await code(first) == "GROUP_ALREADY_IN"
    second = await payer(deps, wechat, member_token)
    assert await code(second) == "GROUP_TEAM_FULL"
    assert await code(second, fallback="OTHER_TEAM") == "GROUP_TEAM_FULL"
    assert (await done(shop, JOIN, {**there}, second, accept_language="en"))["message"] == "This team is full."
    moved = await done(shop, JOIN, {**there, "fallback": "NEW_TEAM"}, second)
    assert (moved["seat"]["team"]["state"], moved["seat"]["team"]["token"] != team.token) == ("PENDING", True)
    assert await code(second) == "GROUP_NEWCOMERS_ONLY"
    old = await member_token(await Member.get(id=leader.subject_id))
    another = await teams.open_team(deps, wechat, await teams.campaign(deps))
    assert await code(old, token=another.token) == "GROUP_TEAM_NOT_FOUND"
    await pay(deps, wechat, held)
    assert (await GroupTeam.get(id=team.id)).state == "complete"
    assert await code(await payer(deps, wechat, member_token)) == "GROUP_TEAM_OVER"
    open_one = await teams.open_team(deps, wechat, sale, size=2)
    assert await code(old, token=open_one.token) == "GROUP_NEWCOMERS_ONLY"
    clock.advance(timedelta(hours=24))
    assert await code(await payer(deps, wechat, member_token), token=open_one.token) == "GROUP_TEAM_OVER"
    assert (await rows("SELECT max(joined_count + held_count)::int AS most FROM group_team"))[0]["most"] == 2


async def test_teams_to_join_are_listed_for_who_is_not_in_them(
    shop: Door, deps: Deps, wechat: SandboxControl, member_token: Tokens
) -> None:
    sale = await teams.campaign(deps, sizes=(2, 3), prices=(9_000, 8_000))
    small = await teams.open_team(deps, wechat, sale, size=2)
    large = await teams.open_team(deps, wechat, sale, size=3)
    leader = await member_token(await Member.get(id=(await GroupSeat.get(team_id=small.id)).member_id))
    await teams.open_order(deps, sale, leader.subject_id)

    async def tokens(who: Bearer | None = None, **given: Any) -> set[str]:
        data = await shop.ask(TEAMS, {"id": str(sale.id), **given}, token=who)
        return {one["token"] for one in data["groupTeams"]["nodes"]}

    assert await tokens() == {small.token, large.token}
    assert await tokens(size=3) == {large.token}
    assert await tokens(leader) == {large.token}
    await teams.join_order(deps, sale, small, await teams.payer(deps, wechat))
    assert await tokens() == {large.token}


async def test_a_sku_says_that_it_is_offered_in_a_group_buy(
    shop: Door, deps: Deps, clock: SetClock, operator_token: Tokens
) -> None:
    sale = await teams.campaign(deps, sizes=(2, 5), prices=(9_000, 7_000))
    plain = await put_on_shelf(deps)
    document = "{ products(first: 50) { nodes { skus { id groupBuyItem { id groupBuyId prices { size price } } } } } }"

    async def offered() -> dict[str, Any]:
        nodes = (await shop.ask(document))["products"]["nodes"]
        return {sku["id"]: sku["groupBuyItem"] for one in nodes for sku in one["skus"]}

    found = await offered()
    assert found[str(plain)] is None
    assert found[str(sale.sku_id)] == {
        "id": str(sale.item_id),
        "groupBuyId": str(sale.id),
        "prices": [{"size": 2, "price": 9_000}, {"size": 5, "price": 7_000}],
    }
    clock.advance(timedelta(days=7))
    assert (await offered())[str(sale.sku_id)] is None


async def test_the_lists_of_group_buys_take_the_same_statements_for_1_and_10_rows(
    shop: Door, admin: Door, deps: Deps, wechat: SandboxControl, member_token: Tokens, operator_token: Tokens
) -> None:
    mine, owner = await payer(deps, wechat, member_token), await operator_token()
    sale = await teams.campaign(deps)
    for _ in range(9):
        await teams.campaign(deps)
    for _ in range(10):
        team = await teams.open_team(deps, wechat, sale)
        await teams.open_order(deps, sale, mine.subject_id)
    assert team.joined_count == 1
    orders = "query Orders($first: Int!) { orders(first: $first) { nodes { groupSeat { team { token } } } } }"
    every = "query All($first: Int!) { groupBuys(first: $first) { nodes { id items { id } } } }"
    for door, token, name, document in (
        (shop, mine, "groupBuys", SHOWN),
        (shop, mine, "groupTeams", TEAMS),
        (shop, mine, "myGroupSeats", MINE),
        (shop, mine, "orders", orders),
        (admin, owner, "groupBuys", every),
        (admin, owner, "groupTeams", SEEN),
    ):
        counts = {}
        for size in (1, 10):
            variables = {"first": size} | ({"id": str(sale.id)} if "$id" in document else {})
            await door.ask(document, variables, token=token)
            counter = SqlCount()
            mark = sql_count.set(counter)
            assert len((await door.ask(document, variables, token=token))[name]["nodes"]) == size
            sql_count.reset(mark)
            counts[size] = counter.value
        assert counts[1] == counts[10], (name, counts)
