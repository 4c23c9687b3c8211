"""Random buyers of a flash sale while its processes are killed, stopped and lied to: nothing is sold twice.

The buyers' choices and the misfortunes follow from the seed; how they fall together is the machine's. When everything
is healed and the gate was reconciled for the documented time, what the buyers saw is held against the books
(``flash_history``). A store of several processes is held over HTTP, on a single Redis; ``YOULI_SIMULATE_SALES`` makes
so many sales of it, and as many behind Sentinel and on a cluster, ``YOULI_SIMULATE_SEED`` the same ones again;
``make simulate`` sets and prints both. In every run there is a short sale in this process on each Redis with replicas.
"""

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from cache import engine as valkey
from cache.address import Form
from cache.client import Client
from jobs import worker
from models import engine
from models.engine import script
from models.people.operator import Operator
from resolvers.clock import SystemClock
from resolvers.deps import Deps
from resolvers.group_commit import GroupCommit
from resolvers.people.seal import Seal
from resolvers.people.token import TokenIssuer
from tests.doors import bearer, doors_app, make_member
from tests.flash import Sale, make_sale
from tests.races.test_kill_race import OPERATOR_LOGIN, PASSWORD, ask, sandbox_of, signed_in
from tests.redis_forms import RedisForm
from tests.simulation.flash_ledger import LEDGER, ledger
from tests.simulation.flash_play import LIMIT, STOCK, Play
from tests.simulation.flash_redis import SparedRedis
from tests.simulation.flash_shopkeeper import Shopkeeper
from tests.simulation.flash_shopper import Shopper
from tests.simulation.flash_store import FlashStore, flash_store

SALES = int(os.environ.get("YOULI_SIMULATE_SALES", "1"))
SEED = int(os.environ.get("YOULI_SIMULATE_SEED", "20261121"))
MISFORTUNES = int(os.environ.get("YOULI_SIMULATE_MISFORTUNES", "3"))
FORMS = list(Form) if "YOULI_SIMULATE_SALES" in os.environ else [Form.STANDALONE]


def gate_key(sale: Sale) -> str:
    """Where the gate of the sale's item is."""
    return f"flash:{{sale:{sale.item_id}}}:gate"


# In processes of their own


@pytest.mark.timeout(0)
@pytest.mark.xdist_group("server")
@pytest.mark.parametrize("form", [pytest.param(form, id=form.value) for form in FORMS])
def test_whatever_befalls_a_sale_its_history_is_right(data_dir: Path, form: Form) -> None:
    print(f"YOULI_SIMULATE_SEED={SEED} YOULI_SIMULATE_SALES={SALES} YOULI_SIMULATE_MISFORTUNES={MISFORTUNES}")
    with flash_store(data_dir.parent, form) as store:
        try:
            asyncio.run(_sales(store))
        finally:
            bugs = [line for line in store.log.read_text().splitlines() if '"bug"' in line]
            print(*bugs[:5], sep="\n")
        assert not bugs


async def _sales(store: FlashStore) -> None:
    await store.redis.open()
    for number in range(SALES):
        async with engine.database(store.database.url, pool_size=4), _connected(store.redis.own_url) as redis:
            if number == 0:
                await script(LEDGER)
            sale = await make_sale(_deps(redis), stock=STOCK, member_limit=LIMIT)
        async with httpx.AsyncClient(base_url=store.server.address, trust_env=False, timeout=20.0) as http:
            play = await _play(store, sale, http, SEED + number)
            await play.shop(MISFORTUNES)
            async with engine.database(store.database.url, pool_size=4), _connected(store.redis.own_url) as redis:
                await play.hold_to_the_books(_deps(redis))
    await store.redis.close()


async def _play(store: FlashStore, sale: Sale, http: httpx.AsyncClient, seed: int) -> Play:
    sandbox = sandbox_of(Path(store.env["YOULI_DATA_DIR"]))
    session = await ask(http, "/admin/graphql", OPERATOR_LOGIN, password=PASSWORD)

    async def newcomer(rng: random.Random) -> Shopper:
        phone = await signed_in(http, sandbox)
        return Shopper(member=phone.member_id, token=phone.token, http=http, sale=sale, rng=rng, sandbox=sandbox)

    return Play(
        sale,
        seed,
        store.database.url,
        Shopkeeper(token=session["accessToken"], http=http, rng=random.Random(f"{seed}:shopkeeper")),
        newcomer,
        store.misfortunes(gate_key(sale)),
        members=8,
        calm_s=1.0,
        closes=seed % 2 == 0,
    )


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[Client]:
    client = valkey.connect(url)
    yield client
    await client.aclose()


def _deps(redis: Client) -> Deps:
    return Deps(
        clock=SystemClock(),
        zone=ZoneInfo("Asia/Shanghai"),
        redis=redis,
        login=None,  # type: ignore[arg-type]
        pay=None,  # type: ignore[arg-type]
        pay_notify_url="",
        member_tokens=TokenIssuer({"m": "m" * 32}, audience="member", ttl=timedelta(hours=2)),
        operator_tokens=TokenIssuer({"o": "o" * 32}, audience="operator", ttl=timedelta(hours=2)),
        seal=Seal({"s": b"s" * 32}),
        pay_window=timedelta(minutes=30),
        shipping=None,  # type: ignore[arg-type]
    )


# In this process


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(own_store_url: str) -> str:
    """A store as new, of which all invariants are asked."""
    return own_store_url


async def test_a_short_sale_with_a_failover_in_the_middle_is_right(
    deps: Deps, redis_form: RedisForm, store_url: str
) -> None:
    """The one on the cluster is closed at the same time."""
    if not redis_form.has_replica:
        pytest.skip("nobody takes the place of a single server")
    async with _connected(redis_form.url) as redis, ledger():
        there = replace(deps, redis=redis, clock=SystemClock(), group_commit=GroupCommit())
        sale = await make_sale(there, stock=STOCK, member_limit=LIMIT)
        fail_over = SparedRedis(redis_form).misfortunes(gate_key(sale))["failover"]
        transport = httpx.ASGITransport(doors_app(there))
        async with httpx.AsyncClient(transport=transport, base_url="http://store.test", timeout=60) as http:

            async def newcomer(rng: random.Random) -> Shopper:
                token = await bearer(there, await make_member(there))
                return Shopper(member=str(token.subject_id), token=token, http=http, sale=sale, rng=rng)

            boss = await bearer(there, await Operator.get(id=sale.operator_id))
            play = Play(
                sale,
                SEED,
                store_url,
                Shopkeeper(token=boss, http=http, rng=random.Random(f"{SEED}:shopkeeper")),
                newcomer,
                {"failover": fail_over},
                members=6,
                calm_s=0.4,
                closes=redis_form.form is Form.CLUSTER,
            )
            stop = asyncio.Event()
            with capture_logs() as lines:
                working = asyncio.create_task(worker.run(there, stop))
                await play.shop(1)
                # The store's own connections may still be those to the server that died.
                async with _connected(redis_form.url) as afresh:
                    await play.hold_to_the_books(replace(there, redis=afresh))
                stop.set()
                await working
            await there.group_commit.idle()
    bugs = [line for line in lines if line.get("outcome") == "bug"]
    assert not bugs, bugs[:5]
