"""The members of the demo, signed in as the mini-program would do it, and what there is to try with a token."""

from datetime import timedelta
from uuid import UUID

import httpx
import structlog

from loyalty.group_buys.group_buy import GroupBuyState, TeamState
from loyalty.people.address import Contact, Region
from loyalty.refusal import Refusal
from models.delivery.fulfilment import PickUpPoint
from models.group_buys.group_buy import GroupBuy, GroupItem, GroupTeam
from models.ids import new_secret
from models.people.member import Member
from resolvers.deps import Deps
from resolvers.group_buys import group_buy
from resolvers.group_buys.group_buy import Wish
from resolvers.orders.order_delivery import DeliveryWish
from resolvers.payments import payment
from resolvers.people import address, member, session
from resolvers.people.address import AddressWish

log = structlog.get_logger(__name__)

OPENID, FRIEND_OPENID = "o-demo-member", "o-demo-friend"
HOME = AddressWish(
    contact=Contact(recipient="林小青", phone="13800138000", street="文三路 90 号 2 幢 301"),
    region=Region(code="330106", province="浙江省", city="杭州市", district="西湖区"),
    label="家",
)
STILL_OPEN = timedelta(hours=1)
"""A team that ends sooner is no more to be joined for a visitor who has just come."""

TRY = (
    "{ products(first: 3) { nodes { title priceFrom yourPriceFrom skus { id title stockLeft } } } }",
    "{ memberHome { tier { level { name } growthValue missing } points { available } checkIn { done streakDays } } }",
    'mutation { checkIn(idempotencyKey: "my-first-day") { __typename ... on Refusal { code message } } }',
    "{ flashSales { nodes { title opensForYouAt closesAt items { id productTitle price listPrice left } } } }",
    "{ groupBuys { nodes { id title items { id productTitle prices { size price } } } } addresses { id city street } }",
    "{ promotions { title } couponOffers { nodes { id title yours } } coupons { nodes { id title } } }",
)


async def settle_in(deps: Deps, *, platform_url: str) -> str:
    """A fresh access token of the demo member, who has an address, and whose friend has opened a team to join."""
    async with httpx.AsyncClient(base_url=f"{platform_url}/_sandbox", trust_env=False, timeout=30.0) as sandbox:
        friend, _ = await _signed_in(deps, sandbox, FRIEND_OPENID, "阿茶")
        visitor, token = await _signed_in(deps, sandbox, OPENID, "小青")
        if not await address.addresses(deps, member_id=visitor.id):
            await address.create(
                deps, member_id=visitor.id, wish=HOME, make_default=True, idempotency_key="demo-address"
            )
        await _open_a_team(deps, sandbox, friend.id)
    return token


async def _signed_in(deps: Deps, sandbox: httpx.AsyncClient, openid: str, nickname: str) -> tuple[Member, str]:
    """The member and an access token: the sandbox gives the code that ``wx.login`` would give."""
    answer = await sandbox.post("/login_codes", json={"openid": openid})
    answer.raise_for_status()
    signed_in = await session.login(deps, code=answer.json()["code"], client_ip="127.0.0.1")
    if not signed_in.member.nickname:
        await member.update(
            deps,
            member_id=signed_in.member.id,
            nickname=nickname,
            avatar_url=None,
            idempotency_key="demo-nickname",
        )
    return signed_in.member, signed_in.tokens.access_token


async def _open_a_team(deps: Deps, sandbox: httpx.AsyncClient, friend_id: UUID) -> None:
    """Let the friend lead an open team that waits for others, paid and to be picked up."""
    now = deps.clock.now()
    running = GroupBuy.filter(state=GroupBuyState.PUBLISHED, opens_at__lte=now, closes_at__gt=now)
    campaign = await running.order_by("id").first()
    point = await PickUpPoint.filter(is_hidden=False).order_by("id").first()
    if campaign is None or point is None:
        return
    teams = GroupTeam.filter(group_buy_id=campaign.id, state=TeamState.OPEN, ends_at__gt=now + STILL_OPEN)
    if await teams.exists():
        return
    item = await GroupItem.filter(group_buy_id=campaign.id).order_by("position").first()
    assert item is not None, "a campaign sells something"
    wish = Wish(item_id=item.id, delivery=DeliveryWish(pick_up_point_id=point.id))
    try:
        order = await group_buy.open_team(
            deps, member_id=friend_id, size=campaign.sizes[0], wish=wish, idempotency_key=new_secret(12)
        )
        asked = await payment.pay(deps, member_id=friend_id, order_id=order.id)
        paid = await sandbox.post(
            "/request_payment",
            json={
                "timeStamp": asked.time_stamp,
                "nonceStr": asked.nonce_str,
                "package": asked.package,
                "signType": asked.sign_type,
                "paySign": asked.pay_sign,
            },
        )
        paid.raise_for_status()
        await payment.confirm(deps, member_id=friend_id, order_id=order.id)
    except (Refusal, httpx.HTTPError) as error:
        log.info("the demo goes without a team", reason=type(error).__name__)
