"""One member's ledger over years of simulated days, moved by the rules alone: orders, refunds, expiry, debts, tiers."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from loyalty.money import next_share
from loyalty.points import points, points_lot
from loyalty.points.points import ClawBackMode, EntryKind, ExpiryPolicy, PointsProgramme
from loyalty.points.points_lot import Draw, Lot
from loyalty.prices import pricing
from loyalty.prices.unit_price import PriceLine, TierTerms
from loyalty.tiers import tier
from loyalty.tiers.tier import TierTable

ZONE = ZoneInfo("Asia/Shanghai")
TABLE = TierTable.parse(
    {
        "levels": [
            {"code": "basic", "name": "Basic", "threshold": 0},
            {
                "code": "silver",
                "name": "Silver",
                "threshold": 300,
                "discount_bp": 500,
                "points_multiplier_bp": 15_000,
                "keep_months": 6,
                "keep_threshold": 200,
            },
            {
                "code": "gold",
                "name": "Gold",
                "threshold": 1_500,
                "discount_bp": 1_000,
                "points_multiplier_bp": 20_000,
                "keep_months": 6,
                "keep_threshold": 900,
            },
        ],
        "grace_days": 14,
    }
)


@dataclass
class Order:
    """An order of the simulation, with what each step of its life left behind."""

    quote: pricing.Quote
    quantity: int
    drawn: tuple[Draw, ...]
    paid: bool = False
    earned: int = 0
    growth: int = 0
    earned_lot: UUID | None = None
    refunded: int = 0
    returned: dict[UUID, int] = field(default_factory=dict)
    earned_taken: int = 0
    growth_taken: int = 0


class MemberLedger(RuleBasedStateMachine):
    """The book keeps what the rules decide and decides nothing itself."""

    @initialize(
        mode=st.sampled_from(ClawBackMode),
        expiry=st.sampled_from(
            [
                (ExpiryPolicy.ROLLING_DAYS, 30),
                (ExpiryPolicy.MONTH_END, 1),
                (ExpiryPolicy.QUARTER_END, 0),
                (ExpiryPolicy.YEAR_END, 0),
                (ExpiryPolicy.NEVER, 0),
            ]
        ),
        pending_days=st.sampled_from([0, 7]),
        cap_bp=st.sampled_from([0, 5_000, 10_000]),
    )
    def open_shop(self, mode: ClawBackMode, expiry: tuple[ExpiryPolicy, int], pending_days: int, cap_bp: int) -> None:
        self.programme = PointsProgramme(
            redeem_step_points=10,
            redeem_min_points=10,
            redeem_step_fen=10,
            redeem_cap_bp=cap_bp,
            pending_days=pending_days,
            expiry=expiry[0],
            expiry_after=expiry[1],
            clawback_mode=mode,
        )
        self.now = datetime(2026, 1, 1, 4, tzinfo=UTC)
        self.lots: dict[UUID, Lot] = {}
        self.entries: list[tuple[EntryKind, int]] = []
        self.orders: list[Order] = []
        self.debt = self.forgiven = self.growth = self.period_growth = 0
        self.tier = TABLE.lowest
        self.backing = 0
        self.period_ends: datetime | None = None

    # The book

    def book(self, kind: EntryKind, amount: int) -> None:
        if amount:
            self.entries.append((kind, amount))

    def new_lot(self, amount: int, *, ends: datetime | None, usable_from: datetime) -> UUID | None:
        if not amount:
            return None
        lot_id = UUID(int=len(self.lots) + 1)
        self.lots[lot_id] = Lot(id=lot_id, remaining=amount, expires_at=ends, available_at=usable_from)
        return lot_id

    def move(self, draw: Draw, *, remaining: int = 0, held: int = 0) -> None:
        lot = self.lots[draw.lot_id]
        self.lots[draw.lot_id] = replace(
            lot, remaining=lot.remaining + remaining * draw.amount, held=lot.held + held * draw.amount
        )

    def earn(self, amount: int, *, usable_from: datetime) -> UUID | None:
        recovery = points_lot.recover(debt=self.debt, earned=amount)
        ends = points.expires_at(self.programme, earned_at=self.now, zone=ZONE)
        self.book(EntryKind.EARN, amount)
        self.book(EntryKind.DEBT_RECOVERY, -recovery.to_debt)
        self.debt -= recovery.to_debt
        return self.new_lot(recovery.to_lot, ends=ends, usable_from=usable_from)

    def give_back(self, draws: tuple[Draw, ...]) -> None:
        back = points_lot.restore(draws, self.lots.values(), now=self.now, grace=self.programme.return_grace)
        for draw in back.into_lots:
            self.move(draw, remaining=1)
        for new in back.replacements:
            assert self.lots[new.lot_id].expires_at != new.expires_at
            self.new_lot(new.amount, ends=new.expires_at, usable_from=self.now)

    def own_tier_is(self, change: tier.TierChange | None) -> None:
        if change is None:
            return
        self.tier = TABLE.level(change.to_code)
        self.backing = self.growth
        self.period_growth = 0
        self.period_ends = tier.period_end(self.tier, started_at=self.now, zone=ZONE)

    # What happens

    @rule(hours=st.integers(1, 24 * 45))
    def time_passes(self, hours: int) -> None:
        self.now += timedelta(hours=hours)

    @rule()
    def the_nightly_run(self) -> None:
        for draw in points_lot.expiring(self.lots.values(), self.now):
            self.move(draw, remaining=-1)
            self.book(EntryKind.EXPIRE, -draw.amount)
        assert not points_lot.expiring(self.lots.values(), self.now)

    @rule(list_price=st.integers(50, 60_000), quantity=st.integers(1, 3), share=st.integers(0, 100))
    def place(self, list_price: int, quantity: int, share: int) -> None:
        there = points_lot.available(self.lots.values(), self.now)
        terms = TierTerms(code=self.tier.code, discount_bp=self.tier.discount_bp)
        line = PriceLine(sku_id=UUID(int=1), quantity=quantity, list_price_fen=list_price)

        def quote(wanted: int) -> pricing.Quote:
            return pricing.price([line], tier=terms, programme=self.programme, points=wanted, available_points=there)

        wanted = quote(0).points_most * share // 100
        placed = quote(wanted - wanted % self.programme.redeem_step_points)
        drawn = points_lot.allocate(self.lots.values(), placed.points_used, self.now) if placed.points_used else ()
        for draw in drawn:
            self.move(draw, held=1)
        self.orders.append(Order(quote=placed, quantity=quantity, drawn=drawn))

    def some(self, data: st.DataObject, *, paid: bool) -> Order:
        return data.draw(st.sampled_from([one for one in self.orders if one.paid is paid]))

    @precondition(lambda self: any(not one.paid for one in self.orders))
    @rule(data=st.data())
    def pay(self, data: st.DataObject) -> None:
        order = self.some(data, paid=False)
        for draw in order.drawn:
            self.move(draw, remaining=-1, held=-1)
        self.book(EntryKind.SPEND, -order.quote.points_used)
        order.paid = True
        factor = points.multiplier_bp(self.programme, tier_bp=self.tier.points_multiplier_bp)
        order.earned = points.earn(self.programme, paid_fen=order.quote.payable_fen, multiplier_bp=factor)
        usable_from = points.available_at(self.programme, self.now)
        order.earned_lot = self.earn(order.earned, usable_from=usable_from)
        order.growth = tier.growth_for(TABLE, order.quote.payable_fen)
        self.growth += order.growth
        self.period_growth += order.growth
        self.own_tier_is(tier.after_growth(TABLE, current_code=self.tier.code, growth=self.growth))

    @precondition(lambda self: any(not one.paid for one in self.orders))
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        order = self.some(data, paid=False)
        self.orders.remove(order)
        for draw in order.drawn:
            self.move(draw, remaining=-1, held=-1)
        self.give_back(order.drawn)

    @precondition(lambda self: any(one.paid and one.refunded < one.quantity for one in self.orders))
    @rule(data=st.data())
    def refund(self, data: st.DataObject) -> None:
        open_orders = [one for one in self.orders if one.paid and one.refunded < one.quantity]
        order = data.draw(st.sampled_from(open_orders))
        pieces = data.draw(st.integers(1, order.quantity - order.refunded))
        (line,) = order.quote.lines
        back = pricing.refund_line(
            quantity=order.quantity,
            refunded=order.refunded,
            refunding=pieces,
            payable_fen=line.payable_fen,
            points_used=line.points_used,
            earned_points=order.earned,
            growth=order.growth,
        )
        own = [self.lots[order.earned_lot]] if order.earned_lot else []
        try:
            taken = points_lot.claw_back(
                self.programme.clawback_mode,
                own=own,
                others=self.lots.values(),
                amount=back.earned_points,
                now=self.now,
            )
        except points.ClawBackBlocked:
            return
        for draw in taken.draws:
            self.move(draw, remaining=-1)
        self.book(EntryKind.EARN_REVERSAL, -taken.taken)
        self.debt += taken.debt
        self.forgiven += taken.forgiven
        returning = points_lot.undrawn(order.drawn, returned=order.returned, amount=back.points_used)
        self.give_back(returning)
        self.book(EntryKind.SPEND_REVERSAL, back.points_used)
        for draw in returning:
            order.returned[draw.lot_id] = order.returned.get(draw.lot_id, 0) + draw.amount
        order.refunded += pieces
        order.earned_taken += back.earned_points
        order.growth_taken += back.growth
        lowered = min(back.growth, self.growth)
        self.growth -= lowered
        self.period_growth -= lowered
        self.backing -= lowered
        self.own_tier_is(
            tier.after_refund(TABLE, current_code=self.tier.code, growth=self.growth, backing=self.backing)
        )

    @rule(amount=st.integers(-2_000, 2_000).filter(bool))
    def adjust(self, amount: int) -> None:
        points.admit_adjustment(amount=amount, reason="goodwill")
        if amount > 0:
            ends = points.expires_at(self.programme, earned_at=self.now, zone=ZONE)
            self.new_lot(amount, ends=ends, usable_from=self.now)
            self.book(EntryKind.ADJUST, amount)
            return
        try:
            draws = points_lot.allocate(self.lots.values(), -amount, self.now)
        except points.PointsShort:
            return
        for draw in draws:
            self.move(draw, remaining=-1)
        self.book(EntryKind.ADJUST, amount)

    @precondition(lambda self: self.period_ends is not None and self.period_ends <= self.now)
    @rule()
    def decide_the_keep_period(self) -> None:
        assert self.period_ends is not None
        decided = tier.at_period_end(
            TABLE,
            current_code=self.tier.code,
            growth=self.growth,
            period_growth=self.period_growth,
            ended_at=self.period_ends,
            now=self.now,
        )
        if decided.kept:
            self.period_growth = 0
            self.period_ends = tier.period_end(self.tier, started_at=self.period_ends, zone=ZONE)
        self.growth += decided.growth_reset
        self.own_tier_is(decided.change)

    # What holds after every step

    @invariant()
    def the_balance_is_the_sum_of_the_entries_and_of_the_lots(self) -> None:
        if hasattr(self, "entries"):
            assert sum(amount for _, amount in self.entries) == sum(lot.remaining for lot in self.lots.values())

    @invariant()
    def what_is_held_is_the_sum_of_the_open_orders(self) -> None:
        if hasattr(self, "orders"):
            promised = sum(draw.amount for one in self.orders if not one.paid for draw in one.drawn)
            assert promised == sum(lot.held for lot in self.lots.values())

    @invariant()
    def no_lot_and_no_debt_is_ever_below_nothing(self) -> None:
        if hasattr(self, "lots"):
            assert all(0 <= lot.held <= lot.remaining for lot in self.lots.values())
            assert points_lot.available(self.lots.values(), self.now) >= 0
            assert self.debt >= 0
            assert self.growth >= 0
            assert not (self.debt and self.programme.clawback_mode is not ClawBackMode.DEBT)
            assert not (self.forgiven and self.programme.clawback_mode is not ClawBackMode.CLAMP)

    @invariant()
    def refunds_never_exceed_what_the_order_took(self) -> None:
        for order in getattr(self, "orders", ()):
            (line,) = order.quote.lines
            parts = {"done": 0, "doing": order.refunded, "whole": order.quantity}
            assert sum(order.returned.values()) == next_share(line.points_used, **parts)
            assert order.earned_taken == next_share(order.earned, **parts)
            assert order.growth_taken == next_share(order.growth, **parts)
            for draw in order.drawn:
                assert order.returned.get(draw.lot_id, 0) <= draw.amount

    @invariant()
    def nobody_waits_for_a_tier_that_the_growth_has_reached(self) -> None:
        if hasattr(self, "growth"):
            assert tier.after_growth(TABLE, current_code=self.tier.code, growth=self.growth) is None


TestMemberLedger = MemberLedger.TestCase
