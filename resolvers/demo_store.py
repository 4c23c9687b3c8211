"""A store to try out: a small tea house with four tiers of members, made by the verbs that operators use."""

from dataclasses import dataclass
from uuid import UUID

from loyalty.catalogue.catalogue import MediaKind
from loyalty.people.rights import Role
from loyalty.points.check_in import CheckInProgramme, CheckInReward, MakeUpTerms, ProtectionTerms, RewardKind
from loyalty.points.points import PointsProgramme
from loyalty.tiers.tier import TierLevel, TierTable
from loyalty.tiers.tier_benefit import Benefit, BenefitKind
from models.catalogue.catalogue import Product
from models.idempotency import IdempotencyRecord
from models.people.operator import Operator
from resolvers import demo_offers, programme
from resolvers.catalogue import category, product
from resolvers.catalogue.product import Medium, NewSku
from resolvers.deps import Deps
from resolvers.programme import ProgrammeKind

PICTURES = "https://img.example.com/tea-house"

TIERS = TierTable(
    levels=(
        TierLevel(code="member", name="普通", threshold=0),
        TierLevel(
            code="silver",
            name="银卡",
            threshold=200,
            discount_bp=200,
            points_multiplier_bp=12_000,
            keep_months=12,
            keep_threshold=100,
            benefits=(Benefit(kind=BenefitKind.FREE_SHIPPING, figure=9_900),),
        ),
        TierLevel(
            code="gold",
            name="金卡",
            threshold=1_000,
            discount_bp=500,
            points_multiplier_bp=15_000,
            keep_months=12,
            keep_threshold=500,
            benefits=(
                Benefit(kind=BenefitKind.FREE_SHIPPING),
                Benefit(kind=BenefitKind.BIRTHDAY_GIFT, figure=500),
            ),
        ),
        TierLevel(
            code="black",
            name="黑金",
            threshold=5_000,
            discount_bp=1_000,
            points_multiplier_bp=20_000,
            keep_months=12,
            keep_threshold=2_500,
            benefits=(
                Benefit(kind=BenefitKind.FREE_SHIPPING),
                Benefit(kind=BenefitKind.BIRTHDAY_GIFT, figure=2_000),
                Benefit(kind=BenefitKind.EARLY_ACCESS, figure=30),
                Benefit(kind=BenefitKind.EVENT_ACCESS),
            ),
        ),
    ),
    grace_days=7,
)
POINTS = PointsProgramme(
    earn_points=1, earn_per_fen=100, redeem_step_points=100, redeem_step_fen=100, redeem_min_points=100
)
CHECK_IN = CheckInProgramme(
    base_points=5,
    cycle_days=7,
    cycle_rewards=(
        CheckInReward(kind=RewardKind.CYCLE, days=3, points=10),
        CheckInReward(kind=RewardKind.CYCLE, days=7, points=30, growth=20),
    ),
    streak_rewards=(
        CheckInReward(kind=RewardKind.STREAK, days=7, points=50),
        CheckInReward(kind=RewardKind.STREAK, days=30, points=300),
    ),
    cumulative_rewards=(CheckInReward(kind=RewardKind.CUMULATIVE, days=100, points=1_000),),
    make_up=MakeUpTerms(window_days=7, monthly_limit=3, price_points=20, pays_day=True),
    protection=ProtectionTerms(gap_days=1, monthly_limit=1),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Good:
    """One product, by the name of its pictures."""

    name: str
    title: str
    subtitle: str
    skus: tuple[NewSku, ...]


def _sku(
    code: str, title: str, price_fen: int, member_price_fen: int | None, stock: int, limit: int | None = None
) -> NewSku:
    return NewSku(
        code=code,
        title=title,
        price_fen=price_fen,
        member_price_fen=member_price_fen,
        stock=stock,
        purchase_limit=limit,
    )


SHELVES: dict[str, dict[str, tuple[Good, ...]]] = {
    "茗茶": {
        "绿茶": (
            Good(
                name="longjing",
                title="明前龙井",
                subtitle="西湖产区，手工炒制",
                skus=(_sku("LJ-50", "50 克", 12_800, 11_800, 200), _sku("LJ-250", "250 克礼盒", 59_800, 54_800, 60)),
            ),
            Good(
                name="biluochun",
                title="洞庭碧螺春",
                subtitle="卷曲如螺，花果香",
                skus=(_sku("BLC-50", "50 克", 9_800, 8_800, 180),),
            ),
        ),
        "乌龙茶": (
            Good(
                name="tieguanyin",
                title="安溪铁观音",
                subtitle="清香型，兰花香",
                skus=(_sku("TGY-100", "100 克", 8_800, 7_900, 300), _sku("TGY-250", "250 克", 19_800, 17_900, 120)),
            ),
            Good(
                name="dahongpao",
                title="武夷大红袍",
                subtitle="岩骨花香，足火焙制",
                skus=(_sku("DHP-100", "100 克", 16_800, 15_200, 90),),
            ),
        ),
        "红茶": (
            Good(
                name="jinjunmei",
                title="桐木关金骏眉",
                subtitle="蜜香，芽头制作",
                skus=(_sku("JJM-50", "50 克", 19_900, 17_900, 100),),
            ),
        ),
        "普洱": (
            Good(
                name="puer",
                title="老树普洱",
                subtitle="2018 年熟茶，每人限购两饼",
                skus=(_sku("PE-357", "357 克一饼", 29_900, None, 80, limit=2),),
            ),
        ),
    },
    "茶器": {
        "盖碗与壶": (
            Good(
                name="gaiwan",
                title="白瓷盖碗",
                subtitle="德化白瓷，150 毫升",
                skus=(_sku("GW-150", "单只", 6_900, 6_200, 150),),
            ),
            Good(
                name="teapot",
                title="紫砂壶",
                subtitle="宜兴紫泥，全手工，每人限购一把",
                skus=(_sku("ZSH-200", "200 毫升", 128_000, 118_000, 20, limit=1),),
            ),
        ),
        "杯具": (
            Good(
                name="cup",
                title="建盏品茗杯",
                subtitle="铁胎兔毫，已售罄，敬请期待",
                skus=(_sku("JZ-60", "60 毫升", 15_800, 14_200, 0),),
            ),
            Good(
                name="travel-set",
                title="便携旅行茶具",
                subtitle="一壶两杯，硬壳收纳包",
                skus=(_sku("LX-BLUE", "天青", 16_900, None, 75), _sku("LX-WHITE", "象牙白", 16_900, None, 75)),
            ),
        ),
    },
    "茶点": {
        "糕点": (
            Good(
                name="osmanthus-cake",
                title="桂花糕",
                subtitle="当日现做，六枚装",
                skus=(_sku("GHG-6", "六枚", 2_900, 2_600, 500),),
            ),
            Good(
                name="mung-bean-cake",
                title="绿豆冰糕",
                subtitle="低糖，八枚装",
                skus=(_sku("LDG-8", "八枚", 3_200, 2_900, 400),),
            ),
        ),
    },
}
_FIRST_KEY = "demo:programme:tier"


async def fill(deps: Deps) -> bool:
    """Fill an empty store, in the name of its first owner. Returns whether anything was missing.

    Each step has a key of its own, so what was cut off is finished by the next call; a store that somebody else has
    begun to fill is left alone.
    """
    owner = await _owner()
    begun = await IdempotencyRecord.exists(subject_id=owner.id, key=_FIRST_KEY)
    if await IdempotencyRecord.exists(subject_id=owner.id, key=demo_offers.LAST_KEY):
        return False
    if not begun and await Product.exists():
        return False
    await _publish_programmes(deps, owner.id)
    for position, (shelf, under) in enumerate(SHELVES.items()):
        top_id = await _category(deps, owner.id, shelf, None, position)
        for place, (name, goods) in enumerate(under.items()):
            category_id = await _category(deps, owner.id, name, top_id, place)
            for good in goods:
                await _put_on_sale(deps, owner.id, good, category_id)
    await demo_offers.make(deps, owner.id)
    return True


async def renew(deps: Deps) -> None:
    """What is on for some days only is on again, if this is the tea house."""
    await demo_offers.renew(deps, (await _owner()).id)


async def _owner() -> Operator:
    owner = await Operator.filter(role=Role.OWNER, disabled_at=None).order_by("id").first()
    assert owner is not None, "a store has an owner before it has goods"
    return owner


async def _publish_programmes(deps: Deps, operator_id: UUID) -> None:
    for kind, rules in (
        (ProgrammeKind.TIER, TIERS),
        (ProgrammeKind.POINTS, POINTS),
        (ProgrammeKind.CHECK_IN, CHECK_IN),
    ):
        await programme.publish(
            deps,
            operator_id=operator_id,
            kind=kind,
            definition=rules.definition(),
            effective_at=None,
            note="示例店铺",
            idempotency_key=f"demo:programme:{kind}",
        )


async def _category(deps: Deps, operator_id: UUID, name: str, parent_id: UUID | None, position: int) -> UUID:
    place = position if parent_id is None else f"{parent_id.hex}:{position}"
    made = await category.create(
        deps,
        operator_id=operator_id,
        name=name,
        parent_id=parent_id,
        position=position,
        idempotency_key=f"demo:category:{place}",
    )
    return made.id


async def _put_on_sale(deps: Deps, operator_id: UUID, good: Good, category_id: UUID) -> None:
    made = await product.create(
        deps,
        operator_id=operator_id,
        title=good.title,
        subtitle=good.subtitle,
        description=f"{good.title}，{good.subtitle}。",
        category_id=category_id,
        media=[Medium(kind=MediaKind.IMAGE, url=f"{PICTURES}/{good.name}-{number}.jpg") for number in (1, 2)],
        skus=good.skus,
        idempotency_key=f"demo:product:{good.name}",
    )
    await product.publish(
        deps, operator_id=operator_id, product_id=made.id, idempotency_key=f"demo:published:{good.name}"
    )
