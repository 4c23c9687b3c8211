"""What stands on the shelves of a store that is tried out: a small tea house with four tiers of members."""

from dataclasses import dataclass

from loyalty.catalogue import MediaKind
from loyalty.points import PointsProgramme
from loyalty.tier import TierLevel, TierTable
from models.catalogue import Category
from models.operator import Operator
from resolvers import category, product, programme
from resolvers.deps import Deps
from resolvers.product import Medium, NewSku
from resolvers.programme import ProgrammeKind

PICTURES = "https://img.example.com/tea-house"


@dataclass(frozen=True, slots=True, kw_only=True)
class Good:
    """One product of the demo and its SKUs."""

    shelf: str
    code: str
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


SHELVES = ("茗茶", "茶器", "茶点")
GOODS = (
    Good(
        shelf="茗茶",
        code="longjing",
        title="明前龙井",
        subtitle="西湖产区，手工炒制",
        skus=(_sku("LJ-50", "50 克", 12_800, 11_800, 200), _sku("LJ-250", "250 克礼盒", 59_800, 54_800, 60)),
    ),
    Good(
        shelf="茗茶",
        code="tieguanyin",
        title="安溪铁观音",
        subtitle="清香型，兰花香",
        skus=(_sku("TGY-100", "100 克", 8_800, 7_900, 300),),
    ),
    Good(
        shelf="茗茶",
        code="puer",
        title="老树普洱",
        subtitle="2018 年熟茶，每人限购两饼",
        skus=(_sku("PE-357", "357 克一饼", 29_900, None, 80, limit=2),),
    ),
    Good(
        shelf="茶器",
        code="gaiwan",
        title="白瓷盖碗",
        subtitle="德化白瓷，150 毫升",
        skus=(_sku("GW-150", "单只", 6_900, 6_200, 150),),
    ),
    Good(
        shelf="茶器",
        code="kettle",
        title="紫砂壶",
        subtitle="宜兴紫泥，全手工",
        skus=(_sku("ZSH-200", "200 毫升", 128_000, 118_000, 20, limit=1),),
    ),
    Good(
        shelf="茶点",
        code="osmanthus-cake",
        title="桂花糕",
        subtitle="当日现做，六枚装",
        skus=(_sku("GHG-6", "六枚", 2_900, 2_600, 500),),
    ),
)
TIERS = TierTable(
    levels=(
        TierLevel(code="member", name="会员", threshold=0),
        TierLevel(code="silver", name="银卡", threshold=200, discount_bp=200, points_multiplier_bp=11_000),
        TierLevel(code="gold", name="金卡", threshold=1_000, discount_bp=500, points_multiplier_bp=12_500),
        TierLevel(code="black", name="黑卡", threshold=5_000, discount_bp=800, points_multiplier_bp=15_000),
    )
)
POINTS = PointsProgramme(earn_points=1, earn_per_fen=100, redeem_step_points=100, redeem_step_fen=100)


async def fill(deps: Deps, *, owner_login: str) -> bool:
    """Fill an empty store, in the owner's name; whether there was anything to do.

    Every step has a key of its own, so a start that was cut off is finished by the next one.
    """
    if await Category.exists():
        return False
    owner = await Operator.get_or_none(login=owner_login)
    if owner is None:
        return False
    for kind, rules in ((ProgrammeKind.TIER, TIERS), (ProgrammeKind.POINTS, POINTS)):
        await programme.publish(
            deps,
            operator_id=owner.id,
            kind=kind,
            definition=rules.definition(),
            effective_at=None,
            note="demo",
            idempotency_key=f"demo-programme-{kind}",
        )
    shelves = {
        name: await category.create(
            deps, operator_id=owner.id, name=name, position=position, idempotency_key=f"demo-shelf-{position}"
        )
        for position, name in enumerate(SHELVES)
    }
    for good in GOODS:
        made = await product.create(
            deps,
            operator_id=owner.id,
            title=good.title,
            subtitle=good.subtitle,
            category_id=shelves[good.shelf].id,
            media=[Medium(kind=MediaKind.IMAGE, url=f"{PICTURES}/{good.code}.jpg")],
            skus=good.skus,
            idempotency_key=f"demo-product-{good.code}",
        )
        await product.publish(
            deps, operator_id=owner.id, product_id=made.id, idempotency_key=f"demo-publish-{good.code}"
        )
    return True
