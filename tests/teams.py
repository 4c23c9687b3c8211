"""Group-buys for tests: a published campaign, and members who open and join teams of it."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from loyalty.group_buys.group_buy import Fallback, GroupTerms
from models.engine import rows
from models.group_buys.group_buy import GroupItem, GroupSeat, GroupTeam
from models.ids import new_secret
from models.orders.order import Order
from resolvers.deps import Deps
from resolvers.group_buys import group_buy, group_campaign
from resolvers.group_buys.group_buy import Wish
from resolvers.group_buys.group_campaign import ItemWish
from resolvers.payments import payment
from tests.doors import make_member, make_operator
from tests.sandbox_server import SandboxControl
from tests.shelf import put_on_shelf


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """A published campaign with one item."""

    id: UUID
    item_id: UUID
    sku_id: UUID


async def campaign(
    deps: Deps,
    *,
    sizes: tuple[int, ...] = (3,),
    prices: tuple[int, ...] = (8_000,),
    stock: int = 100,
    sku_id: UUID | None = None,
    **changed: Any,
) -> Campaign:
    """A campaign that runs from now on for a week; unless one is given, its SKU costs 10,000 fen."""
    boss = await make_operator(deps)
    sku_id = sku_id or await put_on_shelf(deps, price_fen=10_000, stock_left=stock)
    now = deps.clock.now()
    terms = GroupTerms(title="拼团", opens_at=now, closes_at=now + timedelta(days=7), sizes=sizes, **changed)
    items = [ItemWish(sku_id=sku_id, prices_fen=prices)]
    made = await group_campaign.create(
        deps, operator_id=boss.id, terms=terms, items=items, idempotency_key=new_secret(12)
    )
    await group_campaign.publish(deps, operator_id=boss.id, group_buy_id=made.id, idempotency_key=new_secret(12))
    return Campaign(id=made.id, item_id=(await GroupItem.get(group_buy_id=made.id)).id, sku_id=sku_id)


async def payer(deps: Deps, wechat: SandboxControl) -> UUID:
    """A new member who can pay."""
    return (await make_member(deps, openid=await wechat.openid())).id


async def pay(deps: Deps, wechat: SandboxControl, one: Order) -> None:
    """Pay an order in WeChat and wait for the notice."""
    await wechat.request_payment(await payment.pay(deps, member_id=one.member_id, order_id=one.id))
    await wechat.settle()


async def open_order(deps: Deps, sale: Campaign, member_id: UUID, *, size: int = 3) -> Order:
    """The unpaid order of a new team's leader."""
    return await group_buy.open_team(
        deps, member_id=member_id, size=size, wish=Wish(item_id=sale.item_id), idempotency_key=new_secret(12)
    )


async def open_team(deps: Deps, wechat: SandboxControl, sale: Campaign, *, size: int = 3) -> GroupTeam:
    """A team whose leader has paid."""
    one = await open_order(deps, sale, await payer(deps, wechat), size=size)
    await pay(deps, wechat, one)
    return await team_of(one)


async def join_order(
    deps: Deps, sale: Campaign, team: GroupTeam, member_id: UUID, fallback: Fallback = Fallback.REFUND
) -> Order:
    """The unpaid order of a joiner."""
    return await group_buy.join(
        deps,
        member_id=member_id,
        token=team.token,
        fallback=fallback,
        wish=Wish(item_id=sale.item_id),
        idempotency_key=new_secret(12),
    )


async def joined(
    deps: Deps, wechat: SandboxControl, sale: Campaign, team: GroupTeam, fallback: Fallback = Fallback.REFUND
) -> Order:
    """The paid order of a new member who joined."""
    one = await join_order(deps, sale, team, await payer(deps, wechat), fallback)
    await pay(deps, wechat, one)
    return await Order.get(id=one.id)


async def team_of(one: Order) -> GroupTeam:
    """The team that an order is in."""
    return await GroupTeam.get(id=(await GroupSeat.get(order_id=one.id)).team_id)


async def stock_left(sku_id: UUID) -> int:
    """What is left of a SKU."""
    return int((await rows("SELECT stock_left FROM sku WHERE id = $1", [sku_id]))[0]["stock_left"])
