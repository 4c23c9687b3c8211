"""Thousands of random orders through HTTP while WeChat misbehaves: in the end both sides' books agree to the fen.

``YOULI_SIMULATE_ORDERS`` makes it a longer day, ``YOULI_SIMULATE_SEED`` the same one again; ``make simulate`` sets and
prints both.
"""

import asyncio
import os

import pytest

from tests.simulation.market import Market
from tests.simulation.world import World

ORDERS = int(os.environ.get("YOULI_SIMULATE_ORDERS", "40"))
SEED = int(os.environ.get("YOULI_SIMULATE_SEED", "20261121"))
A_DAY = 250
"""How many orders a store takes before it is opened anew: the books are compared at each end."""


async def days(world: World) -> None:
    for day, first in enumerate(range(0, ORDERS, A_DAY)):
        await world.begin({})
        try:
            orders = min(A_DAY, ORDERS - first)
            async with Market.opened(world, SEED + day, orders=orders) as market:
                await market.trade(orders)
                await market.close()
                await market.assert_the_books_agree()
                found = len(await market.cases())
                await market.work_the_inbox()
                await market.assert_the_books_agree()
                left = sorted(case["kind"] for case in await market.cases())
                assert not {"payment_mismatch", "refund_closed", "refund_abnormal"}.intersection(left), left
                print(f"day {day} seed {SEED + day}: {len(market.orders)} orders, {found} cases, left {left}")
                print(f"  refused: {dict(market.told)}", flush=True)
        finally:
            await world.end()


@pytest.mark.timeout(0)
def test_a_day_of_misfortune_leaves_both_books_equal(
    postgres_url: str, migrated_template: str, worker_id: str, redis_url: str, wechat_url: str
) -> None:
    print(f"YOULI_SIMULATE_SEED={SEED} YOULI_SIMULATE_ORDERS={ORDERS}")
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        opened = World.opened(
            postgres_url=postgres_url,
            template=migrated_template,
            name=f"youli_market_{worker_id}",
            redis_url=redis_url,
            wechat_url=wechat_url,
        )
        world = runner.run(opened.__aenter__())
        try:
            runner.run(days(world))
        finally:
            runner.run(opened.__aexit__(None, None, None))
