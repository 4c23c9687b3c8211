"""Publishing rules through the operators' door: who may, what is refused by name, and what members then read."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from loyalty.people.rights import Role
from models.ids import new_secret
from models.programme import ProgrammeVersion
from resolvers.clock import SetClock
from resolvers.deps import Deps
from tests.coupons import make_template
from tests.doors import Bearer, Door

Tokens = Callable[..., Awaitable[Bearer]]

VERSION = """
    version { id version effectiveAt publishedAt publishedById note state %s }
"""
REFUSED = "... on ProgrammeInvalid { field code message } ... on Refusal { code message }"
TABLE = """
    table {
      growthPoints growthPerFen graceDays downgrade
      levels {
        code name threshold discountBp pointsMultiplierBp keepMonths keepThreshold
        benefits {
          ... on TierBenefit { kind }
          ... on FreeShipping { fromPayable }
          ... on BirthdayGift { points giftCode }
          ... on MonthlyCoupons { perMonth templateCode }
          ... on EarlyAccess { minutes }
          ... on ServiceLine { lineCode }
        }
      }
    }
"""
RULES = """
    programme {
      earnPoints earnPerFen redeemStepPoints redeemStepFen redeemMinPoints redeemCapBp pendingDays returnGraceDays
      expiry expiryAfter clawbackMode capPerDay capPerMember
      boosts { code kind factorBp weekdays fromDay untilDay tierCodes }
      actions { code points timesPerDay timesPerMember }
    }
"""
DAYS = """
    programme {
      basePoints baseGrowth cycleDays
      cycleRewards { kind days points growth } streakRewards { kind days points growth }
      cumulativeRewards { kind days points growth } protection { gapDays monthlyLimit }
    }
"""
PUBLISH_TABLE = (
    'mutation ($rules: TierTableInput!, $key: IdempotencyKey!, $at: DateTime, $note: String! = "") {'
    "  published: tierTablePublish(table: $rules, idempotencyKey: $key, effectiveAt: $at, note: $note) {"
    "    ... on TierTablePublished {" + VERSION % TABLE + "} " + REFUSED + "} }"
)
PUBLISH_POINTS = (
    "mutation ($rules: PointsProgrammeInput!, $key: IdempotencyKey!) {"
    "  published: pointsProgrammePublish(programme: $rules, idempotencyKey: $key) {"
    "    ... on PointsProgrammePublished {" + VERSION % RULES + "} " + REFUSED + "} }"
)
PUBLISH_CHECK_IN = (
    "mutation ($rules: CheckInProgrammeInput!, $key: IdempotencyKey!) {"
    "  published: checkInProgrammePublish(programme: $rules, idempotencyKey: $key) {"
    "    ... on CheckInProgrammePublished {" + VERSION % DAYS + "} " + REFUSED + "} }"
)
BASIC = {"code": "basic", "name": "普卡", "threshold": 0}
GOLD = {"code": "gold", "name": "金卡", "threshold": 5_000}


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(own_store_url: str) -> str:
    return own_store_url


async def publish(
    admin: Door, document: str, rules: object, *, token: str, language: str = "en", **variables: object
) -> dict[str, Any]:
    given = {"rules": rules, "key": new_secret(12), **variables}
    found: dict[str, Any] = (await admin.ask(document, given, token=token, accept_language=language))["published"]
    return found


async def count() -> int:
    return await ProgrammeVersion.all().count()


WRONG_ROLES = {
    PUBLISH_TABLE: ({"levels": [BASIC]}, Role.SUPPORT),
    PUBLISH_POINTS: ({}, Role.ACTIVITY_OPERATIONS),
    PUBLISH_CHECK_IN: ({}, Role.FINANCE),
}


@pytest.mark.parametrize("document", WRONG_ROLES, ids=["tier", "points", "check_in"])
async def test_only_operators_with_the_right_publish(
    admin: Door, member_token: Tokens, operator_token: Tokens, document: str
) -> None:
    rules, wrong_role = WRONG_ROLES[document]
    given = {"rules": rules, "key": "who-may-publish"}
    before = await count()
    assert await admin.codes(document, given) == ["UNAUTHENTICATED"]
    assert await admin.codes(document, given, token=await member_token()) == ["UNAUTHENTICATED"]
    assert await admin.codes(document, given, token=await operator_token(wrong_role)) == ["FORBIDDEN"]
    assert await count() == before
    right = await operator_token(Role.USER_OPERATIONS)
    published = (await admin.ask(document, given, token=right))["published"]["version"]
    assert (published["version"], published["state"], published["publishedById"]) == (
        2,
        "IN_FORCE",
        str(right.subject_id),
    )
    assert await count() == before + 1


async def test_members_have_no_such_field(shop: Door, member_token: Tokens) -> None:
    codes = await shop.codes(
        PUBLISH_TABLE, {"rules": {"levels": [BASIC]}, "key": "as-a-member"}, token=await member_token()
    )
    assert set(codes) == {"BAD_INPUT"}


QUERIES = [
    "{ tierTable { version } }",
    "{ tierTableVersions { nodes { version } } }",
    "{ pointsProgramme { version } }",
    "{ pointsProgrammeVersions { nodes { version } } }",
    "{ checkInProgramme { version } }",
    "{ checkInProgrammeVersions { nodes { version } } }",
]


@pytest.mark.parametrize("document", QUERIES)
async def test_every_operator_who_sees_the_shop_reads_its_rules(
    admin: Door, member_token: Tokens, operator_token: Tokens, document: str
) -> None:
    assert await admin.codes(document) == ["UNAUTHENTICATED"]
    assert await admin.codes(document, token=await member_token()) == ["UNAUTHENTICATED"]
    assert await admin.codes(document, token=await operator_token("retired_role")) == ["FORBIDDEN"]
    assert await admin.codes(document, token=await operator_token(Role.STAFF)) == []


async def test_a_whole_tier_table_goes_in_and_comes_out_for_operators_and_members(
    admin: Door, shop: Door, operator_token: Tokens, deps: Deps
) -> None:
    await make_template(deps, code="ten_off")
    benefits = [
        {"freeShipping": {"fromPayable": 9_900}},
        {"birthdayGift": {"points": 500}},
        {"monthlyCoupons": {"perMonth": 2, "templateCode": "ten_off"}},
        {"earlyAccess": {"minutes": 30}},
        {"serviceLine": {"lineCode": "vip"}},
        {"eventAccess": True},
    ]
    table = {
        "growthPoints": 2,
        "growthPerFen": 300,
        "graceDays": 14,
        "downgrade": "FIT",
        "levels": [
            BASIC,
            {
                **GOLD,
                "discountBp": 500,
                "pointsMultiplierBp": 15_000,
                "keepMonths": 12,
                "keepThreshold": 4_000,
                "benefits": benefits,
            },
        ],
    }
    token = await operator_token()
    version = (await publish(admin, PUBLISH_TABLE, table, token=token, note="spring"))["version"]
    assert version["note"] == "spring"
    expected = {
        "growthPoints": 2,
        "growthPerFen": 300,
        "graceDays": 14,
        "downgrade": "FIT",
        "levels": [
            {
                **BASIC,
                "discountBp": 0,
                "pointsMultiplierBp": 10_000,
                "keepMonths": None,
                "keepThreshold": 0,
                "benefits": [],
            },
            {
                **GOLD,
                "discountBp": 500,
                "pointsMultiplierBp": 15_000,
                "keepMonths": 12,
                "keepThreshold": 4_000,
                "benefits": [
                    {"kind": "FREE_SHIPPING", "fromPayable": 9_900},
                    {"kind": "BIRTHDAY_GIFT", "points": 500, "giftCode": None},
                    {"kind": "MONTHLY_COUPONS", "perMonth": 2, "templateCode": "ten_off"},
                    {"kind": "EARLY_ACCESS", "minutes": 30},
                    {"kind": "SERVICE_LINE", "lineCode": "vip"},
                    {"kind": "EVENT_ACCESS"},
                ],
            },
        ],
    }
    assert version["table"] == expected
    read = TABLE.replace("table {", "tierTable {", 1)
    assert (await shop.ask("{" + read + "}"))["tierTable"] == expected
    assert (await admin.ask("{ tierTable {" + TABLE + "} }", token=token))["tierTable"]["table"] == expected


async def test_points_rules_go_in_and_come_out(admin: Door, shop: Door, operator_token: Tokens) -> None:
    rules = {
        "earnPoints": 5,
        "earnPerFen": 200,
        "redeemStepPoints": 50,
        "redeemStepFen": 25,
        "redeemMinPoints": 150,
        "redeemCapBp": 3_000,
        "pendingDays": 7,
        "returnGraceDays": 10,
        "expiry": "ROLLING_DAYS",
        "expiryAfter": 90,
        "clawbackMode": "BLOCK",
        "capPerDay": 1_000,
        "capPerMember": 50_000,
        "boosts": [
            {
                "code": "wednesday",
                "kind": "WEEKDAY",
                "factorBp": 20_000,
                "weekdays": [3],
                "fromDay": None,
                "untilDay": None,
                "tierCodes": ["member"],
            },
            {
                "code": "november",
                "kind": "CAMPAIGN",
                "factorBp": 30_000,
                "weekdays": [],
                "fromDay": "2026-11-11",
                "untilDay": "2026-11-12",
                "tierCodes": [],
            },
        ],
        "actions": [{"code": "profile", "points": 20, "timesPerDay": 1, "timesPerMember": 1}],
    }
    version = (await publish(admin, PUBLISH_POINTS, rules, token=await operator_token()))["version"]
    assert version["programme"] == rules
    read = RULES.replace("programme {", "pointsProgramme {", 1)
    assert (await shop.ask("{" + read + "}"))["pointsProgramme"] == rules


async def test_check_in_rules_go_in_and_come_out(admin: Door, shop: Door, operator_token: Tokens) -> None:
    rules = {
        "basePoints": 5,
        "baseGrowth": 1,
        "cycleDays": 7,
        "cycleRewards": [{"day": 3, "points": 10}, {"day": 7, "points": 30, "growth": 20}],
        "streakRewards": [{"days": 7, "points": 50}],
        "cumulativeRewards": [{"days": 10, "growth": 100}],
        "protection": {"gapDays": 1, "monthlyLimit": 2},
    }
    version = (await publish(admin, PUBLISH_CHECK_IN, rules, token=await operator_token()))["version"]
    expected = {
        "basePoints": 5,
        "baseGrowth": 1,
        "cycleDays": 7,
        "cycleRewards": [
            {"kind": "CYCLE", "days": 3, "points": 10, "growth": 0},
            {"kind": "CYCLE", "days": 7, "points": 30, "growth": 20},
        ],
        "streakRewards": [{"kind": "STREAK", "days": 7, "points": 50, "growth": 0}],
        "cumulativeRewards": [{"kind": "CUMULATIVE", "days": 10, "points": 0, "growth": 100}],
        "protection": {"gapDays": 1, "monthlyLimit": 2},
    }
    assert version["programme"] == expected
    read = DAYS.replace("programme {", "checkInProgramme {", 1)
    assert (await shop.ask("{" + read + "}"))["checkInProgramme"] == expected


def levels(*given: dict[str, object]) -> dict[str, object]:
    return {"levels": [BASIC, *given]}


def gold(**fields: object) -> dict[str, object]:
    return levels({**GOLD, **fields})


def benefit(**given: object) -> dict[str, object]:
    return gold(benefits=[given])


IMPOSSIBLE = [
    (PUBLISH_TABLE, {"levels": []}, "levels"),
    (PUBLISH_TABLE, {"levels": [GOLD]}, "levels[0].threshold"),
    (PUBLISH_TABLE, levels(GOLD, {**GOLD, "code": "black", "threshold": 4_999}), "levels[2].threshold"),
    (PUBLISH_TABLE, levels(GOLD, {**GOLD, "code": "black"}), "levels[2].threshold"),
    (PUBLISH_TABLE, gold(threshold=-1), "levels[1].threshold"),
    (PUBLISH_TABLE, gold(threshold=2**53 - 1), "levels[1].threshold"),
    (PUBLISH_TABLE, gold(code="basic"), "levels[1].code"),
    (PUBLISH_TABLE, gold(code="Gold card"), "levels[1].code"),
    (PUBLISH_TABLE, gold(name=""), "levels[1].name"),
    (PUBLISH_TABLE, gold(discountBp=-1), "levels[1].discountBp"),
    (PUBLISH_TABLE, gold(discountBp=9_001), "levels[1].discountBp"),
    (PUBLISH_TABLE, gold(pointsMultiplierBp=9_999), "levels[1].pointsMultiplierBp"),
    (PUBLISH_TABLE, gold(keepThreshold=1), "levels[1].keepThreshold"),
    (PUBLISH_TABLE, gold(keepMonths=0), "levels[1].keepMonths"),
    (PUBLISH_TABLE, {**gold(), "graceDays": 91}, "graceDays"),
    (PUBLISH_TABLE, {**gold(), "growthPerFen": 0}, "growthPerFen"),
    (PUBLISH_TABLE, {"levels": [{**BASIC, "code": f"t{at}", "threshold": at} for at in range(21)]}, "levels"),
    (PUBLISH_TABLE, benefit(freeShipping={"fromPayable": -1}), "levels[1].benefits[0].freeShipping.fromPayable"),
    (PUBLISH_TABLE, benefit(birthdayGift={}), "levels[1].benefits[0].birthdayGift.points"),
    (
        PUBLISH_TABLE,
        benefit(monthlyCoupons={"perMonth": 101, "templateCode": "x"}),
        "levels[1].benefits[0].monthlyCoupons.perMonth",
    ),
    (
        PUBLISH_TABLE,
        benefit(monthlyCoupons={"perMonth": 1, "templateCode": "No Code"}),
        "levels[1].benefits[0].monthlyCoupons.templateCode",
    ),
    (
        PUBLISH_TABLE,
        benefit(birthdayCoupons={"count": 1, "templateCode": "nothing"}),
        "levels[1].benefits[0].birthdayCoupons.templateCode",
    ),
    (PUBLISH_TABLE, benefit(earlyAccess={"minutes": 0}), "levels[1].benefits[0].earlyAccess.minutes"),
    (PUBLISH_TABLE, benefit(serviceLine={"lineCode": ""}), "levels[1].benefits[0].serviceLine.lineCode"),
    (PUBLISH_TABLE, benefit(eventAccess=False), "levels[1].benefits[0].eventAccess"),
    (
        PUBLISH_TABLE,
        gold(benefits=[{"eventAccess": True}, {"eventAccess": True}]),
        "levels[1].benefits[1].eventAccess",
    ),
    (PUBLISH_POINTS, {"earnPoints": -1}, "earnPoints"),
    (PUBLISH_POINTS, {"redeemStepPoints": 0}, "redeemStepPoints"),
    (PUBLISH_POINTS, {"redeemMinPoints": 150}, "redeemMinPoints"),
    (PUBLISH_POINTS, {"redeemCapBp": 10_001}, "redeemCapBp"),
    (PUBLISH_POINTS, {"expiry": "ROLLING_DAYS"}, "expiryAfter"),
    (PUBLISH_POINTS, {"expiry": "NEVER", "expiryAfter": 1}, "expiryAfter"),
    (PUBLISH_POINTS, {"capPerDay": 0}, "capPerDay"),
    (
        PUBLISH_POINTS,
        {"boosts": [{"code": "a", "kind": "WEEKDAY", "factorBp": 20_000}]},
        "boosts[0].weekdays",
    ),
    (
        PUBLISH_POINTS,
        {
            "boosts": [
                {
                    "code": "a",
                    "kind": "CAMPAIGN",
                    "factorBp": 20_000,
                    "fromDay": "2026-11-01",
                    "untilDay": "2026-11-12",
                },
                {
                    "code": "b",
                    "kind": "CAMPAIGN",
                    "factorBp": 30_000,
                    "fromDay": "2026-11-11",
                    "untilDay": "2026-11-13",
                },
            ]
        },
        "boosts[1].fromDay",
    ),
    (
        PUBLISH_POINTS,
        {
            "boosts": [
                {"code": "a", "kind": "CAMPAIGN", "factorBp": 20_000, "fromDay": "2026-11-12", "untilDay": "2026-11-12"}
            ]
        },
        "boosts[0].untilDay",
    ),
    (PUBLISH_POINTS, {"actions": [{"code": "a", "points": 0}]}, "actions[0].points"),
    (PUBLISH_CHECK_IN, {"cycleDays": 0}, "cycleDays"),
    (PUBLISH_CHECK_IN, {"basePoints": -1}, "basePoints"),
    (PUBLISH_CHECK_IN, {"cycleRewards": [{"day": 8, "points": 1}]}, "cycleRewards[0].day"),
    (
        PUBLISH_CHECK_IN,
        {"streakRewards": [{"days": 7, "points": 1}, {"days": 7, "points": 2}]},
        "streakRewards[1].days",
    ),
    (PUBLISH_CHECK_IN, {"cumulativeRewards": [{"days": 7}]}, "cumulativeRewards[0].points"),
    (PUBLISH_CHECK_IN, {"protection": {"gapDays": 8, "monthlyLimit": 1}}, "protection.gapDays"),
]


@pytest.mark.parametrize(("document", "rules", "field"), IMPOSSIBLE, ids=[one[2] for one in IMPOSSIBLE])
async def test_rules_that_cannot_work_are_refused_with_the_field_named(
    admin: Door, operator_token: Tokens, document: str, rules: object, field: str
) -> None:
    before = await count()
    answer = await publish(admin, document, rules, token=await operator_token())
    assert (answer["code"], answer["field"]) == ("PROGRAMME_INVALID", field)
    assert field in answer["message"]
    assert "_" not in answer["message"], "fields are told as the API names them"
    assert await count() == before


async def test_a_refusal_speaks_the_callers_language(admin: Door, operator_token: Tokens) -> None:
    token = await operator_token()
    chinese = await publish(admin, PUBLISH_TABLE, gold(discountBp=9_001), token=token, language="zh-CN")
    assert chinese["message"] == "规则配置有误：levels[1].discountBp 必须在 0 到 9000 之间"


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"eventAccess": True, "earlyAccess": {"minutes": 5}},
        {"eventAccess": None},
        {"cashBack": {"points": 1}},
    ],
)
async def test_a_benefit_is_exactly_one_of_its_kinds(admin: Door, operator_token: Tokens, given: object) -> None:
    variables = {"rules": gold(benefits=[given]), "key": "one-of-its-kinds"}
    assert await admin.codes(PUBLISH_TABLE, variables, token=await operator_token()) == ["BAD_INPUT"]


async def test_a_version_for_later_is_scheduled_then_in_force_and_at_last_past(
    admin: Door, shop: Door, operator_token: Tokens, clock: SetClock
) -> None:
    at = clock.now() + timedelta(minutes=10)
    token = await operator_token()
    published = await publish(admin, PUBLISH_TABLE, gold(), token=token, at=at.isoformat())
    assert published["version"]["state"] == "SCHEDULED"
    versions = "{ tierTableVersions { nodes { version state } } }"
    assert (await admin.ask(versions, token=token))["tierTableVersions"]["nodes"] == [
        {"version": 2, "state": "SCHEDULED"},
        {"version": 1, "state": "IN_FORCE"},
    ]
    codes = "{ tierTable { levels { code } } }"
    assert len((await shop.ask(codes))["tierTable"]["levels"]) == 1
    clock.at = at
    assert len((await shop.ask(codes))["tierTable"]["levels"]) == 2
    assert (await admin.ask(versions, token=token))["tierTableVersions"]["nodes"] == [
        {"version": 2, "state": "IN_FORCE"},
        {"version": 1, "state": "PAST"},
    ]


async def test_a_date_in_the_past_is_refused_as_the_api_names_it(
    admin: Door, operator_token: Tokens, clock: SetClock
) -> None:
    at = (clock.now() - timedelta(seconds=1)).isoformat()
    answer = await publish(admin, PUBLISH_TABLE, gold(), token=await operator_token(), at=at)
    assert (answer["code"], answer["field"]) == ("PROGRAMME_INVALID", "effectiveAt")


async def test_the_same_key_publishes_once_through_the_door(admin: Door, operator_token: Tokens, deps: Deps) -> None:
    token = await operator_token()
    first = await publish(admin, PUBLISH_POINTS, {"earnPoints": 2}, token=token, key="publish-twice")
    again = await publish(admin, PUBLISH_POINTS, {"earnPoints": 2}, token=token, key="publish-twice")
    other = await publish(admin, PUBLISH_POINTS, {"earnPoints": 3}, token=token, key="publish-twice")
    assert again["version"]["id"] == first["version"]["id"]
    assert other["code"] == "KEY_REUSED"


async def test_versions_come_in_pages(admin: Door, operator_token: Tokens) -> None:
    token = await operator_token()
    for points in range(1, 4):
        await publish(admin, PUBLISH_CHECK_IN, {"basePoints": points}, token=token)
    document = """
        query ($after: String) {
          checkInProgrammeVersions(first: 3, after: $after) { nodes { version } pageInfo { hasNextPage endCursor } }
        }
    """
    first = (await admin.ask(document, token=token))["checkInProgrammeVersions"]
    assert [one["version"] for one in first["nodes"]] == [4, 3, 2]
    rest = await admin.ask(document, {"after": first["pageInfo"]["endCursor"]}, token=token)
    assert rest["checkInProgrammeVersions"] == {
        "nodes": [{"version": 1}],
        "pageInfo": {"hasNextPage": False, "endCursor": rest["checkInProgrammeVersions"]["pageInfo"]["endCursor"]},
    }
