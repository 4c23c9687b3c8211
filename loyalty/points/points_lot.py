"""Points in lots: what can be spent, which lots pay, what comes back into them, and what a claw-back takes.

A lot holds points that were earned together and end together. The invariants stand in ``loyalty.points.points``.

Source: docs/rules/points.md
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from uuid import UUID

from loyalty.points.points import ClawBackBlocked, ClawBackMode, PointsShort, last_usable_day


@dataclass(frozen=True, slots=True, kw_only=True)
class Lot:
    """Points that were earned together: ``held`` of what remains is promised to open orders.

    Usable from ``available_at`` until before ``expires_at`` (None: for ever). ``replaces`` says that the lot was given
    for points of another one that had ended.
    """

    id: UUID
    remaining: int
    held: int = 0
    expires_at: datetime | None = None
    available_at: datetime
    replaces: bool = False

    @property
    def free(self) -> int:
        """What remains and is promised to nobody."""
        return self.remaining - self.held

    def usable(self, now: datetime) -> bool:
        """Whether the free part may be spent at ``now``."""
        return self.available_at <= now and not self.expired(now)

    def expired(self, now: datetime) -> bool:
        """Whether the lot has ended at ``now``."""
        return self.expires_at is not None and self.expires_at <= now


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """So many points out of, or back into, one lot."""

    lot_id: UUID
    amount: int


def available(lots: Iterable[Lot], now: datetime) -> int:
    """What a member can spend at ``now``: the free part of the usable lots."""
    return sum(lot.free for lot in lots if lot.usable(now))


def pending(lots: Iterable[Lot], now: datetime) -> int:
    """What a member has earned and cannot spend before the return window closes."""
    return sum(lot.free for lot in lots if lot.available_at > now and not lot.expired(now))


def allocate(lots: Iterable[Lot], amount: int, now: datetime) -> tuple[Draw, ...]:
    """Which lots pay ``amount``: the one that expires first gives first, ties by id, never-ending lots last.

    Raises: PointsShort.
    """
    assert amount > 0, f"nothing to allocate: {amount}"
    usable = [lot for lot in lots if lot.usable(now)]
    short = amount - sum(lot.free for lot in usable)
    if short > 0:
        raise PointsShort(available=amount - short, wanted=amount)
    return _draw(sorted(usable, key=_soonest), amount)[0]


def _soonest(lot: Lot) -> tuple[bool, float, UUID]:
    return (lot.expires_at is None, lot.expires_at.timestamp() if lot.expires_at else 0.0, lot.id)


def _draw(lots: Iterable[Lot], amount: int) -> tuple[tuple[Draw, ...], int]:
    """Draw up to ``amount`` from the lots in their order; the second value is what they did not have."""
    draws: list[Draw] = []
    for lot in lots:
        taken = min(lot.free, amount)
        if taken > 0:
            draws.append(Draw(lot_id=lot.id, amount=taken))
            amount -= taken
    return tuple(draws), amount


def expiring(lots: Iterable[Lot], now: datetime) -> tuple[Draw, ...]:
    """What the nightly run takes from ended lots. What an open order holds waits until the hold is resolved."""
    return tuple(Draw(lot_id=lot.id, amount=lot.free) for lot in lots if lot.expired(now) and lot.free > 0)


def expiry_calendar(lots: Iterable[Lot], *, now: datetime, zone: tzinfo) -> tuple[tuple[date, int], ...]:
    """How many of a member's free points have which last usable day, the soonest first; pending points are counted."""
    by_day: dict[date, int] = {}
    for lot in lots:
        if lot.expires_at is not None and not lot.expired(now) and lot.free > 0:
            day = last_usable_day(lot.expires_at, zone)
            by_day[day] = by_day.get(day, 0) + lot.free
    return tuple(sorted(by_day.items()))


def undrawn(draws: Sequence[Draw], *, returned: Mapping[UUID, int], amount: int) -> tuple[Draw, ...]:
    """Which of the lots a spend drew from get ``amount`` back: the last drawn first, never more than each gave.

    ``returned`` is what earlier refunds of the same spend gave back, by lot.
    """
    left = [Draw(lot_id=draw.lot_id, amount=draw.amount - returned.get(draw.lot_id, 0)) for draw in draws]
    assert all(draw.amount >= 0 for draw in left), "more was returned than was drawn"
    assert 0 <= amount <= sum(draw.amount for draw in left), "a refund above what was spent"
    back: list[Draw] = []
    for draw in reversed(left):
        part = min(draw.amount, amount)
        if part > 0:
            back.append(Draw(lot_id=draw.lot_id, amount=part))
            amount -= part
    return tuple(back)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """A new lot for points whose original lot ends too soon to be of use."""

    lot_id: UUID
    amount: int
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Restoration:
    """Where returned points go: back into their lots, or into new lots that name the lot they come from."""

    into_lots: tuple[Draw, ...]
    replacements: tuple[Replacement, ...]

    @property
    def amount(self) -> int:
        """All that comes back."""
        return sum(draw.amount for draw in self.into_lots) + sum(new.amount for new in self.replacements)


def restore(draws: Iterable[Draw], lots: Collection[Lot], *, now: datetime, grace: timedelta) -> Restoration:
    """Give drawn points back with their original expiry.

    A lot that has ended, or would before ``now + grace``, gets a replacement lot that ends at ``now + grace``; with no
    grace, only a lot that has ended gets one, and it ends at once. ``lots`` must hold every drawn lot.
    """
    by_id = {lot.id: lot for lot in lots}
    into_lots: list[Draw] = []
    replacements: list[Replacement] = []
    for draw in draws:
        ends = by_id[draw.lot_id].expires_at
        if ends is None or (ends >= now + grace and ends > now):
            into_lots.append(draw)
        else:
            replacements.append(Replacement(lot_id=draw.lot_id, amount=draw.amount, expires_at=now + grace))
    return Restoration(into_lots=tuple(into_lots), replacements=tuple(replacements))


def let_go(draws: Iterable[Draw], lots: Collection[Lot], *, now: datetime, grace: timedelta) -> Restoration:
    """Let go of points that an order only held: they are in their lots again, with the end these have.

    A lot that ended meanwhile gets a replacement that ends at ``now + grace``; one that is a replacement itself gets
    no second grace, and what comes back ends at once: nobody keeps points alive by placing and cancelling orders.
    ``lots`` must hold every drawn lot.
    """
    by_id = {lot.id: lot for lot in lots}
    parts = [(draw, by_id[draw.lot_id]) for draw in draws]
    return Restoration(
        into_lots=tuple(draw for draw, lot in parts if not lot.expired(now)),
        replacements=tuple(
            Replacement(lot_id=lot.id, amount=draw.amount, expires_at=now if lot.replaces else now + grace)
            for draw, lot in parts
            if lot.expired(now)
        ),
    )


# Taking back what a refunded order earned


@dataclass(frozen=True, slots=True, kw_only=True)
class ClawBack:
    """What a claw-back takes now, what the member owes from the next earnings, and what is given up, visibly."""

    draws: tuple[Draw, ...]
    debt: int = 0
    forgiven: int = 0

    @property
    def taken(self) -> int:
        """What leaves the lots now: the amount of the entry, without its sign."""
        return sum(draw.amount for draw in self.draws)


def claw_back(
    mode: ClawBackMode, *, own: Collection[Lot], others: Iterable[Lot], amount: int, now: datetime
) -> ClawBack:
    """Take back ``amount`` points: from the lots that the order earned, then from the others, soonest to expire first.

    Pending lots are taken from too; ended lots are not, their rest expires by itself. What is not there becomes debt,
    is forgiven (``clamp``), or refuses the refund. Points of the order that had already expired count as taken by the
    caller: ``amount`` is what is still to be taken.

    Raises: ClawBackBlocked in the mode ``block``.
    """
    assert amount >= 0, f"a claw-back of {amount}"
    own_ids = {lot.id for lot in own}
    rest = [lot for lot in others if lot.id not in own_ids]
    order = [*sorted(own, key=_soonest), *sorted(rest, key=_soonest)]
    draws, missing = _draw((lot for lot in order if not lot.expired(now)), amount)
    match mode:
        case ClawBackMode.BLOCK if missing:
            raise ClawBackBlocked(missing=missing)
        case ClawBackMode.CLAMP:
            return ClawBack(draws=draws, forgiven=missing)
        case _:
            return ClawBack(draws=draws, debt=missing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """How newly earned points are split: ``to_debt`` is taken at once, ``to_lot`` stays with the member."""

    to_debt: int
    to_lot: int


def recover(*, debt: int, earned: int) -> Recovery:
    """Pay an open debt out of new earnings, as far as they reach.

    The ledger shows both: an ``earn`` entry for all of it, and a ``debt_recovery`` entry out of the new lot.
    """
    assert min(debt, earned) >= 0, "neither is ever negative"
    to_debt = min(debt, earned)
    return Recovery(to_debt=to_debt, to_lot=earned - to_debt)
