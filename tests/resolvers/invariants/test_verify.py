"""The invariants hold on the books that the other tests wrote, and each of them can be broken."""

from uuid import UUID

import pytest

from loyalty.orders.order import OrderLine
from models.engine import rows, transaction
from models.ids import new_secret
from resolvers.deps import Deps
from resolvers.invariants.verify import INVARIANTS, verify
from resolvers.orders import order
from tests.doors import make_member
from tests.shelf import put_on_shelf


class _Undo(Exception):
    """Takes back what a test broke."""


MALL_ITEM = (
    "INSERT INTO mall_item (id, kind, state, title, description, image_url, stock_left, version, exchanged_count, "
    "exchanged_points, created_at, updated_at)"
)

CHECK_IN = (
    "INSERT INTO check_in (id, member_id, business_day, cycle_started_on, cycle_day, streak_days, total_days, points, "
    "growth, version_id, rewards, price_points, offset_points, offset_growth, at)"
)

COUPON = (
    "boss AS (INSERT INTO operator (id, login, display_name, password_hash, role, created_at) "
    "VALUES ($1, $1::uuid::text, '', '', 'owner', now())), template AS (INSERT INTO coupon_template (id, code, kind, "
    "state, title, description, claimable, version, created_at, updated_at) VALUES ($1, $1::uuid::text, 'amount', "
    "'draft', '', '', true, 1, now(), now())), terms AS (INSERT INTO coupon_template_version (id, template_id, "
    "version, definition, made_at, made_by_id) VALUES ($1, $1, 1, '{}', now(), $1))"
)
GIVEN = (
    "INSERT INTO coupon (id, template_id, version_id, member_id, state, channel, claim_key, usable_from, expires_at, "
    "due_at, order_id, reserved_until, issued_at, issued_on)"
)

FLASH = (
    "sale AS (INSERT INTO flash_sale (id, title, state, opens_at, closes_at, claim_minutes, created_at, updated_at) "
    "VALUES ($1, '', 'draft', now(), now() + interval '1 hour', 1, now(), now())), item AS (INSERT INTO flash_item "
    "(id, sale_id, sku_id, position, price_fen, stock, member_limit, carved_count, left_count, held_count, sold_count, "
    "returned_count, waiting_count, epoch)"
)

GROUP = (
    "campaign AS (INSERT INTO group_buy (id, title, state, opens_at, closes_at, sizes, team_hours, newcomers_only, "
    "most_pieces, created_at, updated_at) VALUES ($1, '', 'draft', now(), now() + interval '1 hour', '[2]', 1, false, "
    "1, now(), now())), team AS (INSERT INTO group_team (id, group_buy_id, token, size, state, joined_count, "
    "held_count, created_at, opened_at, ends_at, settled_at, due_at)"
)
SEAT = "INSERT INTO group_seat (id, team_id, order_id, member_id, fallback, state, created_at, posted_at)"

PROMOTION = """
    boss AS (INSERT INTO operator (id, login, display_name, password_hash, role, created_at)
        VALUES ($1, $1::uuid::text, '', '', 'owner', now())),
    one AS (INSERT INTO promotion (id, code, kind, state, title, priority, version, created_at, updated_at)
        VALUES ($1, 'breaks', 'discount', 'draft', '', 0, 1, now(), now())),
    terms AS (INSERT INTO promotion_version (id, promotion_id, version, title, priority, definition, made_at,
        made_by_id) VALUES ($1, $1, 1, '', 0, '{}', now(), $1))
"""
BREAKS = {
    "points_balance": "UPDATE points_account SET balance = balance + 1 WHERE member_id = $1",
    "points_held": "UPDATE points_account SET balance = balance + 1, held = held + 1 WHERE member_id = $1",
    "points_hold_draws": "INSERT INTO points_hold (id, member_id, amount, state, cause_kind, cause_id, created_at) "
    "VALUES ($1, $1, 5, 'pending', 'order', $1, now())",
    "points_debt": "UPDATE points_account SET debt = 7 WHERE member_id = $1",
    "points_draws": "INSERT INTO points_entry (id, member_id, seq, kind, amount, debt_change, balance_after, "
    "cause_kind, cause_id, key, note, at) VALUES ($1, $1, 1, 'adjust', 5, 0, 5, 'test', $1, 'k', '', now())",
    "points_lots": "INSERT INTO points_lot (id, member_id, amount, remaining, held, opens_at, created_at) "
    "VALUES ($1, $1, 5, 5, 0, now(), now())",
    "points_sequence": "INSERT INTO points_entry (id, member_id, seq, kind, amount, debt_change, balance_after, "
    "cause_kind, cause_id, key, note, at) VALUES ($1, $1, 2, 'adjust', 5, 0, 5, 'test', $1, 'k', '', now())",
    "growth_balance": "UPDATE membership SET growth_value = growth_value + 1 WHERE member_id = $1",
    "growth_sequence": "INSERT INTO growth_entry (id, member_id, seq, kind, amount, balance_after, cause_kind, "
    "cause_id, key, at) VALUES ($1, $1, 1, 'earn', 5, 6, 'order', $1, 'k', now())",
    "tier_history": "UPDATE membership SET tier_code = 'another' WHERE member_id = $1",
    "stock_left": "UPDATE sku SET stock_left = stock_left + 1 WHERE id = $2",
    "stock_of_orders": "UPDATE order_line SET quantity = quantity + 1 WHERE order_id = $3",
    "order_lines": "UPDATE shop_order SET goods_fen = goods_fen + 1, payable_fen = payable_fen + 1 WHERE id = $3",
    "order_points": "UPDATE shop_order SET points_used = points_used + 1 WHERE id = $3",
    "order_shipping": "INSERT INTO order_shipping (id, order_id, member_id, full_fen, fee_fen, parts, placed_on) "
    "VALUES ($1, $3, $1, 0, 0, '[]', now())",
    "address_default": "INSERT INTO address (id, member_id, region_code, province, city, district, sealed, label, "
    "is_default, created_at, updated_at) VALUES ($1, $1, '440106', '', '', '', '', '', false, now(), now())",
    "order_coupons": "UPDATE order_line SET coupon_fen = 1, payable_fen = payable_fen - 1 WHERE order_id = $3",
    "order_promotions": "UPDATE order_line SET promotion_fen = 1, payable_fen = payable_fen - 1 WHERE order_id = $3",
    "promotions_of_orders": f"WITH {PROMOTION} INSERT INTO order_promotion (id, order_id, promotion_id, version_id, "
    "uses, discount_fen, of_pieces, shares) VALUES ($1, $3, $1, $1, 1, 1, true, '[1]')",
    "promotion_quota": f"WITH {PROMOTION} INSERT INTO promotion_quota (promotion_id, used_count, spent_fen) "
    "VALUES ($1, 1, 1)",
    "coupons_of_orders": f"WITH {COUPON} {GIVEN} VALUES ($1, $1, $1, $1, 'reserved', 'claim', 'k', now(), "
    "now() + interval '1 day', NULL, $3, now(), now(), now())",
    "coupon_quota": f"WITH {COUPON} INSERT INTO coupon_quota (template_id, issued_count, day_count, committed_fen) "
    "VALUES ($1, 1, 0, 0)",
    "coupon_states": f"WITH {COUPON} {GIVEN} VALUES ($1, $1, $1, $1, 'issued', 'claim', 'k', now(), "
    "now() + interval '1 day', now(), NULL, NULL, now(), now())",
    "price_history": "UPDATE sku SET price_fen = price_fen + 1 WHERE id = $2",
    "coupon_till_uses": f"WITH {COUPON}, mine AS ({GIVEN} VALUES ($1, $1, $1, $1, 'issued', 'claim', 'k', now(), "
    "now() + interval '1 day', now(), NULL, NULL, now(), now())) INSERT INTO coupon_till_use (id, coupon_id, "
    "member_id, operator_id, code_mark, place, note, reverse_reason, used_at) "
    "VALUES ($1, $1, $1, $1, 'm', 'shop', '', '', now())",
    "coupon_packs": f"WITH {COUPON} {GIVEN} VALUES ($1, $1, $1, $1, 'issued', 'newcomer', 'k', now(), "
    "now() + interval '1 day', now(), NULL, NULL, now(), now())",
    "coupon_gifts": f"WITH {COUPON} {GIVEN} VALUES ($1, $1, $1, $1, 'issued', 'gift', 'k', now(), "
    "now() + interval '1 day', now(), NULL, NULL, now(), now())",
    "coupon_channels": f"WITH {COUPON} INSERT INTO coupon_grant (id, template_id, state, audience, reason, total, "
    "granted_count, skipped_count, due_at, started_at, started_by_id) VALUES ($1, $1, 'running', '{}', '', 1, 1, 0, "
    "now(), now(), $1)",
    "mall_stock_left": f"{MALL_ITEM} VALUES ($1, 'charity', 'draft', '', '', '', 5, 1, 0, 0, now(), now())",
    "mall_exchanged": f"{MALL_ITEM} VALUES ($1, 'charity', 'draft', '', '', '', NULL, 1, 1, 1, now(), now())",
    "mall_stock_of_orders": f"WITH item AS ({MALL_ITEM} VALUES ($1, 'goods', 'draft', '', '', '', 0, 1, 1, 1, now(), "
    "now())), boss AS (INSERT INTO operator (id, login, display_name, password_hash, role, created_at) "
    "VALUES ($1, $1::uuid::text, '', '', 'owner', now())), terms AS (INSERT INTO mall_item_version (id, item_id, "
    "version, definition, made_at, made_by_id) VALUES ($1, $1, 1, '{}', now(), $1)) INSERT INTO mall_exchange (id, "
    "order_id, member_id, item_id, version_id, quantity, points) VALUES ($1, $3, $1, $1, $1, 1, 1)",
    "flash_pieces": f"WITH {FLASH} VALUES ($1, $1, $2, 0, 1, 1, 1, 1, 0, 1, 0, 0, 0, 0)) SELECT 1",
    "flash_carved": f"WITH {FLASH} VALUES ($1, $1, $2, 0, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0)) SELECT 1",
    "flash_returns": f"WITH {FLASH} VALUES ($1, $1, $2, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0)) INSERT INTO flash_ticket "
    "(id, item_id, member_id, order_id, quantity, returned_count, state, reservation, created_at, resolved_at) "
    "VALUES ($1, $1, $1, $3, 1, 1, 'returned', 'r', now(), now())",
    "flash_orders": "UPDATE shop_order SET kind = 'flash' WHERE id = $3",
    "flash_closed": f"WITH {FLASH.replace('epoch)', 'epoch, closed_at)')} VALUES ($1, $1, $2, 0, 1, 1, 1, 1, 0, 0, 0, "
    "1, 0, 0, now())) INSERT INTO flash_wait (id, item_id, member_id, quantity, state, created_at) "
    "VALUES ($1, $1, $1, 1, 'waiting', now())",
    "group_teams": f"WITH {GROUP} VALUES ($1, $1, 't', 2, 'open', 1, 0, now(), now(), now(), NULL, now())) SELECT 1",
    "group_orders": "UPDATE shop_order SET kind = 'group' WHERE id = $3",
    "group_ends": f"WITH {GROUP} VALUES ($1, $1, 't', 2, 'failed', 1, 0, now(), now(), now(), "
    f"now(), NULL)), seat AS ({SEAT} VALUES ($1, $1, $3, $1, 'refund', 'posted', now(), now())) "
    "UPDATE shop_order SET state = 'paid', kind = 'group' WHERE id = $3",
    "mall_orders": "UPDATE shop_order SET kind = 'mall' WHERE id = $3",
    "money": "UPDATE shop_order SET state = 'paid' WHERE id = $3",
    "check_in_counts": f"{CHECK_IN} SELECT $1, $1, '2026-01-02', '2026-01-02', 1, 1, 2, 0, 0, id, '[]', 0, 0, 0, now() "
    "FROM programme_version WHERE kind = 'check_in' LIMIT 1",
    "check_in_paid": f"{CHECK_IN} SELECT $1, $1, '2026-01-02', '2026-01-02', 1, 1, 1, 5, 0, id, '[]', 0, 0, 0, now() "
    "FROM programme_version WHERE kind = 'check_in' LIMIT 1",
    "points_actions": "INSERT INTO points_action (id, member_id, code, cause, business_day, points, version_id, at) "
    "SELECT $1, $1, 'review', '1', '2026-01-02', 5, id, now() FROM programme_version WHERE kind = 'points' LIMIT 1",
    "referral_rewards": "INSERT INTO growth_entry (id, member_id, seq, kind, amount, balance_after, cause_kind, "
    "cause_id, key, at) VALUES ($1, $1, 1, 'referral', 5, 5, 'referral', $1, 'k', now())",
    "referral_goals": "INSERT INTO referral_goal (id, member_id, code, friends, points, growth, version_id, "
    "unlocked_at) SELECT $1, $1, 'one', 1, 0, 0, id, now() FROM programme_version WHERE kind = 'referral' LIMIT 1",
    "refunds": "UPDATE shop_order SET refunding_fen = 1 WHERE id = $3",
    "parcels": "UPDATE order_line SET shipped_count = 1 WHERE order_id = $3",
    "fulfilment_states": "UPDATE shop_order SET fulfilment_state = 'to_ship' WHERE id = $3",
    "shipping_uploads": "UPDATE shop_order SET fulfilment_state = 'partly_shipped' WHERE id = $3",
    "refund_pieces": "UPDATE order_line SET claimed_count = 1 WHERE order_id = $3",
    "refund_parts": "INSERT INTO order_refund (id, order_id, cause, reason, state, amount_fen, shipping_fen, "
    "shipping_back, points_used, earned_reversed, requested_at) VALUES ($1, $3, 'by_operator', '', 'requested', 0, 0, "
    "false, 0, 0, now())",
}


@pytest.mark.parametrize("name", [invariant.name for invariant in INVARIANTS])
async def test_a_broken_invariant_names_its_offenders(deps: Deps, name: str) -> None:
    member = await make_member(deps)
    sku_id = await put_on_shelf(deps)
    one = await order.place(
        deps,
        member_id=member.id,
        lines=[OrderLine(sku_id=sku_id, quantity=1)],
        points_wanted=0,
        expected_fen=None,
        remark="",
        idempotency_key=new_secret(12),
    )
    assert await broken() == set()
    with pytest.raises(_Undo):
        await _break(name, member.id, sku_id, one.id)
    assert await broken() == set()


async def _break(name: str, member_id: UUID, sku_id: UUID, order_id: UUID) -> None:
    given = {"$1": member_id, "$2": sku_id, "$3": order_id}
    statement = BREAKS[name]
    used = [placeholder for placeholder in given if placeholder in statement]
    for position, placeholder in enumerate(used, start=1):
        statement = statement.replace(placeholder, f"${position}")
    async with transaction():
        await rows(statement, [given[placeholder] for placeholder in used])
        assert name in await broken()
        raise _Undo


async def broken() -> set[str]:
    return {finding.invariant.name for finding in await verify() if finding.offenders}
