"""Signatures and sealed content of WeChat Pay API v3.

Official sources: "Build and verify signatures" and "Decrypt callbacks and certificates" of the API v3 rules. RSA PKCS#1
v1.5 with SHA-256 for both directions, AES-256-GCM for what notifications carry.
"""

import base64
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from wechat.errors import NoticeUnreadable, SignatureInvalid

SCHEME: Final = "WECHATPAY2-SHA256-RSA2048"
PROBE_PREFIX: Final = "WECHATPAY/SIGNTEST/"
"""Tencent sends probes signed with this text to see whether a merchant really verifies."""

SKEW_S: Final = 300
"""Seconds that a timestamp may lie in the past or in the future."""


def request_message(method: str, path_and_query: str, timestamp: str, nonce: str, body: bytes) -> bytes:
    """The five lines that a request signs. `path_and_query` is exactly what is sent, without the host."""
    return f"{method}\n{path_and_query}\n{timestamp}\n{nonce}\n".encode() + body + b"\n"


def answer_message(timestamp: str, nonce: str, body: bytes) -> bytes:
    """The three lines that an answer or a notification signs; the body of a 204 is empty."""
    return f"{timestamp}\n{nonce}\n".encode() + body + b"\n"


def payment_message(appid: str, timestamp: str, nonce: str, package: str) -> bytes:
    """The four lines behind ``paySign`` of ``wx.requestPayment``."""
    return f"{appid}\n{timestamp}\n{nonce}\n{package}\n".encode()


@lru_cache(maxsize=4)
def _private_key(pem: str) -> rsa.RSAPrivateKey:
    """The key in the PEM; kept, because reading one means checking its primes."""
    key = load_pem_private_key(pem.encode(), password=None)
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size < 2048:
        raise ValueError("the private key must be RSA of at least 2048 bits")
    return key


class Signer:
    """An RSA private key of at least 2048 bits that signs."""

    def __init__(self, private_key_pem: str) -> None:
        self._key = _private_key(private_key_pem)

    def sign(self, message: bytes) -> str:
        """The signature over `message`, base64."""
        return base64.b64encode(self._key.sign(message, padding.PKCS1v15(), hashes.SHA256())).decode()


class Keyring:
    """The keys that may sign for WeChat, by the serial that each answer names.

    It holds several at once, for notifications move from the platform certificate to the public key at Tencent's pace
    over about a week. A value is the PEM of a public key (serial ``PUB_KEY_ID_…``) or of a platform certificate.
    """

    def __init__(self, pem_by_serial: Mapping[str, str]) -> None:
        self._keys: dict[str, rsa.RSAPublicKey] = {}
        self._validity: dict[str, tuple[datetime, datetime]] = {}
        for serial, pem in pem_by_serial.items():
            key: object
            if "BEGIN CERTIFICATE" in pem:
                certificate = x509.load_pem_x509_certificate(pem.encode())
                key = certificate.public_key()
                self._validity[serial] = (certificate.not_valid_before_utc, certificate.not_valid_after_utc)
            else:
                key = load_pem_public_key(pem.encode())
            if not isinstance(key, rsa.RSAPublicKey):
                raise ValueError(f"the key of serial {serial} must be RSA")
            self._keys[serial] = key

    def verify(self, serial: str, message: bytes, signature: str, at: datetime) -> None:
        """Raises `SignatureInvalid` unless the key of `serial`, valid at `at`, signed `message`."""
        key = self._keys.get(serial)
        if key is None:
            raise SignatureInvalid("SIGNATURE_INVALID", f"no key of serial {serial!r} is known")
        first, last = self._validity.get(serial, (at, at))
        if not first <= at <= last:
            raise SignatureInvalid("SIGNATURE_INVALID", f"the certificate {serial} is not valid now")
        if signature.startswith(PROBE_PREFIX):
            raise SignatureInvalid("SIGNATURE_INVALID", "a signature probe")
        try:
            key.verify(base64.b64decode(signature, validate=True), message, padding.PKCS1v15(), hashes.SHA256())
        except (InvalidSignature, ValueError):
            raise SignatureInvalid("SIGNATURE_INVALID", "the signature does not match the content") from None


def check_signed(keyring: Keyring, headers: Mapping[str, str], body: bytes, at: datetime) -> None:
    """Verify the ``Wechatpay-*`` headers over the raw `body` as received at `at`.

    `headers` has lower-case names. Raises `SignatureInvalid`: a header is missing, the timestamp is more than 5 minutes
    away, the serial is unknown, or the signature does not hold.
    """
    timestamp = headers.get("wechatpay-timestamp", "")
    nonce = headers.get("wechatpay-nonce", "")
    signature = headers.get("wechatpay-signature", "")
    serial = headers.get("wechatpay-serial", "")
    if not (timestamp and nonce and signature and serial):
        raise SignatureInvalid("SIGNATURE_INVALID", "a signature header is missing")
    if headers.get("wechatpay-signature-type", SCHEME) != SCHEME:
        raise SignatureInvalid("SIGNATURE_INVALID", "an unknown kind of signature")
    if not (timestamp.isascii() and timestamp.isdecimal()) or len(timestamp) > 12:
        raise SignatureInvalid("SIGNATURE_INVALID", "the timestamp is no number of seconds")
    if abs(at.timestamp() - int(timestamp)) > SKEW_S:
        raise SignatureInvalid("SIGNATURE_INVALID", "the timestamp is more than 5 minutes away")
    keyring.verify(serial, answer_message(timestamp, nonce, body), signature, at)


def open_sealed(apiv3_key: str, nonce: str, associated_data: str, ciphertext: str) -> bytes:
    """Decrypt the ``resource`` of a notification. Raises `NoticeUnreadable`."""
    try:
        sealed = base64.b64decode(ciphertext, validate=True)
        return AESGCM(apiv3_key.encode()).decrypt(nonce.encode(), sealed, associated_data.encode())
    except (InvalidTag, ValueError):
        raise NoticeUnreadable("NOTICE_UNREADABLE", "the content cannot be decrypted") from None


def seal(apiv3_key: str, nonce: str, associated_data: str, plain: bytes) -> str:
    """The counterpart of `open_sealed`: base64 of the ciphertext with its tag of 16 bytes at the end."""
    return base64.b64encode(
        AESGCM(apiv3_key.encode()).encrypt(nonce.encode(), plain, associated_data.encode())
    ).decode()
