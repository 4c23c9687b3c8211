from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.group_buys import group_buy
from loyalty.group_buys.group_buy import Fallback, GroupTerms, NewGroupItem, TeamState, TeamTerms
from loyalty.programme import ProgrammeInvalid
from loyalty.refusal import Refusal
from tests.loyalty.worked_examples import number, worked

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
CAMPAIGN = GroupTerms(title="茶", opens_at=NOON, closes_at=NOON + timedelta(days=1), sizes=(2, 5))
ITEM = NewGroupItem(sku_id=UUID(int=1), prices_fen=(900, 800), list_price_fen=1_000)


def at(cell: str) -> datetime:
    hour, minute = (int(part) for part in cell.split(":"))
    return NOON.replace(hour=hour, minute=minute)


def team(row: dict[str, str], **changed: Any) -> TeamTerms:
    known = TeamTerms(
        state=TeamState.OPEN,
        size=3,
        joined_count=number(row["joined"]),
        held_count=number(row["held"]),
        ends_at=NOON,
    )
    return replace(known, **changed)


def test_a_team_becomes_what_the_page_says() -> None:
    for row in worked("group_buy.md", "Example: what a team becomes"):
        unpaid = row["it is"] == "pending"
        facts = team(row, virtual_from=number(row["virtual from"]) or None, ends_at=None if unpaid else NOON)
        assert group_buy.next_state(facts, now=at(row["time"])) == row["it is"], row


def test_seats_are_given_as_the_page_says() -> None:
    for row in worked("group_buy.md", "Example: who gets a seat"):
        try:
            seated = group_buy.admit_join(
                team(row),
                already_in=row["in this team"] == "yes",
                newcomers_only=True,
                paid_before=row["paid before"] == "yes",
                member_limit=2,
                had_count=number(row["had"]),
                fallback=Fallback(row["wants otherwise"]),
                now=at(row["time"]),
            )
            answer = "ok" if seated else "fallback"
        except Refusal as refusal:
            answer = f"`{refusal.code}`"
        assert answer == row["answer"], row


def test_the_next_leader_is_as_the_page_says() -> None:
    for row in worked("group_buy.md", "Example: who leads next"):
        ids = {name: UUID(int=ord(name)) for name in row["members"].split(" + ")}
        leads = group_buy.next_leader(list(ids.values()), leaving=ids[row["leaves"]])
        assert leads == ids.get(row["leads"]), row


def test_whoever_opens_a_team_need_not_be_new() -> None:
    group_buy.admit_member(joining=False, newcomers_only=True, paid_before=True, member_limit=None, had_count=9)


@given(st.integers(2, 100), st.integers(0, 100), st.integers(0, 100), st.booleans())
def test_a_team_with_a_free_seat_is_never_complete_before_its_time(
    size: int, joined: int, held: int, virtual: bool
) -> None:
    facts = TeamTerms(
        state=TeamState.OPEN,
        size=size,
        joined_count=joined,
        held_count=held,
        ends_at=NOON,
        virtual_from=2 if virtual else None,
    )
    early = NOON - timedelta(seconds=1)
    if group_buy.has_seat(facts, now=early):
        assert group_buy.next_state(facts, now=early) in (TeamState.OPEN, TeamState.FAILED)
    if held:
        assert group_buy.next_state(facts, now=NOON) in (TeamState.OPEN, TeamState.COMPLETE)


@pytest.mark.parametrize("state", [TeamState.COMPLETE, TeamState.FAILED])
def test_what_has_ended_stays_ended(state: TeamState) -> None:
    facts = TeamTerms(state=state, size=3, joined_count=1, held_count=1, ends_at=NOON)
    assert group_buy.next_state(facts, now=NOON) is state
    assert not group_buy.has_seat(facts, now=NOON - timedelta(hours=1))


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"title": " "}, "title"),
        ({"title": "茶" * 61}, "title"),
        ({"closes_at": NOON}, "closes_at"),
        ({"closes_at": NOON + timedelta(days=90, seconds=1)}, "closes_at"),
        ({"sizes": ()}, "sizes"),
        ({"sizes": (2, 3, 4, 5, 6, 7)}, "sizes"),
        ({"sizes": (1, 2)}, "sizes[0]"),
        ({"sizes": (2, 101)}, "sizes[1]"),
        ({"sizes": (3, 3)}, "sizes[1]"),
        ({"team_hours": 0}, "team_hours"),
        ({"team_hours": 169}, "team_hours"),
        ({"virtual_from": 1}, "virtual_from"),
        ({"virtual_from": 5}, "virtual_from"),
        ({"member_limit": 0}, "member_limit"),
        ({"most_pieces": 100}, "most_pieces"),
    ],
)
def test_a_campaign_that_cannot_work_is_refused_by_its_field(changed: dict[str, Any], field: str) -> None:
    with pytest.raises(ProgrammeInvalid) as refusal:
        group_buy.admit_campaign(replace(CAMPAIGN, **changed), now=NOON)
    assert refusal.value.data["field"] == field


def test_a_campaign_may_go_to_its_limits() -> None:
    most = replace(
        CAMPAIGN,
        title="茶" * 60,
        closes_at=NOON + timedelta(days=90),
        sizes=(2, 3, 4, 5, 100),
        team_hours=168,
        virtual_from=99,
        member_limit=99,
        most_pieces=99,
    )
    group_buy.admit_campaign(most, now=NOON)


def test_a_campaign_of_the_past_is_refused() -> None:
    with pytest.raises(ProgrammeInvalid):
        group_buy.admit_campaign(CAMPAIGN, now=CAMPAIGN.closes_at)


@pytest.mark.parametrize(
    ("items", "field"),
    [
        ([], "items"),
        ([ITEM, ITEM], "items[1].sku_id"),
        ([replace(ITEM, prices_fen=(900,))], "items[0].prices_fen"),
        ([replace(ITEM, prices_fen=(1_001, 800))], "items[0].prices_fen[0]"),
        ([replace(ITEM, prices_fen=(900, 0))], "items[0].prices_fen[1]"),
        ([replace(ITEM, prices_fen=(800, 900))], "items[0].prices_fen[1]"),
    ],
)
def test_items_that_cannot_work_are_refused_by_their_field(items: list[NewGroupItem], field: str) -> None:
    with pytest.raises(ProgrammeInvalid) as refusal:
        group_buy.admit_items(items, sizes=CAMPAIGN.sizes)
    assert refusal.value.data["field"] == field


def test_items_may_cost_their_list_price_for_every_size() -> None:
    group_buy.admit_items([replace(ITEM, prices_fen=(1_000, 1_000))], sizes=CAMPAIGN.sizes)
