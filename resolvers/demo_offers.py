"""What the store to try out does beyond its shelves: shipping, a place to pick up, promotions, coupons, and what is on
for some days only. Made by the verbs that operators use.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from loyalty.coupons.coupon_terms import CouponKind
from loyalty.coupons.newcomer_pack import NewcomerPack, PackItem
from loyalty.delivery.pick_up import PickUpPlace
from loyalty.delivery.shipping import Rate, RegionRate, ShippingTerms
from loyalty.flash_sales.flash_sale import FlashSaleState
from loyalty.group_buys.group_buy import GroupBuyState, GroupTerms
from loyalty.prices.promotion_terms import OffStep, PromotionKind, PromotionScope, PromotionTerms
from loyalty.programme import Definition
from loyalty.refusal import Refusal
from loyalty.shop_time import business_day, day_start
from models.catalogue.catalogue import Sku
from models.delivery.shipping import ShippingTemplate
from models.flash_sales.flash_sale import FlashSale
from models.group_buys.group_buy import GroupBuy
from resolvers import programme
from resolvers.coupons import coupon_template
from resolvers.coupons.coupon_template import NewTemplate
from resolvers.delivery import pick_up_point, shipping
from resolvers.deps import Deps
from resolvers.flash_sales import flash_session
from resolvers.flash_sales.flash_session import ItemWish as FlashWish
from resolvers.flash_sales.flash_session import NewSale
from resolvers.group_buys import group_campaign
from resolvers.group_buys.group_campaign import ItemWish as GroupWish
from resolvers.prices import promotion
from resolvers.prices.promotion import NewPromotion
from resolvers.programme import ProgrammeKind

log = structlog.get_logger(__name__)

EXPRESS = "tea_house_express"
"""The code of the shipping template, by which the store is known to be the tea house."""

SHIPPING = ShippingTerms(
    regions=(
        RegionRate(
            codes=("31", "32", "33"),
            rate=Rate(first_fen=800, further_fen=100, free_from_fen=9_900),
        ),
        RegionRate(codes=("54", "65"), rate=Rate(first_fen=2_000, further_fen=500)),
    ),
    otherwise=Rate(first_fen=1_200, further_fen=200, free_from_fen=19_900),
    undelivered=("71", "81", "82"),
)
PICK_UP = PickUpPlace(
    name="有礼茶馆·西湖店",
    address="浙江省杭州市西湖区龙井路 1 号",
    opening_hours="每日 9:00–21:00",
    phone="0571-87970000",
)
STEPS = PromotionTerms(
    kind=PromotionKind.AMOUNT_OFF,
    steps=(OffStep(threshold_fen=20_000, off_fen=2_000), OffStep(threshold_fen=40_000, off_fen=5_000)),
)
NEWCOMER_SKU, NEWCOMER_PRICE_FEN = "GHG-6", 990
COUPONS: tuple[tuple[str, str, bool, Definition], ...] = (
    (
        "tea_house_welcome",
        "新人券：满 100 减 10",
        False,
        {
            "kind": CouponKind.AMOUNT,
            "amount_fen": 1_000,
            "threshold_fen": 10_000,
            "valid_days": 30,
            "combines_with": ["shipping"],
            "gift_limit": 0,
        },
    ),
    (
        "tea_house_free_shipping",
        "包邮券：最多抵 20 元运费",
        True,
        {
            "kind": CouponKind.SHIPPING,
            "cap_fen": 2_000,
            "valid_days": 30,
            "group": "shipping",
            "combines_with": ["standard"],
            "member_limit": 1,
            "gift_limit": 0,
        },
    ),
    (
        "tea_house_friend",
        "请友喝茶：9 折，最多减 30 元，可转赠",
        True,
        {
            "kind": CouponKind.PERCENT,
            "discount_bp": 1_000,
            "cap_fen": 3_000,
            "valid_days": 14,
            "combines_with": ["shipping"],
            "member_limit": 1,
            "gift_limit": 1,
        },
    ),
)
PACK = NewcomerPack(
    items=(
        PackItem(template_code="tea_house_welcome", count=1),
        PackItem(template_code="tea_house_free_shipping", count=1),
    )
)
LAST_KEY = "demo:programme:newcomer_pack"


@dataclass(frozen=True, slots=True, kw_only=True)
class FlashOffer:
    """A flash sale of one item."""

    title: str
    sku_code: str
    price_fen: int
    stock: int
    member_limit: int


NOW_ON = FlashOffer(title="今日秒杀", sku_code="GHG-6", price_fen=1_490, stock=100, member_limit=2)
COMING = FlashOffer(title="整点秒杀", sku_code="LX-WHITE", price_fen=9_900, stock=10, member_limit=1)
TEAM_SKU, TEAM_SIZES, TEAM_PRICES_FEN = "LDG-8", (2, 3), (2_500, 2_200)


async def make(deps: Deps, operator_id: UUID) -> None:
    """Everything that stays on. Each step has a key of its own: what was cut off is finished by the next call."""
    await shipping.create(
        deps,
        operator_id=operator_id,
        code=EXPRESS,
        title="普通快递",
        terms=SHIPPING.definition(),
        is_default=True,
        idempotency_key="demo:shipping",
    )
    await pick_up_point.create(deps, operator_id=operator_id, place=PICK_UP, idempotency_key="demo:pick-up")
    newcomers = await Sku.get(code=NEWCOMER_SKU)
    price = PromotionTerms(
        kind=PromotionKind.NEWCOMER,
        scope=PromotionScope(sku_ids=frozenset({newcomers.id})),
        price_fen=NEWCOMER_PRICE_FEN,
        newcomers_only=True,
        member_limit=1,
    )
    await _promote(deps, operator_id, "tea_house_steps", "满 200 减 20，满 400 减 50", STEPS)
    await _promote(deps, operator_id, "tea_house_newcomer", "新人尝鲜：桂花糕 9.9 元", price)
    for code, title, claimable, terms in COUPONS:
        template = await coupon_template.create(
            deps,
            operator_id=operator_id,
            template=NewTemplate(code=code, title=title, claimable=claimable, terms=terms),
            idempotency_key=f"demo:coupon:{code}",
        )
        await coupon_template.publish(
            deps, operator_id=operator_id, template_id=template.id, idempotency_key=f"demo:published:{code}"
        )
    await programme.publish(
        deps,
        operator_id=operator_id,
        kind=ProgrammeKind.NEWCOMER_PACK,
        definition=PACK.definition(),
        effective_at=None,
        note="示例店铺",
        idempotency_key=LAST_KEY,
    )


async def renew(deps: Deps, operator_id: UUID) -> None:
    """In the tea house, let there be a flash sale that is open, one that comes, and a group-buy.

    Their windows begin with the day of the shop, so that what a start was cut off in is finished by the next. A store
    in which they cannot be any more, such as for want of stock, goes without.
    """
    if not await ShippingTemplate.exists(code=EXPRESS):
        return
    now = deps.clock.now()
    today = business_day(now, deps.zone)
    begin = day_start(today, deps.zone)
    tomorrow = day_start(today + timedelta(days=1), deps.zone)
    sales = FlashSale.filter(state=FlashSaleState.PUBLISHED)
    try:
        if not await sales.filter(opens_at__lte=now, closes_at__gt=now).exists():
            await _flash(deps, operator_id, NOW_ON, begin, tomorrow + timedelta(days=1))
        if not await sales.filter(opens_at__gt=now).exists():
            await _flash(deps, operator_id, COMING, tomorrow + timedelta(hours=20), tomorrow + timedelta(hours=22))
        if not await GroupBuy.filter(state=GroupBuyState.PUBLISHED, closes_at__gt=now).exists():
            await _group(deps, operator_id, begin)
    except Refusal as refused:
        log.info("the demo goes without a sale", reason=refused.code)


async def _promote(deps: Deps, operator_id: UUID, code: str, title: str, terms: PromotionTerms) -> None:
    wanted = NewPromotion(code=code, title=title, terms=terms.definition())
    made = await promotion.create(
        deps, operator_id=operator_id, promotion=wanted, idempotency_key=f"demo:promotion:{code}"
    )
    await promotion.publish(
        deps, operator_id=operator_id, promotion_id=made.id, idempotency_key=f"demo:published:{code}"
    )


async def _flash(
    deps: Deps,
    operator_id: UUID,
    offer: FlashOffer,
    opens_at: datetime,
    closes_at: datetime,
) -> None:
    sku = await Sku.get(code=offer.sku_code)
    item = FlashWish(sku_id=sku.id, price_fen=offer.price_fen, stock=offer.stock, member_limit=offer.member_limit)
    sale = NewSale(title=offer.title, opens_at=opens_at, closes_at=closes_at, claim_minutes=10, items=[item])
    key = f"demo:flash:{opens_at:%Y%m%d%H}"
    made = await flash_session.create(deps, operator_id=operator_id, sale=sale, idempotency_key=key)
    await flash_session.publish(deps, operator_id=operator_id, sale_id=made.id, idempotency_key=f"{key}:published")


async def _group(deps: Deps, operator_id: UUID, opens_at: datetime) -> None:
    sku = await Sku.get(code=TEAM_SKU)
    terms = GroupTerms(title="好友拼茶点", opens_at=opens_at, closes_at=opens_at + timedelta(days=90), sizes=TEAM_SIZES)
    item = GroupWish(sku_id=sku.id, prices_fen=TEAM_PRICES_FEN)
    key = f"demo:group:{opens_at:%Y%m%d%H}"
    made = await group_campaign.create(deps, operator_id=operator_id, terms=terms, items=[item], idempotency_key=key)
    await group_campaign.publish(
        deps, operator_id=operator_id, group_buy_id=made.id, idempotency_key=f"{key}:published"
    )
