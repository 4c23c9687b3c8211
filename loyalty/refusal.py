"""Refusals: the expected ways of saying no.

A refusal is raised, because the exception is also the rollback of the transaction it leaves. Its code never changes
once released; its messages may. The class stands in the rule module that decides it.
"""

from typing import ClassVar, Literal

Language = Literal["zh", "en"]
RefusalValue = str | int | None


class Refusal(Exception):
    """Something a person asked for and may not have, with a stable code and a message in Chinese and English.

    Subclasses set ``code`` (upper snake case), ``zh`` and ``en``: templates in the syntax of ``str.format`` over the
    keyword values given when it is raised. Every subclass is listed in ``registry`` under its code.
    """

    code: ClassVar[str]
    zh: ClassVar[str]
    en: ClassVar[str]
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
        return (self.zh if language == "zh" else self.en).format(**self.data)
