from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Protocol
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty import programme
from loyalty.coupons.coupon_terms import CouponTerms
from loyalty.coupons.newcomer_pack import NewcomerPack
from loyalty.points.check_in import CheckInProgramme
from loyalty.points.points import PointsProgramme
from loyalty.points.points_mall import MallItem
from loyalty.prices.promotion_terms import PromotionTerms
from loyalty.programme import Fields, Name, Noun, ProgrammeInvalid, admit_names
from loyalty.referrals.referral_programme import ReferralProgramme
from loyalty.tiers.tier import TierTable
from tests.loyalty.worked_examples import worked


class Programme(Protocol):
    """Whatever operators configure: it can be written out again."""

    def definition(self) -> dict[str, object]: ...


Parse = Callable[[Mapping[str, object]], Programme]
PARSERS: list[Parse] = [
    PointsProgramme.parse,
    TierTable.parse,
    CheckInProgramme.parse,
    ReferralProgramme.parse,
    MallItem.parse,
]
WORKING: list[tuple[Parse, dict[str, object]]] = [
    (PointsProgramme.parse, PointsProgramme().definition()),
    (
        TierTable.parse,
        TierTable.parse(
            {
                "levels": [
                    {"code": "basic", "name": "Basic", "threshold": 0},
                    {
                        "code": "gold",
                        "name": "Gold",
                        "threshold": 9,
                        "keep_months": 3,
                        "benefits": [{"kind": "event_access"}],
                    },
                ]
            }
        ).definition(),
    ),
    (
        CheckInProgramme.parse,
        CheckInProgramme.parse(
            {
                "streak_rewards": [{"days": 7, "points": 5}],
                "make_up": {"window_days": 7, "monthly_limit": 3},
                "protection": {"gap_days": 1, "monthly_limit": 1},
            }
        ).definition(),
    ),
    (
        ReferralProgramme.parse,
        ReferralProgramme.parse(
            {
                "rewards": [{"stage": "first_order", "side": "inviter", "points": 5}],
                "goals": [{"code": "three", "friends": 3, "points": 9}],
                "weights": {"burst": 3},
            }
        ).definition(),
    ),
    (MallItem.parse, MallItem.parse({"kind": "coupon", "points": 3, "target_code": "tea"}).definition()),
]

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=True)
    | st.text(max_size=8)
    | st.sampled_from(["goods", "weekday", "gold", "2026-11-21", "first_order"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def places(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every place inside a definition, the leaves and what holds them."""
    found = [path] if path else []
    if isinstance(value, dict):
        for name, inner in value.items():
            found += places(inner, (*path, name))
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            found += places(inner, (*path, position))
    return found


def replaced(value: object, path: tuple[str | int, ...], new: object) -> object:
    if not path:
        return new
    step, *rest = path
    if isinstance(value, dict):
        return {name: replaced(inner, tuple(rest), new) if name == step else inner for name, inner in value.items()}
    assert isinstance(value, list)
    return [replaced(inner, tuple(rest), new) if at == step else inner for at, inner in enumerate(value)]


@given(st.sampled_from(WORKING), json_values, st.data())
def test_one_wrong_value_anywhere_is_read_or_refused_with_a_field(
    working: tuple[Parse, dict[str, object]], value: object, data: st.DataObject
) -> None:
    parse, definition = working
    changed = replaced(definition, data.draw(st.sampled_from(places(definition))), value)
    assert isinstance(changed, dict)
    try:
        read = parse(changed)
    except ProgrammeInvalid as refused:
        said = [str(refused.data["field"]), refused.message("zh"), refused.message("en")]
    else:
        assert parse(read.definition()) == read
        return
    assert all(said)


@given(st.sampled_from(PARSERS), st.dictionaries(st.text(max_size=12), json_values, max_size=4))
def test_nonsense_is_always_refused_and_never_breaks(parse: Parse, nonsense: dict[str, object]) -> None:
    nonsense = {f"x{name}": value for name, value in nonsense.items()} | {"xx": 1}
    with pytest.raises(ProgrammeInvalid):
        parse(nonsense)


def test_every_working_definition_reads_back_to_itself() -> None:
    for parse, definition in WORKING:
        assert parse(definition).definition() == definition


def naming(kind: str, names: dict[Noun, list[str]]) -> list[Name]:
    """What a definition of that kind names, with these names in it."""
    tiers, templates = names.get(Noun.TIER, []), names.get(Noun.COUPON_TEMPLATE, [])
    if kind == "newcomer pack":
        items = [{"template_code": code, "count": 1} for code in templates]
        return NewcomerPack.parse({"items": items}).names()
    if kind == "tier table":
        benefits = [{"kind": "monthly_coupons", "figure": 1, "code": code} for code in templates]
        levels = [{"code": tiers[0], "name": "Basic", "threshold": 0, "benefits": benefits}]
        return TierTable.parse({"levels": levels}).names()
    if kind == "points":
        boost = {"code": "b", "kind": "weekday", "factor_bp": 20_000, "weekdays": [1], "tier_codes": tiers}
        return PointsProgramme.parse({"boosts": [boost]}).names()
    if kind == "promotion":
        return PromotionTerms.parse({"kind": "discount", "discount_bp": 1, "tier_codes": tiers}).names()
    assert kind == "mall item"
    return MallItem.parse({"kind": "goods", "points": 1, "tier_codes": tiers}).names()


NOUNS = {"tier": Noun.TIER, "template": Noun.COUPON_TEMPLATE}
THERE = {Noun.TIER: {"silver", "gold"}, Noun.COUPON_TEMPLATE: {"tea"}}


@pytest.mark.parametrize("row", worked("programme.md", "Example: names"), ids=lambda row: f"{row['names']}")
def test_what_is_named_must_be_there(row: dict[str, str]) -> None:
    names: dict[Noun, list[str]] = {}
    for named in row["names"].split(", "):
        noun, code = named.split(" ")
        names.setdefault(NOUNS[noun], []).append(code)
    found = naming(row["definition"], names)
    if row["answer"] == "ok":
        admit_names(found, THERE)
        return
    with pytest.raises(ProgrammeInvalid) as refused:
        admit_names(found, THERE)
    field, value = row["answer"].split(" ")
    assert f"`{refused.value.data['field']}`" == field
    for language in ("zh", "en"):
        assert f"“{value}”" in refused.value.message(language)


def test_a_scope_names_its_goods() -> None:
    one, other, third = (str(UUID(int=number)) for number in (1, 2, 3))
    scope = {"category_ids": [one], "excluded_product_ids": [other]}
    coupon = CouponTerms.parse({"kind": "amount", "amount_fen": 1, "valid_days": 1, "scope": scope})
    goods = [
        Name("scope.category_ids", Noun.CATEGORY, one),
        Name("scope.excluded_product_ids", Noun.PRODUCT, other),
    ]
    assert coupon.names() == goods
    scope = {**scope, "sku_ids": [third], "excluded_sku_ids": [one]}
    promotion = PromotionTerms.parse({"kind": "discount", "discount_bp": 1, "scope": scope})
    skus = [Name("scope.sku_ids", Noun.SKU, third), Name("scope.excluded_sku_ids", Noun.SKU, one)]
    assert promotion.names() == goods + skus


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


Read = Callable[[Fields], object]


def refused_reason(read: Read, value: object) -> str:
    with pytest.raises(ProgrammeInvalid) as refused:
        read(Fields({"a": value}, "top"))
    assert str(refused.value.data["field"]).startswith("top.a")
    return str(refused.value.data["reason"])


def integer(fields: Fields) -> int:
    return fields.integer("a", 1, 9)


def text(fields: Fields) -> str:
    return fields.text("a", 3)


def code(fields: Fields) -> str:
    return fields.code("a")


def day(fields: Fields) -> date:
    return fields.day("a")


@pytest.mark.parametrize(
    ("read", "inside", "outside"),
    [
        (integer, [1, 9], [0, 10, "1", 1.0, True, None, [1]]),
        (text, ["a", "abc", "会员卡"], ["", "abcd", " a", "a\n", "a\x00b", "\ud800", 1, None]),
        (code, ["a", "a_1", "a" * 40], ["", "a" * 41, "A", "1a", "_a", "a-b", "é", "a b", 1, None]),
        (
            day,
            ["2026-11-21", "2028-02-29"],
            ["2026-02-29", "2026-W47-6", "20261121", "2026-11-21T00:00", 20261121, None],
        ),
        (lambda fields: fields.boolean("a", True), [True, False, None], [0, 1, "true", []]),
        (lambda fields: fields.choice("a", Colour), ["red", "blue"], ["green", "RED", 1, None, ["red"]]),
        (lambda fields: fields.codes("a"), [[], ["a", "b"], None], ["a", ["a", "a"], [1], ["A"], {}]),
        (lambda fields: fields.integers("a", 1, 7), [[], [7, 1]], [1, [8], [1, 1], [True], ["1"]]),
        (lambda fields: fields.part("a"), [{}, None], [[], 1, "a"]),
        (lambda fields: fields.parts("a", 2), [[], [{}, {}], None], [{}, [{}, {}, {}], [1], "ab"]),
    ],
)
def test_a_field_is_read_just_inside_its_bounds_and_refused_outside(
    read: Read, inside: list[object], outside: list[object]
) -> None:
    for value in inside:
        read(Fields({"a": value}))
    for value in outside:
        assert refused_reason(read, value)


def test_a_field_that_nobody_read_is_refused() -> None:
    fields = Fields({"a": 1, "b": 2})
    integer(fields)
    with pytest.raises(ProgrammeInvalid) as refused:
        fields.done()
    assert refused.value.data["field"] == "b"


def test_a_definition_must_be_an_object() -> None:
    with pytest.raises(ProgrammeInvalid) as refused:
        Fields([])
    assert refused.value.data["field"] == "definition"


def test_a_version_comes_into_force_now_or_later() -> None:
    now = datetime(2026, 11, 21, tzinfo=UTC)
    programme.admit_effective_at(None, now)
    programme.admit_effective_at(now, now)
    with pytest.raises(ProgrammeInvalid):
        programme.admit_effective_at(now - timedelta(microseconds=1), now)


def test_the_note_of_a_version_has_a_most_length() -> None:
    programme.admit_note("x" * programme.MAX_NOTE_LENGTH)
    with pytest.raises(ProgrammeInvalid):
        programme.admit_note("x" * (programme.MAX_NOTE_LENGTH + 1))
