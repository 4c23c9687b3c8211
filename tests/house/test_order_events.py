"""Every line that a verb writes into an order's timeline is of a kind that the API names and describes."""

import ast
from collections.abc import Iterator
from pathlib import Path

from loyalty.orders.order_event import TITLES, OrderEventKind
from loyalty.payments.payment import RefundCause

ROOT = Path(__file__).resolve().parents[2]
VALUES = {kind.value for kind in OrderEventKind}
KINDS = VALUES | {f"OrderEventKind.{kind.name}" for kind in OrderEventKind}
KINDS |= {f"RefundCause.{cause.name}" for cause in RefundCause if cause.value in VALUES}
CAUSES = (RefundCause.LATE_PAYMENT, RefundCause.DUPLICATE_PAYMENT)
"""The kinds that ``resolvers.payments.payment`` names by the cause of a refund instead."""


def notes(source: str) -> Iterator[str]:
    """The kinds of the calls of ``note`` as they are written."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or len(node.args) < 2:
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        if name == "note":
            kind = node.args[1]
            yield str(kind.value) if isinstance(kind, ast.Constant) else ast.unparse(kind)


def test_every_note_of_a_verb_is_of_a_kind_that_is_named() -> None:
    written = {
        (path.name, kind) for path in (ROOT / "resolvers").rglob("*.py") for kind in notes(path.read_text("utf-8"))
    }
    assert ("payment.py", "cause") in written
    unknown = {one for one in written if one[1] not in KINDS} - {("payment.py", "cause")}
    assert unknown == set()
    assert len({kind for _, kind in written}) > 10


def test_a_note_of_another_kind_would_be_noticed() -> None:
    assert list(notes("await note(order.id, 'teleported', now)")) == ["teleported"]
    assert list(notes("await order_row.note(order.id, OrderEventKind.PAID, now)")) == ["OrderEventKind.PAID"]
    assert "teleported" not in KINDS


def test_a_cause_that_is_a_kind_has_its_name() -> None:
    assert {cause.value for cause in CAUSES} <= KINDS


def test_every_kind_is_read_in_both_languages_and_stands_on_the_page() -> None:
    page = (ROOT / "docs" / "rules" / "order.md").read_text(encoding="utf-8")
    for kind in OrderEventKind:
        title = TITLES[kind]
        assert title.zh
        assert title.en
        assert f"| `{kind.value}` |" in page, kind
