"""Money in whole fen and rates in basis points: the only two divisions that prices and shares are made of.

Source: docs/rules/money.md
"""

from collections.abc import Sequence

BP = 10_000
"""Basis points in one whole: 10,000 bp is 100 %."""

MAX_FEN = 1_000_000_000_000_000
"""The largest amount any rule accepts, in fen; it stays exact in every number a client may use."""


def apply_bp(amount: int, bp: int) -> int:
    """The part ``bp`` of ``amount``, rounded half up to a whole fen or point.

    ``amount`` is 0..MAX_FEN in any unit, ``bp`` is 0 or more in 1/10,000.
    """
    assert 0 <= amount <= MAX_FEN, f"amount {amount} is out of bounds"
    assert bp >= 0, f"rate {bp} is negative"
    return (amount * bp + BP // 2) // BP


def prorate(total: int, weights: Sequence[int]) -> list[int]:
    """Split ``total`` over lines in proportion to their weights; the shares add up to ``total`` exactly.

    Each line gets its share rounded down; the units left go one each to the largest remainders, the earlier line
    first. No share exceeds its weight while ``total`` is at most the sum of the weights. Weights that are all 0 count
    as equal.
    """
    assert 0 <= total <= MAX_FEN, f"total {total} is out of bounds"
    assert weights, "nothing to split over"
    assert all(0 <= weight <= MAX_FEN for weight in weights), "a weight is out of bounds"
    whole = sum(weights)
    if whole == 0:
        weights, whole = [1] * len(weights), len(weights)
    shares = [total * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda line: (-(total * weights[line] % whole), line))
    for line in by_remainder[: total - sum(shares)]:
        shares[line] += 1
    return shares


def next_share(total: int, *, done: int, doing: int, whole: int) -> int:
    """What ``total`` gives for the next ``doing`` of ``whole`` parts after ``done`` of them: partial refunds use it.

    The running sum is rounded down, so the parts add up to ``total`` exactly when the last one is done, whatever the
    steps were. ``whole`` is 1 or more; ``done + doing`` is at most ``whole``.
    """
    assert 0 <= total <= MAX_FEN, f"total {total} is out of bounds"
    assert 0 <= done <= done + doing <= whole, "more parts than there are"
    assert whole >= 1, "nothing to share"
    return total * (done + doing) // whole - total * done // whole
