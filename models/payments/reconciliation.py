"""WeChat Pay's trade bills as they were read, and how each compared with our books."""

from uuid import UUID

from tortoise import fields

from models.base import Row, reference


class BillRun(Row):
    """The reconciliation of one day, done once (unique). Totals are what the bill says, in fen."""

    day = fields.DateField(unique=True)
    payments = fields.IntField()
    refunds = fields.IntField()
    paid_fen = fields.BigIntField()
    refunded_fen = fields.BigIntField()
    differences = fields.IntField()
    at = fields.DatetimeField()

    class Meta:
        table = "bill_run"


class BillRow(Row):
    """One move of money of a bill; ``move`` is a ``loyalty.payments.reconciliation.MoneyMove``.

    Never changed (trigger).
    """

    run_id: UUID
    run = reference("BillRun")
    move = fields.CharField(max_length=16)
    number = fields.CharField(max_length=64)
    out_trade_no = fields.CharField(max_length=32)
    amount_fen = fields.BigIntField()
    at = fields.DatetimeField()

    class Meta:
        table = "bill_row"
        unique_together = (("move", "number"),)
