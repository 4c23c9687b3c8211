"""Keeping a secret at rest: AES-256-GCM with a key id, so that keys can be changed."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES = 12


class SealBroken(Exception):
    """The sealed text was changed, belongs elsewhere, or its key is gone."""


class Seal:
    """Seals texts with the first of its keys and opens them with any of them. Keys are 32 bytes by key id."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        assert keys, "a seal needs a key"
        self._keys = {kid: AESGCM(key) for kid, key in keys.items()}
        self._first = next(iter(keys))
        self._mark_key = hashlib.sha256(b"mark:" + keys[self._first]).digest()

    def close(self, text: str, *, belongs_to: str) -> str:
        """Seal ``text`` so that it opens only for the same ``belongs_to``, such as ``member:<id>``."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = self._keys[self._first].encrypt(nonce, text.encode(), belongs_to.encode())
        return f"{self._first}.{base64.urlsafe_b64encode(nonce + sealed).decode()}"

    def open(self, sealed: str, *, belongs_to: str) -> str:
        """The text that was sealed. Raises: SealBroken."""
        kid, _, content = sealed.partition(".")
        raw = base64.urlsafe_b64decode(content)
        try:
            return self._keys[kid].decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], belongs_to.encode()).decode()
        except (KeyError, InvalidTag) as error:
            raise SealBroken(kid) from error

    def mark(self, text: str, *, kind: str) -> str:
        """64 hex digits that are the same for the same text and kind, and tell nothing without the first key."""
        return hmac.new(self._mark_key, f"{kind}:{text}".encode(), hashlib.sha256).hexdigest()
