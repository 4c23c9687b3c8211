"""Referral through both doors: what members see, what operators publish, decide and stop."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from loyalty.people.rights import Role
from models.asyncpg_backend import SqlCount, sql_count
from models.ids import new_secret
from models.programme import ProgrammeVersion
from models.referrals.referral import ReferralReward, ReferralSwitch
from resolvers.deps import Deps
from resolvers.referrals.referral import code_of
from tests.doors import Bearer, Door, make_member
from tests.friends import buys, comes, friend, passes, rules
from tests.sandbox_server import SandboxControl

Tokens = Callable[..., Awaitable[Bearer]]

REFUSED = "... on Refusal { code message }"
LOGIN = """
mutation ($code: String!, $token: String, $device: String) {
  sessionLogin(code: $code, referralToken: $token, deviceId: $device) {
    ... on SessionLoginPayload { accessToken member { id } referral { bound code reason } }
    ... on Refusal { code }
  }
}
"""
STATUS = """
{ referral { code isRunning invitedCount heldCount countedCount points growth
    goals { goal { code friends points growth } friends isUnlocked } } }
"""
FRIENDS = """
query ($first: Int!, $after: String) {
  referralInvitees(first: $first, after: $after) {
    nodes { id nickname source campaign boundAt state reason } pageInfo { hasNextPage endCursor }
  }
}
"""
REWARDS = "{ referralRewards { nodes { stage side points growth state reason heldUntil paidAt } } }"
BOARD = """
query ($first: Int! = 20, $day: Date) {
  referralLeaderboard(period: WEEK, first: $first, day: $day) { startsOn places { place nickname friends isMe } }
}
"""
TOKEN = (
    "mutation ($campaign: String!) { referralTokenCreate(source: QR, campaign: $campaign) {"
    " ... on ReferralTokenCreated { token { token source campaign } } " + REFUSED + " } }"
)
PUBLISH = (
    "mutation ($rules: ReferralProgrammeInput!, $key: IdempotencyKey!) {"
    " published: referralProgrammePublish(programme: $rules, idempotencyKey: $key) {"
    " ... on ReferralProgrammePublished { version { id version state"
    " programme { sources attributionDays qualifyDays minOrder returnDays dailyLimit totalLimit"
    " rewards { stage side points growth } goals { code friends points growth } }"
    " risk { depth reviewScore rejectScore weights { signal weight } } } }"
    " ... on ProgrammeInvalid { field code message } " + REFUSED + " } }"
)
QUEUE = """
{ referralReviews { nodes { id memberId inviterId inviteeId orderId stage side points state riskScore needsReview
    evidence { signal weight figure } } } }
"""
APPROVE = (
    "mutation ($id: ID!, $note: String!, $key: IdempotencyKey!) {"
    " decided: referralRewardApprove(rewardId: $id, note: $note, idempotencyKey: $key) {"
    " ... on ReferralRewardReviewed { reward { id state needsReview reviewedById reviewNote } }"
    " ... on ReferralReviewRefused { code state } " + REFUSED + " } }"
)
REJECT = (
    "mutation ($id: ID!, $note: String!, $key: IdempotencyKey!) {"
    " decided: referralRewardReject(rewardId: $id, reason: SAME_DEVICE, note: $note, idempotencyKey: $key) {"
    " ... on ReferralRewardReviewed { reward { id state reason } }"
    " ... on ReferralReviewRefused { code state } " + REFUSED + " } }"
)
SWITCH = (
    "mutation ($on: Boolean!, $why: String!, $key: IdempotencyKey!) {"
    " referralSwitch(isRunning: $on, reason: $why, idempotencyKey: $key) {"
    " ... on ReferralSwitched { switch { isRunning reason operatorId } } " + REFUSED + " } }"
)
WHOLE: dict[str, Any] = {
    "sources": ["QR", "CODE"],
    "depth": 2,
    "attributionDays": 5,
    "qualifyDays": 20,
    "minOrderFen": 9_900,
    "returnDays": 10,
    "dailyLimit": 3,
    "totalLimit": 30,
    "reviewScore": 40,
    "rejectScore": 90,
    "rewards": [
        {"stage": "FIRST_ORDER", "side": "INVITER", "points": 300, "growth": 10},
        {"stage": "FIRST_ORDER", "side": "UPLINE", "points": 30},
    ],
    "goals": [{"code": "three", "friends": 3, "points": 500}],
    "weights": {"sameNetwork": 0, "burst": 40},
}


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(own_store_url: str) -> str:
    return own_store_url


@contextmanager
def counting() -> Iterator[SqlCount]:
    counter = SqlCount()
    token = sql_count.set(counter)
    yield counter
    sql_count.reset(token)


async def invited(deps: Deps, shop: Door, member_token: Tokens) -> tuple[Bearer, str]:
    """A member who invites, and their code."""
    mine = await member_token(nickname="张小明")
    return mine, (await shop.ask(STATUS, token=mine))["referral"]["code"]


# Members


async def test_a_member_invites_by_a_token_and_the_friend_logs_in_with_the_stamp(
    deps: Deps, shop: Door, member_token: Tokens, wechat: SandboxControl
) -> None:
    await rules(deps, goals=[{"code": "three", "friends": 3, "points": 500}])
    mine, _ = await invited(deps, shop, member_token)
    made = (await shop.ask(TOKEN, {"campaign": "autumn"}, token=mine))["referralTokenCreate"]["token"]
    assert (len(made["token"]), made["source"], made["campaign"]) == (17, "QR", "autumn")
    opened = await shop.ask(
        "query ($token: String!) { referralInvitation(token: $token) { inviterNickname referralToken } }",
        {"token": made["token"]},
    )
    assert opened["referralInvitation"]["inviterNickname"] == "张**"
    code, _ = await wechat.login_code()
    told = await shop.ask(LOGIN, {"code": code, "token": opened["referralInvitation"]["referralToken"]})
    assert told["sessionLogin"]["referral"] == {"bound": True, "code": None, "reason": None}
    await passes(deps)
    status = (await shop.ask(STATUS, token=mine))["referral"]
    assert status | {"code": ""} == {
        "code": "",
        "isRunning": True,
        "invitedCount": 1,
        "heldCount": 0,
        "countedCount": 0,
        "points": 0,
        "growth": 0,
        "goals": [
            {
                "goal": {"code": "three", "friends": 3, "points": 500, "growth": 0},
                "friends": 0,
                "isUnlocked": False,
            }
        ],
    }
    friends = (await shop.ask(FRIENDS, {"first": 20}, token=mine))["referralInvitees"]["nodes"]
    assert [(one["source"], one["campaign"], one["state"], one["nickname"]) for one in friends] == [
        ("QR", "autumn", "PENDING", "**")
    ]
    theirs = await shop.ask(REWARDS, token=told["sessionLogin"]["accessToken"])
    assert [(one["stage"], one["side"], one["points"], one["state"]) for one in theirs["referralRewards"]["nodes"]] == [
        ("FIRST_ORDER", "INVITEE", 100, "PENDING"),
        ("REGISTRATION", "INVITEE", 50, "PAID"),
    ]


async def test_a_login_says_why_nobody_was_bound_and_goes_on(
    deps: Deps, shop: Door, member_token: Tokens, wechat: SandboxControl
) -> None:
    mine, code = await invited(deps, shop, member_token)
    known = await make_member(deps, openid=await wechat.openid())
    deps.clock.advance(timedelta(seconds=1))  # type: ignore[attr-defined]
    for token, openid, answer in (
        ("nobody", None, {"bound": False, "code": "REFERRAL_CODE_UNKNOWN", "reason": None}),
        (code, known.openid, {"bound": False, "code": "REFERRAL_REFUSED", "reason": "NOT_NEW"}),
        (None, None, None),
    ):
        login_code, _ = await wechat.login_code(openid)
        told = (await shop.ask(LOGIN, {"code": login_code, "token": token, "device": "d"}))["sessionLogin"]
        assert told["accessToken"]
        assert told["referral"] == answer
    assert (await shop.ask(STATUS, token=mine))["referral"]["invitedCount"] in (0, 1)


async def test_members_do_not_read_what_was_alike(
    deps: Deps, shop: Door, member_token: Tokens, wechat: SandboxControl
) -> None:
    await rules(deps, reject_score=60)
    openid = await wechat.openid()
    await comes(deps, wechat, None, openid=openid, device_id="one")
    login_code, _ = await wechat.login_code(openid)
    mine = (await shop.ask(LOGIN, {"code": login_code}))["sessionLogin"]["accessToken"]
    code = (await shop.ask(STATUS, token=mine))["referral"]["code"]
    friend_id = await friend(deps, wechat, code, device_id="one")
    await buys(deps, friend_id)
    await passes(deps)
    assert (await ReferralReward.get(member_id=friend_id, stage="first_order")).reason == "same_device"
    friends = (await shop.ask(FRIENDS, {"first": 5}, token=mine))["referralInvitees"]["nodes"]
    assert [(one["state"], one["reason"]) for one in friends] == [("REJECTED", "SUSPICIOUS")]
    found = (await shop.ask(REWARDS, token=mine))["referralRewards"]["nodes"]
    assert [(one["state"], one["reason"]) for one in found] == [("REJECTED", "SUSPICIOUS")]


async def test_lists_and_status_take_the_same_statements_for_1_and_20_friends(
    deps: Deps, shop: Door, member_token: Tokens, wechat: SandboxControl
) -> None:
    await rules(deps)
    mine, code = await invited(deps, shop, member_token)
    seen = []
    for more in (1, 19):
        for _ in range(more):
            await friend(deps, wechat, code)
        with counting() as statements:
            nodes = (await shop.ask(FRIENDS, {"first": 50}, token=mine))["referralInvitees"]["nodes"]
            await shop.ask(STATUS, token=mine)
            await shop.ask(REWARDS, token=mine)
            await shop.ask(BOARD, token=mine)
        seen.append((len(nodes), statements.value))
    assert [count for count, _ in seen] == [1, 20]
    assert seen[0][1] == seen[1][1]
    first = (await shop.ask(FRIENDS, {"first": 15}, token=mine))["referralInvitees"]
    after = {"first": 15, "after": first["pageInfo"]["endCursor"]}
    rest = (await shop.ask(FRIENDS, after, token=mine))["referralInvitees"]
    assert len({one["id"] for one in first["nodes"] + rest["nodes"]}) == 20
    assert (first["pageInfo"]["hasNextPage"], rest["pageInfo"]["hasNextPage"]) == (True, False)


async def test_the_leaderboard_masks_names_and_marks_me(
    deps: Deps, shop: Door, member_token: Tokens, wechat: SandboxControl
) -> None:
    await rules(deps, return_days=0)
    mine, code = await invited(deps, shop, member_token)
    await buys(deps, await friend(deps, wechat, code))
    await passes(deps, minutes=1)
    board = (await shop.ask(BOARD, token=mine))["referralLeaderboard"]
    assert board == {
        "startsOn": "2026-11-16",
        "places": [{"place": 1, "nickname": "张**", "friends": 1, "isMe": True}],
    }
    other = await member_token()
    assert (await shop.ask(BOARD, token=other))["referralLeaderboard"]["places"][0]["isMe"] is False
    for variables in ({"first": 0}, {"first": 51}, {"day": "1999-12-31"}, {"day": "9999-01-01"}):
        assert await shop.codes(BOARD, variables, token=mine) == ["BAD_INPUT"]
    assert (await shop.ask(BOARD, {"day": "9998-12-31", "first": 50}, token=mine))["referralLeaderboard"][
        "places"
    ] == []


async def test_visitors_read_the_rules_and_open_invitations_but_nothing_of_members(deps: Deps, shop: Door) -> None:
    told = await shop.ask(
        '{ referralProgramme { minOrder goals { code } } referralInvitation(token: "00000000") { __typename } }'
    )
    assert told == {"referralProgramme": {"minOrder": 1, "goals": []}, "referralInvitation": None}
    for document, variables in (
        (STATUS, {}),
        (FRIENDS, {"first": 5}),
        (REWARDS, {}),
        (BOARD, {}),
        (TOKEN, {"campaign": ""}),
    ):
        assert await shop.codes(document, variables) == ["UNAUTHENTICATED"]


async def test_a_campaign_with_an_odd_name_is_refused(shop: Door, member_token: Tokens) -> None:
    mine = await member_token()
    told = await shop.ask(TOKEN, {"campaign": "双十一"}, token=mine, accept_language="en")
    assert told["referralTokenCreate"] == {
        "code": "REFERRAL_CAMPAIGN_INVALID",
        "message": "A campaign is named by up to 40 small letters, digits and underscores.",
    }


# Operators


async def test_operators_publish_rules_that_read_back(admin: Door, operator_token: Tokens) -> None:
    boss = await operator_token(Role.ACTIVITY_OPERATIONS)
    told = (await admin.ask(PUBLISH, {"rules": WHOLE, "key": new_secret(12)}, token=boss))["published"]["version"]
    assert (told["version"], told["state"]) == (2, "IN_FORCE")
    assert told["programme"] == {
        "sources": ["QR", "CODE"],
        "attributionDays": 5,
        "qualifyDays": 20,
        "minOrder": 9_900,
        "returnDays": 10,
        "dailyLimit": 3,
        "totalLimit": 30,
        "rewards": [
            {"stage": "FIRST_ORDER", "side": "INVITER", "points": 300, "growth": 10},
            {"stage": "FIRST_ORDER", "side": "UPLINE", "points": 30, "growth": 0},
        ],
        "goals": [{"code": "three", "friends": 3, "points": 500, "growth": 0}],
    }
    weights = {one["signal"]: one["weight"] for one in told["risk"].pop("weights")}
    assert told["risk"] == {"depth": 2, "reviewScore": 40, "rejectScore": 90}
    assert (weights["SAME_NETWORK"], weights["BURST"], weights["SAME_PAYER"]) == (0, 40, 80)
    versions = (
        "{ referralProgrammeVersions { nodes { version programme { minOrder } } } referralProgramme { version } }"
    )
    found = await admin.ask(versions, token=boss)
    assert [one["version"] for one in found["referralProgrammeVersions"]["nodes"]] == [2, 1]
    assert found["referralProgramme"] == {"version": 2}


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"sources": []}, "sources"),
        ({"depth": 3}, "depth"),
        ({"depth": 1}, "rewards[1].side"),
        ({"attributionDays": 0}, "attributionDays"),
        ({"qualifyDays": 366}, "qualifyDays"),
        ({"minOrderFen": 0}, "minOrderFen"),
        ({"returnDays": -1}, "returnDays"),
        ({"dailyLimit": 0}, "dailyLimit"),
        ({"reviewScore": 101}, "reviewScore"),
        ({"rejectScore": 39}, "rejectScore"),
        ({"rewards": [{"stage": "REGISTRATION", "side": "INVITER"}]}, "rewards[0].points"),
        ({"rewards": [{"stage": "REGISTRATION", "side": "UPLINE", "points": 1}]}, "rewards[0].side"),
        ({"rewards": [WHOLE["rewards"][0]] * 2}, "rewards[1].side"),
        (
            {"goals": [{"code": "a", "friends": 3, "points": 1}, {"code": "b", "friends": 3, "points": 1}]},
            "goals[1].friends",
        ),
        ({"goals": [{"code": "A", "friends": 3, "points": 1}]}, "goals[0].code"),
        ({"weights": {"sameDevice": 101}}, "weights.sameDevice"),
    ],
)
async def test_impossible_rules_are_refused_by_name(
    admin: Door, operator_token: Tokens, changed: dict[str, object], field: str
) -> None:
    boss = await operator_token(Role.OWNER)
    variables = {"rules": {**WHOLE, **changed}, "key": new_secret(12)}
    told = (await admin.ask(PUBLISH, variables, token=boss))["published"]
    assert (told["code"], told["field"]) == ("PROGRAMME_INVALID", field)
    assert await ProgrammeVersion.filter(kind="referral").count() == 1


async def waiting(deps: Deps, wechat: SandboxControl) -> ReferralReward:
    """A reward that waits for a person."""
    await rules(deps)
    inviter_id = (await comes(deps, wechat, None, device_id="one")).member.id
    friend_id = await friend(deps, wechat, await code_of(deps, member_id=inviter_id), device_id="one")
    await buys(deps, friend_id)
    await passes(deps, days=7)
    return await ReferralReward.get(member_id=inviter_id, stage="first_order")


async def test_operators_see_the_evidence_and_decide(
    deps: Deps, admin: Door, operator_token: Tokens, wechat: SandboxControl
) -> None:
    reward = await waiting(deps, wechat)
    boss = await operator_token(Role.USER_OPERATIONS)
    nodes = (await admin.ask(QUEUE, token=boss))["referralReviews"]["nodes"]
    (seen,) = [one for one in nodes if one["id"] == str(reward.id)]
    assert (seen["memberId"], seen["inviterId"], seen["riskScore"]) == (
        str(reward.member_id),
        str(reward.member_id),
        75,
    )
    assert seen["orderId"] is not None
    assert seen["inviteeId"] != seen["inviterId"]
    assert [one["signal"] for one in seen["evidence"]] == ["SAME_DEVICE", "HURRIED_ORDER"]
    variables = {"id": str(reward.id), "note": "一家人", "key": new_secret(12)}
    for _ in range(2):
        told = (await admin.ask(APPROVE, variables, token=boss))["decided"]["reward"]
        assert told == {
            "id": str(reward.id),
            "state": "PAID",
            "needsReview": False,
            "reviewedById": str(boss.subject_id),
            "reviewNote": "一家人",
        }
    again = (await admin.ask(REJECT, {**variables, "key": new_secret(12)}, token=boss))["decided"]
    assert (again["code"], again["state"]) == ("REFERRAL_REVIEW_REFUSED", "paid")


async def test_a_rejection_needs_a_note_and_then_stands(
    deps: Deps, admin: Door, operator_token: Tokens, wechat: SandboxControl
) -> None:
    reward = await waiting(deps, wechat)
    boss = await operator_token(Role.OWNER)
    variables = {"id": str(reward.id), "note": "", "key": new_secret(12)}
    assert (await admin.ask(REJECT, variables, token=boss))["decided"]["code"] == "REFERRAL_NOTE_INVALID"
    variables = {"id": str(boss.subject_id), "note": "x", "key": new_secret(12)}
    assert (await admin.ask(REJECT, variables, token=boss))["decided"]["code"] == "REFERRAL_REWARD_NOT_FOUND"
    variables = {"id": str(reward.id), "note": "刷单", "key": new_secret(12)}
    told = (await admin.ask(REJECT, variables, token=boss))["decided"]["reward"]
    assert told == {"id": str(reward.id), "state": "REJECTED", "reason": "SAME_DEVICE"}


async def test_the_stop_is_seen_by_all(
    deps: Deps, shop: Door, admin: Door, member_token: Tokens, operator_token: Tokens
) -> None:
    boss = await operator_token(Role.USER_OPERATIONS)
    before = "{ referralSwitch { isRunning reason operatorId at } }"
    told = await admin.ask(before, token=boss)
    assert told["referralSwitch"] == {"isRunning": True, "reason": "", "operatorId": None, "at": None}
    refused = await admin.ask(SWITCH, {"on": False, "why": " ", "key": new_secret(12)}, token=boss)
    assert refused["referralSwitch"]["code"] == "REFERRAL_NOTE_INVALID"
    stopped = await admin.ask(SWITCH, {"on": False, "why": "刷单", "key": new_secret(12)}, token=boss)
    assert stopped["referralSwitch"]["switch"] == {
        "isRunning": False,
        "reason": "刷单",
        "operatorId": str(boss.subject_id),
    }
    mine = await member_token()
    assert (await shop.ask(STATUS, token=mine))["referral"]["isRunning"] is False
    assert (await admin.ask(before, token=boss))["referralSwitch"]["isRunning"] is False


@pytest.mark.parametrize(
    ("document", "variables", "wrong"),
    [
        (PUBLISH, {"rules": WHOLE, "key": "a-key-of-a-test"}, Role.DATA_OPERATIONS),
        (
            APPROVE,
            {"id": "01a1f71c-7600-75c5-abb9-67b65ec56015", "note": "x", "key": "a-key-of-a-test"},
            Role.DATA_OPERATIONS,
        ),
        (REJECT, {"id": "01a1f71c-7600-75c5-abb9-67b65ec56015", "note": "x", "key": "a-key-of-a-test"}, Role.FINANCE),
        (SWITCH, {"on": False, "why": "x", "key": "a-key-of-a-test"}, Role.CONTENT_OPERATIONS),
        (QUEUE, {}, Role.STAFF),
        ("{ referralSwitch { isRunning } }", {}, Role.STAFF),
        ("{ referralProgramme { version } }", {}, Role.STAFF),
        ("{ referralProgrammeVersions { nodes { version } } }", {}, Role.STAFF),
    ],
)
async def test_nobody_members_and_the_wrong_right_get_nothing(
    admin: Door,
    member_token: Tokens,
    operator_token: Tokens,
    document: str,
    variables: dict[str, object],
    wrong: Role,
) -> None:
    assert await admin.codes(document, variables) == ["UNAUTHENTICATED"]
    assert await admin.codes(document, variables, token=await member_token()) == ["UNAUTHENTICATED"]
    assert await admin.codes(document, variables, token=await operator_token(wrong)) == ["FORBIDDEN"]
    assert await ProgrammeVersion.filter(kind="referral").count() == 1
    assert await ReferralSwitch.all().count() == 0
