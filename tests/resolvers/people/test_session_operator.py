"""Operators' sessions and accounts over the real store."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import orjson
import pytest
from argon2 import PasswordHasher

from cache.rate_limit import TooMany
from loyalty.idempotency import KeyReused
from loyalty.people.operator import LastOwner, LoginTaken, LoginUnfit, OperatorNotFound
from loyalty.people.rights import Role
from loyalty.people.session import (
    OPERATOR_REFRESH_TTL,
    REFRESH_GRACE,
    AccountDisabled,
    CredentialsWrong,
    PasswordTooWeak,
    RefreshInvalid,
    RefreshReused,
)
from models.engine import changed, transaction
from models.ids import new_id, new_secret
from models.people.operator import AuditRow, Operator
from models.people.session import SessionFamily
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.people import operator as verbs
from resolvers.people.audit import record
from resolvers.people.password import hashed
from resolvers.people.session import read_operator_token
from resolvers.people.session_family import Subject, exchange
from resolvers.people.token import TokenInvalid
from tests.doors import bearer, make_operator
from tests.patience import DAY, nothing_comes_back

PASSWORD = "correct horse battery"
IP = "203.0.113.9"
_hashes: dict[str, str] = {}


@pytest.fixture(autouse=True)
def _no_try_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing_comes_back(monkeypatch, verbs)


async def operator(deps: Deps, role: str = Role.OWNER) -> Operator:
    # Hashing is slow on purpose, so these operators share one hash.
    if PASSWORD not in _hashes:
        _hashes[PASSWORD] = await hashed(PASSWORD)
    return await make_operator(deps, role, password_hash=_hashes[PASSWORD])


async def sign_in(deps: Deps, login: str, password: str = PASSWORD, ip: str = IP) -> verbs.OperatorSignedIn:
    return await verbs.login(deps, login=login, password=password, client_ip=ip)


async def role_of(deps: Deps, token: str) -> str | None:
    try:
        return (await read_operator_token(deps, token, deps.clock.now())).role
    except TokenInvalid:
        return None


async def deeds(operator_id: UUID) -> list[AuditRow]:
    return await AuditRow.filter(operator_id=operator_id).order_by("id")


def key() -> str:
    return new_secret(12)


# --- sessions -----------------------------------------------------------------------------------------------------


async def test_the_right_password_opens_a_session_and_is_recorded(deps: Deps) -> None:
    mei = await operator(deps, Role.SUPPORT)
    signed_in = await sign_in(deps, f"  {mei.login.upper()} ")
    assert signed_in.operator.id == mei.id
    assert await role_of(deps, signed_in.tokens.access_token) == Role.SUPPORT
    assert signed_in.tokens.refresh_token_expires_at == deps.clock.now() + OPERATOR_REFRESH_TTL
    assert [(row.action, row.subject_id) for row in await deeds(mei.id)] == [
        ("operator.login", str(signed_in.tokens.session_id))
    ]


@pytest.mark.parametrize("password", ["", PASSWORD.upper(), PASSWORD + " ", "x" * 100_000])
async def test_a_wrong_password_opens_nothing(deps: Deps, password: str) -> None:
    mei = await operator(deps)
    with pytest.raises(CredentialsWrong):
        await sign_in(deps, mei.login, password)
    assert not await SessionFamily.exists(subject_id=mei.id)
    assert await deeds(mei.id) == []


async def test_an_unknown_login_costs_the_same_hash_as_a_known_one(deps: Deps, monkeypatch: pytest.MonkeyPatch) -> None:
    verified: list[str] = []
    verify = PasswordHasher.verify

    def watched(self: PasswordHasher, hash: str, password: str) -> bool:
        verified.append(hash)
        return verify(self, hash, password)

    monkeypatch.setattr(PasswordHasher, "verify", watched)
    mei = await operator(deps)
    for login in (mei.login, "nobody-at-all", "nobody-else"):
        with pytest.raises(CredentialsWrong):
            await sign_in(deps, login, "wrong horse battery")
    assert verified[0] == mei.password_hash
    parameters = [one.rsplit("$", 2)[0] for one in verified]
    assert len(parameters) == 3
    assert len(set(parameters)) == 1


async def test_a_disabled_account_is_told_so_only_with_the_right_password(deps: Deps) -> None:
    mei = await operator(deps)
    await Operator.filter(id=mei.id).update(disabled_at=deps.clock.now())
    with pytest.raises(CredentialsWrong):
        await sign_in(deps, mei.login, "wrong horse battery")
    with pytest.raises(AccountDisabled):
        await sign_in(deps, mei.login)
    assert not await SessionFamily.exists(subject_id=mei.id)


async def test_a_weaker_hash_is_renewed_at_login(deps: Deps) -> None:
    weak = PasswordHasher(time_cost=1, memory_cost=8 * 1024).hash(PASSWORD)
    mei = await make_operator(deps, password_hash=weak)
    await sign_in(deps, mei.login)
    renewed = (await Operator.get(id=mei.id)).password_hash
    assert renewed != weak
    assert renewed.startswith("$argon2id$")
    await sign_in(deps, mei.login)
    assert (await Operator.get(id=mei.id)).password_hash == renewed


async def test_who_guesses_is_slowed_down_and_the_owner_elsewhere_is_not(deps: Deps) -> None:
    mei = await operator(deps)
    for _ in range(5):
        with pytest.raises(CredentialsWrong):
            await sign_in(deps, mei.login, "wrong horse battery")
    with pytest.raises(TooMany) as refused:
        await sign_in(deps, mei.login)
    assert DAY - timedelta(hours=1) <= timedelta(seconds=refused.value.retry_after_s) <= DAY
    assert (await sign_in(deps, mei.login, ip="198.51.100.7")).operator.id == mei.id


async def test_one_address_may_not_try_many_logins(deps: Deps) -> None:
    for number in range(20):
        with pytest.raises(CredentialsWrong):
            await sign_in(deps, f"guess-{number}", "x" * 200)
    with pytest.raises(TooMany):
        await sign_in(deps, "guess-21", "x" * 200)


async def test_many_addresses_may_not_try_one_login(deps: Deps) -> None:
    for number in range(30):
        with pytest.raises(CredentialsWrong):
            await sign_in(deps, "everybodys-guess", "x" * 200, f"198.51.100.{number}")
    with pytest.raises(TooMany):
        await sign_in(deps, "everybodys-guess", "x" * 200, "198.51.100.200")


async def test_a_refresh_rotates_and_reuse_ends_the_session(deps: Deps, clock: SetClock) -> None:
    mei = await operator(deps)
    first = (await sign_in(deps, mei.login)).tokens
    second = (await verbs.refresh(deps, refresh_token=first.refresh_token, client_ip=IP)).tokens
    assert second.session_id == first.session_id
    with pytest.raises(RefreshInvalid):
        await exchange(deps, Subject.MEMBER, second.refresh_token, clock.now())
    clock.advance(REFRESH_GRACE)
    with pytest.raises(RefreshReused):
        await verbs.refresh(deps, refresh_token=first.refresh_token, client_ip=IP)
    assert await role_of(deps, second.access_token) is None


async def test_logging_out_counts_from_the_next_request_on(deps: Deps) -> None:
    mei = await operator(deps)
    here, there = (await sign_in(deps, mei.login)).tokens, (await sign_in(deps, mei.login)).tokens
    assert await verbs.logout(deps, refresh_token=here.refresh_token)
    assert await role_of(deps, here.access_token) is None
    assert await role_of(deps, there.access_token) == Role.OWNER
    assert await verbs.logout_everywhere(deps, operator_id=mei.id) == 1
    assert await role_of(deps, there.access_token) is None
    assert (await deeds(mei.id))[-1].after == {"sessions_ended": 1}


# --- accounts -----------------------------------------------------------------------------------------------------


async def create(deps: Deps, boss: Operator, login: str, **changes: object) -> Operator:
    given = {
        "password": PASSWORD,
        "role": Role.SUPPORT,
        "display_name": " 小林 ",
        "idempotency_key": key(),
        **changes,
    }
    return await verbs.create(deps, operator_id=boss.id, login=login, **given)  # type: ignore[arg-type]


async def test_an_account_is_made_can_sign_in_and_is_recorded_without_its_password(deps: Deps) -> None:
    boss, login = await operator(deps), f"lin-{new_secret(6)}".lower()
    made = await create(deps, boss, login.upper())
    assert (made.login, made.role, made.display_name) == (login, Role.SUPPORT, "小林")
    assert made.password_hash.startswith("$argon2id$")
    assert (await sign_in(deps, login)).operator.id == made.id
    (row,) = await deeds(boss.id)
    assert (row.action, row.subject_id, row.before) == ("operator.create", str(made.id), None)
    assert row.after == {"login": login, "role": "support", "display_name": "小林"}


async def test_a_repeated_creation_gives_the_first_account(deps: Deps) -> None:
    boss, login, same = await operator(deps), f"lin-{new_secret(6)}".lower(), key()
    first = await create(deps, boss, login, idempotency_key=same)
    again = await create(deps, boss, login, idempotency_key=same)
    assert again.id == first.id
    assert len(await deeds(boss.id)) == 1
    with pytest.raises(KeyReused):
        await create(deps, boss, login, role=Role.FINANCE, idempotency_key=same)


async def test_a_taken_or_odd_login_or_a_weak_password_makes_nothing(deps: Deps) -> None:
    boss = await operator(deps)
    before = await Operator.all().count()
    with pytest.raises(LoginTaken):
        await create(deps, boss, boss.login.upper())
    with pytest.raises(LoginUnfit):
        await create(deps, boss, "a b")
    with pytest.raises(PasswordTooWeak):
        await create(deps, boss, f"lin-{new_secret(6)}".lower(), password="ninechars")
    assert await Operator.all().count() == before
    assert await deeds(boss.id) == []


async def test_a_new_role_counts_from_the_next_request_on(deps: Deps) -> None:
    boss, mei = await operator(deps), await operator(deps, Role.SUPPORT)
    token = await bearer(deps, mei)
    same = key()
    for _ in range(2):
        changed_row = await verbs.set_role(
            deps, operator_id=boss.id, target_id=mei.id, role=Role.FINANCE, idempotency_key=same
        )
        assert changed_row.role == Role.FINANCE
    assert await role_of(deps, token) == Role.FINANCE
    (row,) = await deeds(boss.id)
    assert (row.action, row.before, row.after) == ("operator.set_role", {"role": "support"}, {"role": "finance"})


async def test_disabling_ends_every_session_at_once_and_for_good(deps: Deps) -> None:
    boss, mei = await operator(deps), await operator(deps, Role.SUPPORT)
    tokens = (await sign_in(deps, mei.login)).tokens
    assert (
        await verbs.disable(deps, operator_id=boss.id, target_id=mei.id, idempotency_key=key())
    ).disabled_at == deps.clock.now()
    assert await role_of(deps, tokens.access_token) is None
    with pytest.raises(RefreshInvalid):
        await verbs.refresh(deps, refresh_token=tokens.refresh_token, client_ip=IP)
    await verbs.disable(deps, operator_id=boss.id, target_id=mei.id, idempotency_key=key())
    (row,) = await deeds(boss.id)
    assert row.after == {"disabled": True, "sessions_ended": 1}


async def test_a_disabled_operator_under_way_changes_nothing_any_more(deps: Deps) -> None:
    boss, mei = await operator(deps), await operator(deps)
    await Operator.filter(id=mei.id).update(disabled_at=deps.clock.now())
    with pytest.raises(AccountDisabled):
        await verbs.set_role(deps, operator_id=mei.id, target_id=boss.id, role=Role.STAFF, idempotency_key=key())
    assert (await Operator.get(id=boss.id)).role == Role.OWNER


async def test_the_last_owner_stays_whoever_asks(deps: Deps) -> None:
    await changed("UPDATE operator SET role = 'support' WHERE role = 'owner'")
    boss = await operator(deps)
    with pytest.raises(LastOwner):
        await verbs.disable(deps, operator_id=boss.id, target_id=boss.id, idempotency_key=key())
    with pytest.raises(LastOwner):
        await verbs.set_role(deps, operator_id=boss.id, target_id=boss.id, role=Role.STAFF, idempotency_key=key())
    kept = await Operator.get(id=boss.id)
    assert (kept.role, kept.disabled_at) == (Role.OWNER, None)
    assert await deeds(boss.id) == []
    # Keeping the role is no loss, and with a second owner the first may go.
    await verbs.set_role(deps, operator_id=boss.id, target_id=boss.id, role=Role.OWNER, idempotency_key=key())
    await operator(deps)
    await verbs.disable(deps, operator_id=boss.id, target_id=boss.id, idempotency_key=key())


async def test_an_account_that_is_none_is_refused(deps: Deps) -> None:
    boss, nobody = await operator(deps), new_id(deps.clock.now())
    with pytest.raises(OperatorNotFound):
        await verbs.disable(deps, operator_id=boss.id, target_id=nobody, idempotency_key=key())
    with pytest.raises(OperatorNotFound):
        await verbs.set_role(deps, operator_id=boss.id, target_id=nobody, role=Role.STAFF, idempotency_key=key())


async def change(
    deps: Deps, mei: Operator, session_id: UUID, current: str, new: str = "another horse battery"
) -> Operator:
    return await verbs.change_password(
        deps, operator_id=mei.id, session_id=session_id, current_password=current, new_password=new, client_ip=IP
    )


async def test_a_changed_password_counts_at_once_and_ends_the_other_sessions(deps: Deps) -> None:
    mei = await operator(deps)
    here, there = (await sign_in(deps, mei.login)).tokens, (await sign_in(deps, mei.login)).tokens
    await change(deps, mei, here.session_id, PASSWORD)
    assert await role_of(deps, here.access_token) == Role.OWNER
    assert await role_of(deps, there.access_token) is None
    with pytest.raises(CredentialsWrong):
        await sign_in(deps, mei.login)
    assert (await sign_in(deps, mei.login, "another horse battery")).operator.id == mei.id
    told = [row.after for row in await deeds(mei.id) if row.action == "operator.change_password"]
    assert told == [{"sessions_ended": 1}]


async def test_a_password_is_not_changed_without_the_current_one_or_to_a_weak_one(deps: Deps) -> None:
    mei = await operator(deps)
    token = await bearer(deps, mei)
    with pytest.raises(CredentialsWrong):
        await change(deps, mei, token.session_id, "wrong horse battery")
    for weak in ("", "ninechars", "x" * 129):
        with pytest.raises(PasswordTooWeak):
            await change(deps, mei, token.session_id, PASSWORD, weak)
    assert (await Operator.get(id=mei.id)).password_hash == mei.password_hash


# --- the first owner ----------------------------------------------------------------------------------------------


async def test_where_there_are_operators_no_owner_is_made(deps: Deps) -> None:
    await operator(deps)
    before = await Operator.all().count()
    assert await verbs.ensure_owner(deps, login="owner", password=None) is None
    assert await Operator.all().count() == before


# --- the record ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", ["password", "password_hash", "token", "session_key", "phone", "openid"])
async def test_the_record_never_learns_a_secret(deps: Deps, secret: str) -> None:
    boss = await operator(deps)
    with pytest.raises(AssertionError, match=secret):
        async with transaction():
            await record(boss.id, "member.change", "member", boss.id, None, {secret: "x"}, deps.clock.now())
    assert await deeds(boss.id) == []


async def test_no_record_holds_a_password_or_token_of_these_deeds(deps: Deps) -> None:
    mei = await operator(deps)
    tokens = (await sign_in(deps, mei.login)).tokens
    await change(deps, mei, tokens.session_id, PASSWORD)
    written = orjson.dumps([[row.before, row.after, row.subject_id] for row in await deeds(mei.id)]).decode()
    for secret in (PASSWORD, "another horse battery", tokens.access_token, tokens.refresh_token, "argon2"):
        assert secret not in written


async def test_a_token_signed_with_the_members_key_is_no_operator(deps: Deps) -> None:
    mei = await operator(deps)
    token = await bearer(deps, mei)
    confused = replace(deps, operator_tokens=deps.member_tokens)
    assert await role_of(deps, token) == Role.OWNER
    assert await role_of(confused, token) is None


async def test_an_access_token_ends_with_its_time(deps: Deps, clock: SetClock) -> None:
    token = await bearer(deps, await operator(deps))
    clock.advance(deps.operator_tokens.ttl - timedelta(microseconds=1))
    assert await role_of(deps, token) == Role.OWNER
    clock.advance(timedelta(microseconds=1))
    assert await role_of(deps, token) is None


async def test_only_wrong_passwords_count_as_tries(deps: Deps) -> None:
    boss = await operator(deps)
    for _ in range(25):
        await sign_in(deps, boss.login)
    for _ in range(5):
        with pytest.raises(CredentialsWrong):
            await sign_in(deps, boss.login, "not the password")
    with pytest.raises(TooMany):
        await sign_in(deps, boss.login)
