from collections.abc import Callable

import pytest

from loyalty.catalogue import catalogue
from loyalty.catalogue.catalogue import ProductFacts
from tests.loyalty.worked_examples import number, worked


def sku(**changed: object) -> None:
    values = {"code": "TEA-1", "title": "Tea", "price_fen": 5_000, **changed}
    catalogue.admit_sku(**values)  # type: ignore[arg-type]  # the table says which values are tried


def product(**changed: object) -> None:
    catalogue.admit_product(**{"title": "Tea", **changed})  # type: ignore[arg-type]  # as above


TRY: dict[str, Callable[[int], None]] = {
    "categories of the shop": catalogue.admit_category_count,
    "category name, characters": lambda size: catalogue.admit_category(name="x" * size),
    "product title, characters": lambda size: product(title="x" * size),
    "product subtitle, characters": lambda size: product(subtitle="x" * max(size, 0)),
    "product description, characters": lambda size: product(description="x" * max(size, 0)),
    "pictures and videos of a product": lambda size: product(media_urls=["https://x"] * size),
    "SKUs of a product": catalogue.admit_sku_count,
    "SKU code, characters": lambda size: sku(code="x" * size),
    "SKU title, characters": lambda size: sku(title="x" * size),
    "price in fen": lambda fen: sku(price_fen=fen),
    "member price in fen": lambda fen: sku(member_price_fen=fen),
    "stock": catalogue.admit_stock,
    "stock moved at once, up or down": lambda amount: catalogue.admit_adjustment(amount=-amount, reason="盘点"),
    "reason of a stock move, characters": lambda size: catalogue.admit_adjustment(amount=1, reason="x" * size),
    "purchase limit per member, or none": lambda count: sku(purchase_limit=count),
    "weight of one piece as it is shipped, grams": lambda weight: sku(weight_g=weight),
    "position of a category or SKU": lambda position: sku(position=position),
}
CANNOT_BE_SHORTER = {
    "product subtitle, characters",
    "product description, characters",
    "pictures and videos of a product",
}


def test_every_bound_of_the_page_holds_just_inside_and_outside() -> None:
    rows = worked("catalogue.md", "Example: bounds")
    assert {row["field"] for row in rows} == set(TRY)
    for row in rows:
        attempt = TRY[row["field"]]
        least, most = number(row["least"]), 5_000 if row["most"] == "the price" else number(row["most"])
        attempt(least)
        attempt(most)
        for outside in (least - 1, most + 1):
            if outside < 0 and row["field"] in CANNOT_BE_SHORTER:
                continue
            with pytest.raises(catalogue.CatalogueInvalid) as refused:
                attempt(outside)
            assert refused.value.data["most"] == most, row


def test_blanks_are_no_name() -> None:
    attempts: list[Callable[[], None]] = [
        lambda: product(title="   "),
        lambda: catalogue.admit_category(name="\t"),
        lambda: sku(code=" "),
        lambda: sku(title="\u3000"),
        lambda: catalogue.admit_adjustment(amount=1, reason=" "),
    ]
    for attempt in attempts:
        with pytest.raises(catalogue.CatalogueInvalid):
            attempt()


def test_addresses_are_taken_as_the_page_says() -> None:
    for row in worked("catalogue.md", "Example: addresses of pictures"):
        url = row["address"].strip("`")
        if row["taken"] == "yes":
            product(media_urls=["https://img.example.com/first.jpg", url])
        else:
            with pytest.raises(catalogue.MediaUrlInvalid) as refused:
                product(media_urls=["https://img.example.com/first.jpg", url])
            assert refused.value.data == {"position": 2}


def test_an_address_has_500_characters_at_most() -> None:
    longest = "https://img.example.com/".ljust(500, "x")
    product(media_urls=[longest])
    with pytest.raises(catalogue.CatalogueInvalid) as refused:
        product(media_urls=[longest + "x"])
    assert refused.value.data == {"field": "media.url", "least": 1, "most": 500}


def test_categories_have_two_levels() -> None:
    catalogue.admit_nesting(under_itself=False, parent_is_nested=False, has_children=False)
    for fault in ("under_itself", "parent_is_nested", "has_children"):
        facts = {"under_itself": False, "parent_is_nested": False, "has_children": False, fault: True}
        with pytest.raises(catalogue.CategoryNestingRefused):
            catalogue.admit_nesting(**facts)


def test_two_skus_of_one_call_cannot_share_a_code() -> None:
    catalogue.admit_sku_codes(["A", "B"])
    with pytest.raises(catalogue.SkuCodeTaken) as refused:
        catalogue.admit_sku_codes(["A", "B", "A"])
    assert refused.value.data == {"sku_code": "A"}


@pytest.mark.parametrize(
    ("product", "missing"),
    [
        (ProductFacts(has_category=True, sku_count=1, media_count=1), None),
        (ProductFacts(has_category=False, sku_count=0, media_count=0), "category"),
        (ProductFacts(has_category=True, sku_count=0, media_count=0), "sku"),
        (ProductFacts(has_category=True, sku_count=1, media_count=0), "media"),
    ],
)
def test_publishing_needs_a_category_a_sku_and_a_picture(product: ProductFacts, missing: str | None) -> None:
    if missing is None:
        catalogue.admit_publish(product)
    else:
        with pytest.raises(catalogue.ProductIncomplete) as refused:
            catalogue.admit_publish(product)
        assert refused.value.data == {"missing": missing}
