"""What operators name must be there: tiers, coupon templates, categories, products and SKUs."""

from datetime import timedelta
from typing import Any

import pytest

from loyalty.orders.order import OrderLine
from loyalty.programme import ProgrammeInvalid
from models.catalogue.catalogue import Category, Product
from models.coupons.coupon import CouponTemplate
from models.ids import new_id, new_secret
from models.prices.promotion import Promotion
from models.programme import ProgrammeVersion
from models.tiers.tier import Membership
from resolvers.clock import SetClock
from resolvers.coupons import coupon_template
from resolvers.coupons.coupon_template import TemplateChanges
from resolvers.deps import Deps
from resolvers.orders import order
from resolvers.prices import promotion
from resolvers.prices.promotion import PromotionChanges
from resolvers.programme import ProgrammeKind
from tests.coupons import make_template
from tests.doors import make_member, make_operator
from tests.promotions import run_promotion
from tests.rulebook import LEVELS, published, tiers
from tests.shelf import put_on_shelf


@pytest.fixture
def store_url(own_store_url: str) -> str:
    """These tests publish rules."""
    return own_store_url


def said(refused: pytest.ExceptionInfo[ProgrammeInvalid]) -> tuple[str, str]:
    """The field, and the name in quotes."""
    return str(refused.value.data["field"]), refused.value.message("zh").split("“")[1].split("”")[0]


BOOST = {"code": "b", "kind": "weekday", "factor_bp": 20_000, "weekdays": [1]}


@pytest.mark.parametrize(
    ("kind", "definition", "field"),
    [
        (ProgrammeKind.NEWCOMER_PACK, {"items": [{"template_code": "nothing", "count": 1}]}, "items[0].template_code"),
        (ProgrammeKind.POINTS, {"boosts": [{**BOOST, "tier_codes": ["member", "nothing"]}]}, "boosts[0].tier_codes[1]"),
        *(
            (
                ProgrammeKind.TIER,
                {"levels": [{**LEVELS[0], "benefits": [{"kind": kind, "figure": 1, "code": "nothing"}]}]},
                "levels[0].benefits[0].code",
            )
            for kind in ("birthday_coupons", "monthly_coupons")
        ),
    ],
)
async def test_a_programme_names_what_is_there(
    deps: Deps, kind: ProgrammeKind, definition: dict[str, Any], field: str
) -> None:
    with pytest.raises(ProgrammeInvalid) as refused:
        await published(deps, kind, definition)
    assert said(refused) == (field, "nothing")
    assert await ProgrammeVersion.filter(kind=kind).count() == 1
    if kind is not ProgrammeKind.POINTS:
        await make_template(deps, code="nothing", published=False)
        assert (await published(deps, kind, definition)).version == 2


async def test_a_birthday_gift_and_a_service_line_are_names_of_their_own(deps: Deps) -> None:
    benefits = [{"kind": "birthday_gift", "code": "cake"}, {"kind": "service_line", "code": "vip"}]
    assert (await tiers(deps, {**LEVELS[0], "benefits": benefits})).version == 2


async def test_a_tier_of_a_table_for_later_is_there_and_one_of_a_table_that_was_is_not(
    deps: Deps, clock: SetClock
) -> None:
    boost = {"boosts": [{**BOOST, "tier_codes": ["gold"]}]}
    await tiers(deps, effective_at=clock.now() + timedelta(days=1))
    assert (await published(deps, ProgrammeKind.POINTS, boost)).version == 2
    clock.advance(timedelta(days=1))
    assert (await published(deps, ProgrammeKind.POINTS, boost)).version == 3
    with pytest.raises(ProgrammeInvalid) as refused:
        await published(deps, ProgrammeKind.POINTS, {"boosts": [{**BOOST, "tier_codes": ["member"]}]})
    assert said(refused) == ("boosts[0].tier_codes[0]", "member")


async def test_a_promotion_is_for_tiers_and_goods_that_are_there(deps: Deps) -> None:
    await tiers(deps)
    sku_id, boss = await put_on_shelf(deps), await make_operator(deps)
    with pytest.raises(ProgrammeInvalid) as refused:
        await run_promotion(deps, sku_id, tier_codes=["nothing"])
    assert said(refused) == ("tier_codes", "nothing")
    gone = new_id(deps.clock.now())
    with pytest.raises(ProgrammeInvalid) as refused:
        await run_promotion(deps, sku_id, gone)
    assert said(refused) == ("scope.sku_ids", str(gone))
    assert await Promotion.all().count() == 0
    made = await run_promotion(deps, sku_id, tier_codes=["gold"])
    for name in ("category_ids", "product_ids", "sku_ids", "excluded_sku_ids"):
        changes = PromotionChanges(terms={"scope": {name: [str(gone)]}})
        with pytest.raises(ProgrammeInvalid) as refused:
            await promotion.change(
                deps, operator_id=boss.id, promotion_id=made.id, changes=changes, idempotency_key=new_secret(12)
            )
        assert said(refused) == (f"scope.{name}", str(gone))
    member = await make_member(deps)
    wanted = [OrderLine(sku_id=sku_id, quantity=1)]
    assert (await order.preview(deps, member_id=member.id, lines=wanted, points_wanted=0)).payable_fen == 10_000
    await Membership.filter(member_id=member.id).update(tier_code="gold", growth_value=5_000)
    assert (await order.preview(deps, member_id=member.id, lines=wanted, points_wanted=0)).payable_fen == 9_000


async def test_a_coupon_is_for_goods_that_are_there(deps: Deps) -> None:
    now = deps.clock.now()
    gone = str(new_id(now))
    for name in ("category_ids", "product_ids", "excluded_category_ids", "excluded_product_ids"):
        with pytest.raises(ProgrammeInvalid) as refused:
            await make_template(deps, scope={name: [gone]})
        assert said(refused) == (f"scope.{name}", gone)
    assert await CouponTemplate.all().count() == 0
    tea = await Category.create(id=new_id(now), name="茶", position=1, created_at=now, updated_at=now)
    draft = await Product.create(id=new_id(now), title="新茶", state="draft", created_at=now, updated_at=now)
    scope = {"category_ids": [str(tea.id)], "excluded_product_ids": [str(draft.id)]}
    template, boss = await make_template(deps, scope=scope), await make_operator(deps)
    with pytest.raises(ProgrammeInvalid) as refused:
        await coupon_template.change(
            deps,
            operator_id=boss.id,
            template_id=template.id,
            changes=TemplateChanges(terms={"scope": {"product_ids": [gone]}}),
            idempotency_key=new_secret(12),
        )
    assert said(refused) == ("scope.product_ids", gone)
    assert (await CouponTemplate.get(id=template.id)).version == 1
