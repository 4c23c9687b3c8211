"""Login, access token and phone number against the sandbox."""

import asyncio
import logging

import httpx
import pytest

from tests.sandbox_server import SandboxControl
from wechat.errors import (
    AnswerUnreadable,
    CodeInvalid,
    CodeUsed,
    FrequencyLimited,
    Misconfigured,
    OutcomeUnknown,
    QuotaExhausted,
    RequestRefused,
    RiskBlocked,
    SystemBusy,
    TokenRejected,
    Unreachable,
)
from wechat.login import LoginClient
from wechat.mini import MiniProgramHost
from wechat.phone import PhoneClient
from wechat.session import SessionClient
from wechat.token import TokenProvider


class DictCache:
    """A token cache in memory that records how long it was told to remember."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.ttl_s: list[int] = []

    async def get(self, key: str) -> str | None:
        return self.values.get(key)

    async def put(self, key: str, value: str, ttl_s: int) -> None:
        self.values[key] = value
        self.ttl_s.append(ttl_s)

    async def drop(self, key: str, value: str) -> None:
        if self.values.get(key) == value:
            del self.values[key]


@pytest.fixture
def host(sandbox: SandboxControl, http: httpx.AsyncClient) -> MiniProgramHost:
    return MiniProgramHost(http, base_url=sandbox.base_url)


@pytest.fixture
async def login(sandbox: SandboxControl, host: MiniProgramHost) -> LoginClient:
    told = await sandbox.config()
    return LoginClient(host, appid=told["appid"], secret=told["secret"])


@pytest.fixture
async def tokens(sandbox: SandboxControl, host: MiniProgramHost) -> TokenProvider:
    told = await sandbox.config()
    return TokenProvider(host, DictCache(), appid=told["appid"], secret=told["secret"])


async def test_a_code_gives_the_openid_and_a_session_key_that_is_never_shown(
    sandbox: SandboxControl, login: LoginClient
) -> None:
    code, openid = await sandbox.login_code()
    session = await login.code2session(code)
    assert (session.openid, session.unionid, len(openid)) == (openid, None, 28)
    assert session.session_key
    assert session.session_key not in repr(session)


async def test_a_bound_app_also_gives_the_unionid(sandbox: SandboxControl, login: LoginClient) -> None:
    openid = await sandbox.openid(unionid="oUnion")
    code, _ = await sandbox.login_code(openid)
    assert (await login.code2session(code)).unionid == "oUnion"


async def test_each_login_makes_a_new_session_key(sandbox: SandboxControl, login: LoginClient) -> None:
    openid = await sandbox.openid()
    first = await login.code2session((await sandbox.login_code(openid))[0])
    second = await login.code2session((await sandbox.login_code(openid))[0])
    assert first.session_key != second.session_key


async def test_a_code_works_once(sandbox: SandboxControl, login: LoginClient) -> None:
    code, _ = await sandbox.login_code()
    await login.code2session(code)
    with pytest.raises(CodeUsed) as caught:
        await login.code2session(code)
    assert (caught.value.code, caught.value.retriable, caught.value.unclear) == ("40163", False, False)
    assert caught.value.trace


async def test_a_code_lives_five_minutes(sandbox: SandboxControl, login: LoginClient) -> None:
    late, _ = await sandbox.login_code()
    await sandbox.advance(60)
    timely, _ = await sandbox.login_code()
    await sandbox.advance(241)
    assert (await login.code2session(timely)).openid
    with pytest.raises(CodeInvalid, match="40029"):
        await login.code2session(late)


async def test_an_unknown_code_and_a_phone_code_are_invalid(sandbox: SandboxControl, login: LoginClient) -> None:
    phone = await sandbox.post("phone_codes", openid=await sandbox.openid())
    for code in ("0nobody", phone["code"]):
        with pytest.raises(CodeInvalid):
            await login.code2session(code)


async def test_codes_of_the_real_developer_tools_can_be_one_users(sandbox: SandboxControl, login: LoginClient) -> None:
    openid = await sandbox.openid()
    await sandbox.post("login_codes/any", openid=openid)
    assert (await login.code2session("0fromTheTools")).openid == openid
    with pytest.raises(CodeUsed):
        await login.code2session("0fromTheTools")
    await sandbox.post("login_codes/any", openid=None)
    with pytest.raises(CodeInvalid):
        await login.code2session("0another")


async def test_a_user_held_for_risky_is_blocked(sandbox: SandboxControl, login: LoginClient) -> None:
    openid = await sandbox.openid(blocked=True)
    with pytest.raises(RiskBlocked):
        await login.code2session((await sandbox.login_code(openid))[0])


async def test_more_than_a_hundred_logins_a_minute_are_too_many(sandbox: SandboxControl, login: LoginClient) -> None:
    openid = await sandbox.openid()
    codes = [(await sandbox.login_code(openid))[0] for _ in range(101)]
    for code in codes[:100]:
        await login.code2session(code)
    with pytest.raises(FrequencyLimited):
        await login.code2session(codes[100])
    await sandbox.advance(61)
    assert (await login.code2session((await sandbox.login_code(openid))[0])).openid == openid


@pytest.mark.parametrize(("appid", "secret"), [("wx0", None), (None, "no secret"), ("", None), (None, "")])
async def test_wrong_settings_are_named_as_such(
    sandbox: SandboxControl, host: MiniProgramHost, appid: str | None, secret: str | None
) -> None:
    told = await sandbox.config()
    wrong = LoginClient(
        host,
        appid=told["appid"] if appid is None else appid,
        secret=told["secret"] if secret is None else secret,
    )
    with pytest.raises(Misconfigured):
        await wrong.code2session((await sandbox.login_code())[0])


async def test_a_busy_system_is_asked_again_three_times_in_all(sandbox: SandboxControl, login: LoginClient) -> None:
    await sandbox.fault("code2session", "errcode", errcode=-1, times=2)
    assert (await login.code2session((await sandbox.login_code())[0])).openid
    await sandbox.fault("code2session", "errcode", errcode=-1, times=3)
    with pytest.raises(SystemBusy):
        await login.code2session((await sandbox.login_code())[0])


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"fault": "errcode", "errcode": 45009}, QuotaExhausted),
        ({"fault": "errcode", "errcode": 45011}, FrequencyLimited),
        ({"fault": "errcode", "errcode": 99999}, RequestRefused),
        ({"fault": "truncated_json"}, AnswerUnreadable),
        ({"fault": "reset"}, OutcomeUnknown),
        ({"fault": "reset_after_effect"}, OutcomeUnknown),
    ],
    ids=str,
)
async def test_each_fault_of_the_login_has_its_error(
    sandbox: SandboxControl, login: LoginClient, fault: dict[str, object], error: type[Exception]
) -> None:
    await sandbox.post("faults", endpoint="code2session", **fault)
    code, _ = await sandbox.login_code()
    with pytest.raises(error):
        await login.code2session(code)


async def test_a_slow_login_is_unclear(sandbox: SandboxControl, http: httpx.AsyncClient) -> None:
    told = await sandbox.config()
    hurried = MiniProgramHost(http, base_url=sandbox.base_url, timeout=httpx.Timeout(60.0, read=0.3))
    await sandbox.fault("code2session", "slow", seconds=300)
    code, _ = await sandbox.login_code()
    with pytest.raises(OutcomeUnknown):
        await LoginClient(hurried, appid=told["appid"], secret=told["secret"]).code2session(code)


async def test_a_code_spent_behind_a_lost_answer_is_spent(sandbox: SandboxControl, login: LoginClient) -> None:
    await sandbox.fault("code2session", "reset_after_effect")
    code, _ = await sandbox.login_code()
    with pytest.raises(OutcomeUnknown) as caught:
        await login.code2session(code)
    assert caught.value.unclear
    with pytest.raises(CodeUsed):
        await login.code2session(code)


async def test_a_closed_port_is_unreachable(http: httpx.AsyncClient) -> None:
    nowhere = LoginClient(MiniProgramHost(http, base_url="http://127.0.0.1:9"), appid="a", secret="b")
    with pytest.raises(Unreachable) as caught:
        await nowhere.code2session("c")
    assert (caught.value.retriable, caught.value.unclear) == (True, False)


async def test_the_request_log_never_shows_the_secret(
    sandbox: SandboxControl, login: LoginClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="httpx"):
        await login.code2session((await sandbox.login_code())[0])
    shown = [record.getMessage() for record in caplog.records if "jscode2session" in record.getMessage()]
    assert shown
    assert not any("secret" in line or "js_code" in line for line in shown)


async def test_a_token_is_fetched_once_for_many_and_kept_shorter_than_it_lives(
    sandbox: SandboxControl, host: MiniProgramHost
) -> None:
    told = await sandbox.config()
    cache = DictCache()
    tokens = TokenProvider(host, cache, appid=told["appid"], secret=told["secret"])
    got = await asyncio.gather(*(tokens.token() for _ in range(20)))
    assert len(set(got)) == 1
    assert cache.ttl_s == [6900]
    assert len(got[0]) <= 512


async def test_the_same_token_is_repeated_until_its_last_five_minutes(
    sandbox: SandboxControl, host: MiniProgramHost
) -> None:
    told = await sandbox.config()
    asked = {"grant_type": "client_credential", "appid": told["appid"], "secret": told["secret"]}
    first = await host.post("/cgi-bin/stable_token", {}, asked)
    await sandbox.advance(6800)
    again = await host.post("/cgi-bin/stable_token", {}, asked)
    assert (again["access_token"], again["expires_in"] <= 400) == (first["access_token"], True)
    await sandbox.advance(101)
    fresh = await host.post("/cgi-bin/stable_token", {}, asked)
    assert fresh["access_token"] != first["access_token"]
    openid = await sandbox.openid(phone="13800000000")
    for token in (first, fresh):
        code = (await sandbox.post("phone_codes", openid=openid))["code"]
        query = {"access_token": token["access_token"]}
        assert (await host.post("/wxa/business/getuserphonenumber", query, {"code": code}))["phone_info"]


async def test_a_forced_refresh_ends_the_old_token_and_is_ignored_when_it_follows_too_soon(
    sandbox: SandboxControl, host: MiniProgramHost
) -> None:
    told = await sandbox.config()
    asked = {"grant_type": "client_credential", "appid": told["appid"], "secret": told["secret"]}
    first = await host.post("/cgi-bin/stable_token", {}, asked)
    forced = await host.post("/cgi-bin/stable_token", {}, {**asked, "force_refresh": True})
    soon = await host.post("/cgi-bin/stable_token", {}, {**asked, "force_refresh": True})
    assert first["access_token"] != forced["access_token"] == soon["access_token"]
    with pytest.raises(TokenRejected, match="42001"):
        await host.post("/wxa/business/getuserphonenumber", {"access_token": first["access_token"]}, {"code": "x"})


async def test_a_rejected_token_is_fetched_anew_once_and_the_call_repeated(
    sandbox: SandboxControl, host: MiniProgramHost, tokens: TokenProvider
) -> None:
    phone = PhoneClient(host, tokens)
    openid = await sandbox.openid(phone="13800000000")
    await tokens.token()
    await sandbox.advance(7200)
    code = (await sandbox.post("phone_codes", openid=openid))["code"]
    number = await phone.number(code, openid=openid)
    assert (number.phone_number, number.country_code) == ("13800000000", "86")
    assert "138" not in repr(number)
    await sandbox.fault("phone", "errcode", errcode=40001, times=2)
    with pytest.raises(TokenRejected):
        await phone.number("x")


async def test_a_phone_code_works_once_and_only_for_its_person(
    sandbox: SandboxControl, host: MiniProgramHost, tokens: TokenProvider
) -> None:
    phone = PhoneClient(host, tokens)
    openid = await sandbox.openid(phone="13800000000")
    code = (await sandbox.post("phone_codes", openid=openid))["code"]
    await phone.number(code)
    with pytest.raises(CodeUsed):
        await phone.number(code)
    other = (await sandbox.post("phone_codes", openid=openid))["code"]
    with pytest.raises(RequestRefused, match="40003"):
        await phone.number(other, openid="oSomebodyElse")


async def test_only_the_session_key_of_the_last_login_is_current(
    sandbox: SandboxControl, host: MiniProgramHost, login: LoginClient, tokens: TokenProvider
) -> None:
    openid = await sandbox.openid()
    first = await login.code2session((await sandbox.login_code(openid))[0])
    second = await login.code2session((await sandbox.login_code(openid))[0])
    sessions = SessionClient(host, tokens)
    assert await sessions.is_current(openid, second.session_key)
    assert not await sessions.is_current(openid, first.session_key)
    with pytest.raises(RequestRefused, match="40003"):
        await sessions.is_current("oNobody", second.session_key)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"null"])
async def test_a_body_that_is_no_object_is_a_data_format_error(
    sandbox: SandboxControl, http: httpx.AsyncClient, body: bytes
) -> None:
    answer = await http.post(f"{sandbox.base_url}/cgi-bin/stable_token", content=body)
    assert (answer.status_code, answer.json()["errcode"]) == (200, 47001)
