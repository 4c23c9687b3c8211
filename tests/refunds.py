"""Orders to be refunded in pieces, for tests: bought through the sandbox, refunded by an operator."""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from loyalty.delivery.fulfilment import Pieces
from loyalty.orders.order import OrderLine
from loyalty.payments.after_sale import AfterSaleKind, AfterSaleReason
from loyalty.payments.payment import RefundCause, RefundState
from loyalty.payments.refund import MOST_REFUNDS, RefundEffect
from models.engine import rows
from models.ids import new_id, new_secret
from models.orders.order import Order
from models.orders.order import OrderLine as OrderLineRow
from models.payments.after_sale import AfterSale, OrderRefund
from models.payments.payment import Payment, Refund
from resolvers.delivery import parcel
from resolvers.deps import Deps
from resolvers.orders import order
from resolvers.orders.order_price import CouponWish
from resolvers.payments import after_sale, exception_action, payment, refund
from resolvers.payments.after_sale import Asked
from tests.doors import make_operator
from tests.sandbox_server import SandboxControl


async def place(
    deps: Deps, member_id: UUID, wanted: Mapping[UUID, int], *, points: int = 0, coupons: tuple[UUID, ...] = ()
) -> Order:
    """An order of so many pieces of these SKUs, to be paid."""
    return await order.place(
        deps,
        member_id=member_id,
        lines=[OrderLine(sku_id=sku_id, quantity=quantity) for sku_id, quantity in wanted.items()],
        points_wanted=points,
        expected_fen=None,
        remark="",
        idempotency_key=new_secret(12),
        coupons=CouponWish(ids=coupons),
    )


async def bought(
    deps: Deps,
    wechat: SandboxControl,
    member_id: UUID,
    wanted: Mapping[UUID, int],
    *,
    points: int = 0,
    coupons: tuple[UUID, ...] = (),
) -> Order:
    """A paid order of so many pieces of these SKUs."""
    placed = await place(deps, member_id, wanted, points=points, coupons=coupons)
    if placed.payable_fen:
        await wechat.request_payment(await payment.pay(deps, member_id=member_id, order_id=placed.id))
        await wechat.settle()
    return await Order.get(id=placed.id)


async def lines_of(order_id: UUID) -> list[OrderLineRow]:
    """The lines of an order, in their order."""
    return await OrderLineRow.filter(order_id=order_id).order_by("position")


async def previewed(deps: Deps, order_id: UUID, pieces: Mapping[UUID, int] | None, **wish: Any) -> RefundEffect:
    """What the shop would be told before it refunds these pieces."""
    terms = {"shops_fault": False, "goods_come_back": True, **wish}
    return await after_sale.preview(deps, order_id=order_id, member_id=None, pieces=pieces, **terms)


async def give_back(
    deps: Deps,
    wechat: SandboxControl,
    order_id: UUID,
    pieces: Mapping[UUID, int],
    *,
    expected: str | None = None,
    **wish: Any,
) -> OrderRefund:
    """The part that an operator refunds, after WeChat has paid it back."""
    boss = await make_operator(deps)
    terms = {"shops_fault": False, "goods_come_back": True, "reason": "退货", **wish}
    await refund.refund_lines(
        deps,
        operator_id=boss.id,
        order_id=order_id,
        pieces=pieces,
        expected=expected,
        idempotency_key=new_secret(12),
        **terms,
    )
    await wechat.settle()
    return await OrderRefund.filter(order_id=order_id).order_by("-id").first()  # type: ignore[return-value]


async def ask_back(
    deps: Deps, one: Order, pieces: Mapping[UUID, int], kind: AfterSaleKind = AfterSaleKind.REFUND_ONLY
) -> AfterSale:
    """The member's open request for the money of these pieces."""
    asked = Asked(kind=kind, reason=AfterSaleReason.NO_REASON, pieces=pieces)
    return await after_sale.request(
        deps, member_id=one.member_id, order_id=one.id, asked=asked, idempotency_key=new_secret(12)
    )


async def use_up(order_id: UUID) -> None:
    """All the refunds that WeChat takes for the order's payment are spent, on some that it has closed."""
    (payment_row,) = await Payment.filter(order_id=order_id)
    await Refund.bulk_create(
        [
            Refund(
                id=one,
                order_id=order_id,
                payment_id=payment_row.id,
                out_refund_no=one.hex,
                amount_fen=1,
                cause=RefundCause.BY_OPERATOR,
                state=RefundState.CLOSED,
                requested_at=payment_row.recorded_at,
                finished_at=payment_row.recorded_at,
            )
            for one in (new_id(payment_row.recorded_at) for _ in range(MOST_REFUNDS))
        ]
    )


async def pay_by_hand(deps: Deps, case_id: UUID) -> None:
    """An operator pays what a case is about back in another way."""
    boss = await make_operator(deps)
    await exception_action.paid_by_hand(
        deps, operator_id=boss.id, case_id=case_id, evidence="银行转账 8812", idempotency_key=new_secret(12)
    )


async def send(deps: Deps, order_id: UUID, pieces: Mapping[UUID, int] | None = None) -> None:
    """A parcel of these pieces of an order, or of all that is left."""
    boss = await make_operator(deps)
    await parcel.create(
        deps,
        operator_id=boss.id,
        order_id=order_id,
        carrier="YTO",
        tracking_number="YT" + new_secret(6).replace("_", "-"),
        pieces=None if pieces is None else [Pieces(line_id=one, quantity=many) for one, many in pieces.items()],
        idempotency_key=new_secret(12),
    )


async def standing(member_id: UUID, skus: Iterable[UUID | None]) -> dict[str, Any]:
    """Everything of a member, and of the stock of SKUs, that an order changes: to be compared before and after."""
    account = await rows("SELECT balance, held, debt FROM points_account WHERE member_id = $1", [member_id])
    lots = await rows(
        "SELECT coalesce(origin_id, id)::text AS lot, sum(remaining)::bigint AS remaining FROM points_lot "
        "WHERE member_id = $1 GROUP BY 1 HAVING sum(remaining) > 0 ORDER BY 1",
        [member_id],
    )
    coupons = await rows("SELECT id::text, state FROM coupon WHERE member_id = $1 ORDER BY id", [member_id])
    membership = await rows("SELECT growth_value, tier_code FROM membership WHERE member_id = $1", [member_id])
    stock = await rows("SELECT id::text, stock_left FROM sku WHERE id = ANY($1::uuid[]) ORDER BY id", [list(skus)])
    return {
        "account": account[0],
        "lots": lots,
        "coupons": coupons,
        "membership": membership[0],
        "stock": stock,
    }
