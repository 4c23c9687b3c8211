from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.coupons import coupon as rule
from loyalty.coupons import coupon_issue as issue_rule
from loyalty.coupons import coupon_use as use_rule
from loyalty.coupons.coupon_issue import Quota, TemplateOffer
from loyalty.coupons.coupon_terms import CouponKind, CouponTerms, Scope, returned_until, validity
from loyalty.coupons.coupon_use import CouponLine, HeldCoupon
from loyalty.programme import ProgrammeInvalid
from loyalty.refusal import Refusal
from tests.loyalty.worked_examples import number, numbers, worked

SHANGHAI = ZoneInfo("Asia/Shanghai")
NOON = datetime(2026, 11, 20, 4, tzinfo=UTC)
PRODUCTS = {"A": UUID(int=1), "B": UUID(int=2), "C": UUID(int=3)}
TEA = UUID(int=9)


def shop_time(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=SHANGHAI).astimezone(UTC)


def scope_of(text: str) -> Scope:
    words = [] if text == "all" else text.split()
    named = [PRODUCTS[word] for word in words if word in PRODUCTS]
    excluded = [PRODUCTS[word[1:]] for word in words if word[0] == "!" and word[1:] in PRODUCTS]
    return Scope(
        product_ids=frozenset(named),
        category_ids=frozenset({TEA} if "tea" in words else ()),
        excluded_product_ids=frozenset(excluded),
        excluded_category_ids=frozenset({TEA} if "!tea" in words else ()),
    )


def lines_of(text: str) -> list[CouponLine]:
    lines = []
    for part in text.split(", "):
        name, pieces, _, price = part.split(" ")
        lines.append(
            CouponLine(
                product_id=PRODUCTS[name],
                category_ids=frozenset({TEA} if name == "A" else ()),
                unit_price_fen=number(price),
                payable_fen=number(pieces) * number(price),
            )
        )
    return lines


def terms_of(kind: str, value: str = "-", cap: str = "-", **more: Any) -> CouponTerms:
    return CouponTerms(
        kind=CouponKind(kind),
        amount_fen=number(value) if kind == "amount" else None,
        discount_bp=number(value) if kind == "percent" else None,
        cap_fen=number(cap) or None,
        **{"valid_days": 30, **more},
    )


def held(name: int, terms: CouponTerms, **more: Any) -> HeldCoupon:
    fields = {"usable_from": NOON, "expires_at": NOON + timedelta(days=30), "version": 1, "template_code": "t", **more}
    return HeldCoupon(id=UUID(int=name), template_id=UUID(int=name), terms=terms, **fields)


def written(text: str) -> dict[str, object]:
    definition: dict[str, object] = {}
    for part in text.split(" "):
        name, value = part.split("=")
        given: object = int(value) if value.isdigit() else {"yes": True}.get(value, value)
        definition[name] = [given] if name == "combines_with" else given
    return definition


@pytest.mark.parametrize("row", worked("coupon.md", "Example: terms that work and terms that do not"), ids=str)
def test_terms_that_work_and_terms_that_do_not(row: dict[str, str]) -> None:
    definition = written(row["terms"])
    if row["answer"] == "ok":
        terms = CouponTerms.parse(definition)
        assert CouponTerms.parse(terms.definition()) == terms
    else:
        with pytest.raises(ProgrammeInvalid) as refused:
            CouponTerms.parse(definition)
        assert f"`{refused.value.data['field']}`" == row["answer"]


def test_a_scope_is_read_back_and_its_ids_are_checked() -> None:
    definition = {"kind": "amount", "amount_fen": 1, "valid_days": 1, "scope": {"product_ids": [str(TEA)]}}
    terms = CouponTerms.parse(definition)
    assert terms.scope == Scope(product_ids=frozenset({TEA}))
    assert CouponTerms.parse(terms.definition()) == terms
    for wrong, path in (
        (["tea"], "scope.product_ids[0]"),
        ([str(TEA), str(TEA)], "scope.product_ids[1]"),
        ([str(UUID(int=at)) for at in range(201)], "scope.product_ids"),
    ):
        with pytest.raises(ProgrammeInvalid) as refused:
            CouponTerms.parse({**definition, "scope": {"product_ids": wrong}})
        assert refused.value.data["field"] == path


def test_a_budget_needs_coupons_that_something_bounds() -> None:
    open_ended, capped = terms_of("percent", "1,000"), terms_of("percent", "1,000", "500")
    issue_rule.admit_quota(open_ended, Quota(total_limit=100, daily_limit=10))
    issue_rule.admit_quota(capped, Quota(budget_fen=10_000))
    for terms, quota, field in (
        (open_ended, Quota(budget_fen=10_000), "cap_fen"),
        (capped, Quota(total_limit=-1), "total_limit"),
        (capped, Quota(daily_limit=10_000_001), "daily_limit"),
    ):
        with pytest.raises(ProgrammeInvalid) as refused:
            issue_rule.admit_quota(terms, quota)
        assert refused.value.data["field"] == field


@pytest.mark.parametrize("row", worked("coupon.md", "Example: when a coupon is good"), ids=str)
def test_when_a_coupon_is_good(row: dict[str, str]) -> None:
    def day(cell: str) -> date | None:
        return None if cell == "-" else date.fromisoformat(cell)

    terms = CouponTerms(
        kind=CouponKind.AMOUNT,
        amount_fen=1,
        valid_from=day(row["valid from"]),
        valid_until=day(row["valid until"]),
        valid_days=number(row["days"]) or None,
        delay_days=number(row["delay"]),
    )
    good = validity(terms, claimed_at=shop_time(row["claimed"]), zone=SHANGHAI)
    assert (good.usable_from, good.expires_at) == (shop_time(row["good from"]), shop_time(row["until before"]))


@pytest.mark.parametrize("row", worked("coupon.md", "Example: given back after its end"), ids=str)
def test_given_back_after_its_end(row: dict[str, str]) -> None:
    terms = terms_of("amount", "1", return_grace_days=number(row["grace days"]))
    ended = shop_time("2026-12-01 00:00")
    until = returned_until(terms, expires_at=ended, now=shop_time(row["given back"]), zone=SHANGHAI)
    assert until == shop_time(row["good until before"])


@pytest.mark.parametrize("row", worked("coupon.md", "Example: whether a coupon can be used"), ids=str)
def test_whether_a_coupon_can_be_used(row: dict[str, str]) -> None:
    terms = terms_of("amount", "1", threshold_fen=number(row["over"]), scope=scope_of(row["scope"]))
    day = shop_time("2026-11-20 00:00")
    coupon = held(1, terms, usable_from=day, expires_at=day + timedelta(days=1))
    why = use_rule.unusable(coupon, lines_of("A 1 × 6,000, B 1 × 3,000"), now=shop_time(row["at"]))
    if row["answer"] == "ok":
        assert why is None
    else:
        assert why is not None
        assert f"`{why.reason}`" == row["answer"]
        assert (why.missing_fen or 0) == number(row["missing"])


def test_a_coupon_on_another_order_is_not_available() -> None:
    coupon = held(1, terms_of("amount", "1"), available=False)
    why = use_rule.unusable(coupon, lines_of("A 1 × 1"), now=NOON - timedelta(days=1))
    assert why == use_rule.Unusable(reason=rule.UnusableReason.NOT_AVAILABLE)


@pytest.mark.parametrize("row", worked("coupon.md", "Example: what a coupon takes off"), ids=str)
def test_what_a_coupon_takes_off(row: dict[str, str]) -> None:
    terms = terms_of(row["kind"], row["value"], row["cap"], scope=scope_of(row["scope"]))
    applied = use_rule.apply_coupons([held(1, terms)], lines_of(row["lines"]))
    assert list(applied[0].shares) == numbers(row["shares"])
    assert applied[0].discount_fen == sum(applied[0].shares)


@pytest.mark.parametrize("row", worked("coupon.md", "Example: what a shipping coupon takes off"), ids=str)
def test_what_a_shipping_coupon_takes_off(row: dict[str, str]) -> None:
    terms = terms_of("shipping", cap=row["cap"], threshold_fen=number(row["over"]), scope=scope_of(row["scope"]))
    coupon, cart, fee = held(1, terms), lines_of("A 1 × 6,000, B 1 × 3,000"), number(row["fee"])
    why = use_rule.unusable(coupon, cart, now=NOON, shipping_fen=fee)
    assert row["answer"] == (f"`{why.reason}`" if why else "ok")
    assert number(row["missing"]) == (why.missing_fen or 0 if why else 0)
    if why is None:
        (applied,) = use_rule.admit_coupons([coupon], cart, now=NOON, shipping_fen=fee)
        assert applied.discount_fen == applied.shipping_fen == number(row["takes off"])
        assert applied.shares == (0, 0)
    else:
        with pytest.raises(rule.CouponNotUsable):
            use_rule.admit_coupons([coupon], cart, now=NOON, shipping_fen=fee)


@pytest.mark.parametrize("row", worked("coupon.md", "Example: which coupons go together"), ids=str)
def test_which_coupons_go_together(row: dict[str, str]) -> None:
    def read(cell: str) -> CouponTerms:
        group, _, others = cell.partition(" >")
        named = frozenset(other.strip() for other in others.split(",") if other.strip())
        return terms_of("amount", "1", group=group.lstrip("!"), combines_with=named, exclusive=cell.startswith("!"))

    one, other = held(1, read(row["one"])), held(2, read(row["other"]))
    together = row["together"] == "yes"
    assert use_rule.combinable(one, [other]) is use_rule.combinable(other, [one]) is together
    lines = lines_of("A 1 × 100")
    if together:
        assert len(use_rule.admit_coupons([one, other], lines, now=NOON)) == 2
    else:
        with pytest.raises(rule.CouponsNotCombinable) as refused:
            use_rule.admit_coupons([one, other], lines, now=NOON)
        assert set(refused.value.data.values()) == {str(one.id), str(other.id)}


OPEN: dict[str, Any] = {"group": "g", "combines_with": frozenset({"g"})}


def test_an_order_takes_so_many_coupons_of_a_template_and_altogether() -> None:
    lines = lines_of("A 1 × 10,000")
    twice = terms_of("amount", "1", max_per_order=2, **OPEN)
    same = [replace(held(at, twice), template_id=UUID(int=7)) for at in range(1, 4)]
    assert len(use_rule.admit_coupons(same[:2], lines, now=NOON)) == 2
    with pytest.raises(rule.TooManyCoupons) as refused:
        use_rule.admit_coupons(same, lines, now=NOON)
    assert refused.value.data == {"most": 2}
    many = [held(at, terms_of("amount", "1", **OPEN)) for at in range(1, 7)]
    assert len(use_rule.admit_coupons(many[:5], lines, now=NOON)) == 5
    with pytest.raises(rule.TooManyCoupons) as refused:
        use_rule.admit_coupons(many, lines, now=NOON)
    assert refused.value.data == {"most": 5}


def test_of_two_versions_of_a_template_the_stricter_number_counts() -> None:
    strict = replace(held(1, terms_of("amount", "1", max_per_order=1, **OPEN)), template_id=UUID(int=7))
    loose = replace(held(2, terms_of("amount", "1", max_per_order=2, **OPEN)), template_id=UUID(int=7), version=2)
    assert not use_rule.combinable(strict, [loose])
    assert not use_rule.combinable(loose, [strict])


def test_a_coupon_that_finds_nothing_left_is_refused() -> None:
    coupons = [held(at, terms_of("amount", "100", **OPEN)) for at in (1, 2)]
    with pytest.raises(rule.CouponNotUsable) as refused:
        use_rule.admit_coupons(coupons, lines_of("A 1 × 100"), now=NOON)
    assert refused.value.data == {"coupon_id": str(coupons[1].id), "reason": "nothing_left", "missing": None}


def test_coupons_apply_in_their_own_order_whatever_order_they_come_in() -> None:
    exchange, amount, percent = (
        held(3, terms_of("exchange", **OPEN)),
        held(2, terms_of("amount", "1,000", **OPEN)),
        held(1, terms_of("percent", "5,000", **OPEN)),
    )
    lines = lines_of("A 1 × 2,000, B 1 × 3,000")
    wanted = [(exchange.id, 3_000), (amount.id, 1_000), (percent.id, 500)]
    for given_in in ([exchange, amount, percent], [percent, exchange, amount], [amount, percent, exchange]):
        applied = use_rule.admit_coupons(given_in, lines, now=NOON)
        assert [(one.coupon_id, one.discount_fen) for one in applied] == wanted


OFFER = TemplateOffer(published=True, opens_at=NOON, closes_at=NOON + timedelta(days=1))


def test_a_coupon_is_issued_within_its_time_and_the_members_limits() -> None:
    terms = terms_of("amount", "1", member_limit=3, member_daily_limit=2)

    def ask(
        offer: TemplateOffer = OFFER, *, had: int = 0, today: int = 0, now: datetime = NOON
    ) -> type[Refusal] | None:
        try:
            issue_rule.admit_issue(terms, offer, had_count=had, had_today=today, now=now, zone=SHANGHAI)
        except Refusal as refusal:
            return type(refusal)
        return None

    assert ask(had=2, today=1) is None
    assert ask(had=3) is rule.CouponLimitReached
    assert ask(had=2, today=2) is rule.CouponLimitReached
    assert ask(now=NOON - timedelta(microseconds=1)) is rule.CouponNotOffered
    assert ask(now=NOON + timedelta(days=1)) is rule.CouponNotOffered
    assert ask(replace(OFFER, published=False)) is rule.CouponNotOffered


def test_a_coupon_whose_days_are_over_is_not_issued() -> None:
    terms = CouponTerms(kind=CouponKind.AMOUNT, amount_fen=1, valid_until=date(2026, 11, 19))
    with pytest.raises(rule.CouponNotOffered):
        issue_rule.admit_issue(terms, OFFER, had_count=0, had_today=0, now=NOON, zone=SHANGHAI)


def test_a_window_has_length_and_a_kind_stays() -> None:
    issue_rule.admit_window(opens_at=NOON, closes_at=None)
    with pytest.raises(ProgrammeInvalid):
        issue_rule.admit_window(opens_at=NOON, closes_at=NOON)
    issue_rule.admit_same_kind(terms_of("amount", "1"), terms_of("amount", "2"))
    with pytest.raises(ProgrammeInvalid):
        issue_rule.admit_same_kind(terms_of("amount", "1"), terms_of("exchange"))


@given(
    kinds=st.lists(st.sampled_from(["amount", "percent", "exchange", "shipping"]), min_size=1, max_size=5),
    value=st.integers(1, 10_000),
    prices=st.lists(st.integers(1, 10_000), min_size=1, max_size=6),
)
def test_no_line_gives_more_than_it_costs_and_shares_add_up(kinds: list[str], value: int, prices: list[int]) -> None:
    lines = [CouponLine(product_id=TEA, unit_price_fen=price, payable_fen=price) for price in prices]
    coupons = [held(at, terms_of(kind, str(value))) for at, kind in enumerate(kinds, start=1)]
    applied = use_rule.apply_coupons(coupons, lines, shipping_fen=value)
    assert sum(one.shipping_fen for one in applied) <= value
    for at, price in enumerate(prices):
        assert 0 <= sum(one.shares[at] for one in applied) <= price
    assert all(one.discount_fen == sum(one.shares) + one.shipping_fen for one in applied)
