"""How suspicious a referral is: signals with weights add up to a score that keeps its evidence.

Source: docs/rules/referral.md
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from loyalty.programme import Fields

MAX_SCORE = 100


class RiskSignal(StrEnum):
    """What speaks for the inviter and the friend being one person, or for the friend not being a real one."""

    SAME_PAYER = "same_payer"
    SAME_DEVICE = "same_device"
    SAME_PHONE = "same_phone"
    SAME_ADDRESS = "same_address"
    SAME_NETWORK = "same_network"
    BURST = "burst"
    HURRIED_ORDER = "hurried_order"
    REFUND_HABIT = "refund_habit"


DEFAULT_WEIGHTS: Mapping[RiskSignal, int] = {
    RiskSignal.SAME_PAYER: 80,
    RiskSignal.SAME_DEVICE: 60,
    RiskSignal.SAME_PHONE: 60,
    RiskSignal.SAME_ADDRESS: 30,
    RiskSignal.SAME_NETWORK: 10,
    RiskSignal.BURST: 30,
    RiskSignal.HURRIED_ORDER: 15,
    RiskSignal.REFUND_HABIT: 30,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskFacts:
    """What is known about a referral when it qualifies.

    ``bindings_last_hour`` are the inviter's; ``seconds_to_order`` from the friend's login to the order, None without
    one; ``friends`` and ``friends_refunded`` are the inviter's rewarded friends and those who refunded.
    """

    same_payer: bool = False
    same_device: bool = False
    same_phone: bool = False
    same_address: bool = False
    same_network: bool = False
    bindings_last_hour: int = 0
    seconds_to_order: int | None = None
    friends: int = 0
    friends_refunded: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One signal that was seen, its weight, and the figure behind it (1 where it is only yes or no)."""

    signal: RiskSignal
    weight: int
    figure: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskScore:
    """0 (nothing) to 100, with its evidence, the heaviest first."""

    score: int
    evidence: tuple[Evidence, ...] = ()


BURST_BINDINGS = 10
HURRIED_SECONDS = 60
HABIT_FRIENDS = 5


def assess(facts: RiskFacts, weights: Mapping[RiskSignal, int]) -> RiskScore:
    """The score of a referral: the weights of the signals seen, at most 100.

    ``weights`` replaces the default weight of the signals it names; 0 switches a signal off. A burst is 10 bindings or
    more in an hour, a hurried order comes within less than 60 seconds, a refund habit is half or more of at least 5
    friends.
    """
    seen: dict[RiskSignal, int] = {
        RiskSignal.SAME_PAYER: int(facts.same_payer),
        RiskSignal.SAME_DEVICE: int(facts.same_device),
        RiskSignal.SAME_PHONE: int(facts.same_phone),
        RiskSignal.SAME_ADDRESS: int(facts.same_address),
        RiskSignal.SAME_NETWORK: int(facts.same_network),
    }
    if facts.bindings_last_hour >= BURST_BINDINGS:
        seen[RiskSignal.BURST] = facts.bindings_last_hour
    if facts.seconds_to_order is not None and facts.seconds_to_order < HURRIED_SECONDS:
        seen[RiskSignal.HURRIED_ORDER] = max(facts.seconds_to_order, 1)
    if facts.friends >= HABIT_FRIENDS and facts.friends_refunded * 2 >= facts.friends:
        seen[RiskSignal.REFUND_HABIT] = facts.friends_refunded
    evidence = [
        Evidence(signal=signal, weight=weights.get(signal, DEFAULT_WEIGHTS[signal]), figure=figure)
        for signal, figure in seen.items()
        if figure
    ]
    evidence = [one for one in evidence if one.weight]
    evidence.sort(key=lambda one: -one.weight)
    return RiskScore(score=min(MAX_SCORE, sum(one.weight for one in evidence)), evidence=tuple(evidence))


def parse_weights(item: Fields | None) -> dict[RiskSignal, int]:
    """Read the weights that a programme sets, 0..100 each. Raises: ProgrammeInvalid."""
    if item is None:
        return {}
    weights = {signal: item.integer(signal.value, 0, MAX_SCORE) for signal in RiskSignal if item.has(signal.value)}
    item.done()
    return weights
