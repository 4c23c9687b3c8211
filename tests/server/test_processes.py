"""A child ends with its owner in each of the two ways, and a survivor is stopped by the next start."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import processes
from tests.server.processes_seen import ROOT, eventually

OWNER = """
import sys, time
from pathlib import Path
import processes
folder = Path(sys.argv[1])
argv = ["/bin/sh", "-c", "echo up > up; exec sleep 600"]
program = processes.Program(name="sleeper", argv=argv, log=folder / "log", cwd=folder)
up = folder / "up"
processes.start(program, folder / "sleeper.json", {}, lambda _: up.exists(), guarded=sys.argv[2] == "guarded")
print("started", flush=True)
time.sleep(600)
"""
SLEEPER = "sleep 600"


def owner(folder: Path, manner: str) -> subprocess.Popen[str]:
    """A process that owns a child."""
    started = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(folder), manner], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert started.stdout is not None
    assert started.stdout.readline() == "started\n"
    return started


@pytest.mark.parametrize(
    "manner",
    [
        pytest.param("kernel", marks=pytest.mark.skipif(not processes.LINUX, reason="only Linux has the signal")),
        "guarded",
    ],
)
def test_a_child_ends_when_its_owner_is_killed(tmp_path: Path, manner: str) -> None:
    parent = owner(tmp_path, manner)
    pid = json.loads((tmp_path / "sleeper.json").read_text())["pid"]
    born = processes.birth(pid)
    assert born is not None
    parent.kill()
    parent.wait()
    eventually(lambda: processes.birth(pid) != born, what="the child's end")


def test_a_child_of_a_living_owner_is_shared_and_not_stopped_by_others(tmp_path: Path) -> None:
    parent = owner(tmp_path, "guarded")
    try:
        shared = processes.found(tmp_path / "sleeper.json", lambda _: True)
        assert shared is not None
        assert not shared.owned
        shared.stop()
        assert shared.alive()
    finally:
        parent.kill()
        parent.wait()
    eventually(lambda: not shared.alive(), what="the child's end")


def test_a_survivor_of_a_dead_owner_is_stopped_by_the_next_start(tmp_path: Path) -> None:
    survivor = subprocess.Popen(SLEEPER.split())
    gone = subprocess.Popen(["true"])
    gone.wait()
    file = pid_file(tmp_path, survivor.pid, processes.birth(survivor.pid), gone.pid)
    assert processes.found(file, lambda _: True) is None
    assert survivor.wait() == -signal.SIGTERM
    assert not file.exists()


def test_a_pid_that_was_given_away_again_is_not_mistaken_for_ours(tmp_path: Path) -> None:
    stranger = subprocess.Popen(SLEEPER.split())
    try:
        file = pid_file(tmp_path, stranger.pid, "born another day", os.getpid())
        assert processes.found(file, lambda _: True) is None
        assert stranger.poll() is None
        assert not file.exists()
    finally:
        stranger.kill()
        stranger.wait()


def test_a_broken_pid_file_is_as_none(tmp_path: Path) -> None:
    file = tmp_path / "broken.json"
    file.write_text('{"pid": ')
    assert processes.found(file, lambda _: True) is None
    assert not file.exists()


def test_a_child_that_ends_at_once_is_reported_with_its_last_words(tmp_path: Path) -> None:
    program = processes.Program(
        name="quitter", argv=["/bin/sh", "-c", "echo cannot go on; exit 3"], log=tmp_path / "log"
    )
    with pytest.raises(processes.StartFailed) as failed:
        processes.start(program, tmp_path / "quitter.json", {}, lambda _: False)
    assert "exit 3" in str(failed.value)
    assert "cannot go on" in str(failed.value)
    assert not (tmp_path / "quitter.json").exists()


def test_a_child_that_does_not_answer_in_time_is_stopped(tmp_path: Path) -> None:
    program = processes.Program(name="mute", argv=SLEEPER.split(), log=tmp_path / "log")
    pids: list[int] = []

    def answers(_: object) -> bool:
        pids.append(json.loads((tmp_path / "mute.json").read_text())["pid"])
        return False

    with pytest.raises(processes.StartFailed, match="did not answer within"):
        processes.start(program, tmp_path / "mute.json", {}, answers, within_s=0.2)
    assert processes.birth(pids[0]) is None


def test_a_child_that_ignores_its_stop_signal_is_killed_in_bounded_time(tmp_path: Path) -> None:
    program = processes.Program(
        name="stubborn",
        argv=["/bin/sh", "-c", "trap '' TERM; echo up > up; while :; do sleep 1; done"],
        log=tmp_path / "log",
        cwd=tmp_path,
        patience_s=0.2,
    )
    running = processes.start(program, tmp_path / "stubborn.json", {}, lambda _: (tmp_path / "up").exists())
    running.stop()
    assert processes.birth(running.pid) is None


def pid_file(folder: Path, pid: int, born: str | None, owner_pid: int) -> Path:
    """A pid file as ``processes`` writes it."""
    file = folder / "child.json"
    file.write_text(
        json.dumps(
            {
                "name": "child",
                "pid": pid,
                "born": born,
                "owner_pid": owner_pid,
                "owner_born": processes.birth(owner_pid),
                "signals": [int(signal.SIGTERM)],
                "patience_s": 60.0,
                "address": {},
            }
        )
    )
    return file
