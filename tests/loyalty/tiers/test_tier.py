from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.programme import ProgrammeInvalid
from loyalty.tiers import tier, tier_benefit, tier_overlay
from loyalty.tiers.tier import DowngradeMode, TierTable
from loyalty.tiers.tier_benefit import BenefitKind
from loyalty.tiers.tier_overlay import TierOverlay
from tests.loyalty.worked_examples import number, worked

SHANGHAI = ZoneInfo("Asia/Shanghai")
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
A_DAY = timedelta(days=1)


def level(code: str, threshold: int, keep: int | None = None, **more: object) -> dict[str, object]:
    kept = {} if keep is None else {"keep_months": 12, "keep_threshold": keep}
    return {"code": code, "name": code.title(), "threshold": threshold, **kept, **more}


LEVELS = [level("basic", 0), level("silver", 1_000, 800), level("gold", 5_000, 4_000), level("black", 20_000, 15_000)]


def table(**more: object) -> TierTable:
    return TierTable.parse({"levels": LEVELS, "grace_days": 14, **more})


@st.composite
def tables(draw: st.DrawFn) -> TierTable:
    steps = draw(st.lists(st.integers(1, 10_000), max_size=8))
    levels, threshold = [level("t0", 0)], 0
    for at, step in enumerate(steps):
        threshold += step
        keep = draw(st.none() | st.integers(0, threshold))
        levels.append(level(f"t{at + 1}", threshold, keep))
    mode = draw(st.sampled_from(DowngradeMode))
    return TierTable.parse({"levels": levels, "grace_days": draw(st.integers(0, 90)), "downgrade": mode.value})


growths = st.integers(0, 100_000)


# The page


def test_growth_is_as_the_page_says() -> None:
    for row in worked("tier.md", "Example: growth value of an order"):
        gains = table(growth_points=number(row["growth"]), growth_per_fen=number(row["per fen"]))
        assert tier.growth_for(gains, number(row["paid fen"])) == number(row["gained"]), row


def test_tiers_are_as_the_page_says() -> None:
    for row in worked("tier.md", "Example: which tier"):
        stands = tier.progress(table(), number(row["growth value"]))
        following = stands.next.code if stands.next else "-"
        assert (stands.current.code, following, stands.missing) == (row["tier"], row["next"], number(row["missing"]))


def test_rising_is_as_the_page_says() -> None:
    for row in worked("tier.md", "Example: rising"):
        change = tier.after_growth(table(), current_code=row["tier"], growth=number(row["growth value"]))
        assert (change.to_code if change else "-") == row["rises to"], row


def test_refunds_are_as_the_page_says() -> None:
    for row in worked("tier.md", "Example: after a refund"):
        change = tier.after_refund(
            table(), current_code=row["tier"], growth=number(row["growth value now"]), backing=number(row["backing"])
        )
        assert (change.to_code if change else "-") == row["falls to"], row


def test_period_ends_are_as_the_page_says() -> None:
    for row in worked("tier.md", "Example: the end of a keep period"):
        decided = tier.at_period_end(
            table(downgrade=row["mode"]),
            current_code=row["tier"],
            growth=number(row["growth value"]),
            period_growth=number(row["gained in the period"]),
            ended_at=NOW,
            now=NOW + number(row["days"]) * A_DAY,
        )
        outcome = "kept" if decided.kept else "grace" if decided.in_grace else decided.change and decided.change.to_code
        assert (outcome, decided.growth_reset) == (row["outcome"], number(row["growth entry"])), row


def test_overlays_are_as_the_page_says() -> None:
    for row in worked("tier.md", "Example: which tier applies"):
        overlays = [
            TierOverlay(code=row[column], starts_at=NOW, manual=column == "manual")
            for column in ("trial", "manual")
            if row[column] != "-"
        ]
        applies = tier_overlay.effective(table(), own_code=row["own"], overlays=overlays, now=NOW)
        assert applies.code == row["applies"], row


def test_benefits_do_what_the_page_says() -> None:
    shipping = tier_benefit.Benefit(kind=BenefitKind.FREE_SHIPPING, figure=9_900)
    early = tier_benefit.Benefit(kind=BenefitKind.EARLY_ACCESS, figure=30)
    coupons = tier_benefit.Benefit(kind=BenefitKind.MONTHLY_COUPONS, figure=3, code="tea")
    for row in worked("tier.md", "Example: what benefits do"):
        free = tier_benefit.ships_free(shipping, payable_fen=number(row["payable fen"]))
        assert free is (row["ships free"] == "yes"), row
        opens_at = datetime.fromisoformat(row["something opens at"]).replace(tzinfo=UTC)
        opens = tier_benefit.opens_for(early, opens_at=opens_at)
        assert opens == datetime.fromisoformat(row["opens for the tier at"]).replace(tzinfo=UTC), row
        due = tier_benefit.coupons_due(coupons, granted_count=number(row["coupons had"]))
        assert due == number(row["coupons due"]), row


def test_birthday_gifts_are_due_as_the_page_says() -> None:
    gift = tier_benefit.Benefit(kind=BenefitKind.BIRTHDAY_GIFT, figure=200)
    for row in worked("tier.md", "Example: birthday gifts"):
        due = tier_benefit.gift_due(
            gift,
            birthday=None if row["birthday"] == "-" else date.fromisoformat(row["birthday"]),
            today=date.fromisoformat(row["today"]),
            last_given_on=None if row["last gift"] == "-" else date.fromisoformat(row["last gift"]),
        )
        assert due is (row["due"] == "yes"), row


def test_a_tier_without_a_benefit_gives_none() -> None:
    assert not tier_benefit.ships_free(None, payable_fen=10**9)
    assert tier_benefit.opens_for(None, opens_at=NOW) == NOW
    assert tier_benefit.coupons_due(None, granted_count=0) == 0
    assert not tier_benefit.gift_due(None, birthday=NOW.date(), today=NOW.date(), last_given_on=None)


# Properties


@given(tables(), growths, growths)
def test_more_growth_never_means_a_lower_tier(levels: TierTable, one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert tier.tier_for(levels, low).threshold <= tier.tier_for(levels, high).threshold


@given(tables())
def test_every_threshold_is_reached_exactly_and_not_one_below(levels: TierTable) -> None:
    for one in levels.levels:
        assert tier.tier_for(levels, one.threshold) is one
        if one.threshold:
            assert tier.tier_for(levels, one.threshold - 1) is not one


@given(tables(), growths)
def test_progress_ends_exactly_at_the_next_tier(levels: TierTable, growth: int) -> None:
    stands = tier.progress(levels, growth)
    if stands.next is None:
        assert stands.current is levels.levels[-1]
    else:
        assert tier.tier_for(levels, growth + stands.missing) is stands.next
        assert tier.tier_for(levels, growth + stands.missing - 1) is stands.current


@given(tables(), growths, growths, growths, st.integers(0, 100))
def test_whoever_falls_must_earn_the_tier_again(
    levels: TierTable, growth: int, gained: int, rank: int, days: int
) -> None:
    own = levels.levels[rank % len(levels.levels)]
    growth = max(growth, own.threshold)
    gained = min(gained, growth)
    decided = tier.at_period_end(
        levels, current_code=own.code, growth=growth, period_growth=gained, ended_at=NOW, now=NOW + days * A_DAY
    )
    if decided.change is None:
        assert decided.kept or days < levels.grace_days
        assert decided.growth_reset == 0
        return
    left = growth + decided.growth_reset
    assert levels.rank(decided.change.to_code) < levels.rank(own.code)
    assert left >= gained
    assert tier.after_growth(levels, current_code=decided.change.to_code, growth=left) is None
    if levels.downgrade is DowngradeMode.FIT:
        assert tier.tier_for(levels, left).code == decided.change.to_code


@given(tables(), growths, growths, growths)
def test_a_refund_never_lifts_and_never_lowers_below_what_fits(
    levels: TierTable, growth: int, backing: int, rank: int
) -> None:
    own = levels.levels[rank % len(levels.levels)]
    change = tier.after_refund(levels, current_code=own.code, growth=growth, backing=backing)
    if change is not None:
        assert levels.rank(change.to_code) < levels.rank(own.code)
        assert change.to_code == tier.tier_for(levels, growth).code
        assert backing < own.threshold


# Single rules


def test_a_refund_does_not_lower_below_a_tier_held_for_another_reason() -> None:
    change = tier.after_refund(table(), current_code="gold", growth=0, backing=0, floor_code="silver")
    assert change is not None
    assert change.to_code == "silver"
    assert tier.after_refund(table(), current_code="gold", growth=0, backing=0, floor_code="gold") is None


def test_a_new_table_lifts_and_never_lowers_a_tier_that_still_exists() -> None:
    lifted = tier.after_publish(table(), current_code="silver", growth=5_000)
    assert lifted is not None
    assert (lifted.to_code, lifted.reason) == ("gold", tier.TierChangeReason.TABLE_PUBLISHED)
    assert tier.after_publish(table(), current_code="black", growth=10) is None


def test_a_tier_that_is_gone_becomes_the_one_that_fits() -> None:
    moved = tier.after_publish(table(), current_code="platinum", growth=1_200)
    assert moved is not None
    assert (moved.from_code, moved.to_code) == ("platinum", "silver")


def test_a_period_ends_at_the_shop_midnight_that_many_months_later() -> None:
    started = datetime(2026, 8, 31, 20, tzinfo=UTC)
    months = TierTable.parse({"levels": [level("basic", 0), level("vip", 1, 0) | {"keep_months": 6}]})
    ended = tier.period_end(months.level("vip"), started_at=started, zone=SHANGHAI)
    assert ended == datetime(2027, 2, 28, 16, tzinfo=UTC)
    assert tier.period_end(months.lowest, started_at=started, zone=SHANGHAI) is None


def test_an_overlay_applies_from_its_start_to_before_its_end() -> None:
    trial = TierOverlay(code="gold", starts_at=NOW, ends_at=NOW + A_DAY)
    a_tick = timedelta(microseconds=1)
    for at, code in ((NOW - a_tick, "basic"), (NOW, "gold"), (NOW + A_DAY - a_tick, "gold"), (NOW + A_DAY, "basic")):
        assert tier_overlay.effective(table(), own_code="basic", overlays=[trial], now=at).code == code


def test_the_latest_manual_tier_applies() -> None:
    first = TierOverlay(code="black", starts_at=NOW - 2 * A_DAY, manual=True)
    latest = TierOverlay(code="silver", starts_at=NOW - A_DAY, manual=True)
    assert tier_overlay.effective(table(), own_code="gold", overlays=[latest, first], now=NOW).code == "silver"
    later = TierOverlay(code="black", starts_at=NOW, manual=True)
    assert tier_overlay.effective(table(), own_code="gold", overlays=[later, latest], now=NOW).code == "black"


@pytest.mark.parametrize(
    ("code", "days", "fine"),
    [("gold", 365, True), ("gold", 366, False), ("gold", 0, False), ("silver", 30, False), ("basic", 30, False)],
)
def test_a_trial_is_of_a_higher_tier_and_ends_within_a_year(code: str, days: int, fine: bool) -> None:
    def admit() -> None:
        tier_overlay.admit_trial(table(), own_code="silver", trial_code=code, starts_at=NOW, ends_at=NOW + days * A_DAY)

    if fine:
        admit()
    else:
        with pytest.raises(tier_overlay.TierTrialRefused):
            admit()


def test_a_tier_that_does_not_exist_cannot_be_tried_or_set() -> None:
    with pytest.raises(tier.TierNotFound):
        tier_overlay.admit_trial(table(), own_code="basic", trial_code="none", starts_at=NOW, ends_at=NOW + A_DAY)
    with pytest.raises(tier.TierNotFound):
        tier_overlay.admit_override(table(), tier_code="none", reason="because", now=NOW)


@pytest.mark.parametrize(
    ("reason", "ends_at", "fine"),
    [
        ("vip guest", None, True),
        ("x" * 200, NOW + timedelta(microseconds=1), True),
        ("x" * 201, None, False),
        ("  ", None, False),
        ("vip guest", NOW, False),
    ],
)
def test_a_manual_tier_needs_a_reason_and_an_end_ahead(reason: str, ends_at: datetime | None, fine: bool) -> None:
    if fine:
        tier_overlay.admit_override(table(), tier_code="gold", reason=reason, now=NOW, ends_at=ends_at)
    else:
        with pytest.raises(tier_overlay.TierOverrideInvalid):
            tier_overlay.admit_override(table(), tier_code="gold", reason=reason, now=NOW, ends_at=ends_at)


# The definition


BENEFITS = [
    {"kind": "free_shipping", "figure": 9_900, "monthly_limit": 2},
    {"kind": "birthday_gift", "figure": 200},
    {"kind": "monthly_coupons", "figure": 2, "code": "gold_coupon"},
    {"kind": "early_access", "figure": 30},
    {"kind": "service_line", "code": "gold_line"},
    {"kind": "event_access"},
]


def test_a_table_reads_back_what_it_wrote() -> None:
    full = table(
        levels=[*LEVELS, level("diamond", 50_000, discount_bp=1_500, points_multiplier_bp=20_000, benefits=BENEFITS)],
        downgrade="fit",
    )
    assert TierTable.parse(full.definition()) == full
    shipping = full.level("diamond").benefit(BenefitKind.FREE_SHIPPING)
    assert shipping is not None
    assert (shipping.figure, shipping.monthly_limit) == (9_900, 2)
    assert full.lowest.benefit(BenefitKind.FREE_SHIPPING) is None


@given(tables())
def test_any_table_reads_back_what_it_wrote(levels: TierTable) -> None:
    assert TierTable.parse(levels.definition()) == levels


def with_levels(*levels: dict[str, object]) -> dict[str, object]:
    return {"levels": list(levels)}


def with_benefits(*benefits: dict[str, object]) -> dict[str, object]:
    return with_levels(level("basic", 0, benefits=list(benefits)))


@pytest.mark.parametrize(
    ("definition", "field"),
    [
        ({}, "levels"),
        ({"levels": []}, "levels"),
        ({"levels": [level(f"t{at}", at) for at in range(21)]}, "levels"),
        (with_levels(level("basic", 1)), "levels[0].threshold"),
        (with_levels(level("basic", 0), level("silver", 0)), "levels[1].threshold"),
        (with_levels(level("basic", 0), level("gold", 9), level("silver", 8)), "levels[2].threshold"),
        (with_levels(level("basic", 0), level("basic", 9)), "levels[1].code"),
        (with_levels(level("basic", -1)), "levels[0].threshold"),
        (with_levels(level("basic", 0, discount_bp=9_001)), "levels[0].discount_bp"),
        (with_levels(level("basic", 0, discount_bp=-1)), "levels[0].discount_bp"),
        (with_levels(level("basic", 0, points_multiplier_bp=9_999)), "levels[0].points_multiplier_bp"),
        (with_levels(level("basic", 0, name="")), "levels[0].name"),
        (with_levels(level("basic", 0, name="x" * 21)), "levels[0].name"),
        (with_levels(level("basic", 0, 0)), "levels[0].keep_months"),
        (with_levels(level("basic", 0), level("silver", 10, 11)), "levels[1].keep_threshold"),
        (with_levels(level("basic", 0), level("silver", 10, keep_threshold=5)), "levels[1].keep_threshold"),
        (with_levels(level("basic", 0, colour="red")), "levels[0].colour"),
        ({**with_levels(level("basic", 0)), "grace_days": 91}, "grace_days"),
        ({**with_levels(level("basic", 0)), "downgrade": "none"}, "downgrade"),
        ({**with_levels(level("basic", 0)), "growth_per_fen": 0}, "growth_per_fen"),
        (with_benefits({"kind": "free_lunch"}), "levels[0].benefits[0].kind"),
        (with_benefits({"kind": "event_access"}, {"kind": "event_access"}), "levels[0].benefits[1].kind"),
        (with_benefits({"kind": "early_access"}), "levels[0].benefits[0].figure"),
        (with_benefits({"kind": "early_access", "figure": 10_081}), "levels[0].benefits[0].figure"),
        (with_benefits({"kind": "monthly_coupons", "figure": 2}), "levels[0].benefits[0].code"),
        (with_benefits({"kind": "service_line"}), "levels[0].benefits[0].code"),
        (with_benefits({"kind": "free_shipping", "code": "x"}), "levels[0].benefits[0].code"),
        (with_benefits({"kind": "free_shipping", "monthly_limit": 0}), "levels[0].benefits[0].monthly_limit"),
        (with_benefits({"kind": "event_access", "monthly_limit": 1}), "levels[0].benefits[0].monthly_limit"),
        (with_benefits({"kind": "birthday_gift"}), "levels[0].benefits[0].figure"),
    ],
)
def test_an_impossible_table_is_refused_with_the_field(definition: dict[str, object], field: str) -> None:
    with pytest.raises(ProgrammeInvalid) as refused:
        TierTable.parse(definition)
    assert refused.value.data["field"] == field
