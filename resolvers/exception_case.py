"""The exceptions inbox: what a machine could not finish, one row for each thing."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

import orjson

from loyalty.payment import CaseNotFound, admit_resolution
from models.engine import retried, rows, transaction
from models.ids import new_id
from models.payment import ExceptionCase
from resolvers.audit import record
from resolvers.deps import Deps
from resolvers.operator import lock_operator
from resolvers.replay import remember, replayed


async def open_case(
    *, kind: str, key: str, order_id: UUID | None, details: Mapping[str, object], now: datetime
) -> None:
    """Put something into the inbox, once for each ``key``, in the transaction that met it."""
    await rows(
        "INSERT INTO exception_case (id, kind, key, order_id, details, opened_at, resolution) "
        "VALUES ($1, $2, $3, $4, $5::jsonb, $6, '') ON CONFLICT (key) DO NOTHING",
        [new_id(now), kind, key, order_id, orjson.dumps(dict(details)).decode(), now],
    )


@retried
async def resolve(
    deps: Deps, *, operator_id: UUID, case_id: UUID, resolution: str, idempotency_key: str
) -> ExceptionCase:
    """Settle an open case with a word on how; a case that is settled stays as it is.

    Raises: CaseNotFound (none, or settled already), ResolutionInvalid, KeyInvalid, KeyReused.
    """
    now = deps.clock.now()
    content = {"case_id": str(case_id), "resolution": resolution}
    async with transaction():
        await lock_operator(operator_id)
        before = await replayed(operator_id, key=idempotency_key, operation="exceptionCaseResolve", content=content)
        if before is None:
            admit_resolution(resolution)
            settled = await rows(
                "UPDATE exception_case SET resolved_at = $2, resolved_by_id = $3, resolution = $4 "
                "WHERE id = $1 AND resolved_at IS NULL RETURNING kind",
                [case_id, now, operator_id, resolution.strip()],
            )
            if not settled:
                raise CaseNotFound()
            await record(
                operator_id,
                "exception_case.resolve",
                "exception_case",
                case_id,
                {"kind": settled[0]["kind"]},
                {"resolution": resolution.strip()},
                now,
            )
            await remember(
                operator_id,
                key=idempotency_key,
                operation="exceptionCaseResolve",
                content=content,
                result={"case_id": str(case_id)},
                now=now,
            )
        return await ExceptionCase.get(id=case_id)
