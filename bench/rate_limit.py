"""What the rate limits cost: the smallest query through the door without them and with them, side by side.

One process, no socket, 64 requests at a time, each from a network of its own as members would be. The two take turns,
so that a busy machine slows both; the ratio is what counts.
"""

import asyncio
import sys
from statistics import median
from time import perf_counter

import httpx
from starlette.applications import Starlette

from bench.store import throwaway
from resolvers.deps import Deps
from schema.http import graphql_routes
from schema.rates import Rates
from schema.shop import shop_endpoint

ROUNDS = 9
REQUESTS = 2_000
AT_ONCE = 64
BODY = b'{"query": "{ serverInfo { time } }"}'
UNLIMITED = Rates(member=None, operator=None, visitor=None, paces={})


def _door(deps: Deps, rates: Rates) -> Starlette:
    return Starlette(routes=graphql_routes("/graphql", shop_endpoint(deps, development=False, rates=rates)))


async def _per_s(door: Starlette) -> float:
    """Requests a second, of which none is refused."""
    numbers = iter(range(REQUESTS))

    async def client() -> None:
        for number in numbers:
            address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
            transport = httpx.ASGITransport(door, client=(address, 40_000))
            request = httpx.Request(
                "POST", "http://store.test/graphql", content=BODY, headers={"content-type": "application/json"}
            )
            answer = await transport.handle_async_request(request)
            assert answer.status_code == 200, "nobody is refused"

    began = perf_counter()
    await asyncio.gather(*(client() for _ in range(AT_ONCE)))
    return REQUESTS / (perf_counter() - began)


async def main() -> None:
    """Print requests a second without and with the limits, and what one request pays for them."""
    async with throwaway() as deps:
        without, limited = _door(deps, UNLIMITED), _door(deps, Rates())
        await _per_s(without)
        await _per_s(limited)
        rounds = [(await _per_s(without), await _per_s(limited)) for _ in range(ROUNDS)]
    free, paid = (median(one[side] for one in rounds) for side in (0, 1))
    ratio = median(one[1] / one[0] for one in rounds)
    sys.stdout.write(
        f"without limits {free:,.0f} requests/s, with them {paid:,.0f}: ratio {ratio:.2f}, "
        f"{(1 / paid - 1 / free) * 1e6:.0f} us a request\n"
    )
