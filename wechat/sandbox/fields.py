"""Strict reading of request bodies: an unknown field, another type or a length beyond its limit is a PARAM_ERROR."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wechat.sandbox.answers import PayRefusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A string of `least` to `most` characters that matches `pattern` wholly."""

    most: int
    least: int = 1
    pattern: re.Pattern[str] | None = None
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """An integer within closed bounds."""

    least: int
    most: int = 10**12
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A nested object."""

    fields: Mapping[str, "Field"]
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Free:
    """A value whose inside is not looked at."""

    kinds: tuple[type, ...]
    required: bool = False


Field = Text | Whole | Part | Free


def read(raw: bytes, fields: Mapping[str, Field]) -> dict[str, Any]:
    """The checked body. Raises `PayRefusal` with PARAM_ERROR that names the field."""
    try:
        body = json.loads(raw)
    except ValueError:
        raise refused("body", "不是合法的JSON") from None
    if not isinstance(body, dict):
        raise refused("body", "不是JSON对象")
    _check(body, fields, "")
    return body


def refused(field: str, why: str) -> PayRefusal:
    """A PARAM_ERROR about one field."""
    return PayRefusal(400, "PARAM_ERROR", f"输入源“/body/{field}”{why}", 268435457)


def _check(body: Mapping[str, Any], fields: Mapping[str, Field], where: str) -> None:
    for name in body:
        if name not in fields:
            raise refused(where + name, "不是接口定义的参数")
    for name, field in fields.items():
        value = body.get(name)
        if value is None:
            if field.required or name in body:
                raise refused(where + name, "为必填项或不能为空")
            continue
        _check_value(value, field, where + name)


def _check_value(value: Any, field: Field, where: str) -> None:
    if isinstance(field, Text):
        if not isinstance(value, str):
            raise refused(where, "必须是字符串")
        if not field.least <= len(value) <= field.most:
            raise refused(where, f"长度必须在{field.least}到{field.most}之间")
        if field.pattern is not None and not field.pattern.fullmatch(value):
            raise refused(where, "格式不正确")
    elif isinstance(field, Whole):
        if not isinstance(value, int) or isinstance(value, bool):
            raise refused(where, "必须是整数")
        if not field.least <= value <= field.most:
            raise refused(where, f"必须在{field.least}到{field.most}之间")
    elif isinstance(field, Part):
        if not isinstance(value, dict):
            raise refused(where, "必须是对象")
        _check(value, field.fields, where + "/")
    elif not isinstance(value, field.kinds):
        raise refused(where, "类型不正确")
