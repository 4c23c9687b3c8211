"""What a request takes from the rate limits before it runs. ``docs/rules/rate_limit.md`` lists the limits.

Every request is charged to who sends it (a member, an operator, or a visitor's network) in points: about one for each
field of the answer. Operations that do something dear have limits of their own beside that. A limit that is used up
refuses the whole request, which has then done nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from cache.rate_limit import Ask, Limit, network_of, take_all
from schema.context import Context

REQUEST_POINTS = 10
MUTATION_POINTS = 50
REJECTED_POINTS = 50
"""Charged for a document that is refused before it runs: reading it was the expensive part."""

BUDGET = "budget"
CALLER = "caller"
DEVICE = "device"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """A limit of one operation: ``caller`` for each member, operator or visitor's network, ``device`` for each phone.

    ``kept_alone``: while Redis is away each process keeps the limit by itself, instead of letting the calls pass.
    """

    caller: Limit | None
    device: Limit | None = None
    kept_alone: bool = False


def _pace(burst: int, every_s: float, *, device: tuple[int, float] | None = None, kept_alone: bool = False) -> Pace:
    return Pace(
        caller=Limit(CALLER, burst, timedelta(seconds=every_s)),
        device=None if device is None else Limit(DEVICE, device[0], timedelta(seconds=device[1])),
        kept_alone=kept_alone,
    )


PACES: Mapping[str, Pace] = {
    "sessionLogin": Pace(caller=None, device=Limit(DEVICE, 60, timedelta(seconds=10)), kept_alone=True),
    "sessionRefresh": Pace(caller=None, device=Limit(DEVICE, 60, timedelta(seconds=10)), kept_alone=True),
    "checkIn": _pace(60, 2),
    "checkInMakeUp": _pace(60, 2),
    "couponClaim": _pace(60, 1, device=(120, 1)),
    "couponClaimMonthly": _pace(60, 2),
    "mallExchange": _pace(60, 1),
    "flashSalePurchase": _pace(30, 0.5, device=(60, 0.5), kept_alone=True),
    "flashSaleWait": _pace(30, 2),
    "groupBuyOpen": _pace(60, 1, device=(120, 1)),
    "groupBuyJoin": _pace(60, 1, device=(120, 1)),
    "groupBuyLeave": _pace(60, 1),
    "orderPlace": _pace(60, 1, device=(120, 1)),
    "orderQuoteKeep": _pace(60, 1),
    "orderPay": _pace(60, 1),
    "orderConfirmPayment": _pace(60, 1),
    "orderCancel": _pace(60, 1),
    "afterSalePreview": _pace(60, 2),
    "afterSaleRequestPreview": _pace(60, 2),
    "afterSaleRequest": _pace(30, 5),
    "afterSaleChange": _pace(30, 5),
    "memberUpdate": _pace(60, 2),
    "memberBirthdaySet": _pace(20, 60),
    "referralTokenCreate": _pace(60, 2),
    "memberCodeResolve": _pace(120, 0.5, kept_alone=True),
    "couponCodesMake": _pace(30, 5),
    "couponGrantStart": _pace(30, 5),
    "pointsAdjust": _pace(120, 0.5),
}
"""By the name of the field. Beside these, a few verbs have limits of their own that look at what they were given."""


def budget(points: int, per_s: int) -> Limit | None:
    """A budget of so many points at once and so many more each second; none for 0."""
    return Limit(BUDGET, points, timedelta(microseconds=max(1, 1_000_000 // max(1, per_s)))) if points else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """The limits in force at a door."""

    member: Limit | None = field(default_factory=lambda: budget(60_000, 1_000))
    operator: Limit | None = field(default_factory=lambda: budget(200_000, 5_000))
    visitor: Limit | None = field(default_factory=lambda: budget(200_000, 5_000))
    paces: Mapping[str, Pace] = field(default_factory=lambda: PACES)

    def changed(self, changes: Mapping[str, tuple[int, timedelta] | None]) -> "Rates":
        """The same with other limits by caller for some operations: ``(burst, every)``, or None for no limit.

        Raises:
            ValueError: an operation that has no limit to change.
        """
        unknown = changes.keys() - {name for name, pace in self.paces.items() if pace.caller}
        if unknown:
            raise ValueError(f"no operation with a limit of its own: {', '.join(sorted(unknown))}")
        paces = {
            name: replace(self.paces[name], caller=None if change is None else Limit(CALLER, *change))
            for name, change in changes.items()
        }
        return replace(self, paces={**self.paces, **paces})

    def asked(self, context: Context, fields: Mapping[str, int], cost: int, *, is_mutation: bool) -> list[Ask]:
        """What a request takes from its limits: ``cost`` is the estimate of its answer, ``fields`` its first fields."""
        points = REQUEST_POINTS + cost + (MUTATION_POINTS * sum(fields.values()) if is_mutation else 0)
        asked = self._budget(context, points)
        _, subject = self._caller(context)
        for name, times in fields.items():
            pace = self.paces.get(name)
            if pace is None:
                continue
            if pace.caller is not None:
                asked.append(Ask(name, pace.caller, subject, times, pace.kept_alone))
            if pace.device is not None and context.device_id is not None:
                asked.append(Ask(name, pace.device, f"device:{context.device_id}", times, pace.kept_alone))
        return asked

    async def take(self, context: Context, asked: Sequence[Ask]) -> None:
        """Take what a request asks.

        Raises:
            TooMany: a limit is used up, and nothing was taken.
        """
        if asked:
            await take_all(context.deps.redis, asked)

    async def charge_rejected(self, context: Context) -> None:
        """Take a request that was refused before it ran: one with a token that is not valid, or a bad document.

        Raises:
            TooMany: too many of them came from this network.
        """
        await self.take(context, self._budget(context, REJECTED_POINTS))

    def _caller(self, context: Context) -> tuple[Limit | None, str]:
        if context.member_id is not None:
            return self.member, f"member:{context.member_id}"
        if context.operator_id is not None:
            return self.operator, f"operator:{context.operator_id}"
        return self.visitor, f"network:{network_of(context.client_ip)}"

    def _budget(self, context: Context, points: int) -> list[Ask]:
        limit, subject = self._caller(context)
        return [] if limit is None else [Ask(BUDGET, limit, subject, points, falls_back=False)]
