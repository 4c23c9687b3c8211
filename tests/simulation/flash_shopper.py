"""A buyer of a flash sale who does whatever comes to mind."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import httpx

from tests.flash import Sale
from tests.patience import PATIENCE_S
from tests.races.buyers import CANCEL, PAY
from tests.simulation.flash_caller import Caller
from tests.simulation.flash_seen import Call

MOST_OPEN = 5
"""Who has sent so many wishes in vain sends those again rather than new ones."""

BUY = """
mutation Buy($item: ID!, $quantity: Int!, $wait: ID, $key: IdempotencyKey!) {
  done: flashSalePurchase(input: {itemId: $item, quantity: $quantity, waitId: $wait}, idempotencyKey: $key) {
    __typename ... on FlashSalePurchased { order { id lines { id } } } ... on Refusal { code }
  }
}
"""
WAIT = """
mutation Wait($item: ID!, $quantity: Int!, $key: IdempotencyKey!) {
  done: flashSaleWait(itemId: $item, quantity: $quantity, idempotencyKey: $key) {
    __typename ... on FlashWaitChanged { wait { id state quantity } } ... on Refusal { code }
  }
}
"""
LEAVE = """
mutation Leave($id: ID!) {
  done: flashSaleWaitLeave(waitId: $id) {
    __typename ... on FlashWaitChanged { wait { id state quantity } } ... on Refusal { code }
  }
}
"""
PLACES = "query Places { done: flashSaleWaits(first: 50) { nodes { id itemId state quantity } } }"
LIVE = frozenset({"WAITING", "OFFERED"})


class Wish(NamedTuple):
    """What a key stands for: a purchase, the claim of a place's offer, or a place in the queue."""

    what: str
    quantity: int
    place_id: str = ""


class Place(NamedTuple):
    """A place in the queue as it was last seen."""

    state: str
    quantity: int


class Bought(NamedTuple):
    """An order as its buyer remembers it."""

    line_id: str
    quantity: int


@dataclass(kw_only=True)
class Shopper(Caller):
    """A member. ``mine`` are the orders that he may pay or give back, ``paid`` those that he has paid.

    ``sandbox`` is where WeChat is; without it he does not pay.
    """

    path = "/graphql"
    sale: Sale
    sandbox: str = ""
    open_keys: dict[str, Wish] = field(default_factory=dict)
    mine: dict[str, Bought] = field(default_factory=dict)
    paid: dict[str, Bought] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)

    async def send(self, key: str, wish: Wish) -> str | None:
        """One tap; None when nobody answered."""
        self.open_keys[key] = wish
        call = self.new(wish.what, key=key, quantity=wish.quantity, place_id=wish.place_id)
        variables = {"item": str(self.sale.item_id), "quantity": wish.quantity, "key": key}
        if wish.what == "wait":
            done = await self.call(call, WAIT, **variables)
        else:
            done = await self.call(call, BUY, **variables, wait=wish.place_id or None)
        if done is None:
            return None
        self.open_keys.pop(key, None)
        if "order" in done:
            call.order_id = done["order"]["id"]
            self.mine[call.order_id] = Bought(done["order"]["lines"][0]["id"], wish.quantity)
        self._see(call, done)
        return call.answer

    async def buy(self, quantity: int) -> str | None:
        """A purchase."""
        return await self.send(self.key(), Wish("buy", quantity))

    def _see(self, call: Call, done: dict[str, Any]) -> None:
        if "wait" in done:
            call.place_id, call.answer = done["wait"]["id"], done["wait"]["state"]
            self.places[call.place_id] = Place(call.answer, done["wait"]["quantity"])

    async def leave(self, place_id: str) -> None:
        """Leave the queue, or give an offer back."""
        call = self.new("leave", place_id=place_id)
        done = await self.call(call, LEAVE, id=place_id)
        if done is not None:
            self._see(call, done)

    async def look(self) -> bool:
        """See how the own places stand; False when nobody answered."""
        asked = self.new("look")
        done = await self.call(asked, PLACES)
        if done is None:
            return False
        for node in done["nodes"]:
            if node["itemId"] != str(self.sale.item_id):
                continue
            self.places[node["id"]] = Place(node["state"], node["quantity"])
            seen = self.new("look", place_id=node["id"])
            seen.sent_at, seen.answered_at, seen.answer = asked.sent_at, asked.answered_at, node["state"]
            self.calls.append(seen)
        return True

    async def cancel(self, order_id: str) -> None:
        """Give an order back."""
        call = self.new("cancel", order_id=order_id)
        done = await self.call(call, CANCEL, id=order_id)
        if done is not None:
            self.mine.pop(order_id, None)
        call.answer = done["order"]["state"] if done and "order" in done else call.answer

    async def pay(self, order_id: str) -> None:
        """Pay in WeChat; the shop hears of it from there."""
        done = await self.call(self.new("ask to pay", order_id=order_id), PAY, id=order_id)
        if done is None or done.pop("__typename") != "PaymentRequested":
            return
        call = self.new("pay", order_id=order_id)
        call.sent_at = time.time()
        async with httpx.AsyncClient(trust_env=False, verify=False, timeout=20.0) as wechat:
            paid = await wechat.post(f"{self.sandbox}/_sandbox/request_payment", json=done)
        if paid.status_code == 200:
            self.calls.append(call)
            call.answer, call.answered_at = "PAID", time.time()
            if order_id in self.mine:
                self.paid[order_id] = self.mine.pop(order_id)

    async def shop(self, over: asyncio.Event) -> None:
        """Whatever comes to mind, until it is over."""
        while not over.is_set():
            await self._do_something()
            await asyncio.sleep(self.rng.uniform(0.0, 0.15))

    async def _do_something(self) -> None:
        mind = self.rng.random()
        if self.open_keys and (mind < 0.2 or len(self.open_keys) > MOST_OPEN):
            key = self.rng.choice(sorted(self.open_keys))
            await self.send(key, self.open_keys[key])
        elif mind < 0.5 and self._live():
            await self._see_to_the_queue()
        elif mind < 0.4 and self.mine and self.sandbox:
            await self.pay(self.rng.choice(sorted(self.mine)))
        elif mind < 0.54 and self.mine:
            await self.cancel(self.rng.choice(sorted(self.mine)))
        elif mind < 0.75:
            await asyncio.gather(*(self.buy(1) for _ in range(3)))
        elif mind < 0.82:
            await self._tap_thrice(Wish("buy", 1))
        else:
            quantity = self.rng.randint(1, 2)
            if await self.buy(quantity) == "FLASH_SOLD_OUT":
                await self.send(self.key(), Wish("wait", quantity))

    async def _tap_thrice(self, wish: Wish) -> None:
        key = self.key()
        await asyncio.gather(*(self.send(key, wish) for _ in range(3)))

    async def _see_to_the_queue(self) -> None:
        await self.look()
        mind = self.rng.random()
        for place_id in self._live():
            state, quantity = self.places[place_id]
            claim = Wish("buy", quantity, place_id)
            if mind < 0.1:
                await self.leave(place_id)
            elif state == "OFFERED" and mind < 0.3 and self.mine:
                order_id = self.rng.choice(sorted(self.mine))
                await asyncio.gather(self.cancel(order_id), self.send(self.key(), claim))
            elif state == "OFFERED" and mind < 0.5:
                await self.send(self.key(), claim)
            elif state == "OFFERED" and mind < 0.6:
                await self._tap_thrice(claim)
            elif state == "OFFERED" and mind < 0.75:
                await asyncio.gather(*(self.send(self.key(), claim) for _ in range(3)))

    def _live(self) -> list[str]:
        return sorted(place_id for place_id, place in self.places.items() if place.state in LIVE)

    async def finish(self) -> None:
        """Send what had no answer again until it has one, as a phone does."""
        async with asyncio.timeout(PATIENCE_S):
            while self.open_keys:
                key = min(self.open_keys)
                await self.send(key, self.open_keys[key])

    async def leave_the_queue(self) -> None:
        """Wait for nothing any longer."""
        async with asyncio.timeout(PATIENCE_S):
            while not await self.look() or self._live():
                for place_id in self._live():
                    await self.leave(place_id)

    async def take_what_is_left(self) -> None:
        """Buy one by one until the limit or the end."""
        async with asyncio.timeout(PATIENCE_S):
            while await self.buy(1) not in ("FLASH_SOLD_OUT", "FLASH_LIMIT_REACHED"):
                continue

    async def give_everything_back(self) -> None:
        """Cancel whatever is not paid."""
        async with asyncio.timeout(PATIENCE_S):
            while self.mine:
                await self.cancel(min(self.mine))
