"""How a programme that operators configure is read: every field checked, the first fault named by its path.

A published definition never changes; the version number stands beside it and every decision names it.

Source: docs/rules/programme.md
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime
from enum import StrEnum
from typing import NamedTuple, TypeVar
from uuid import UUID

from loyalty.refusal import Refusal

MAX_POINTS = 1_000_000_000_000
"""The largest number of points or growth value that a definition may name and a balance may reach."""

Definition = Mapping[str, object]

_Choice = TypeVar("_Choice", bound=StrEnum)


class Reason(NamedTuple):
    """Why a field is wrong, for both languages."""

    en: str
    zh: str


REQUIRED = Reason("is required", "为必填项")
UNKNOWN = Reason("is not a field of this programme", "不是该规则的字段")
NOT_INTEGER = Reason("must be a whole number", "必须是整数")
NOT_TEXT = Reason("must be text", "必须是文本")
NOT_BOOLEAN = Reason("must be true or false", "必须是 true 或 false")
NOT_LIST = Reason("must be a list", "必须是列表")
NOT_OBJECT = Reason("must be an object", "必须是对象")
NOT_DATE = Reason("must be a date as YYYY-MM-DD", "必须是 YYYY-MM-DD 格式的日期")
NOT_CODE = Reason(
    "must be 1 to 40 letters a-z, digits or underscores, a letter first",
    "必须是 1 至 40 个小写字母、数字或下划线，且以字母开头",
)
NOT_ID = Reason("must be an id", "必须是 id")
DUPLICATE = Reason("stands there twice", "重复")
NOT_ASCENDING = Reason("must be greater than the one before it", "必须大于前一项")


class ProgrammeInvalid(Refusal):
    """A definition that cannot work. ``field`` is the path, such as ``levels[2].threshold``; ``reason`` says why."""

    code = "PROGRAMME_INVALID"
    zh = "规则配置有误：{field} {reason_zh}"
    en = "The programme is invalid: {field} {reason}."


def invalid(field: str, reason: Reason) -> ProgrammeInvalid:
    """The refusal for ``field``, ready to raise."""
    return ProgrammeInvalid(field=field, reason=reason.en, reason_zh=reason.zh)


def between(low: int, high: int) -> Reason:
    """The reason for a number outside ``low..high``, both included."""
    return Reason(f"must be {low} to {high}", f"必须在 {low} 到 {high} 之间")


class Noun(StrEnum):
    """What a definition can name that is kept somewhere else."""

    TIER = "tier"
    COUPON_TEMPLATE = "coupon template"
    CATEGORY = "category"
    PRODUCT = "product"
    SKU = "SKU"


class Name(NamedTuple):
    """Something that a definition names: a code, or an id as text, at ``path``."""

    path: str
    noun: Noun
    value: str


_ZH_NOUNS = {
    Noun.TIER: "等级",
    Noun.COUPON_TEMPLATE: "券模板",
    Noun.CATEGORY: "分类",
    Noun.PRODUCT: "商品",
    Noun.SKU: "规格",
}


def admit_names(names: Iterable[Name], known: Mapping[Noun, Collection[str]]) -> None:
    """Whether everything that is named is known. Raises: ProgrammeInvalid, for the first that is not."""
    for name in names:
        if name.value not in known.get(name.noun, ()):
            value = f"“{name.value[:40]}”"
            reason = Reason(f"names no {name.noun}: {value}", f"不是现有{_ZH_NOUNS[name.noun]}：{value}")
            raise invalid(name.path, reason)


def scope_names(scope: Mapping[str, Iterable[str]]) -> list[Name]:
    """What a scope names, written out with fields such as ``category_ids`` and ``excluded_sku_ids``."""
    return [
        Name(f"scope.{field}", Noun[field.removeprefix("excluded_").removesuffix("_ids").upper()], value)
        for field, values in scope.items()
        for value in values
    ]


MAX_NOTE_LENGTH = 200


def admit_effective_at(effective_at: datetime | None, now: datetime) -> None:
    """Whether a version may come into force then: now or later. Raises: ProgrammeInvalid."""
    if effective_at is not None and effective_at < now:
        raise invalid("effective_at", Reason("must not lie in the past", "不能早于现在"))


def admit_note(note: str) -> None:
    """Whether a version may carry this note: at most MAX_NOTE_LENGTH characters. Raises: ProgrammeInvalid."""
    if len(note) > MAX_NOTE_LENGTH:
        raise invalid("note", Reason(f"must be at most {MAX_NOTE_LENGTH} characters", f"最多 {MAX_NOTE_LENGTH} 个字符"))


class Fields:
    """One object of a definition, read field by field; ``done`` refuses the fields that nobody read."""

    def __init__(self, definition: object, path: str = "") -> None:
        if not isinstance(definition, Mapping):
            raise invalid(path or "definition", NOT_OBJECT)
        self._values: Definition = definition
        self._path = path
        self._read: set[str] = set()

    def path(self, name: str) -> str:
        """The full path of a field, as a refusal names it."""
        return f"{self._path}.{name}" if self._path else name

    def has(self, name: str) -> bool:
        """Whether the field is there and not null; reading it afterwards is up to the caller."""
        self._read.add(name)
        return self._values.get(name) is not None

    def integer(self, name: str, low: int, high: int, default: int | None = None) -> int:
        """A whole number within ``low..high``, both included; without a default it is required."""
        if not self.has(name):
            if default is None:
                raise invalid(self.path(name), REQUIRED)
            return default
        value = self._values[name]
        if not isinstance(value, int) or isinstance(value, bool):
            raise invalid(self.path(name), NOT_INTEGER)
        if not low <= value <= high:
            raise invalid(self.path(name), between(low, high))
        return value

    def optional_integer(self, name: str, low: int, high: int) -> int | None:
        """A whole number within ``low..high``, or None when it is absent or null."""
        return self.integer(name, low, high) if self.has(name) else None

    def boolean(self, name: str, default: bool) -> bool:
        """True or false."""
        if not self.has(name):
            return default
        value = self._values[name]
        if not isinstance(value, bool):
            raise invalid(self.path(name), NOT_BOOLEAN)
        return value

    def text(self, name: str, longest: int) -> str:
        """Text of 1 to ``longest`` printable characters, without blanks around it."""
        if not self.has(name):
            raise invalid(self.path(name), REQUIRED)
        value = self._values[name]
        if not isinstance(value, str):
            raise invalid(self.path(name), NOT_TEXT)
        if not 1 <= len(value) <= longest or value != value.strip() or not value.isprintable():
            reason = Reason(
                f"must be 1 to {longest} printable characters without blanks around them",
                f"须为 1 至 {longest} 个可见字符，首尾无空格",
            )
            raise invalid(self.path(name), reason)
        return value

    def code(self, name: str) -> str:
        """A short stable name that tables and refusals refer to."""
        if not self.has(name):
            raise invalid(self.path(name), REQUIRED)
        value = self._values[name]
        if not isinstance(value, str):
            raise invalid(self.path(name), NOT_TEXT)
        return _as_code(value, self.path(name))

    def codes(self, name: str) -> tuple[str, ...]:
        """A list of codes, each once; empty when absent."""
        found: list[str] = []
        for position, value in enumerate(self._items(name)):
            path = f"{self.path(name)}[{position}]"
            if not isinstance(value, str):
                raise invalid(path, NOT_TEXT)
            if value in found:
                raise invalid(path, DUPLICATE)
            found.append(_as_code(value, path))
        return tuple(found)

    def texts(self, name: str, most: int) -> tuple[str, ...]:
        """A list of at most ``most`` texts, whatever they say; empty when absent."""
        items = self._items(name)
        if len(items) > most:
            raise invalid(self.path(name), Reason(f"must have at most {most} entries", f"最多 {most} 项"))
        found: list[str] = []
        for position, value in enumerate(items):
            if not isinstance(value, str):
                raise invalid(f"{self.path(name)}[{position}]", NOT_TEXT)
            found.append(value)
        return tuple(found)

    def ids(self, name: str, most: int) -> tuple[UUID, ...]:
        """A list of at most ``most`` ids, each once; empty when absent."""
        items = self._items(name)
        if len(items) > most:
            raise invalid(self.path(name), Reason(f"must have at most {most} entries", f"最多 {most} 项"))
        found: list[UUID] = []
        for position, value in enumerate(items):
            path = f"{self.path(name)}[{position}]"
            try:
                one = UUID(value) if isinstance(value, str) else None
            except ValueError:
                one = None
            if one is None:
                raise invalid(path, NOT_ID)
            if one in found:
                raise invalid(path, DUPLICATE)
            found.append(one)
        return tuple(found)

    def integers(self, name: str, low: int, high: int) -> tuple[int, ...]:
        """A list of whole numbers within ``low..high``, each once; empty when absent."""
        found: list[int] = []
        for position, value in enumerate(self._items(name)):
            path = f"{self.path(name)}[{position}]"
            if not isinstance(value, int) or isinstance(value, bool):
                raise invalid(path, NOT_INTEGER)
            if not low <= value <= high:
                raise invalid(path, between(low, high))
            if value in found:
                raise invalid(path, DUPLICATE)
            found.append(value)
        return tuple(found)

    def choice(self, name: str, choices: type[_Choice], default: _Choice | None = None) -> _Choice:
        """One of the values of an enumeration."""
        if not self.has(name):
            if default is None:
                raise invalid(self.path(name), REQUIRED)
            return default
        value = self._values[name]
        if not isinstance(value, str) or value not in set(choices):
            allowed = ", ".join(choices)
            raise invalid(self.path(name), Reason(f"must be one of: {allowed}", "不在可选范围内"))
        return choices(value)

    def day(self, name: str) -> date:
        """A calendar day, written YYYY-MM-DD."""
        if not self.has(name):
            raise invalid(self.path(name), REQUIRED)
        value = self._values[name]
        try:
            day = date.fromisoformat(value) if isinstance(value, str) else None
        except ValueError:
            day = None
        if day is None or day.isoformat() != value:
            raise invalid(self.path(name), NOT_DATE)
        return day

    def part(self, name: str) -> "Fields | None":
        """The object under ``name``, or None when it is absent or null."""
        return Fields(self._values[name], self.path(name)) if self.has(name) else None

    def parts(self, name: str, most: int) -> tuple["Fields", ...]:
        """The list of objects under ``name``, at most ``most`` of them; empty when absent."""
        items = self._items(name)
        if len(items) > most:
            raise invalid(self.path(name), Reason(f"must have at most {most} entries", f"最多 {most} 项"))
        return tuple(Fields(item, f"{self.path(name)}[{position}]") for position, item in enumerate(items))

    def done(self) -> None:
        """Refuse a field that this kind of programme does not have: a misspelt rule must not be silently off."""
        for name in self._values:
            if name not in self._read:
                raise invalid(self.path(str(name)), UNKNOWN)

    def _items(self, name: str) -> Sequence[object]:
        if not self.has(name):
            return ()
        value = self._values[name]
        if not isinstance(value, list | tuple):
            raise invalid(self.path(name), NOT_LIST)
        return value


def _as_code(value: str, path: str) -> str:
    plain = value.isascii() and value.replace("_", "a").isalnum() and value == value.lower()
    if not plain or not 1 <= len(value) <= 40 or not value[0].isalpha():
        raise invalid(path, NOT_CODE)
    return value
