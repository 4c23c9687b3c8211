"""The settings of the rate limits and of who is believed about addresses."""

from datetime import timedelta
from pathlib import Path

import pytest

import settings
from tests.server.processes_seen import command, environment


def test_rates_are_written_as_calls_at_once_and_then_one_each() -> None:
    assert settings.parse_rates("") == {}
    assert settings.parse_rates("checkIn=30/5s, orderPlace=off,couponClaim=2/250ms") == {
        "checkIn": (30, timedelta(seconds=5)),
        "orderPlace": None,
        "couponClaim": (2, timedelta(milliseconds=250)),
    }


@pytest.mark.parametrize("text", ["checkIn", "checkIn=", "checkIn=0/1s", "checkIn=1/0s", "checkIn=1/1h", "checkIn=5"])
def test_odd_rates_are_refused_with_the_way_to_write_them(text: str) -> None:
    with pytest.raises(ValueError, match="write checkIn=30/5s"):
        settings.parse_rates(text)


@pytest.mark.parametrize(
    ("value", "understood"),
    [("none", True), ("10.0.0.0/8,127.0.0.1", True), ("0.0.0.0/0", False), ("10.0.0.1,::/0", False), ("*", False)],
)
def test_nobody_may_be_believed_and_not_everybody(
    monkeypatch: pytest.MonkeyPatch, value: str, understood: bool
) -> None:
    monkeypatch.setenv("YOULI_TRUSTED_PROXIES", value)
    if understood:
        assert settings.load().trusted_proxies == value
        return
    with pytest.raises(settings.SettingsRefused) as refused:
        settings.load()
    assert [name for name, _ in refused.value.problems] == ["YOULI_TRUSTED_PROXIES"]


def test_a_limit_for_an_operation_that_has_none_stops_the_start(tmp_path: Path) -> None:
    shown = command("serve", env=environment(tmp_path, 8000, YOULI_RATE_OPERATIONS="chekIn=5/1s"))
    assert shown.returncode == 1
    assert "YOULI_RATE_OPERATIONS: no operation with a limit of its own: chekIn" in shown.stderr
    assert "Traceback" not in shown.stderr
