"""Codes that a phone shows and a till reads: 18 digits, told apart by the first two, good for minutes.

Source: docs/rules/member.md, docs/rules/fulfilment.md, docs/rules/coupon_till.md
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from loyalty.refusal import Refusal
from loyalty.typed import half_width

CODE_LENGTH: Final = 18
"""Digits only, so that it fits a bar code that every till can read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeKind:
    """What codes of one purpose have in common.

    ``prefix``: two digits with which neither a payment code of WeChat (10 to 15) or Alipay (25 to 30) nor a code of
    another kind begins, so that a till can tell them apart. ``ttl``: how long a code can be read after it was shown,
    until before this has passed. ``invalid``: the one answer for every code that is none.
    """

    name: str
    prefix: str
    ttl: timedelta
    invalid: type[Refusal]

    def admit(self, code: str) -> str:
        """The code in half width, without the blanks that scanners add. Raises: ``invalid`` for what is no code."""
        kept = half_width(code)
        if len(kept) != CODE_LENGTH or not kept.isascii() or not kept.isdigit() or not kept.startswith(self.prefix):
            raise self.invalid()
        return kept
