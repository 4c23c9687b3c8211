"""Trials and tiers set by hand, by the verbs: which tier applies, when it ends, and what the history says."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from tortoise.exceptions import IntegrityError

from jobs.sweeps import SWEEPS
from loyalty.idempotency import KeyReused
from loyalty.people.member import MemberNotFound
from loyalty.tiers.tier import TierNotFound
from loyalty.tiers.tier_overlay import TierOverrideInvalid, TierOverrideNone, TierTrialRefused
from models.engine import transaction
from models.ids import new_id, new_secret
from models.people.operator import AuditRow
from models.tiers.tier import Membership, TierChange, TierOverlay
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.people.member import tier_terms
from resolvers.programme import tier_table
from resolvers.tiers.tier import benefits_of, standings
from resolvers.tiers.tier_overlay import due, end_override, grant_trial, lend, set_override, settle, take_back_trial
from tests.doors import make_member, make_operator
from tests.loyalty.worked_examples import worked
from tests.rulebook import LEVELS, buys, refunds, tiers

A_DAY = timedelta(days=1)
GROWTH = {"basic": 0, "silver": 1_000, "gold": 5_000, "black": 20_000}


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(own_store_url: str) -> str:
    return own_store_url


@pytest_asyncio.fixture(loop_scope="session")
async def boss(deps: Deps) -> UUID:
    """An operator who may."""
    await tiers(deps)
    return (await make_operator(deps)).id


async def member_in(deps: Deps, code: str) -> UUID:
    member_id = (await make_member(deps)).id
    await buys(deps, member_id, new_id(deps.clock.now()), GROWTH[code])
    return member_id


async def trial(deps: Deps, member_id: UUID, code: str, days: int, cause_id: UUID | None = None) -> TierOverlay:
    now = deps.clock.now()
    async with transaction(member_id):
        return await grant_trial(
            member_id, tier_code=code, days=days, cause_kind="mall", cause_id=cause_id or new_id(now), now=now
        )


async def set_to(deps: Deps, boss: UUID, member_id: UUID, code: str, ends_at: datetime | None = None) -> TierOverlay:
    return await set_override(
        deps,
        operator_id=boss,
        member_id=member_id,
        tier_code=code,
        reason="挽留",
        ends_at=ends_at,
        idempotency_key=new_secret(12),
    )


async def release(deps: Deps, boss: UUID, member_id: UUID) -> TierOverlay:
    return await end_override(
        deps, operator_id=boss, member_id=member_id, reason="客诉已解决", idempotency_key=new_secret(12)
    )


async def applies(deps: Deps, member_id: UUID) -> str:
    now = deps.clock.now()
    code = (await tier_terms(member_id, (await tier_table(now)).rules, now)).code
    assert (await standings(deps, [member_id]))[member_id].applies.code == code
    return code


async def told(member_id: UUID) -> list[tuple[str, str, str]]:
    """The history without the joining, oldest first."""
    found = await TierChange.filter(member_id=member_id).order_by("id")
    return [(row.from_code, row.to_code, row.reason) for row in found if row.reason != "joined"]


async def sweep(deps: Deps) -> None:
    for name in ("end_keep_periods", "write_tier_overlays"):
        one = next(one for one in SWEEPS if one.name == name)
        while await one.round(deps):
            pass


@pytest.mark.parametrize("row", worked("tier.md", "Example: which tier applies"), ids=lambda row: row["why"])
async def test_the_tier_of_the_page_applies(deps: Deps, boss: UUID, row: dict[str, str]) -> None:
    member_id = await member_in(deps, "basic" if row["own"] == "gold" and row["trial"] == "silver" else row["own"])
    if row["trial"] != "-":
        await trial(deps, member_id, row["trial"], 30)
    if row["own"] == "gold" and row["trial"] == "silver":
        await buys(deps, member_id, new_id(deps.clock.now()), GROWTH["gold"])
    if row["manual"] != "-":
        await set_to(deps, boss, member_id, row["manual"])
    assert await applies(deps, member_id) == row["applies"]
    assert (await Membership.get(member_id=member_id)).tier_code == row["own"]


async def test_a_trial_ends_by_itself_to_the_microsecond_and_the_history_follows(
    deps: Deps, boss: UUID, clock: SetClock
) -> None:
    member_id = await member_in(deps, "silver")
    row = await trial(deps, member_id, "gold", 30)
    began = clock.now()
    assert row.ends_at == began + 30 * A_DAY
    clock.at = row.ends_at - timedelta(microseconds=1)
    assert (await applies(deps, member_id), await due(deps, 9)) == ("gold", [])
    clock.at = row.ends_at
    assert await applies(deps, member_id) == "silver", "without anybody's doing"
    clock.advance(5 * A_DAY)
    assert await due(deps, 9) == [member_id]
    await sweep(deps)
    assert await due(deps, 9) == []
    assert await told(member_id) == [
        ("basic", "silver", "growth"),
        ("silver", "gold", "trial_started"),
        ("gold", "silver", "trial_ended"),
    ]
    started, ended = await TierChange.filter(member_id=member_id, reason__startswith="trial").order_by("id")
    assert (started.at, ended.at) == (began, row.ends_at), "as of the instants at which it was so"
    assert started.inputs == {
        "growth": 1_000,
        "threshold": 5_000,
        "own": "silver",
        "overlay": "gold",
        "overlay_id": str(row.id),
        "starts_at": row.starts_at.isoformat(),
        "ends_at": row.ends_at.isoformat(),
        "cause_kind": "mall",
        "cause_id": str(row.cause_id),
        "note": "",
    }
    assert await settle(deps, member_id=member_id) == 0


async def test_growth_refunds_and_periods_go_on_beneath_a_trial(deps: Deps, boss: UUID, clock: SetClock) -> None:
    member_id = await member_in(deps, "basic")
    await trial(deps, member_id, "gold", 30)
    order_id = new_id(clock.now())
    await buys(deps, member_id, order_id, 1_000)
    clock.advance(A_DAY)
    await refunds(deps, member_id, order_id)
    assert ((await Membership.get(member_id=member_id)).tier_code, await applies(deps, member_id)) == ("basic", "gold")
    clock.advance(30 * A_DAY)
    await sweep(deps)
    assert [change for change in await told(member_id) if change[2].startswith("trial")] == [
        ("basic", "gold", "trial_started"),
        ("gold", "basic", "trial_ended"),
    ]


async def test_who_has_risen_meanwhile_falls_to_the_own_tier_of_that_instant(
    deps: Deps, boss: UUID, clock: SetClock
) -> None:
    member_id = await member_in(deps, "basic")
    await trial(deps, member_id, "gold", 10)
    clock.advance(5 * A_DAY)
    await buys(deps, member_id, new_id(clock.now()), 1_000)
    clock.advance(10 * A_DAY)
    await buys(deps, member_id, new_id(clock.now()), 19_000)
    await sweep(deps)
    assert ("gold", "silver", "trial_ended") in await told(member_id), "silver was the own tier when it ended"
    assert await applies(deps, member_id) == "black"


async def test_a_second_trial_of_a_tier_starts_when_the_first_ends(deps: Deps, boss: UUID, clock: SetClock) -> None:
    member_id = await member_in(deps, "basic")
    first = await trial(deps, member_id, "gold", 10)
    second = await trial(deps, member_id, "gold", 10)
    other = await trial(deps, member_id, "silver", 5)
    assert (second.starts_at, second.begun_at, other.starts_at) == (first.ends_at, None, clock.now())
    clock.advance(timedelta(days=19, hours=23))
    assert await applies(deps, member_id) == "gold"
    clock.advance(timedelta(hours=1))
    assert await applies(deps, member_id) == "basic"
    await sweep(deps)
    assert [change[2] for change in await told(member_id)].count("trial_started") == 3
    last = await TierChange.filter(member_id=member_id).order_by("-id").first()
    assert last is not None
    assert (last.from_code, last.to_code, last.at) == ("gold", "basic", second.ends_at)


async def test_a_cause_lends_one_trial_and_one_that_has_not_begun_can_be_taken_back(
    deps: Deps, boss: UUID, clock: SetClock
) -> None:
    member_id = await member_in(deps, "basic")
    first_cause, second_cause = new_id(clock.now()), new_id(clock.now())
    first = await trial(deps, member_id, "gold", 10, first_cause)
    assert (await trial(deps, member_id, "gold", 10, first_cause)).id == first.id
    await trial(deps, member_id, "gold", 10, second_cause)

    async def taken_back(cause_id: UUID) -> bool:
        async with transaction(member_id):
            return await take_back_trial(member_id, cause_kind="mall", cause_id=cause_id, now=clock.now())

    assert not await taken_back(first_cause)
    assert await taken_back(second_cause)
    assert not await taken_back(second_cause)
    clock.advance(10 * A_DAY)
    await sweep(deps)
    assert await applies(deps, member_id) == "basic"
    assert [change[2] for change in await told(member_id)] == ["trial_started", "trial_ended"]


@pytest.mark.parametrize(
    ("code", "days", "refused"),
    [
        ("silver", 10, TierTrialRefused),
        ("basic", 10, TierTrialRefused),
        ("gold", 0, TierTrialRefused),
        ("gold", -1, TierTrialRefused),
        ("gold", 366, TierTrialRefused),
        ("gold", 2**31 - 1, TierTrialRefused),
        ("none", 10, TierNotFound),
    ],
)
async def test_an_impossible_trial_is_refused_and_changes_nothing(
    deps: Deps, boss: UUID, code: str, days: int, refused: type[Exception]
) -> None:
    member_id = await member_in(deps, "silver")
    with pytest.raises(refused):
        await trial(deps, member_id, code, days)
    with pytest.raises(refused):
        await lend(
            deps,
            operator_id=boss,
            member_id=member_id,
            tier_code=code,
            days=days,
            reason="x",
            idempotency_key=new_secret(12),
        )
    assert (await TierOverlay.filter(member_id=member_id).count(), await applies(deps, member_id)) == (0, "silver")


async def test_an_operator_lends_a_tier_once_with_a_reason_that_is_audited(deps: Deps, boss: UUID) -> None:
    member_id, key = await member_in(deps, "basic"), new_secret(12)

    async def lent(days: int = 7) -> TierOverlay:
        return await lend(
            deps,
            operator_id=boss,
            member_id=member_id,
            tier_code="black",
            days=days,
            reason=" 新店开业 ",
            idempotency_key=key,
        )

    first = await lent()
    assert (await lent()).id == first.id
    with pytest.raises(KeyReused):
        await lent(days=8)
    audited = await AuditRow.get(action="member.tier.lend", subject_id=str(member_id))
    assert audited.after["reason"] == "新店开业"
    assert await applies(deps, member_id) == "black"


async def test_a_tier_set_by_hand_applies_as_it_was_set_until_it_is_taken_back(
    deps: Deps, boss: UUID, clock: SetClock
) -> None:
    member_id = await member_in(deps, "gold")
    await trial(deps, member_id, "black", 300)
    row = await set_to(deps, boss, member_id, "silver")
    assert await applies(deps, member_id) == "silver", "lower than the own tier and than the trial"
    clock.advance(200 * A_DAY)
    assert await applies(deps, member_id) == "silver"
    taken = await release(deps, boss, member_id)
    assert (taken.id, taken.ends_at, taken.closed_at) == (row.id, clock.now(), clock.now())
    assert await applies(deps, member_id) == "black"
    with pytest.raises(TierOverrideNone):
        await release(deps, boss, member_id)
    assert (await told(member_id))[1:] == [
        ("gold", "black", "trial_started"),
        ("black", "silver", "override"),
        ("silver", "black", "override_ended"),
    ]
    set_, released = await AuditRow.filter(subject_id=str(member_id)).order_by("id")
    assert (set_.action, set_.before, set_.after) == (
        "member.tier.set",
        None,
        {"tier": "silver", "reason": "挽留", "ends_at": None},
    )
    assert (released.action, released.before["tier"], released.after) == (
        "member.tier.release",
        "silver",
        {"reason": "客诉已解决"},
    )


async def test_setting_another_tier_ends_the_one_before(deps: Deps, boss: UUID, clock: SetClock) -> None:
    member_id = await member_in(deps, "basic")
    await set_to(deps, boss, member_id, "gold")
    clock.advance(A_DAY)
    await set_to(deps, boss, member_id, "silver", clock.now() + A_DAY)
    assert await applies(deps, member_id) == "silver"
    clock.advance(A_DAY)
    assert await applies(deps, member_id) == "basic", "the one before does not come back"
    await sweep(deps)
    assert await told(member_id) == [
        ("basic", "gold", "override"),
        ("gold", "basic", "override_ended"),
        ("basic", "silver", "override"),
        ("silver", "basic", "override_ended"),
    ]
    ended = await TierChange.filter(member_id=member_id, reason="override_ended").order_by("id").first()
    assert ended is not None
    assert ended.inputs["replaced_by"] == "silver"


async def test_one_that_had_ended_before_the_sweep_came_is_not_ended_twice(
    deps: Deps, boss: UUID, clock: SetClock
) -> None:
    member_id = await member_in(deps, "basic")
    first = await set_to(deps, boss, member_id, "gold", clock.now() + A_DAY)
    clock.advance(3 * A_DAY)
    with pytest.raises(TierOverrideNone):
        await release(deps, boss, member_id)
    await set_to(deps, boss, member_id, "silver")
    ended = await TierChange.get(member_id=member_id, reason="override_ended")
    assert ended.at == first.ends_at
    assert "replaced_by" not in ended.inputs


@pytest.mark.parametrize(
    ("values", "refused"),
    [
        ({"reason": "  "}, TierOverrideInvalid),
        ({"reason": "x" * 201}, TierOverrideInvalid),
        ({"ends_in": timedelta(0)}, TierOverrideInvalid),
        ({"ends_in": -A_DAY}, TierOverrideInvalid),
        ({"tier_code": "none"}, TierNotFound),
        ({"member_id": UUID(int=7)}, MemberNotFound),
    ],
)
async def test_an_impossible_tier_by_hand_is_refused_and_changes_nothing(
    deps: Deps, boss: UUID, clock: SetClock, values: dict[str, Any], refused: type[Exception]
) -> None:
    member_id = await member_in(deps, "silver")
    ends_in = values.get("ends_in")
    with pytest.raises(refused):
        await set_override(
            deps,
            operator_id=boss,
            member_id=values.get("member_id", member_id),
            tier_code=values.get("tier_code", "gold"),
            reason=values.get("reason", "why"),
            ends_at=None if ends_in is None else clock.now() + ends_in,
            idempotency_key=new_secret(12),
        )
    assert (await TierOverlay.filter(member_id=member_id).count(), await applies(deps, member_id)) == (0, "silver")
    assert await AuditRow.filter(action="member.tier.set").count() == 0


async def test_taking_back_needs_a_reason_and_a_tier_that_was_set(deps: Deps, boss: UUID) -> None:
    member_id = await member_in(deps, "silver")
    await set_to(deps, boss, member_id, "gold")
    with pytest.raises(TierOverrideInvalid):
        await end_override(deps, operator_id=boss, member_id=member_id, reason="", idempotency_key=new_secret(12))
    with pytest.raises(TierOverrideNone):
        await release(deps, boss, UUID(int=7))
    assert await applies(deps, member_id) == "gold"


async def test_a_key_of_setting_or_taking_back_gets_the_first_answer(deps: Deps, boss: UUID, clock: SetClock) -> None:
    member_id, key = await member_in(deps, "silver"), new_secret(12)

    async def again(code: str) -> TierOverlay:
        return await set_override(
            deps, operator_id=boss, member_id=member_id, tier_code=code, reason="r", ends_at=None, idempotency_key=key
        )

    first = await again("gold")
    clock.advance(A_DAY)
    assert (await again("gold")).id == first.id
    with pytest.raises(KeyReused):
        await again("black")
    assert await TierOverlay.filter(member_id=member_id).count() == 1


async def test_a_tier_that_a_new_table_does_not_have_no_longer_applies(deps: Deps, boss: UUID) -> None:
    member_id = await member_in(deps, "silver")
    await set_to(deps, boss, member_id, "gold")
    basic, silver, _, black = LEVELS
    await tiers(deps, basic, silver, black)
    assert await applies(deps, member_id) == "silver"


async def test_the_benefits_are_those_of_the_tier_that_applies(deps: Deps, boss: UUID) -> None:
    basic, silver, gold, black = LEVELS
    line = {"kind": "service_line", "code": "vip"}
    await tiers(deps, basic, silver, {**gold, "benefits": [line]}, black)
    with_trial, without = await member_in(deps, "basic"), await member_in(deps, "basic")
    await trial(deps, with_trial, "gold", 3)
    found = await benefits_of(deps, [with_trial, without])
    assert [[benefit.code for benefit in found[one]] for one in (with_trial, without)] == [["vip"], []]


async def test_the_tables_refuse_what_the_verbs_would_never_write(deps: Deps, boss: UUID, clock: SetClock) -> None:
    member_id = await member_in(deps, "silver")
    row = await set_to(deps, boss, member_id, "gold")
    wrongs: Sequence[dict[str, Any]] = (
        {"ends_at": row.starts_at - A_DAY},
        {"reason": ""},
        {"manual": False},
        {"closed_at": clock.now(), "due_at": clock.now()},
    )
    for wrong in wrongs:
        with pytest.raises(IntegrityError):
            await TierOverlay.filter(id=row.id).update(**wrong)
    second = {field: getattr(row, field) for field in ("member_id", "manual", "tier_code", "starts_at", "reason")}
    with pytest.raises(IntegrityError):
        await TierOverlay.create(
            **second,
            id=new_id(clock.now()),
            operator_id=boss,
            cause_kind="operator",
            cause_id=new_id(clock.now()),
            version_id=row.version_id,
            created_at=clock.now(),
        )
