"""What the scalars take and give, each bound just inside and just outside."""

from datetime import UTC, date, datetime, timedelta, timezone
from uuid import UUID

import pytest
from graphql import FloatValueNode, GraphQLError, IntValueNode, StringValueNode
from hypothesis import given
from hypothesis import strategies as st

from schema.scalars import SAFE_INTEGER, SCALARS, Fen, IdempotencyKey, Points

ONE = "01930000-0000-7000-8000-000000000001"


def parse(scalar: object, value: object) -> object:
    definition = SCALARS[scalar]
    reader = definition.implementation.coerce_input_value if definition.implementation else definition.parse_value
    assert reader is not None
    return reader(value)


def serialize(scalar: object, value: object) -> object:
    definition = SCALARS[scalar]
    writer = definition.implementation.coerce_output_value if definition.implementation else definition.serialize
    assert writer is not None
    return writer(value)


@pytest.mark.parametrize("scalar", [Fen, Points])
@pytest.mark.parametrize("value", [0, 1, -1, 2**31, -(2**31) - 1, SAFE_INTEGER, -SAFE_INTEGER])
def test_money_and_points_are_integers_safe_in_javascript(scalar: object, value: int) -> None:
    assert parse(scalar, value) == value
    assert serialize(scalar, value) == value


@pytest.mark.parametrize("scalar", [Fen, Points])
@pytest.mark.parametrize(
    "value", [SAFE_INTEGER + 1, -SAFE_INTEGER - 1, 2**63, 1.0, 1e3, float("nan"), True, "1", None, []]
)
def test_money_and_points_are_nothing_else(scalar: object, value: object) -> None:
    with pytest.raises(GraphQLError):
        parse(scalar, value)
    with pytest.raises(AssertionError):
        serialize(scalar, value)


def test_money_in_a_document_is_an_integer_literal() -> None:
    literal = SCALARS[Fen].parse_literal
    assert literal is not None
    assert literal(IntValueNode(value="-5"), None) == -5
    for node in (FloatValueNode(value="5.0"), StringValueNode(value="5"), IntValueNode(value=str(2**53))):
        with pytest.raises(GraphQLError):
            literal(node, None)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-11-11T12:00:00Z", datetime(2026, 11, 11, 12, tzinfo=UTC)),
        ("2026-11-11t12:00:00z", datetime(2026, 11, 11, 12, tzinfo=UTC)),
        ("2026-11-11T20:00:00+08:00", datetime(2026, 11, 11, 12, tzinfo=UTC)),
        ("2026-11-11T12:00:00.5Z", datetime(2026, 11, 11, 12, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-11-11T12:00:00.123456-03:30", datetime(2026, 11, 11, 15, 30, 0, 123_456, tzinfo=UTC)),
    ],
)
def test_an_instant_is_rfc_3339_with_an_offset(text: str, instant: datetime) -> None:
    parsed = parse(datetime, text)
    assert parsed == instant
    assert isinstance(parsed, datetime)
    assert parsed.tzinfo is UTC


@pytest.mark.parametrize(
    "value",
    [
        "2026-11-11T12:00:00",
        "2026-11-11",
        "2026-11-11 12:00:00Z",
        "2026-02-30T12:00:00Z",
        "2026-11-11T24:00:00Z",
        "2026-11-11T12:00:60Z",
        "2026-11-11T12:00Z",
        "2026-11-11T12:00:00.1234567Z",
        "0001-01-01T00:00:00+08:00",
        "9999-12-31T23:59:59-08:00",
        "20261111T120000Z",
        "２０２６-11-11T12:00:00Z",
        "",
        1_762_862_400,
        None,
    ],
)
def test_an_instant_is_nothing_else(value: object) -> None:
    with pytest.raises(GraphQLError):
        parse(datetime, value)


def test_instants_are_given_in_utc() -> None:
    shop = timezone(timedelta(hours=8))
    assert serialize(datetime, datetime(2026, 11, 11, 20, tzinfo=shop)) == "2026-11-11T12:00:00Z"
    assert serialize(datetime, datetime(2026, 11, 11, 20, 0, 0, 5, tzinfo=shop)) == "2026-11-11T12:00:00.000005Z"
    with pytest.raises(AssertionError):
        serialize(datetime, datetime(2026, 11, 11, 20))  # noqa: DTZ001


@given(st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 12, 31), timezones=st.timezones()))  # noqa: DTZ001
def test_an_instant_comes_back_as_it_went_out(at: datetime) -> None:
    assert parse(datetime, serialize(datetime, at)) == at.astimezone(UTC)


def test_a_day_is_a_day_that_exists() -> None:
    assert parse(date, "2024-02-29") == date(2024, 2, 29)
    assert serialize(date, date(2024, 2, 29)) == "2024-02-29"
    for value in ("2026-02-29", "2026-2-1", "20260201", "2026-W01-1", "2026-02-01T00:00:00Z", "", 20260201, None):
        with pytest.raises(GraphQLError):
            parse(date, value)
    with pytest.raises(AssertionError):
        serialize(date, datetime(2026, 2, 1, tzinfo=UTC))


def test_an_id_is_one_that_was_given_out() -> None:
    assert parse(UUID, ONE) == UUID(ONE)
    assert parse(UUID, ONE.upper()) == UUID(ONE)
    assert serialize(UUID, UUID(ONE)) == ONE
    for value in (
        "",
        "1",
        ONE[:-1],
        ONE + "0",
        ONE.replace("-", ""),
        f"{{{ONE}}}",
        f"urn:uuid:{ONE}",
        f" {ONE}",
        1,
        None,
    ):
        with pytest.raises(GraphQLError):
            parse(UUID, value)
    with pytest.raises(AssertionError):
        serialize(UUID, ONE)


@pytest.mark.parametrize("key", ["12345678", "x" * 64, ONE, "a!~-_/+=."])
def test_an_idempotency_key_is_short_visible_ascii(key: str) -> None:
    assert parse(IdempotencyKey, key) == key


@pytest.mark.parametrize(
    "key", ["1234567", "x" * 65, "a b c d e", "密钥密钥密钥密钥", "1234567\n", "1234567\0", "", 12345678, None]
)
def test_an_idempotency_key_is_nothing_else(key: object) -> None:
    with pytest.raises(GraphQLError):
        parse(IdempotencyKey, key)
