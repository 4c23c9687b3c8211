"""Idempotency keys: what one looks like, and when the same key means the same request.

Source: docs/rules/idempotency.md
"""

import json
from collections.abc import Mapping
from hashlib import sha256

from loyalty.refusal import Refusal

MIN_KEY_LENGTH = 8
MAX_KEY_LENGTH = 64

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


class KeyReused(Refusal):
    """The key was used before for a request with other content."""

    code = "KEY_REUSED"
    zh = "该幂等键已用于其他请求"
    en = "This idempotency key was used for a different request."


class KeyInvalid(Refusal):
    """A key is ``least`` to ``most`` visible ASCII characters."""

    code = "KEY_INVALID"
    zh = "幂等键须为 {least} 至 {most} 个可见 ASCII 字符"
    en = "An idempotency key is {least} to {most} visible ASCII characters."


def admit_key(key: str) -> None:
    """Whether ``key`` may be used: 8..64 characters from ``!`` to ``~``. Raises: KeyInvalid."""
    is_visible = key.isascii() and key.isprintable() and " " not in key
    if not MIN_KEY_LENGTH <= len(key) <= MAX_KEY_LENGTH or not is_visible:
        raise KeyInvalid(least=MIN_KEY_LENGTH, most=MAX_KEY_LENGTH)


def fingerprint(content: Mapping[str, object]) -> str:
    """The SHA-256 of a request's content in canonical JSON, as hex: the order of the keys does not matter.

    Only JSON values: a value of another type is our mistake and fails.
    """
    return sha256(_CANONICAL.encode(content).encode()).hexdigest()


def admit_replay(*, stored: str, sent: str) -> None:
    """Whether the request with a known key is the one that was stored, by fingerprint. Raises: KeyReused."""
    if stored != sent:
        raise KeyReused()
