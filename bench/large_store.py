"""The member's home and points history in a small and in a large store: the same statements, nearly the same time.
Then every invariant over the large store, with the memory it took here.

Small is 10 thousand members, large 1 million with 10 million points entries. The ceiling is ``SELECT 1`` as often as
the query has statements, in the same process. Aim: large / small at most 1.3. MEMBERS=100000 makes large smaller.
"""

import os
import resource
import sys
from statistics import median
from time import perf_counter
from typing import Any
from uuid import UUID

import httpx
from starlette.applications import Starlette

from bench.store import NOW, fill, throwaway
from models.asyncpg_backend import SqlCount, sql_count
from models.engine import rows, transaction
from models.ids import new_id
from models.people.session import SessionFamily
from resolvers.deps import Deps
from resolvers.invariants.verify import verify
from schema.http import graphql_routes
from schema.shop import shop_endpoint

SMALL = 10_000
LARGE = int(os.environ.get("MEMBERS", "1000000"))
ENTRIES = 10
ROUNDS = 300

DOCUMENTS = {
    "memberHome": "{ memberHome { tier { level { name } growthValue } points { balance available } "
    "checkIn { done streakDays } } }",
    "pointsHistory": "{ pointsHistory(first: 20) { nodes { kind amount balanceAfter at } pageInfo { endCursor } } }",
}


async def main() -> None:
    """Print medians, statement counts and the ratio for each document."""
    async with throwaway() as deps:
        await fill(from_member=1, to_member=SMALL, entries=ENTRIES)
        small = await _measure(deps, SMALL)
        await fill(from_member=SMALL + 1, to_member=LARGE, entries=ENTRIES)
        large = await _measure(deps, LARGE)
        before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        verify_s = await _timed(_verified()) / 1000
        scan_s = await _timed(rows("SELECT sum(amount), count(DISTINCT member_id) FROM points_entry")) / 1000
        more_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) / 1024
    for name in DOCUMENTS:
        (few_ms, few_sql), (many_ms, many_sql) = small[name], large[name]
        sys.stdout.write(
            f"{name:14} {SMALL:>9,} members: {few_ms:.2f} ms, {few_sql} statements; {LARGE:>9,}: {many_ms:.2f} ms, "
            f"{many_sql} statements; ratio {many_ms / few_ms:.2f} (aim 1.3); "
            f"over its ceiling {many_ms / large['SELECT 1'][0] / many_sql:.1f}\n"
        )

    sys.stdout.write(
        f"verify         {LARGE * ENTRIES:,} points entries: {verify_s:.1f} s, {verify_s / scan_s:.1f} times one scan "
        f"of the entries; {more_mb:.1f} MiB more memory here\n"
    )


async def _verified() -> None:
    broken = [finding.invariant.name for finding in await verify() if finding.offenders]
    assert not broken, broken


async def _measure(deps: Deps, members: int) -> dict[str, tuple[float, int]]:
    app = Starlette(routes=graphql_routes("/graphql", shop_endpoint(deps, development=False)))
    ids = [UUID(int=(0x7000 << 64) | (0x8000 << 48) | (1 + n * 7919 % members)) for n in range(ROUNDS)]
    tokens = [await _token(deps, member_id) for member_id in ids]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://bench") as http:
        taken = {name: await _document(http, document, tokens) for name, document in DOCUMENTS.items()}
    taken["SELECT 1"] = (median([await _timed(rows("SELECT 1")) for _ in range(ROUNDS)]), 1)
    return taken


async def _token(deps: Deps, member_id: UUID) -> str:
    async with transaction():
        family = await SessionFamily.create(id=new_id(NOW), subject_kind="member", subject_id=member_id, created_at=NOW)
    return deps.member_tokens.issue(subject_id=member_id, session_id=family.id, now=NOW)


async def _document(http: httpx.AsyncClient, document: str, tokens: list[str]) -> tuple[float, int]:
    times, counts = [], set()
    for token in [*tokens[:20], *tokens]:
        counter = SqlCount()
        sql_count.set(counter)
        asked = http.post("/graphql", json={"query": document}, headers={"authorization": f"Bearer {token}"})
        times.append(await _timed(_answered(asked)))
        counts.add(counter.value)
    return median(times[20:]), max(counts)


async def _answered(asked: Any) -> None:
    answer = (await asked).json()
    assert "errors" not in answer, answer


async def _timed(step: Any) -> float:
    began = perf_counter()
    await step
    return (perf_counter() - began) * 1000
