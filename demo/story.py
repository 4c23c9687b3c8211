"""The main story of the store, told through HTTP alone, as the mini-program and an operator would live it.

A new member checks in, fetches a first order, fills a cart that hints at what saves more, has it sent, gives one piece
back, buys in a flash sale and in a team with a friend. Then everything is refunded, and every figure is back where it
was. Each figure is compared with what was promised.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from demo import documents as said
from demo.client import Client, Phone, StoryBroken
from models.ids import new_secret

HOME_FAR_AWAY = {
    "recipient": "阿依古丽",
    "phone": "13999800000",
    "regionCode": "650102",
    "province": "新疆维吾尔自治区",
    "city": "乌鲁木齐市",
    "district": "天山区",
    "street": "解放南路 8 号",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What the member sees of points and growth."""

    tier: str
    growth: int
    balance: int
    available: int
    held: int
    debt: int


class Story:
    """The story in one store. ``tell`` writes a line."""

    def __init__(self, http: httpx.Client, *, store_url: str, platform_url: str, tell: Callable[[str], None]) -> None:
        self._phone = Phone(http, platform_url)
        self._member = Client(http, f"{store_url}/graphql")
        self._friend = Client(http, f"{store_url}/graphql")
        self._operator = Client(http, f"{store_url}/admin/graphql")
        self._tell = tell

    def play(self, *, owner_login: str, owner_password: str) -> None:
        """Play it to the end.

        Raises:
            StoryBroken: a figure is not what was promised.
        """
        login = self._operator.do("OperatorSession", said.OPERATOR_LOGIN, login=owner_login, password=owner_password)
        self._operator.token = login["accessToken"]
        cases, stock = self._cases(), self._stock()

        self._log_in(self._member)
        self._tell("  A new member has logged in with a code of wx.login.")
        begin = self._check_in()
        self._receive_the_pack()
        first = self._fetch_a_first_order()

        address_id = self._keep_an_address()
        second = self._buy_the_cart(address_id)
        self._send(second)
        self._give_one_piece_back(second)

        flash = self._buy_in_a_flash_sale(address_id)
        team = self._complete_a_team()

        self._tell("\n  The owner refunds everything, the last order first.")
        for buyer, order_id in ((self._friend, team[1]), (self._member, team[0])):
            self._refund(buyer, order_id)
        for order_id in (flash, second, first):
            self._refund(self._member, order_id)
        self._tell(f"    {_told(self._figures())}")
        self._expect("every figure is as before the first order", self._figures() == begin)
        self._expect("the stock is complete", self._stock() == stock)
        self._expect("nothing has come into the exceptions inbox", self._cases() <= cases)

    # Joining

    def _log_in(self, who: Client) -> None:
        code = self._phone.does("login_codes", {})["code"]
        who.token = who.do("SessionLoginPayload", said.LOGIN, code=code)["accessToken"]

    def _check_in(self) -> Figures:
        done = self._member.do("CheckInDone", said.CHECK_IN, key=new_secret(12))["checkIn"]
        figures = self._figures()
        self._tell(f"  Checked in: {done['points']} points.  {_told(figures)}")
        self._expect("the reward is in the account", figures.balance == done["points"])
        return figures

    def _receive_the_pack(self) -> None:
        given = self._member.wait(
            "the newcomer pack is there", lambda coupons: len(coupons["nodes"]) == 2, said.COUPONS
        )
        titles = " and ".join(sorted(coupon["title"] for coupon in given["nodes"]))
        self._tell(f"  The newcomer pack is there: {titles}.")

    # A first order

    def _fetch_a_first_order(self) -> str:
        before = self._figures()
        point = self._member.ask(said.PICK_UP_POINTS)["nodes"][0]
        tea, cake = self._sku("明前龙井", "50 克"), self._sku("桂花糕", "六枚")
        self._tell(f"\n  Ordered 明前龙井 and, at {_yuan(cake['priceNow']['price'])} for newcomers, 桂花糕.")
        placed = self._place(
            lines=[{"skuId": sku["id"], "quantity": 1} for sku in (tea, cake)], pickUpPointId=point["id"]
        )
        expected = tea["priceNow"]["price"] + cake["priceNow"]["price"]
        self._expect(f"to pay: {_yuan(expected)}", placed["payable"] == expected)
        after = self._paid(self._member, placed["id"])
        self._expect("points and growth have arrived", min(after.growth, after.balance - before.balance) > 0)
        self._operator.do("OrderHandled", said.PICK_UP_READY, id=placed["id"])
        code = self._member.do("PickUpCode", said.PICK_UP_CODE, id=placed["id"])["code"]
        self._operator.do("OrderHandled", said.PICK_UP_VERIFY, code=code, key=new_secret(12))
        self._tell(f"  Picked up at {point['name']}: the till has read the code on the phone.")
        self._expect("the goods are received", self._order(placed["id"])["fulfilment"] == "RECEIVED")
        return str(placed["id"])

    # A cart, an order with everything, a parcel

    def _keep_an_address(self) -> str:
        kept = self._member.do("AddressKept", said.ADDRESS, input=HOME_FAR_AWAY, key=new_secret(12))
        return str(kept["address"]["id"])

    def _buy_the_cart(self, address_id: str) -> str:
        before = self._figures()
        self._put_in_cart("安溪铁观音", "250 克", 2)
        hint = next(hint for hint in self._quote(address_id)["hints"] if hint["kind"] == "PROMOTION")
        self._tell(f"    The cart hints: {_yuan(hint['missing'])} more, and it takes off {_yuan(hint['saves'])} more.")
        was = self._quote(address_id)["promotionAmount"]
        self._put_in_cart("洞庭碧螺春", "50 克", 1)
        quote = self._quote(address_id, points=100)
        self._expect("what was hinted at is taken off", quote["promotionAmount"] == was + hint["saves"])
        self._tell(f"  To 乌鲁木齐: {_sum_of(quote)}.")
        lines = self._member.ask(said.CART_LINES)["lines"]
        placed = self._place(
            lines=lines,
            addressId=address_id,
            bestCoupons=True,
            points=100,
            expectedPayable=quote["payable"],
            fromCart=True,
        )
        self._expect("it costs what the preview said, to the fen", placed["payable"] == quote["payable"])
        self._expect("100 points are held, and the cart is empty", self._figures().held == 100 and not self._pieces())
        after = self._paid(self._member, placed["id"])
        self._expect("nothing is held any more, and the tier has risen", not after.held and after.tier != before.tier)
        return str(placed["id"])

    def _put_in_cart(self, title: str, kind: str, quantity: int) -> None:
        sku = self._sku(title, kind)
        self._member.do("CartChanged", said.CART_ADD, sku=sku["id"], quantity=quantity, key=new_secret(12))
        self._tell(f"  Into the cart: {quantity} × {title} {kind} at {_yuan(sku['priceNow']['price'])}.")

    def _quote(self, address_id: str, *, points: int = 0) -> Any:
        quote = self._member.ask(said.CART, address=address_id, points=points)["quote"]
        if quote["__typename"] != "OrderQuote":
            raise StoryBroken(f"the cart cannot be ordered: {quote['code']} {quote['message']}")
        return quote

    def _pieces(self) -> int:
        return sum(line["quantity"] for line in self._member.ask(said.CART_LINES)["lines"])

    def _send(self, order_id: str) -> None:
        parcel = {"orderId": order_id, "carrier": "SF", "trackingNumber": f"SF{new_secret(6).encode().hex().upper()}"}
        self._operator.do("ParcelKept", said.PARCEL, input=parcel, key=new_secret(12))
        self._member.do("OrderChanged", said.RECEIPT, id=order_id)
        self._tell("  The operator has sent a parcel, and the member has confirmed its receipt.")

    # One piece goes back

    def _give_one_piece_back(self, order_id: str) -> None:
        before = self._figures()
        lines = self._member.ask(said.ORDER_LINES, id=order_id)["lines"]
        line = next(line for line in lines if line["quantity"] == 2)
        piece = [{"lineId": line["id"], "quantity": 1}]
        preview = self._member.do("RefundEffect", said.REFUND_PREVIEW, id=order_id, lines=piece)
        points_back = sum(back["amount"] for back in preview["pointsBack"])
        self._tell(
            f"\n  One of two 铁观音 is faulty. Giving it back: {_yuan(preview['cash'])} and {points_back} used points"
            f" come back, {preview['pointsTaken']} earned points and {preview['growthTaken']} growth are taken."
        )
        wish = {"kind": "RETURN_AND_REFUND", "reason": "QUALITY", "lines": piece, "expected": preview["digest"]}
        asked = self._member.do("AfterSaleChanged", said.ASK_REFUND, id=order_id, input=wish, key=new_secret(12))
        request_id = asked["afterSale"]["id"]
        self._operator.do("AfterSaleDecided", said.APPROVE, id=request_id, key=new_secret(12))
        self._member.do("AfterSaleChanged", said.SEND_BACK, id=request_id, number=f"SF{new_secret(6).encode().hex()}")
        self._operator.do(
            "AfterSaleDecided", said.RECEIVE, id=request_id, expected=preview["digest"], key=new_secret(12)
        )
        self._tell("  Asked for, approved, sent back, received.")
        order = self._member.wait(
            "the money is back",
            lambda order: [part["state"] for part in order["refundParts"]] == ["DONE"],
            said.REFUND_PARTS,
            id=order_id,
        )
        after = self._figures()
        told = {name: value for name, value in preview.items() if name != "__typename"}
        self._tell(f"  Refunded.  {_told(after)}")
        self._expect("the refund did exactly what its preview said", order["refundParts"][0]["effect"] == told)
        self._expect("the money is what it said", order["refunded"] == preview["cash"])
        moved = (after.balance - before.balance, after.growth - before.growth)
        self._expect(
            "so are points and growth", moved == (points_back - preview["pointsTaken"], -preview["growthTaken"])
        )

    # Flash sale and team

    def _buy_in_a_flash_sale(self, address_id: str) -> str:
        sales = self._member.ask(said.FLASH_SALES)["nodes"]
        running = [sale for sale in sales if sale["opensForYouAt"] <= sale["serverTime"] < sale["closesAt"]]
        items = [item for sale in running for item in sale["items"] if item["left"]]
        if not items:
            raise StoryBroken("no flash sale is open; start the demo store anew")
        item = items[0]
        wish = {"itemId": item["id"], "expectedPayable": item["price"]}
        order = self._member.do("FlashSalePurchased", said.FLASH_PURCHASE, input=wish, key=new_secret(12))["order"]
        self._tell(
            f"\n  Flash sale: one of {item['left']} {item['productTitle']} at {_yuan(order['payable'])}"
            f" instead of {_yuan(item['listPrice'])}."
        )
        self._member.do("OrderAddressSet", said.ADDRESS_SET, id=order["id"], address=address_id)
        self._paid(self._member, order["id"])
        self._expect("it waits to be shipped", self._order(order["id"])["fulfilment"] == "TO_SHIP")
        return str(order["id"])

    def _complete_a_team(self) -> tuple[str, str]:
        campaigns = self._member.ask(said.GROUP_BUYS)["nodes"]
        running = [campaign for campaign in campaigns if campaign["opensAt"] <= campaign["serverTime"]]
        if not running:
            raise StoryBroken("no group-buy is running; start the demo store anew")
        item = running[0]["items"][0]
        size, price = item["prices"][0]["size"], item["prices"][0]["price"]
        point = self._member.ask(said.PICK_UP_POINTS)["nodes"][0]
        wish = {"itemId": item["id"], "expectedPayable": price, "pickUpPointId": point["id"]}
        leading = self._member.do("GroupSeatHeld", said.GROUP_OPEN, input=wish, size=size, key=new_secret(12))
        self._tell(
            f"\n  Group-buy: {item['productTitle']} at {_yuan(price)} for {size} instead of {_yuan(item['listPrice'])}."
        )
        self._paid(self._member, leading["order"]["id"])
        token = leading["seat"]["team"]["token"]
        team = self._member.ask(said.TEAM, token=token)
        self._expect("the team is open and waits for one more", (team["state"], team["freeCount"]) == ("OPEN", 1))
        self._log_in(self._friend)
        joined = self._friend.do("GroupSeatHeld", said.GROUP_JOIN, input=wish, token=token, key=new_secret(12))
        self._tell("  A friend has joined by the token of the shared page.")
        self._paid(self._friend, joined["order"]["id"])
        self._friend.wait("the team is complete", lambda team: team["state"] == "COMPLETE", said.TEAM, token=token)
        for who, order in ((self._member, leading), (self._friend, joined)):
            who.wait(
                "the goods can be picked up",
                lambda order: order["fulfilment"] == "TO_PICK_UP",
                said.ORDER,
                id=order["order"]["id"],
            )
        self._tell("  The team is complete, and both orders can be picked up.")
        return leading["order"]["id"], joined["order"]["id"]

    # What happens again and again

    def _place(self, **wish: object) -> Any:
        placed = self._member.do("OrderPlaced", said.PLACE, input=wish, key=new_secret(12))["order"]
        self._tell(f"  Ordered: {placed['number']}.")
        return placed

    def _paid(self, who: Client, order_id: str) -> Figures:
        asked = who.do("PaymentRequested", said.PAY, id=order_id)
        self._phone.does("request_payment", {name: value for name, value in asked.items() if name != "__typename"})
        who.wait("the order is paid", lambda order: order["state"] == "PAID", said.ORDER, id=order_id)
        figures = self._figures(who)
        self._tell(f"  Paid over WeChat Pay, and WeChat has sent its notice.  {_told(figures)}")
        return figures

    def _refund(self, who: Client, order_id: str) -> None:
        self._operator.do("OrderRefunded", said.REFUND, id=order_id, key=new_secret(12))
        who.wait("the order is refunded", lambda order: order["state"] == "REFUNDED", said.ORDER, id=order_id)

    def _order(self, order_id: str) -> Any:
        return self._member.ask(said.ORDER, id=order_id)

    def _figures(self, who: Client | None = None) -> Figures:
        home = (who or self._member).ask(said.HOME)
        points = home["points"]
        return Figures(
            tier=home["tier"]["level"]["name"],
            growth=home["tier"]["growthValue"],
            balance=points["balance"],
            available=points["available"],
            held=points["held"],
            debt=points["debt"],
        )

    def _sku(self, title: str, kind: str) -> Any:
        for product in self._member.ask(said.PRODUCTS)["nodes"]:
            for sku in product["skus"]:
                if (product["title"], sku["title"]) == (title, kind):
                    return sku
        raise StoryBroken(f"{title} {kind} is not on sale")

    def _stock(self) -> dict[str, int]:
        products = self._member.ask(said.PRODUCTS)["nodes"]
        return {sku["id"]: sku["stockLeft"] for product in products for sku in product["skus"]}

    def _cases(self) -> set[str]:
        return {case["id"] for case in self._operator.ask(said.CASES)["nodes"]}

    def _expect(self, promise: str, kept: bool) -> None:
        if not kept:
            raise StoryBroken(f"not so: {promise}. The member sees {_told(self._figures())}")
        self._tell(f"    ✓ {promise}")


def _yuan(fen: int) -> str:
    return f"¥{fen // 100}.{fen % 100:02}"


def _sum_of(quote: Any) -> str:
    parts = (
        ("discount", "discount"),
        ("promotionAmount", "promotion"),
        ("couponAmount", "coupons"),
        ("pointsAmount", "points"),
    )
    taken_off = "".join(f" - {_yuan(quote[name])} {word}" for name, word in parts)
    return f"{_yuan(quote['goods'])} goods{taken_off} + {_yuan(quote['shipping'])} shipping = {_yuan(quote['payable'])}"


def _told(figures: Figures) -> str:
    held = f" ({figures.held} held)" if figures.held else ""
    debt = f", debt {figures.debt}" if figures.debt else ""
    return f"[{figures.tier}, growth {figures.growth}, points {figures.balance}{held}{debt}]"
