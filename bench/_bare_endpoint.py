"""The ceilings of ``bench.flash_sale``: the least that a web server can do to answer "sold out" from the gate.

Starlette with one route and one Lua call, the gate's own; uvicorn as we serve it. Run with the port, the Redis URL, the
id of an item that is sold out, and the client of Redis: ``plain``, redis.asyncio as it comes, or ``ours``, which sends
together what is asked in one turn.
"""

import sys
from datetime import timedelta
from uuid import UUID

import uvicorn
from redis import asyncio as aioredis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cache.client import CONNECTIONS
from cache.engine import connect
from cache.flash_gate import Asked, take
from resolvers.clock import SystemClock

MEMBER = UUID(int=0)


def application(redis_url: str, item_id: UUID, *, client: str) -> Starlette:
    """Answers every request with what the gate says."""
    redis, clock = connect(redis_url) if client == "ours" else _plain(redis_url), SystemClock()
    asked = Asked(request="somebody", member_id=MEMBER, quantity=1)

    async def answer(_: Request) -> Response:
        told = await take(redis, item_id, asked, now=clock.now(), most_early=timedelta(0))
        return Response(told.answer, media_type="text/plain")

    return Starlette(routes=[Route("/", answer, methods=["POST"])])


def _plain(redis_url: str) -> aioredis.Redis:
    pool = aioredis.BlockingConnectionPool.from_url(redis_url, max_connections=CONNECTIONS)
    return aioredis.Redis.from_pool(pool)


if __name__ == "__main__":
    uvicorn.run(
        application(sys.argv[2], UUID(sys.argv[3]), client=sys.argv[4]),
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=True,
    )
