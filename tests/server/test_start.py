"""``run`` from nothing to an open store, its end in every manner, and its next start."""

import asyncio
import re
import signal
import socket
from pathlib import Path

import asyncpg
import pytest

from models import postgres
from tests.ports import free_port
from tests.server.processes_seen import Program, command, environment, eventually, running

pytestmark = pytest.mark.xdist_group("server")
SERVER_INFO = "{ serverInfo { businessDay } }"


def test_it_opens_both_doors_and_control_c_leaves_nothing_behind(data_dir: Path) -> None:
    env = environment(data_dir, free_port())
    with running(("run",), env, data_dir.parent / "log") as program:
        program.wait_until_ready()
        for path in ("/graphql", "/graphql/", "/admin/graphql", "/admin/graphql/"):
            assert program.query(path, SERVER_INFO).json()["data"]["serverInfo"]["businessDay"]
            too_long = program.query(path, SERVER_INFO + " " * 2_000_000)
            assert (too_long.status_code, too_long.json()["errors"][0]["extensions"]["code"]) == (413, "BAD_INPUT")
        assert program.get("/healthz").json() == {"status": "alive"}
        program.wait_for_checks(database="ok", redis="ok", migrations="ok")
        assert len(program.children) >= 3, "PostgreSQL, Valkey and the sandbox"

        assert program.signal_and_wait(signal.SIGINT) == 0
        program.wait_until_all_have_ended()
        assert list((data_dir / "run").glob("*.json")) == []
        assert f"{program.address}/graphql" in program.text()
        assert "Traceback" not in program.text()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_killed_server_takes_its_processes_along_and_the_next_start_finds_the_data(
    used_data_dir: Path, workers: str
) -> None:
    env = environment(used_data_dir, free_port())
    with running(("serve", "--workers", workers), env, used_data_dir.parent / "log") as program:
        program.wait_until_ready()
        assert len(program.children) >= 3
        asyncio.run(_leave_a_mark(used_data_dir))
        program.signal_and_wait(signal.SIGKILL)
        program.wait_until_all_have_ended()
    with running(("run",), env, used_data_dir.parent / "log") as program:
        program.wait_until_ready()
        assert asyncio.run(_marks(used_data_dir)) == 1


def test_a_second_start_keeps_the_keys(data_dir: Path) -> None:
    env = environment(data_dir, free_port())
    kept = data_dir / "secrets.json"
    assert command("migrate", env=env).returncode == 0
    first = kept.read_text()
    assert command("migrate", env=env).returncode == 0
    assert kept.read_text() == first
    assert kept.stat().st_mode & 0o777 == 0o600


def test_other_commands_share_the_engines_of_a_running_store_and_leave_them_running(used_data_dir: Path) -> None:
    env = environment(used_data_dir, free_port())
    with running(("run",), env, used_data_dir.parent / "log") as program:
        program.wait_until_ready()
        shown = command("doctor", env=env)
        assert shown.returncode == 0, shown.stdout + shown.stderr
        assert "PostgreSQL 1" in shown.stdout
        eventually(program.ready, what="readiness")
        assert set(program.living()) == set(program.children)


def test_doctor_shows_settings_without_secrets(used_data_dir: Path) -> None:
    secret = "a-secret-that-must-never-be-shown-0123456789"
    env = environment(used_data_dir, free_port(), YOULI_MEMBER_JWT_KEYS=f"k1:{secret}", YOULI_METRICS_TOKEN=secret)
    shown = command("doctor", env=env)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert secret not in shown.stdout + shown.stderr
    assert re.search(r"YOULI_MEMBER_JWT_KEYS +set", shown.stdout)
    assert re.search(r"REDIS_URL +not set", shown.stdout)


def test_a_taken_port_is_said_before_anything_is_started(data_dir: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        shown = command("run", env=environment(data_dir, port))
    assert shown.returncode == 1
    assert f"Port {port}" in shown.stderr
    assert f"PORT={port + 1}" in shown.stderr
    assert "Traceback" not in shown.stderr
    assert not (data_dir / "postgres").exists()


def test_serving_is_refused_while_a_migration_is_pending(data_dir: Path) -> None:
    shown = command("serve", env=environment(data_dir, free_port()))
    assert shown.returncode == 1
    assert "make migrate" in shown.stderr
    assert "Traceback" not in shown.stderr


def test_serving_is_refused_when_a_constraint_is_gone(used_data_dir: Path) -> None:
    env = environment(used_data_dir, free_port())
    store = postgres.find_or_start(None, used_data_dir)
    gone = asyncio.run(_drop_a_check(used_data_dir))
    store.stop()
    shown = command("serve", env=env)
    assert shown.returncode == 1
    assert gone in shown.stderr
    assert "Traceback" not in shown.stderr


def test_workers_that_take_long_to_import_are_waited_for(used_data_dir: Path) -> None:
    slow = used_data_dir.parent / "slow"
    slow.mkdir()
    (slow / "sitecustomize.py").write_text(
        "import sys, time\nif any('spawn_main' in part for part in sys.orig_argv):\n    time.sleep(7)\n"
    )
    env = environment(used_data_dir, free_port())
    with running(("serve", "--workers", "2"), env | {"PYTHONPATH": str(slow)}, used_data_dir.parent / "log") as program:
        program.wait_until_ready()
        assert program.signal_and_wait(signal.SIGTERM) == 0
        program.wait_until_all_have_ended()
        said = program.text()
    assert " died" not in said
    assert said.index("Application startup complete") < said.index('"serving"')


def test_metrics_add_up_over_all_worker_processes(data_dir: Path) -> None:
    env = environment(data_dir, free_port())
    assert command("migrate", env=env).returncode == 0
    with running(("serve", "--workers", "2"), env, data_dir.parent / "log") as program:
        program.wait_until_ready()
        for _ in range(40):
            assert program.query("/graphql", SERVER_INFO).status_code == 200
        # A request is counted when its answer has left.
        name = 'youli_requests_total{door="shop",operation="serverInfo",outcome="ok"}'
        eventually(lambda: _counter(program, name) >= 40, what="the count of the last one")
        assert _counter(program, name) == 40
        assert program.signal_and_wait(signal.SIGTERM) == 0
        program.wait_until_all_have_ended()


def _counter(program: Program, name: str) -> float:
    for line in program.get("/metrics").text.splitlines():
        if line.startswith(name):
            return float(line.rpartition(" ")[2])
    raise AssertionError(f"{name} is not in the metrics")


async def _connect(data_dir: Path) -> "asyncpg.Connection[asyncpg.Record]":
    return await asyncpg.connect(f"postgresql://postgres@/youli?host={data_dir / 'postgres' / 'socket'}")


async def _leave_a_mark(data_dir: Path) -> None:
    connection = await _connect(data_dir)
    await connection.execute("CREATE TABLE IF NOT EXISTS mark (id int); INSERT INTO mark VALUES (1)")
    await connection.close()


async def _marks(data_dir: Path) -> int:
    connection = await _connect(data_dir)
    count: int = await connection.fetchval("SELECT count(*) FROM mark")
    await connection.close()
    return count


async def _drop_a_check(data_dir: Path) -> str:
    connection = await _connect(data_dir)
    row = await connection.fetchrow(
        "SELECT conname, conrelid::regclass::text AS place FROM pg_constraint "
        "WHERE contype = 'c' AND connamespace = 'public'::regnamespace ORDER BY conname LIMIT 1"
    )
    assert row is not None
    await connection.execute(f'ALTER TABLE {row["place"]} DROP CONSTRAINT "{row["conname"]}"')
    await connection.close()
    name: str = row["conname"]
    return name
