"""The daily reconciliation: fetch WeChat's bill, hold it against the books, put what differs into the inbox."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from uuid import UUID

import structlog
from tortoise.exceptions import IntegrityError

from loyalty.payments import reconciliation as rule
from loyalty.payments.exception_case import CaseKind
from loyalty.payments.reconciliation import Booking, Finding, MoneyMove
from models.engine import rows, transaction
from models.ids import new_id
from models.keyset import Key, Keyset, Page, Slice, fetch
from models.payments.reconciliation import BillRow, BillRun
from resolvers.deps import Deps
from resolvers.payments.exception_case import cause_gone, open_case
from wechat.bill import TradeBill
from wechat.errors import BillAbsent, BillNotReady, WeChatError

log = structlog.get_logger("youli")

PAID = "SUCCESS"
"""WeChat's word in a bill for a refund that has reached the payer."""

NEWEST = Keyset("bill_run.newest", (Key("day", date),))


async def due(deps: Deps, limit: int) -> Sequence[date]:
    """The days whose bill is ready and not reconciled, oldest first, from the first payment on."""
    first = (await rows("SELECT min(success_at) AS at FROM payment"))[0]["at"]
    if first is None:
        return []
    days = rule.bill_days(now=deps.clock.now(), first=rule.bill_day(first))
    done = {row["day"] for row in await rows("SELECT day FROM bill_run WHERE day = ANY($1::date[])", [list(days)])}
    return [day for day in days if day not in done][:limit]


async def reconcile(deps: Deps, *, day: date) -> BillRun | None:
    """Reconcile a day, once; None while WeChat has no bill of it yet. Harmless to repeat.

    Raises:
        WeChatError: the bill could not be fetched or read.
    """
    bill: TradeBill | None
    try:
        bill = await deps.pay.trade_bill(day)
    except BillAbsent:
        bill = None
    except BillNotReady as error:
        log.info("bill_not_ready", day=day.isoformat())
        await _tell_if_missing(deps, day, error)
        return None
    except WeChatError as error:
        await _tell_if_missing(deps, day, error)
        raise
    try:
        return await _keep(deps, day, bill)
    except IntegrityError:
        # Another worker kept this bill between our look and our write.
        return await BillRun.get(day=day)


async def _tell_if_missing(deps: Deps, day: date, error: WeChatError) -> None:
    now = deps.clock.now()
    if rule.is_missing(day, now):
        told = {"day": day.isoformat(), "error": error.code}
        async with transaction():
            await open_case(kind=CaseKind.BILL_MISSING, key=_missing(day), order_id=None, details=told, now=now)


def _missing(day: date) -> str:
    return f"{CaseKind.BILL_MISSING}:{day.isoformat()}"


async def _keep(deps: Deps, day: date, bill: TradeBill | None) -> BillRun:
    now = deps.clock.now()
    run_id = new_id(now)
    billed = _billed(bill, run_id, now)
    async with transaction():
        run = await BillRun.get_or_none(day=day)
        if run is not None:
            return run
        findings = rule.reconcile(await _ours(day, billed, _paid_back(bill)), _bookings(billed))
        run = await BillRun.create(
            id=run_id,
            day=day,
            payments=sum(row.move == MoneyMove.PAYMENT for row in billed),
            refunds=sum(row.move == MoneyMove.REFUND for row in billed),
            paid_fen=sum(row.amount_fen for row in billed if row.move == MoneyMove.PAYMENT),
            refunded_fen=sum(row.amount_fen for row in billed if row.move == MoneyMove.REFUND),
            differences=len(findings),
            at=now,
        )
        await BillRow.bulk_create(billed, batch_size=1000)
        for finding in findings:
            await _tell(finding, day, now)
        await cause_gone([_missing(day)], how="已对账", now=now)
        return run


def _billed(bill: TradeBill | None, run_id: UUID, now: datetime) -> list[BillRow]:
    found = []
    for row in bill.rows if bill else ():
        refund = row.out_refund_no is not None
        found.append(
            BillRow(
                id=new_id(now),
                run_id=run_id,
                move=MoneyMove.REFUND if refund else MoneyMove.PAYMENT,
                number=row.out_refund_no or row.transaction_id,
                out_trade_no=row.out_trade_no,
                amount_fen=row.requested_refund_fen if refund else row.total_fen,
                at=row.at,
            )
        )
    return found


def _bookings(billed: Sequence[BillRow]) -> list[Booking]:
    return [Booking(move=MoneyMove(row.move), number=row.number, amount_fen=row.amount_fen) for row in billed]


def _paid_back(bill: TradeBill | None) -> list[str]:
    """The numbers of refunds that the bill calls paid."""
    return [row.out_refund_no for row in (bill.rows if bill else ()) if row.out_refund_no and row.refund_status == PAID]


async def _ours(day: date, billed: Sequence[BillRow], paid_back: Sequence[str]) -> list[Booking]:
    """What the bill of the day must have, and whatever else of ours it has.

    What ``paid_back`` names and is closed here, or was paid by hand, is not ours.
    """
    from_, until = rule.day_bounds(day)
    found = await rows(
        "SELECT 'payment' AS move, transaction_id AS number, total_fen AS amount_fen FROM payment "
        "WHERE (success_at >= $1 AND success_at < $2) OR transaction_id = ANY($3::text[]) "
        "UNION ALL "
        "SELECT 'refund', out_refund_no, amount_fen FROM refund WHERE (out_refund_no = ANY($3::text[]) "
        "AND NOT (out_refund_no = ANY($5::text[]) AND (state = 'closed' OR evidence <> ''))) "
        "OR (state = 'succeeded' AND evidence = '' AND finished_at >= $4 AND finished_at < $1 AND NOT EXISTS "
        "(SELECT 1 FROM bill_row WHERE move = 'refund' AND number = out_refund_no))",
        [from_, until, [row.number for row in billed], from_ - timedelta(days=rule.CATCH_UP_DAYS), list(paid_back)],
    )
    return [Booking(move=MoneyMove(row["move"]), number=row["number"], amount_fen=row["amount_fen"]) for row in found]


async def _tell(finding: Finding, day: date, now: datetime) -> None:
    await open_case(
        kind=f"bill_{finding.difference}",
        key=f"bill_{finding.difference}:{finding.move}:{finding.number}",
        order_id=await _order_of(finding),
        details={
            "day": day.isoformat(),
            "move": finding.move,
            "number": finding.number,
            "ours_fen": finding.ours_fen,
            "theirs_fen": finding.theirs_fen,
        },
        now=now,
    )


async def _order_of(finding: Finding) -> UUID | None:
    table, column = ("payment", "transaction_id") if finding.move is MoneyMove.PAYMENT else ("refund", "out_refund_no")
    found = await rows(f"SELECT order_id FROM {table} WHERE {column} = $1", [finding.number])
    return found[0]["order_id"] if found else None


async def runs(*, page: Page) -> Slice[BillRun]:
    """The reconciled days, the latest first."""
    return await fetch(BillRun.all(), page)
