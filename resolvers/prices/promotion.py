"""Promotions: what operators make, change, publish and stop, and what is on in the shop."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, TypedDict
from uuid import UUID

from tortoise.exceptions import IntegrityError

from loyalty.catalogue import catalogue as catalogue_rule
from loyalty.prices import promotion as rule
from loyalty.prices.promotion import (
    PromotionCodeTaken,
    PromotionNotFound,
    PromotionQuota,
    PromotionState,
    PromotionStateRefused,
)
from loyalty.prices.promotion_terms import PromotionKind, PromotionTerms
from loyalty.programme import Definition, Fields
from models.engine import in_transaction, retried, rows, transaction
from models.ids import new_id
from models.keyset import Key, Keyset, Page, Slice, fetch
from models.prices.promotion import Promotion, PromotionVersion
from models.prices.promotion import PromotionQuota as QuotaRow
from resolvers.catalogue.catalogue import differences, told
from resolvers.deps import Deps
from resolvers.naming import TIERS, admit_names
from resolvers.people.audit import record
from resolvers.people.operator import lock_operator
from resolvers.replay import remember, replayed

MADE = Keyset("promotion.made", (Key("id", UUID),))
VERSIONS = Keyset("promotion_version.newest", (Key("version", int),))

_PUBLISHING = 7_305_551_204
"""The lock under which promotions are counted and published, so that there are never too many."""

_COUNT = """
SELECT count(*)::int AS published, (count(*) FILTER (WHERE kind = ANY($2::text[])))::int AS order_wide
FROM promotion WHERE state = 'published' AND (closes_at IS NULL OR closes_at > $1)
"""


_MISSING_TIERS = f"""
SELECT promotion.id, array_agg(tier.code ORDER BY tier.code) AS missing
FROM promotion JOIN promotion_version terms ON terms.promotion_id = promotion.id AND terms.version = promotion.version
CROSS JOIN LATERAL jsonb_array_elements_text(terms.definition->'tier_codes') tier (code)
WHERE promotion.id = ANY($1::uuid[]) AND tier.code NOT IN ({TIERS}) GROUP BY promotion.id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPromotion:
    """A promotion that does not exist yet."""

    code: str
    title: str
    priority: int = 0
    terms: Definition
    quota: PromotionQuota = field(default_factory=PromotionQuota)
    opens_at: datetime | None = None
    closes_at: datetime | None = None


class PromotionChanges(TypedDict, total=False):
    """What is to be changed of a promotion; what is absent stays, also within ``terms`` and ``quota``."""

    title: str
    priority: int
    opens_at: datetime | None
    closes_at: datetime | None
    terms: Definition
    quota: Mapping[str, int | None]


# Reading


async def promotions(
    _: Deps, *, page: Page, state: PromotionState | None = None, kind: PromotionKind | None = None
) -> Slice[Promotion]:
    """Every promotion by ``MADE``, or those in a state or of a kind."""
    wanted = {"state": state, "kind": kind}
    return await fetch(Promotion.filter(**{name: value for name, value in wanted.items() if value is not None}), page)


async def one(_: Deps, promotion_id: UUID) -> Promotion | None:
    """A promotion in whatever state."""
    return await Promotion.get_or_none(id=promotion_id)


async def versions(_: Deps, promotion_id: UUID, *, page: Page) -> Slice[PromotionVersion]:
    """The versions of a promotion, newest first."""
    return await fetch(PromotionVersion.filter(promotion_id=promotion_id), page)


async def quotas(_: Deps, promotion_ids: Sequence[UUID]) -> Mapping[UUID, QuotaRow]:
    """What promotions may be used and were, by the promotion's id."""
    return {row.promotion_id: row for row in await QuotaRow.filter(promotion_id__in=list(promotion_ids))}


async def current_versions(_: Deps, promotion_ids: Sequence[UUID]) -> Mapping[UUID, PromotionVersion]:
    """The version of each promotion that is in force, by the promotion's id."""
    found = await rows(
        "SELECT terms.id FROM promotion_version terms JOIN promotion ON promotion.id = terms.promotion_id "
        "AND promotion.version = terms.version WHERE promotion.id = ANY($1::uuid[])",
        [list(promotion_ids)],
    )
    kept = await PromotionVersion.filter(id__in=[row["id"] for row in found])
    return {row.promotion_id: row for row in kept}


async def missing_tiers(deps: Deps, promotion_ids: Sequence[UUID]) -> Mapping[UUID, Sequence[str]]:
    """The tiers that each promotion is for and that are in no table, in force or published for later, by code."""
    found = await rows(_MISSING_TIERS, [list(promotion_ids), deps.clock.now()])
    return {row["id"]: row["missing"] for row in found}


# Making and changing


async def create(deps: Deps, *, operator_id: UUID, promotion: NewPromotion, idempotency_key: str) -> Promotion:
    """Make a promotion as a draft, with the first version of its terms.

    Raises:
        KeyInvalid, KeyReused: the idempotency key.
        CatalogueInvalid: the title.
        ProgrammeInvalid: the code, the terms, the quota, the priority or the window cannot work, or the terms name what
            is not there.
        PromotionCodeTaken: another promotion has the code.
    """
    try:
        return await _create(deps, operator_id=operator_id, promotion=promotion, idempotency_key=idempotency_key)
    except IntegrityError:
        if await Promotion.exists(code=promotion.code):
            raise PromotionCodeTaken from None
        raise


@retried
async def _create(deps: Deps, *, operator_id: UUID, promotion: NewPromotion, idempotency_key: str) -> Promotion:
    now = deps.clock.now()
    content = told(asdict(promotion))
    key, operation = idempotency_key, "promotionCreate"
    async with transaction():
        await lock_operator(operator_id)
        before = await replayed(operator_id, key=key, operation=operation, content=content)
        if before is not None:
            return await Promotion.get(id=UUID(before["promotion_id"]))
        Fields({"code": promotion.code}).code("code")
        catalogue_rule.admit_product(title=promotion.title, description="", media_urls=[])
        terms = PromotionTerms.parse(promotion.terms)
        rule.admit_promotion(
            quota=promotion.quota,
            priority=promotion.priority,
            opens_at=promotion.opens_at,
            closes_at=promotion.closes_at,
        )
        await admit_names(terms.names(), now)
        if await Promotion.exists(code=promotion.code):
            raise PromotionCodeTaken
        made = await Promotion.create(
            id=new_id(now),
            code=promotion.code,
            kind=terms.kind,
            state=PromotionState.DRAFT,
            title=promotion.title.strip(),
            priority=promotion.priority,
            version=1,
            opens_at=promotion.opens_at,
            closes_at=promotion.closes_at,
            created_at=now,
            updated_at=now,
        )
        await _write_version(made, terms, operator_id, now)
        await QuotaRow.create(promotion_id=made.id, **asdict(promotion.quota))
        await record(operator_id, "promotion.create", "promotion", made.id, None, content, now)
        result = {"promotion_id": str(made.id)}
        await remember(operator_id, key=key, operation=operation, content=content, result=result, now=now)
        return made


@retried
async def change(
    deps: Deps, *, operator_id: UUID, promotion_id: UUID, changes: PromotionChanges, idempotency_key: str
) -> Promotion:
    """Change what ``changes`` names. Anything but the quota is a new version, for orders priced after it.

    A quota may be set below what was used: then nothing more is given.

    Raises:
        KeyInvalid, KeyReused: the idempotency key.
        PromotionNotFound: there is no such promotion.
        PromotionStateRefused: it was stopped.
        CatalogueInvalid: the title.
        ProgrammeInvalid: as above, or it would be of another kind.
        TooManyPromotions: it had ended, and would run again beside too many others.
    """
    now = deps.clock.now()
    content = {"promotion_id": str(promotion_id), **told(changes)}
    key, operation = idempotency_key, "promotionChange"
    async with transaction():
        await lock_operator(operator_id)
        if await replayed(operator_id, key=key, operation=operation, content=content) is None:
            promotion = await _lock(promotion_id)
            if promotion.state == PromotionState.STOPPED:
                raise PromotionStateRefused(state=promotion.state)
            await _change(promotion, changes, operator_id, now)
            await remember(operator_id, key=key, operation=operation, content=content, result={}, now=now)
        return await Promotion.get(id=promotion_id)


async def _change(promotion: Promotion, changes: PromotionChanges, operator_id: UUID, now: datetime) -> None:
    values: dict[str, Any] = {
        name: value.strip() if isinstance(value, str) else value
        for name, value in changes.items()
        if name not in ("terms", "quota")
    }
    after = differences(promotion, values)
    was: dict[str, Any] = {name: getattr(promotion, name) for name in after}
    ended = promotion.closes_at is not None and promotion.closes_at <= now
    for name, value in values.items():
        setattr(promotion, name, value)
    catalogue_rule.admit_product(title=promotion.title, description="", media_urls=[])
    current = await PromotionVersion.get(promotion_id=promotion.id, version=promotion.version)
    terms = PromotionTerms.parse(current.definition)
    renewed = PromotionTerms.parse({**current.definition, **changes.get("terms", {})})
    rule.admit_same_kind(terms, renewed)
    quota = await QuotaRow.get(promotion_id=promotion.id)
    limits: dict[str, int | None] = {"total_limit": quota.total_limit, "budget_fen": quota.budget_fen}
    wanted = {**limits, **changes.get("quota", {})}
    rule.admit_promotion(
        quota=PromotionQuota(**wanted),
        priority=promotion.priority,
        opens_at=promotion.opens_at,
        closes_at=promotion.closes_at,
    )
    if promotion.state == PromotionState.PUBLISHED and ended and "closes_at" in after:
        await _admit_number(promotion, now)
    if renewed != terms:
        await admit_names(renewed.names(), now)
        was["terms"] = current.definition
        after["terms"] = renewed.definition()
    if after:
        was["version"] = promotion.version
        promotion.version += 1
        after["version"] = promotion.version
        promotion.updated_at = now
        await promotion.save()
        await _write_version(promotion, renewed, operator_id, now)
    changed_limits = {name: value for name, value in wanted.items() if value != limits[name]}
    if changed_limits:
        was |= {name: limits[name] for name in changed_limits}
        after |= changed_limits
        await QuotaRow.filter(promotion_id=promotion.id).update(**changed_limits)
    if after:
        await record(operator_id, "promotion.change", "promotion", promotion.id, told(was), told(after), now)


async def publish(deps: Deps, *, operator_id: UUID, promotion_id: UUID, idempotency_key: str) -> Promotion:
    """Let a draft run in its window; one that does stays as it is.

    Raises: KeyInvalid, KeyReused, PromotionNotFound, PromotionStateRefused (it was stopped), TooManyPromotions.
    """
    return await _turn(deps, operator_id, promotion_id, PromotionState.PUBLISHED, idempotency_key)


async def stop(deps: Deps, *, operator_id: UUID, promotion_id: UUID, idempotency_key: str) -> Promotion:
    """Let a promotion run no more, for good. Orders and kept quotes keep what they have of it.

    Raises: KeyInvalid, KeyReused, PromotionNotFound.
    """
    return await _turn(deps, operator_id, promotion_id, PromotionState.STOPPED, idempotency_key)


@retried
async def _turn(deps: Deps, operator_id: UUID, promotion_id: UUID, state: PromotionState, key: str) -> Promotion:
    now = deps.clock.now()
    content = {"promotion_id": str(promotion_id)}
    publishing = state is PromotionState.PUBLISHED
    operation = "promotionPublish" if publishing else "promotionStop"
    async with transaction():
        await lock_operator(operator_id)
        if await replayed(operator_id, key=key, operation=operation, content=content) is None:
            promotion = await _lock(promotion_id)
            if publishing and promotion.state == PromotionState.STOPPED:
                raise PromotionStateRefused(state=promotion.state)
            if promotion.state != state:
                if publishing:
                    await _admit_number(promotion, now)
                published = {"published_at": now} if publishing else {}
                await Promotion.filter(id=promotion.id).update(state=state, updated_at=now, **published)
                action = "promotion.publish" if publishing else "promotion.stop"
                was, after = {"state": promotion.state}, {"state": state}
                await record(operator_id, action, "promotion", promotion.id, was, after, now)
            await remember(operator_id, key=key, operation=operation, content=content, result={}, now=now)
        return await Promotion.get(id=promotion_id)


async def _admit_number(promotion: Promotion, now: datetime) -> None:
    await rows("SELECT pg_advisory_xact_lock($1::bigint)", [_PUBLISHING])
    wide = [kind.value for kind in PromotionKind if not kind.of_pieces]
    counted = (await rows(_COUNT, [now, wide]))[0]
    rule.admit_number(PromotionKind(promotion.kind), published=counted["published"], order_wide=counted["order_wide"])


async def _lock(promotion_id: UUID) -> Promotion:
    assert in_transaction(), "a lock outside a transaction protects nothing"
    promotion = await Promotion.filter(id=promotion_id).select_for_update(no_key=True).get_or_none()
    if promotion is None:
        raise PromotionNotFound
    return promotion


async def _write_version(promotion: Promotion, terms: PromotionTerms, operator_id: UUID, now: datetime) -> None:
    await PromotionVersion.create(
        id=new_id(now),
        promotion_id=promotion.id,
        version=promotion.version,
        title=promotion.title,
        priority=promotion.priority,
        opens_at=promotion.opens_at,
        closes_at=promotion.closes_at,
        definition=terms.definition(),
        made_at=now,
        made_by_id=operator_id,
    )
