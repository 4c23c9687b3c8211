"""Which deeds earn points, and why others do not."""

import pytest

from loyalty.points.points import PointsProgramme
from loyalty.points.points_action import (
    ActionCauseInvalid,
    ActionLimitReached,
    ActionNotRewarded,
    admit_action,
    admit_cause,
)

PROGRAMME = PointsProgramme.parse(
    {"actions": [{"code": "review", "points": 10, "times_per_day": 2, "times_per_member": 5}]}
)


def test_a_deed_within_its_limits_earns_its_points() -> None:
    assert admit_action(PROGRAMME, "review", times_today=1, times_ever=4) == 10


@pytest.mark.parametrize(("today", "ever"), [(2, 2), (0, 5), (2, 5)])
def test_a_deed_beyond_a_limit_is_refused(today: int, ever: int) -> None:
    with pytest.raises(ActionLimitReached):
        admit_action(PROGRAMME, "review", times_today=today, times_ever=ever)


def test_a_deed_that_the_programme_does_not_have_is_refused() -> None:
    with pytest.raises(ActionNotRewarded) as refused:
        admit_action(PROGRAMME, "share", times_today=0, times_ever=0)
    assert refused.value.data == {"action": "share"}


@pytest.mark.parametrize("cause", ["r", "review:2026-11-20/7", "~" * 64])
def test_a_cause_is_visible_ascii(cause: str) -> None:
    assert admit_cause(cause) == cause


@pytest.mark.parametrize("cause", ["", "a b", "评价", "x" * 65, "a\n"])
def test_a_cause_that_cannot_be_kept_is_refused(cause: str) -> None:
    with pytest.raises(ActionCauseInvalid):
        admit_cause(cause)
