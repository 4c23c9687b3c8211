"""The daily reconciliation with WeChat Pay, for operators."""

from datetime import date, datetime

import strawberry

from loyalty.people.rights import Right
from models.payments.reconciliation import BillRun as BillRunRow
from resolvers.payments import reconciliation as verbs
from schema.context import Info
from schema.paging import After, Connection, First, connection, page
from schema.permissions import Needs
from schema.scalars import Fen


@strawberry.type(description="One day's trade bill of WeChat Pay held against our books. Totals are the bill's.")
class BillRun:
    """One reconciled day."""

    day: date = strawberry.field(description="The day, in China Standard Time.")
    payments: int = strawberry.field(description="How many payments the bill has.")
    refunds: int = strawberry.field(description="How many refunds the bill has.")
    paid: Fen = strawberry.field(description="What was paid, in fen.")
    refunded: Fen = strawberry.field(description="What was asked back, in fen.")
    differences: int = strawberry.field(
        description="How many entries differ; each is a case of kind bill_ours_only, bill_theirs_only or "
        "bill_amount_differs in `exceptionCases`."
    )
    at: datetime = strawberry.field(description="When it was reconciled.")

    @classmethod
    def from_row(cls, row: BillRunRow) -> "BillRun":
        return cls(
            day=row.day,
            payments=row.payments,
            refunds=row.refunds,
            paid=Fen(row.paid_fen),
            refunded=Fen(row.refunded_fen),
            differences=row.differences,
            at=row.at,
        )


@strawberry.type
class OperatorQuery:
    """Reconciled days."""

    @strawberry.field(description="The reconciled days, the latest first.", extensions=[Needs(Right.PAYMENT_READ)])
    async def bill_runs(self, info: Info, first: First = 20, after: After = None) -> Connection[BillRun]:
        found = await verbs.runs(page=page(verbs.NEWEST, first, after))
        return connection(found, BillRun.from_row)
