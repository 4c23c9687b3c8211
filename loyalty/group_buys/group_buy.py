"""Group-buy: what a campaign may look like, who gets a seat, and what a team becomes.

Source: docs/rules/group_buy.md
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import ClassVar
from uuid import UUID

from loyalty.programme import DUPLICATE, NOT_ASCENDING, Reason, between, invalid
from loyalty.refusal import Refusal

MAX_TITLE_LENGTH = 60
MAX_ITEMS = 50
MAX_SIZES = 5
MIN_SIZE, MAX_SIZE = 2, 100
MAX_MEMBER_LIMIT = 99
MAX_PIECES = 99
DEFAULT_TEAM_HOURS, MAX_TEAM_HOURS = 24, 168
MAX_WINDOW = timedelta(days=90)


class GroupBuyState(StrEnum):
    """Where a campaign stands. Only in a published one, within its window, teams are opened."""

    DRAFT = "draft"
    PUBLISHED = "published"
    CLOSED = "closed"


class TeamState(StrEnum):
    """Where a team stands. Pending until its leader has paid; complete and failed are final."""

    PENDING = "pending"
    OPEN = "open"
    COMPLETE = "complete"
    FAILED = "failed"


class SeatState(StrEnum):
    """What became of a seat: held, taken by payment; released, or left while the team was open; returned with a refund
    after the team had ended."""

    PENDING = "pending"
    POSTED = "posted"
    RELEASED = "released"
    LEFT = "left"
    RETURNED = "returned"


class Fallback(StrEnum):
    """What a member wants when there is no seat any more."""

    NEW_TEAM = "new_team"
    OTHER_TEAM = "other_team"
    REFUND = "refund"


class GroupBuyNotFound(Refusal):
    """No such campaign, for an operator."""

    code = "GROUP_BUY_NOT_FOUND"
    zh = "拼团活动不存在"
    en = "There is no such group-buy."


class GroupBuyStateRefused(Refusal):
    """What was asked for is not possible in the campaign's ``state``."""

    code = "GROUP_BUY_STATE_REFUSED"
    zh = "拼团活动当前状态（{state}）不支持此操作"
    en = "This is not possible while the group-buy is {state}."
    zh_words: ClassVar = {
        GroupBuyState.DRAFT: "草稿",
        GroupBuyState.PUBLISHED: "已发布",
        GroupBuyState.CLOSED: "已结束",
    }


class GroupNotOffered(Refusal):
    """No such campaign, item or size; or it is not published, or not within its window."""

    code = "GROUP_NOT_OFFERED"
    zh = "该拼团不存在或未开放"
    en = "This is not offered in a group-buy."


class GroupTeamNotFound(Refusal):
    """No such team, or its leader has not paid."""

    code = "GROUP_TEAM_NOT_FOUND"
    zh = "团不存在"
    en = "There is no such team."


class GroupTeamOver(Refusal):
    """The team takes nobody any more."""

    code = "GROUP_TEAM_OVER"
    zh = "该团已结束"
    en = "This team has ended."


class GroupTeamFull(Refusal):
    """Every seat is held or taken."""

    code = "GROUP_TEAM_FULL"
    zh = "该团名额已满"
    en = "This team is full."


class GroupAlreadyIn(Refusal):
    """The member has a seat in this team."""

    code = "GROUP_ALREADY_IN"
    zh = "您已在该团中"
    en = "You are in this team already."


class GroupNewcomersOnly(Refusal):
    """Only members without a paid order may join."""

    code = "GROUP_NEWCOMERS_ONLY"
    zh = "仅限新人参团，您可以自己开团"
    en = "Only newcomers may join; you may open a team."


class GroupLimitReached(Refusal):
    """A member may have ``limit`` orders of the campaign."""

    code = "GROUP_LIMIT_REACHED"
    zh = "每人限参与 {limit} 次"
    en = "The limit is {limit} for each member."


class GroupSeatNotFound(Refusal):
    """The order has no seat that could be left, or is not this member's."""

    code = "GROUP_SEAT_NOT_FOUND"
    zh = "拼团名额不存在"
    en = "There is no such seat."


# Teams


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamTerms:
    """A team as it stands. ``ends_at`` None: its leader has not paid. ``virtual_from`` None: only a full team is
    complete.
    """

    state: TeamState
    size: int
    joined_count: int
    held_count: int
    ends_at: datetime | None
    virtual_from: int | None = None


def next_state(team: TeamTerms, *, now: datetime) -> TeamState:
    """What the team is at ``now``; complete and failed teams stay what they are.

    The end of its time waits for the seats that are being paid.
    """
    if team.state in (TeamState.COMPLETE, TeamState.FAILED):
        return team.state
    if team.joined_count >= team.size:
        return TeamState.COMPLETE
    if team.held_count > 0:
        return TeamState.PENDING if team.ends_at is None else TeamState.OPEN
    if team.joined_count == 0:
        return TeamState.FAILED
    if team.ends_at is None or now < team.ends_at:
        return TeamState.OPEN
    enough = team.virtual_from is not None and team.joined_count >= team.virtual_from
    return TeamState.COMPLETE if enough else TeamState.FAILED


def has_seat(team: TeamTerms, *, now: datetime) -> bool:
    """Whether somebody may join at ``now``."""
    return _is_on(team, now) and team.joined_count + team.held_count < team.size


def _is_on(team: TeamTerms, now: datetime) -> bool:
    return team.state is TeamState.OPEN and team.ends_at is not None and now < team.ends_at


def admit_member(
    *, joining: bool, newcomers_only: bool, paid_before: bool, member_limit: int | None, had_count: int
) -> None:
    """Whether a member may have one more order of a campaign; ``had_count`` are those unpaid and paid.

    ``paid_before`` also counts another seat that only a newcomer may have.

    Raises, in this order: GroupNewcomersOnly, GroupLimitReached.
    """
    if joining and newcomers_only and paid_before:
        raise GroupNewcomersOnly
    if member_limit is not None and had_count >= member_limit:
        raise GroupLimitReached(limit=member_limit)


def admit_join(
    team: TeamTerms,
    *,
    already_in: bool,
    newcomers_only: bool,
    paid_before: bool,
    member_limit: int | None,
    had_count: int,
    fallback: Fallback,
    now: datetime,
) -> bool:
    """Whether a member may join, and then whether in this very team; False: the fallback is to be followed.

    Raises, in this order: GroupAlreadyIn, GroupTeamOver, GroupNewcomersOnly, GroupLimitReached, GroupTeamFull.
    """
    if already_in:
        raise GroupAlreadyIn
    if not _is_on(team, now) and fallback is Fallback.REFUND:
        raise GroupTeamOver
    admit_member(
        joining=True,
        newcomers_only=newcomers_only,
        paid_before=paid_before,
        member_limit=member_limit,
        had_count=had_count,
    )
    free = has_seat(team, now=now)
    if not free and fallback is Fallback.REFUND:
        raise GroupTeamFull
    return free


def next_leader(joined: Sequence[UUID], *, leaving: UUID) -> UUID | None:
    """Who leads once ``leaving`` is gone, of the members in the order in which they paid; None: nobody is left."""
    return next((member for member in joined if member != leaving), None)


# What operators make


@dataclass(frozen=True, slots=True, kw_only=True)
class NewGroupItem:
    """An item as an operator wants it: the price of a piece for each size. ``list_price_fen`` is the SKU's."""

    sku_id: UUID
    prices_fen: tuple[int, ...]
    list_price_fen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupTerms:
    """What everybody meets in a campaign. Teams are opened from ``opens_at`` until before ``closes_at``."""

    title: str
    opens_at: datetime
    closes_at: datetime
    sizes: tuple[int, ...]
    team_hours: int = DEFAULT_TEAM_HOURS
    virtual_from: int | None = None
    newcomers_only: bool = False
    member_limit: int | None = None
    most_pieces: int = 1


def admit_campaign(terms: GroupTerms, *, now: datetime) -> None:
    """Whether a campaign may have these values. Raises: ProgrammeInvalid, which names the first that cannot work."""
    if not 1 <= len(terms.title.strip()) <= MAX_TITLE_LENGTH:
        reason = Reason(f"must be 1 to {MAX_TITLE_LENGTH} characters", f"须为 1 至 {MAX_TITLE_LENGTH} 个字符")
        raise invalid("title", reason)
    if terms.closes_at <= terms.opens_at:
        raise invalid("closes_at", Reason("must be later than opens_at", "必须晚于 opens_at"))
    if terms.closes_at - terms.opens_at > MAX_WINDOW:
        reason = Reason("must be within 90 days of opens_at", "与 opens_at 相距不得超过 90 天")
        raise invalid("closes_at", reason)
    if terms.closes_at <= now:
        raise invalid("closes_at", Reason("must not lie in the past", "不能早于现在"))
    if not 1 <= len(terms.sizes) <= MAX_SIZES:
        raise invalid("sizes", Reason(f"must have 1 to {MAX_SIZES} entries", f"须有 1 至 {MAX_SIZES} 项"))
    for at, size in enumerate(terms.sizes):
        if not MIN_SIZE <= size <= MAX_SIZE:
            raise invalid(f"sizes[{at}]", between(MIN_SIZE, MAX_SIZE))
        if at and size <= terms.sizes[at - 1]:
            raise invalid(f"sizes[{at}]", NOT_ASCENDING)
    if not 1 <= terms.team_hours <= MAX_TEAM_HOURS:
        raise invalid("team_hours", between(1, MAX_TEAM_HOURS))
    if terms.virtual_from is not None and not MIN_SIZE <= terms.virtual_from < terms.sizes[-1]:
        raise invalid(
            "virtual_from", Reason("must be 2 or more and below the largest size", "须不小于 2 且小于最大人数")
        )
    if terms.member_limit is not None and not 1 <= terms.member_limit <= MAX_MEMBER_LIMIT:
        raise invalid("member_limit", between(1, MAX_MEMBER_LIMIT))
    if not 1 <= terms.most_pieces <= MAX_PIECES:
        raise invalid("most_pieces", between(1, MAX_PIECES))


def admit_items(items: Sequence[NewGroupItem], *, sizes: Sequence[int]) -> None:
    """Whether a campaign may have these items. Raises: ProgrammeInvalid, which names the first that cannot work."""
    if not 1 <= len(items) <= MAX_ITEMS:
        raise invalid("items", Reason(f"must have 1 to {MAX_ITEMS} entries", f"须有 1 至 {MAX_ITEMS} 项"))
    seen: set[UUID] = set()
    for at, item in enumerate(items):
        if item.sku_id in seen:
            raise invalid(f"items[{at}].sku_id", DUPLICATE)
        seen.add(item.sku_id)
        _admit_prices(item, f"items[{at}].prices_fen", len(sizes))


def _admit_prices(item: NewGroupItem, path: str, sizes: int) -> None:
    if len(item.prices_fen) != sizes:
        raise invalid(path, Reason(f"must have {sizes} entries, one for each size", f"须有 {sizes} 项，与人数一一对应"))
    for at, price_fen in enumerate(item.prices_fen):
        if not 1 <= price_fen <= item.list_price_fen:
            raise invalid(f"{path}[{at}]", between(1, item.list_price_fen))
        if at and price_fen > item.prices_fen[at - 1]:
            raise invalid(f"{path}[{at}]", Reason("must not be higher for more members", "人数更多时价格不得更高"))


def admit_state(state: GroupBuyState, *, wanted: GroupBuyState) -> None:
    """Whether a campaign in ``state`` may be treated as one in ``wanted``. Raises: GroupBuyStateRefused."""
    if state is not wanted:
        raise GroupBuyStateRefused(state=state.value)
