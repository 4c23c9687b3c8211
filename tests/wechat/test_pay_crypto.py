"""Signatures and sealed content against published vectors and against the library's own primitives."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_public_key

from wechat.errors import NoticeUnreadable, SignatureInvalid
from wechat.pay_crypto import Keyring, Signer, check_signed, open_sealed, payment_message, request_message, seal
from wechat.pay_types import PayConfig
from wechat.sandbox import Credentials
from wechat.sandbox.credentials import merchant_public_pem
from wechat.session import session_signature

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
KEY = "0123456789abcdef0123456789abcdef"
SEALED = "Eu69zaqBCIwQaJNlb7tiHQ9k+Fz80zx5YzOYHKwl/geBbi9ljwuu9FA="


def test_the_published_ciphertext_opens_and_is_made_again() -> None:
    plain = b'{"trade_state":"SUCCESS"}'
    assert open_sealed(KEY, "abcdefghijkl", "transaction", SEALED) == plain
    assert seal(KEY, "abcdefghijkl", "transaction", plain) == SEALED


@pytest.mark.parametrize(
    ("nonce", "associated_data", "ciphertext"),
    [
        ("abcdefghijkm", "transaction", SEALED),
        ("abcdefghijkl", "refund", SEALED),
        ("abcdefghijkl", "transaction", "Fu69zaqBCIwQaJNlb7tiHQ9k+Fz80zx5YzOYHKwl/geBbi9ljwuu9FA="),
        ("abcdefghijkl", "transaction", "no base64!"),
        ("abcdefghijkl", "transaction", ""),
        ("", "transaction", SEALED),
    ],
)
def test_anything_else_does_not_open(nonce: str, associated_data: str, ciphertext: str) -> None:
    with pytest.raises(NoticeUnreadable):
        open_sealed(KEY, nonce, associated_data, ciphertext)


def test_the_session_signature_is_keyed_by_the_text_of_the_session_key() -> None:
    signature = session_signature("o0q0otL8aEzpcZL/FT9WsQ==", '{"foo":"bar"}')
    assert signature == "654571f79995b2ce1e149e53c0a33dc39c0a74090db514261454e8dbe432aa0b"


def test_a_request_signs_five_lines_and_a_payment_four(credentials: Credentials) -> None:
    public = load_pem_public_key(merchant_public_pem(credentials).encode())
    assert isinstance(public, rsa.RSAPublicKey)
    signer = Signer(credentials.merchant_private_pem)
    for message, lines in (
        (request_message("POST", "/v3/x?y=1", "1554208460", "nonce", b'{"a":"\xe5\x92\x96"}'), 5),
        (request_message("GET", "/v3/x", "1554208460", "nonce", b""), 5),
        (payment_message("wx1", "1554208460", "nonce", "prepay_id=wx2"), 4),
    ):
        assert message.count(b"\n") == lines
        assert message.endswith(b"\n")
        public.verify(base64.b64decode(signer.sign(message)), message, padding.PKCS1v15(), hashes.SHA256())


@pytest.mark.parametrize("shift_s", [-300, 0, 300])
def test_a_signature_within_five_minutes_holds(credentials: Credentials, shift_s: int) -> None:
    keyring, headers = signed(credentials, NOW + timedelta(seconds=shift_s), b"")
    check_signed(keyring, headers, b"", NOW)


@pytest.mark.parametrize("shift_s", [-301, 301])
def test_a_signature_more_than_five_minutes_away_does_not(credentials: Credentials, shift_s: int) -> None:
    keyring, headers = signed(credentials, NOW + timedelta(seconds=shift_s), b"")
    with pytest.raises(SignatureInvalid, match="5 minutes"):
        check_signed(keyring, headers, b"", NOW)


@pytest.mark.parametrize(
    "changed",
    [
        {"wechatpay-timestamp": ""},
        {"wechatpay-timestamp": "١٧٦٣٧٢٦٤٠٠"},
        {"wechatpay-timestamp": "17637264000000000000"},
        {"wechatpay-timestamp": "1e9"},
        {"wechatpay-nonce": "other"},
        {"wechatpay-signature": "AAAA"},
        {"wechatpay-signature": "no base64!"},
        {"wechatpay-signature": ""},
        {"wechatpay-serial": "0" * 40},
        {"wechatpay-signature-type": "WECHATPAY2-SM2-WITH-SM3"},
    ],
    ids=str,
)
def test_any_changed_header_breaks_the_signature(credentials: Credentials, changed: dict[str, str]) -> None:
    keyring, headers = signed(credentials, NOW, b"{}")
    check_signed(keyring, headers, b"{}", NOW)
    with pytest.raises(SignatureInvalid):
        check_signed(keyring, headers | changed, b"{}", NOW)


def test_a_body_that_was_parsed_and_written_again_breaks_the_signature(credentials: Credentials) -> None:
    keyring, headers = signed(credentials, NOW, b'{"a": 1}')
    with pytest.raises(SignatureInvalid):
        check_signed(keyring, headers, b'{"a":1}', NOW)


def test_a_certificate_verifies_only_while_it_is_valid(credentials: Credentials) -> None:
    certificate = credentials.platform_keys[1]
    keyring = Keyring({certificate.serial: certificate.verifying_pem})
    signature = Signer(certificate.private_pem).sign(b"m")
    keyring.verify(certificate.serial, b"m", signature, datetime.now(UTC))
    with pytest.raises(SignatureInvalid, match="not valid now"):
        keyring.verify(certificate.serial, b"m", signature, datetime.now(UTC) + timedelta(days=3651))


def test_settings_that_cannot_be_right_are_refused(credentials: Credentials) -> None:
    right = {
        "appid": "wx1",
        "mchid": "1900000000",
        "private_key_pem": credentials.merchant_private_pem,
        "serial": "1",
        "apiv3_key": KEY,
        "verifying_keys": {"a": credentials.platform_keys[0].verifying_pem},
        "preferred_serial": "a",
    }
    shown = repr(PayConfig(**right))  # type: ignore[arg-type]
    assert KEY not in shown
    assert "PRIVATE" not in shown
    for wrong in ({"apiv3_key": "short"}, {"preferred_serial": "b"}, {"mchid": ""}):
        with pytest.raises(ValueError, match=r"APIv3|preferred|required"):
            PayConfig(**(right | wrong))  # type: ignore[arg-type]
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    with pytest.raises(ValueError, match="2048"):
        Signer(weak.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


def signed(credentials: Credentials, at: datetime, body: bytes) -> tuple[Keyring, dict[str, str]]:
    """A keyring and the headers of an answer signed at `at`, written out here rather than by the code under test."""
    key = credentials.platform_keys[0]
    timestamp = str(int(at.timestamp()))
    message = f"{timestamp}\nsomeNonce\n".encode() + body + b"\n"
    headers = {
        "wechatpay-timestamp": timestamp,
        "wechatpay-nonce": "someNonce",
        "wechatpay-signature": Signer(key.private_pem).sign(message),
        "wechatpay-serial": key.serial,
        "wechatpay-signature-type": "WECHATPAY2-SHA256-RSA2048",
    }
    return Keyring({each.serial: each.verifying_pem for each in credentials.platform_keys}), headers
