"""What people type: Chinese keyboards make full-width digits and letters where plain ones are meant.

Source: docs/rules/typed.md
"""

from unicodedata import normalize

_ALIKE = str.maketrans("OIL", "011")


def half_width(text: str) -> str:
    """The text as if it had been typed in half width (NFKC), without blanks around it."""
    return normalize("NFKC", text).strip()


def regular_code(text: str) -> str:
    """A code however it is typed: half width, upper case, blanks and dashes out, O is 0, I and L are 1."""
    return half_width(text).upper().replace(" ", "").replace("-", "").translate(_ALIKE)
