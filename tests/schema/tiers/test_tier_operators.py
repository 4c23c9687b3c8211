"""Tiers through the operators' door: lending, setting, taking back, previewing, and saying why; and who may."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from loyalty.people.rights import Role
from models.asyncpg_backend import SqlCount, sql_count
from models.ids import new_id, new_secret
from models.people.member import Member
from models.people.operator import AuditRow
from models.programme import ProgrammeVersion
from models.tiers.tier import TierOverlay
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.points import check_in
from resolvers.points.points_book import adjust
from tests.doors import Bearer, Door
from tests.rulebook import LEVELS, buys, tiers

Tokens = Callable[..., Awaitable[Bearer]]

OVERLAY = "overlay { id memberId tierCode manual startsAt endsAt reason operatorId causeKind }"
REFUSED = "... on Refusal { __typename code message }"
DOCUMENTS = {
    "tierTrialGrant": """mutation($id: ID!, $code: String!, $why: String!, $key: IdempotencyKey!, $days: Int! = 7) {
        tierTrialGrant(memberId: $id, tierCode: $code, days: $days, reason: $why, idempotencyKey: $key) {
            ... on TierTrialGranted { %s } %s } }""",
    "memberTierSet": """mutation($id: ID!, $code: String!, $why: String!, $key: IdempotencyKey!, $until: DateTime) {
        memberTierSet(memberId: $id, tierCode: $code, endsAt: $until, reason: $why, idempotencyKey: $key) {
            ... on MemberTierSet { %s } %s } }""",
    "memberTierRelease": """mutation($id: ID!, $why: String!, $key: IdempotencyKey!) {
        memberTierRelease(memberId: $id, reason: $why, idempotencyKey: $key) {
            ... on MemberTierReleased { %s } %s } }""",
}
PREVIEW = """query($table: TierTableInput!, $days: Int! = 30) { tierPreview(table: $table, days: $days) {
    ... on TierPreview {
        at since moves { fromCode toCode members belowThreshold }
        costs { tierCode orders discountInForce discount discountDifference pointsInForce points pointsDifference }
        sample { growthValue fromCode toCode member { id tier { level { code } } } }
    }
    ... on ProgrammeInvalid { field code message } ... on Refusal { code message } } }"""
WHY = """query($id: ID!, $first: Int! = 20, $after: String) { whyLog(memberId: $id, first: $first, after: $after) {
    nodes { id memberId subject at rule version versionId outcome inputs { name value } }
    pageInfo { hasNextPage endCursor } } }"""
WHY_ONE = "query($id: ID!) { whyLogEntry(id: $id) { id subject outcome rule version inputs { name value } } }"
STANDING = """{ me { tier { level { code } applies { code discountBp } graceUntil
    overlays { tierCode manual startsAt endsAt } } } tierBenefits { ... on TierBenefit { kind inEffect } } }"""
EASIER = {
    "levels": [
        {"code": "basic", "name": "普卡", "threshold": 0},
        {"code": "silver", "name": "银卡", "threshold": 500, "discountBp": 800},
        {"code": "gold", "name": "金卡", "threshold": 5_000},
        {"code": "black", "name": "黑卡", "threshold": 20_000},
    ]
}


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(own_store_url: str) -> str:
    return own_store_url


@pytest_asyncio.fixture(loop_scope="session")
async def mine(deps: Deps, member_token: Tokens) -> Bearer:
    """A new member of a store with the four tiers of the examples, gold with a benefit."""
    basic, silver, gold, black = LEVELS
    benefits = [{"kind": "service_line", "code": "vip"}, {"kind": "free_shipping"}]
    await tiers(deps, basic, silver, {**gold, "discount_bp": 1_000, "benefits": benefits}, black)
    return await member_token()


def document(name: str) -> str:
    return DOCUMENTS[name] % (OVERLAY, REFUSED)


async def do(admin: Door, name: str, token: str, **values: object) -> dict[str, Any]:
    language = str(values.pop("language", "en"))
    given = {"key": new_secret(12), "why": "生日惊喜", "code": "gold", **values}
    if name == "memberTierRelease":
        given.pop("code")
    data = await admin.ask(document(name), given, token=token, accept_language=language)
    answer: dict[str, Any] = data[name]
    return answer


async def nothing_done() -> bool:
    return not await TierOverlay.all().exists() and not await AuditRow.filter(action__startswith="member.tier").exists()


@pytest.mark.parametrize("name", DOCUMENTS)
async def test_only_those_with_the_right_touch_a_members_tier(
    admin: Door, mine: Bearer, operator_token: Tokens, name: str
) -> None:
    values = {"id": str(mine.subject_id), "key": new_secret(12), "why": "x", "code": "gold"}
    if name == "memberTierRelease":
        values.pop("code")
    assert await admin.codes(document(name), values) == ["UNAUTHENTICATED"]
    assert await admin.codes(document(name), values, token=mine) == ["UNAUTHENTICATED"]
    for role in set(Role) - {Role.OWNER, Role.USER_OPERATIONS}:
        assert await admin.codes(document(name), values, token=await operator_token(role)) == ["FORBIDDEN"]
    assert await nothing_done()
    if name == "memberTierRelease":
        await do(admin, "memberTierSet", await operator_token(), id=str(mine.subject_id))
    answer = await do(admin, name, await operator_token(Role.USER_OPERATIONS), id=str(mine.subject_id))
    assert answer["overlay"]["tierCode"] == "gold"


@pytest.mark.parametrize(
    ("query", "roles"),
    [
        (PREVIEW, {Role.OWNER, Role.USER_OPERATIONS}),
        (WHY, {Role.OWNER, Role.USER_OPERATIONS, Role.DATA_OPERATIONS, Role.SUPPORT, Role.FINANCE}),
        (WHY_ONE, {Role.OWNER, Role.USER_OPERATIONS, Role.DATA_OPERATIONS, Role.SUPPORT, Role.FINANCE}),
    ],
)
async def test_only_those_with_the_right_preview_and_ask_why(
    admin: Door, mine: Bearer, operator_token: Tokens, query: str, roles: set[Role]
) -> None:
    values: dict[str, object] = {"table": EASIER} if query == PREVIEW else {"id": str(mine.subject_id)}
    assert await admin.codes(query, values) == ["UNAUTHENTICATED"]
    assert await admin.codes(query, values, token=mine) == ["UNAUTHENTICATED"]
    for role in Role:
        expected = [] if role in roles else ["FORBIDDEN"]
        assert await admin.codes(query, values, token=await operator_token(role)) == expected, role


async def test_the_member_sees_what_was_lent_until_it_ends(
    admin: Door, shop: Door, mine: Bearer, operator_token: Tokens, member_token: Tokens, clock: SetClock
) -> None:
    before = await shop.ask(STANDING, token=mine)
    assert (before["me"]["tier"]["applies"]["code"], before["tierBenefits"]) == ("basic", [])
    boss = await operator_token()
    given = (await do(admin, "tierTrialGrant", boss, id=str(mine.subject_id), days=1))["overlay"]
    assert (given["manual"], given["reason"], given["operatorId"]) == (False, "生日惊喜", str(boss.subject_id))
    seen = await shop.ask(STANDING, token=mine)
    assert seen["me"]["tier"] == {
        "level": {"code": "basic"},
        "applies": {"code": "gold", "discountBp": 1_000},
        "graceUntil": None,
        "overlays": [
            {"tierCode": "gold", "manual": False, "startsAt": given["startsAt"], "endsAt": given["endsAt"]},
        ],
    }
    assert seen["tierBenefits"] == [
        {"kind": "SERVICE_LINE", "inEffect": True},
        {"kind": "FREE_SHIPPING", "inEffect": True},
    ]
    home = await shop.ask("{ memberHome { tier { applies { code } } } }", token=mine)
    assert home["memberHome"]["tier"]["applies"]["code"] == "gold"
    clock.advance(timedelta(days=1))
    again = await member_token(await Member.get(id=mine.subject_id))
    after = await shop.ask("{ me { tier { applies { code } overlays { tierCode } } } }", token=again)
    assert after["me"]["tier"] == {"applies": {"code": "basic"}, "overlays": []}


@pytest.mark.parametrize(
    ("name", "values", "code"),
    [
        ("tierTrialGrant", {"code": "basic"}, "TIER_TRIAL_REFUSED"),
        ("tierTrialGrant", {"days": 0}, "TIER_TRIAL_REFUSED"),
        ("tierTrialGrant", {"days": 366}, "TIER_TRIAL_REFUSED"),
        ("tierTrialGrant", {"days": 2**31 - 1}, "TIER_TRIAL_REFUSED"),
        ("tierTrialGrant", {"code": "none"}, "TIER_NOT_FOUND"),
        ("tierTrialGrant", {"why": " "}, "TIER_OVERRIDE_INVALID"),
        ("tierTrialGrant", {"id": str(UUID(int=5))}, "MEMBER_NOT_FOUND"),
        ("memberTierSet", {"code": ""}, "TIER_NOT_FOUND"),
        ("memberTierSet", {"why": "长" * 201}, "TIER_OVERRIDE_INVALID"),
        ("memberTierSet", {"until": "2020-01-01T00:00:00Z"}, "TIER_OVERRIDE_INVALID"),
        ("memberTierSet", {"id": str(UUID(int=5))}, "MEMBER_NOT_FOUND"),
        ("memberTierRelease", {}, "TIER_OVERRIDE_NONE"),
        ("memberTierRelease", {"why": ""}, "TIER_OVERRIDE_INVALID"),
        ("memberTierRelease", {"id": str(UUID(int=5))}, "TIER_OVERRIDE_NONE"),
    ],
)
async def test_what_cannot_be_is_refused_by_code_and_changes_nothing(
    admin: Door, mine: Bearer, operator_token: Tokens, name: str, values: dict[str, object], code: str
) -> None:
    boss = await operator_token()
    english = await do(admin, name, boss, **{"id": str(mine.subject_id), **values})
    chinese = await do(admin, name, boss, **{"id": str(mine.subject_id), "language": "zh", **values})
    assert (english["code"], chinese["code"]) == (code, code)
    assert english["message"] != chinese["message"]
    assert await nothing_done()


async def test_setting_and_taking_back_are_seen_in_both_histories(
    admin: Door, mine: Bearer, operator_token: Tokens
) -> None:
    boss, who = await operator_token(), str(mine.subject_id)
    await do(admin, "memberTierSet", boss, id=who, code="black")
    await do(admin, "memberTierRelease", boss, id=who, why="到期")
    asked = """query($id: ID!) {
        tierHistory(memberId: $id) { nodes { fromCode toCode reason } }
        tierOverlays(memberId: $id) { nodes { tierCode manual reason endsAt } }
        auditLog(first: 5) { nodes { action subjectId } } }"""
    data = await admin.ask(asked, {"id": who}, token=boss)
    assert data["tierHistory"]["nodes"][:2] == [
        {"fromCode": "black", "toCode": "basic", "reason": "OVERRIDE_ENDED"},
        {"fromCode": "basic", "toCode": "black", "reason": "OVERRIDE"},
    ]
    assert [(row["tierCode"], row["manual"], row["reason"]) for row in data["tierOverlays"]["nodes"]] == [
        ("black", True, "生日惊喜")
    ]
    assert [row["action"] for row in data["auditLog"]["nodes"]][:2] == ["member.tier.release", "member.tier.set"]


async def test_the_preview_names_moves_costs_and_members(
    admin: Door, mine: Bearer, operator_token: Tokens, deps: Deps
) -> None:
    await buys(deps, mine.subject_id, new_id(deps.clock.now()), 600)
    before = await ProgrammeVersion.filter(kind="tier").count()
    found = (await admin.ask(PREVIEW, {"table": EASIER}, token=await operator_token()))["tierPreview"]
    assert found["moves"] == [{"fromCode": "basic", "toCode": "silver", "members": 1, "belowThreshold": 0}]
    assert found["sample"] == [
        {
            "growthValue": 600,
            "fromCode": "basic",
            "toCode": "silver",
            "member": {"id": str(mine.subject_id), "tier": {"level": {"code": "basic"}}},
        }
    ]
    assert found["costs"] == []
    assert await ProgrammeVersion.filter(kind="tier").count() == before


@pytest.mark.parametrize(
    ("levels", "field"),
    [
        ([], "levels"),
        ([{"code": "a", "name": "甲", "threshold": 1}], "levels[0].threshold"),
        (
            [{"code": "a", "name": "甲", "threshold": 0}, {"code": "b", "name": "乙", "threshold": 0}],
            "levels[1].threshold",
        ),
        (
            [
                {"code": "a", "name": "甲", "threshold": 0},
                {"code": "b", "name": "乙", "threshold": 9},
                {"code": "c", "name": "丙", "threshold": 8},
            ],
            "levels[2].threshold",
        ),
        (
            [{"code": "a", "name": "甲", "threshold": 0}, {"code": "a", "name": "乙", "threshold": 9}],
            "levels[1].code",
        ),
        ([{"code": "a", "name": "甲", "threshold": 0, "discountBp": -1}], "levels[0].discountBp"),
        ([{"code": "a", "name": "甲", "threshold": 0, "discountBp": 9_001}], "levels[0].discountBp"),
        ([{"code": "a", "name": "甲", "threshold": 0, "pointsMultiplierBp": 0}], "levels[0].pointsMultiplierBp"),
        ([{"code": "a", "name": "甲", "threshold": 0, "keepMonths": 12}], "levels[0].keepMonths"),
        (
            [{"code": "a", "name": "甲", "threshold": 0, "benefits": [{"earlyAccess": {"minutes": 0}}]}],
            "levels[0].benefits[0].earlyAccess.minutes",
        ),
    ],
)
async def test_an_impossible_draft_is_refused_with_the_field(
    admin: Door, mine: Bearer, operator_token: Tokens, levels: list[Any], field: str
) -> None:
    found = (await admin.ask(PREVIEW, {"table": {"levels": levels}}, token=await operator_token()))["tierPreview"]
    assert (found["code"], found["field"]) == ("PROGRAMME_INVALID", field)


@pytest.mark.parametrize("days", [0, -1, 366])
async def test_a_window_of_no_days_or_more_than_a_year_is_bad_input(
    admin: Door, mine: Bearer, operator_token: Tokens, days: int
) -> None:
    values = {"table": EASIER, "days": days}
    assert await admin.codes(PREVIEW, values, token=await operator_token()) == ["BAD_INPUT"]


async def a_life(deps: Deps, clock: SetClock, boss: UUID, member_id: UUID, *, times: int) -> None:
    """Purchases, check-ins and corrections, each on a day of its own."""
    for _ in range(times):
        clock.advance(timedelta(days=1))
        await buys(deps, member_id, new_id(clock.now()), 700)
        await check_in.check_in(deps, member_id=member_id, idempotency_key=new_secret(12))
        await adjust(
            deps,
            operator_id=boss,
            member_id=member_id,
            amount=5,
            reason="补偿",
            idempotency_key=new_secret(12),
        )


async def test_why_has_every_decision_once_newest_first(
    admin: Door, mine: Bearer, operator_token: Tokens, deps: Deps, clock: SetClock
) -> None:
    boss = await operator_token()
    await a_life(deps, clock, boss.subject_id, mine.subject_id, times=3)
    boss = await operator_token()
    await do(admin, "memberTierSet", boss, id=str(mine.subject_id))
    seen: list[dict[str, Any]] = []
    after = None
    while True:
        found = (await admin.ask(WHY, {"id": str(mine.subject_id), "first": 4, "after": after}, token=boss))["whyLog"]
        seen += found["nodes"]
        after = found["pageInfo"]["endCursor"]
        if not found["pageInfo"]["hasNextPage"]:
            break
    subjects = [row["subject"] for row in seen]
    assert {name: subjects.count(name) for name in set(subjects)} == {
        "TIER_CHANGE": 3,
        "GROWTH_ENTRY": 3,
        "CHECK_IN": 3,
        "POINTS_ENTRY": 6,
    }
    assert [row["id"] for row in seen] == sorted({row["id"] for row in seen}, reverse=True)
    assert seen[0]["outcome"] == "override: silver > gold"
    assert {"name": "note", "value": "生日惊喜"} in seen[0]["inputs"]
    growth = next(row for row in seen if row["subject"] == "GROWTH_ENTRY")
    in_force = await ProgrammeVersion.filter(kind="tier").order_by("-version").first()
    assert in_force is not None
    assert (growth["outcome"], growth["rule"], growth["version"]) == ("earn: +700", "tier", in_force.version)
    assert {"name": "growth_before", "value": "1400"} in growth["inputs"]
    for row in seen:
        one = (await admin.ask(WHY_ONE, {"id": row["id"]}, token=boss))["whyLogEntry"]
        assert (one["outcome"], one["inputs"]) == (row["outcome"], row["inputs"])


async def test_why_of_nothing_is_null_and_of_an_unknown_member_empty(admin: Door, operator_token: Tokens) -> None:
    boss, nobody = await operator_token(), {"id": str(UUID(int=9))}
    assert (await admin.ask(WHY_ONE, nobody, token=boss))["whyLogEntry"] is None
    assert (await admin.ask(WHY, nobody, token=boss))["whyLog"]["nodes"] == []


async def test_why_takes_the_same_statements_for_1_and_20_decisions(
    admin: Door, mine: Bearer, operator_token: Tokens, deps: Deps, clock: SetClock
) -> None:
    by = (await operator_token()).subject_id

    async def statements() -> int:
        boss = await operator_token()
        await admin.ask("{ __typename }", token=boss)
        counter = SqlCount()
        token = sql_count.set(counter)
        await admin.ask(WHY, {"id": str(mine.subject_id)}, token=boss)
        sql_count.reset(token)
        return counter.value

    few = await statements()
    await a_life(deps, clock, by, mine.subject_id, times=6)
    assert await statements() == few
