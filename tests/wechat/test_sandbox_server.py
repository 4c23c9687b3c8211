"""The sandbox as a server: it is the same one after a restart, and a program of its own."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.sandbox_server import SandboxControl, sandbox_served
from tests.wechat.conftest import NUMBER, Shop, StoreClock, Trade
from wechat.login import LoginClient
from wechat.mini import MiniProgramHost
from wechat.pay import PayClient


async def test_keys_users_orders_clock_and_pending_notices_outlive_a_restart(
    tmp_path: Path, shop: Shop, http: httpx.AsyncClient
) -> None:
    shop.statuses = [500]
    clock = StoreClock()
    with sandbox_served(tmp_path / "state") as base_url:
        control = SandboxControl(base_url)
        before = await control.config()
        client = PayClient(await control.pay_config(), http, base_url=base_url, now=clock.now)
        trade = Trade(client, control, await control.openid(unionid="oUnion"), shop.notify_url, clock)
        await trade.advance(3600)
        await trade.paid(total_fen=250)
        await client.refund(out_trade_no=NUMBER, out_refund_no="R1", refund_fen=50, total_fen=250, reason="x")
        await control.settle()
        code, _ = await control.login_code(trade.openid)
        ledger = await control.ledger()
        await control.post("signing", add="certificate")
        await control.close()
    assert len(shop.arrived) == 1
    with sandbox_served(tmp_path / "state") as base_url:
        control = SandboxControl(base_url)
        after = await control.config()
        assert len(after["verifying_keys"]) == 3
        assert {**after, "verifying_keys": None} == {**before, "verifying_keys": None}
        assert await control.ledger() == ledger
        assert (await control.get("clock"))["offset_s"] == pytest.approx(3600, abs=1)
        client = PayClient(await control.pay_config(), http, base_url=base_url, now=clock.now)
        assert (await client.query(NUMBER)).total_fen == 250
        login = LoginClient(MiniProgramHost(http, base_url=base_url), appid=after["appid"], secret=after["secret"])
        assert (await login.code2session(code)).unionid == "oUnion"
        await control.advance(16)
        assert len(shop.arrived) == 2
        assert len(set(shop.ids())) == 1
        await control.close()


async def test_a_reset_forgets_all_but_the_credentials(trade: Trade) -> None:
    before = await trade.sandbox.config()
    await trade.paid()
    await trade.sandbox.fault("query", "system_error")
    await trade.sandbox.script_notices(drop=True)
    await trade.sandbox.advance(3600)
    await trade.sandbox.reset()
    ledger = await trade.sandbox.ledger()
    assert (ledger["orders"], ledger["refunds"], ledger["totals"]["paid_fen"]) == ([], [], 0)
    assert await trade.sandbox.get("users") == []
    assert await trade.sandbox.get("faults") == []
    assert await trade.sandbox.get("scripts") == {"notices": [], "refunds": []}
    assert await trade.sandbox.get("notices") == []
    assert (await trade.sandbox.get("clock"))["offset_s"] == 0
    assert await trade.sandbox.config() == before


async def test_credentials_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    with sandbox_served(tmp_path):
        assert (tmp_path / "credentials.json").stat().st_mode & 0o077 == 0


def test_the_program_says_one_line_and_ends_in_time_on_a_signal(tmp_path: Path) -> None:
    program = subprocess.Popen(
        [sys.executable, "-m", "wechat.sandbox", "--port", "0", "--state-dir", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    try:
        assert program.stdout is not None
        line = program.stdout.readline()
        assert line.startswith("sandbox WeChat ready on http://127.0.0.1:")
        base_url = line.rsplit(" ", 1)[1].strip()
        assert httpx.get(f"{base_url}/_sandbox/config", trust_env=False, timeout=60).json()["appid"].startswith("wx")
        program.send_signal(signal.SIGTERM)
        rest, _ = program.communicate()
        assert rest == ""
    finally:
        program.kill()
        program.wait()
