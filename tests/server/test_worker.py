"""The worker on its own: what it shows of its jobs. And a database that goes away while a command starts."""

import signal
import socket
import threading
from contextlib import closing
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from models import postgres
from tests.ports import free_port
from tests.server.processes_seen import command, environment, eventually, running

pytestmark = pytest.mark.xdist_group("server")
TOKEN = "a-token-that-the-scraper-brings"


def test_a_worker_shows_the_metrics_of_its_jobs(used_data_dir: Path) -> None:
    port = free_port()
    env = environment(used_data_dir, port, YOULI_WORKER_METRICS_PORT=str(port), YOULI_METRICS_TOKEN=TOKEN)
    with running(("worker",), env, used_data_dir.parent / "log") as program:

        def counted() -> bool:
            assert program.process.poll() is None, program.text()
            try:
                page = httpx.get(
                    f"{program.address}/metrics", headers={"authorization": f"Bearer {TOKEN}"}, trust_env=False
                ).text
            except httpx.TransportError:
                return False
            return 'youli_jobs_due{job="tell_flash_gates"}' in page

        eventually(counted, what="the count of a job")
        assert program.get("/metrics").status_code == 401
        assert program.get("/graphql").status_code == 404
        assert program.signal_and_wait(signal.SIGTERM) == 0
        assert "Traceback" not in program.text()


def test_a_taken_port_for_the_worker_is_said(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        shown = command("worker", env=environment(data_dir, free_port(), YOULI_WORKER_METRICS_PORT=str(port)))
    assert shown.returncode == 1
    assert f"YOULI_WORKER_METRICS_PORT={port + 1}" in shown.stderr
    assert "Traceback" not in shown.stderr


def test_a_database_that_goes_away_while_a_command_starts_is_said(used_data_dir: Path) -> None:
    store = postgres.find_or_start(None, used_data_dir)
    try:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            (folder,) = parse_qs(urlsplit(store.url).query)["host"]
            carrier = threading.Thread(target=_carry_one, args=(listener, Path(folder)))
            carrier.start()
            url = f"postgresql://postgres@127.0.0.1:{port}/youli?sslmode=disable"
            shown = command("verify", env=environment(used_data_dir, free_port(), DATABASE_URL=url))
            carrier.join()
    finally:
        store.stop()
    assert shown.returncode == 1
    assert "The database went away meanwhile" in shown.stderr
    assert "Traceback" not in shown.stderr


def _carry_one(listener: socket.socket, folder: Path) -> None:
    """Carry the first connection to the database, and be gone for all that come after it."""
    ours, _ = listener.accept()
    listener.close()
    with closing(ours), socket.socket(socket.AF_UNIX) as theirs:
        theirs.connect(str(folder / ".s.PGSQL.5432"))
        back = threading.Thread(target=_carry, args=(theirs, ours))
        back.start()
        _carry(ours, theirs)
        back.join()


def _carry(source: socket.socket, target: socket.socket) -> None:
    while data := source.recv(65_536):
        target.sendall(data)
    target.shutdown(socket.SHUT_WR)
