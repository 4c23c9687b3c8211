"""A flash sale through HTTP: (a) a bare endpoint with one Lua call, the ceiling; (b) our "sold out"; (c) our purchase.

One server process each, as we serve it, on durable engines of their own; they take turns, so that a busy machine slows
all of them, and the ratios are what counts. The ceiling is measured twice: with redis.asyncio as it comes, and, a good
deal higher, with our client of Redis, which sends together what is asked in one turn. (b) and (c) carry the token of
another member with each request, pass the rate limits and log their line; (c) is a different member's first order each
time and is answered after its commit. The members' sessions are known to Redis, as of people who have looked at the
sale a minute before. The jobs run elsewhere. Then the database's own ceiling for (c): pgbench with the same writes, one
order and a full group a commit.

Aim: (b) at least 0.5 of (a), (c) at least 0.3, by the plain ceiling. SECONDS=5 ROUNDS=3 CONNECTIONS=32,256,1024 change
the measure.
"""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import cycle
from pathlib import Path
from statistics import median
from uuid import UUID

import httpx
import orjson

from bench._flash_ceiling import orders_per_s, script_of
from bench._http_load import Load, load, post
from bench.store import MEMBER_ID, deps_of, fill
from cache import engine as valkey
from cache.session_state import LIVE, LIVE_S, state_key
from loyalty.catalogue.catalogue import MediaKind
from models import engine, postgres
from models.catalogue.catalogue import Sku
from models.engine import rows
from models.ids import new_secret
from models.people.operator import Operator
from resolvers.catalogue import category, product
from resolvers.catalogue.product import Medium, NewSku
from resolvers.clock import SystemClock
from resolvers.deps import Deps
from resolvers.flash_sales import flash_sale, flash_session
from resolvers.flash_sales.flash_session import ItemWish, NewSale
from resolvers.group_commit import MOST
from resolvers.people.token import TokenIssuer

SECONDS = float(os.environ.get("SECONDS", "5"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
CONNECTIONS = [int(part) for part in os.environ.get("CONNECTIONS", "32,256,1024").split(",")]
BUYERS = int(os.environ.get("BUYERS", "80000"))
LOOKERS = 2_000
STOCK = 100_000
ROOT = Path(__file__).parents[1]
KEY = "b" * 32
NAMES = ("a bare endpoint", "a bare endpoint, our client", "b sold out", "c purchase")
KINDS = [b"FlashSalePurchased", b"FLASH_SOLD_OUT", b"SOLD_OUT"]
DOCUMENT = """
mutation Buy($input: FlashSalePurchaseInput!, $key: IdempotencyKey!) {
  flashSalePurchase(input: $input, idempotencyKey: $key) {
    __typename
    ... on FlashSalePurchased { order { id number state payable payBy } }
    ... on Refusal { code message }
  }
}
"""
SESSIONS = f"""
INSERT INTO session_family (id, subject_kind, subject_id, created_at)
SELECT {MEMBER_ID.format("n")}, 'member', {MEMBER_ID.format("n")}, now() FROM generate_series(1, $1::int) n RETURNING 1
"""


@dataclass(frozen=True, slots=True)
class Rush:
    """A running store with a sale that has opened: what is there and what is gone."""

    deps: Deps
    port: int
    item_id: UUID
    gone_id: UUID


async def main() -> None:
    """Print answers a second, p50, p99 and the ratios for each number of connections, and the database's ceiling."""
    folder = await asyncio.to_thread(_folder)
    store, cache = postgres.find_or_start(None, folder), valkey.find_or_start(None, folder)
    try:
        async with _rush(folder, store.url, cache.url) as rush:
            with _bare("plain", folder, cache.url, rush) as plain, _bare("ours", folder, cache.url, rush) as ours:
                for port in (plain, ours):
                    await _answers(port, "/")
                best = await _measured(rush, plain, ours)
            ceilings = {}
            for many in (1, MOST):
                script = await script_of(rush.item_id, together=many, members=(LOOKERS + 1, BUYERS))
                ceilings[many] = await asyncio.to_thread(
                    orders_per_s, store.url, script, together=many, seconds=SECONDS
                )
        for many, found in ceilings.items():
            sys.stdout.write(
                "the wheel's pgbench is missing: no ceiling of the database\n"
                if found is None
                else f"the database's ceiling, {many:>2} orders a commit: {found:,.0f} orders/s; ours at best "
                f"{best:,.0f}: {best / found:.2f}\n"
            )
    finally:
        cache.stop()
        store.stop()
        shutil.rmtree(folder, ignore_errors=True)


async def _measured(rush: Rush, plain_port: int, ours_port: int) -> float:
    """Prints them side by side; the best orders a second there were."""
    best = 0.0
    gone = cycle([_request(rush, number, rush.gone_id) for number in range(1, LOOKERS + 1)])
    buyers = (_request(rush, number, rush.item_id) for number in range(LOOKERS + 1, BUYERS + 1))
    nothing = cycle([post("/", b"{}")])
    asked = ((plain_port, nothing), (ours_port, nothing), (rush.port, gone), (rush.port, buyers))
    await _remember_sessions(rush.deps)
    for port, requests in asked:
        await _run(port, requests, 64, 1.0)
    for connections in CONNECTIONS:
        rounds = []
        for _ in range(ROUNDS):
            await _remember_sessions(rush.deps)
            rounds.append([await _run(port, requests, connections, SECONDS) for port, requests in asked])
        best = max(best, *(one[-1].per_s for one in rounds))
        _print(connections, rounds)
    return best


async def _run(port: int, requests: Iterator[bytes], connections: int, seconds: float) -> Load:
    found = await load(port, requests, connections=connections, seconds=seconds, kinds=KINDS)
    (answer,) = found.answers
    assert answer.encode() in KINDS, answer
    return found


def _print(connections: int, rounds: Sequence[Sequence[Load]]) -> None:
    for at, name in enumerate(NAMES):
        runs = [one[at] for one in rounds]
        plain, ours = (median(one[at].per_s / one[of].per_s for one in rounds) for of in (0, 1))
        sys.stdout.write(
            f"{connections:>5} connections  {name:26} {median(run.per_s for run in runs):>7,.0f}/s  "
            f"p50 {median(run.percentile_ms(0.5) for run in runs):>7.1f} ms  "
            f"p99 {median(run.percentile_ms(0.99) for run in runs):>7.1f} ms  "
            f"ratio {plain:.2f} ({ours:.2f} with our client)\n"
        )
    sys.stdout.flush()


@contextmanager
def _bare(client: str, folder: Path, redis_url: str, rush: Rush) -> Iterator[int]:
    port = _free_port()
    with _program(["-m", "bench._bare_endpoint", str(port), redis_url, str(rush.gone_id), client], folder, {}):
        yield port


@asynccontextmanager
async def _rush(folder: Path, database_url: str, redis_url: str) -> AsyncIterator[Rush]:
    port = _free_port()
    env = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "PORT": str(port),
        "YOULI_DATA_DIR": str(folder / "server"),
        "YOULI_MEMBER_JWT_KEYS": f"b:{KEY}",
        "YOULI_JOBS_IN_SERVER": "false",
        "YOULI_LOG_FORMAT": "json",
        "YOULI_OWNER_PASSWORD": new_secret(12),
    }
    migrate = await asyncio.create_subprocess_exec(
        sys.executable, "server.py", "migrate", cwd=ROOT, env=os.environ | env, stdout=subprocess.DEVNULL
    )
    assert await migrate.wait() == 0, "the database takes the migrations"
    with _program(["server.py", "serve"], folder, env):
        await _answers(port, "/readyz")
        redis = valkey.connect(redis_url)
        async with engine.database(database_url, pool_size=4), httpx.AsyncClient() as http:
            tokens = TokenIssuer({"b": KEY}, audience="member", ttl=timedelta(hours=2))
            deps = replace(deps_of(redis, http), clock=SystemClock(), member_tokens=tokens)
            await fill(from_member=1, to_member=BUYERS, entries=1)
            await rows(SESSIONS, [BUYERS])
            item_id, gone_id = await _open_sale(deps)
            yield Rush(deps, port, item_id, gone_id)
            await deps.group_commit.idle()
        await redis.aclose()


async def _open_sale(deps: Deps) -> tuple[UUID, UUID]:
    """An item with many pieces, and one whose only piece is taken."""
    boss = await Operator.get(login="owner")
    shelf = await category.create(deps, operator_id=boss.id, name="茶", idempotency_key=new_secret(12))
    made = await product.create(
        deps,
        operator_id=boss.id,
        title="龙井",
        category_id=shelf.id,
        media=[Medium(kind=MediaKind.IMAGE, url="https://img.example.com/tea.jpg")],
        skus=[NewSku(code=code, title="50 克", price_fen=10_000, stock=STOCK) for code in ("LJ-1", "LJ-2")],
        idempotency_key=new_secret(12),
    )
    await product.publish(deps, operator_id=boss.id, product_id=made.id, idempotency_key=new_secret(12))
    first, second = await Sku.filter(product_id=made.id).order_by("position")
    now = deps.clock.now()
    sale = await flash_session.create(
        deps,
        operator_id=boss.id,
        sale=NewSale(
            title="整点秒杀",
            opens_at=now,
            closes_at=now + timedelta(hours=2),
            claim_minutes=10,
            items=[
                ItemWish(sku_id=first.id, price_fen=6_000, stock=STOCK, member_limit=1),
                ItemWish(sku_id=second.id, price_fen=6_000, stock=1, member_limit=1),
            ],
        ),
        idempotency_key=new_secret(12),
    )
    await flash_session.publish(deps, operator_id=boss.id, sale_id=sale.id, idempotency_key=new_secret(12))
    item_id, gone_id = [
        row["id"] for row in await rows("SELECT id FROM flash_item WHERE sale_id = $1 ORDER BY position", [sale.id])
    ]
    await flash_sale.purchase(
        deps, member_id=_member(BUYERS), item_id=gone_id, quantity=1, idempotency_key=new_secret(12)
    )
    return item_id, gone_id


def _member(number: int) -> UUID:
    return UUID(int=(0x7000 << 64) | (0x8000 << 48) | number)


def _request(rush: Rush, number: int, item_id: UUID) -> bytes:
    member_id = _member(number)
    token = rush.deps.member_tokens.issue(subject_id=member_id, session_id=member_id, now=rush.deps.clock.now())
    variables = {"input": {"itemId": str(item_id), "quantity": 1}, "key": new_secret(12)}
    return post("/graphql", orjson.dumps({"query": DOCUMENT, "variables": variables}), token=token)


async def _remember_sessions(deps: Deps) -> None:
    """For the whole round: ``saw_alive`` would leave those of the round before, which end in the middle of this one."""
    for first in range(1, BUYERS + 1, 1000):
        keys = [state_key(_member(number)) for number in range(first, min(first + 1000, BUYERS + 1))]
        await asyncio.gather(*(deps.redis.set(key, LIVE, ex=LIVE_S) for key in keys))


@contextmanager
def _program(arguments: list[str], folder: Path, env: Mapping[str, str]) -> Iterator[None]:
    with (folder / "log.txt").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, env=os.environ | env, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=60)


async def _answers(port: int, path: str) -> None:
    async with asyncio.timeout(120), httpx.AsyncClient(trust_env=False) as http:
        while True:
            try:
                if (await http.get(f"http://127.0.0.1:{port}{path}")).status_code in (200, 405):
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.1)


def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="youli-bench-"))
    # PostgreSQL must reach it as a user of its own when root runs this.
    folder.chmod(0o755)
    return folder


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
