"""What can be set, by environment variable: one typed object, read once at the start.

Every missing or odd value is found before anything starts, and all of them are listed at once (``SettingsRefused``).
Names a platform or an operator expects stand without a prefix (``PORT``, ``DATABASE_URL`` …); the rest begin with
``YOULI_``. The list with meanings is ``docs/operations/settings.md``, which a test compares with this class.
"""

import base64
import binascii
import ipaddress
import json
import os
import re
import secrets
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from cache import address as redis_address

JWT_KEY_BYTES = 32
SEAL_KEY_BYTES = 32
OWNER_PASSWORD_LENGTH = 12
WELL_KNOWN_PASSWORDS = frozenset({"password", "changeme", "youli", "admin", "owner", "123456", "12345678", "demo"})
TENCENT_HOSTS = {
    "wechat_api_base_url": frozenset({"api.weixin.qq.com", "api2.weixin.qq.com", "sh.api.weixin.qq.com"}),
    "wechat_pay_base_url": frozenset({"api.mch.weixin.qq.com", "api2.mch.weixin.qq.com"}),
    "wecom_base_url": frozenset({"qyapi.weixin.qq.com"}),
}
DEVELOPMENT_KID = "development"
KID = re.compile(r"[A-Za-z0-9_-]{1,64}")
RATE = re.compile(r"(?P<burst>[0-9]{1,6})/(?P<every>[0-9]{1,6})(?P<unit>ms|s)")


class SettingsRefused(Exception):
    """The settings do not allow a start. ``problems`` holds one ``(name, what is wrong)`` for each."""

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        self.problems = problems
        super().__init__("\n".join(f"{name}: {problem}" for name, problem in problems))


def parse_keys(text: str) -> dict[str, str]:
    """``kid1:secret,kid0:secret`` as ``{kid: secret}``, in the order given: the first signs, all of them verify."""
    keys: dict[str, str] = {}
    for part in text.split(","):
        kid, colon, secret = part.strip().partition(":")
        if not colon or not KID.fullmatch(kid):
            raise ValueError("write it as kid:secret,older-kid:older-secret with kids of letters, digits, '_' and '-'")
        if kid in keys:
            raise ValueError(f"the kid {kid} stands there twice")
        if len(secret.encode()) < JWT_KEY_BYTES:
            raise ValueError(f"the secret of {kid} is shorter than {JWT_KEY_BYTES} bytes")
        keys[kid] = secret
    return keys


def parse_seal_keys(text: str) -> dict[str, bytes]:
    """``kid1:base64,kid0:base64`` as ``{kid: 32 bytes}``, in the order given: the first seals, all of them open."""
    keys: dict[str, bytes] = {}
    for part in text.split(","):
        kid, colon, written = part.strip().partition(":")
        if not colon or not KID.fullmatch(kid):
            raise ValueError("write it as kid:key,older-kid:older-key with kids of letters, digits, '_' and '-'")
        if kid in keys:
            raise ValueError(f"the kid {kid} stands there twice")
        try:
            keys[kid] = base64.b64decode(written + "=" * (-len(written) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise ValueError(f"the key of {kid} is not URL-safe base64") from error
        if len(keys[kid]) != SEAL_KEY_BYTES:
            raise ValueError(f"the key of {kid} has {len(keys[kid])} bytes, and {SEAL_KEY_BYTES} are needed")
    return keys


def parse_pay_keys(text: str) -> dict[str, str]:
    """``{"serial": "PEM text or path", …}`` as ``{serial: PEM text}``: the first is asked for, all of them verify."""
    try:
        written = json.loads(text)
    except ValueError as error:
        raise ValueError('write JSON: {"PUB_KEY_ID_…": "/path/to/key.pem"}') from error
    if not isinstance(written, dict) or not written or not all(isinstance(value, str) for value in written.values()):
        raise ValueError('write JSON: {"PUB_KEY_ID_…": "/path/to/key.pem"}')
    return {str(serial): pem_text(value) for serial, value in written.items()}


def parse_rates(text: str) -> dict[str, tuple[int, timedelta] | None]:
    """``checkIn=30/5s,orderPlace=off`` as ``{field: (calls at once, then one each), or None}``; ``ms`` for less."""
    rates: dict[str, tuple[int, timedelta] | None] = {}
    for part in filter(None, (one.strip() for one in text.split(","))):
        name, _, written = part.partition("=")
        pace = RATE.fullmatch(written.strip())
        if written.strip() == "off":
            rates[name.strip()] = None
        elif pace and int(pace["burst"]) and int(pace["every"]):
            unit = timedelta(milliseconds=1) if pace["unit"] == "ms" else timedelta(seconds=1)
            rates[name.strip()] = int(pace["burst"]), int(pace["every"]) * unit
        else:
            raise ValueError(f"{part!r}: write checkIn=30/5s for 30 at once and then one each 5 s, or checkIn=off")
    return rates


def pem_text(text: str) -> str:
    """The PEM text itself, or the one in the file the text names."""
    if "-----BEGIN" in text:
        return text
    try:
        content = Path(text).expanduser().read_text()
    except (OSError, ValueError) as error:
        raise ValueError("this is neither a PEM text nor the path of a readable file") from error
    if "-----BEGIN" not in content:
        raise ValueError("the file holds no PEM text")
    return content


class Settings(BaseSettings):
    """The effective settings. Secrets are ``SecretStr``: printing the object never shows them."""

    model_config = SettingsConfigDict(
        env_prefix="YOULI_", env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    mode: Literal["development", "production"] = "development"
    host: str = Field("127.0.0.1", validation_alias="HOST")
    port: int = Field(8000, ge=1, le=65535, validation_alias="PORT")
    public_url: str | None = None
    data_dir: Path = Path("var")
    shop_zone: str = "Asia/Shanghai"

    database_url: SecretStr | None = Field(None, validation_alias="DATABASE_URL")
    database_pool: int = Field(10, ge=1, le=200)
    database_wait_s: int = Field(15, ge=0, le=600)
    redis_url: SecretStr | None = Field(None, validation_alias="REDIS_URL")

    wechat_api_base_url: str = Field("https://api.weixin.qq.com", validation_alias="WECHAT_API_BASE_URL")
    wechat_pay_base_url: str = Field("https://api.mch.weixin.qq.com", validation_alias="WECHAT_PAY_BASE_URL")
    wecom_base_url: str = Field("https://qyapi.weixin.qq.com", validation_alias="WECOM_BASE_URL")
    wechat_through_proxy: bool = False
    wechat_app_id: str | None = None
    wechat_app_secret: SecretStr | None = None
    wechat_mch_id: str | None = None
    wechat_mch_serial: str | None = None
    wechat_mch_private_key: SecretStr | None = None
    wechat_api_v3_key: SecretStr | None = None
    wechat_pay_keys: str | None = None

    member_jwt_keys: SecretStr | None = None
    operator_jwt_keys: SecretStr | None = None
    seal_keys: SecretStr | None = None
    member_access_ttl_s: int = Field(30 * 60, ge=60, le=86_400)
    member_refresh_ttl_s: int = Field(30 * 86_400, ge=3600, le=400 * 86_400)
    operator_access_ttl_s: int = Field(15 * 60, ge=60, le=86_400)
    operator_refresh_ttl_s: int = Field(12 * 3600, ge=3600, le=400 * 86_400)

    pay_window_s: int = Field(30 * 60, ge=5 * 60, le=86_400)
    quote_window_s: int = Field(10 * 60, ge=60, le=60 * 60)
    receive_after_days: int = Field(10, ge=3, le=60)
    unshipped_after_hours: int = Field(36, ge=1, le=720)
    after_sale_answer_hours: int = Field(48, ge=1, le=720)
    after_sale_approves_on_silence: bool = False
    after_sale_send_back_days: int = Field(7, ge=1, le=60)
    after_sale_receive_days: int = Field(10, ge=1, le=60)
    after_sale_no_reason_days: int = Field(7, ge=7, le=365)
    after_sale_fault_days: int = Field(15, ge=7, le=365)

    owner_login: str = Field("owner", min_length=3, max_length=64)
    owner_password: SecretStr | None = None

    rate_member_points: int = Field(60_000, ge=0, le=100_000_000)
    rate_member_points_per_s: int = Field(1_000, ge=1, le=1_000_000)
    rate_operator_points: int = Field(200_000, ge=0, le=100_000_000)
    rate_operator_points_per_s: int = Field(5_000, ge=1, le=1_000_000)
    rate_visitor_points: int = Field(200_000, ge=0, le=100_000_000)
    rate_visitor_points_per_s: int = Field(5_000, ge=1, le=1_000_000)
    rate_operations: str = ""

    jobs_in_server: bool = True
    introspection: bool | None = None
    trusted_proxies: str = "127.0.0.1,::1"
    shutdown_grace_s: int = Field(15, ge=1, le=600)
    metrics_token: SecretStr | None = None
    worker_metrics_port: int | None = Field(None, ge=1, le=65535)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "console"] = "auto"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment is the only source, so what ``env`` shows is what counts."""
        return init_settings, env_settings

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("shop_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError("no such time zone; write an IANA name such as Asia/Shanghai") from error
        return value

    @field_validator("database_url")
    @classmethod
    def _postgres(cls, value: SecretStr | None) -> SecretStr | None:
        if value and urlsplit(value.get_secret_value()).scheme not in {"postgres", "postgresql"}:
            raise ValueError("only PostgreSQL is spoken here: postgresql://user:password@host:5432/name")
        return value

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value:
            redis_address.parse(value.get_secret_value())
        return value

    @field_validator("public_url", "wechat_api_base_url", "wechat_pay_base_url", "wecom_base_url")
    @classmethod
    def _web_address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("write an address such as https://example.com, without query or fragment")
        return value.rstrip("/")

    @field_validator("member_jwt_keys", "operator_jwt_keys")
    @classmethod
    def _keys(cls, value: SecretStr | None) -> SecretStr | None:
        if value:
            parse_keys(value.get_secret_value())
        return value

    @field_validator("seal_keys")
    @classmethod
    def _sealing(cls, value: SecretStr | None) -> SecretStr | None:
        if value:
            parse_seal_keys(value.get_secret_value())
        return value

    @field_validator("rate_operations")
    @classmethod
    def _paces(cls, value: str) -> str:
        parse_rates(value)
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: str) -> str:
        if value.strip() == "none":
            return "none"
        for part in value.split(","):
            try:
                network = ipaddress.ip_network(part.strip(), strict=False)
            except ValueError as error:
                raise ValueError(
                    f"{part.strip()!r} is no address or network; write 10.0.0.0/8,127.0.0.1 or none"
                ) from error
            if network.prefixlen == 0:
                raise ValueError(f"{part.strip()} would let anybody pretend to be anybody")
        return value

    @field_validator("wechat_mch_private_key")
    @classmethod
    def _private_key(cls, value: SecretStr | None) -> SecretStr | None:
        return SecretStr(pem_text(value.get_secret_value())) if value else None

    @field_validator("wechat_pay_keys")
    @classmethod
    def _public_keys(cls, value: str | None) -> str | None:
        if value:
            parse_pay_keys(value)
        return value

    @field_validator("wechat_api_v3_key")
    @classmethod
    def _api_v3(cls, value: SecretStr | None) -> SecretStr | None:
        if value and len(value.get_secret_value().encode()) != 32:
            raise ValueError("an APIv3 key has 32 bytes")
        return value

    def problems(self) -> list[tuple[str, str]]:
        """What fits no single field: ``(field, what is wrong)`` for each."""
        return [*self._wechat_problems(), *(self._production_problems() if self.production else [])]

    def _wechat_problems(self) -> list[tuple[str, str]]:
        wanted = ("wechat_app_id", "wechat_app_secret", "wechat_mch_id", "wechat_mch_serial", "wechat_mch_private_key",
                  "wechat_api_v3_key", "wechat_pay_keys")  # fmt: skip
        missing = [name for name in wanted if getattr(self, name) is None]
        if not self.production and len(missing) == len(wanted):
            return []
        instead = "" if self.production else "; set all of them, or none to use the sandbox"
        return [(name, f"is needed to speak with WeChat{instead}") for name in missing]

    def _production_problems(self) -> list[tuple[str, str]]:
        problems: list[tuple[str, str]] = []
        for name in ("member_jwt_keys", "operator_jwt_keys", "seal_keys"):
            if getattr(self, name) is None:
                problems.append((name, "production needs a key of its own; development keys are refused"))
        for name in ("member_jwt_keys", "operator_jwt_keys", "seal_keys"):
            text: SecretStr | None = getattr(self, name)
            if text and f"{DEVELOPMENT_KID}:" in text.get_secret_value():
                problems.append((name, "holds a development key"))
        if self.member_jwt_keys and self.operator_jwt_keys:
            ours = set(parse_keys(self.member_jwt_keys.get_secret_value()).values())
            if ours & set(parse_keys(self.operator_jwt_keys.get_secret_value()).values()):
                problems.append(("operator_jwt_keys", "shares a secret with the members' keys"))
        for name, hosts in TENCENT_HOSTS.items():
            problems += [(name, why) for why in self._platform_problems(getattr(self, name), hosts)]
        if self.owner_password is not None:
            password = self.owner_password.get_secret_value()
            if len(password) < OWNER_PASSWORD_LENGTH or password.lower() in WELL_KNOWN_PASSWORDS:
                problems.append(("owner_password", f"is easy to guess; use {OWNER_PASSWORD_LENGTH} characters or more"))
        if self.introspection:
            problems.append(("introspection", "stays off in production"))
        if self.public_url is None:
            problems.append(("public_url", "is needed: WeChat sends its notices there"))
        elif not self.public_url.startswith("https://"):
            problems.append(("public_url", "must begin with https://"))
        return problems

    def _platform_problems(self, url: str, hosts: frozenset[str]) -> list[str]:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if _is_loopback(host):
            return ["points at this machine: production does not run on the sandbox"]
        if self.wechat_through_proxy:
            return []
        if parts.scheme != "https" or host not in hosts:
            return [
                f"is not Tencent's https://{min(hosts)}; for your own egress proxy set YOULI_WECHAT_THROUGH_PROXY=true"
            ]
        return []

    @property
    def production(self) -> bool:
        """Whether real members are served."""
        return self.mode == "production"

    @property
    def sandbox(self) -> bool:
        """Whether the platform is the stand-in: development without WeChat credentials."""
        return self.wechat_app_id is None

    @property
    def public_address(self) -> str:
        """Where the world reaches this server, without a slash at the end."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)
        return self.public_url or f"http://{host}:{self.port}"

    @property
    def introspection_on(self) -> bool:
        """Whether the schemas may be asked about themselves, and GraphiQL is served."""
        return not self.production if self.introspection is None else self.introspection

    @property
    def shutdown_grace(self) -> timedelta:
        """How long requests under way may take to end when the server is told to stop."""
        return timedelta(seconds=self.shutdown_grace_s)

    def described(self) -> dict[str, str]:
        """Every setting by its environment name, with secrets only as ``set`` or ``not set``."""
        shown: dict[str, str] = {}
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            secret = "SecretStr" in str(field.annotation)
            shown[env_name(name)] = ("set" if value else "not set") if secret else str(value)
        return shown


def env_name(field: str) -> str:
    """The environment variable that sets a field."""
    alias = Settings.model_fields[field].validation_alias
    return str(alias) if alias else f"YOULI_{field.upper()}"


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def load() -> Settings:
    """The settings of this process, from its environment.

    Raises:
        SettingsRefused: something is missing or odd; every such thing is listed.
    """
    problems = {
        name: "is no setting of this program; see docs/operations/settings.md"
        for name in sorted(os.environ)
        if name.startswith("YOULI_") and name not in KNOWN_NAMES
    }
    odd: dict[str, Any] = {}
    try:
        settings = Settings()
    except ValidationError as error:
        for line in error.errors(include_url=False, include_input=False):
            location = str(line["loc"][0])
            field = next(name for name in Settings.model_fields if location in {name, env_name(name)})
            problems[env_name(field)] = line["msg"].removeprefix("Value error, ")
            odd[field if env_name(field).startswith("YOULI_") else env_name(field)] = Settings.model_fields[
                field
            ].default
        # The odd values give way to their defaults, so that what does not fit together is found in the same reading.
        settings = Settings(**odd)
    for field, why in settings.problems():
        problems.setdefault(env_name(field), why)
    if problems:
        raise SettingsRefused(list(problems.items()))
    return settings


KNOWN_NAMES = frozenset(env_name(field) for field in Settings.model_fields) | {
    "YOULI_TEST_DATABASE_URL",
    "YOULI_TEST_REDIS_URL",
}


def with_development_secrets(settings: Settings) -> Settings:
    """The settings with every missing secret filled in from the data folder, where the first start makes them.

    Only in development: production refuses to load without its own.
    """
    assert not settings.production, "production brings its own secrets"
    path = settings.data_dir / "secrets.json"
    kept: dict[str, str] = {}
    if path.exists():
        kept = json.loads(path.read_text())
    wanted = {
        "member_jwt_keys": lambda: f"{DEVELOPMENT_KID}:{secrets.token_urlsafe(JWT_KEY_BYTES)}",
        "operator_jwt_keys": lambda: f"{DEVELOPMENT_KID}:{secrets.token_urlsafe(JWT_KEY_BYTES)}",
        "seal_keys": lambda: f"{DEVELOPMENT_KID}:{secrets.token_urlsafe(SEAL_KEY_BYTES)}",
        "owner_password": lambda: secrets.token_urlsafe(12),
    }
    missing = [name for name in wanted if name not in kept]
    if missing:
        kept |= {name: wanted[name]() for name in missing}
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(kept, file, indent=2)
    unset = {name: SecretStr(kept[name]) for name in wanted if getattr(settings, name) is None}
    return settings.model_copy(update=unset)


def effective() -> Settings:
    """The settings of the environment, in development with the secrets of the data folder.

    Raises:
        SettingsRefused: they do not allow a start.
    """
    settings = load()
    return settings if settings.production else with_development_secrets(settings)


def given(value: str | None) -> str:
    """A setting that is there by now: checked when the settings were loaded, or filled in from what was started."""
    assert value is not None, "checked when the settings were loaded, or filled in from what was started"
    return value


def secret(value: SecretStr | None) -> str:
    """The text of a secret that is there by now."""
    return given(value.get_secret_value() if value is not None else None)
