"""A store of the last release, with rows in every table, brought to the newest migration: nothing is lost or broken."""

from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio
from tortoise.migrations.executor import MigrationTarget

from loyalty.coupons.coupon import CouponState
from loyalty.orders.order import OrderLine, OrderState
from loyalty.people.rights import Role
from models import declared, engine
from models.coupons.coupon import Coupon
from models.engine import rows
from models.ids import new_secret
from models.orders.order import Order
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.invariants.verify import verify
from resolvers.orders import order
from resolvers.orders.order_price import CouponWish
from resolvers.payments import payment, refund
from tests.conftest import make_database
from tests.doors import make_operator
from tests.sandbox_server import SandboxControl
from tests.shelf import put_on_shelf
from tests.store_server import reachable

pytestmark = pytest.mark.xdist_group("upgrade")
RELEASED = "0002_constraints"
ROWS = Path(__file__).with_name("released_rows.sql")
PAID_ORDER = UUID("01a11484-b988-741c-a874-57b20a59cf3d")
UNPAID_ORDER = UUID("01a1f341-9948-77e1-8041-a2e334044f5b")
UNUSED_COUPON = UUID("01a1f341-9948-77de-894a-40dc21b0bcb0")
UPGRADED_AT = datetime(2026, 11, 19, 10, 5, tzinfo=UTC)

TABLES = (
    "SELECT relname AS name FROM pg_class WHERE relkind = 'r' "
    "AND relnamespace = current_schema()::regnamespace AND relname <> 'tortoise_migrations' ORDER BY 1"
)
FILES = (
    "SELECT relname AS name, relfilenode::bigint AS file FROM pg_class WHERE relkind = 'r' "
    "AND relnamespace = current_schema()::regnamespace ORDER BY 1"
)


async def migrate_to_the_release() -> None:
    await engine._executor().migrate([MigrationTarget("store", RELEASED)])


async def counts() -> dict[str, int]:
    names = [row["name"] for row in await rows(TABLES)]
    counted = " UNION ALL ".join(f"SELECT '{name}' AS name, count(*)::int AS many FROM \"{name}\"" for name in names)
    return {row["name"]: row["many"] for row in await rows(counted)}


async def files() -> dict[str, int]:
    """The file in which each table lies: another one after a rewrite."""
    return {row["name"]: row["file"] for row in await rows(FILES)}


Before = tuple[str, dict[str, int], dict[str, int]]


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def before_upgrade(postgres_url: str, worker_id: str) -> Before:
    """A store of the release with its rows, upgraded; and how many rows each table had before, and in which file."""
    url = await make_database(postgres_url, f"youli_upgraded_{worker_id}")
    async with engine.database(url, pool_size=2):
        await migrate_to_the_release()
        connection = await asyncpg.connect(url)
        await connection.execute(ROWS.read_text())
        await connection.close()
        before, lay_in = await counts(), await files()
        await engine.migrate()
    return url, before, lay_in


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def store_url(before_upgrade: Before) -> str:
    """The upgraded store."""
    return before_upgrade[0]


@pytest.fixture
def clock() -> SetClock:
    """A few minutes after the last thing that happened before the upgrade."""
    return SetClock(UPGRADED_AT)


async def known_to_wechat(deps: Deps, wechat: SandboxControl, order_id: UUID, *, paid: bool) -> str:
    """Tell a fresh sandbox what WeChat knew before the upgrade; the number of the attempt."""
    found = (await rows("SELECT * FROM payment_attempt WHERE order_id = $1", [order_id]))[0]
    await wechat.openid(openid=found["openid"])
    if paid:
        await deps.pay.prepay(
            out_trade_no=found["out_trade_no"],
            description="订单",
            total_fen=found["total_fen"],
            openid=found["openid"],
            notify_url="http://127.0.0.1:9/nobody",
            time_expire=UPGRADED_AT.replace(hour=12),
        )
        await wechat.pay(found["out_trade_no"])
    return str(found["out_trade_no"])


async def broken() -> dict[str, object]:
    return {found.invariant.name: found.offenders for found in await verify() if found.offenders}


async def test_every_row_is_there_and_every_promise_in_force(store: None, before_upgrade: Before) -> None:
    before, after = before_upgrade[1], await counts()
    assert {name for name, many in before.items() if not many} == set(), "the release has rows in every table"
    assert {name: after[name] for name in before} == before
    assert await engine.pending_migrations() == []
    assert await declared.problems() == []
    assert await broken() == {}


async def test_no_table_is_written_anew(store: None, before_upgrade: Before) -> None:
    after = await files()
    assert [name for name, file in before_upgrade[2].items() if after[name] != file] == []


async def test_an_order_paid_before_is_refunded_after(deps: Deps, wechat: SandboxControl) -> None:
    async with reachable(deps) as reached:
        await known_to_wechat(reached, wechat, PAID_ORDER, paid=True)
        boss = await make_operator(deps, Role.OWNER)
        await refund.refund_order(
            reached, operator_id=boss.id, order_id=PAID_ORDER, reason="不想要了", idempotency_key=new_secret(12)
        )
        await wechat.settle()
    assert (await Order.get(id=PAID_ORDER)).state == OrderState.REFUNDED
    assert await broken() == {}


async def test_an_order_placed_before_is_paid_after_with_its_coupon_and_points(
    deps: Deps, wechat: SandboxControl
) -> None:
    placed = await Order.get(id=UNPAID_ORDER)
    assert placed.coupon_fen, "it holds a coupon"
    assert placed.points_used, "it holds points"
    async with reachable(deps) as reached:
        await known_to_wechat(reached, wechat, UNPAID_ORDER, paid=False)
        await wechat.request_payment(await payment.pay(reached, member_id=placed.member_id, order_id=UNPAID_ORDER))
        await wechat.settle()
    assert (await Order.get(id=UNPAID_ORDER)).state == OrderState.PAID
    assert [one.state for one in await Coupon.filter(order_id=UNPAID_ORDER)] == [CouponState.USED]
    assert await broken() == {}


async def test_a_coupon_given_before_is_used_after(deps: Deps) -> None:
    kept = await Coupon.get(id=UNUSED_COUPON)
    assert kept.state == CouponState.ISSUED
    await order.place(
        deps,
        member_id=kept.member_id,
        lines=[OrderLine(sku_id=await put_on_shelf(deps), quantity=1)],
        points_wanted=0,
        expected_fen=None,
        remark="",
        coupons=CouponWish(ids=(kept.id,)),
        idempotency_key=new_secret(12),
    )
    assert (await Coupon.get(id=UNUSED_COUPON)).state == CouponState.RESERVED
    assert await broken() == {}
