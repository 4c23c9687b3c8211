from hypothesis import example, given
from hypothesis import strategies as st

from loyalty.money import BP, MAX_FEN, apply_bp, next_share, prorate
from tests.loyalty.worked_examples import number, numbers, worked

amounts = st.integers(0, MAX_FEN)


def test_rates_round_as_the_page_says() -> None:
    for row in worked("money.md", "Example: rate of an amount"):
        assert apply_bp(number(row["amount"]), number(row["rate in bp"])) == number(row["result"]), row


def test_shares_are_as_the_page_says() -> None:
    for row in worked("money.md", "Example: a sum shared over lines"):
        assert prorate(number(row["total"]), numbers(row["weights"])) == numbers(row["shares"]), row


def test_partial_refunds_are_as_the_page_says() -> None:
    for row in worked("money.md", "Example: a line refunded in parts"):
        done, given_back = 0, []
        for step in numbers(row["refunded in steps of"]):
            given_back.append(next_share(number(row["total"]), done=done, doing=step, whole=number(row["units"])))
            done += step
        assert given_back == numbers(row["gives back"]), row


@given(amounts, st.integers(0, BP))
def test_a_rate_is_never_more_than_half_a_fen_off(amount: int, bp: int) -> None:
    assert abs(apply_bp(amount, bp) * BP - amount * bp) * 2 <= BP
    assert 0 <= apply_bp(amount, bp) <= amount


@given(amounts, st.lists(st.integers(0, 10**9), min_size=1, max_size=50))
@example(10, [0, 0, 0])
def test_shares_add_up_to_the_total_exactly(total: int, weights: list[int]) -> None:
    shares = prorate(total, weights)
    assert sum(shares) == total
    whole = sum(weights)
    if whole:
        for share, weight in zip(shares, weights, strict=True):
            assert abs(share * whole - total * weight) < whole


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=50), st.data())
def test_no_share_exceeds_its_weight_while_the_total_does_not(weights: list[int], data: st.DataObject) -> None:
    total = data.draw(st.integers(0, sum(weights)))
    if sum(weights):
        assert all(share <= weight for share, weight in zip(prorate(total, weights), weights, strict=True))


@given(st.integers(0, 10**9), st.integers(1, 1_000), st.lists(st.integers(1, 40), max_size=200))
def test_parts_refunded_in_any_steps_add_up_to_the_whole(total: int, whole: int, steps: list[int]) -> None:
    done = given_back = 0
    for step in [*steps, whole]:
        doing = min(step, whole - done)
        part = next_share(total, done=done, doing=doing, whole=whole)
        assert part >= 0
        given_back, done = given_back + part, done + doing
    assert (done, given_back) == (whole, total)
