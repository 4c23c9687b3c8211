"""Why: every decision about a member in one list, each with the version of the rules, what went in and what came out.

The rows are those of the ledgers and histories themselves; nothing is written twice for the sake of this list.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import orjson

from models.engine import rows
from models.keyset import Key, Keyset, Page, Slice
from resolvers.deps import Deps

NEWEST = Keyset("why_log.newest", (Key("id", UUID),))
_LAST = UUID(int=2**128 - 1)


class WhySubject(StrEnum):
    """What was decided about."""

    TIER_CHANGE = "tier_change"
    POINTS_ENTRY = "points_entry"
    GROWTH_ENTRY = "growth_entry"
    CHECK_IN = "check_in"
    REFERRAL_DECISION = "referral_decision"
    NEWCOMER_PACK = "newcomer_pack"
    BIRTHDAY = "birthday"


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """One decision. ``rule`` and ``version`` are those in force for it, None where no rules were needed."""

    id: UUID
    member_id: UUID
    subject: WhySubject
    at: datetime
    rule: str | None
    version: int | None
    version_id: UUID | None
    outcome: str
    inputs: Sequence[tuple[str, str]]


_SELECTS = {
    WhySubject.TIER_CHANGE: """
        SELECT id, member_id, at, version_id, reason || ': ' || COALESCE(NULLIF(from_code, ''), '-') || ' > ' || to_code
            AS outcome, inputs || jsonb_build_object('growth_seq', growth_seq) AS inputs
        FROM tier_change
    """,
    WhySubject.POINTS_ENTRY: """
        SELECT id, member_id, at, version_id, kind || ': ' || to_char(amount, 'FMSG999999999999999999')
            || CASE WHEN debt_change <> 0 THEN ', debt ' || to_char(debt_change, 'FMSG999999999999999999') ELSE '' END,
            jsonb_strip_nulls(jsonb_build_object('cause_kind', cause_kind, 'cause_id', cause_id, 'key', key,
                'balance_before', balance_after - amount, 'balance_after', balance_after, 'reverses_id', reverses_id,
                'note', NULLIF(note, '')))
        FROM points_entry
    """,
    WhySubject.GROWTH_ENTRY: """
        SELECT id, member_id, at, version_id, kind || ': ' || to_char(amount, 'FMSG999999999999999999'),
            jsonb_build_object('cause_kind', cause_kind, 'cause_id', cause_id, 'key', key,
                'growth_before', balance_after - amount, 'growth_after', balance_after)
        FROM growth_entry
    """,
    WhySubject.CHECK_IN: """
        SELECT id, member_id, at, version_id, 'reward: ' || points || ' points, ' || growth || ' growth',
            jsonb_build_object('business_day', business_day, 'cycle_started_on', cycle_started_on,
                'cycle_day', cycle_day, 'streak_days', streak_days, 'total_days', total_days, 'rewards', rewards)
        FROM check_in
    """,
    WhySubject.REFERRAL_DECISION: """
        SELECT id, member_id, at, version_id, subject || ': ' || outcome,
            jsonb_strip_nulls(inputs || jsonb_build_object('subject_id', subject_id))
        FROM referral_decision
    """,
    WhySubject.NEWCOMER_PACK: """
        SELECT id, member_id, coalesce(given_at, joined_at) AS at, version_id,
            CASE WHEN given_at IS NULL THEN 'owed' ELSE 'given: ' || coalesce(
                (SELECT sum((one ->> 'given')::int) FROM jsonb_array_elements(outcome) one), 0) || ' coupons' END,
            jsonb_build_object('items', outcome)
        FROM newcomer_grant
    """,
    WhySubject.BIRTHDAY: """
        SELECT id, member_id, at, version_id, 'gift: ' || points || ' points, ' || coupon_count || ' coupons'
            || CASE WHEN gift_code <> '' THEN ', ' || gift_code ELSE '' END,
            jsonb_strip_nulls(jsonb_build_object('business_day', business_day, 'tier', tier_code,
                'coupon_refusal', NULLIF(coupon_refusal, '')))
        FROM birthday
    """,
}

_WITH_RULES = """
SELECT why.id, why.member_id, why.subject, why.at, why.version_id, why.outcome, why.inputs::text AS inputs,
    programme.kind AS rule, programme.version
FROM ({found}) why LEFT JOIN programme_version programme ON programme.id = why.version_id
"""

# OFFSET 0 keeps the planner from walking a table by its primary key in search of one member's rows.
_OF_MEMBER = (
    _WITH_RULES.format(
        found="SELECT * FROM ("
        + " UNION ALL ".join(
            f"(SELECT '{subject}' AS subject, found.* FROM ({select} WHERE member_id = $1 AND id < $2 OFFSET 0) found "
            "ORDER BY id DESC LIMIT $3)"
            for subject, select in _SELECTS.items()
        )
        + ") every ORDER BY id DESC LIMIT $3"
    )
    + " ORDER BY why.id DESC"
)

_BY_ID = _WITH_RULES.format(
    found=" UNION ALL ".join(
        f"SELECT '{subject}' AS subject, found.* FROM ({select} WHERE id = $1) found"
        for subject, select in _SELECTS.items()
    )
)


async def browse(deps: Deps, *, member_id: UUID, page: Page) -> Slice[Why]:
    """Every decision about a member, the newest first, in one statement."""
    before = page.after[0] if page.after else _LAST
    found = await rows(_OF_MEMBER, [member_id, before, page.first + 1])
    return Slice(page, [_why(row) for row in found[: page.first]], len(found) > page.first)


async def by_id(deps: Deps, *, entry_id: UUID) -> Why | None:
    """The decision behind one entry, tier change, check-in or referral decision; None if there is none of that id."""
    found = await rows(_BY_ID, [entry_id])
    return _why(found[0]) if found else None


def _why(row: dict[str, Any]) -> Why:
    return Why(
        id=row["id"],
        member_id=row["member_id"],
        subject=WhySubject(row["subject"]),
        at=row["at"],
        rule=row["rule"],
        version=row["version"],
        version_id=row["version_id"],
        outcome=row["outcome"],
        inputs=_flat(orjson.loads(row["inputs"])),
    )


def _flat(value: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Names and values as texts, those of a part named with its whole: ``reward.points``."""
    flat: list[tuple[str, str]] = []
    for name, one in value.items():
        if isinstance(one, dict):
            flat += _flat(one, f"{prefix}{name}.")
        else:
            flat.append((f"{prefix}{name}", one if isinstance(one, str) else orjson.dumps(one).decode()))
    return flat
