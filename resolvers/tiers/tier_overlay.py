"""Tiers that lie over a member's own: trials that are lent for some days, and one that an operator set by hand.

An overlay applies by its dates alone: it starts and ends without anybody's doing. The clock's sweep only writes into
the history what happened, as of the instant at which it did.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import orjson

from loyalty.people.member import MemberNotFound
from loyalty.tiers import tier_overlay as rule
from loyalty.tiers.tier import TierChangeReason, TierLevel, TierTable, after_publish
from loyalty.tiers.tier_overlay import effective
from models.engine import changed, in_transaction, retried, rows, transaction
from models.ids import new_id
from models.keyset import Key, Keyset, Page, Slice, fetch
from models.people.member import Member
from models.tiers import tier as rows_
from models.tiers.tier import Membership, TierChange
from resolvers.deps import Deps
from resolvers.people.audit import record
from resolvers.people.operator import lock_operator
from resolvers.programme import tier_table
from resolvers.replay import remember, replayed
from resolvers.tiers.tier_period import settle_period

NEWEST = Keyset("tier_overlay.newest", (Key("id", UUID),))

_AS_OF = """
SELECT (SELECT to_code FROM tier_change WHERE member_id = $1 AND at <= $2
        AND reason IN ('joined', 'growth', 'refund', 'period_end', 'period_kept', 'table_published')
        ORDER BY growth_seq DESC, id DESC LIMIT 1) AS own_code,
    COALESCE(last.seq, 0) AS seq, COALESCE(last.balance_after, 0)::bigint AS growth
FROM (SELECT) nothing LEFT JOIN LATERAL (
    SELECT seq, balance_after FROM growth_entry WHERE member_id = $1 AND at <= $2 ORDER BY seq DESC LIMIT 1
) last ON true
"""


RUNNING = """
(SELECT COALESCE(jsonb_agg(jsonb_build_object('code', overlay.tier_code, 'starts_at', overlay.starts_at,
    'ends_at', overlay.ends_at, 'manual', overlay.manual) ORDER BY overlay.starts_at, overlay.id), '[]')::text
 FROM tier_overlay overlay WHERE overlay.member_id = membership.member_id AND overlay.closed_at IS NULL
 AND overlay.starts_at <= $2 AND (overlay.ends_at IS NULL OR overlay.ends_at > $2)) AS overlays
"""
"""A column of a query on ``membership`` whose ``$2`` is now: what runs, for ``read_running``."""


def read_running(column: str) -> tuple[rule.TierOverlay, ...]:
    """The overlays of the column, the oldest first."""
    return tuple(
        rule.TierOverlay(
            code=one["code"],
            starts_at=datetime.fromisoformat(one["starts_at"]),
            ends_at=datetime.fromisoformat(one["ends_at"]) if one["ends_at"] else None,
            manual=one["manual"],
        )
        for one in orjson.loads(column)
    )


def overlay(row: rows_.TierOverlay) -> rule.TierOverlay:
    """The row as the rule knows it."""
    return rule.TierOverlay(code=row.tier_code, starts_at=row.starts_at, ends_at=row.ends_at, manual=row.manual)


@dataclass(frozen=True, slots=True, kw_only=True)
class _AsOf:
    """A member's own tier at an instant, with the table in force then and every overlay."""

    at: datetime
    version_id: UUID
    table: TierTable
    own_code: str
    growth: int
    seq: int
    overlays: Sequence[rule.TierOverlay]

    def applies(self, at: datetime) -> TierLevel:
        """The tier whose benefits apply."""
        return effective(self.table, own_code=self.own_code, overlays=self.overlays, now=at)


async def _as_of(member_id: UUID, at: datetime) -> _AsOf:
    found = (await rows(_AS_OF, [member_id, at]))[0]
    version = await tier_table(at)
    lifted = after_publish(version.rules, current_code=found["own_code"], growth=found["growth"])
    return _AsOf(
        at=at,
        version_id=version.version_id,
        table=version.rules,
        own_code=lifted.to_code if lifted else found["own_code"],
        growth=found["growth"],
        seq=found["seq"],
        overlays=[overlay(row) for row in await rows_.TierOverlay.filter(member_id=member_id)],
    )


async def _write(
    row: rows_.TierOverlay, reason: TierChangeReason, then: _AsOf, *, before: str, after: str, **inputs: str | None
) -> None:
    own = then.table.find(then.own_code)
    await TierChange.create(
        id=new_id(then.at),
        member_id=row.member_id,
        from_code=before,
        to_code=after,
        reason=reason,
        growth_seq=then.seq,
        inputs={
            "growth": then.growth,
            "threshold": then.table.level(after).threshold,
            "own": own.code if own else then.table.lowest.code,
            "overlay_id": str(row.id),
            "overlay": row.tier_code,
            "starts_at": row.starts_at.isoformat(),
            "ends_at": row.ends_at.isoformat() if row.ends_at else None,
            "cause_kind": row.cause_kind,
            "cause_id": str(row.cause_id),
            "note": row.reason,
            **inputs,
        },
        version_id=then.version_id,
        at=then.at,
    )


async def _begin(row: rows_.TierOverlay) -> None:
    """Write that it started, as of its start."""
    then = await _as_of(row.member_id, row.starts_at)
    others = [one for one in then.overlays if one != overlay(row)]
    before = effective(then.table, own_code=then.own_code, overlays=others, now=then.at)
    reason = TierChangeReason.OVERRIDE if row.manual else TierChangeReason.TRIAL_STARTED
    await _write(row, reason, then, before=before.code, after=then.applies(then.at).code)
    row.begun_at = row.starts_at
    row.due_at = row.ends_at
    await row.save(update_fields=["begun_at", "due_at"])


async def _close(row: rows_.TierOverlay, **inputs: str | None) -> None:
    """Write that it ended, as of its end."""
    assert row.ends_at is not None, "only what ends is closed"
    then = await _as_of(row.member_id, row.ends_at)
    last = rule.TierOverlay(code=row.tier_code, starts_at=row.starts_at, manual=row.manual)
    others = [one for one in then.overlays if one != overlay(row)]
    before = effective(then.table, own_code=then.own_code, overlays=[*others, last], now=then.at)
    reason = TierChangeReason.OVERRIDE_ENDED if row.manual else TierChangeReason.TRIAL_ENDED
    await _write(row, reason, then, before=before.code, after=then.applies(then.at).code, **inputs)
    row.closed_at = row.ends_at
    row.due_at = None
    await row.save(update_fields=["closed_at", "due_at"])


async def _settle(member_id: UUID, now: datetime) -> int:
    """Write every start and end that has come into the history, in the order in which they came; how many."""
    written = 0
    while True:
        row = await rows_.TierOverlay.filter(member_id=member_id, due_at__lte=now).order_by("due_at", "id").first()
        if row is None:
            return written
        await (_close(row) if row.begun_at else _begin(row))
        written += 1


# Trials


async def grant_trial(
    member_id: UUID,
    *,
    tier_code: str,
    days: int,
    cause_kind: str,
    cause_id: UUID,
    now: datetime,
    reason: str = "",
    operator_id: UUID | None = None,
) -> rows_.TierOverlay:
    """Lend a member a higher tier for so many days of 24 hours; inside the caller's transaction, the member locked.

    A second trial of the same tier starts when the first ends. A cause lends one trial: a repeated call returns it.

    Raises:
        TierNotFound: the published table has no such tier.
        TierTrialRefused: it is not above the member's own tier, or not of 1 to 365 days.
    """
    assert in_transaction(), "a trial is lent together with what it was lent for"
    before = await rows_.TierOverlay.get_or_none(cause_kind=cause_kind, cause_id=cause_id)
    if before is not None:
        return before
    version = await tier_table(now)
    starts_at = await _free_from(member_id, version.rules.level(tier_code).code, now)
    ends_at = starts_at + timedelta(days=max(0, min(days, rule.MAX_TRIAL_DAYS + 1)))
    rule.admit_trial(
        version.rules,
        own_code=await _own_code(member_id, version.rules),
        trial_code=tier_code,
        starts_at=starts_at,
        ends_at=ends_at,
    )
    row = await rows_.TierOverlay.create(
        id=new_id(now),
        member_id=member_id,
        manual=False,
        tier_code=tier_code,
        starts_at=starts_at,
        ends_at=ends_at,
        due_at=starts_at,
        reason=reason,
        operator_id=operator_id,
        cause_kind=cause_kind,
        cause_id=cause_id,
        version_id=version.version_id,
        created_at=now,
    )
    if starts_at <= now:
        await _begin(row)
    return row


@retried
async def lend(
    deps: Deps,
    *,
    operator_id: UUID,
    member_id: UUID,
    tier_code: str,
    days: int,
    reason: str,
    idempotency_key: str,
) -> rows_.TierOverlay:
    """Lend a member a higher tier for so many days, by an operator.

    Raises:
        MemberNotFound: there is no such member.
        TierNotFound, TierTrialRefused: see ``grant_trial``.
        TierOverrideInvalid: without a reason of 1 to 200 characters.
        AccountDisabled: the operator's account is disabled.
        KeyInvalid, KeyReused: the idempotency key.
    """
    now = deps.clock.now()
    content = {"member_id": str(member_id), "tier_code": tier_code, "days": days, "reason": reason}
    async with transaction(member_id):
        await lock_operator(operator_id)
        before = await replayed(operator_id, key=idempotency_key, operation="tierTrialGrant", content=content)
        if before is not None:
            return await rows_.TierOverlay.get(id=UUID(before["overlay_id"]))
        if not await Member.exists(id=member_id):
            raise MemberNotFound()
        rule.admit_override_reason(reason)
        await settle_period(member_id, now=now, zone=deps.zone)
        row = await grant_trial(
            member_id,
            tier_code=tier_code,
            days=days,
            cause_kind="operator",
            cause_id=new_id(now),
            now=now,
            reason=reason.strip(),
            operator_id=operator_id,
        )
        await record(
            operator_id,
            "member.tier.lend",
            "member",
            member_id,
            None,
            {
                "tier": tier_code,
                "reason": row.reason,
                "starts_at": row.starts_at.isoformat(),
                "ends_at": row.ends_at.isoformat() if row.ends_at else None,
            },
            now,
        )
        await remember(
            operator_id,
            key=idempotency_key,
            operation="tierTrialGrant",
            content=content,
            result={"overlay_id": str(row.id)},
            now=now,
        )
        return row


async def take_back_trial(member_id: UUID, *, cause_kind: str, cause_id: UUID, now: datetime) -> bool:
    """Take back a trial that has not started; False when it has, or there is none. In the caller's transaction."""
    assert in_transaction(), "a trial is taken back together with what it was lent for"
    return (
        await changed(
            "UPDATE tier_overlay SET ends_at = starts_at, closed_at = $4, due_at = NULL WHERE member_id = $1 "
            "AND cause_kind = $2 AND cause_id = $3 AND NOT manual AND starts_at > $4 AND closed_at IS NULL",
            [member_id, cause_kind, cause_id, now],
        )
        == 1
    )


async def _free_from(member_id: UUID, tier_code: str, now: datetime) -> datetime:
    last = (
        await rows_.TierOverlay.filter(
            member_id=member_id, manual=False, tier_code=tier_code, closed_at=None, ends_at__gt=now
        )
        .order_by("-ends_at")
        .first()
    )
    if last is None:
        return now
    assert last.ends_at is not None, "a trial ends"
    return last.ends_at


async def _own_code(member_id: UUID, table: TierTable) -> str:
    standing = await Membership.get(member_id=member_id)
    lifted = after_publish(table, current_code=standing.tier_code, growth=standing.growth_value)
    return lifted.to_code if lifted else standing.tier_code


# Manual tiers


@retried
async def set_override(
    deps: Deps,
    *,
    operator_id: UUID,
    member_id: UUID,
    tier_code: str,
    reason: str,
    ends_at: datetime | None,
    idempotency_key: str,
) -> rows_.TierOverlay:
    """Set a member's tier by hand, until ``ends_at`` or until it is taken back. One that was set before ends now.

    Raises:
        MemberNotFound: there is no such member.
        TierNotFound: the published table has no such tier.
        TierOverrideInvalid: without a reason of 1 to 200 characters, or with an end that does not lie ahead.
        AccountDisabled: the operator's account is disabled.
        KeyInvalid, KeyReused: the idempotency key.
    """
    now = deps.clock.now()
    content = {
        "member_id": str(member_id),
        "tier_code": tier_code,
        "reason": reason,
        "ends_at": ends_at.isoformat() if ends_at else None,
    }
    async with transaction(member_id):
        await lock_operator(operator_id)
        before = await replayed(operator_id, key=idempotency_key, operation="memberTierSet", content=content)
        if before is not None:
            return await rows_.TierOverlay.get(id=UUID(before["overlay_id"]))
        if not await Member.exists(id=member_id):
            raise MemberNotFound()
        version = await tier_table(now)
        rule.admit_override(version.rules, tier_code=tier_code, reason=reason, now=now, ends_at=ends_at)
        await settle_period(member_id, now=now, zone=deps.zone)
        await _settle(member_id, now)
        replaced = await _end_manual(member_id, now, replaced_by=tier_code)
        overlay_id = new_id(now)
        row = await rows_.TierOverlay.create(
            id=overlay_id,
            member_id=member_id,
            manual=True,
            tier_code=tier_code,
            starts_at=now,
            ends_at=ends_at,
            due_at=now,
            reason=reason.strip(),
            operator_id=operator_id,
            cause_kind="operator",
            cause_id=overlay_id,
            version_id=version.version_id,
            created_at=now,
        )
        await _begin(row)
        await record(
            operator_id,
            "member.tier.set",
            "member",
            member_id,
            _told(replaced),
            {"tier": tier_code, "reason": row.reason, "ends_at": content["ends_at"]},
            now,
        )
        await remember(
            operator_id,
            key=idempotency_key,
            operation="memberTierSet",
            content=content,
            result={"overlay_id": str(row.id)},
            now=now,
        )
        return row


@retried
async def end_override(
    deps: Deps, *, operator_id: UUID, member_id: UUID, reason: str, idempotency_key: str
) -> rows_.TierOverlay:
    """Take back the tier that was set by hand; what the member has otherwise applies at once.

    Raises:
        TierOverrideNone: no tier is set by hand for such a member now.
        TierOverrideInvalid: without a reason of 1 to 200 characters.
        AccountDisabled: the operator's account is disabled.
        KeyInvalid, KeyReused: the idempotency key.
    """
    now = deps.clock.now()
    content = {"member_id": str(member_id), "reason": reason}
    async with transaction(member_id):
        await lock_operator(operator_id)
        before = await replayed(operator_id, key=idempotency_key, operation="memberTierRelease", content=content)
        if before is not None:
            return await rows_.TierOverlay.get(id=UUID(before["overlay_id"]))
        rule.admit_override_reason(reason)
        if not await Member.exists(id=member_id):
            raise rule.TierOverrideNone()
        await settle_period(member_id, now=now, zone=deps.zone)
        await _settle(member_id, now)
        row = await _end_manual(member_id, now, release_note=reason.strip(), released_by=str(operator_id))
        if row is None:
            raise rule.TierOverrideNone()
        await record(
            operator_id,
            "member.tier.release",
            "member",
            member_id,
            _told(row),
            {"reason": reason.strip()},
            now,
        )
        await remember(
            operator_id,
            key=idempotency_key,
            operation="memberTierRelease",
            content=content,
            result={"overlay_id": str(row.id)},
            now=now,
        )
        return row


async def _end_manual(member_id: UUID, now: datetime, **inputs: str) -> rows_.TierOverlay | None:
    """End the manual tier that runs, if one does."""
    row = await rows_.TierOverlay.get_or_none(member_id=member_id, manual=True, closed_at=None)
    if row is None:
        return None
    row.ends_at = now
    await row.save(update_fields=["ends_at"])
    await _close(row, **inputs)
    return row


def _told(row: rows_.TierOverlay | None) -> Mapping[str, object] | None:
    return None if row is None else {"tier": row.tier_code, "reason": row.reason, "overlay_id": str(row.id)}


# The clock and the looking back


@retried
async def settle(deps: Deps, *, member_id: UUID) -> int:
    """Write what has started and ended of a member's overlays into the history; how many. Harmless to repeat."""
    now = deps.clock.now()
    async with transaction(member_id):
        await settle_period(member_id, now=now, zone=deps.zone)
        return await _settle(member_id, now)


async def due(deps: Deps, limit: int) -> Sequence[UUID]:
    """Members with a start or an end to be written, the longest due first."""
    found = await rows(
        "SELECT member_id FROM (SELECT member_id, due_at FROM tier_overlay WHERE due_at <= $1 ORDER BY due_at LIMIT $2)"
        " found GROUP BY member_id ORDER BY min(due_at)",
        [deps.clock.now(), limit],
    )
    return [row["member_id"] for row in found]


async def history(deps: Deps, *, member_id: UUID, page: Page) -> Slice[rows_.TierOverlay]:
    """A member's trials and manual tiers, the newest first, ended and coming ones included."""
    return await fetch(rows_.TierOverlay.filter(member_id=member_id), page)
