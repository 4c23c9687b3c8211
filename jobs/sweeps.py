"""Everything that is done because time passed."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from jobs.flash_sweeps import FLASH_SWEEPS
from jobs.sweep import Sweep
from loyalty.orders.order import CloseReason
from resolvers import replay
from resolvers.coupons import coupon_expiry, coupon_gift, coupon_grant, newcomer_pack
from resolvers.delivery import fulfilment, shipping_upload, unshipped_watch
from resolvers.deps import Deps
from resolvers.group_buys import group_team
from resolvers.orders import order, order_hold_watch, order_quote
from resolvers.payments import after_sale_decision, notice, payment, reconciliation, refund
from resolvers.people import birthday, session_family
from resolvers.points import points_expiry
from resolvers.referrals import referral_reward
from resolvers.tiers import tier, tier_overlay, tier_period


async def _orders(deps: Deps, limit: int) -> Sequence[tuple[UUID, UUID]]:
    return await order.due_to_close(deps.clock.now(), limit)


async def _close(deps: Deps, due: tuple[UUID, UUID]) -> None:
    order_id, member_id = due
    await order.close(deps, order_id=order_id, member_id=member_id, reason=CloseReason.TIMED_OUT)


async def _poll(deps: Deps, out_trade_no: str) -> None:
    await payment.query(deps, out_trade_no=out_trade_no)


async def _refund(deps: Deps, refund_id: UUID) -> None:
    await refund.send(deps, refund_id=refund_id)


async def _notice(deps: Deps, notice_row_id: UUID) -> None:
    await notice.retry(deps, notice_row_id=notice_row_id)


async def _apply_table(deps: Deps, member_id: UUID) -> None:
    await tier.apply_tier_table(deps, member_id=member_id)


async def _end_periods(deps: Deps, member_id: UUID) -> None:
    await tier_period.end_periods(deps, member_id=member_id)


async def _settle_overlays(deps: Deps, member_id: UUID) -> None:
    await tier_overlay.settle(deps, member_id=member_id)


async def _expire(deps: Deps, member_id: UUID) -> None:
    await points_expiry.expire(deps, member_id=member_id)


async def _expire_coupons(deps: Deps, member_id: UUID) -> None:
    await coupon_expiry.expire(deps, member_id=member_id)


async def _expire_quote(deps: Deps, member_id: UUID) -> None:
    await order_quote.expire(deps, member_id=member_id)


async def _give_pack(deps: Deps, member_id: UUID) -> None:
    await newcomer_pack.give(deps, member_id=member_id)


async def _return_gift(deps: Deps, due: tuple[UUID, UUID]) -> None:
    gift_id, giver_id = due
    await coupon_gift.expire(deps, gift_id=gift_id, giver_id=giver_id)


async def _advance_grant(deps: Deps, grant_id: UUID) -> None:
    await coupon_grant.carry_on(deps, grant_id=grant_id)


async def _advance_referral(deps: Deps, referral_id: UUID) -> None:
    await referral_reward.advance(deps, referral_id=referral_id)


async def _once(_: Deps, __: int) -> Sequence[None]:
    return [None]


async def _forget_keys(deps: Deps, _: None) -> None:
    await replay.forget(deps.clock.now())


async def _clear_sessions(deps: Deps, _: None) -> None:
    await session_family.clear_away(deps.clock.now())


async def _reconcile(deps: Deps, day: date) -> None:
    await reconciliation.reconcile(deps, day=day)


async def _end_team(deps: Deps, team_id: UUID) -> None:
    await group_team.end_team(deps, team_id=team_id)


async def _see_to_seat(deps: Deps, due: tuple[UUID, UUID]) -> None:
    seat_id, member_id = due
    await group_team.see_to(deps, seat_id=seat_id, member_id=member_id)


async def _receive(deps: Deps, due: tuple[UUID, UUID]) -> None:
    order_id, member_id = due
    await fulfilment.receive_by_time(deps, order_id=order_id, member_id=member_id)


async def _tell_unshipped(deps: Deps, due: tuple[UUID, UUID]) -> None:
    order_id, member_id = due
    await unshipped_watch.tell(deps, order_id=order_id, member_id=member_id)


async def _carry_on(deps: Deps, after_sale_id: UUID) -> None:
    await after_sale_decision.carry_on(deps, after_sale_id=after_sale_id)


async def _tell_shipping(deps: Deps, upload_id: UUID) -> None:
    await shipping_upload.send(deps, upload_id=upload_id)


async def _birthday(deps: Deps, member_id: UUID) -> None:
    await birthday.keep(deps, member_id=member_id)


SWEEPS: tuple[Sweep, ...] = (
    Sweep(name="close_orders", every_s=5, due=_orders, do=_close),
    Sweep(name="poll_payments", every_s=5, due=payment.claim_polls, do=_poll, leases=True),
    Sweep(name="send_refunds", every_s=5, due=refund.claim_due, do=_refund, leases=True),
    Sweep(name="carry_on_after_sales", every_s=5, due=after_sale_decision.claim_due, do=_carry_on, leases=True),
    Sweep(name="end_teams", every_s=5, due=group_team.teams_due, do=_end_team),
    Sweep(name="see_to_seats", every_s=5, due=group_team.claim_seats, do=_see_to_seat, leases=True),
    Sweep(name="receive_orders", every_s=60, due=fulfilment.due_receipts, do=_receive),
    Sweep(name="tell_shipping", every_s=5, due=shipping_upload.claim_due, do=_tell_shipping, leases=True),
    Sweep(name="apply_notices", every_s=5, due=notice.claim_due, do=_notice, leases=True),
    Sweep(name="expire_points", every_s=60, due=points_expiry.ended, do=_expire),
    Sweep(name="expire_coupons", every_s=60, due=coupon_expiry.ended, do=_expire_coupons),
    Sweep(name="expire_quotes", every_s=60, due=order_quote.ended, do=_expire_quote),
    Sweep(name="give_newcomer_packs", every_s=2, due=newcomer_pack.due, do=_give_pack),
    Sweep(name="return_coupon_gifts", every_s=5, due=coupon_gift.ended, do=_return_gift),
    Sweep(name="advance_coupon_grants", every_s=2, due=coupon_grant.claim_due, do=_advance_grant, leases=True),
    Sweep(name="tell_of_ending_points", every_s=300, due=points_expiry.notices_due, do=points_expiry.give_notice),
    Sweep(name="apply_tier_table", every_s=30, due=tier.due_for_table, do=_apply_table),
    Sweep(name="end_keep_periods", every_s=60, due=tier_period.due, do=_end_periods),
    Sweep(name="write_tier_overlays", every_s=60, due=tier_overlay.due, do=_settle_overlays),
    Sweep(name="advance_referrals", every_s=5, due=referral_reward.claim_due, do=_advance_referral, leases=True),
    Sweep(name="forget_referral_traces", every_s=3_600, due=referral_reward.due_to_forget, do=referral_reward.forget),
    Sweep(name="forget_idempotency_keys", every_s=600, due=_once, do=_forget_keys),
    Sweep(name="clear_sessions", every_s=600, due=_once, do=_clear_sessions),
    Sweep(name="watch_holds", every_s=600, due=order_hold_watch.stuck, do=order_hold_watch.tell),
    Sweep(name="watch_unshipped", every_s=600, due=unshipped_watch.overdue, do=_tell_unshipped),
    Sweep(name="reconcile_bills", every_s=600, due=reconciliation.due, do=_reconcile),
    Sweep(name="keep_birthdays", every_s=300, due=birthday.due, do=_birthday),
    *FLASH_SWEEPS,
)
