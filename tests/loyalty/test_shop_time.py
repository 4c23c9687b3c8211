from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty import shop_time
from tests.loyalty.worked_examples import number, worked

zones = st.sampled_from(
    ["Asia/Shanghai", "America/New_York", "Pacific/Apia", "America/St_Johns", "Asia/Beirut", "Africa/Cairo", "UTC"]
).map(ZoneInfo)
instants = st.datetimes(datetime(1990, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 (hypothesis wants bare bounds)


def utc(cell: str) -> datetime:
    return datetime.fromisoformat(cell).replace(tzinfo=UTC)


def test_business_days_are_as_the_page_says() -> None:
    for row in worked("shop_time.md", "Example: the business day of an instant"):
        day = shop_time.business_day(utc(row["instant (UTC)"]), ZoneInfo(row["zone"]))
        assert day.isoformat() == row["business day"], row


def test_ends_are_as_the_page_says() -> None:
    for row in worked("shop_time.md", "Example: ends of a month, quarter and year"):
        day, zone = date.fromisoformat(row["day"]), ZoneInfo(row["zone"])
        assert shop_time.month_end(day, zone) == utc(row["month ends (UTC)"]), row
        assert shop_time.quarter_end(day, zone) == utc(row["quarter ends (UTC)"]), row
        assert shop_time.year_end(day, zone) == utc(row["year ends (UTC)"]), row


def test_months_later_are_as_the_page_says() -> None:
    for row in worked("shop_time.md", "Example: months later"):
        later = shop_time.add_months(date.fromisoformat(row["day"]), number(row["months"]))
        assert later.isoformat() == row["result"], row


def test_birthdays_are_as_the_page_says() -> None:
    for row in worked("shop_time.md", "Example: birthdays"):
        born, day = date.fromisoformat(row["born"]), date.fromisoformat(row["day"])
        assert shop_time.is_birthday(born, day) is (row["birthday"] == "yes"), row


@given(instants, zones)
def test_every_instant_lies_within_its_business_day(at: datetime, zone: ZoneInfo) -> None:
    day = shop_time.business_day(at, zone)
    assert shop_time.day_start(day, zone) <= at < shop_time.day_end(day, zone)


@given(instants, st.timedeltas(timedelta(0), timedelta(days=3)), zones)
def test_business_days_never_run_backwards(at: datetime, later: timedelta, zone: ZoneInfo) -> None:
    assert shop_time.business_day(at, zone) <= shop_time.business_day(at + later, zone)


@given(st.dates(date(1995, 1, 1), date(2050, 1, 1)), zones)
def test_a_month_ends_within_its_quarter_and_a_quarter_within_its_year(day: date, zone: ZoneInfo) -> None:
    ends = [f(day, zone) for f in (shop_time.day_end, shop_time.month_end, shop_time.quarter_end, shop_time.year_end)]
    assert ends == sorted(ends)


@given(st.dates(date(1995, 1, 1), date(2050, 1, 1)), st.integers(0, 600))
def test_months_added_and_taken_away_stay_in_the_month(day: date, months: int) -> None:
    later = shop_time.add_months(day, months)
    assert shop_time.month_start(shop_time.add_months(later, -months)) == shop_time.month_start(day)
    assert later.day <= day.day


def test_a_bare_instant_is_our_mistake() -> None:
    with pytest.raises(AssertionError):
        shop_time.business_day(datetime(2026, 1, 1), UTC)  # noqa: DTZ001 (the bare instant is the point)


def test_the_shop_lives_in_shanghai_unless_told_otherwise() -> None:
    assert shop_time.shop_zone().key == "Asia/Shanghai"
    with pytest.raises(ZoneInfoNotFoundError):
        shop_time.shop_zone("Asia/Nowhere")
