"""Coupon templates: what operators make, change, publish and pause; their quotas and their batches of codes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, TypedDict
from uuid import UUID

from tortoise.exceptions import IntegrityError

from loyalty.catalogue import catalogue as catalogue_rule
from loyalty.coupons import coupon as rule
from loyalty.coupons import coupon_issue as issue_rule
from loyalty.coupons.coupon import (
    CouponEventKind,
    CouponNotFound,
    CouponState,
    CouponStateRefused,
    CouponTemplateCodeTaken,
    CouponTemplateNotFound,
    TemplateState,
)
from loyalty.coupons.coupon_code import CODE_SECRET_BYTES, code_from
from loyalty.coupons.coupon_issue import Quota
from loyalty.coupons.coupon_terms import CouponTerms
from loyalty.programme import Definition, Fields, Reason, between, invalid
from models.coupons.coupon import (
    Coupon,
    CouponCode,
    CouponCodeBatch,
    CouponQuota,
    CouponTemplate,
    CouponTemplateVersion,
)
from models.engine import in_transaction, retried, rows, transaction
from models.ids import new_bytes, new_id
from models.keyset import Key, Keyset, Page, Slice, fetch
from resolvers.catalogue.catalogue import differences, told
from resolvers.coupons.coupon_issue import give_up
from resolvers.deps import Deps
from resolvers.naming import admit_names
from resolvers.people.audit import record
from resolvers.people.operator import lock_operator
from resolvers.replay import remember, replayed

MADE = Keyset("coupon_template.made", (Key("id", UUID),))
VERSIONS = Keyset("coupon_template_version.newest", (Key("version", int),))
BATCHES = Keyset("coupon_code_batch.newest", (Key("id", UUID),))
CODES = Keyset("coupon_code.newest", (Key("id", UUID),))


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTemplate:
    """A template that does not exist yet."""

    code: str
    title: str
    description: str = ""
    claimable: bool = True
    terms: Definition
    quota: Quota = field(default_factory=Quota)
    opens_at: datetime | None = None
    closes_at: datetime | None = None


class TemplateChanges(TypedDict, total=False):
    """What is to be changed of a template; what is absent stays, also within ``terms`` and ``quota``."""

    title: str
    description: str
    claimable: bool
    opens_at: datetime | None
    closes_at: datetime | None
    terms: Definition
    quota: Mapping[str, int | None]


# Reading


async def templates(deps: Deps, *, page: Page, state: TemplateState | None = None) -> Slice[CouponTemplate]:
    """Every template by ``MADE``, or those in a state."""
    return await fetch(CouponTemplate.filter(**({"state": state} if state else {})), page)


async def one(deps: Deps, template_id: UUID) -> CouponTemplate | None:
    """A template in whatever state."""
    return await CouponTemplate.get_or_none(id=template_id)


async def versions(deps: Deps, template_id: UUID, *, page: Page) -> Slice[CouponTemplateVersion]:
    """The versions of a template's terms, newest first."""
    return await fetch(CouponTemplateVersion.filter(template_id=template_id), page)


async def quotas(_: Deps, template_ids: Sequence[UUID]) -> Mapping[UUID, CouponQuota]:
    """What templates may give out and have, by the template's id."""
    return {row.template_id: row for row in await CouponQuota.filter(template_id__in=list(template_ids))}


async def batches(deps: Deps, template_id: UUID, *, page: Page) -> Slice[CouponCodeBatch]:
    """The batches of codes of a template, newest first."""
    return await fetch(CouponCodeBatch.filter(template_id=template_id), page)


async def codes(deps: Deps, batch_id: UUID, *, page: Page) -> Slice[CouponCode]:
    """The codes of a batch."""
    return await fetch(CouponCode.filter(batch_id=batch_id), page)


async def redeemed_counts(_: Deps, batch_ids: Sequence[UUID]) -> Mapping[UUID, int]:
    """How many codes of each batch were redeemed."""
    found = await rows(
        "SELECT batch_id, count(coupon_id)::int AS many FROM coupon_code WHERE batch_id = ANY($1::uuid[]) GROUP BY 1",
        [list(batch_ids)],
    )
    return {row["batch_id"]: row["many"] for row in found}


# Making and changing


async def create(deps: Deps, *, operator_id: UUID, template: NewTemplate, idempotency_key: str) -> CouponTemplate:
    """Make a template as a draft, with the first version of its terms.

    Raises:
        KeyInvalid, KeyReused: the idempotency key.
        CatalogueInvalid: the texts.
        ProgrammeInvalid: the code, the terms, the quota or the window cannot work, or the scope names what is not
            there.
        CouponTemplateCodeTaken: another template has the code.
    """
    try:
        return await _create(deps, operator_id=operator_id, template=template, idempotency_key=idempotency_key)
    except IntegrityError:
        if await CouponTemplate.exists(code=template.code):
            raise CouponTemplateCodeTaken from None
        raise


@retried
async def _create(deps: Deps, *, operator_id: UUID, template: NewTemplate, idempotency_key: str) -> CouponTemplate:
    now = deps.clock.now()
    content = told(asdict(template))
    key, operation = idempotency_key, "couponTemplateCreate"
    async with transaction():
        await lock_operator(operator_id)
        before = await replayed(operator_id, key=key, operation=operation, content=content)
        if before is not None:
            return await CouponTemplate.get(id=UUID(before["template_id"]))
        Fields({"code": template.code}).code("code")
        catalogue_rule.admit_product(title=template.title, description=template.description, media_urls=[])
        terms = CouponTerms.parse(template.terms)
        issue_rule.admit_quota(terms, template.quota)
        issue_rule.admit_window(opens_at=template.opens_at, closes_at=template.closes_at)
        await admit_names(terms.names(), now)
        if await CouponTemplate.exists(code=template.code):
            raise CouponTemplateCodeTaken
        made = await CouponTemplate.create(
            id=new_id(now),
            code=template.code,
            kind=terms.kind,
            title=template.title.strip(),
            description=template.description.strip(),
            claimable=template.claimable,
            version=1,
            opens_at=template.opens_at,
            closes_at=template.closes_at,
            created_at=now,
            updated_at=now,
        )
        await _write_version(made.id, 1, terms, operator_id, now)
        await CouponQuota.create(template_id=made.id, **asdict(template.quota))
        await record(operator_id, "coupon_template.create", "coupon_template", made.id, None, content, now)
        result = {"template_id": str(made.id)}
        await remember(operator_id, key=key, operation=operation, content=content, result=result, now=now)
        return made


@retried
async def change(
    deps: Deps, *, operator_id: UUID, template_id: UUID, changes: TemplateChanges, idempotency_key: str
) -> CouponTemplate:
    """Change what ``changes`` names. Other terms are a new version, for the coupons given out after it.

    A quota may be set below what was given out: then no more is given out.

    Raises:
        KeyInvalid, KeyReused: the idempotency key.
        CouponTemplateNotFound: there is no such template.
        CatalogueInvalid: the texts.
        ProgrammeInvalid: as above, or it would be of another kind.
    """
    now = deps.clock.now()
    content = {"template_id": str(template_id), **told(changes)}
    key, operation = idempotency_key, "couponTemplateChange"
    async with transaction():
        await lock_operator(operator_id)
        if await replayed(operator_id, key=key, operation=operation, content=content) is None:
            template = await _lock(template_id)
            values: dict[str, Any] = {
                name: value.strip() if isinstance(value, str) else value
                for name, value in changes.items()
                if name not in ("terms", "quota")
            }
            wanted: dict[str, Any] = {**_shown(template), **values}
            catalogue_rule.admit_product(title=wanted["title"], description=wanted["description"], media_urls=[])
            issue_rule.admit_window(opens_at=wanted["opens_at"], closes_at=wanted["closes_at"])
            after = differences(template, values)
            was = {name: getattr(template, name) for name in after}
            version = await CouponTemplateVersion.get(template_id=template.id, version=template.version)
            terms = CouponTerms.parse(version.definition)
            renewed = CouponTerms.parse({**version.definition, **changes.get("terms", {})})
            issue_rule.admit_same_kind(terms, renewed)
            quota = await CouponQuota.get(template_id=template.id)
            limits: dict[str, int | None] = {name: getattr(quota, name) for name in _LIMITS}
            wanted_limits = {**limits, **changes.get("quota", {})}
            issue_rule.admit_quota(renewed, Quota(**wanted_limits))
            if renewed != terms:
                await admit_names(renewed.names(), now)
                was |= {"version": template.version, "terms": version.definition}
                after |= {"version": template.version + 1, "terms": renewed.definition()}
                await _write_version(template.id, template.version + 1, renewed, operator_id, now)
            columns = {name: value for name, value in after.items() if name != "terms"}
            changed_limits = {name: value for name, value in wanted_limits.items() if value != limits[name]}
            was |= {name: limits[name] for name in changed_limits}
            after |= changed_limits
            if after:
                await CouponTemplate.filter(id=template.id).update(**columns, updated_at=now)
                await record(
                    operator_id, "coupon_template.change", "coupon_template", template.id, told(was), told(after), now
                )
            await remember(operator_id, key=key, operation=operation, content=content, result={}, now=now)
            if changed_limits:
                await CouponQuota.filter(template_id=template.id).update(**changed_limits)
        return await CouponTemplate.get(id=template_id)


_LIMITS = ("total_limit", "daily_limit", "budget_fen")


async def publish(deps: Deps, *, operator_id: UUID, template_id: UUID, idempotency_key: str) -> CouponTemplate:
    """Let a template give coupons out; one that does stays as it is.

    Raises: KeyInvalid, KeyReused, CouponTemplateNotFound.
    """
    return await _turn(deps, operator_id, template_id, TemplateState.PUBLISHED, idempotency_key)


async def pause(deps: Deps, *, operator_id: UUID, template_id: UUID, idempotency_key: str) -> CouponTemplate:
    """Let a template give out no more; what members have of it stays good.

    Raises: KeyInvalid, KeyReused, CouponTemplateNotFound.
    """
    return await _turn(deps, operator_id, template_id, TemplateState.PAUSED, idempotency_key)


@retried
async def _turn(deps: Deps, operator_id: UUID, template_id: UUID, state: TemplateState, key: str) -> CouponTemplate:
    now = deps.clock.now()
    content = {"template_id": str(template_id)}
    publishing = state is TemplateState.PUBLISHED
    operation = "couponTemplatePublish" if publishing else "couponTemplatePause"
    async with transaction():
        await lock_operator(operator_id)
        if await replayed(operator_id, key=key, operation=operation, content=content) is None:
            template = await _lock(template_id)
            if (template.state == TemplateState.PUBLISHED) is not publishing:
                published = {"published_at": now} if publishing else {}
                await CouponTemplate.filter(id=template.id).update(state=state, updated_at=now, **published)
                action = "coupon_template.publish" if publishing else "coupon_template.pause"
                await record(
                    operator_id,
                    action,
                    "coupon_template",
                    template.id,
                    {"state": template.state},
                    {"state": state},
                    now,
                )
            await remember(operator_id, key=key, operation=operation, content=content, result={}, now=now)
        return await CouponTemplate.get(id=template_id)


@retried
async def make_codes(
    deps: Deps,
    *,
    operator_id: UUID,
    template_id: UUID,
    title: str,
    size: int,
    closes_at: datetime | None,
    idempotency_key: str,
) -> CouponCodeBatch:
    """Make a batch of codes, each of which gives one coupon to one member, through the template's limits.

    Raises:
        KeyInvalid, KeyReused: the idempotency key.
        ProgrammeInvalid: the title, the size or the end.
        CouponTemplateNotFound: there is no such template.
    """
    now = deps.clock.now()
    content = told({"template_id": str(template_id), "title": title, "size": size, "closes_at": closes_at})
    key, operation = idempotency_key, "couponCodesMake"
    async with transaction():
        await lock_operator(operator_id)
        before = await replayed(operator_id, key=key, operation=operation, content=content)
        if before is not None:
            return await CouponCodeBatch.get(id=UUID(before["batch_id"]))
        if not 1 <= len(title.strip()) <= 60:
            raise invalid("title", Reason("must be 1 to 60 characters", "须为 1 至 60 个字符"))
        if not 1 <= size <= rule.MAX_BATCH:
            raise invalid("size", between(1, rule.MAX_BATCH))
        if closes_at is not None and closes_at <= now:
            raise invalid("closes_at", Reason("must lie in the future", "必须晚于现在"))
        if not await CouponTemplate.exists(id=template_id):
            raise CouponTemplateNotFound
        batch = await CouponCodeBatch.create(
            id=new_id(now),
            template_id=template_id,
            title=title.strip(),
            size=size,
            closes_at=closes_at,
            made_at=now,
            made_by_id=operator_id,
        )
        await CouponCode.bulk_create(
            [
                CouponCode(id=new_id(now), batch_id=batch.id, code=code_from(new_bytes(CODE_SECRET_BYTES)))
                for _ in range(size)
            ],
            batch_size=1_000,
        )
        await record(operator_id, "coupon_codes.make", "coupon_template", template_id, None, content, now)
        result = {"batch_id": str(batch.id)}
        await remember(operator_id, key=key, operation=operation, content=content, result=result, now=now)
        return batch


@retried
async def void(deps: Deps, *, operator_id: UUID, coupon_id: UUID, reason: str, idempotency_key: str) -> Coupon:
    """Take a coupon away from its member, if it is not on an order.

    Raises:
        KeyInvalid, KeyReused: the idempotency key.
        ProgrammeInvalid: no reason.
        CouponNotFound, CouponStateRefused: there is nothing to take away.
    """
    now = deps.clock.now()
    owner = await Coupon.get_or_none(id=coupon_id)
    if owner is None:
        raise CouponNotFound
    content = {"coupon_id": str(coupon_id), "reason": reason}
    key, operation = idempotency_key, "couponVoid"
    async with transaction(owner.member_id):
        await lock_operator(operator_id)
        if await replayed(operator_id, key=key, operation=operation, content=content) is None:
            if not 1 <= len(reason.strip()) <= 200:
                raise invalid("reason", Reason("must be 1 to 200 characters", "须为 1 至 200 个字符"))
            coupon = await Coupon.get(id=coupon_id)
            if coupon.state != CouponState.ISSUED:
                raise CouponStateRefused(state=coupon.state)
            after = {"state": CouponState.VOID, "reason": reason.strip()}
            await record(operator_id, "coupon.void", "coupon", coupon.id, {"state": coupon.state}, after, now)
            await remember(operator_id, key=key, operation=operation, content=content, result={}, now=now)
            await give_up([coupon], CouponState.VOID, CouponEventKind.VOIDED, now)
        return await Coupon.get(id=coupon_id)


async def _lock(template_id: UUID) -> CouponTemplate:
    assert in_transaction(), "a lock outside a transaction protects nothing"
    template = await CouponTemplate.filter(id=template_id).select_for_update(no_key=True).get_or_none()
    if template is None:
        raise CouponTemplateNotFound
    return template


def _shown(template: CouponTemplate) -> dict[str, object]:
    return {name: getattr(template, name) for name in ("title", "description", "claimable", "opens_at", "closes_at")}


async def _write_version(template_id: UUID, version: int, terms: CouponTerms, operator_id: UUID, now: datetime) -> None:
    await CouponTemplateVersion.create(
        id=new_id(now),
        template_id=template_id,
        version=version,
        definition=terms.definition(),
        made_at=now,
        made_by_id=operator_id,
    )
