"""The operator API's own accounts over HTTP: who may do what, and what it leaves behind."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from loyalty.people.rights import RIGHTS, Right, Role
from models.asyncpg_backend import SqlCount, sql_count
from models.ids import new_secret
from models.people.operator import Operator
from resolvers.deps import Deps
from resolvers.people import operator as verbs
from tests.doors import Bearer, Door, make_operator
from tests.patience import DAY, nothing_comes_back

Tokens = Callable[..., Awaitable[Bearer]]

PASSWORD = "correct horse battery"
ACCOUNT = "operator { id login displayName role disabledAt rights }"
ANSWER = f"__typename ... on OperatorPayload {{ {ACCOUNT} }} ... on Refusal {{ code message }}"
SESSION = f"""__typename ... on OperatorSession {{ accessToken refreshToken {ACCOUNT} }}
    ... on Refusal {{ code message }}"""

LOGIN = f"""mutation ($login: String!, $password: String!) {{
    operatorLogin(login: $login, password: $password) {{ {SESSION} }} }}"""
REFRESH = f"mutation ($token: String!) {{ operatorRefresh(refreshToken: $token) {{ {SESSION} }} }}"
LOGOUT = "mutation ($t: String!) { operatorLogout(refreshToken: $t) { ... on SessionLogoutPayload { ended } } }"
EVERYWHERE = "mutation { operatorLogoutEverywhere { ... on SessionLogoutEverywherePayload { endedCount } } }"
CREATE = f"mutation ($input: OperatorCreateInput!) {{ operatorCreate(input: $input) {{ {ANSWER} }} }}"
DISABLE = f"""mutation ($id: ID!, $key: IdempotencyKey!) {{
    operatorDisable(id: $id, idempotencyKey: $key) {{ {ANSWER} }} }}"""
SET_ROLE = f"""mutation ($id: ID!, $role: Role!, $key: IdempotencyKey!) {{
    operatorSetRole(id: $id, role: $role, idempotencyKey: $key) {{ {ANSWER} }} }}"""
CHANGE_PASSWORD = f"""mutation ($current: String!, $new: String!) {{
    operatorChangePassword(currentPassword: $current, newPassword: $new) {{ {ANSWER} }} }}"""
ME = "{ me { id login role rights } }"
OPERATORS = "query ($n: Int!, $after: String) { operators(first: $n, after: $after) { nodes { id login rights } pageInfo { hasNextPage endCursor } } }"  # noqa: E501
AUDIT = """query ($n: Int!, $filter: AuditLogFilter) { auditLog(first: $n, filter: $filter) {
    nodes { action subjectKind subjectId before after at operator { id login } } pageInfo { hasNextPage } } }"""


def key() -> str:
    return new_secret(12)


def new_account(**changes: object) -> dict[str, Any]:
    return {
        "input": {
            "login": f"lin-{new_secret(6)}".lower(),
            "password": PASSWORD,
            "role": "SUPPORT",
            "displayName": "小林",
            "idempotencyKey": key(),
            **changes,
        }
    }


async def test_an_account_lives_from_its_making_to_its_end(admin: Door, operator_token: Tokens) -> None:
    boss = await operator_token(Role.OWNER)
    wanted = new_account()
    made = (await admin.ask(CREATE, wanted, token=boss))["operatorCreate"]["operator"]
    assert made["role"] == "SUPPORT"
    assert made["rights"] == sorted(RIGHTS[Role.SUPPORT])

    signed_in = (await admin.ask(LOGIN, {"login": made["login"], "password": PASSWORD}))["operatorLogin"]
    token = signed_in["accessToken"]
    assert (await admin.ask(ME, token=token))["me"]["id"] == made["id"]
    assert await admin.codes(OPERATORS, {"n": 1}, token=token) == ["FORBIDDEN"]

    await admin.ask(SET_ROLE, {"id": made["id"], "role": "OWNER", "key": key()}, token=boss)
    assert await admin.codes(OPERATORS, {"n": 1}, token=token) == []

    changed = await admin.ask(CHANGE_PASSWORD, {"current": PASSWORD, "new": "another horse battery"}, token=token)
    assert changed["operatorChangePassword"]["__typename"] == "OperatorPayload"
    refreshed = (await admin.ask(REFRESH, {"token": signed_in["refreshToken"]}))["operatorRefresh"]
    assert (await admin.ask(ME, token=refreshed["accessToken"]))["me"]["role"] == "OWNER"

    gone = (await admin.ask(DISABLE, {"id": made["id"], "key": key()}, token=boss))["operatorDisable"]["operator"]
    assert gone["disabledAt"] == "2026-11-20T04:00:00Z"
    assert await admin.codes(ME, token=token) == ["UNAUTHENTICATED"]
    answer = (await admin.ask(REFRESH, {"token": refreshed["refreshToken"]}))["operatorRefresh"]
    assert answer["code"] == "REFRESH_INVALID"

    log = (await admin.ask(AUDIT, {"n": 20, "filter": {"subjectId": made["id"]}}, token=boss))["auditLog"]["nodes"]
    assert [row["action"] for row in log] == [
        "operator.disable",
        "operator.change_password",
        "operator.set_role",
        "operator.create",
    ]
    assert log[2]["before"] == {"role": "support"}
    assert log[2]["after"] == {"role": "owner"}
    assert log[3]["operator"]["id"] == str(boss.subject_id)
    assert PASSWORD not in str(log)


async def test_signing_out_here_and_everywhere(admin: Door, operator_token: Tokens) -> None:
    boss = await operator_token(Role.OWNER)
    wanted = new_account()
    await admin.ask(CREATE, wanted, token=boss)
    credentials = {"login": wanted["input"]["login"], "password": PASSWORD}
    here = (await admin.ask(LOGIN, credentials))["operatorLogin"]
    there = (await admin.ask(LOGIN, credentials))["operatorLogin"]
    assert (await admin.ask(LOGOUT, {"t": here["refreshToken"]}))["operatorLogout"] == {"ended": True}
    assert await admin.codes(ME, token=here["accessToken"]) == ["UNAUTHENTICATED"]
    answer = await admin.ask(EVERYWHERE, token=there["accessToken"])
    assert answer["operatorLogoutEverywhere"] == {"endedCount": 1}
    assert await admin.codes(ME, token=there["accessToken"]) == ["UNAUTHENTICATED"]


async def test_a_wrong_password_and_an_unknown_login_are_one_refusal(admin: Door, deps: Deps) -> None:
    mei = await make_operator(deps)
    answers = [
        (await admin.ask(LOGIN, {"login": login, "password": "wrong horse battery"}))["operatorLogin"]
        for login in (mei.login, "nobody-at-all")
    ]
    assert answers[0] == answers[1]
    assert answers[0]["code"] == "CREDENTIALS_WRONG"


async def test_guessing_is_answered_with_when_to_come_again(admin: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing_comes_back(monkeypatch, verbs)
    credentials = {"login": "guessed", "password": "x" * 200}
    for _ in range(5):
        assert (await admin.ask(LOGIN, credentials))["operatorLogin"]["code"] == "CREDENTIALS_WRONG"
    (error,) = (await admin.send(LOGIN, credentials, accept_language="en")).json()["errors"]
    assert error["extensions"]["code"] == "RATE_LIMITED"
    assert DAY - timedelta(hours=1) <= timedelta(seconds=error["extensions"]["retryAfterS"]) <= DAY
    assert error["message"] == f"Too many requests. Try again in {error['extensions']['retryAfterS']} s."


GUARDED = [
    (CREATE, Right.OPERATOR_WRITE),
    (DISABLE, Right.OPERATOR_WRITE),
    (SET_ROLE, Right.OPERATOR_WRITE),
    (OPERATORS, Right.OPERATOR_READ),
    (AUDIT, Right.AUDIT_READ),
]


@pytest.mark.parametrize(("document", "right"), GUARDED, ids=[right + str(at) for at, (_, right) in enumerate(GUARDED)])
async def test_a_field_opens_to_its_right_alone(
    admin: Door, deps: Deps, document: str, right: Right, operator_token: Tokens, member_token: Tokens
) -> None:
    target = await make_operator(deps, Role.STAFF)
    variables = {**new_account(), "id": str(target.id), "key": key(), "role": "FINANCE", "n": 1}
    named = {name: value for name, value in variables.items() if f"${name}" in document}
    before = await Operator.all().count()
    assert await admin.codes(document, named) == ["UNAUTHENTICATED"]
    assert await admin.codes(document, named, token=await member_token()) == ["UNAUTHENTICATED"]
    for role in Role:
        if right not in RIGHTS[role]:
            assert await admin.codes(document, named, token=await operator_token(role)) == ["FORBIDDEN"]
    kept = await Operator.get(id=target.id)
    assert (kept.role, kept.disabled_at) == (Role.STAFF, None)
    assert await Operator.all().count() == before + len([role for role in Role if right not in RIGHTS[role]])
    assert await admin.codes(document, named, token=await operator_token(Role.OWNER)) == []


@pytest.mark.parametrize("document", [EVERYWHERE, ME, CHANGE_PASSWORD], ids=["everywhere", "me", "change_password"])
async def test_what_is_for_every_operator_is_for_no_visitor(
    admin: Door, document: str, operator_token: Tokens, member_token: Tokens
) -> None:
    variables = {"current": "x", "new": "x"} if "$current" in document else None
    assert await admin.codes(document, variables) == ["UNAUTHENTICATED"]
    assert await admin.codes(document, variables, token=await member_token()) == ["UNAUTHENTICATED"]
    assert await admin.codes(document, variables, token=await operator_token(Role.STAFF)) == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"login": "a b"}, "LOGIN_UNFIT"),
        ({"password": "short"}, "PASSWORD_TOO_WEAK"),
        ({"displayName": "x" * 65}, "OPERATOR_NAME_UNFIT"),
    ],
)
async def test_an_account_that_cannot_be_is_refused(
    admin: Door, operator_token: Tokens, changes: dict[str, str], code: str
) -> None:
    boss = await operator_token(Role.OWNER)
    before = await Operator.all().count()
    assert (await admin.ask(CREATE, new_account(**changes), token=boss))["operatorCreate"]["code"] == code
    assert await Operator.all().count() == before


@pytest.mark.parametrize("role", ["owner", "GOD", "", None, 1])
async def test_a_role_that_is_none_is_bad_input(admin: Door, operator_token: Tokens, role: object) -> None:
    boss = await operator_token(Role.OWNER)
    assert await admin.codes(CREATE, new_account(role=role), token=boss) == ["BAD_INPUT"]


async def test_accounts_are_listed_by_page_without_a_gap(admin: Door, deps: Deps, operator_token: Tokens) -> None:
    boss = await operator_token(Role.OWNER)
    mine = [str((await make_operator(deps, Role.STAFF)).id) for _ in range(5)]
    seen: list[str] = []
    after = None
    while not set(mine) <= set(seen):
        found = (await admin.ask(OPERATORS, {"n": 2, "after": after}, token=boss))["operators"]
        seen += [node["id"] for node in found["nodes"]]
        after = found["pageInfo"]["endCursor"]
        assert found["pageInfo"]["hasNextPage"] or set(mine) <= set(seen)
    assert len(seen) == len(set(seen))


async def test_the_log_costs_the_same_statements_for_one_row_and_for_twenty(
    admin: Door, deps: Deps, operator_token: Tokens
) -> None:
    boss = await operator_token(Role.OWNER)
    for _ in range(20):
        target = await make_operator(deps, Role.STAFF)
        await admin.ask(SET_ROLE, {"id": str(target.id), "role": "SUPPORT", "key": key()}, token=boss)
    counts = []
    for wanted in (1, 20):
        counter = SqlCount()
        before = sql_count.set(counter)
        found = await admin.ask(AUDIT, {"n": wanted, "filter": {"operatorId": str(boss.subject_id)}}, token=boss)
        sql_count.reset(before)
        assert len(found["auditLog"]["nodes"]) == wanted
        counts.append(counter.value)
    # Whose token it is, the page, and the operators of the page.
    assert counts == [3, 3]
