"""Starting the real program, and watching the processes it makes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

import processes
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]


def eventually(condition: Callable[[], bool], *, what: str = "it") -> None:
    """Wait until the condition holds.

    Raises:
        AssertionError: it does not within ``PATIENCE_S``.
    """
    give_up = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up, f"{what} did not happen within {PATIENCE_S:g} s"
        time.sleep(0.05)


def environment(data_dir: Path, port: int, **more: str) -> dict[str, str]:
    """An environment with no setting of the machine in it."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return kept | {"YOULI_DATA_DIR": str(data_dir), "PORT": str(port)} | more


def command(*arguments: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command of the program to its end."""
    return subprocess.run(
        [sys.executable, "server.py", *arguments],
        cwd=ROOT,
        env=dict(env),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


@dataclass
class Program:
    """A running server and everything it started."""

    process: subprocess.Popen[bytes]
    address: str
    log: Path
    children: dict[int, str] = field(default_factory=dict)

    def get(self, path: str) -> httpx.Response:
        """One request, by no proxy; it is plain HTTP, so no certificates are read."""
        with httpx.Client(trust_env=False, verify=False, timeout=PATIENCE_S) as client:
            return client.get(f"{self.address}{path}")

    def query(self, path: str, document: str) -> httpx.Response:
        """One GraphQL document."""
        with httpx.Client(trust_env=False, verify=False, timeout=PATIENCE_S) as client:
            return client.post(f"{self.address}{path}", json={"query": document})

    def ready(self) -> bool:
        """Whether it may have traffic."""
        try:
            return self.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def wait_until_ready(self) -> None:
        """Wait for ``/readyz``, and note every process below it."""

        def settled() -> bool:
            assert self.process.poll() is None, self.text()
            return self.ready()

        eventually(settled, what="/readyz")
        self.children = {
            child.pid: processes.birth(child.pid) or ""
            for child in psutil.Process(self.process.pid).children(recursive=True)
        }

    def wait_for_checks(self, **wanted: str) -> httpx.Response:
        """Wait until ``/readyz`` says this of each, and return what it said. One look may find a machine too busy."""
        answers: list[httpx.Response] = []

        def said() -> bool:
            answers[:] = [self.get("/readyz")]
            return bool(wanted.items() <= answers[0].json()["checks"].items())

        eventually(said, what=f"/readyz with {wanted}")
        return answers[0]

    def signal_and_wait(self, sign: signal.Signals) -> int:
        """Send a signal to the server alone, as a terminal or an operator does, and return its exit code."""
        self.process.send_signal(sign)
        return self.process.wait(timeout=PATIENCE_S)

    def wait_until_all_have_ended(self) -> None:
        """Wait until none of the noted children runs."""
        eventually(lambda: not self.living(), what="the end of every process")

    def living(self) -> list[int]:
        """The noted children that run now."""
        return [pid for pid, born in self.children.items() if processes.birth(pid) == born]

    def text(self) -> str:
        """What it wrote."""
        return self.log.read_text()


@contextmanager
def running(arguments: tuple[str, ...], env: Mapping[str, str], log: Path) -> Iterator[Program]:
    """The program until the block ends; whatever is left of it then is killed."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "server.py", *arguments], cwd=ROOT, env=dict(env), stdout=output, stderr=output
        )
    program = Program(process, f"http://127.0.0.1:{env['PORT']}", log)
    try:
        yield program
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for pid in program.living():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
