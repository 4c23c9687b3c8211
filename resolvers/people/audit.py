"""What operators did, one row for each deed, written in the deed's own transaction."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from models.engine import in_transaction
from models.ids import new_id
from models.keyset import Key, Keyset, Page, Slice, fetch
from models.people.operator import AuditRow
from resolvers.deps import Deps

NEWEST = Keyset("audit.newest", (Key("id", UUID),))
MAX_KIND_LENGTH = 32
MAX_SUBJECT_LENGTH = 64
"""What the columns hold; nothing longer was ever written, and the query builder refuses to ask for it."""

SECRETS = frozenset({"password", "password_hash", "token", "token_hash", "session_key", "secret", "phone", "openid"})


async def record(
    operator_id: UUID,
    action: str,
    subject_kind: str,
    subject_id: UUID | str,
    before: Mapping[str, object] | None,
    after: Mapping[str, object] | None,
    now: datetime,
) -> None:
    """Keep that an operator did ``action`` (such as ``product.publish``) to a subject, in the same transaction.

    ``before`` and ``after`` are the changed fields as JSON values; None where there was nothing before or is nothing
    after. A secret among them is a mistake of ours.
    """
    assert in_transaction(), "a deed and its record are kept together or not at all"
    told = SECRETS.intersection((*(before or {}), *(after or {})))
    assert not told, f"the audit log never learns {sorted(told)}"
    await AuditRow.create(
        id=new_id(now),
        operator_id=operator_id,
        action=action,
        subject_kind=subject_kind,
        subject_id=str(subject_id),
        before=None if before is None else dict(before),
        after=None if after is None else dict(after),
        at=now,
    )


async def browse(
    deps: Deps,
    *,
    page: Page,
    operator_id: UUID | None = None,
    subject_kind: str | None = None,
    subject_id: str | None = None,
) -> Slice[AuditRow]:
    """What was done, newest first: all of it, or by one operator, or to one subject."""
    wanted = {"operator_id": operator_id, "subject_kind": subject_kind, "subject_id": subject_id}
    if len(subject_kind or "") > MAX_KIND_LENGTH or len(subject_id or "") > MAX_SUBJECT_LENGTH:
        return await fetch(AuditRow.filter(id__in=[]), page)
    return await fetch(AuditRow.filter(**{name: value for name, value in wanted.items() if value is not None}), page)
