import pytest

from loyalty.coupons.coupon_issue import many_given, room
from loyalty.coupons.coupon_terms import CouponKind, CouponTerms
from loyalty.coupons.newcomer_pack import NewcomerPack
from loyalty.programme import ProgrammeInvalid
from tests.loyalty.worked_examples import number, worked


@pytest.mark.parametrize("row", worked("newcomer_pack.md", "Example: packs that work and packs that do not"), ids=str)
def test_packs_that_work_and_packs_that_do_not(row: dict[str, str]) -> None:
    items = []
    for text in row["items"].split(", ") if row["items"] != "-" else []:
        code, count = text.split(" ")
        items.append({"template_code": code, "count": int(count)})
    definition = {"items": items}
    if row["answer"] == "ok":
        assert NewcomerPack.parse(definition).definition() == definition
    else:
        with pytest.raises(ProgrammeInvalid) as refused:
            NewcomerPack.parse(definition)
        assert f"`{refused.value.data['field']}`" == row["answer"]


@pytest.mark.parametrize("row", worked("newcomer_pack.md", "Example: how many of a template a member gets"), ids=str)
def test_how_many_of_a_template_a_member_gets(row: dict[str, str]) -> None:
    terms = CouponTerms(
        kind=CouponKind.AMOUNT, amount_fen=1, valid_days=1, member_limit=number(row["member limit"]) or None
    )
    count = number(row["count"])
    allowed = room(terms, had_count=number(row["had"]), had_today=0, count=count)
    given, why = many_given(count=count, allowed=allowed, left=min(allowed, number(row["left"])))
    assert given == number(row["given"])
    assert (f"`{why}`" if why else "") == row["why not all"]


def test_a_day_limits_what_is_given_too() -> None:
    terms = CouponTerms(kind=CouponKind.AMOUNT, amount_fen=1, valid_days=1, member_limit=9, member_daily_limit=2)
    assert room(terms, had_count=1, had_today=1, count=5) == 1
    assert room(terms, had_count=3, had_today=3, count=5) == 0


def test_a_pack_has_at_most_ten_items() -> None:
    items = [{"template_code": f"c{at}", "count": 1} for at in range(11)]
    with pytest.raises(ProgrammeInvalid):
        NewcomerPack.parse({"items": items})
    assert len(NewcomerPack.parse({"items": items[:10]}).items) == 10
