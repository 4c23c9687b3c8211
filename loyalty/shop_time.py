"""Days, months, quarters and years as the shop lives them. No other file knows about time zones.

Instants are aware and come back in UTC. Ends are exclusive: the end of a month is the first instant of the next one.

Source: docs/rules/shop_time.md
"""

from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

DEFAULT_ZONE = "Asia/Shanghai"

_A_DAY = timedelta(days=1)


def shop_zone(name: str = DEFAULT_ZONE) -> ZoneInfo:
    """The zone of that IANA name. Raises ``ValueError`` or ``ZoneInfoNotFoundError`` for a name that does not exist."""
    return ZoneInfo(name)


def day_start(day: date, zone: tzinfo) -> datetime:
    """The first instant of the shop's ``day``, in UTC. Where the clocks skip midnight, the instant they skip at."""
    return datetime.combine(day, time.min, tzinfo=zone).astimezone(UTC)


def day_end(day: date, zone: tzinfo) -> datetime:
    """The first instant after the shop's ``day``, in UTC."""
    return day_start(day + _A_DAY, zone)


def business_day(at: datetime, zone: tzinfo) -> date:
    """The shop's day that ``at`` belongs to: ``day_start(day) <= at < day_end(day)``.

    Days never run backwards, even where clocks are set back over midnight.
    """
    assert at.tzinfo is not None, "an instant without a zone"
    day = at.astimezone(zone).date()
    return day + _A_DAY if at >= day_end(day, zone) else day


def week_start(day: date) -> date:
    """The Monday of the week of ``day``."""
    return day - day.weekday() * _A_DAY


def month_start(day: date) -> date:
    """The first day of the month of ``day``."""
    return day.replace(day=1)


def next_month(day: date) -> date:
    """The first day of the month after that of ``day``."""
    return add_months(month_start(day), 1)


def add_months(day: date, months: int) -> date:
    """The same day ``months`` later (or earlier), or the last day of that month if it is shorter."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def month_end(day: date, zone: tzinfo) -> datetime:
    """The first instant after the month of ``day``, in UTC."""
    return day_start(next_month(day), zone)


def quarter_end(day: date, zone: tzinfo) -> datetime:
    """The first instant after the calendar quarter of ``day``, in UTC."""
    quarter_start = date(day.year, (day.month - 1) // 3 * 3 + 1, 1)
    return day_start(add_months(quarter_start, 3), zone)


def year_end(day: date, zone: tzinfo) -> datetime:
    """The first instant after the calendar year of ``day``, in UTC."""
    return day_start(date(day.year + 1, 1, 1), zone)


def is_birthday(birthday: date, day: date) -> bool:
    """Whether ``day`` is the birthday. Someone born on 29 February celebrates on 28 February in a common year."""
    if (birthday.month, birthday.day) == (2, 29) and monthrange(day.year, 2)[1] == 28:
        return (day.month, day.day) == (2, 28)
    return (birthday.month, birthday.day) == (day.month, day.day)


def birthdays_on(day: date) -> tuple[tuple[int, int], ...]:
    """The months and days of birth that are celebrated on ``day``: two on 28 February of a common year."""
    own = ((day.month, day.day),)
    return (*own, (2, 29)) if own == ((2, 28),) and monthrange(day.year, 2)[1] == 28 else own
