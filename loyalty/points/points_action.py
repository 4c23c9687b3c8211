"""Deeds that earn fixed points: what a deed is called by those who report it, and why it may earn nothing.

Source: docs/rules/points.md
"""

from loyalty.points.points import PointsProgramme, action_points
from loyalty.refusal import Refusal

MAX_CAUSE_LENGTH = 64


class ActionNotRewarded(Refusal):
    """The points programme in force has no action ``action``."""

    code = "ACTION_NOT_REWARDED"
    zh = "当前积分规则未设置行为 {action}"
    en = "The points rules do not reward the action {action}."


class ActionLimitReached(Refusal):
    """The action was rewarded as often as it may be, today or in the member's life."""

    code = "ACTION_LIMIT_REACHED"
    zh = "该行为的奖励次数已达上限"
    en = "This action was rewarded as often as it may be."


class ActionCauseInvalid(Refusal):
    """A deed is told apart by 1 to ``most`` visible ASCII characters."""

    code = "ACTION_CAUSE_INVALID"
    zh = "行为编号须为 1 至 {most} 个可见 ASCII 字符"
    en = "A deed is named by 1 to {most} visible ASCII characters."


def admit_cause(cause: str) -> str:
    """The name of a deed, as it is. Raises: ActionCauseInvalid."""
    if not 1 <= len(cause) <= MAX_CAUSE_LENGTH or not all("!" <= one <= "~" for one in cause):
        raise ActionCauseInvalid(most=MAX_CAUSE_LENGTH)
    return cause


def admit_action(programme: PointsProgramme, code: str, *, times_today: int, times_ever: int) -> int:
    """The points of doing the action once more, before the caps. Raises: ActionNotRewarded, ActionLimitReached."""
    if programme.action(code) is None:
        raise ActionNotRewarded(action=code[:MAX_CAUSE_LENGTH])
    points = action_points(programme, code, times_today=times_today, times_ever=times_ever)
    if points == 0:
        raise ActionLimitReached()
    return points
