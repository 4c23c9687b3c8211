from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.points import points, points_lot
from loyalty.points.points import ClawBackMode, ExpiryPolicy, PointsProgramme
from loyalty.points.points_lot import Draw, Lot
from loyalty.points.points_window import BoostOccasion
from loyalty.programme import ProgrammeInvalid
from loyalty.refusal import Refusal
from loyalty.shop_time import business_day, day_start
from tests.loyalty.worked_examples import number, worked

SHANGHAI = ZoneInfo("Asia/Shanghai")
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def utc(cell: str) -> datetime | None:
    return None if cell == "never" else datetime.fromisoformat(cell).replace(tzinfo=UTC)


def lot(
    at: int, remaining: int, *, held: int = 0, ends: datetime | None = None, usable_from: datetime = LONG_AGO
) -> Lot:
    return Lot(id=UUID(int=at), remaining=remaining, held=held, expires_at=ends, available_at=usable_from)


def total(draws: Sequence[Draw]) -> int:
    return sum(draw.amount for draw in draws)


ends = st.none() | st.integers(-10, 400).map(lambda days: NOW + timedelta(days=days))


@st.composite
def lots(draw: st.DrawFn) -> list[Lot]:
    found = []
    for at in range(draw(st.integers(0, 12))):
        remaining = draw(st.integers(0, 1_000))
        found.append(
            lot(
                at,
                remaining,
                held=draw(st.integers(0, remaining)),
                ends=draw(ends),
                usable_from=NOW + timedelta(days=draw(st.integers(-3, 1))),
            )
        )
    return draw(st.permutations(found))


# The page


def test_earning_is_as_the_page_says() -> None:
    for row in worked("points.md", "Example: earning"):
        programme = PointsProgramme(earn_points=number(row["points"]), earn_per_fen=number(row["per fen"]))
        earned = points.earn(programme, paid_fen=number(row["paid fen"]), multiplier_bp=number(row["factor in bp"]))
        assert earned == number(row["earned"]), row


FACTORS: dict[str, object] = {
    "boosts": [
        {"code": "member_day", "kind": "weekday", "weekdays": [3], "factor_bp": 20_000},
        {"code": "birthday", "kind": "birthday", "factor_bp": 30_000},
        {
            "code": "double_eleven",
            "kind": "campaign",
            "from_day": "2026-11-11",
            "until_day": "2026-11-12",
            "factor_bp": 25_000,
        },
    ]
}


def test_factors_are_as_the_page_says() -> None:
    programme = PointsProgramme.parse(FACTORS)
    for row in worked("points.md", "Example: factors"):
        occasion = BoostOccasion(day=date.fromisoformat(row["day"]), birthday=date.fromisoformat(row["birthday"]))
        factor = points.multiplier_bp(programme, tier_bp=number(row["tier factor in bp"]), occasion=occasion)
        assert factor == number(row["factor in bp"]), row


def test_caps_are_as_the_page_says() -> None:
    for row in worked("points.md", "Example: caps"):
        programme = PointsProgramme(
            cap_per_day=number(row["cap a day"]) or None, cap_per_member=number(row["cap for life"]) or None
        )
        booked = points.within_caps(
            programme,
            number(row["points"]),
            earned_today=number(row["earned today"]),
            earned_ever=number(row["earned ever"]),
        )
        assert booked == number(row["booked"]), row


def test_expiry_is_as_the_page_says() -> None:
    for row in worked("points.md", "Example: expiry"):
        programme = PointsProgramme(expiry=ExpiryPolicy(row["policy"]), expiry_after=number(row["after"]))
        for hours in (0, 12, 23):
            earned_at = day_start(date.fromisoformat(row["earned on"]), SHANGHAI) + timedelta(hours=hours)
            ended = points.expires_at(programme, earned_at=earned_at, zone=SHANGHAI)
            last = "-" if ended is None else business_day(ended - timedelta(microseconds=1), SHANGHAI).isoformat()
            assert last == row["last usable day"], row


def test_notices_are_due_as_the_page_says() -> None:
    ends_at = datetime(2026, 12, 31, 16, tzinfo=UTC)
    for row in worked("points.md", "Example: notices before the end"):
        due = points.notice_due(ends_at, today=date.fromisoformat(row["today"]), zone=SHANGHAI)
        assert due == (number(row["notice of days"]) or None), row


def test_the_expiry_calendar_adds_up_the_free_points_of_each_day() -> None:
    this_year, next_year = datetime(2026, 12, 31, 16, tzinfo=UTC), datetime(2027, 12, 31, 16, tzinfo=UTC)
    owned = [
        lot(1, 100, ends=next_year),
        lot(2, 50, ends=this_year),
        lot(3, 30),
        lot(4, 20, held=5, ends=this_year, usable_from=NOW + timedelta(days=7)),
        lot(5, 9, ends=NOW),
    ]
    calendar = points_lot.expiry_calendar(owned, now=NOW, zone=SHANGHAI)
    assert calendar == ((date(2026, 12, 31), 65), (date(2027, 12, 31), 100))


def test_redeeming_is_as_the_page_says() -> None:
    programme = PointsProgramme.parse({})
    for row in worked("points.md", "Example: redeeming"):
        payable_fen, available = number(row["payable fen"]), number(row["available"])
        answer = "ok"
        try:
            points.admit_redemption(
                programme, points=number(row["wanted"]), payable_fen=payable_fen, available=available
            )
        except Refusal as refusal:
            answer = f"`{refusal.code}`"
        assert answer == row["answer"], row
        assert points.redeemable(programme, payable_fen=payable_fen, available=available) == number(row["most"]), row


def test_lots_pay_as_the_page_says() -> None:
    this_year, next_year = datetime(2026, 12, 31, 16, tzinfo=UTC), datetime(2027, 12, 31, 16, tzinfo=UTC)
    owned = [
        lot(1, 100, ends=next_year),
        lot(2, 50, ends=this_year),
        lot(3, 30),
        lot(4, 20, held=5, ends=this_year),
    ]
    for row in worked("points.md", "Example: which lots pay"):
        if row["why"] == "`POINTS_SHORT`":
            with pytest.raises(points.PointsShort) as refused:
                points_lot.allocate(owned, number(row["wanted"]), NOW)
            assert refused.value.data == {"available": 195, "wanted": 196}
        else:
            draws = {draw.lot_id.int: draw.amount for draw in points_lot.allocate(owned, number(row["wanted"]), NOW)}
            assert draws == {at: number(row[f"lot {at}"]) for at in range(1, 5) if number(row[f"lot {at}"])}, row


def test_points_come_back_as_the_page_says() -> None:
    for row in worked("points.md", "Example: points that come back"):
        original = lot(1, 0, ends=utc(row["lot ended or ends (UTC)"]))
        back = points_lot.restore([Draw(lot_id=original.id, amount=9)], [original], now=NOW, grace=timedelta(days=7))
        if row["comes back into"] == "the same lot":
            assert (total(back.into_lots), back.replacements) == (9, ()), row
            assert original.expires_at == utc(row["ends (UTC)"])
        else:
            assert [(new.amount, new.expires_at) for new in back.replacements] == [(9, utc(row["ends (UTC)"]))], row
            assert back.into_lots == ()


def test_what_an_order_only_held_is_let_go_as_the_page_says() -> None:
    for row in worked("points.md", "Example: points that an order only held"):
        original = replace(
            lot(1, 0, ends=utc(row["lot ended or ends (UTC)"])), replaces=row["the lot has had its grace"] == "yes"
        )
        back = points_lot.let_go([Draw(lot_id=original.id, amount=9)], [original], now=NOW, grace=timedelta(days=7))
        if row["comes back into"] == "the same lot":
            assert (total(back.into_lots), back.replacements) == (9, ()), row
            assert original.expires_at == utc(row["ends (UTC)"])
        else:
            assert [(new.amount, new.expires_at) for new in back.replacements] == [(9, utc(row["ends (UTC)"]))], row
            assert back.into_lots == ()


def test_claw_back_is_as_the_page_says() -> None:
    for row in worked("points.md", "Example: taking back what an order earned"):
        own, others = [lot(1, number(row["own"]))], [lot(2, number(row["others"]))]
        mode, amount = ClawBackMode(row["mode"]), number(row["take back"])
        if row["debt"] == "-":
            with pytest.raises(points.ClawBackBlocked) as refused:
                points_lot.claw_back(mode, own=own, others=others, amount=amount, now=NOW)
            assert refused.value.data == {"missing": 20}
            continue
        taken = points_lot.claw_back(mode, own=own, others=others, amount=amount, now=NOW)
        by_lot = {draw.lot_id.int: draw.amount for draw in taken.draws}
        assert by_lot.get(1, 0) == number(row["from own"]), row
        assert by_lot.get(2, 0) == number(row["from others"]), row
        assert (taken.debt, taken.forgiven) == (number(row["debt"]), number(row["forgiven"])), row


def test_debts_are_paid_as_the_page_says() -> None:
    for row in worked("points.md", "Example: a debt is paid from the next earnings"):
        recovery = points_lot.recover(debt=number(row["debt"]), earned=number(row["earned"]))
        assert recovery.to_debt == number(row["to the debt"]), row
        assert recovery.to_lot == number(row["to the member"]), row


# Lots


@given(lots(), st.integers(1, 5_000))
def test_allocation_takes_exactly_what_is_wanted_or_refuses(owned: list[Lot], wanted: int) -> None:
    there = points_lot.available(owned, NOW)
    if wanted > there:
        with pytest.raises(points.PointsShort):
            points_lot.allocate(owned, wanted, NOW)
        return
    draws = points_lot.allocate(owned, wanted, NOW)
    by_id = {one.id: one for one in owned}
    assert total(draws) == wanted
    assert all(0 < draw.amount <= by_id[draw.lot_id].free and by_id[draw.lot_id].usable(NOW) for draw in draws)
    assert len({draw.lot_id for draw in draws}) == len(draws)


@given(lots(), st.integers(1, 5_000))
def test_a_lot_that_ends_sooner_is_empty_before_a_later_one_is_touched(owned: list[Lot], wanted: int) -> None:
    wanted = min(wanted, points_lot.available(owned, NOW))
    if not wanted:
        return
    taken = {draw.lot_id: draw.amount for draw in points_lot.allocate(owned, wanted, NOW)}
    latest = max(
        (one for one in owned if one.id in taken), key=lambda one: (one.expires_at is None, one.expires_at or NOW)
    )
    for one in owned:
        sooner = one.expires_at is not None and (latest.expires_at is None or one.expires_at < latest.expires_at)
        if one.usable(NOW) and sooner:
            assert taken.get(one.id, 0) == one.free


@given(lots(), st.integers(1, 5_000))
def test_the_order_in_which_lots_are_read_does_not_matter(owned: list[Lot], wanted: int) -> None:
    wanted = min(wanted, points_lot.available(owned, NOW))
    if wanted:
        assert points_lot.allocate(owned, wanted, NOW) == points_lot.allocate(list(reversed(owned)), wanted, NOW)


def test_a_lot_is_usable_from_its_first_to_before_its_last_instant() -> None:
    a_tick = timedelta(microseconds=1)
    short_lived = lot(1, 5, ends=NOW, usable_from=NOW - timedelta(days=1))
    assert short_lived.usable(NOW - a_tick)
    assert not short_lived.usable(NOW)
    assert short_lived.expired(NOW)
    assert short_lived.usable(NOW - timedelta(days=1))
    assert not short_lived.usable(NOW - timedelta(days=1) - a_tick)


@given(lots())
def test_available_pending_and_ended_points_and_holds_make_up_all_lots(owned: list[Lot]) -> None:
    parts = points_lot.available(owned, NOW) + points_lot.pending(owned, NOW) + total(points_lot.expiring(owned, NOW))
    assert parts + sum(one.held for one in owned) == sum(one.remaining for one in owned)


@given(lots())
def test_expiring_takes_each_ended_lot_once_and_leaves_what_is_held(owned: list[Lot]) -> None:
    taken = {draw.lot_id: draw.amount for draw in points_lot.expiring(owned, NOW)}
    left = [
        Lot(
            id=one.id,
            remaining=one.remaining - taken.get(one.id, 0),
            held=one.held,
            expires_at=one.expires_at,
            available_at=one.available_at,
        )
        for one in owned
    ]
    assert points_lot.expiring(left, NOW) == ()
    assert all(one.free >= 0 for one in left)
    assert points_lot.available(left, NOW) == points_lot.available(owned, NOW)


@given(lots(), st.integers(1, 5_000), st.lists(st.integers(0, 2_000), max_size=5), st.integers(0, 30))
def test_refunds_never_return_more_than_each_lot_gave(
    owned: list[Lot], wanted: int, refunds: list[int], grace: int
) -> None:
    wanted = min(wanted, points_lot.available(owned, NOW))
    if not wanted:
        return
    draws = points_lot.allocate(owned, wanted, NOW)
    returned: dict[UUID, int] = {}
    for amount in [*refunds, wanted]:
        back = points_lot.undrawn(draws, returned=returned, amount=min(amount, wanted - sum(returned.values())))
        restored = points_lot.restore(back, owned, now=NOW + timedelta(days=20), grace=timedelta(days=grace))
        assert restored.amount == total(back)
        for draw in back:
            returned[draw.lot_id] = returned.get(draw.lot_id, 0) + draw.amount
    assert returned == {draw.lot_id: draw.amount for draw in draws}


def test_a_partial_refund_fills_the_lot_drawn_last_first() -> None:
    draws = (Draw(lot_id=UUID(int=1), amount=10), Draw(lot_id=UUID(int=2), amount=5))
    back = points_lot.undrawn(draws, returned={}, amount=7)
    assert [(draw.lot_id.int, draw.amount) for draw in back] == [(2, 5), (1, 2)]
    rest = points_lot.undrawn(draws, returned={UUID(int=2): 5, UUID(int=1): 2}, amount=8)
    assert [(draw.lot_id.int, draw.amount) for draw in rest] == [(1, 8)]


def test_returning_more_than_was_spent_is_our_mistake() -> None:
    with pytest.raises(AssertionError):
        points_lot.undrawn((Draw(lot_id=UUID(int=1), amount=10),), returned={UUID(int=1): 4}, amount=7)


@given(st.lists(st.integers(1, 100), min_size=1, max_size=5), ends, st.integers(0, 30))
def test_what_comes_back_can_be_used_for_the_whole_grace(amounts: list[int], ended: datetime | None, days: int) -> None:
    owned = [lot(at, 0, ends=ended) for at in range(len(amounts))]
    grace = timedelta(days=days)
    back = points_lot.restore(
        [Draw(lot_id=one.id, amount=amount) for one, amount in zip(owned, amounts, strict=True)],
        owned,
        now=NOW,
        grace=grace,
    )
    assert back.amount == sum(amounts)
    assert all(new.expires_at == NOW + grace for new in back.replacements)
    assert bool(back.into_lots) is (ended is None or (ended > NOW and ended >= NOW + grace))


@given(st.sampled_from(ClawBackMode), lots(), lots(), st.integers(0, 20_000))
def test_a_claw_back_accounts_for_every_point(
    mode: ClawBackMode, own: list[Lot], others: list[Lot], amount: int
) -> None:
    others = [lot(100 + one.id.int, one.remaining, held=one.held, ends=one.expires_at) for one in others]
    there = sum(one.free for one in [*own, *others] if not one.expired(NOW))
    if mode is ClawBackMode.BLOCK and amount > there:
        with pytest.raises(points.ClawBackBlocked):
            points_lot.claw_back(mode, own=own, others=others, amount=amount, now=NOW)
        return
    taken = points_lot.claw_back(mode, own=own, others=others, amount=amount, now=NOW)
    assert taken.taken + taken.debt + taken.forgiven == amount
    assert taken.taken == min(amount, there)
    assert not (taken.debt and mode is not ClawBackMode.DEBT)
    assert not (taken.forgiven and mode is not ClawBackMode.CLAMP)


def test_a_claw_back_takes_points_that_are_still_pending() -> None:
    pending = lot(1, 100, usable_from=NOW + timedelta(days=7))
    taken = points_lot.claw_back(ClawBackMode.DEBT, own=[pending], others=[lot(2, 50)], amount=100, now=NOW)
    assert [(draw.lot_id.int, draw.amount) for draw in taken.draws] == [(1, 100)]


def test_a_lot_named_twice_is_taken_from_once() -> None:
    owned = lot(1, 100)
    taken = points_lot.claw_back(ClawBackMode.DEBT, own=[owned], others=[owned, lot(2, 10)], amount=150, now=NOW)
    assert (taken.taken, taken.debt) == (110, 40)


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_debt_never_takes_more_than_it_is(debt: int, earned: int) -> None:
    recovery = points_lot.recover(debt=debt, earned=earned)
    assert recovery.to_debt + recovery.to_lot == earned
    assert 0 <= recovery.to_debt <= debt


# Earning and redeeming


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 100_000))
def test_one_order_earns_at_least_what_two_halves_do(one: int, other: int, factor: int) -> None:
    programme = PointsProgramme.parse({})
    apart = sum(points.earn(programme, paid_fen=part, multiplier_bp=factor) for part in (one, other))
    assert 0 <= points.earn(programme, paid_fen=one + other, multiplier_bp=factor) - apart <= 1


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10_000), st.integers(1, 500), st.integers(1, 500))
def test_what_is_redeemable_is_always_admitted(payable: int, there: int, cap: int, step: int, worth: int) -> None:
    programme = PointsProgramme.parse(
        {"redeem_cap_bp": cap, "redeem_step_points": step, "redeem_step_fen": worth, "redeem_min_points": step * 2}
    )
    most = points.redeemable(programme, payable_fen=payable, available=there)
    points.admit_redemption(programme, points=most, payable_fen=payable, available=there)
    assert points.redeem_value(programme, most) * 10_000 <= payable * cap
    more = max(most + step, programme.redeem_min_points)
    with pytest.raises(Refusal):
        points.admit_redemption(programme, points=more, payable_fen=payable, available=there)


def test_only_a_full_cap_lets_points_pay_everything() -> None:
    assert points.redeemable(PointsProgramme(redeem_cap_bp=10_000), payable_fen=500, available=500) == 500
    assert points.redeemable(PointsProgramme(redeem_cap_bp=9_999), payable_fen=500, available=500) == 400


def test_an_action_is_rewarded_up_to_its_limits() -> None:
    programme = PointsProgramme.parse(
        {"actions": [{"code": "review", "points": 20, "times_per_day": 2, "times_per_member": 5}]}
    )
    assert points.action_points(programme, "review", times_today=1, times_ever=4) == 20
    assert points.action_points(programme, "review", times_today=2, times_ever=4) == 0
    assert points.action_points(programme, "review", times_today=0, times_ever=5) == 0
    assert points.action_points(programme, "share", times_today=0, times_ever=0) == 0


def test_points_of_an_order_wait_for_the_return_window() -> None:
    assert points.available_at(PointsProgramme(pending_days=7), NOW) == NOW + timedelta(days=7)
    assert points.available_at(PointsProgramme(), NOW) == NOW


@given(
    st.sampled_from(ExpiryPolicy),
    st.integers(1, 10),
    st.datetimes(datetime(2000, 1, 1), datetime(2050, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 (bare bounds)
    st.sampled_from(["Asia/Shanghai", "America/New_York", "Pacific/Apia", "UTC"]).map(ZoneInfo),
)
def test_points_end_at_a_shop_midnight_ahead(
    policy: ExpiryPolicy, after: int, earned: datetime, zone: ZoneInfo
) -> None:
    ended = points.expires_at(PointsProgramme(expiry=policy, expiry_after=after), earned_at=earned, zone=zone)
    if policy is ExpiryPolicy.NEVER:
        assert ended is None
    else:
        assert ended is not None
        assert ended > earned
        assert ended == day_start(business_day(ended, zone), zone)


@pytest.mark.parametrize(
    ("amount", "reason", "fine"),
    [
        (10_000_000, "goodwill", True),
        (-10_000_000, "x" * 200, True),
        (10_000_001, "goodwill", False),
        (-10_000_001, "goodwill", False),
        (0, "goodwill", False),
        (1, "  ", False),
        (1, "x" * 201, False),
    ],
)
def test_an_adjustment_needs_bounds_and_a_reason(amount: int, reason: str, fine: bool) -> None:
    if fine:
        points.admit_adjustment(amount=amount, reason=reason)
    else:
        with pytest.raises(points.PointsAdjustmentInvalid):
            points.admit_adjustment(amount=amount, reason=reason)


# The definition


FULL: dict[str, object] = {
    "earn_points": 2,
    "earn_per_fen": 300,
    "redeem_step_points": 10,
    "redeem_step_fen": 7,
    "redeem_min_points": 50,
    "redeem_cap_bp": 3_000,
    "pending_days": 7,
    "return_grace_days": 3,
    "expiry": "rolling_days",
    "expiry_after": 180,
    "clawback_mode": "clamp",
    "cap_per_day": 500,
    "cap_per_member": 100_000,
    "actions": [{"code": "review", "points": 20, "times_per_day": 2}],
    **FACTORS,
}


@pytest.mark.parametrize("definition", [{}, FULL])
def test_a_programme_reads_back_what_it_wrote(definition: dict[str, object]) -> None:
    programme = PointsProgramme.parse(definition)
    assert PointsProgramme.parse(programme.definition()) == programme


def boosts(*more: dict[str, object]) -> dict[str, object]:
    return {"boosts": [{"code": "first", "kind": "weekday", "weekdays": [3, 4], "factor_bp": 20_000}, *more]}


@pytest.mark.parametrize(
    ("definition", "field"),
    [
        ({"earn_points": -1}, "earn_points"),
        ({"earn_points": 10_001}, "earn_points"),
        ({"earn_per_fen": 0}, "earn_per_fen"),
        ({"earn_per_fen": "100"}, "earn_per_fen"),
        ({"earn_points": True}, "earn_points"),
        ({"redeem_cap_bp": 10_001}, "redeem_cap_bp"),
        ({"redeem_step_points": 100, "redeem_min_points": 150}, "redeem_min_points"),
        ({"expiry": "tomorrow"}, "expiry"),
        ({"expiry": "rolling_days"}, "expiry_after"),
        ({"expiry": "rolling_days", "expiry_after": 0}, "expiry_after"),
        ({"expiry": "year_end", "expiry_after": 11}, "expiry_after"),
        ({"expiry": "never", "expiry_after": 3}, "expiry_after"),
        ({"clawback_mode": "forget"}, "clawback_mode"),
        ({"cap_per_day": 0}, "cap_per_day"),
        ({"earn_point": 1}, "earn_point"),
        ({"boosts": {}}, "boosts"),
        ({"boosts": [3]}, "boosts[0]"),
        (boosts({"code": "first", "kind": "birthday", "factor_bp": 20_000}), "boosts[1].code"),
        (boosts({"code": "b", "kind": "weekday", "weekdays": [4], "factor_bp": 20_000}), "boosts[1].weekdays"),
        (boosts({"code": "b", "kind": "weekday", "weekdays": [8], "factor_bp": 20_000}), "boosts[1].weekdays[0]"),
        (boosts({"code": "b", "kind": "weekday", "weekdays": [5, 5], "factor_bp": 20_000}), "boosts[1].weekdays[1]"),
        (boosts({"code": "b", "kind": "weekday", "factor_bp": 20_000}), "boosts[1].weekdays"),
        (boosts({"code": "b", "kind": "birthday", "weekdays": [5], "factor_bp": 20_000}), "boosts[1].weekdays"),
        (boosts({"code": "b", "kind": "birthday", "factor_bp": 10_000}), "boosts[1].factor_bp"),
        (
            boosts({"code": "b", "kind": "birthday", "factor_bp": 20_000, "from_day": "2026-01-01"}),
            "boosts[1].from_day",
        ),
        (boosts({"code": "B", "kind": "birthday", "factor_bp": 20_000}), "boosts[1].code"),
        (boosts({"code": "b", "kind": "campaign", "factor_bp": 20_000}), "boosts[1].from_day"),
        (
            boosts(
                {
                    "code": "b",
                    "kind": "campaign",
                    "factor_bp": 20_000,
                    "from_day": "2026-11-11",
                    "until_day": "2026-11-11",
                }
            ),
            "boosts[1].until_day",
        ),
        ({"actions": [{"code": "review", "points": 0}]}, "actions[0].points"),
        ({"actions": [{"code": "review", "points": 1}, {"code": "review", "points": 2}]}, "actions[1].code"),
    ],
)
def test_an_impossible_programme_is_refused_with_the_field(definition: dict[str, object], field: str) -> None:
    with pytest.raises(ProgrammeInvalid) as refused:
        PointsProgramme.parse(definition)
    assert refused.value.data["field"] == field
    assert field in refused.value.message("zh")
    assert field in refused.value.message("en")


def campaign(code: str, first: str, until: str, *tiers: str) -> dict[str, object]:
    return {
        "code": code,
        "kind": "campaign",
        "factor_bp": 20_000,
        "from_day": first,
        "until_day": until,
        "tier_codes": list(tiers),
    }


def test_campaigns_may_touch_but_not_overlap() -> None:
    touching = [campaign("a", "2026-11-01", "2026-11-11"), campaign("b", "2026-11-11", "2026-11-12")]
    assert len(PointsProgramme.parse({"boosts": touching}).boosts) == 2
    overlapping = [campaign("a", "2026-11-01", "2026-11-12"), campaign("b", "2026-11-11", "2026-11-12")]
    with pytest.raises(ProgrammeInvalid) as refused:
        PointsProgramme.parse({"boosts": overlapping})
    assert refused.value.data["field"] == "boosts[1].from_day"


def test_campaigns_for_different_tiers_do_not_overlap() -> None:
    apart = [
        campaign("a", "2026-11-01", "2026-11-12", "gold"),
        campaign("b", "2026-11-01", "2026-11-12", "silver"),
    ]
    programme = PointsProgramme.parse({"boosts": apart})
    day = date(2026, 11, 2)
    assert points.multiplier_bp(programme, occasion=BoostOccasion(day=day, tier_code="gold")) == 20_000
    assert points.multiplier_bp(programme, occasion=BoostOccasion(day=day, tier_code="bronze")) == 10_000
