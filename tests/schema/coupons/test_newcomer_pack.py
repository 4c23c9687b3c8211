"""The newcomer pack through the doors: published, owed at joining, given once, explained."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest_asyncio

from jobs.worker import run_due
from loyalty.people.rights import Role
from models.asyncpg_backend import SqlCount, sql_count
from models.coupons.coupon import Coupon
from models.coupons.newcomer_pack import NewcomerGrant
from models.ids import new_secret
from resolvers.coupons import newcomer_pack
from resolvers.deps import Deps
from tests.coupons import counted, make_template
from tests.doors import Bearer, Door, make_member
from tests.races.buyers import assert_the_books_are_right

Tokens = Callable[..., Awaitable[Bearer]]

PUBLISH = """
mutation Publish($items: [NewcomerPackItemInput!]!, $key: IdempotencyKey!) {
  done: newcomerPackPublish(pack: {items: $items}, idempotencyKey: $key) {
    __typename
    ... on NewcomerPackPublished { version { version pack { items { templateCode count } } } }
    ... on Refusal { code message } ... on ProgrammeInvalid { field }
  }
}
"""
GRANTS = """
query Grants($first: Int) {
  newcomerGrants(first: $first) { nodes { memberId givenAt items { templateCode count given refusal } } }
}
"""
VERSIONS = "query Versions($first: Int) { newcomerPackVersions(first: $first) { nodes { version state } } }"
WHY = """
query Why($id: ID!) { whyLog(memberId: $id) { nodes { subject rule version outcome inputs { name value } } } }
"""


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(own_store_url: str) -> str:
    """A store of its own, because the tests publish packs."""
    return own_store_url


async def publish(admin: Door, boss: Bearer, *items: tuple[str, int]) -> dict[str, Any]:
    given = [{"templateCode": code, "count": count} for code, count in items]
    done: dict[str, Any] = (await admin.ask(PUBLISH, {"items": given, "key": new_secret(12)}, token=boss))["done"]
    return done


async def test_who_joins_is_given_the_pack_once_as_far_as_it_goes(
    shop: Door, admin: Door, deps: Deps, operator_token: Tokens
) -> None:
    boss = await operator_token()
    before = await make_member(deps)
    plenty, last = await make_template(deps, claimable=False), await make_template(deps, total_limit=1)
    said = await publish(admin, boss, (plenty.code, 2), (last.code, 3))
    assert said["version"]["pack"]["items"][0] == {"templateCode": plenty.code, "count": 2}
    joined = await make_member(deps)
    await publish(admin, boss)
    after = await make_member(deps)
    assert await Coupon.filter(member_id=joined.id).count() == 0
    await run_due(deps)
    await newcomer_pack.give(deps, member_id=joined.id)
    given = await Coupon.filter(member_id=joined.id)
    assert sorted(coupon.template_id for coupon in given) == sorted([plenty.id, plenty.id, last.id])
    assert {coupon.channel for coupon in given} == {"newcomer"}
    assert await NewcomerGrant.filter(member_id__in=[before.id, after.id]).count() == 0
    assert (await counted(plenty), await counted(last)) == ((2, 2_000), (1, 1_000))
    (mine,) = (await admin.ask(GRANTS, {"first": 20}, token=boss))["newcomerGrants"]["nodes"]
    assert mine["givenAt"] is not None
    assert {item["templateCode"]: (item["given"], item["refusal"]) for item in mine["items"]} == {
        plenty.code: (2, None),
        last.code: (1, "COUPONS_GONE"),
    }
    why = (await admin.ask(WHY, {"id": str(joined.id)}, token=boss))["whyLog"]["nodes"]
    told = next(one for one in why if one["subject"] == "NEWCOMER_PACK")
    assert (told["rule"], told["version"], told["outcome"]) == ("newcomer_pack", 2, "given: 3 coupons")
    await assert_the_books_are_right()


async def test_a_pack_that_cannot_work_is_refused_and_only_who_may_publishes(
    shop: Door, admin: Door, operator_token: Tokens, member_token: Tokens
) -> None:
    boss, staff = await operator_token(), await operator_token(Role.STAFF)
    said = await publish(admin, boss, ("welcome", 21))
    assert (said["code"], said["field"]) == ("PROGRAMME_INVALID", "items[0].count")
    said = await publish(admin, boss, ("not_here", 1))
    assert (said["code"], said["field"]) == ("PROGRAMME_INVALID", "items[0].templateCode")
    assert "“not_here”" in said["message"]
    variables = {"items": [], "key": new_secret(12)}
    assert await admin.codes(PUBLISH, variables) == ["UNAUTHENTICATED"]
    assert await admin.codes(PUBLISH, variables, token=staff) == ["FORBIDDEN"]
    assert (await shop.ask("{ newcomerPack { items { count } } }"))["newcomerPack"] == {"items": []}


async def test_the_lists_take_the_same_statements_for_1_and_12_rows(
    admin: Door, deps: Deps, operator_token: Tokens
) -> None:
    boss, template = await operator_token(), await make_template(deps)
    for number in range(12):
        await publish(admin, boss, (template.code, 1 + number))
        await make_member(deps)
    for text, name in ((GRANTS, "newcomerGrants"), (VERSIONS, "newcomerPackVersions")):
        counts = []
        for size in (1, 12):
            counter = SqlCount()
            mark = sql_count.set(counter)
            found = await admin.ask(text, {"first": size}, token=boss)
            sql_count.reset(mark)
            assert len(found[name]["nodes"]) == size
            counts.append(counter.value)
        assert counts[0] == counts[1] > 0, name
