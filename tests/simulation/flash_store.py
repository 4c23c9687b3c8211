"""A store in processes of its own that things can happen to: to server and worker, both engines, and Redis' replies."""

import asyncio
import random
import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cache.address import Form
from models import postgres
from tests.ports import free_port
from tests.races.test_kill_race import PASSWORD
from tests.server.processes_seen import Program, command, environment, eventually, running
from tests.simulation.flash_redis import Misfortune, SaleRedis, sale_redis


@dataclass
class FlashStore:
    """The running processes, and the misfortunes that can befall them. Each one is over when its call returns."""

    env: Mapping[str, str]
    database: postgres.Postgres
    redis: SaleRedis
    log: Path
    server: Program
    worker: Program
    stack: ExitStack

    def misfortunes(self, gate_key: str) -> dict[str, Misfortune]:
        """By name."""
        return {
            **self.redis.misfortunes(gate_key),
            "postgres restarted": self.restart_postgres,
            "worker paused": self.pause_worker,
            "server killed": self.kill_server,
        }

    async def restart_postgres(self, _: random.Random) -> None:
        """PostgreSQL breaks off what is under way and comes back."""
        await asyncio.to_thread(self._postgres_again)

    def _postgres_again(self) -> None:
        assert self.database.engine is not None
        self.database.engine.stop()
        self.database.engine.start_again()

    async def pause_worker(self, rng: random.Random) -> None:
        """The worker stands still for longer than its leases, and goes on where it was."""
        self.worker.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(rng.uniform(3.5, 5.0))
        self.worker.process.send_signal(signal.SIGCONT)

    async def kill_server(self, _: random.Random) -> None:
        """The server dies in the middle of it, and another one is started."""
        self.server.process.send_signal(signal.SIGKILL)
        await asyncio.to_thread(self._server_again)

    def _server_again(self) -> None:
        self.server.process.wait()
        self.server = self.stack.enter_context(running(("serve",), self.env, self.log))
        self.server.wait_until_ready()


@contextmanager
def flash_store(folder: Path, form: Form) -> Iterator[FlashStore]:
    """The store with nothing in it, ready. Its jobs run in the server and in the worker, as rivals."""
    engines = folder / "engines"
    log = folder / "log"
    with ExitStack() as stack:
        database = postgres.find_or_start(None, engines)
        stack.callback(database.stop)
        redis = stack.enter_context(sale_redis(form, engines))
        env = environment(
            folder / "var",
            free_port(),
            DATABASE_URL=database.url,
            REDIS_URL=redis.url,
            YOULI_RATE_OPERATIONS="flashSalePurchase=off,flashSaleWait=off,orderPay=off,orderCancel=off",
            YOULI_RATE_MEMBER_POINTS="0",
            YOULI_OWNER_PASSWORD=PASSWORD,
        )
        migrated = command("migrate", env=env)
        assert migrated.returncode == 0, migrated.stderr
        # WeChat is nobody's child here, and outlives the server.
        stack.enter_context(running(("sandbox",), env, folder / "sandbox.log"))
        eventually((folder / "var" / "run" / "sandbox.json").exists, what="the sandbox")
        server = stack.enter_context(running(("serve",), env, log))
        server.wait_until_ready()
        worker = stack.enter_context(running(("worker",), env | {"PORT": str(free_port())}, log))
        yield FlashStore(env, database, redis, log, server, worker, stack)
