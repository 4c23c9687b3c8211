"""Signing in, staying in and signing out, as the mini-program does it over HTTP."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from cache.rate_limit import Limit
from loyalty.people.session import MEMBER_ACCESS_TTL, REFRESH_GRACE
from models.people.session import SessionFamily
from resolvers.clock import SetClock
from resolvers.people import session as verbs
from tests.doors import Bearer, Door
from tests.patience import DAY
from tests.sandbox_server import SandboxControl

Tokens = Callable[..., Awaitable[Bearer]]

PAIR = "accessToken accessTokenExpiresAt refreshToken refreshTokenExpiresAt"
LOGIN = f"""mutation ($code: String!) {{ sessionLogin(code: $code) {{
    __typename ... on SessionLoginPayload {{ {PAIR} member {{ id nickname }} }}
    ... on Refusal {{ code message }} }} }}"""
REFRESH = f"""mutation ($token: String!) {{ sessionRefresh(refreshToken: $token) {{
    __typename ... on SessionRefreshPayload {{ {PAIR} member {{ id }} }} ... on Refusal {{ code message }} }} }}"""
LOGOUT = """mutation ($token: String!) { sessionLogout(refreshToken: $token) {
    ... on SessionLogoutPayload { ended } } }"""
EVERYWHERE = "mutation { sessionLogoutEverywhere { ... on SessionLogoutEverywherePayload { endedCount } } }"
TIME = "{ serverInfo { time } }"


async def log_in(shop: Door, wechat: SandboxControl, openid: str | None = None) -> dict[str, Any]:
    code, _ = await wechat.login_code(openid)
    answer: dict[str, Any] = (await shop.ask(LOGIN, {"code": code}))["sessionLogin"]
    assert answer["__typename"] == "SessionLoginPayload", answer
    return answer


async def refresh(shop: Door, token: str) -> dict[str, Any]:
    answer: dict[str, Any] = (await shop.ask(REFRESH, {"token": token}))["sessionRefresh"]
    return answer


async def test_a_member_signs_in_stays_in_and_signs_out(shop: Door, wechat: SandboxControl, clock: SetClock) -> None:
    first = await log_in(shop, wechat)
    assert first["accessTokenExpiresAt"] == "2026-11-20T04:30:00Z"
    assert await shop.codes(TIME, token=first["accessToken"]) == []
    clock.advance(MEMBER_ACCESS_TTL)
    assert await shop.codes(TIME, token=first["accessToken"]) == ["UNAUTHENTICATED"]
    second = await refresh(shop, first["refreshToken"])
    assert second["member"]["id"] == first["member"]["id"]
    assert await shop.codes(TIME, token=second["accessToken"]) == []
    assert (await shop.ask(LOGOUT, {"token": second["refreshToken"]}))["sessionLogout"] == {"ended": True}
    assert await shop.codes(TIME, token=second["accessToken"]) == ["UNAUTHENTICATED"]
    assert (await refresh(shop, second["refreshToken"]))["code"] == "REFRESH_INVALID"
    assert (await shop.ask(LOGOUT, {"token": second["refreshToken"]}))["sessionLogout"] == {"ended": False}


async def test_signing_out_everywhere_ends_this_requests_token_too(shop: Door, wechat: SandboxControl) -> None:
    code, openid = await wechat.login_code()
    here = (await shop.ask(LOGIN, {"code": code}))["sessionLogin"]
    there = await log_in(shop, wechat, openid)
    for signed_in in (here, there):
        assert await shop.codes(TIME, token=signed_in["accessToken"]) == []
    answer = await shop.ask(EVERYWHERE, token=here["accessToken"])
    assert answer["sessionLogoutEverywhere"] == {"endedCount": 2}
    for signed_in in (here, there):
        assert await shop.codes(TIME, token=signed_in["accessToken"]) == ["UNAUTHENTICATED"]


async def test_nobody_signs_out_everywhere(shop: Door) -> None:
    assert await shop.codes(EVERYWHERE) == ["UNAUTHENTICATED"]


async def test_a_wrong_code_is_a_refusal_in_the_callers_language(shop: Door) -> None:
    chinese = (await shop.ask(LOGIN, {"code": "nothing"}))["sessionLogin"]
    english = (await shop.ask(LOGIN, {"code": "nothing"}, accept_language="en"))["sessionLogin"]
    assert chinese["__typename"] == english["__typename"] == "SimpleRefusal"
    assert chinese["code"] == english["code"] == "LOGIN_CODE_INVALID"
    assert chinese["message"] == "登录凭证无效或已过期，请重新登录"
    assert english["message"] == "The login code is invalid or has expired."


async def test_a_stolen_refresh_token_ends_the_session(shop: Door, wechat: SandboxControl, clock: SetClock) -> None:
    stolen = (await log_in(shop, wechat))["refreshToken"]
    honest = await refresh(shop, stolen)
    clock.advance(REFRESH_GRACE)
    assert (await refresh(shop, stolen))["code"] == "REFRESH_REUSED"
    assert await shop.codes(TIME, token=honest["accessToken"]) == ["UNAUTHENTICATED"]
    assert (await refresh(shop, honest["refreshToken"]))["code"] == "REFRESH_INVALID"


async def test_a_lost_reply_is_given_again(shop: Door, wechat: SandboxControl) -> None:
    first = (await log_in(shop, wechat))["refreshToken"]
    lost, again = await refresh(shop, first), await refresh(shop, first)
    assert lost["refreshToken"] == again["refreshToken"]
    assert await shop.codes(TIME, token=again["accessToken"]) == []


async def test_too_many_logins_are_told_when_to_come_again(shop: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verbs, "LOGINS_BY_ADDRESS", Limit("address", burst=1, every=DAY))
    await shop.ask(LOGIN, {"code": "nothing"})
    (error,) = (await shop.send(LOGIN, {"code": "nothing"})).json()["errors"]
    assert error["extensions"]["code"] == "RATE_LIMITED"
    assert DAY - timedelta(hours=1) <= timedelta(seconds=error["extensions"]["retryAfterS"]) <= DAY


@pytest.mark.parametrize(
    "code", ["", " ", "a&appid=x", "../../", "%00", "'; DROP TABLE member; --", "码" * 50, "x" * 90_000]
)
async def test_odd_codes_are_refused_and_nothing_breaks(shop: Door, code: str) -> None:
    assert (await shop.ask(LOGIN, {"code": code}))["sessionLogin"]["code"] == "LOGIN_CODE_INVALID"


@pytest.mark.parametrize("code", [None, 1, ["x"], {"a": 1}, "a\u0000b"])
async def test_what_is_no_text_is_bad_input(shop: Door, code: object) -> None:
    assert await shop.codes(LOGIN, {"code": code}) == ["BAD_INPUT"]


async def test_no_answer_but_a_payload_ever_carries_a_secret(
    shop: Door, wechat: SandboxControl, member_token: Tokens
) -> None:
    code, openid = await wechat.login_code()
    response = await shop.send(LOGIN, {"code": code})
    users = {user["openid"]: user["session_key"] for user in await wechat.get("users")}
    assert users[openid] not in response.text
    assert openid not in response.text
    assert response.headers["cache-control"] == "no-store"


async def test_a_failed_login_opens_no_session(shop: Door) -> None:
    before = await SessionFamily.all().count()
    await shop.ask(LOGIN, {"code": "nothing"})
    assert await SessionFamily.all().count() == before
