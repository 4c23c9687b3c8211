"""Refusals: the expected ways of saying no.

A refusal is raised, because the exception is also the rollback of the transaction it leaves. Its code never changes
once released; its messages may. The class stands in the rule module that decides it.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Literal

Language = Literal["zh", "en"]
RefusalValue = str | int | None


class Refusal(Exception):
    """Something a person asked for and may not have, with a stable code and a message in Chinese and English.

    Subclasses set ``code`` (upper snake case), ``zh`` and ``en``: templates in the syntax of ``str.format`` over the
    keyword values given when it is raised. ``zh_words`` has the Chinese of values that are words of ours, such as the
    names of states and fields. Every subclass is listed in ``registry`` under its code.
    """

    code: ClassVar[str]
    zh: ClassVar[str]
    en: ClassVar[str]
    zh_words: ClassVar[Mapping[Any, str]] = MappingProxyType({})
    registry: ClassVar[dict[str, type["Refusal"]]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        assert cls.code not in Refusal.registry, f"refusal code {cls.code} is declared twice"
        Refusal.registry[cls.code] = cls

    def __init__(self, **data: RefusalValue) -> None:
        super().__init__(self.code)
        self.data = data

    def message(self, language: Language) -> str:
        """The sentence a person reads, in Chinese or English, with the refusal's values filled in."""
        if language == "en":
            return self.en.format(**self.data)
        return self.zh.format(**{name: self.zh_words.get(value, value) for name, value in self.data.items()})
