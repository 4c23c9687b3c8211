"""How the port is served: uvicorn in this process or in several, and a word when it listens.

Part of the composition root.
"""

import asyncio
import os
import shutil
import socket
import threading
from collections.abc import Callable

import uvicorn
from uvicorn.supervisors import Multiprocess

import telemetry
from hooks.health import metrics_page
from settings import Settings
from surroundings import StartRefused

WORKERS_WITHIN_S = 120.0
WORKER_ANSWERS_WITHIN_S = 30
"""A worker that answers no health check in this time is replaced. uvicorn's 5 s are less than an import on a machine
that is busy, and its workers would be killed again and again before they ever serve."""


class _Announcing(uvicorn.Server):
    """Says that it is there once it listens."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            await asyncio.to_thread(self._announce)


class _Workers(Multiprocess):
    """Waits for its first processes and says when they are there."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket], announce: Callable[[], None]) -> None:
        super().__init__(config, sockets)
        self._announce = announce

    def init_processes(self) -> None:
        super().init_processes()
        if all(one.wait_until_ready(WORKERS_WITHIN_S, self.should_exit) for one in self.processes):
            self._announce()


def listen(settings: Settings, listener: socket.socket, *, workers: int, announce: Callable[[], None]) -> None:
    """Serve until told to stop; then requests under way have ``shutdown_grace_s`` to end."""
    config = uvicorn.Config(
        "server:application",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=workers,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=True,
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_graceful_shutdown=settings.shutdown_grace_s,
        timeout_worker_healthcheck=WORKER_ANSWERS_WITHIN_S,
    )
    if workers == 1:
        server = _Announcing(config, announce)
        try:
            server.run(sockets=[listener])
        except (KeyboardInterrupt, SystemExit):
            # uvicorn has shut down in order and then raises the signal that asked for it once more.
            if not server.started:
                raise
        if not server.started:
            raise StartRefused("The server did not start; the log above says why.")
        return
    folder = settings.data_dir / "metrics"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    _Workers(config, [listener], announce).run()


def show_metrics(settings: Settings, listener: socket.socket) -> None:
    """Show ``/metrics`` of this process, which serves nothing else, in a thread until the process ends."""
    page = metrics_page(
        telemetry.exposition,
        metrics_token=settings.metrics_token.get_secret_value() if settings.metrics_token else None,
        metrics_open=not settings.production,
    )
    config = uvicorn.Config(page, loop="asyncio", ws="none", lifespan="off", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    threading.Thread(target=server.run, args=([listener],), daemon=True, name="metrics").start()
