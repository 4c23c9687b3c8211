"""``python -m wechat.sandbox --host 127.0.0.1 --port 8710 --state-dir var/sandbox``: one ready line, then silence."""

import argparse
import asyncio
import sys
from pathlib import Path

import uvicorn

from wechat.sandbox.app import create_app

SHUTDOWN_S = 3
"""Seconds that requests under way have at the end."""


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        await super().startup(sockets=sockets)  # type: ignore[arg-type]
        if self.started:
            port = self.servers[0].sockets[0].getsockname()[1]
            sys.stdout.write(f"sandbox WeChat ready on http://{self.config.host}:{port}\n")
            sys.stdout.flush()


def main() -> None:
    """Run until a signal ends it."""
    parser = argparse.ArgumentParser(prog="python -m wechat.sandbox", description="A stand-in for Tencent's servers.")
    parser.add_argument("--host", default="127.0.0.1", help="keep it on a loopback address: it has no password")
    parser.add_argument("--port", type=int, default=8710, help="0 takes a free one")
    parser.add_argument("--state-dir", type=Path, default=None, help="where keys and orders are kept")
    asked = parser.parse_args()
    server = uvicorn.Config(
        create_app(asked.state_dir),
        host=asked.host,
        port=asked.port,
        log_level="critical",
        access_log=False,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )
    asyncio.run(_Server(server).serve())


if __name__ == "__main__":
    main()
