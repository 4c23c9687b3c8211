"""Operators: the accounts of those who run the store, and their sessions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from tortoise.exceptions import IntegrityError

from cache.rate_limit import Limit, give_back, network_of, take
from loyalty.people.operator import MAX_LOGIN_LENGTH, LoginTaken, OperatorNotFound, admit_loss, fit_login, fit_name
from loyalty.people.rights import Role
from loyalty.people.session import MAX_PASSWORD_LENGTH, AccountDisabled, CredentialsWrong, admit_password
from models.engine import in_transaction, retried, rows, transaction
from models.ids import new_id, new_secret
from models.keyset import Key, Keyset, Page, Slice, fetch
from models.people.operator import Operator
from resolvers.deps import Deps
from resolvers.people import password as passwords
from resolvers.people.audit import record
from resolvers.people.session_family import Subject, TokenPair, end_all, end_by_token, exchange, open_family
from resolvers.replay import remember, replayed

log = structlog.get_logger(__name__)

NEWEST = Keyset("operator.newest", (Key("id", UUID),))
ACCOUNTS_LOCK = 7_305_551_201
GENERATED_PASSWORD_BYTES = 12

TRIES_BY_LOGIN_AND_ADDRESS = Limit("login_address", burst=5, every=timedelta(seconds=30))
TRIES_BY_LOGIN = Limit("login", burst=30, every=timedelta(seconds=20))
TRIES_BY_ADDRESS = Limit("address", burst=20, every=timedelta(seconds=10))
"""One who guesses is slowed down after five tries; many who guess together, after thirty, at 4,320 a day.

The owner, at another address, still gets in between them.
"""
REFRESHES_BY_ADDRESS = Limit("address", burst=60, every=timedelta(seconds=1))


@dataclass(frozen=True, slots=True)
class OperatorSignedIn:
    """An operator and what their console keeps."""

    operator: Operator
    tokens: TokenPair


async def lock_operator(operator_id: UUID) -> Operator:
    """Lock the acting operator until the transaction ends: what one operator does happens one thing at a time.

    Raises:
        AccountDisabled: the account was disabled since the request was let in.
    """
    assert in_transaction(), "a lock outside a transaction protects nothing"
    operator = await Operator.filter(id=operator_id).select_for_update(no_key=True).get()
    if operator.disabled_at is not None:
        raise AccountDisabled
    return operator


# --- sessions -----------------------------------------------------------------------------------------------------


async def login(deps: Deps, *, login: str, password: str, client_ip: str) -> OperatorSignedIn:
    """Open a session for the operator with this login and password.

    Only wrong passwords count as tries.

    Raises:
        TooMany: too many tries for this login or from this address.
        CredentialsWrong: no such operator, or not the password; it takes equally long.
        AccountDisabled: the password is right and the account disabled.
    """
    now = deps.clock.now()
    name, network = login.strip().lower(), network_of(client_ip)
    tries = (
        (TRIES_BY_LOGIN_AND_ADDRESS, f"{name} {network}"),
        (TRIES_BY_LOGIN, name),
        (TRIES_BY_ADDRESS, network),
    )
    await take(deps.redis, "operatorLogin", *tries)
    operator = await Operator.get_or_none(login=name) if len(name) <= MAX_LOGIN_LENGTH else None
    if len(password) > MAX_PASSWORD_LENGTH or not await passwords.matches(
        operator.password_hash if operator else None, password
    ):
        log.warning("operator login failed", operator_id=operator and operator.id)
        raise CredentialsWrong
    assert operator is not None, "nobody's password never matches"
    await give_back(deps.redis, "operatorLogin", *tries)
    renewed = await passwords.hashed(password) if passwords.outdated(operator.password_hash) else None
    return await _sign_in(deps, operator.id, operator.password_hash, renewed, now)


@retried
async def _sign_in(
    deps: Deps, operator_id: UUID, matched_hash: str, renewed_hash: str | None, now: datetime
) -> OperatorSignedIn:
    async with transaction():
        operator = await lock_operator(operator_id)
        if operator.password_hash != matched_hash:
            raise CredentialsWrong
        if renewed_hash is not None:
            operator.password_hash = renewed_hash
            await operator.save(update_fields=["password_hash"])
        tokens = await open_family(deps, Subject.OPERATOR, operator.id, now)
        await record(operator.id, "operator.login", "session", tokens.session_id, None, None, now)
        return OperatorSignedIn(operator, tokens)


async def refresh(deps: Deps, *, refresh_token: str, client_ip: str) -> OperatorSignedIn:
    """Exchange a refresh token for a new pair. Within the grace the same token gives the same pair again.

    Raises:
        TooMany: too many from this address.
        RefreshInvalid, RefreshReused, AccountDisabled: see ``session_family.exchange``.
    """
    await take(deps.redis, "operatorRefresh", (REFRESHES_BY_ADDRESS, network_of(client_ip)))
    operator_id, tokens = await exchange(deps, Subject.OPERATOR, refresh_token, deps.clock.now())
    return OperatorSignedIn(await Operator.get(id=operator_id), tokens)


async def logout(deps: Deps, *, refresh_token: str) -> bool:
    """End the session of a refresh token; whether there was one to end. Harmless to repeat."""
    return await end_by_token(deps, Subject.OPERATOR, refresh_token, deps.clock.now())


@retried
async def logout_everywhere(deps: Deps, *, operator_id: UUID) -> int:
    """End every session of the acting operator; how many there were."""
    now = deps.clock.now()
    async with transaction():
        await lock_operator(operator_id)
        gone = await end_all(Subject.OPERATOR, operator_id, reason="logout_everywhere", now=now)
        await record(
            operator_id, "operator.logout_everywhere", "operator", operator_id, None, {"sessions_ended": len(gone)}, now
        )
    return len(gone)


# --- accounts -----------------------------------------------------------------------------------------------------


async def create(
    deps: Deps,
    *,
    operator_id: UUID,
    login: str,
    password: str,
    role: Role,
    display_name: str,
    idempotency_key: str,
) -> Operator:
    """Make an account, for somebody who changes the password at first use.

    Raises:
        LoginUnfit, OperatorNameUnfit, PasswordTooWeak: in this order.
        LoginTaken: another account has the login.
        KeyInvalid, KeyReused: see ``resolvers.replay``.
    """
    name, shown = fit_login(login), fit_name(display_name)
    admit_password(password)
    password_hash = await passwords.hashed(password)
    try:
        return await _create(deps, operator_id, name, password_hash, role, shown, idempotency_key)
    except IntegrityError:
        raise LoginTaken from None


@retried
async def _create(
    deps: Deps, operator_id: UUID, login: str, password_hash: str, role: Role, display_name: str, key: str
) -> Operator:
    now = deps.clock.now()
    content = {"login": login, "role": role.value, "display_name": display_name}
    async with transaction():
        await lock_operator(operator_id)
        before = await replayed(operator_id, key=key, operation="operatorCreate", content=content)
        if before is not None:
            return await Operator.get(id=before["operator_id"])
        if await Operator.exists(login=login):
            raise LoginTaken
        made = await _make(login, password_hash, role, display_name, now)
        await record(operator_id, "operator.create", "operator", made.id, None, content, now)
        await remember(
            operator_id, key=key, operation="operatorCreate", content=content, result={"operator_id": str(made.id)},
            now=now,
        )  # fmt: skip
        return made


@retried
async def set_role(deps: Deps, *, operator_id: UUID, target_id: UUID, role: Role, idempotency_key: str) -> Operator:
    """Give an account another role, which counts from its next request on.

    Raises:
        OperatorNotFound: there is no such account.
        LastOwner: nobody would be left who can sign in as owner.
        KeyInvalid, KeyReused: see ``resolvers.replay``.
    """
    now = deps.clock.now()
    content = {"target_id": str(target_id), "role": role.value}
    async with transaction():
        target = await _lock_accounts(operator_id, target_id)
        before = await replayed(operator_id, key=idempotency_key, operation="operatorSetRole", content=content)
        if before is None:
            if target.role != role:
                admit_loss(role=target.role, disabled=target.disabled_at is not None, owners=await _owners())
                told = {"role": target.role}
                target.role = role.value
                await target.save(update_fields=["role"])
                await record(operator_id, "operator.set_role", "operator", target.id, told, {"role": role.value}, now)
            await remember(
                operator_id, key=idempotency_key, operation="operatorSetRole", content=content, result={}, now=now
            )
        return target


@retried
async def disable(deps: Deps, *, operator_id: UUID, target_id: UUID, idempotency_key: str) -> Operator:
    """Disable an account and end its sessions, at once and for good. An account that is disabled already stays so.

    Raises:
        OperatorNotFound: there is no such account.
        LastOwner: nobody would be left who can sign in as owner.
        KeyInvalid, KeyReused: see ``resolvers.replay``.
    """
    now = deps.clock.now()
    content = {"target_id": str(target_id)}
    async with transaction():
        target = await _lock_accounts(operator_id, target_id)
        before = await replayed(operator_id, key=idempotency_key, operation="operatorDisable", content=content)
        if before is None:
            if target.disabled_at is None:
                admit_loss(role=target.role, disabled=False, owners=await _owners())
                target.disabled_at = now
                await target.save(update_fields=["disabled_at"])
                gone = await end_all(Subject.OPERATOR, target.id, reason="disabled", now=now)
                after = {"disabled": True, "sessions_ended": len(gone)}
                await record(operator_id, "operator.disable", "operator", target.id, {"disabled": False}, after, now)
            await remember(
                operator_id, key=idempotency_key, operation="operatorDisable", content=content, result={}, now=now
            )
        return target


async def change_password(
    deps: Deps, *, operator_id: UUID, session_id: UUID, current_password: str, new_password: str, client_ip: str
) -> Operator:
    """Change the acting operator's own password and end all their other sessions.

    There is no idempotency key: the current password already makes sure that it happens once.

    Raises:
        TooMany: too many tries.
        PasswordTooWeak: the new one.
        CredentialsWrong: the current one.
    """
    admit_password(new_password)
    await take(
        deps.redis,
        "operatorChangePassword",
        (TRIES_BY_LOGIN_AND_ADDRESS, str(operator_id)),
        (TRIES_BY_ADDRESS, network_of(client_ip)),
    )
    operator = await Operator.get(id=operator_id)
    if len(current_password) > MAX_PASSWORD_LENGTH or not await passwords.matches(
        operator.password_hash, current_password
    ):
        raise CredentialsWrong
    return await _set_password(
        deps, operator_id, session_id, operator.password_hash, await passwords.hashed(new_password)
    )


@retried
async def _set_password(deps: Deps, operator_id: UUID, session_id: UUID, matched_hash: str, new_hash: str) -> Operator:
    now = deps.clock.now()
    async with transaction():
        operator = await lock_operator(operator_id)
        if operator.password_hash != matched_hash:
            raise CredentialsWrong
        operator.password_hash = new_hash
        await operator.save(update_fields=["password_hash"])
        gone = await end_all(Subject.OPERATOR, operator_id, reason="password_changed", now=now, keep=session_id)
        await record(
            operator_id, "operator.change_password", "operator", operator_id, None, {"sessions_ended": len(gone)}, now
        )
        return operator


async def ensure_owner(deps: Deps, *, login: str, password: str | None) -> str | None:
    """Make the first owner while there is no operator at all; any number of processes may ask at once.

    Returns the password that was made up because none was given: it is shown once and kept nowhere.

    Raises:
        LoginUnfit, PasswordTooWeak: the settings ask for what is not allowed.
    """
    if await Operator.exists():
        return None
    name = fit_login(login)
    chosen = password or new_secret(GENERATED_PASSWORD_BYTES)
    admit_password(chosen)
    password_hash = await passwords.hashed(chosen)
    now = deps.clock.now()
    async with transaction():
        await rows("SELECT pg_advisory_xact_lock($1)::text", [ACCOUNTS_LOCK])
        if await Operator.exists():
            return None
        owner = await _make(name, password_hash, Role.OWNER, "", now)
        after = {"login": name, "role": Role.OWNER.value}
        await record(owner.id, "operator.create", "operator", owner.id, None, after, now)
    return None if password else chosen


async def browse(deps: Deps, *, page: Page) -> Slice[Operator]:
    """All accounts, disabled ones too, newest first."""
    return await fetch(Operator.all(), page)


async def by_ids(deps: Deps, ids: Sequence[UUID]) -> Mapping[UUID, Operator]:
    """Accounts by id, for loaders."""
    return {row.id: row for row in await Operator.filter(id__in=list(ids))}


async def _make(login: str, password_hash: str, role: Role, display_name: str, now: datetime) -> Operator:
    return await Operator.create(
        id=new_id(now),
        login=login,
        display_name=display_name,
        password_hash=password_hash,
        role=role.value,
        created_at=now,
    )


async def _lock_accounts(operator_id: UUID, target_id: UUID) -> Operator:
    """The account to change. All changes of accounts happen one at a time, or two owners could remove each other."""
    await rows("SELECT pg_advisory_xact_lock($1)::text", [ACCOUNTS_LOCK])
    await lock_operator(operator_id)
    target = await Operator.filter(id=target_id).select_for_update(no_key=True).first()
    if target is None:
        raise OperatorNotFound
    return target


async def _owners() -> int:
    return await Operator.filter(role=Role.OWNER.value, disabled_at=None).count()
