"""The exceptions inbox: what a machine could not finish, one row for each thing, until it is settled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import orjson

from loyalty.payments.exception_case import CaseAction, CaseKind, CaseNotFound, admit_action, admit_resolution, due_at
from loyalty.people.operator import OperatorNotFound
from models.engine import changed, retried, rows, transaction
from models.ids import new_id
from models.keyset import Key, Keyset, Page, Slice, fetch
from models.payments.payment import ExceptionCase
from models.people.operator import Operator
from resolvers.deps import Deps
from resolvers.people.audit import record
from resolvers.people.operator import lock_operator
from resolvers.replay import remember, replayed

NEWEST = Keyset("exception_case.newest", (Key("id", UUID),))
SOONEST_DUE = Keyset("exception_case.due", (Key("due_at", datetime, descending=False), Key("id", UUID)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which cases are asked for; what is None or False does not matter. ``owner_id`` is whose they are."""

    open_only: bool = True
    overdue_only: bool = False
    kind: CaseKind | None = None
    owner_id: UUID | None = None


async def open_case(
    *, kind: str, key: str, order_id: UUID | None, details: Mapping[str, object], now: datetime
) -> None:
    """Put something into the inbox, once for each ``key``, in the transaction that met it."""
    await rows(
        "INSERT INTO exception_case (id, kind, key, order_id, details, opened_at, due_at, resolution) "
        "VALUES ($1, $2, $3, $4, $5::jsonb, $6, $7, '') ON CONFLICT (key) DO NOTHING",
        [new_id(now), kind, key, order_id, orjson.dumps(dict(details)).decode(), now, due_at(CaseKind(kind), now)],
    )


async def cause_gone(keys: Sequence[str], *, how: str, now: datetime) -> None:
    """Settle what is open under these keys, in nobody's name, in the transaction that did away with the cause."""
    await changed(
        "UPDATE exception_case SET resolved_at = $2, resolution = $3 WHERE key = ANY($1::text[]) "
        "AND resolved_at IS NULL",
        [list(keys), now, how],
    )


async def settled_by(operator_id: UUID, case: ExceptionCase, *, action: str, how: str, now: datetime) -> None:
    """Settle a case in an operator's name, with its audit row, in the transaction of the deed.

    Raises: CaseNotFound (somebody was faster).
    """
    settled = await changed(
        "UPDATE exception_case SET resolved_at = $2, resolved_by_id = $3, resolution = $4 "
        "WHERE id = $1 AND resolved_at IS NULL",
        [case.id, now, operator_id, how],
    )
    if not settled:
        raise CaseNotFound()
    before, after = {"kind": case.kind}, {"resolution": how}
    await record(operator_id, f"exception_case.{action}", "exception_case", case.id, before, after, now)


async def open_one(case_id: UUID) -> ExceptionCase:
    """The case, if it is open. Raises: CaseNotFound."""
    case = await ExceptionCase.get_or_none(id=case_id, resolved_at__isnull=True)
    if case is None:
        raise CaseNotFound()
    return case


@retried
async def resolve(
    deps: Deps, *, operator_id: UUID, case_id: UUID, resolution: str, idempotency_key: str
) -> ExceptionCase:
    """Settle an open case with a word on how; a case that is settled stays as it is.

    Raises: CaseNotFound (none, or settled already), CaseActionRefused (words alone do not settle its kind),
        ResolutionInvalid, KeyInvalid, KeyReused.
    """
    now = deps.clock.now()
    key, operation = idempotency_key, "exceptionCaseResolve"
    content = {"case_id": str(case_id), "resolution": resolution}
    async with transaction():
        await lock_operator(operator_id)
        if await replayed(operator_id, key=key, operation=operation, content=content) is None:
            admit_resolution(resolution)
            case = await open_one(case_id)
            admit_action(CaseKind(case.kind), CaseAction.RESOLVE)
            await settled_by(operator_id, case, action="resolve", how=resolution.strip(), now=now)
            await remember(operator_id, key=key, operation=operation, content=content, result={}, now=now)
        return await ExceptionCase.get(id=case_id)


@retried
async def assign(
    deps: Deps, *, operator_id: UUID, case_id: UUID, owner_id: UUID | None, idempotency_key: str
) -> ExceptionCase:
    """Make an operator the owner of an open case, or nobody.

    Raises: CaseNotFound, OperatorNotFound (none, or disabled), KeyInvalid, KeyReused.
    """
    now = deps.clock.now()
    key, operation = idempotency_key, "exceptionCaseAssign"
    content = {"case_id": str(case_id), "owner_id": str(owner_id) if owner_id else None}
    async with transaction():
        await lock_operator(operator_id)
        if await replayed(operator_id, key=key, operation=operation, content=content) is None:
            case = await open_one(case_id)
            if owner_id is not None and not await Operator.exists(id=owner_id, disabled_at__isnull=True):
                raise OperatorNotFound
            given = await changed(
                "UPDATE exception_case SET owner_id = $2 WHERE id = $1 AND resolved_at IS NULL", [case_id, owner_id]
            )
            if not given:
                raise CaseNotFound()
            before = {"owner_id": str(case.owner_id) if case.owner_id else None}
            await record(
                operator_id,
                "exception_case.assign",
                "exception_case",
                case_id,
                before,
                {"owner_id": content["owner_id"]},
                now,
            )
            await remember(operator_id, key=key, operation=operation, content=content, result={}, now=now)
        return await ExceptionCase.get(id=case_id)


async def browse(deps: Deps, *, page: Page, wanted: Wanted) -> Slice[ExceptionCase]:
    """The cases asked for, newest first or by deadline, as the page's keyset says."""
    found = ExceptionCase.all()
    if wanted.open_only or wanted.overdue_only:
        found = found.filter(resolved_at__isnull=True)
    if wanted.overdue_only:
        found = found.filter(due_at__lte=deps.clock.now())
    if wanted.kind is not None:
        found = found.filter(kind=wanted.kind)
    if wanted.owner_id is not None:
        found = found.filter(owner_id=wanted.owner_id)
    return await fetch(found, page)
