"""Child programs with one owner: started, found again after a crash, and stopped, never left behind.

A child is tied to its owner in two ways. The kernel (Linux) or a small guard on a pipe (elsewhere) sends it its stop
signal when the owner dies, even by ``kill -9``. And a pid file tells the next start what to look for, should that ever
fail: a survivor whose owner is gone is stopped before a new one starts; a child of a living owner is shared.

A process is known by its pid and its birth, so a pid that was given away again is never mistaken for ours.
"""

import ctypes
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

PR_SET_PDEATHSIG = 1
POLL_S = 0.02
START_WITHIN_S = 60.0
FOUND_WITHIN_S = 20.0
WATCH_S = 1.0
WATCH_AFTER_FAILURE_S = 10.0
LINUX = sys.platform == "linux"
_libc = ctypes.CDLL(None, use_errno=True) if LINUX else None


class StartFailed(Exception):
    """A child program did not come up; the text says why and shows the end of its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to run and how to end it. ``stop_signals`` are tried in order, each for ``patience_s``, then SIGKILL."""

    name: str
    argv: Sequence[str]
    log: Path
    cwd: Path | None = None
    environ: Mapping[str, str] | None = None
    user: tuple[int, int] | None = None
    stop_signals: tuple[signal.Signals, ...] = (signal.SIGTERM,)
    patience_s: float = 10.0


@dataclass(slots=True)
class Running:
    """A child that answers. When ``owned`` is false it belongs to another start, and is not ours to stop."""

    name: str
    pid: int
    address: dict[str, Any]
    owned: bool
    pid_file: Path
    program: Program | None = None
    process: subprocess.Popen[bytes] | None = None
    guard: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    answers: Callable[[dict[str, Any]], bool] | None = field(default=None, repr=False)

    def alive(self) -> bool:
        """Whether the process is there and not a zombie."""
        if self.process is not None:
            return self.process.poll() is None
        return birth(self.pid) is not None

    def stop(self) -> None:
        """End the child, in bounded time; a shared one is left alone."""
        if not self.owned:
            return
        assert self.program is not None
        end(self.pid, self.program.stop_signals, self.program.patience_s, self.process)
        if self.guard is not None:
            assert self.guard.stdin is not None
            self.guard.kill()
            self.guard.wait()
            self.guard.stdin.close()
        self.pid_file.unlink(missing_ok=True)

    def start_again(self) -> None:
        """Start a child of ours that has ended by itself, at the same address.

        Raises:
            StartFailed: it did not come up, or another start was faster.
        """
        assert self.owned, "a shared child is its owner's affair"
        assert self.program is not None
        assert self.answers is not None
        with locked(self.pid_file.with_suffix(".lock")):
            if found(self.pid_file, self.answers) is not None:
                raise StartFailed(f"another start has its own {self.name} on this folder")
            self.stop()
            fresh = start(self.program, self.pid_file, self.address, self.answers)
        self.pid, self.process, self.guard = fresh.pid, fresh.process, fresh.guard

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def birth(pid: int) -> str | None:
    """When the process was born, in the system's own writing; None when there is none (a zombie counts as none)."""
    if LINUX:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return None
        # The name in parentheses may itself hold spaces and parentheses; everything after the last one is plain.
        fields = stat.rpartition(")")[2].split()
        return None if fields[0] in {"Z", "X"} else fields[19]
    shown = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, started = shown.stdout.strip().partition(" ")
    return None if not started or state.startswith("Z") else started.strip()


def command(pid: int) -> str:
    """The command line of a process, as one text; empty when there is none."""
    if LINUX:
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""
    return subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout


def die_with_parent(sign: signal.Signals) -> None:
    """Ask the kernel for ``sign`` when the parent of this process dies. Without effect where it cannot (macOS)."""
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, int(sign), 0, 0, 0)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive file lock, so that of two starts at once one waits and then finds what the other started."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def found(pid_file: Path, answers: Callable[[dict[str, Any]], bool]) -> Running | None:
    """The running child the pid file names, if its owner lives. One that outlived its owner is stopped.

    Raises:
        StartFailed: the owner lives, but the child does not answer: stopping it is the owner's affair.
    """
    try:
        kept = json.loads(pid_file.read_text())
        name, pid, born, address = kept["name"], int(kept["pid"]), kept["born"], kept["address"]
        owner_pid, owner_born, patience_s = int(kept["owner_pid"]), kept["owner_born"], float(kept["patience_s"])
        signals = tuple(signal.Signals(number) for number in kept["signals"])
    except (OSError, ValueError, KeyError, TypeError):
        pid_file.unlink(missing_ok=True)
        return None
    if _is(pid, born):
        if _is(owner_pid, owner_born):
            if not _comes(lambda: answers(address), within_s=FOUND_WITHIN_S):
                raise StartFailed(
                    f"{name} (pid {pid}) does not answer, and its owner (pid {owner_pid}) is running: stop that"
                )
            return Running(name, pid, address, False, pid_file)
        end(pid, signals, patience_s, None)
    pid_file.unlink(missing_ok=True)
    return None


def _is(pid: int, born: str | None) -> bool:
    return born is not None and birth(pid) == born


def _comes(condition: Callable[[], bool], *, within_s: float) -> bool:
    give_up = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > give_up:
            return False
        time.sleep(POLL_S)
    return True


def start(
    program: Program,
    pid_file: Path,
    address: dict[str, Any],
    answers: Callable[[dict[str, Any]], bool],
    *,
    within_s: float = START_WITHIN_S,
    guarded: bool = _libc is None,
) -> Running:
    """Start a child and wait until it answers.

    Call it from the main thread: the kernel ties the child's life to the thread that started it.

    Raises:
        StartFailed: it ended or did not answer in time.
    """
    owner = os.getpid()

    def tie() -> None:
        # Runs in the child after the change of user, which would undo it.
        if not guarded:
            die_with_parent(program.stop_signals[0])
        if os.getppid() != owner:
            os._exit(1)

    user, group = program.user or (None, None)
    program.log.parent.mkdir(parents=True, exist_ok=True)
    with program.log.open("ab") as log:
        begin = log.tell()
        process = subprocess.Popen(
            list(program.argv),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=program.cwd,
            env=None if program.environ is None else dict(program.environ),
            user=user,
            group=group,
            extra_groups=None if group is None else [group],
            # An own session: Ctrl-C in the terminal reaches the owner alone, which ends its children in their order.
            start_new_session=True,
            preexec_fn=tie,
        )
    running = Running(program.name, process.pid, address, True, pid_file, program, process, answers=answers)
    try:
        _write_pid_file(running)
        if guarded:
            running.guard = _guard(process.pid, program.stop_signals[0])

        def settled() -> bool:
            return process.poll() is not None or answers(address)

        in_time = _comes(settled, within_s=within_s)
        if process.poll() is not None:
            raise StartFailed(f"{program.name} ended at once (exit {process.returncode}).{_end_of(program.log, begin)}")
        if not in_time:
            raise StartFailed(f"{program.name} did not answer within {within_s:g} s.{_end_of(program.log, begin)}")
    except BaseException:
        running.stop()
        raise
    return running


@contextmanager
def watched(children: Sequence[Running], tell: Callable[[str], None]) -> Iterator[None]:
    """Start every child of ours again that ends by itself, for as long as the block runs.

    The kernel ties a child's life to the thread that started it, so the ones started again get their stop signal when
    the block ends; their own ``stop`` waits for them.
    """
    over = threading.Event()

    def watch() -> None:
        wait_s = WATCH_S
        while not over.wait(wait_s):
            wait_s = WATCH_S
            for child in children:
                if not child.owned or child.alive():
                    continue
                tell(f"{child.name} has ended and is started again")
                try:
                    child.start_again()
                except StartFailed as failed:
                    tell(str(failed))
                    wait_s = WATCH_AFTER_FAILURE_S

    thread = threading.Thread(target=watch, daemon=True, name="watch over children")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def end(
    pid: int, signals: Sequence[signal.Signals], patience_s: float, process: subprocess.Popen[bytes] | None
) -> None:
    """Send each signal in turn until the process is gone, and SIGKILL at last."""
    born = birth(pid)
    for sign in (*signals, signal.SIGKILL):
        if born is None or birth(pid) != born:
            break
        try:
            os.kill(pid, sign)
        except ProcessLookupError:
            break
        give_up = time.monotonic() + patience_s
        while birth(pid) == born and time.monotonic() < give_up:
            if process is not None:
                process.poll()
            time.sleep(POLL_S)
    if process is not None:
        process.wait()


def _write_pid_file(running: Running) -> None:
    assert running.program is not None
    running.pid_file.parent.mkdir(parents=True, exist_ok=True)
    fresh = running.pid_file.with_suffix(".new")
    fresh.write_text(
        json.dumps(
            {
                "name": running.name,
                "pid": running.pid,
                "born": birth(running.pid),
                "owner_pid": os.getpid(),
                "owner_born": birth(os.getpid()),
                "signals": [int(sign) for sign in running.program.stop_signals],
                "patience_s": running.program.patience_s,
                "address": running.address,
            },
            indent=2,
        )
    )
    fresh.rename(running.pid_file)


def _guard(pid: int, sign: signal.Signals) -> subprocess.Popen[bytes]:
    """A shell that waits on a pipe only we hold open: when we are gone it reads the end and stops the child."""
    return subprocess.Popen(
        ["/bin/sh", "-c", 'read -r _; kill -"$1" "$2"', "guard", str(int(sign)), str(pid)],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )


def _end_of(log: Path, begin: int) -> str:
    with log.open("rb") as file:
        file.seek(begin)
        lines = file.read().decode(errors="replace").strip().splitlines()
    return "\n" + "\n".join(f"  {line}" for line in lines[-15:]) if lines else ""
