from uuid import UUID

import pytest

from loyalty.orders import cart
from loyalty.orders.order import OrderLine, SkuTerms
from loyalty.refusal import Refusal
from tests.loyalty.worked_examples import number, worked

SKU = UUID(int=1)


def wishes(cell: str) -> list[OrderLine]:
    found = []
    for part in filter(None, cell.split(", ")):
        name, _, quantity = part.partition("×")
        found.append(OrderLine(sku_id=sku(name), quantity=int(quantity)))
    return found


def sku(name: str) -> UUID:
    return UUID(int=ord(name))


def test_lines_can_be_had_as_the_page_says() -> None:
    for row in worked("cart.md", "Example: whether a line can be had"):
        terms = SkuTerms(
            sku_id=SKU,
            on_sale=row["on sale"] == "yes",
            stock_left=number(row["left"]),
            purchase_limit=number(row["limit"]) or None,
            bought_count=number(row["bought"]),
        )
        assert cart.availability(number(row["pieces"]), terms) == row["answer"], row


def test_adding_is_as_the_page_says() -> None:
    for row in worked("cart.md", "Example: adding"):
        try:
            answer = str(
                cart.add(
                    sku_id=SKU,
                    had=number(row["of this SKU"]),
                    adding=number(row["adding"]),
                    line_count=number(row["lines in the cart"]),
                )
            )
        except Refusal as refusal:
            answer = f"`{refusal.code}`"
        assert answer == row["answer"], row


def test_merging_is_as_the_page_says() -> None:
    for row in worked("cart.md", "Example: merging"):
        before = {line.sku_id: line.quantity for line in wishes(row["cart"])}
        try:
            merged = cart.merge(
                before,
                wishes(row["from the phone"]),
                on_sale={sku(name) for name in "ABC"},
                most_lines=len(before) + 2,
            )
            after = ", ".join(
                f"{chr(one.int)}×{quantity}" for one, quantity in sorted((before | dict(merged.quantities)).items())
            )
            left_out = ", ".join(chr(one.int) for one in merged.left_out)
        except Refusal as refusal:
            after, left_out = f"`{refusal.code}`", ""
        assert (after, left_out) == (row["cart then"], row["left out"]), row


def test_more_lines_than_a_cart_has_are_not_merged() -> None:
    lines = [OrderLine(sku_id=UUID(int=at), quantity=1) for at in range(101)]
    with pytest.raises(cart.CartFull) as caught:
        cart.merge({}, lines, on_sale=set())
    assert caught.value.data == {"most": 100}
