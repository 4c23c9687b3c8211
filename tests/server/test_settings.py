"""What stops a start, said in one go."""

import secrets
from pathlib import Path

import pytest

import settings
from tests.server.processes_seen import command, environment

KEY = secrets.token_urlsafe(32)
OTHER_KEY = secrets.token_urlsafe(32)
DEVELOPMENT_KEY = secrets.token_urlsafe(32)
PEM = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----"
PRODUCTION = {
    "YOULI_MODE": "production",
    "YOULI_PUBLIC_URL": "https://shop.example.com",
    "YOULI_MEMBER_JWT_KEYS": f"k1:{KEY}",
    "YOULI_OPERATOR_JWT_KEYS": f"k1:{OTHER_KEY}",
    "YOULI_SEAL_KEYS": f"k1:{KEY}",
    "YOULI_WECHAT_APP_ID": "wx0123456789abcdef",
    "YOULI_WECHAT_APP_SECRET": "s" * 32,
    "YOULI_WECHAT_MCH_ID": "1900000001",
    "YOULI_WECHAT_MCH_SERIAL": "AB" * 20,
    "YOULI_WECHAT_MCH_PRIVATE_KEY": PEM,
    "YOULI_WECHAT_API_V3_KEY": "k" * 32,
    "YOULI_WECHAT_PAY_KEYS": '{"PUB_KEY_ID_1": "-----BEGIN PUBLIC KEY-----"}',
    # Nothing listens there, so a start whose settings are accepted ends at the database and not before.
    "DATABASE_URL": "postgresql://youli@127.0.0.1:9/youli",
    "REDIS_URL": "redis://127.0.0.1:9/0",
    "YOULI_DATABASE_WAIT_S": "0",
}


def test_everything_odd_is_listed_at_once_by_name(tmp_path: Path) -> None:
    shown = command(
        "serve",
        env=environment(
            tmp_path,
            70_000,
            DATABASE_URL="mysql://localhost/youli",
            REDIS_URL="memcached://localhost",
            YOULI_SHOP_ZONE="Mars/Olympus",
            YOULI_MEMBER_JWT_KEYS="k1:short",
            YOULI_TRUSTED_PROXIES="somewhere",
            YOULI_DATABASE_POLL="10",
            YOULI_MODE="prod",
            YOULI_WECHAT_APP_ID="wx1",
        ),
    )
    assert shown.returncode == 2
    assert "Traceback" not in shown.stderr
    listed = {line.split(":")[0].strip() for line in shown.stderr.splitlines()[1:]}
    assert {
        "PORT",
        "DATABASE_URL",
        "REDIS_URL",
        "YOULI_SHOP_ZONE",
        "YOULI_MEMBER_JWT_KEYS",
        "YOULI_TRUSTED_PROXIES",
        "YOULI_DATABASE_POLL",
        "YOULI_MODE",
        "YOULI_WECHAT_APP_SECRET",
        "YOULI_WECHAT_PAY_KEYS",
    } <= listed


def test_an_odd_secret_is_named_and_not_shown(tmp_path: Path) -> None:
    shown = command("serve", env=environment(tmp_path, 8000, YOULI_MEMBER_JWT_KEYS="k1:hush-hush"))
    assert shown.returncode == 2
    assert "YOULI_MEMBER_JWT_KEYS" in shown.stderr
    assert "hush-hush" not in shown.stdout + shown.stderr


def test_production_with_everything_in_order_passes_its_settings(tmp_path: Path) -> None:
    shown = command("serve", env=environment(tmp_path, 8000, **PRODUCTION))
    assert shown.returncode == 1, "the settings are accepted"
    assert "The database at 127.0.0.1:9 does not answer" in shown.stderr


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"YOULI_MEMBER_JWT_KEYS": ""}, "YOULI_MEMBER_JWT_KEYS"),
        ({"YOULI_OPERATOR_JWT_KEYS": ""}, "YOULI_OPERATOR_JWT_KEYS"),
        ({"YOULI_SEAL_KEYS": ""}, "YOULI_SEAL_KEYS"),
        ({"YOULI_OPERATOR_JWT_KEYS": f"k1:{KEY}"}, "YOULI_OPERATOR_JWT_KEYS"),
        ({"YOULI_MEMBER_JWT_KEYS": f"k1:{KEY},development:{DEVELOPMENT_KEY}"}, "YOULI_MEMBER_JWT_KEYS"),
        ({"WECHAT_API_BASE_URL": "http://127.0.0.1:8710"}, "WECHAT_API_BASE_URL"),
        ({"WECHAT_PAY_BASE_URL": "https://localhost:8710"}, "WECHAT_PAY_BASE_URL"),
        ({"WECHAT_PAY_BASE_URL": "http://api.mch.weixin.qq.com"}, "WECHAT_PAY_BASE_URL"),
        ({"WECHAT_PAY_BASE_URL": "https://pay.example.com"}, "WECHAT_PAY_BASE_URL"),
        (
            {"WECOM_BASE_URL": "http://[::1]:8710", "YOULI_WECHAT_THROUGH_PROXY": "true"},
            "WECOM_BASE_URL",
        ),
        ({"YOULI_WECHAT_APP_ID": ""}, "YOULI_WECHAT_APP_ID"),
        ({"YOULI_OWNER_PASSWORD": "changeme"}, "YOULI_OWNER_PASSWORD"),
        ({"YOULI_OWNER_PASSWORD": "short"}, "YOULI_OWNER_PASSWORD"),
        ({"YOULI_INTROSPECTION": "true"}, "YOULI_INTROSPECTION"),
        ({"YOULI_PUBLIC_URL": "http://shop.example.com"}, "YOULI_PUBLIC_URL"),
        ({"YOULI_PUBLIC_URL": ""}, "YOULI_PUBLIC_URL"),
    ],
)
def test_production_refuses(monkeypatch: pytest.MonkeyPatch, change: dict[str, str], named: str) -> None:
    for name, value in (PRODUCTION | change).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(settings.SettingsRefused) as refused:
        settings.load()
    assert [name for name, _ in refused.value.problems] == [named], "this and nothing else is wrong"


def test_production_through_an_own_proxy_is_allowed_when_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = "http://egress.internal:3128"
    for name, value in (PRODUCTION | {"WECHAT_PAY_BASE_URL": proxy, "YOULI_WECHAT_THROUGH_PROXY": "true"}).items():
        monkeypatch.setenv(name, value)
    assert settings.load().wechat_pay_base_url == proxy


def test_production_has_no_sandbox_to_run(tmp_path: Path) -> None:
    shown = command("sandbox", env=environment(tmp_path, 8000, **PRODUCTION))
    assert shown.returncode == 1
    assert "no sandbox in production" in shown.stderr
