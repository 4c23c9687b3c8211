"""A throwaway store for benchmarks: its own PostgreSQL and Valkey, built by the migrations, filled by SQL."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import httpx

from cache import engine as valkey
from cache.client import Client
from models import engine, postgres
from models.engine import script
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.people.seal import Seal
from resolvers.people.token import TokenIssuer
from resolvers.prepare import prepare
from wechat.login import LoginClient
from wechat.mini import MiniProgramHost

NOW = datetime(2026, 11, 20, 4, tzinfo=UTC)


@asynccontextmanager
async def throwaway() -> AsyncIterator[Deps]:
    """An empty store whose clock stands at ``NOW``. WeChat is not there: nothing here pays or ships."""
    started, soft = postgres.find_or_start_throwaway(None), valkey.find_or_start_throwaway(None)
    try:
        redis = valkey.connect(soft.url)
        async with engine.database(started.url, pool_size=10), httpx.AsyncClient() as http:
            await engine.migrate()
            await prepare(NOW - timedelta(days=400))
            yield deps_of(redis, http)
        await redis.aclose()
    finally:
        started.stop()
        soft.stop()


def deps_of(redis: Client, http: httpx.AsyncClient) -> Deps:
    """What verbs are given here."""
    nowhere = "http://127.0.0.1:9"
    return Deps(
        clock=SetClock(NOW),
        zone=ZoneInfo("Asia/Shanghai"),
        redis=redis,
        login=LoginClient(MiniProgramHost(http, base_url=nowhere), appid="wx0", secret="none"),
        pay=None,  # type: ignore[arg-type]
        pay_notify_url=nowhere,
        member_tokens=TokenIssuer({"b": "b" * 32}, audience="member", ttl=timedelta(hours=2)),
        operator_tokens=TokenIssuer({"o": "o" * 32}, audience="operator", ttl=timedelta(hours=2)),
        member_refresh_ttl=timedelta(days=30),
        operator_refresh_ttl=timedelta(days=1),
        seal=Seal({"b": b"b" * 32}),
        pay_window=timedelta(minutes=30),
        shipping=None,  # type: ignore[arg-type]
    )


MEMBER_ID = "('00000000-0000-7000-8000-' || lpad(to_hex({}), 12, '0'))::uuid"
"""The id of the so-manieth member that ``fill`` makes, in SQL."""

_FILL = f"""
INSERT INTO member (id, openid, nickname, avatar_url, personalised, marketing_topics, created_at)
SELECT {MEMBER_ID.format("n")}, 'o' || n, '', '', true, '[]', '{{began}}' FROM generate_series({{first}}, {{last}}) n;
INSERT INTO membership (member_id, growth_value, seq, keep_seq, tier_code, tier_since)
SELECT {MEMBER_ID.format("n")}, 0, 0, 0, 'member', '{{began}}' FROM generate_series({{first}}, {{last}}) n;
INSERT INTO points_account (member_id, balance, held, debt, seq)
SELECT {MEMBER_ID.format("n")}, 10 * {{entries}}, 0, 0, {{entries}} FROM generate_series({{first}}, {{last}}) n;
INSERT INTO points_lot (id, member_id, amount, remaining, held, opens_at, expires_at, created_at)
SELECT {MEMBER_ID.format("n")}, {MEMBER_ID.format("n")}, 10 * {{entries}}, 10 * {{entries}}, 0, '{{began}}',
    '{{began}}'::timestamptz + interval '1 year', '{{began}}' FROM generate_series({{first}}, {{last}}) n;
WITH entry AS (
    INSERT INTO points_entry (id, member_id, seq, kind, amount, debt_change, balance_after, cause_kind, cause_id, key,
        note, at)
    SELECT gen_random_uuid(), {MEMBER_ID.format("n")}, seq, 'earn', 10, 0, 10 * seq, 'fill', {MEMBER_ID.format("n")},
        'fill:' || seq, '', '{{began}}'::timestamptz + seq * interval '1 day'
    FROM generate_series({{first}}, {{last}}) n, generate_series(1, {{entries}}) seq RETURNING id, member_id
)
INSERT INTO points_draw (id, entry_id, lot_id, amount) SELECT gen_random_uuid(), id, member_id, 10 FROM entry;
"""


async def fill(*, from_member: int, to_member: int, entries: int, step: int = 10_000) -> None:
    """Members of these numbers, each with so many points entries into one lot. The books add up."""
    began = (NOW - timedelta(days=entries + 30)).isoformat()
    for first in range(from_member, to_member + 1, step):
        last = min(first + step - 1, to_member)
        await script(_FILL.format(first=first, last=last, entries=entries, began=began))
    # Only what was filled: who has seen an empty table there plans for an empty one until it is analysed again.
    await script("VACUUM ANALYZE member, membership, points_account, points_lot, points_entry, points_draw")
