"""The rate limits at the door, over HTTP: exact under a rush, true about when to come again, and each caller's own."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import uvicorn

from cache.address import Form
from cache.client import Client
from cache.engine import connect
from cache.rate_limit import Limit
from resolvers.deps import Deps
from schema.operator import operator_schema
from schema.rates import PACES, REJECTED_POINTS, REQUEST_POINTS, Pace, Rates, budget
from schema.shop import shop_schema
from tests.doors import Bearer, Door, doors_app
from tests.patience import DAY
from tests.redis_forms import started

Tokens = Callable[..., Awaitable[Bearer]]

ONE = "{ serverInfo { time } }"
ONE_POINTS = REQUEST_POINTS + 2
CHECK_IN = 'mutation { checkIn(idempotencyKey: "test-0001") { __typename } }'
OPEN = Rates(member=None, operator=None, visitor=None, paces={})
PAGE = Path(__file__).parents[2] / "docs/rules/rate_limit.md"


def requests_of(count: int) -> Limit:
    """A budget that is enough for so many of the smallest requests, and gives one back each day."""
    return Limit("budget", count * ONE_POINTS, DAY / ONE_POINTS)


@asynccontextmanager
async def shop_with(deps: Deps, rates: Rates, *, address: str = "203.0.113.7") -> AsyncIterator[Door]:
    """The members' door with limits of the test's own, reached from an address."""
    transport = httpx.ASGITransport(doors_app(deps, rates=rates), client=(address, 40_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://store.test") as http:
        yield Door(http, "/graphql")


async def time_passes(redis: Client, seconds: float) -> None:
    """Let every limit believe that so many seconds went by: what is paid for is so much nearer."""
    async for key in redis.scan_iter(match="rate:*"):
        paid_us, left_ms = int(await redis.get(key) or 0), await redis.pttl(key)
        await redis.set(key, int(paid_us - seconds * 1e6), px=max(1, left_ms))


async def statuses(door: Door, token: str, count: int, document: str = ONE) -> list[int]:
    answers = [await door.send(document, token=token) for _ in range(count)]
    assert not any("BAD_INPUT" in answer.text for answer in answers)
    return [answer.status_code for answer in answers]


async def test_a_rush_gets_exactly_the_budget(deps: Deps, member_token: Tokens) -> None:
    mine = await member_token()
    for rates, passed in ((replace(OPEN, member=requests_of(20)), 20), (OPEN, 100)):
        async with shop_with(deps, rates) as shop:
            answers = await asyncio.gather(*(shop.send(ONE, token=mine) for _ in range(100)))
            assert sum(answer.status_code == 200 for answer in answers) == passed


async def test_who_comes_when_told_is_let_in_and_not_before(deps: Deps, member_token: Tokens) -> None:
    mine = await member_token()
    async with shop_with(deps, replace(OPEN, member=requests_of(2))) as shop:
        assert await statuses(shop, mine, 2) == [200, 200]
        refused = await shop.send(ONE, token=mine)
        assert refused.status_code == 429
        (error,) = refused.json()["errors"]
        assert error["extensions"]["code"] == "RATE_LIMITED"
        wait_s = error["extensions"]["retryAfterS"]
        assert refused.headers["retry-after"] == str(wait_s)
        assert DAY - timedelta(hours=1) <= timedelta(seconds=wait_s) <= DAY
        await time_passes(deps.redis, wait_s - 3_600)
        assert await statuses(shop, mine, 1) == [429]
        await time_passes(deps.redis, 3_600)
        assert await statuses(shop, mine, 2) == [200, 429]


async def test_a_members_flood_is_nobody_elses(deps: Deps, member_token: Tokens) -> None:
    mine, yours = await member_token(), await member_token()
    rates = replace(OPEN, member=requests_of(3), visitor=requests_of(3))
    async with shop_with(deps, rates) as shop:
        assert await statuses(shop, mine, 6) == [200] * 3 + [429] * 3
        assert await statuses(shop, yours, 3) == [200] * 3
        assert (await shop.send(ONE)).status_code == 200


async def test_a_large_answer_and_a_mutation_cost_more(deps: Deps, member_token: Tokens) -> None:
    mine = await member_token()
    async with shop_with(deps, replace(OPEN, member=requests_of(20))) as shop:
        assert await statuses(shop, mine, 2, "{ products(first: 10) { nodes { id title } } }") == [200, 200]
        left = await statuses(shop, mine, 20)
        assert left.count(200) == 20 - 2 * (REQUEST_POINTS + 2 + 10 * 2 + ONE_POINTS - 1) // ONE_POINTS
    other = await member_token()
    async with shop_with(deps, replace(OPEN, member=requests_of(6))) as shop:
        assert await statuses(shop, other, 2, CHECK_IN) == [200, 429]


async def test_an_operation_has_a_limit_of_its_own_under_whatever_alias(deps: Deps, member_token: Tokens) -> None:
    mine = await member_token()
    rates = replace(OPEN, paces={"checkIn": Pace(caller=Limit("caller", 3, DAY))})
    once = 'checkIn(idempotencyKey: "test-0001") { __typename }'
    twice = f"mutation {{ a: {once} ...Again }} fragment Again on Mutation {{ b: {once} }}"
    async with shop_with(deps, rates) as shop:
        assert await statuses(shop, mine, 2, twice) == [200, 429]
        assert await statuses(shop, mine, 2, CHECK_IN) == [200, 429]
        assert await statuses(shop, mine, 1) == [200]


async def test_a_phone_that_names_itself_is_counted_for_all_its_members(deps: Deps, member_token: Tokens) -> None:
    rates = replace(OPEN, paces={"checkIn": Pace(caller=None, device=Limit("device", 2, DAY))})
    async with shop_with(deps, rates) as shop:
        for device, expected in (("phone-0001", [200, 200, 429]), ("bad id", [200, 200, 200])):
            tokens = [await member_token() for _ in range(3)]
            answers = [await shop.send(CHECK_IN, token=one, x_device_id=device) for one in tokens]
            assert [answer.status_code for answer in answers] == expected


async def test_what_is_refused_before_it_runs_is_charged_to_its_network(deps: Deps) -> None:
    rates = replace(OPEN, visitor=Limit("budget", 3 * REJECTED_POINTS, DAY))
    async with shop_with(deps, rates) as shop:
        assert await shop.codes("{ nothingOfTheKind }") == ["BAD_INPUT"]
        assert await shop.codes(ONE, token="forged") == ["UNAUTHENTICATED"]
        assert await shop.codes("{") == ["BAD_INPUT"]
        assert await shop.codes("{") == ["RATE_LIMITED"]
        assert await shop.codes(ONE, token="forged") == ["RATE_LIMITED"]
    async with shop_with(deps, rates, address="203.0.113.8") as elsewhere:
        assert await elsewhere.codes(ONE) == []


async def test_an_address_that_a_stranger_claims_counts_for_nothing(deps: Deps) -> None:
    rates = replace(OPEN, visitor=requests_of(2))

    async def from_(address: str, forwarded: str) -> int:
        # Wrapped by uvicorn just as the server has it wrapped.
        config = uvicorn.Config(doors_app(deps, rates=rates), proxy_headers=True, forwarded_allow_ips="10.0.0.0/8")
        config.load()
        transport = httpx.ASGITransport(config.loaded_app, client=(address, 40_000))
        async with httpx.AsyncClient(transport=transport, base_url="http://store.test") as http:
            return (await Door(http, "/graphql").send(ONE, x_forwarded_for=forwarded)).status_code

    stranger = [await from_("198.51.100.1", f"203.0.113.{number}") for number in range(4)]
    assert stranger == [200, 200, 429, 429]
    assert await from_("10.0.0.1", "203.0.113.1") == 200
    claimed = [await from_("10.0.0.1", f"203.0.113.{number}, 203.0.113.99, 10.0.0.2") for number in range(4)]
    assert claimed == [200, 200, 429, 429]


async def test_when_redis_is_killed_reading_goes_on_and_guessing_stays_limited(
    deps: Deps, member_token: Tokens
) -> None:
    mine, yours = await member_token(), await member_token()
    rates = replace(
        OPEN,
        member=requests_of(2),
        paces={
            "checkIn": Pace(caller=Limit("caller", 2, DAY), kept_alone=True),
            "orderCancel": Pace(caller=Limit("caller", 2, DAY)),
        },
    )
    with started(Form.STANDALONE) as running:
        redis = connect(running.url)
        alone = replace(deps, redis=redis)
        async with shop_with(alone, rates) as shop:
            assert await statuses(shop, mine, 4) == [200, 200, 429, 429]
    async with shop_with(alone, rates) as shop:
        assert await statuses(shop, mine, 8) == [200] * 8
        assert await statuses(shop, mine, 4, CHECK_IN) == [200, 200, 429, 429]
        assert await statuses(shop, yours, 1, CHECK_IN) == [200]
        cancel = f'mutation {{ orderCancel(orderId: "{mine.subject_id}") {{ __typename }} }}'
        assert await statuses(shop, mine, 4, cancel) == [200] * 4
    await redis.aclose()


async def test_a_limit_of_a_verb_says_when_to_come_again_too(deps: Deps) -> None:
    document = 'mutation { operatorLogin(login: "nobody", password: "not the password") { __typename } }'
    transport = httpx.ASGITransport(doors_app(deps, rates=Rates()), client=("203.0.113.7", 40_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://store.test") as http:
        admin = Door(http, "/admin/graphql")
        answers = [await admin.send(document) for _ in range(6)]
    (error,) = answers[-1].json()["errors"]
    assert error["extensions"]["code"] == "RATE_LIMITED"
    assert answers[-1].status_code == 200
    assert answers[-1].headers["retry-after"] == str(error["extensions"]["retryAfterS"])
    assert "retry-after" not in answers[0].headers


def test_limits_change_by_name_and_unknown_names_are_refused() -> None:
    changed = Rates().changed({"checkIn": (5, DAY), "orderPlace": None})
    assert changed.paces["checkIn"].caller == Limit("caller", 5, DAY)
    assert changed.paces["orderPlace"].caller is None
    assert changed.paces["orderPlace"].device == PACES["orderPlace"].device
    assert changed.paces["orderPay"] == PACES["orderPay"]
    with pytest.raises(ValueError, match="chekIn"):
        Rates().changed({"chekIn": (5, DAY)})


def test_a_budget_of_none_is_no_limit() -> None:
    assert budget(0, 1_000) is None
    assert budget(60_000, 1_000) == Limit("budget", 60_000, timedelta(milliseconds=1))


def test_every_limited_operation_is_there_and_on_the_page() -> None:
    names: set[str] = set()
    for schema in (shop_schema(), operator_schema()):
        for root in (schema._schema.query_type, schema._schema.mutation_type):
            assert root is not None
            names |= root.fields.keys()
    assert PACES.keys() <= names
    page = PAGE.read_text(encoding="utf-8")
    assert {name for name in PACES if f"`{name}`" not in page} == set()
