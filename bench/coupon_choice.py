"""The best combination of coupons for a cart of 30 lines, against trying every combination of the same coupons.

A member has 20 coupons (and 200) that all can be used and mostly go together. The ceiling is brute force over sets of
up to five, which the answer must equal; only the first store of each size is tried that way.
"""

import sys
from datetime import UTC, datetime, timedelta
from itertools import combinations
from random import Random
from time import perf_counter
from uuid import UUID

from loyalty.coupons.coupon_choice import best_plan
from loyalty.coupons.coupon_terms import MAX_COUPONS_PER_ORDER, CouponKind, CouponTerms, Scope
from loyalty.coupons.coupon_use import CouponLine, HeldCoupon, apply_coupons, combinable

NOW = datetime(2026, 11, 20, 4, tzinfo=UTC)
CARTS = 50
LINES = 30
SHIPPING_FEN = 1_200


def cart_of(random: Random) -> list[CouponLine]:
    """30 lines of ten products."""
    lines = []
    for _ in range(LINES):
        price_fen = random.randint(100, 50_000)
        product_id = UUID(int=random.randint(1, 10))
        lines.append(CouponLine(product_id=product_id, unit_price_fen=price_fen, payable_fen=2 * price_fen))
    return lines


def wallet_of(random: Random, many: int) -> list[HeldCoupon]:
    """So many coupons of as many templates, of two groups that go together."""
    return [_coupon(random, at) for at in range(many)]


def _coupon(random: Random, at: int) -> HeldCoupon:
    kind = random.choice(list(CouponKind))
    terms = CouponTerms(
        kind=kind,
        amount_fen=random.randint(100, 20_000) if kind is CouponKind.AMOUNT else None,
        discount_bp=random.randint(100, 3_000) if kind is CouponKind.PERCENT else None,
        cap_fen=None if kind is CouponKind.AMOUNT else random.randint(100, 20_000),
        scope=Scope(product_ids=frozenset(UUID(int=one) for one in random.sample(range(1, 11), random.choice([0, 2])))),
        valid_days=1,
        group=random.choice("ab"),
        combines_with=frozenset("ab"),
    )
    return HeldCoupon(
        id=UUID(int=at),
        template_id=UUID(int=at),
        template_code=f"c{at}",
        version=1,
        terms=terms,
        usable_from=NOW,
        expires_at=NOW + timedelta(days=random.randint(1, 30)),
    )


def brute_force(wallet: list[HeldCoupon], cart: list[CouponLine]) -> int:
    """The most that any allowed set takes off, in fen."""
    most = 0
    for many in range(1, MAX_COUPONS_PER_ORDER + 1):
        for chosen in combinations(wallet, many):
            if all(combinable(one, [other for other in chosen if other is not one]) for one in chosen):
                applied = apply_coupons(chosen, cart, shipping_fen=SHIPPING_FEN)
                most = max(most, sum(one.discount_fen for one in applied))
    return most


async def main() -> None:
    """Print the median and the slowest of 50 carts, and what brute force takes for one."""
    for many in (20, 200):
        times, exact = [], 0
        for seed in range(CARTS):
            random = Random(seed)
            cart, wallet = cart_of(random), wallet_of(random, many)
            began = perf_counter()
            plan = best_plan(wallet, cart, now=NOW, shipping_fen=SHIPPING_FEN)
            times.append(perf_counter() - began)
            exact += plan.exact
        times.sort()
        sys.stdout.write(
            f"{many} coupons x {LINES} lines: median {times[CARTS // 2] * 1_000:.1f} ms, "
            f"slowest {times[-1] * 1_000:.1f} ms, exact {exact}/{CARTS}\n"
        )
    random = Random(0)
    cart, wallet = cart_of(random), wallet_of(random, 20)
    began = perf_counter()
    most = brute_force(wallet, cart)
    took = perf_counter() - began
    assert most == best_plan(wallet, cart, now=NOW, shipping_fen=SHIPPING_FEN).discount_fen, (
        "the best combination is the best"
    )
    sys.stdout.write(f"brute force over 20 coupons: {took * 1_000:.0f} ms, the same answer\n")
