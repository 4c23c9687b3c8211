"""Notices of WeChat Pay: kept as they came, then applied once, at once or by the sweep."""

from datetime import timedelta
from uuid import UUID

import orjson
import structlog

from loyalty.payments.payment import NoticeOutcome
from models.engine import rows, transaction
from models.ids import new_id
from resolvers.deps import Deps
from resolvers.payments import payment, refund_end
from resolvers.payments.exception_case import cause_gone, open_case
from wechat.errors import WeChatError
from wechat.pay_types import Notice, RefundNotice, Transaction

log = structlog.get_logger()

LEASE = timedelta(seconds=30)
RETRY = timedelta(minutes=2)
MOST_TRIES = 10
"""After so many failures a notice waits for a person; the payment itself is still found by polling."""


async def receive(deps: Deps, notice: Notice) -> UUID | None:
    """Keep a verified notice; its id, or None when it came before."""
    now = deps.clock.now()
    made = await rows(
        "INSERT INTO payment_notice (id, notice_id, event_type, body, resource, received_at, due_at, tries) "
        "VALUES ($1, $2, $3, $4, $5::jsonb, $6, $7, 0) ON CONFLICT (notice_id) DO NOTHING RETURNING id",
        [
            new_id(now),
            notice.id,
            notice.event_type,
            notice.raw.decode(),
            orjson.dumps(notice.resource).decode(),
            now,
            now + LEASE,
        ],
    )
    return made[0]["id"] if made else None


async def handle(deps: Deps, *, notice_row_id: UUID, resource: Transaction | RefundNotice) -> NoticeOutcome:
    """Apply what a notice says and remember how that ended."""
    if isinstance(resource, RefundNotice):
        outcome = NoticeOutcome.APPLIED if await refund_end.conclude(deps, resource) else NoticeOutcome.UNKNOWN_ORDER
    elif resource.paid:
        outcome = await payment.apply(deps, resource)
    else:
        outcome = NoticeOutcome.IGNORED
    await _handled(deps, notice_row_id, outcome)
    return outcome


async def _handled(deps: Deps, notice_row_id: UUID, outcome: NoticeOutcome) -> None:
    now = deps.clock.now()
    async with transaction():
        handled = await rows(
            "UPDATE payment_notice SET outcome = $2, handled_at = $3, due_at = NULL WHERE id = $1 RETURNING notice_id",
            [notice_row_id, outcome, now],
        )
        await cause_gone([f"notice_stuck:{row['notice_id']}" for row in handled], how="通知已处理", now=now)


async def claim_due(deps: Deps, limit: int) -> list[UUID]:
    """Ids of notices that were kept but not applied, each leased to the caller until its next try."""
    now = deps.clock.now()
    async with transaction():
        claimed = await rows(
            "UPDATE payment_notice SET tries = tries + 1, due_at = CASE WHEN tries + 1 < $3 THEN $2::timestamptz END "
            "WHERE id IN (SELECT id FROM payment_notice WHERE due_at <= $1 ORDER BY due_at LIMIT $4 "
            "FOR UPDATE SKIP LOCKED) RETURNING id, notice_id, due_at",
            [now, now + RETRY, MOST_TRIES, limit],
        )
        for row in claimed:
            if row["due_at"] is None:
                await open_case(
                    kind="notice_stuck",
                    key=f"notice_stuck:{row['notice_id']}",
                    order_id=None,
                    details={"notice_id": row["notice_id"]},
                    now=now,
                )
    return [row["id"] for row in claimed]


async def retry(deps: Deps, *, notice_row_id: UUID) -> None:
    """Ask WeChat how the payment or refund of a kept notice stands today, and book that, if WeChat says it."""
    kept = (await rows("SELECT resource FROM payment_notice WHERE id = $1", [notice_row_id]))[0]
    resource = orjson.loads(kept["resource"])
    outcome: NoticeOutcome | None
    if "out_refund_no" in resource:
        outcome = await _refund_asked_about(deps, resource["out_refund_no"])
    else:
        outcome = await payment.query(deps, out_trade_no=resource["out_trade_no"])
    if outcome is not None:
        await _handled(deps, notice_row_id, outcome)


async def _refund_asked_about(deps: Deps, out_refund_no: str) -> NoticeOutcome | None:
    try:
        found = await deps.pay.query_refund(out_refund_no)
    except WeChatError as error:
        log.warning("query_failed", error=error.code)
        return None
    return NoticeOutcome.APPLIED if await refund_end.conclude(deps, found) else NoticeOutcome.UNKNOWN_ORDER
