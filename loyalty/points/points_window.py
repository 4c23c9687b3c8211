"""Boosts: the days on which orders earn more points, such as member-day Wednesday or a birthday.

Source: docs/rules/points.md
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from loyalty.money import BP
from loyalty.programme import DUPLICATE, Fields, Reason, invalid
from loyalty.shop_time import is_birthday

OVERLAPS = Reason("overlaps another boost of its kind", "与同类加倍规则重叠")
EMPTY_WINDOW = Reason("must be after from_day", "必须晚于 from_day")


class BoostKind(StrEnum):
    """When a boost applies, in shop days."""

    WEEKDAY = "weekday"
    BIRTHDAY = "birthday"
    BIRTHDAY_MONTH = "birthday_month"
    CAMPAIGN = "campaign"


@dataclass(frozen=True, slots=True, kw_only=True)
class BoostOccasion:
    """The facts that boosts look at: the shop day of the order, the member's birthday and tier."""

    day: date
    birthday: date | None = None
    tier_code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Boost:
    """A factor on earned points, 10,000 = once. ``weekdays`` are 1 (Monday) to 7; days are from..before ``until``.

    ``tier_codes`` limits it to those tiers; empty means every member.
    """

    code: str
    kind: BoostKind
    factor_bp: int
    weekdays: tuple[int, ...] = ()
    from_day: date | None = None
    until_day: date | None = None
    tier_codes: tuple[str, ...] = ()

    def applies(self, occasion: BoostOccasion) -> bool:
        """Whether an order of that occasion is boosted."""
        if self.tier_codes and occasion.tier_code not in self.tier_codes:
            return False
        match self.kind:
            case BoostKind.WEEKDAY:
                return occasion.day.isoweekday() in self.weekdays
            case BoostKind.BIRTHDAY:
                return occasion.birthday is not None and is_birthday(occasion.birthday, occasion.day)
            case BoostKind.BIRTHDAY_MONTH:
                return occasion.birthday is not None and occasion.birthday.month == occasion.day.month
            case BoostKind.CAMPAIGN:
                from_day, until_day = self.days
                return from_day <= occasion.day < until_day

    @property
    def days(self) -> tuple[date, date]:
        """The first day of a campaign and the first day after it."""
        assert self.from_day is not None, "only a campaign has days"
        assert self.until_day is not None, "only a campaign has days"
        return self.from_day, self.until_day

    def definition(self) -> dict[str, object]:
        """The definition that reads back to an equal boost."""
        return {
            "code": self.code,
            "kind": self.kind.value,
            "factor_bp": self.factor_bp,
            "weekdays": list(self.weekdays),
            "from_day": self.from_day.isoformat() if self.from_day else None,
            "until_day": self.until_day.isoformat() if self.until_day else None,
            "tier_codes": list(self.tier_codes),
        }


def parse_boosts(items: Sequence[Fields]) -> tuple[Boost, ...]:
    """Read boosts; two of one kind that some member could meet on the same day are refused as overlapping.

    Raises: ProgrammeInvalid.
    """
    boosts: list[Boost] = []
    for item in items:
        boost = _parse_boost(item)
        if any(boost.code == other.code for other in boosts):
            raise invalid(item.path("code"), DUPLICATE)
        for other in boosts:
            if _overlap(boost, other):
                raise invalid(item.path(_OVERLAP_FIELD[boost.kind]), OVERLAPS)
        boosts.append(boost)
    return tuple(boosts)


_OVERLAP_FIELD = {
    BoostKind.WEEKDAY: "weekdays",
    BoostKind.BIRTHDAY: "kind",
    BoostKind.BIRTHDAY_MONTH: "kind",
    BoostKind.CAMPAIGN: "from_day",
}


def _parse_boost(item: Fields) -> Boost:
    kind = item.choice("kind", BoostKind)
    weekdays = item.integers("weekdays", 1, 7)
    if (kind is BoostKind.WEEKDAY) != bool(weekdays):
        raise invalid(item.path("weekdays"), Reason("belongs to a boost of kind weekday", "仅用于按星期的加倍"))
    from_day = until_day = None
    if kind is BoostKind.CAMPAIGN:
        from_day, until_day = item.day("from_day"), item.day("until_day")
        if until_day <= from_day:
            raise invalid(item.path("until_day"), EMPTY_WINDOW)
    else:
        for name in ("from_day", "until_day"):
            if item.has(name):
                raise invalid(item.path(name), Reason("belongs to a boost of kind campaign", "仅用于限期的加倍"))
    boost = Boost(
        code=item.code("code"),
        kind=kind,
        factor_bp=item.integer("factor_bp", BP + 1, 100_000),
        weekdays=weekdays,
        from_day=from_day,
        until_day=until_day,
        tier_codes=item.codes("tier_codes"),
    )
    item.done()
    return boost


def _overlap(one: Boost, other: Boost) -> bool:
    if one.kind is not other.kind:
        return False
    if one.tier_codes and other.tier_codes and not set(one.tier_codes) & set(other.tier_codes):
        return False
    if one.kind is BoostKind.WEEKDAY:
        return bool(set(one.weekdays) & set(other.weekdays))
    if one.kind is BoostKind.CAMPAIGN:
        return one.days[0] < other.days[1] and other.days[0] < one.days[1]
    return True
