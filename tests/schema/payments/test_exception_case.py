"""What a machine could not finish, through both doors: what the member reads, what the inbox says, what settles it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from jobs.sweeps import SWEEPS
from loyalty.payments.refund import MOST_REFUNDS, REFUNDED_WITHIN
from loyalty.people.rights import Role
from models.ids import new_secret
from models.orders.order import Order
from models.people.member import Member
from models.people.operator import Operator
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.invariants.verify import verify
from tests.doors import Door, bearer, make_operator
from tests.fulfilled import paid_order
from tests.sandbox_server import SandboxControl
from tests.store_server import reachable

PREVIEW = """
query($id: ID!, $lines: [RefundLineInput!]) {
  done: afterSalePreview(orderId: $id, lines: $lines) {
    ... on RefundEffect { digest cash byHand byHandNote } ... on Refusal { code }
  }
}
"""
REFUND_LINES = """
mutation($id: ID!, $lines: [RefundLineInput!]!, $expected: String, $key: IdempotencyKey!) {
  done: orderRefundLines(orderId: $id, lines: $lines, reason: "退货", expected: $expected, idempotencyKey: $key) {
    ... on OrderRefunded { order { state refunded refunding refunds { state lastError } } } ... on Refusal { code }
  }
}
"""
REFUND = """
mutation($id: ID!, $key: IdempotencyKey!) {
  done: orderRefund(orderId: $id, reason: "缺货", idempotencyKey: $key) {
    ... on OrderRefunded { order { state } } ... on Refusal { code }
  }
}
"""
REQUEST = """
mutation($id: ID!, $lines: [RefundLineInput!]!, $expected: String, $key: IdempotencyKey!) {
  done: afterSaleRequest(
    orderId: $id
    input: {kind: REFUND_ONLY, reason: NO_REASON, lines: $lines, expected: $expected}
    idempotencyKey: $key
  ) { ... on AfterSaleChanged { afterSale { id state } } ... on Refusal { code } }
}
"""
REQUESTED = """
query($id: ID!) {
  done: afterSaleRequestPreview(id: $id) { ... on RefundEffect { digest cash byHand } ... on Refusal { code } }
}
"""
APPROVE = """
mutation($id: ID!, $expected: String, $key: IdempotencyKey!) {
  done: afterSaleApprove(id: $id, expected: $expected, idempotencyKey: $key) {
    ... on AfterSaleDecided { afterSale { state } } ... on Refusal { code }
  }
}
"""
ASK_ANEW = """
mutation($id: ID!, $key: IdempotencyKey!) {
  done: orderRefundAskAnew(orderRefundId: $id, idempotencyKey: $key) { __typename ... on Refusal { code message } }
}
"""
CASES = """
query($kind: ExceptionCaseKind) {
  done: exceptionCases(kind: $kind) { nodes { id kind orderId details actions dueAt cause } }
}
"""
BY_HAND = """
mutation($id: ID!, $key: IdempotencyKey!) {
  done: exceptionCasePaidByHand(id: $id, evidence: "银行转账 8812", idempotencyKey: $key) {
    ... on ExceptionCaseChanged { exceptionCase { resolvedById resolution actions } } ... on Refusal { code }
  }
}
"""
RETURN = """
mutation($id: ID!, $key: IdempotencyKey!) {
  done: exceptionCaseRefund(id: $id, reason: "再退一次", idempotencyKey: $key) {
    ... on ExceptionCaseChanged { exceptionCase { resolvedById } } ... on Refusal { code }
  }
}
"""
RETRY = """
mutation($id: ID!, $key: IdempotencyKey!) {
  done: exceptionCaseRetry(id: $id, idempotencyKey: $key) {
    ... on ExceptionCaseChanged { exceptionCase { resolvedById resolution } } ... on Refusal { code }
  }
}
"""
RESOLVE = """
mutation($id: ID!, $key: IdempotencyKey!) {
  done: exceptionCaseResolve(id: $id, resolution: "已与会员约定", idempotencyKey: $key) {
    ... on ExceptionCaseResolved { exceptionCase { resolvedById resolution } } ... on Refusal { code }
  }
}
"""
SEND = """
mutation($id: ID!, $number: String!, $key: IdempotencyKey!) {
  done: parcelCreate(input: {orderId: $id, carrier: "YTO", trackingNumber: $number}, idempotencyKey: $key) {
    ... on ParcelKept { parcel { id } } ... on Refusal { code }
  }
}
"""
VOID = """
mutation($id: ID!) { done: parcelVoid(parcelId: $id) { ... on ParcelKept { parcel { id } } ... on Refusal { code } } }
"""
MINE = """
query($id: ID!) {
  done: order(id: $id) {
    state refunded refunding fulfilment refundParts { id state effect { byHand byHandNote } } timeline { event title }
  }
}
"""


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(own_store_url: str) -> str:
    """A store of its own: the inbox is looked at as a whole."""
    return own_store_url


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def deps(deps: Deps) -> AsyncIterator[Deps]:
    """A store that WeChat can reach; its books hold after every test."""
    async with reachable(deps) as reached:
        yield reached
    assert {found.invariant.name: found.offenders for found in await verify() if found.offenders} == {}


@dataclass(frozen=True)
class Counter:
    """One paid order, its member at one door and an operator of finance and support at the other."""

    deps: Deps
    clock: SetClock
    wechat: SandboxControl
    shop: Door
    admin: Door
    order: Order
    lines: list[Any]
    boss: Operator

    async def member(self, document: str, **variables: object) -> dict[str, Any]:
        """What the member is answered, in Chinese."""
        token = await bearer(self.deps, await Member.get(id=self.order.member_id))
        given = {"id": str(self.order.id), **variables}
        found: dict[str, Any] = (await self.shop.ask(document, given, token=token))["done"]
        return found

    async def operator(self, document: str, **variables: object) -> dict[str, Any]:
        """What the operator is answered, in English."""
        given = {"id": str(self.order.id), "key": new_secret(12), **variables}
        token = await bearer(self.deps, self.boss)
        found: dict[str, Any] = (await self.admin.ask(document, given, token=token, accept_language="en"))["done"]
        return found

    async def inbox(self, kind: str) -> list[dict[str, Any]]:
        """The open cases of a kind, newest first."""
        cases: list[dict[str, Any]] = (await self.operator(CASES, kind=kind))["nodes"]
        assert all(case["orderId"] == str(self.order.id) for case in cases)
        return cases

    async def told(self) -> list[str]:
        """The timeline as the member reads it, from the payment on."""
        timeline = (await self.member(MINE))["timeline"]
        return [line["event"] for line in timeline if line["event"] not in ("PLACED", "PAID")]

    async def passes(self, span: timedelta, *sweeps: str) -> None:
        """Time passes, and the clock does what is due."""
        self.clock.advance(span)
        await self.wechat.advance(span.total_seconds())
        for sweep in SWEEPS:
            if sweep.name in sweeps:
                await sweep.round(self.deps)

    def pieces(self, quantity: int) -> list[dict[str, Any]]:
        """So many pieces of the order's first line."""
        return [{"lineId": str(self.lines[0]), "quantity": quantity}]


async def counter(
    deps: Deps, clock: SetClock, wechat: SandboxControl, shop: Door, admin: Door, quantity: int = 1
) -> Counter:
    order, lines = await paid_order(deps, wechat, quantity, price_fen=1_000)
    boss = await make_operator(deps, Role.OWNER)
    return Counter(deps, clock, wechat, shop, admin, order, lines, boss)


async def test_the_fifty_first_refund_is_foreseen_refused_to_words_and_paid_by_hand(
    deps: Deps, clock: SetClock, wechat: SandboxControl, shop: Door, admin: Door
) -> None:
    here = await counter(deps, clock, wechat, shop, admin, MOST_REFUNDS + 2)
    await wechat.script_refunds(status="SUCCESS", at_once=True, times=None)
    one = {"lines": here.pieces(1)}
    for _ in range(MOST_REFUNDS):
        assert (await here.operator(REFUND_LINES, **one))["order"]["refunding"] == 0
    seen = await here.member(PREVIEW, **one)
    assert (seen["cash"], seen["byHand"]) == (1_000, "USED_UP")
    assert seen["byHandNote"] == "该笔支付的退款次数已用完（50 次），款项由商家线下退还"
    also = await here.operator(PREVIEW, **one)
    assert also["byHandNote"] == "WeChat takes 50 refunds of a payment; the shop pays this one back in another way."
    asked = (await here.operator(REFUND_LINES, **one, expected=seen["digest"]))["order"]
    assert (asked["state"], asked["refunded"], asked["refunding"]) == ("PAID", 1_000 * MOST_REFUNDS, 1_000)
    assert asked["refunds"][-1] == {"state": "CLOSED", "lastError": "used_up"}
    assert (await here.told())[-2:] == ["REFUND_REQUESTED", "REFUND_FAILED"]
    (case,) = await here.inbox("REFUNDS_USED_UP")
    assert (case["actions"], case["details"]["because"]) == (["PAID_BY_HAND"], "used_up")
    for refused in (RESOLVE, RETURN, RETRY):
        assert (await here.operator(refused, id=case["id"]))["code"] == "CASE_ACTION_REFUSED"
    part = (await here.member(MINE))["refundParts"][-1]
    assert (await here.operator(ASK_ANEW, id=part["id"]))["code"] == "REFUNDS_USED_UP"
    done = (await here.operator(BY_HAND, id=case["id"]))["exceptionCase"]
    assert done == {"resolvedById": str(here.boss.id), "resolution": "银行转账 8812", "actions": []}
    assert (await here.operator(BY_HAND, id=case["id"]))["code"] == "CASE_NOT_FOUND"
    mine = await here.member(MINE)
    assert (mine["refunded"], mine["refunding"]) == (1_000 * (MOST_REFUNDS + 1), 0)
    assert mine["refundParts"][-1]["state"] == "DONE"
    assert mine["refundParts"][-1]["effect"] == {"byHand": "USED_UP", "byHandNote": seen["byHandNote"]}
    assert [line["title"] for line in mine["timeline"][-4:]] == [
        "已申请退款",
        "款项未能原路退回，客服处理中",
        "商家已另行退款",
        "部分商品已退款",
    ]
    assert (await wechat.ledger())["totals"]["refunded_fen"] == 1_000 * MOST_REFUNDS


async def test_a_request_a_year_later_is_foreseen_and_paid_by_hand(
    deps: Deps, clock: SetClock, wechat: SandboxControl, shop: Door, admin: Door
) -> None:
    here = await counter(deps, clock, wechat, shop, admin, 2)
    lines = {"lines": here.pieces(2)}
    before = await here.member(PREVIEW, **lines)
    assert (before["byHand"], before["byHandNote"]) == (None, None)
    await here.passes(REFUNDED_WITHIN)
    stale = await here.member(REQUEST, **lines, expected=before["digest"], key=new_secret(12))
    assert stale["code"] == "REFUND_CHANGED"
    seen = await here.member(PREVIEW, **lines)
    assert seen["byHandNote"] == "付款已满 365 天，微信不再受理退款，款项由商家线下退还"
    asked = (await here.member(REQUEST, **lines, expected=seen["digest"], key=new_secret(12)))["afterSale"]
    weighed = await here.operator(REQUESTED, id=asked["id"])
    assert weighed == {"digest": seen["digest"], "cash": 2_000, "byHand": "OVERDUE"}
    approved = await here.operator(APPROVE, id=asked["id"], expected=weighed["digest"])
    assert approved["afterSale"]["state"] == "REFUNDING"
    await here.passes(timedelta(days=30), "send_refunds", "carry_on_after_sales")
    assert (await wechat.ledger())["totals"]["refunded_fen"] == 0
    (case,) = await here.inbox("REFUNDS_USED_UP")
    assert (case["details"]["because"], case["cause"]) == (
        "overdue",
        "WeChat takes no more refunds of this payment; the shop has to pay this one back in another way.",
    )
    part = (await here.member(MINE))["refundParts"][-1]
    refused = await here.operator(ASK_ANEW, id=part["id"])
    assert refused["code"] == "REFUND_OVERDUE"
    assert refused["message"] == "WeChat takes no refund 365 days after the payment."
    assert "exceptionCase" in await here.operator(BY_HAND, id=case["id"])
    mine = await here.member(MINE)
    assert (mine["state"], mine["refunded"], mine["refundParts"][-1]["effect"]["byHand"]) == (
        "REFUNDED",
        2_000,
        "OVERDUE",
    )
    assert await here.told() == [
        "AFTER_SALE_REQUESTED",
        "AFTER_SALE_APPROVED",
        "REFUND_REQUESTED",
        "REFUND_FAILED",
        "REFUND_BY_HAND",
        "REFUNDED",
    ]


@pytest.mark.parametrize("status", ["CLOSED", "ABNORMAL"])
async def test_a_refund_that_failed_is_told_and_paid_by_hand(
    deps: Deps, clock: SetClock, wechat: SandboxControl, shop: Door, admin: Door, status: str
) -> None:
    here = await counter(deps, clock, wechat, shop, admin)
    await wechat.script_refunds(status=status)
    await here.operator(REFUND)
    await wechat.settle()
    assert await here.told() == ["REFUND_REQUESTED", "REFUND_FAILED"]
    (case,) = await here.inbox(f"REFUND_{status}")
    assert "PAID_BY_HAND" in case["actions"]
    assert "exceptionCase" in await here.operator(BY_HAND, id=case["id"])
    mine = await here.member(MINE)
    assert (mine["state"], mine["refundParts"][0]["effect"]) == (
        "REFUNDED",
        {"byHand": "REFUSED", "byHandNote": "微信未能退回款项，已由商家线下退还"},
    )
    assert await here.told() == ["REFUND_REQUESTED", "REFUND_FAILED", "REFUND_BY_HAND", "REFUNDED"]
    assert await here.inbox(f"REFUND_{status}") == []


async def test_a_refund_that_was_closed_is_asked_for_anew_from_the_inbox(
    deps: Deps, clock: SetClock, wechat: SandboxControl, shop: Door, admin: Door
) -> None:
    here = await counter(deps, clock, wechat, shop, admin)
    await wechat.script_refunds(status="CLOSED")
    await here.operator(REFUND)
    await wechat.settle()
    (case,) = await here.inbox("REFUND_CLOSED")
    assert (await here.operator(RETURN, id=case["id"]))["exceptionCase"] == {"resolvedById": str(here.boss.id)}
    await wechat.settle()
    mine = await here.member(MINE)
    assert (mine["state"], mine["refundParts"][0]["effect"]["byHand"]) == ("REFUNDED", None)
    assert await here.told() == ["REFUND_REQUESTED", "REFUND_FAILED", "REFUND_REQUESTED", "REFUNDED"]


async def test_an_abnormal_refund_that_was_settled_in_wechats_console_is_found_from_the_inbox(
    deps: Deps, clock: SetClock, wechat: SandboxControl, shop: Door, admin: Door
) -> None:
    here = await counter(deps, clock, wechat, shop, admin)
    await wechat.script_refunds(status="ABNORMAL")
    await here.operator(REFUND)
    await wechat.settle()
    (case,) = await here.inbox("REFUND_ABNORMAL")
    await wechat.script_notices(event_type="REFUND", drop=True)
    (told,) = (await wechat.ledger())["refunds"]
    await wechat.post("refunds/finish", out_refund_no=told["out_refund_no"])
    settled = (await here.operator(RETRY, id=case["id"]))["exceptionCase"]
    assert settled == {"resolvedById": None, "resolution": "款项已退回"}
    assert await here.told() == ["REFUND_REQUESTED", "REFUND_FAILED", "REFUNDED"]


async def test_goods_that_wait_too_long_are_told_settled_and_told_again_after_a_void(
    deps: Deps, clock: SetClock, wechat: SandboxControl, shop: Door, admin: Door
) -> None:
    here = await counter(deps, clock, wechat, shop, admin)
    watch, long = "watch_unshipped", deps.unshipped_after
    await here.passes(long - timedelta(seconds=1), watch)
    assert await here.inbox("UNSHIPPED") == []
    await here.passes(timedelta(seconds=1), watch)
    (first,) = await here.inbox("UNSHIPPED")
    assert (first["actions"], first["details"]["address"]) == (["RESOLVE"], False)
    sent = (await here.operator(SEND, number="YT0000001"))["parcel"]
    assert await here.inbox("UNSHIPPED") == []
    await here.passes(timedelta(hours=2))
    assert (await here.operator(VOID, id=sent["id"]))["parcel"] == sent
    assert (await here.member(MINE))["fulfilment"] == "TO_SHIP"
    await here.passes(long - timedelta(seconds=1), watch)
    assert await here.inbox("UNSHIPPED") == []
    await here.passes(timedelta(seconds=1), watch)
    (second,) = await here.inbox("UNSHIPPED")
    assert second["id"] != first["id"]
    resolved = (await here.operator(RESOLVE, id=second["id"]))["exceptionCase"]
    assert resolved == {"resolvedById": str(here.boss.id), "resolution": "已与会员约定"}
    await here.passes(long, watch)
    assert await here.inbox("UNSHIPPED") == []
    assert await here.told() == ["PARCEL_SENT", "SHIPPED", "PARCEL_VOIDED"]
