"""However long a page is, it takes the same number of SQL statements: every list of both schemas, read from them."""

from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest_asyncio
from graphql import get_named_type

from loyalty.delivery.pick_up import PickUpPlace
from loyalty.orders.order import OrderLine
from models.asyncpg_backend import SqlCount, sql_count
from models.engine import transaction
from models.ids import new_id, new_secret
from models.people.member import Member
from resolvers.catalogue import stock
from resolvers.delivery import pick_up_point
from resolvers.deps import Deps
from resolvers.orders import order
from resolvers.payments import refund
from resolvers.payments.exception_case import open_case
from resolvers.points import points_book
from resolvers.programme import ProgrammeKind
from tests.conftest import make_database
from tests.doors import Bearer, Door, make_member, make_operator
from tests.rulebook import LEVELS, buys, published, tiers
from tests.schema.asking import document, fields_of, read_schema
from tests.shelf import put_on_shelf
from tests.shelves import make_product

Tokens = Callable[..., Awaitable[Bearer]]
SIZES = (1, 10, 50)
COUNTED_WITH_THEIR_NOUN = {
    "afterSales",
    "couponOffers",
    "coupons",
    "couponTemplates",
    "couponTemplateVersions",
    "couponCodeBatches",
    "couponCodes",
    "couponGrants",
    "couponGifts",
    "couponTillUses",
    "priceChanges",
    "newcomerGrants",
    "newcomerPackVersions",
    "memberCoupons",
    "mallItems",
    "mallItemVersions",
    "mallStockEntries",
    "referralInvitees",
    "referralRewards",
    "referralReviews",
    "referralProgrammeVersions",
    "pointsExpiryNotices",
    "tierHistory",
    "tierOverlays",
    "whyLog",
    "promotions",
    "promotionVersions",
    "billRuns",
    "birthdayGifts",
    "shippingTemplates",
    "shippingTemplateVersions",
    "flashSales",
    "flashSaleWaits",
    "flashRehearsals",
    "groupBuys",
    "groupTeams",
    "myGroupSeats",
}
"""Lists that this store does not fill; the tests of their noun count their statements."""


class Filled:
    """A store in which every list below has a page of 50."""

    member_id: UUID
    sku_id: UUID


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(postgres_url: str, migrated_template: str, worker_id: str) -> str:
    """A store of its own, so that its lists hold what is put there."""
    return await make_database(postgres_url, f"youli_lists_{worker_id}", template=migrated_template)


@pytest_asyncio.fixture(loop_scope="session")
async def filled(deps: Deps) -> Filled:
    """Fifty of each."""
    made = Filled()
    member = await make_member(deps)
    boss = await make_operator(deps)
    made.member_id = member.id
    many = max(SIZES)
    await published(deps, ProgrammeKind.POINTS, {"redeem_cap_bp": 10_000})
    made.sku_id = await put_on_shelf(deps, price_fen=100, stock_left=1_000)
    for number in range(many):
        await points_book.adjust(
            deps,
            operator_id=boss.id,
            member_id=member.id,
            amount=1_000,
            reason="补发",
            idempotency_key=new_secret(12),
        )
        await make_product(deps)
        await pick_up_point.create(
            deps,
            operator_id=boss.id,
            place=PickUpPlace(name=f"{number} 号店", address="湖滨路 1 号"),
            idempotency_key=new_secret(12),
        )
        await make_member(deps)
        await published(deps, ProgrammeKind.POINTS, {"earn_points": 1 + number, "redeem_cap_bp": 10_000})
        await published(deps, ProgrammeKind.CHECK_IN, {"base_points": 1 + number})
        await tiers(deps, *({**level, "name": f"{level['name']}{number}"} for level in LEVELS))
        await buys(deps, member.id, new_id(deps.clock.now()), 5)
        await stock.adjust(
            deps, operator_id=boss.id, sku_id=made.sku_id, amount=1, reason="到货", idempotency_key=new_secret(12)
        )
        placed = await order.place(
            deps,
            member_id=member.id,
            lines=[OrderLine(sku_id=made.sku_id, quantity=1 + number % 3)],
            points_wanted=100 * (1 + number % 3),
            expected_fen=None,
            remark="",
            idempotency_key=new_secret(12),
        )
        if number % 2:
            await refund.refund_order(
                deps, operator_id=boss.id, order_id=placed.id, reason="退货", idempotency_key=new_secret(12)
            )
        async with transaction():
            await open_case(
                kind="unknown_order", key=new_secret(9), order_id=placed.id, details={}, now=deps.clock.now()
            )
    return made


async def test_a_list_takes_the_same_statements_for_1_10_and_50_rows(
    shop: Door, admin: Door, deps: Deps, filled: Filled, member_token: Tokens, operator_token: Tokens
) -> None:
    member, owner = await member_token(await Member.get(id=filled.member_id)), await operator_token()
    given = {"memberId": str(filled.member_id), "skuId": str(filled.sku_id)}
    uneven, short, tried = {}, {}, 0
    for door, token in ((shop, member), (admin, owner)):
        await door.ask("{ serverInfo { time } }", token=token)
        for name, field in fields_of(await read_schema(door), "query").items():
            if not get_named_type(field.type).name.endswith("Connection") or name in COUNTED_WITH_THEIR_NOUN:
                continue
            tried += 1
            text = document("query", name, field, depth=3)
            counts = {}
            for size in SIZES:
                variables = {"first": size} | {each: given[each] for each in field.args if each in given}
                counter = SqlCount()
                mark = sql_count.set(counter)
                data = await door.ask(text, variables, token=token)
                sql_count.reset(mark)
                counts[size] = counter.value
                if len(data[name]["nodes"]) != size:
                    short[f"{door.path} {name}"] = len(data[name]["nodes"])
            if len(set(counts.values())) != 1 or not counts[1]:
                uneven[f"{door.path} {name}"] = counts
    assert not short, f"fill them, or count them with their noun: {short}"
    assert not uneven, uneven
    assert tried >= 14
