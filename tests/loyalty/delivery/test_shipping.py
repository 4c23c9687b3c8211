import re
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.delivery import shipping
from loyalty.delivery.shipping import (
    ChargeBy,
    MissingPieces,
    Rate,
    RegionNotDelivered,
    RegionRate,
    ShippingLine,
    ShippingTerms,
    TemplateInForce,
    TierShipping,
    Waiver,
)
from loyalty.prices.promotion_choice import promote
from loyalty.prices.promotion_hint import hints
from loyalty.programme import ProgrammeInvalid
from loyalty.tiers.tier_benefit import Benefit, BenefitKind
from tests.loyalty.worked_examples import number, worked


def rate_fields(cell: str) -> dict[str, object]:
    first, _, further = cell.partition("+")
    first_units, first_fen = (int(part) for part in first.split(":"))
    further_units, further_fen = (int(part) for part in further.split(":"))
    return {
        "first_units": first_units,
        "first_fen": first_fen,
        "further_units": further_units,
        "further_fen": further_fen,
    }


def codes(cell: str) -> list[str]:
    return [code.strip() for code in cell.split(",") if code.strip() not in ("", "-")]


def everywhere(cell: str, charge_by: ChargeBy = ChargeBy.PIECE) -> ShippingTerms:
    return ShippingTerms.parse({"charge_by": charge_by, "otherwise": rate_fields(cell)})


def under(terms: ShippingTerms, code: str = "parcel") -> TemplateInForce:
    return TemplateInForce(code=code, version_id=UUID(int=1), terms=terms)


def line(
    terms: ShippingTerms | None, *, pieces: int = 1, goods_fen: int = 0, weight_g: int = 0, at: int = 0
) -> ShippingLine:
    return ShippingLine(
        sku_id=UUID(int=at),
        quantity=pieces,
        goods_fen=goods_fen,
        weight_g=weight_g,
        template=None if terms is None else under(terms, f"t{at}"),
    )


def test_terms_work_as_the_page_says() -> None:
    for row in worked("shipping.md", "Example: terms that work and terms that do not"):
        regions = []
        for part in filter(None, row["regions"].split(";")):
            places, _, fees = part.strip().partition(": ")
            regions.append({"codes": codes(places), **rate_fields(fees)})
        definition: dict[str, object] = {"regions": regions, "undelivered": codes(row["undelivered"])}
        if row["otherwise"] not in ("", "-"):
            definition["otherwise"] = rate_fields(row["otherwise"])
        try:
            terms = ShippingTerms.parse(definition)
            assert ShippingTerms.parse(terms.definition()) == terms, row
            answer = "ok"
        except ProgrammeInvalid as refusal:
            answer = f"`{refusal.data['field']}`"
        assert answer == row["answer"], row


ONE_TEMPLATE = ShippingTerms(
    regions=(
        RegionRate(codes=("11",), rate=Rate(first_fen=800, further_fen=100, free_from_fen=9_900)),
        RegionRate(
            codes=("1101",),
            rate=Rate(first_fen=500, further_units=2, further_fen=100, free_from_fen=9_900, free_from_pieces=3),
        ),
        RegionRate(codes=("65",), rate=Rate(first_fen=2_000, further_fen=1_000)),
    ),
    otherwise=Rate(first_fen=1_000, further_fen=200, free_from_fen=19_900, free_from_pieces=10, free_on_either=True),
    undelivered=("81", "6501"),
)


def test_one_template_costs_what_the_page_says() -> None:
    for row in worked("shipping.md", "Example: one template"):
        lines = [line(ONE_TEMPLATE, pieces=number(row["pieces"]), goods_fen=number(row["goods fen"]))]
        if row["fee"].startswith("`"):
            with pytest.raises(RegionNotDelivered) as caught:
                shipping.fee(lines, region_code=row["region"])
            assert caught.value.data == {"sku_id": str(UUID(int=0))}, row
            continue
        quote = shipping.fee(lines, region_code=row["region"])
        assert quote.fee_fen == number(row["fee"]), row
        assert (quote.parts[0].missing_fen or 0) == number(row["missing fen"]), row
        assert (quote.parts[0].missing_pieces or 0) == number(row["missing pieces"]), row


def test_weight_costs_what_the_page_says() -> None:
    terms = everywhere("1000:1000+500:300", ChargeBy.WEIGHT)
    for row in worked("shipping.md", "Example: by weight"):
        parcel = line(terms, pieces=number(row["pieces"]), weight_g=number(row["grams a piece"]))
        assert shipping.fee([parcel], region_code="440106").fee_fen == number(row["fee"]), row


def test_several_templates_cost_what_the_page_says() -> None:
    for row in worked("shipping.md", "Example: several templates in one order"):
        lines = []
        for at, part in enumerate(row["templates"].split(", ")):
            fees, _, pieces = part.partition(" × ")
            lines.append(line(everywhere(fees), pieces=number(pieces), at=at))
        assert shipping.fee(lines, region_code="440106").fee_fen == number(row["fee"]), row


def test_a_tier_ships_free_as_the_page_says() -> None:
    benefit = Benefit(kind=BenefitKind.FREE_SHIPPING, figure=5_000, monthly_limit=2)
    for row in worked("shipping.md", "Example: a tier's free shipping"):
        quote = shipping.fee(
            [line(everywhere("1:1000+1:0"), goods_fen=number(row["goods fen"]))],
            region_code="440106",
            tier=TierShipping(benefit=benefit, used_count=number(row["orders this month"])),
        )
        assert quote.fee_fen == number(row["fee"]), row
        assert quote.full_fen == 1_000, row
        assert quote.waived_by is (None if quote.fee_fen else Waiver.TIER), row


def test_a_benefit_opens_no_region_and_is_not_used_up_by_what_is_free_anyway() -> None:
    tier = TierShipping(benefit=Benefit(kind=BenefitKind.FREE_SHIPPING))
    with pytest.raises(RegionNotDelivered):
        shipping.fee([line(ONE_TEMPLATE)], region_code="810000", tier=tier)
    free = shipping.fee([line(ONE_TEMPLATE, goods_fen=19_900)], region_code="440106", tier=tier)
    assert (free.fee_fen, free.waived_by) == (0, None)


def test_what_is_missing_is_the_least_that_money_can_do() -> None:
    lines = [line(ONE_TEMPLATE, goods_fen=15_000)]
    assert shipping.fee(lines, region_code="440106").missing_fen == 4_900
    tier = TierShipping(benefit=Benefit(kind=BenefitKind.FREE_SHIPPING, figure=16_000, monthly_limit=1))
    assert shipping.fee(lines, region_code="440106", tier=tier).missing_fen == 1_000
    used_up = TierShipping(benefit=tier.benefit, used_count=1)
    assert shipping.fee(lines, region_code="440106", tier=used_up).missing_fen == 4_900
    assert shipping.fee([line(ONE_TEMPLATE, goods_fen=100)], region_code="110105").missing_fen is None
    assert shipping.fee([line(ONE_TEMPLATE, goods_fen=19_900)], region_code="440106").missing_fen is None


def test_what_more_ships_free_is_told_as_the_page_says() -> None:
    for row in worked("shipping.md", "Example: what more would make it ship free"):
        wanted = {unit: number(figure) for figure, unit in re.findall(r"([\d,]+) (fen|pieces)", row["free from"])}
        rate = Rate(
            first_fen=1_000,
            free_from_fen=wanted.get("fen"),
            free_from_pieces=wanted.get("pieces"),
            free_on_either=" or " in row["free from"],
        )
        sent = line(ShippingTerms(otherwise=rate), pieces=number(row["pieces"]), goods_fen=number(row["goods fen"]))
        told = [
            f"{one.missing_pieces} pieces" if one.missing_fen is None else f"{one.missing_fen:,} fen"
            for one in hints([], promote([]), shipping=shipping.fee([sent], region_code="440106"))
        ]
        assert (", ".join(told) or "-") == row["told"], row


def test_pieces_are_told_only_while_one_template_costs_a_fee() -> None:
    by_pieces = ShippingTerms(otherwise=Rate(first_fen=1_000, free_from_pieces=3))
    lines = [line(by_pieces, goods_fen=500), line(everywhere("1:0+1:0"), goods_fen=100, at=1)]
    assert shipping.fee(lines[:1], region_code="440106").missing_pieces == MissingPieces(pieces=2, cost_fen=1_000)
    assert shipping.fee(lines, region_code="440106").missing_pieces is None
    waived = TierShipping(benefit=Benefit(kind=BenefitKind.FREE_SHIPPING))
    assert shipping.fee(lines[:1], region_code="440106", tier=waived).missing_pieces is None


def test_goods_without_a_template_need_no_address_and_cost_nothing() -> None:
    assert shipping.admit_without_address([line(None, goods_fen=1)]).fee_fen == 0
    with pytest.raises(shipping.AddressRequired):
        shipping.admit_without_address([line(None), line(ONE_TEMPLATE, at=1)])
    assert shipping.fee([line(None, pieces=5)], region_code="810000").fee_fen == 0


RATES = st.builds(
    Rate,
    first_units=st.integers(1, 20),
    first_fen=st.integers(0, 3_000),
    further_units=st.integers(1, 5),
    further_fen=st.integers(0, 900),
)
BASKETS = st.lists(st.tuples(RATES, st.integers(1, 30)), min_size=1, max_size=6)


@given(BASKETS)
def test_the_parts_add_up_and_the_order_of_lines_changes_nothing(basket: list[tuple[Rate, int]]) -> None:
    lines = [line(ShippingTerms(otherwise=rate), pieces=pieces, at=at) for at, (rate, pieces) in enumerate(basket)]
    quote = shipping.fee(lines, region_code="440106")
    assert quote.fee_fen == quote.full_fen == sum(part.fee_fen for part in quote.parts)
    assert shipping.fee(lines[::-1], region_code="440106").fee_fen == quote.fee_fen
    assert quote.fee_fen >= max(rate.first_fen for rate, _ in basket)


@given(RATES, st.integers(1, 30), st.integers(1, 30))
def test_another_piece_never_makes_one_template_cheaper(rate: Rate, some: int, more: int) -> None:
    assert rate.alone(some) <= rate.alone(some + more)
