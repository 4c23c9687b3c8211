"""Faults on order: what an endpoint does wrong for its next calls."""

import asyncio
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Final

from wechat.sandbox.answers import MiniRefusal, OperatorRefusal, PayRefusal

PAY_ENDPOINTS: Final = (
    "prepay",
    "query",
    "close",
    "refund",
    "refund_query",
    "tradebill",
    "billdownload",
    "certificates",
)
MINI_ENDPOINTS: Final = (
    "code2session",
    "checksession",
    "stable_token",
    "phone",
    "shipping_upload",
    "shipping_order",
    "shipping_orders",
    "trade_managed",
)

BEFORE: Final = ("errcode", "frequency_limited", "system_error", "not_enough", "slow", "reset", "pay_first")
"""Done before the call has an effect. ``slow`` and ``pay_first`` then let it go on."""

AFTER: Final = ("system_error_after_effect", "reset_after_effect", "truncated_json")
"""Done once the call has had its effect."""

SIGNATURE: Final = ("unsigned", "forged_signature", "unknown_serial", "stale_timestamp")
"""A success whose signature is wrong; WeChat Pay only."""

LONGEST_S: Final = 300.0
"""Seconds that a slow answer may take."""


@dataclass(slots=True)
class Fault:
    """One fault: after `skip` calls of `endpoint` it strikes `times` times."""

    endpoint: str
    fault: str
    times: int = 1
    skip: int = 0
    errcode: int = -1
    seconds: float = 8.0

    def before_effect(self) -> None:
        """Refuse, if this fault refuses before the effect."""
        if self.fault == "errcode":
            raise MiniRefusal(self.errcode, "fault on order")
        if self.fault == "frequency_limited":
            raise PayRefusal(429, "FREQUENCY_LIMITED", "频率超限", 268447840)
        if self.fault == "system_error":
            raise PayRefusal(500, "SYSTEM_ERROR", "系统错误")
        if self.fault == "not_enough":
            raise PayRefusal(403, "NOT_ENOUGH", "商户余额不足")


class Faults:
    """The faults on order, in the order in which they came."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._taken_back = asyncio.Event()

    def add(self, **wanted: Any) -> Fault:
        """Order one. Raises `OperatorRefusal` for an unknown endpoint or fault."""
        try:
            fault = Fault(**wanted)
        except TypeError as error:
            raise OperatorRefusal(str(error)) from None
        if fault.endpoint not in (*PAY_ENDPOINTS, *MINI_ENDPOINTS):
            raise OperatorRefusal(f"no endpoint {fault.endpoint!r}: {', '.join((*PAY_ENDPOINTS, *MINI_ENDPOINTS))}")
        if fault.fault not in (*BEFORE, *AFTER, *SIGNATURE):
            raise OperatorRefusal(f"no fault {fault.fault!r}: {', '.join((*BEFORE, *AFTER, *SIGNATURE))}")
        if (fault.fault == "errcode") is not (fault.endpoint in MINI_ENDPOINTS) and fault.fault not in (
            "slow",
            "reset",
            "reset_after_effect",
            "truncated_json",
        ):
            raise OperatorRefusal(f"{fault.endpoint} cannot have the fault {fault.fault}")
        self._faults.append(fault)
        return fault

    def take(self, endpoint: str) -> Fault | None:
        """The fault that strikes this call, if any."""
        for fault in self._faults:
            if fault.endpoint != endpoint:
                continue
            if fault.skip > 0:
                fault.skip -= 1
                continue
            fault.times -= 1
            if fault.times <= 0:
                self._faults.remove(fault)
            return fault
        return None

    async def delay(self, fault: Fault) -> None:
        """Wait, if the fault is slowness, for its time or until the orders are taken back.

        Real seconds, for it is the client's patience that is tried.
        """
        if fault.fault == "slow":
            with suppress(TimeoutError):
                async with asyncio.timeout(min(fault.seconds, LONGEST_S)):
                    await self._taken_back.wait()

    def waiting(self) -> list[dict[str, Any]]:
        """The faults that have not struck out yet."""
        return [asdict(fault) for fault in self._faults]

    def clear(self) -> None:
        """Take all orders back; what waits in a slow one goes on."""
        self._faults.clear()
        self._taken_back.set()
        self._taken_back = asyncio.Event()
