"""Who the sandbox's one developer is, and the keys of both sides. Made at first start, then kept."""

import json
import os
import secrets
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """One key with which the platform signs: `verifying_pem` is what the merchant is given for it."""

    serial: str
    private_pem: str = field(repr=False)
    verifying_pem: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """The developer's settings and the platform's keys; the first platform key is the preferred one."""

    appid: str
    secret: str = field(repr=False)
    mchid: str
    merchant_private_pem: str = field(repr=False)
    merchant_serial: str
    apiv3_key: str = field(repr=False)
    platform_keys: tuple[SigningKey, ...]

    @classmethod
    def generate(cls) -> "Credentials":
        """New ones, with a public key (``PUB_KEY_ID_…``) and a platform certificate."""
        mchid = "19" + "".join(secrets.choice("0123456789") for _ in range(8))
        return cls(
            appid="wx" + secrets.token_hex(8),
            secret=secrets.token_hex(16),
            mchid=mchid,
            merchant_private_pem=_private_pem(_rsa()),
            merchant_serial=secrets.token_hex(20).upper(),
            apiv3_key=secrets.token_hex(16),
            platform_keys=(new_public_key(mchid), new_certificate()),
        )

    @classmethod
    def kept_in(cls, folder: Path) -> "Credentials":
        """Those kept in `folder`, made and written (readable by the owner only) when there are none."""
        path = folder / "credentials.json"
        if path.exists():
            stored = json.loads(path.read_text())
            keys = tuple(SigningKey(**each) for each in stored.pop("platform_keys"))
            return cls(**stored, platform_keys=keys)
        made = cls.generate()
        made.keep_in(folder)
        return made

    def keep_in(self, folder: Path) -> None:
        """Write them, replacing what was there in one step."""
        folder.mkdir(parents=True, exist_ok=True)
        fresh = folder / "credentials.json.new"
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(asdict(self), file)
        fresh.replace(folder / "credentials.json")

    def with_key(self, key: SigningKey) -> "Credentials":
        """The same with one more platform key."""
        return replace(self, platform_keys=(*self.platform_keys, key))


def new_public_key(mchid: str) -> SigningKey:
    """A key of the public-key mode, named as the console names them."""
    key = _rsa()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    serial = f"PUB_KEY_ID_01{mchid}{secrets.token_hex(8).upper()}"
    return SigningKey(serial=serial, private_pem=_private_pem(key), verifying_pem=public)


def new_certificate() -> SigningKey:
    """A platform certificate, named by its serial in upper-case hexadecimal; valid for years on either side."""
    key = _rsa()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Sandbox of Tenpay.com sign")])
    number = x509.random_serial_number()
    today = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(number)
        .not_valid_before(today - timedelta(days=3650))
        .not_valid_after(today + timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    return SigningKey(
        serial=f"{number:040X}",
        private_pem=_private_pem(key),
        verifying_pem=certificate.public_bytes(Encoding.PEM).decode(),
    )


def merchant_public_pem(credentials: Credentials) -> str:
    """The public half of the merchant's key, with which the sandbox verifies requests."""
    key = load_pem_private_key(credentials.merchant_private_pem.encode(), password=None)
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _rsa() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _private_pem(key: rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
