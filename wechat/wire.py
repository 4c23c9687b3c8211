"""Typed reading of WeChat's JSON: a field that is missing or of another type is an unreadable answer, never a guess."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from wechat.errors import AnswerUnreadable

Wire = Mapping[str, Any]


def _unreadable(key: str, expected: str) -> AnswerUnreadable:
    return AnswerUnreadable("ANSWER_UNREADABLE", f"field {key} is not {expected}")


def text(wire: Wire, key: str) -> str:
    """A non-empty string."""
    value = wire.get(key)
    if not isinstance(value, str) or not value:
        raise _unreadable(key, "a text")
    return value


def text_or_none(wire: Wire, key: str) -> str | None:
    """A string; absent, null and empty are all None, for WeChat uses the three alike."""
    value = wire.get(key)
    if value is None or value == "":
        return None
    return text(wire, key)


def whole(wire: Wire, key: str) -> int:
    """An integer, not negative (an amount in fen, a number of seconds)."""
    value = wire.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _unreadable(key, "a whole number")
    return value


def whole_or_none(wire: Wire, key: str) -> int | None:
    """An integer that is not negative, or None where it is absent."""
    return None if wire.get(key) is None else whole(wire, key)


def part(wire: Wire, key: str) -> Wire:
    """A nested object; absent or null is an empty one."""
    value = wire.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _unreadable(key, "an object")
    return value


def parts(wire: Wire, key: str) -> list[Wire]:
    """A list of objects; absent or null is an empty one."""
    value = wire.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise _unreadable(key, "a list of objects")
    return value


def instant_or_none(wire: Wire, key: str) -> datetime | None:
    """An RFC 3339 time with its offset, as an aware datetime."""
    value = text_or_none(wire, key)
    if value is None:
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        raise _unreadable(key, "a time") from None
    if at.tzinfo is None:
        raise _unreadable(key, "a time with an offset")
    return at
