from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import combinations
from random import Random
from uuid import UUID

import pytest

from loyalty.coupons.coupon import UnusableReason
from loyalty.coupons.coupon_choice import Verdict, best_plan, rank
from loyalty.coupons.coupon_terms import MAX_COUPONS_PER_ORDER, CouponKind, CouponTerms, Scope
from loyalty.coupons.coupon_use import CouponLine, HeldCoupon, apply_coupons, combinable, unusable
from tests.loyalty.worked_examples import number, worked

NOW = datetime(2026, 11, 20, 4, tzinfo=UTC)
PRODUCTS = {"A": UUID(int=1), "B": UUID(int=2)}
CART = [
    CouponLine(product_id=PRODUCTS["A"], unit_price_fen=10_000, payable_fen=10_000),
    CouponLine(product_id=PRODUCTS["B"], unit_price_fen=5_000, payable_fen=5_000),
]


def read(text: str, *, at: int) -> tuple[str, HeldCoupon]:
    name, _, rest = text.partition(": ")
    words = rest.split(" ")
    kind = CouponKind(words[0])
    said = {word: words[place + 1] for place, word in enumerate(words[:-1]) if word in {"cap", "over", "for", "ends"}}
    day = int(said.get("ends", "10"))
    terms = CouponTerms(
        kind=kind,
        amount_fen=number(words[1]) if kind is CouponKind.AMOUNT else None,
        discount_bp=number(words[1]) if kind is CouponKind.PERCENT else None,
        cap_fen=number(said.get("cap", "")) or None,
        threshold_fen=number(said.get("over", "")),
        scope=Scope(product_ids=frozenset({PRODUCTS[said["for"]]} if "for" in said else ())),
        valid_days=30,
        exclusive="alone" in words,
        group="g",
        combines_with=frozenset() if "alone" in words else frozenset({"g"}),
    )
    return name, HeldCoupon(
        id=UUID(int=at),
        template_id=UUID(int=at),
        template_code=name,
        version=1,
        terms=terms,
        usable_from=NOW,
        expires_at=datetime(2026, 12, day, tzinfo=UTC),
    )


@pytest.mark.parametrize("row", worked("coupon.md", "Example: the best combination"), ids=str)
def test_the_best_combination(row: dict[str, str]) -> None:
    coupons = [read(text, at=at)[1] for at, text in enumerate(row["coupons"].split("; "), start=1)]
    plan = best_plan(coupons, CART, now=NOW, shipping_fen=1_200)
    assert sorted(one.template_code for one in plan.applied) == row["best"].split(", ")
    assert plan.discount_fen == number(row["takes off"])
    assert plan.exact


def a_terms(random: Random) -> CouponTerms:
    kind = random.choice(list(CouponKind))
    groups = ["one", "two", "three"]
    exclusive = random.random() < 0.1
    products = frozenset(UUID(int=at) for at in random.sample(range(1, 5), random.choice([0, 0, 1, 2])))
    return CouponTerms(
        kind=kind,
        amount_fen=random.choice([100, 500, 1_000, 3_000]) if kind is CouponKind.AMOUNT else None,
        discount_bp=random.choice([500, 1_000, 3_333, 10_000]) if kind is CouponKind.PERCENT else None,
        cap_fen=random.choice([None, 300, 1_000]) if kind is not CouponKind.AMOUNT else None,
        threshold_fen=random.choice([0, 0, 1_000, 5_000]),
        scope=Scope(product_ids=products),
        valid_days=30,
        group=random.choice(groups),
        combines_with=frozenset() if exclusive else frozenset(random.sample(groups, random.randint(0, 3))),
        exclusive=exclusive,
        max_per_order=random.randint(1, 3),
    )


def a_wallet(random: Random, most: int) -> list[HeldCoupon]:
    templates = [(UUID(int=at), a_terms(random)) for at in range(1, random.randint(2, 7))]
    wallet = []
    for at in range(random.randint(1, most)):
        template_id, terms = random.choice(templates)
        wallet.append(
            HeldCoupon(
                id=UUID(int=100 + at),
                template_id=template_id,
                template_code="t",
                version=1,
                terms=terms,
                usable_from=NOW,
                expires_at=NOW + timedelta(days=random.randint(1, 4)),
            )
        )
    return wallet


def a_cart(random: Random) -> list[CouponLine]:
    lines = []
    for _ in range(random.randint(1, 4)):
        price = random.choice([99, 333, 1_000, 2_500])
        pieces = random.randint(1, 3)
        product_id = UUID(int=random.randint(1, 4))
        lines.append(CouponLine(product_id=product_id, unit_price_fen=price, payable_fen=price * pieces))
    return lines


def together(chosen: Sequence[HeldCoupon]) -> bool:
    return all(combinable(coupon, [other for other in chosen if other is not coupon]) for coupon in chosen)


def every_combination(wallet: Sequence[HeldCoupon]) -> Iterator[tuple[HeldCoupon, ...]]:
    for many in range(MAX_COUPONS_PER_ORDER + 1):
        yield from (chosen for chosen in combinations(wallet, many) if together(chosen))


def test_the_best_combination_equals_brute_force_on_1_000_random_carts() -> None:
    random = Random(17)
    many_used = shipped = 0
    for _ in range(1_000):
        wallet, cart = a_wallet(random, 8), a_cart(random)
        fee = random.choice([0, 150, 600, 1_500])
        usable = [coupon for coupon in wallet if unusable(coupon, cart, now=NOW, shipping_fen=fee) is None]
        ranks = []
        for chosen in every_combination(usable):
            applied = apply_coupons(chosen, cart, shipping_fen=fee)
            if all(one.discount_fen for one in applied):
                ranks.append(rank(chosen, applied))
        plan = best_plan(wallet, cart, now=NOW, shipping_fen=fee)
        used = {one.coupon_id for one in plan.applied}
        assert plan.exact
        shipped += sum(one.shipping_fen for one in plan.applied) > 0 and len(used) > 1
        assert rank([coupon for coupon in wallet if coupon.id in used], plan.applied) == min(ranks)
        many_used += len(used) > 1
    assert many_used > 150, "carts that need no combination would prove little"
    assert shipped > 30, "so would carts that combine nothing with the fee"


def test_the_plan_explains_every_coupon_and_adds_up() -> None:
    texts = "x: amount 1,000; y: amount 2,000 alone; z: percent 1,000 over 15,001; w: percent 1,000 for B"
    coupons = [read(text, at=at)[1] for at, text in enumerate(texts.split("; "), start=1)]
    plan = best_plan(coupons, CART, now=NOW)
    verdicts = {one.coupon.template_code: one for one in plan.verdicts}
    assert verdicts["y"].verdict is Verdict.APPLIED
    assert (verdicts["x"].verdict, verdicts["x"].alone_fen) == (Verdict.NOT_CHOSEN, 1_000)
    assert (verdicts["w"].verdict, verdicts["w"].alone_fen) == (Verdict.NOT_CHOSEN, 500)
    why = verdicts["z"].why
    assert why is not None
    assert (why.reason, why.missing_fen) == (UnusableReason.BELOW_THRESHOLD, 1)
    assert plan.discount_fen == sum(one.discount_fen for one in plan.verdicts) == 2_000


def test_a_search_that_is_cut_short_says_so_and_is_never_worse_than_any_single_coupon() -> None:
    random = Random(4)
    cut = 0
    for _ in range(50):
        wallet, cart = a_wallet(random, 30), a_cart(random)
        plan, whole = best_plan(wallet, cart, now=NOW, max_steps=5), best_plan(wallet, cart, now=NOW)
        alone = [one.alone_fen or 0 for one in plan.verdicts]
        assert max(alone) <= plan.discount_fen <= whole.discount_fen
        cut += not plan.exact
    assert cut > 10


def test_without_coupons_nothing_is_taken_off() -> None:
    plan = best_plan([], CART, now=NOW)
    assert (plan.applied, plan.discount_fen, plan.exact, plan.verdicts) == ((), 0, True, ())
