"""The preview of a tier table over 1 million members and 200 thousand orders, against a bare scan of the memberships.

The ceiling of the moves is one sequential scan that adds up the growth values; that of the whole is the same scan and
one of the order lines. MEMBERS=100000 makes the store smaller.
"""

import os
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from statistics import median
from time import perf_counter

from bench.store import MEMBER_ID, NOW, throwaway
from loyalty.tiers.tier import TierTable
from models.asyncpg_backend import SqlCount, sql_count
from models.engine import rows, script, transaction
from models.ids import new_id
from models.programme import ProgrammeVersion
from resolvers.programme import points_programme, tier_table
from resolvers.tiers.tier_preview import preview

MEMBERS = int(os.environ.get("MEMBERS", "1000000"))
ORDERS = MEMBERS // 5
ROUNDS = 5

IN_FORCE = {
    "levels": [
        {"code": "member", "name": "会员", "threshold": 0},
        {"code": "silver", "name": "银卡", "threshold": 5_000, "discount_bp": 200},
        {"code": "gold", "name": "金卡", "threshold": 30_000, "discount_bp": 500, "points_multiplier_bp": 12_000},
    ]
}
DRAFT = {
    "levels": [
        {"code": "member", "name": "会员", "threshold": 0},
        {"code": "silver", "name": "银卡", "threshold": 2_000, "discount_bp": 300},
        {"code": "gold", "name": "金卡", "threshold": 10_000, "discount_bp": 800, "points_multiplier_bp": 15_000},
        {"code": "black", "name": "黑卡", "threshold": 50_000, "discount_bp": 1_500, "points_multiplier_bp": 20_000},
    ]
}

STEP = 50_000

_FILL = """
INSERT INTO member (id, openid, nickname, avatar_url, personalised, marketing_topics, created_at)
SELECT {member}, 'o' || n, '', '', true, '[]', '{now}' FROM generate_series({first}, {last}) n;
INSERT INTO membership (member_id, growth_value, seq, keep_seq, tier_code, tier_since)
SELECT {member}, growth, 1, 1,
    (ARRAY['member', 'silver', 'gold'])[width_bucket(growth, ARRAY[0, 5000, 30000]::bigint[])], '{now}'
FROM (SELECT n, (n * 7919::bigint * n % 60000)::bigint AS growth FROM generate_series({first}, {last}) n) someone;
INSERT INTO shop_order (id, number, member_id, kind, state, goods_fen, discount_fen, coupon_fen, points_used,
    points_fen, payable_fen, explain, remark, tier_code, points_multiplier_bp, tier_version_id, points_version_id,
    pay_by, created_at)
SELECT ('{order_prefix}-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'B' || n, {member}, 'purchase', 'paid',
    20000, 0, 0, 0, 0, 20000, '[]', '', 'member', 10000, '{tier_version}', '{points_version}', '{now}', '{now}'
FROM generate_series({first}, {last}) n WHERE n % 5 = 0;
"""


_LINES = """
INSERT INTO order_line (id, order_id, position, product_title, sku_title, quantity, list_price_fen, unit_price_fen,
    goods_fen, discount_fen, coupon_fen, points_fen, payable_fen)
SELECT gen_random_uuid(), id, position, '茶', '', 1, 10000, 10000, 10000, 0, 0, 0, 10000
FROM shop_order, generate_series(0, 1) position WHERE substr(number, 2)::int BETWEEN {first} AND {last}
"""


async def main() -> None:
    """Print medians and ratios."""
    async with throwaway() as deps:
        await _fill()
        moves_only = await _median(lambda: preview(deps, definition=DRAFT, days=1))
        counter = SqlCount()
        token = sql_count.set(counter)
        found = await preview(deps, definition=DRAFT, days=90)
        sql_count.reset(token)
        assert sum(move.members for move in found.moves) == MEMBERS, "everybody is counted"
        assert sum(cost.orders for cost in found.costs) == ORDERS, "every order is replayed"
        whole = await _median(lambda: preview(deps, definition=DRAFT, days=90))
        scan = await _median(lambda: rows("SELECT count(*), sum(growth_value) FROM membership"))
        lines = await _median(lambda: rows("SELECT count(*), sum(payable_fen) FROM order_line"))
    moved = sum(move.members for move in found.moves if move.from_code != move.to_code)
    sys.stdout.write(
        f"tierPreview    {MEMBERS:,} members, {moved:,} of them move, no orders: {moves_only:.0f} ms, "
        f"{moves_only / scan:.1f} times one scan of the memberships ({scan:.0f} ms)\n"
        f"               with {ORDERS:,} orders of two lines: {whole:.0f} ms, {whole / (scan + lines):.1f} times the "
        f"scans of memberships and lines; {counter.value} statements, a sample of {len(found.sample)}\n"
    )


async def _fill() -> None:
    ordered_at = NOW - timedelta(days=30)
    async with transaction():
        await ProgrammeVersion.create(
            id=new_id(ordered_at),
            kind="tier",
            version=2,
            definition=TierTable.parse(IN_FORCE).definition(),
            effective_at=ordered_at,
            published_at=ordered_at,
        )
    tiers, programme = await tier_table(NOW), await points_programme(NOW)
    prefix = f"{int(ordered_at.timestamp() * 1000):012x}"
    for first in range(1, MEMBERS + 1, STEP):
        values = {
            "first": first,
            "last": min(first + STEP - 1, MEMBERS),
            "member": MEMBER_ID.format("n"),
            "now": ordered_at.isoformat(),
            "order_prefix": f"{prefix[:8]}-{prefix[8:]}",
            "tier_version": tiers.version_id,
            "points_version": programme.version_id,
        }
        await script(_FILL.format(**values))
        await script(_LINES.format(**values))
    await script("VACUUM ANALYZE")


async def _median(step: Callable[[], Awaitable[object]]) -> float:
    times = []
    for _ in range(ROUNDS):
        began = perf_counter()
        await step()
        times.append((perf_counter() - began) * 1000)
    return median(times)
