"""Delivers notices: at once, then after each failure by the documented table, on the virtual clock.

Official source: "Payment notification": 15 s, 15 s, 30 s, 3 min, 10 min, 20 min, 3 times 30 min, 60 min, 3 times 3 h,
2 times 6 h; 24 h 4 min in all. A merchant has 5 seconds to answer 200 or 204.
"""

import asyncio
import secrets
from typing import TYPE_CHECKING, Any, Final

import httpx

from wechat.sandbox.letters import letter, spoil_now
from wechat.sandbox.records import Attempt, Delivery
from wechat.sandbox.refunds import finish_due

if TYPE_CHECKING:
    from wechat.sandbox.world import World

RETRY_AFTER_S: Final = (15, 15, 30, 180, 600, 1200, 1800, 1800, 1800, 3600, 10800, 10800, 10800, 21600, 21600)
ANSWER_WITHIN_S: Final = 5.0
AT_ONCE: Final = 16
"""Deliveries under way together."""

CHECK_S: Final = 60.0
"""Real seconds after which the clock is looked at even when nothing seems due."""


class Courier:
    """One background task; `run` lives as long as the server."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._changed = asyncio.Event()
        self._idle = asyncio.Condition()
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._places = asyncio.Semaphore(AT_ONCE)
        self._number = max((each.number for each in world.records.deliveries.values()), default=0)
        self._generation = 0
        self._settling = 0
        self.on_call = False
        """Refunds end and notices leave only while `settle` waits for them."""

    def post(self, *, event_type: str, out_trade_no: str, notify_url: str, resource: dict[str, Any]) -> None:
        """Send a new notice, as its script says."""
        script = self._world.scripts.for_notice(out_trade_no, event_type)
        first = self.new(event_type, out_trade_no, notify_url, resource)
        copies = [first]
        if script is not None:
            first.spoil = script.spoil()
            first.next_s += script.delay_s
            first.state = "held" if script.hold else "pending"
            for _ in range(script.duplicate):
                copy = self.new(event_type, out_trade_no, notify_url, resource)
                copy.spoil, copy.next_s, copy.state = dict(first.spoil), first.next_s, first.state
                copy.id = copy.id if script.fresh_ids else first.id
                copies.append(copy)
        self._world.records.keep(*copies)
        self.wake()

    def new(self, event_type: str, out_trade_no: str, notify_url: str, resource: dict[str, Any]) -> Delivery:
        """A notice that is due now, not yet kept."""
        self._number += 1
        now_s = self._world.now_s()
        return Delivery(
            number=self._number,
            id=f"EV-{int(now_s)}{secrets.randbelow(10**9):09d}",
            event_type=event_type,
            out_trade_no=out_trade_no,
            notify_url=notify_url,
            made_s=now_s,
            next_s=now_s,
            resource=resource,
        )

    def wake(self) -> None:
        """Something changed: look again for what is due."""
        self._changed.set()

    def forget(self) -> None:
        """The records were cleared: what is under way may end, but is not kept."""
        self._generation += 1
        self.wake()

    async def run(self) -> None:
        """Deliver until cancelled."""
        async with httpx.AsyncClient(trust_env=False, timeout=ANSWER_WITHIN_S) as http:
            try:
                while True:
                    self._changed.clear()
                    if not self._rests():
                        finish_due(self._world)
                        for delivery in self._due():
                            task = asyncio.create_task(self._deliver(http, delivery))
                            self._under_way[delivery.key] = task
                    async with self._idle:
                        self._idle.notify_all()
                    wait_s = self._until_next_s()
                    try:
                        async with asyncio.timeout(wait_s):
                            await self._changed.wait()
                    except TimeoutError:
                        continue
            finally:
                for task in self._under_way.values():
                    task.cancel()
                await asyncio.gather(*self._under_way.values(), return_exceptions=True)

    async def settle(self, timeout_s: float) -> bool:
        """Wait until nothing that is due now is left to deliver; False when that takes longer than `timeout_s`."""
        self._settling += 1
        self.wake()
        try:
            async with asyncio.timeout(timeout_s), self._idle:
                await self._idle.wait_for(lambda: not self._changed.is_set() and not self._busy())
        except TimeoutError:
            return False
        finally:
            self._settling -= 1
        return True

    async def send_now(self, delivery: Delivery) -> Attempt:
        """Deliver once, now, whatever its state and its clock; the attempt is counted."""
        async with httpx.AsyncClient(trust_env=False, timeout=ANSWER_WITHIN_S) as http:
            return await self._attempt(http, delivery)

    def _rests(self) -> bool:
        return self.on_call and not self._settling

    def _busy(self) -> bool:
        return bool(self._under_way) or bool(self._due())

    def _due(self) -> list[Delivery]:
        now_s = self._world.now_s()
        return [
            each
            for each in self._world.records.on_their_way.values()
            if each.state == "pending" and each.next_s <= now_s and each.key not in self._under_way
        ]

    def _until_next_s(self) -> float:
        if self._rests():
            return CHECK_S
        records = self._world.records
        times = [
            each.next_s
            for each in records.on_their_way.values()
            if each.state == "pending" and each.key not in self._under_way
        ]
        times += [each.ends_s for each in records.processing.values() if each.outcome != "PROCESSING"]
        return min(max(min(times, default=CHECK_S + self._world.now_s()) - self._world.now_s(), 0.0), CHECK_S)

    async def _deliver(self, http: httpx.AsyncClient, delivery: Delivery) -> None:
        generation = self._generation
        try:
            async with self._places:
                attempt = await self._attempt(http, delivery)
            if generation == self._generation:
                self._reschedule(delivery, attempt)
        finally:
            self._under_way.pop(delivery.key, None)
            self.wake()

    async def _attempt(self, http: httpx.AsyncClient, delivery: Delivery) -> Attempt:
        generation, at_s = self._generation, self._world.now_s()
        status, error = None, None
        if spoil_now(delivery).get("drop"):
            error = "dropped on order"
        else:
            headers, body = letter(self._world, delivery)
            try:
                async with asyncio.timeout(ANSWER_WITHIN_S):
                    answer = await http.post(delivery.notify_url, content=body, headers=headers)
                status = answer.status_code
            except TimeoutError:
                error = "no answer within 5 s"
            except httpx.HTTPError as failure:
                error = type(failure).__name__
        attempt = Attempt(at_s=at_s, status=status, error=error)
        if generation == self._generation:
            delivery.attempts.append(attempt)
            self._world.records.keep(delivery)
        return attempt

    def _reschedule(self, delivery: Delivery, attempt: Attempt) -> None:
        retries = len(delivery.attempts) - 1
        if attempt.status in (200, 204):
            delivery.state = "delivered"
        elif retries >= len(RETRY_AFTER_S):
            delivery.state = "exhausted"
        else:
            delivery.next_s = self._world.now_s() + RETRY_AFTER_S[retries]
        self._world.records.keep(delivery)
        for other in list(self._world.records.on_their_way.values()):
            if other.state == "held" and other.id != delivery.id:
                other.state, other.next_s = "pending", self._world.now_s()
                self._world.records.keep(other)
