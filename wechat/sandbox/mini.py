"""The mini-program host: login, access token, phone number.

Official sources: "code2Session", "checkSession", "Get stable interface call credentials", "getPhoneNumber".
"""

import base64
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from wechat.sandbox.answers import MiniRefusal, json_body
from wechat.sandbox.records import Code, Token, User
from wechat.session import session_signature

if TYPE_CHECKING:
    from wechat.sandbox.world import World

CODE_LIFE_S: Final = 300
TOKEN_LIFE_S: Final = 7200
OVERLAP_S: Final = 300
"""The last seconds of a token, in which the next one is handed out while both work."""

FORCE_APART_S: Final = 30
FORCE_PER_DAY: Final = 20
LOGINS_PER_MINUTE: Final = 100


def code2session(world: "World", query: Mapping[str, str]) -> dict[str, Any]:
    """Spend a login code; every login makes a new session key."""
    _check_app(world, query.get("appid"), query.get("secret"))
    if query.get("grant_type") != "authorization_code":
        raise MiniRefusal(40002, "invalid grant_type")
    if not query.get("js_code"):
        raise MiniRefusal(41008, "missing code")
    user = _spend(world, query["js_code"], "login")
    minute = [at_s for at_s in world.logins.get(user.openid, []) if at_s > world.now_s() - 60]
    if len(minute) >= LOGINS_PER_MINUTE:
        raise MiniRefusal(45011, "api minute-quota reach limit, must slower, retry next minute")
    world.logins[user.openid] = [*minute, world.now_s()]
    if user.blocked:
        raise MiniRefusal(40226, "code blocked")
    user.session_key = base64.b64encode(secrets.token_bytes(16)).decode()
    world.records.keep(user)
    answer = {"openid": user.openid, "session_key": user.session_key}
    return answer if user.unionid is None else {**answer, "unionid": user.unionid}


def stable_token(world: "World", raw: bytes) -> dict[str, Any]:
    """The current token, or the next one where the current is about to end or a refresh is forced."""
    body = json_body(raw)
    if body.get("grant_type") != "client_credential":
        raise MiniRefusal(40002, "invalid grant_type")
    _check_app(world, body.get("appid"), body.get("secret"))
    forced = body.get("force_refresh", False)
    if not isinstance(forced, bool):
        raise MiniRefusal(47001, "data format error")
    now_s = world.now_s()
    living = [each for each in world.records.tokens.values() if each.ends_s > now_s]
    newest = max(living, key=lambda each: each.made_s, default=None)
    if newest is not None and forced and _may_force(world, now_s):
        for each in living:
            each.ends_s = now_s
            world.records.keep(each)
        newest = None
    if newest is None or newest.ends_s - now_s < OVERLAP_S:
        newest = Token(token=secrets.token_urlsafe(288), made_s=now_s, ends_s=now_s + TOKEN_LIFE_S)
        world.records.keep(newest)
    return {"access_token": newest.token, "expires_in": int(newest.ends_s - now_s)}


def phone_number(world: "World", access_token: str | None, raw: bytes) -> dict[str, Any]:
    """Spend a phone code."""
    check_token(world, access_token)
    body = json_body(raw)
    code = body.get("code")
    if not isinstance(code, str) or not code:
        raise MiniRefusal(40029, "invalid code")
    user = _spend(world, code, "phone")
    if body.get("openid") not in (None, user.openid):
        raise MiniRefusal(40003, "invalid openid")
    phone = user.phone or ""
    return {
        "errcode": 0,
        "errmsg": "ok",
        "phone_info": {
            "phoneNumber": phone,
            "purePhoneNumber": phone,
            "countryCode": 86,
            "watermark": {"timestamp": int(world.now_s()), "appid": world.credentials.appid},
        },
    }


def check_session(world: "World", query: Mapping[str, str]) -> dict[str, Any]:
    """Is the signature made with the session key of the user's last login?"""
    check_token(world, query.get("access_token"))
    user = world.records.users.get(query.get("openid", ""))
    if user is None:
        raise MiniRefusal(40003, "invalid openid")
    right = session_signature(user.session_key) if user.session_key else None
    if query.get("sig_method") != "hmac_sha256" or query.get("signature") != right:
        raise MiniRefusal(87009, "invalid signature")
    return {"errcode": 0, "errmsg": "ok"}


def check_token(world: "World", access_token: str | None) -> None:
    """Refuse a missing, unknown or expired token."""
    if not access_token:
        raise MiniRefusal(41001, "access_token missing")
    token = world.records.tokens.get(access_token)
    if token is None:
        raise MiniRefusal(40001, "invalid credential, access_token is invalid or not latest")
    if token.ends_s <= world.now_s():
        raise MiniRefusal(42001, "access_token expired")


def make_user(world: "World", **wanted: Any) -> User:
    """A user with the given properties; an openid is made where none is given."""
    wanted.setdefault("openid", "o" + secrets.token_urlsafe(21)[:27])
    user = User(**wanted)
    world.records.keep(user)
    return user


def make_code(world: "World", openid: str, purpose: str) -> Code:
    """A one-shot code of 5 minutes, as the mini-program would get it."""
    code = Code(code=f"0{secrets.token_urlsafe(24)[:31]}", purpose=purpose, openid=openid, made_s=world.now_s())
    world.records.keep(code)
    return code


def _spend(world: "World", code: str, purpose: str) -> User:
    known = world.records.codes.get(code)
    if known is None and purpose == "login" and world.any_code_openid is not None:
        # A code of the real developer tools, which the sandbox cannot know: it is that user's, and works once too.
        known = Code(code=code, purpose=purpose, openid=world.any_code_openid, made_s=world.now_s())
    if known is None or known.purpose != purpose or known.made_s + CODE_LIFE_S <= world.now_s():
        raise MiniRefusal(40029, "invalid code")
    if known.used:
        raise MiniRefusal(40163, "code been used")
    known.used = True
    world.records.keep(known)
    return world.records.users[known.openid]


def _may_force(world: "World", now_s: float) -> bool:
    world.forced_refreshes = [at_s for at_s in world.forced_refreshes if at_s > now_s - 86400]
    recent = world.forced_refreshes
    if len(recent) >= FORCE_PER_DAY or (recent and now_s - recent[-1] < FORCE_APART_S):
        return False
    recent.append(now_s)
    return True


def _check_app(world: "World", appid: object, secret: object) -> None:
    if not appid:
        raise MiniRefusal(41002, "appid missing")
    if appid != world.credentials.appid:
        raise MiniRefusal(40013, "invalid appid")
    if not secret:
        raise MiniRefusal(41004, "appsecret missing")
    if secret != world.credentials.secret:
        raise MiniRefusal(40125, "invalid appsecret")
