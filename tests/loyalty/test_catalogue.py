from collections.abc import Callable

import pytest

from loyalty import catalogue
from loyalty.catalogue import ProductFacts
from tests.loyalty.worked_examples import number, worked


def sku(**changed: object) -> None:
    values = {"sku_code": "TEA-1", "name": "Tea", "price_fen": 5_000, "stock": 3, **changed}
    catalogue.admit_sku(**values)  # type: ignore[arg-type]  # the table says which values are tried


TRY: dict[str, Callable[[int], None]] = {
    "category name, characters": lambda size: catalogue.admit_category(name="x" * size),
    "product name, characters": lambda size: catalogue.admit_product(name="x" * size),
    "product description, characters": lambda size: catalogue.admit_product(name="Tea", description="x" * max(size, 0)),
    "pictures of a product": lambda size: catalogue.admit_product(name="Tea", media_urls=["https://x"] * size),
    "picture address, characters": lambda size: catalogue.admit_product(name="Tea", media_urls=["x" * size]),
    "SKUs of a product": catalogue.admit_sku_count,
    "SKU code, characters": lambda size: sku(sku_code="x" * size),
    "SKU name, characters": lambda size: sku(name="x" * size),
    "price in fen": lambda fen: sku(price_fen=fen),
    "member price in fen": lambda fen: sku(member_price_fen=fen),
    "stock": lambda count: sku(stock=count),
    "purchase limit per member, or none": lambda count: sku(purchase_limit=count),
}
CANNOT_BE_SHORTER = {"product description, characters", "pictures of a product"}


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
    with pytest.raises(catalogue.CatalogueInvalid):
        catalogue.admit_product(name="   ")


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
