"""Points: what is earned, what may be redeemed, which lots are drawn, and what comes back.

The ledger keeps these invariants, and ``verify`` proves them: an entry's amount is the sum of its draws; ``seq`` counts
a member's entries from 1 without a gap; ``balance_after`` is the sum of the amounts so far; the balance is the sum of
what remains in the lots; held is the sum of the open holds; what a member can spend is never negative.

Source: docs/rules/points.md
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from enum import StrEnum
from typing import Self

from loyalty.money import BP, MAX_FEN
from loyalty.points.points_window import Boost, BoostOccasion, parse_boosts
from loyalty.programme import DUPLICATE, MAX_POINTS, Definition, Fields, Name, Noun, Reason, invalid
from loyalty.refusal import Refusal
from loyalty.shop_time import add_months, business_day, day_end, month_end, month_start, quarter_end, year_end

MAX_MULTIPLIER_BP = 100_000
"""All factors together never exceed ten times the base rate."""

MAX_ADJUSTMENT = 10_000_000
"""The most an operator books at once, in either direction."""


class EntryKind(StrEnum):
    """Why a ledger entry was written. The sign of its amount follows from it, ``adjust`` alone may be either.

    ``renew`` is 0 in sum: points whose hold was released after their lot had ended move into a lot with a grace.
    """

    EARN = "earn"
    SPEND = "spend"
    SPEND_REVERSAL = "spend_reversal"
    EARN_REVERSAL = "earn_reversal"
    DEBT_RECOVERY = "debt_recovery"
    EXPIRE = "expire"
    RENEW = "renew"
    GIFT = "gift"
    ADJUST = "adjust"


class HoldState(StrEnum):
    """A hold is resolved at most once: posted at payment, released on close, expired when its time has passed."""

    PENDING = "pending"
    POSTED = "posted"
    RELEASED = "released"
    EXPIRED = "expired"


class ExpiryPolicy(StrEnum):
    """When earned points end; ``expiry_after`` counts days, months, quarters or years."""

    NEVER = "never"
    ROLLING_DAYS = "rolling_days"
    MONTH_END = "month_end"
    QUARTER_END = "quarter_end"
    YEAR_END = "year_end"


class ClawBackMode(StrEnum):
    """What happens when an order is refunded whose points are already spent."""

    DEBT = "debt"
    CLAMP = "clamp"
    BLOCK = "block"


class PointsShort(Refusal):
    """The member has ``available`` points and the order wants ``wanted``."""

    code = "POINTS_SHORT"
    zh = "积分不足：可用 {available}，需要 {wanted}"
    en = "Not enough points: {available} available, {wanted} wanted."


class PointsCapExceeded(Refusal):
    """More points than this order may take; ``most`` is what it takes at most."""

    code = "POINTS_CAP_EXCEEDED"
    zh = "本单最多可用 {most} 积分"
    en = "This order takes at most {most} points."


class PointsStep(Refusal):
    """Points are redeemed in whole steps of ``step``, from ``least`` upwards."""

    code = "POINTS_STEP"
    zh = "积分须按 {step} 的整数倍使用，且不少于 {least}"
    en = "Points are used in multiples of {step}, at least {least}."


class ClawBackBlocked(Refusal):
    """The refund would take back points that are already spent, and the programme does not allow that."""

    code = "CLAWBACK_BLOCKED"
    zh = "订单所得积分已被使用，尚缺 {missing} 积分，暂不能退款"
    en = "Points earned by this order are spent already; {missing} are missing, so it cannot be refunded."


class PointsAdjustmentInvalid(Refusal):
    """An operator's adjustment without a reason, of nothing, or beyond the bounds."""

    code = "POINTS_ADJUSTMENT_INVALID"
    zh = "积分调整有误：数量须在 -{most} 至 {most} 之间且不为 0，并须填写原因"
    en = "The adjustment must be -{most} to {most}, not 0, and needs a reason."


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionRule:
    """Fixed points for an action, at most so many times a day and in a member's life (None: no limit)."""

    code: str
    points: int
    times_per_day: int | None = None
    times_per_member: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PointsProgramme:
    """One published version of the points rules. Points are whole numbers, money is fen, rates are 1/10,000."""

    earn_points: int = 1
    earn_per_fen: int = 100
    redeem_step_points: int = 100
    redeem_step_fen: int = 100
    redeem_min_points: int = 100
    redeem_cap_bp: int = 5_000
    pending_days: int = 0
    return_grace_days: int = 7
    expiry: ExpiryPolicy = ExpiryPolicy.YEAR_END
    expiry_after: int = 1
    clawback_mode: ClawBackMode = ClawBackMode.DEBT
    cap_per_day: int | None = None
    cap_per_member: int | None = None
    boosts: tuple[Boost, ...] = ()
    actions: tuple[ActionRule, ...] = ()

    @classmethod
    def parse(cls, definition: Definition) -> Self:
        """Read a definition; what is absent takes the default of the field.

        Raises: ProgrammeInvalid, which names the first field that cannot work.
        """
        fields = Fields(definition)
        step = fields.integer("redeem_step_points", 1, 1_000_000, 100)
        least = fields.integer("redeem_min_points", 1, MAX_POINTS, step)
        if least % step:
            raise invalid(
                "redeem_min_points",
                Reason("must be a multiple of redeem_step_points", "必须是 redeem_step_points 的整数倍"),
            )
        expiry = fields.choice("expiry", ExpiryPolicy, ExpiryPolicy.YEAR_END)
        programme = cls(
            earn_points=fields.integer("earn_points", 0, 10_000, 1),
            earn_per_fen=fields.integer("earn_per_fen", 1, 1_000_000, 100),
            redeem_step_points=step,
            redeem_step_fen=fields.integer("redeem_step_fen", 1, 1_000_000, 100),
            redeem_min_points=least,
            redeem_cap_bp=fields.integer("redeem_cap_bp", 0, BP, 5_000),
            pending_days=fields.integer("pending_days", 0, 90, 0),
            return_grace_days=fields.integer("return_grace_days", 0, 90, 7),
            expiry=expiry,
            expiry_after=fields.integer("expiry_after", *_AFTER[expiry], 1 if expiry is ExpiryPolicy.YEAR_END else None)
            if expiry is not ExpiryPolicy.NEVER
            else fields.integer("expiry_after", 0, 0, 0),
            clawback_mode=fields.choice("clawback_mode", ClawBackMode, ClawBackMode.DEBT),
            cap_per_day=fields.optional_integer("cap_per_day", 1, MAX_POINTS),
            cap_per_member=fields.optional_integer("cap_per_member", 1, MAX_POINTS),
            boosts=parse_boosts(fields.parts("boosts", 50)),
            actions=_parse_actions(fields.parts("actions", 50)),
        )
        fields.done()
        return programme

    def definition(self) -> dict[str, object]:
        """The definition that ``parse`` reads back to an equal programme."""
        return {
            "earn_points": self.earn_points,
            "earn_per_fen": self.earn_per_fen,
            "redeem_step_points": self.redeem_step_points,
            "redeem_step_fen": self.redeem_step_fen,
            "redeem_min_points": self.redeem_min_points,
            "redeem_cap_bp": self.redeem_cap_bp,
            "pending_days": self.pending_days,
            "return_grace_days": self.return_grace_days,
            "expiry": self.expiry.value,
            "expiry_after": self.expiry_after,
            "clawback_mode": self.clawback_mode.value,
            "cap_per_day": self.cap_per_day,
            "cap_per_member": self.cap_per_member,
            "boosts": [boost.definition() for boost in self.boosts],
            "actions": [
                {
                    "code": action.code,
                    "points": action.points,
                    "times_per_day": action.times_per_day,
                    "times_per_member": action.times_per_member,
                }
                for action in self.actions
            ],
        }

    def names(self) -> list[Name]:
        """The tiers of the boosts, which must be there."""
        return [
            Name(f"boosts[{at}].tier_codes[{position}]", Noun.TIER, code)
            for at, boost in enumerate(self.boosts)
            for position, code in enumerate(boost.tier_codes)
        ]

    @property
    def return_grace(self) -> timedelta:
        """How long points that come back stay usable at least."""
        return timedelta(days=self.return_grace_days)

    def action(self, code: str) -> ActionRule | None:
        """The rule of an action, or None when this programme does not reward it."""
        return next((action for action in self.actions if action.code == code), None)


_AFTER: Mapping[ExpiryPolicy, tuple[int, int]] = {
    ExpiryPolicy.ROLLING_DAYS: (1, 3_660),
    ExpiryPolicy.MONTH_END: (0, 120),
    ExpiryPolicy.QUARTER_END: (0, 40),
    ExpiryPolicy.YEAR_END: (0, 10),
}


def _parse_actions(items: Sequence[Fields]) -> tuple[ActionRule, ...]:
    actions: list[ActionRule] = []
    for item in items:
        code = item.code("code")
        if any(action.code == code for action in actions):
            raise invalid(item.path("code"), DUPLICATE)
        actions.append(
            ActionRule(
                code=code,
                points=item.integer("points", 1, 1_000_000),
                times_per_day=item.optional_integer("times_per_day", 1, 1_000),
                times_per_member=item.optional_integer("times_per_member", 1, 1_000_000),
            )
        )
        item.done()
    return tuple(actions)


# Earning


def multiplier_bp(programme: PointsProgramme, *, tier_bp: int = BP, occasion: BoostOccasion | None = None) -> int:
    """The factor of an order: the tier's factor times the best boost of the occasion, in 1/10,000, rounded down.

    Boosts never multiply each other, the highest one counts. The result is at most MAX_MULTIPLIER_BP.
    """
    assert tier_bp >= 0, f"factor {tier_bp} is negative"
    best = max((boost.factor_bp for boost in programme.boosts if occasion and boost.applies(occasion)), default=BP)
    return min(tier_bp * best // BP, MAX_MULTIPLIER_BP)


def earn(programme: PointsProgramme, *, paid_fen: int, multiplier_bp: int = BP) -> int:
    """The points that a settled order of ``paid_fen`` earns, one rounding down over the sum of the order.

    ``paid_fen`` is what was paid in money, 0..MAX_FEN: points and discounts earn nothing.
    """
    assert 0 <= paid_fen <= MAX_FEN, f"amount {paid_fen} is out of bounds"
    assert 0 <= multiplier_bp <= MAX_MULTIPLIER_BP, f"factor {multiplier_bp} is out of bounds"
    return paid_fen * programme.earn_points * multiplier_bp // (programme.earn_per_fen * BP)


def within_caps(programme: PointsProgramme, points: int, *, earned_today: int, earned_ever: int) -> int:
    """``points`` cut to what the caps per day and per member leave; nobody is refused for earning too much.

    ``earned_today`` and ``earned_ever`` count earn entries of the member, by shop day and altogether.
    """
    assert min(points, earned_today, earned_ever) >= 0, "counts are never negative"
    rooms = [points]
    if programme.cap_per_day is not None:
        rooms.append(programme.cap_per_day - earned_today)
    if programme.cap_per_member is not None:
        rooms.append(programme.cap_per_member - earned_ever)
    return max(0, min(rooms))


def action_points(programme: PointsProgramme, code: str, *, times_today: int, times_ever: int) -> int:
    """The points of doing an action once more; 0 when it is not rewarded or its limits are used up."""
    action = programme.action(code)
    if action is None:
        return 0
    if action.times_per_day is not None and times_today >= action.times_per_day:
        return 0
    if action.times_per_member is not None and times_ever >= action.times_per_member:
        return 0
    return action.points


def available_at(programme: PointsProgramme, earned_at: datetime) -> datetime:
    """When points of an order become usable: after the return window of ``pending_days`` times 24 hours."""
    return earned_at + timedelta(days=programme.pending_days)


def expires_at(programme: PointsProgramme, *, earned_at: datetime, zone: tzinfo) -> datetime | None:
    """The instant from which points earned at ``earned_at`` are no longer usable; None when they never end.

    It is always a shop midnight: members read it as the end of the day before.
    """
    day = business_day(earned_at, zone)
    match programme.expiry:
        case ExpiryPolicy.NEVER:
            return None
        case ExpiryPolicy.ROLLING_DAYS:
            return day_end(day + timedelta(days=programme.expiry_after), zone)
        case ExpiryPolicy.MONTH_END:
            return month_end(add_months(month_start(day), programme.expiry_after), zone)
        case ExpiryPolicy.QUARTER_END:
            return quarter_end(add_months(month_start(day), 3 * programme.expiry_after), zone)
        case ExpiryPolicy.YEAR_END:
            return year_end(add_months(month_start(day), 12 * programme.expiry_after), zone)


NOTICE_DAYS = (30, 7, 1)
"""How many days before the last usable day a member is told that points are about to end."""


def last_usable_day(ends: datetime, zone: tzinfo) -> date:
    """The shop day that members read as the end of points that expire at ``ends``."""
    return business_day(ends - timedelta(microseconds=1), zone)


def notice_due(ends: datetime, *, today: date, zone: tzinfo) -> int | None:
    """Which of the NOTICE_DAYS is due today for points that expire at ``ends``; None: none."""
    left = (last_usable_day(ends, zone) - today).days
    return left if left in NOTICE_DAYS else None


# Redeeming


def redeem_value(programme: PointsProgramme, points: int) -> int:
    """What ``points`` are worth in fen; exact, because they are whole steps."""
    assert points >= 0, f"{points} points"
    assert points % programme.redeem_step_points == 0, f"{points} points are no whole steps"
    return points // programme.redeem_step_points * programme.redeem_step_fen


def redeemable(programme: PointsProgramme, *, payable_fen: int, available: int) -> int:
    """The most points an order of ``payable_fen`` takes from a member with ``available`` points; 0 when it takes none.

    The cap is ``redeem_cap_bp`` of the payable amount rounded down, then rounded down to whole steps.
    """
    points = min(_order_cap(programme, payable_fen), max(available, 0))
    points -= points % programme.redeem_step_points
    return points if points >= programme.redeem_min_points else 0


def admit_redemption(programme: PointsProgramme, *, points: int, payable_fen: int, available: int) -> None:
    """Whether a member may use ``points`` on an order; 0 points are always fine.

    Raises, in this order: PointsStep, PointsCapExceeded, PointsShort.
    """
    if points == 0:
        return
    if points < programme.redeem_min_points or points % programme.redeem_step_points:
        raise PointsStep(step=programme.redeem_step_points, least=programme.redeem_min_points)
    cap = _order_cap(programme, payable_fen)
    if points > cap:
        raise PointsCapExceeded(most=cap if cap >= programme.redeem_min_points else 0)
    if points > available:
        raise PointsShort(available=available, wanted=points)


def _order_cap(programme: PointsProgramme, payable_fen: int) -> int:
    assert 0 <= payable_fen <= MAX_FEN, f"amount {payable_fen} is out of bounds"
    cap_fen = payable_fen * programme.redeem_cap_bp // BP
    return cap_fen // programme.redeem_step_fen * programme.redeem_step_points


# Corrections by hand


def admit_adjustment(*, amount: int, reason: str) -> None:
    """Whether an operator may book ``amount`` (either sign) for ``reason``, 1 to 200 characters.

    Raises: PointsAdjustmentInvalid. Taking more than is available is refused by ``allocate``.
    """
    if amount == 0 or abs(amount) > MAX_ADJUSTMENT or not 1 <= len(reason.strip()) <= 200:
        raise PointsAdjustmentInvalid(most=MAX_ADJUSTMENT)
