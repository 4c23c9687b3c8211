"""Operators: the accounts of those who run the store."""

from uuid import UUID

from loyalty.session import AccountDisabled
from models.engine import in_transaction
from models.operator import Operator


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
