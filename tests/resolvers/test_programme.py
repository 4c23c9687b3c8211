"""Versions: numbered without a gap, dated, never in the past, one publication for one key."""

import asyncio
from datetime import timedelta

import pytest
import pytest_asyncio

from loyalty.idempotency import KeyReused
from loyalty.people.session import AccountDisabled
from loyalty.programme import ProgrammeInvalid
from loyalty.tiers.tier import TierTable
from models.engine import changed
from models.keyset import Page
from models.people.operator import AuditRow
from models.programme import ProgrammeVersion
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.programme import NEWEST, ProgrammeKind, all_in_force, history, publish, rules_of, tier_table
from tests.doors import make_operator
from tests.rulebook import LEVELS, published, tiers


@pytest_asyncio.fixture(loop_scope="session")
async def store_url(own_store_url: str) -> str:
    return own_store_url


async def versions(deps: Deps, kind: ProgrammeKind) -> list[int]:
    return [row.version for row in (await history(deps, kind=kind, page=Page(NEWEST, 50))).rows]


async def test_a_version_published_without_a_date_is_in_force_at_once(deps: Deps) -> None:
    row = await tiers(deps)
    found = await tier_table(deps.clock.now())
    assert (found.version_id, found.version) == (row.id, 2)
    assert [level.code for level in found.rules.levels] == ["basic", "silver", "gold", "black"]


async def test_a_version_waits_for_its_date_to_the_instant(deps: Deps, clock: SetClock) -> None:
    now = clock.now()
    at = now + timedelta(days=3)
    await tiers(deps, effective_at=at)
    assert (await tier_table(now)).version == 1
    assert (await tier_table(at - timedelta(microseconds=1))).version == 1
    assert (await tier_table(at)).version == 2


async def test_what_is_published_later_for_an_earlier_date_gives_way_to_the_later_date(
    deps: Deps, clock: SetClock
) -> None:
    now = clock.now()
    await tiers(deps, effective_at=now + timedelta(days=3))
    await tiers(deps, LEVELS[0])
    assert (await tier_table(now)).version == 3
    assert (await tier_table(now + timedelta(days=3))).version == 2


async def test_a_date_in_the_past_is_refused_by_name(deps: Deps, clock: SetClock) -> None:
    with pytest.raises(ProgrammeInvalid) as refused:
        await tiers(deps, effective_at=clock.now() - timedelta(microseconds=1))
    assert refused.value.data["field"] == "effective_at"
    assert await versions(deps, ProgrammeKind.TIER) == [1]


async def test_a_table_that_cannot_work_leaves_no_version_and_no_audit_row(deps: Deps) -> None:
    with pytest.raises(ProgrammeInvalid) as refused:
        await tiers(deps, LEVELS[0], LEVELS[2], LEVELS[1])
    assert refused.value.data["field"] == "levels[2].threshold"
    assert await versions(deps, ProgrammeKind.TIER) == [1]
    assert not await AuditRow.exists()


async def test_the_same_key_publishes_once_and_other_content_is_refused(deps: Deps, clock: SetClock) -> None:
    owner = await make_operator(deps)
    at = clock.now() + timedelta(hours=1)

    async def send(threshold: int) -> ProgrammeVersion:
        return await publish(
            deps,
            operator_id=owner.id,
            kind=ProgrammeKind.TIER,
            definition={"levels": [LEVELS[0], {**LEVELS[1], "threshold": threshold}]},
            effective_at=at,
            note="spring",
            idempotency_key="publish-once",
        )

    first = await send(1_000)
    clock.advance(timedelta(days=1))
    assert (await send(1_000)).id == first.id, "also when its date has passed meanwhile"
    with pytest.raises(KeyReused):
        await send(1_001)
    assert await versions(deps, ProgrammeKind.TIER) == [2, 1]


async def test_a_publication_is_recorded_with_who_and_what(deps: Deps) -> None:
    row = await published(deps, ProgrammeKind.CHECK_IN, {"base_points": 2})
    audit = await AuditRow.get()
    assert (audit.operator_id, audit.action) == (row.published_by_id, "check_in.publish")
    assert (audit.subject_kind, audit.subject_id) == ("programme_version", str(row.id))
    assert audit.before == {"version": 1}
    assert audit.after["version"] == 2


async def test_a_disabled_operator_publishes_nothing(deps: Deps) -> None:
    owner = await make_operator(deps, disabled_at=deps.clock.now())
    with pytest.raises(AccountDisabled):
        await publish(
            deps,
            operator_id=owner.id,
            kind=ProgrammeKind.POINTS,
            definition={},
            effective_at=None,
            note="",
            idempotency_key="disabled-operator",
        )
    assert await versions(deps, ProgrammeKind.POINTS) == [1]


async def test_operators_who_publish_at_once_get_numbers_without_a_gap(deps: Deps) -> None:
    await asyncio.gather(*(tiers(deps) for _ in range(12)))
    assert await versions(deps, ProgrammeKind.TIER) == list(range(13, 0, -1))


async def test_kinds_are_numbered_and_in_force_apart(deps: Deps) -> None:
    await published(deps, ProgrammeKind.POINTS, {"earn_points": 2})
    found = await all_in_force(deps.clock.now())
    assert (found.tier.version, found.points.version, found.check_in.version) == (1, 2, 1)
    assert found.points.rules.earn_points == 2


async def test_a_version_is_kept_whole_and_reads_back_to_the_same_rules(deps: Deps) -> None:
    row = await tiers(deps)
    kept = await ProgrammeVersion.get(id=row.id)
    assert rules_of(kept) == TierTable.parse({"levels": list(LEVELS)})
    assert set(kept.definition) == set(TierTable.parse({"levels": list(LEVELS)}).definition())


async def test_a_published_version_cannot_be_changed_or_deleted(deps: Deps) -> None:
    row = await tiers(deps)
    for statement in (
        "UPDATE programme_version SET note = 'better' WHERE id = $1",
        "DELETE FROM programme_version WHERE id = $1",
    ):
        with pytest.raises(Exception, match="only grows"):
            await changed(statement, [row.id])


async def test_a_note_that_is_too_long_is_refused_by_name(deps: Deps) -> None:
    owner = await make_operator(deps)
    with pytest.raises(ProgrammeInvalid) as refused:
        await publish(
            deps,
            operator_id=owner.id,
            kind=ProgrammeKind.TIER,
            definition={"levels": [LEVELS[0]]},
            effective_at=None,
            note="x" * 201,
            idempotency_key="a-long-note",
        )
    assert refused.value.data["field"] == "note"
