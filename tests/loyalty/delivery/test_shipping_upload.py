"""What WeChat is told of an order's goods, by the table of docs/rules/fulfilment.md."""

from datetime import timedelta

import pytest

from loyalty.delivery import shipping_upload as rule
from loyalty.delivery.fulfilment import FulfilmentState
from tests.loyalty.worked_examples import number, worked


@pytest.mark.parametrize("row", worked("fulfilment.md", "Example: what WeChat is told"), ids=str)
def test_wechat_is_told_what_the_page_says(row: dict[str, str]) -> None:
    state, sent = FulfilmentState(row["state"]), number(row["sent"])
    told = rule.logistics_type(state, sent)
    if row["type"] == "-":
        assert told is None
        return
    assert told == int(row["type"].split()[0])
    assert 1 + rule.is_split(state, sent) == int(row["mode"].split()[0])
    assert rule.is_complete(state) is (row["complete"] == "yes")


def test_it_is_tried_eight_times() -> None:
    waits = [rule.retry_after(tries) for tries in range(1, 9)]
    assert waits[0] == timedelta(minutes=1)
    assert None not in waits[:7]
    assert waits[7] is None


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        ([("龙井 50 克", 2)], "龙井 50 克*2"),
        ([("龙井", 2), ("白茶", 1)], "龙井*2;白茶*1"),
        ([("茶" * 118, 1)], "茶" * 118 + "*1"),
        ([("茶" * 119, 1)], "茶" * 119 + "…"),
    ],
)
def test_a_parcel_is_described_in_120_characters(pieces: list[tuple[str, int]], text: str) -> None:
    assert rule.describe(pieces) == text
    assert len(text) <= rule.MAX_DESCRIPTION
