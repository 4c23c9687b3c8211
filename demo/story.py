"""The main story of the store, told through HTTP alone, as the mini-program and an operator would live it.

Log in, look around, check in, order, pay; points and growth arrive and the tier rises; a second order pays a part with
points; both are refunded, and every figure is back where it was. Each figure is compared with what was promised.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from models.ids import new_secret

WITHIN_S = 30.0
PAUSE_S = 0.1

HOME = """{ memberHome { tier { level { name } growthValue missing } points { balance available held debt } } }"""
PRODUCTS = "{ products(first: 50) { nodes { title skus { id title yourPrice stockLeft purchaseLimit } } } }"
LOGIN = """mutation ($code: String!) { sessionLogin(code: $code) {
  __typename ... on SessionLoginPayload { accessToken } ... on Refusal { code message } } }"""
CHECK_IN = """mutation ($key: IdempotencyKey!) { checkIn(idempotencyKey: $key) {
  __typename ... on CheckInDone { checkIn { points growth streakDays } } ... on Refusal { code message } } }"""
PLACE = """mutation ($input: OrderPlaceInput!, $key: IdempotencyKey!) {
  orderPlace(input: $input, idempotencyKey: $key) {
  __typename ... on OrderPlaced { order { id number payable pointsUsed pointsAmount } }
  ... on Refusal { code message } } }"""
PAY = """mutation ($id: ID!) { orderPay(orderId: $id) {
  __typename ... on PaymentRequested { timeStamp nonceStr package signType paySign }
  ... on Refusal { code message } } }"""
ORDER = "query ($id: ID!) { order(id: $id) { state } }"
OPERATOR_LOGIN = """mutation ($login: String!, $password: String!) { operatorLogin(login: $login, password: $password) {
  __typename ... on OperatorSession { accessToken } ... on Refusal { code message } } }"""
REFUND = """mutation ($id: ID!, $key: IdempotencyKey!) {
  orderRefund(orderId: $id, reason: "demo", idempotencyKey: $key) {
    __typename ... on OrderRefunded { order { id } } ... on Refusal { code message } } }"""


class StoryBroken(Exception):
    """The store did not do what it promised; the text says where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What the member sees of points and growth."""

    tier: str
    growth: int
    balance: int
    available: int
    held: int
    debt: int


@dataclass(slots=True)
class Client:
    """One caller of one of the two doors."""

    http: httpx.Client
    url: str
    token: str | None = None

    def ask(self, document: str, **variables: object) -> Any:
        """The first field of the answer.

        Raises:
            StoryBroken: an error at the top level.
        """
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        answer = self.http.post(self.url, json={"query": document, "variables": variables}, headers=headers).json()
        if "errors" in answer:
            raise StoryBroken(f"{self.url} answered {answer['errors'][0]}")
        return next(iter(answer["data"].values()))

    def do(self, wanted: str, document: str, **variables: object) -> Any:
        """The result of a mutation, which must be of the type wanted.

        Raises:
            StoryBroken: it was refused.
        """
        result = self.ask(document, **variables)
        if result["__typename"] != wanted:
            raise StoryBroken(f"refused: {result.get('code')} {result.get('message')}")
        return result


class Story:
    """The story in one store. ``tell`` writes a line."""

    def __init__(self, http: httpx.Client, *, store_url: str, platform_url: str, tell: Callable[[str], None]) -> None:
        self._http = http
        self._platform_url = platform_url
        self._member = Client(http, f"{store_url}/graphql")
        self._operator = Client(http, f"{store_url}/admin/graphql")
        self._tell = tell

    def play(self, *, owner_login: str, owner_password: str) -> None:
        """Play it to the end.

        Raises:
            StoryBroken: a figure is not what was promised.
        """
        self._log_in()
        stock_before = self._stock()
        checked_in = self._check_in()
        first = self._order("明前龙井", points=0)
        after_first = self._paid(first)
        self._expect("growth has arrived with the payment", after_first.growth > checked_in.growth)
        self._expect("points have arrived with the payment", after_first.balance > checked_in.balance)
        self._expect("the tier has risen", after_first.tier != checked_in.tier)

        second = self._order("桂花糕", points=100)
        held = self._figures()
        self._expect(
            "100 points are held for the second order", held.held == 100 and held.balance == after_first.balance
        )
        after_second = self._paid(second)
        self._expect("nothing is held any more", after_second.held == 0)

        login = self._operator.do("OperatorSession", OPERATOR_LOGIN, login=owner_login, password=owner_password)
        self._operator.token = login["accessToken"]
        self._tell("\n  The owner refunds both orders, the second first.")
        after_refund = self._refunded(second)
        self._expect("the 100 points are back, and what the order had earned is gone", after_refund == after_first)
        self._expect("every figure is as before the first order", self._refunded(first) == checked_in)
        self._expect("and the stock is complete", self._stock() == stock_before)

    def _log_in(self) -> None:
        code = self._sandbox("login_codes", {})["code"]
        self._member.token = self._member.do("SessionLoginPayload", LOGIN, code=code)["accessToken"]
        self._tell("  A new member has logged in with a code of wx.login.")

    def _check_in(self) -> Figures:
        done = self._member.do("CheckInDone", CHECK_IN, key=new_secret(12))["checkIn"]
        figures = self._figures()
        self._tell(f"  Checked in: {done['points']} points.  {_told(figures)}")
        self._expect("the reward is in the account", figures.balance == done["points"])
        return figures

    def _order(self, title: str, *, points: int) -> str:
        products = self._member.ask(PRODUCTS)["nodes"]
        sku = next(sku for product in products if product["title"] == title for sku in product["skus"])
        quantity = 3
        placed = self._member.do(
            "OrderPlaced",
            PLACE,
            input={"lines": [{"skuId": sku["id"], "quantity": quantity}], "points": points},
            key=new_secret(12),
        )["order"]
        self._tell(
            f"\n  Ordered {quantity} × {title} {sku['title']} at {_yuan(sku['yourPrice'])}: order {placed['number']}."
        )
        if points:
            self._tell(f"    {placed['pointsUsed']} points take off {_yuan(placed['pointsAmount'])}.")
        expected = quantity * sku["yourPrice"] - placed["pointsAmount"]
        self._expect(f"to pay: {_yuan(placed['payable'])}", placed["payable"] == expected)
        order_id: str = placed["id"]
        return order_id

    def _paid(self, order_id: str) -> Figures:
        asked = self._member.do("PaymentRequested", PAY, id=order_id)
        self._sandbox("request_payment", {name: value for name, value in asked.items() if name != "__typename"})
        self._until(order_id, "PAID")
        figures = self._figures()
        self._tell(f"  Paid over WeChat Pay, and WeChat has sent its notice.  {_told(figures)}")
        return figures

    def _refunded(self, order_id: str) -> Figures:
        self._operator.do("OrderRefunded", REFUND, id=order_id, key=new_secret(12))
        self._until(order_id, "REFUNDED")
        figures = self._figures()
        self._tell(f"  Refunded.  {_told(figures)}")
        return figures

    def _until(self, order_id: str, state: str) -> None:
        give_up = time.monotonic() + WITHIN_S
        while self._member.ask(ORDER, id=order_id)["state"] != state:
            if time.monotonic() > give_up:
                raise StoryBroken(f"order {order_id} is not {state} after {WITHIN_S:g} s")
            time.sleep(PAUSE_S)

    def _figures(self) -> Figures:
        home = self._member.ask(HOME)
        points = home["points"]
        return Figures(
            tier=home["tier"]["level"]["name"],
            growth=home["tier"]["growthValue"],
            balance=points["balance"],
            available=points["available"],
            held=points["held"],
            debt=points["debt"],
        )

    def _stock(self) -> dict[str, int]:
        products = self._member.ask(PRODUCTS)["nodes"]
        return {sku["id"]: sku["stockLeft"] for product in products for sku in product["skus"]}

    def _sandbox(self, what: str, asked: Mapping[str, object]) -> Any:
        answer = self._http.post(f"{self._platform_url}/_sandbox/{what}", json=asked)
        if answer.status_code != 200:
            raise StoryBroken(f"the sandbox says {answer.text}")
        return answer.json()

    def _expect(self, promise: str, kept: bool) -> None:
        if not kept:
            raise StoryBroken(f"not so: {promise}. The member sees {_told(self._figures())}")
        self._tell(f"    ✓ {promise}")


def _yuan(fen: int) -> str:
    return f"¥{fen // 100}.{fen % 100:02}"


def _told(figures: Figures) -> str:
    held = f" ({figures.held} held)" if figures.held else ""
    debt = f", debt {figures.debt}" if figures.debt else ""
    return f"[{figures.tier}, growth {figures.growth}, points {figures.balance}{held}{debt}]"
