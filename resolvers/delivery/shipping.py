"""Shipping templates: what operators make of them, which product is shipped under which, and what a SKU weighs."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypedDict
from uuid import UUID

from tortoise.exceptions import IntegrityError

from loyalty.catalogue import catalogue as catalogue_rule
from loyalty.delivery.shipping import ShippingTemplateCodeTaken, ShippingTemplateNotFound, ShippingTerms
from loyalty.programme import Definition, Fields
from models.catalogue.catalogue import Product
from models.delivery.shipping import ShippingTemplate, ShippingTemplateVersion
from models.engine import changed, retried, rows, transaction
from models.ids import new_id
from models.keyset import Key, Keyset, Page, Slice, fetch
from resolvers.catalogue.catalogue import told
from resolvers.catalogue.product import lock_product
from resolvers.deps import Deps
from resolvers.people.audit import record
from resolvers.people.operator import lock_operator
from resolvers.replay import remember, replayed

MADE = Keyset("shipping_template.made", (Key("id", UUID),))
VERSIONS = Keyset("shipping_template_version.newest", (Key("version", int),))


class TemplateChanges(TypedDict, total=False):
    """What is to be changed of a template; what is absent stays. ``terms`` replaces all of them."""

    title: str
    terms: Definition


# Reading


async def templates(deps: Deps, *, page: Page) -> Slice[ShippingTemplate]:
    """Every template by ``MADE``."""
    return await fetch(ShippingTemplate.all(), page)


async def versions(deps: Deps, template_id: UUID, *, page: Page) -> Slice[ShippingTemplateVersion]:
    """The versions of a template's terms, newest first."""
    return await fetch(ShippingTemplateVersion.filter(template_id=template_id), page)


async def by_ids(_: Deps, template_ids: Sequence[UUID]) -> Mapping[UUID, ShippingTemplate]:
    """These templates, as far as they exist."""
    return {row.id: row for row in await ShippingTemplate.filter(id__in=list(template_ids))}


async def in_force(_: Deps, template_ids: Sequence[UUID]) -> Mapping[UUID, ShippingTemplateVersion]:
    """The version in force of each of the templates."""
    found = await rows(
        "SELECT terms.id FROM shipping_template template JOIN shipping_template_version terms "
        "ON terms.template_id = template.id AND terms.version = template.version "
        "WHERE template.id = ANY($1::uuid[])",
        [list(template_ids)],
    )
    terms = await ShippingTemplateVersion.filter(id__in=[row["id"] for row in found])
    return {row.template_id: row for row in terms}


# Making and changing


async def create(
    deps: Deps, *, operator_id: UUID, code: str, title: str, terms: Definition, is_default: bool, idempotency_key: str
) -> ShippingTemplate:
    """Make a template with the first version of its terms; as the default it takes the place of another.

    Raises:
        KeyInvalid, KeyReused: the idempotency key.
        CatalogueInvalid: the title.
        ProgrammeInvalid: the code or the terms cannot work.
        ShippingTemplateCodeTaken: another template has the code.
    """
    try:
        return await _create(deps, operator_id, code, title, terms, is_default, idempotency_key)
    except IntegrityError:
        if await ShippingTemplate.exists(code=code):
            raise ShippingTemplateCodeTaken from None
        raise


@retried
async def _create(
    deps: Deps, operator_id: UUID, code: str, title: str, terms: Definition, is_default: bool, key: str
) -> ShippingTemplate:
    now = deps.clock.now()
    Fields({"code": code}).code("code")
    catalogue_rule.admit_product(title=title)
    parsed = ShippingTerms.parse(terms)
    content = {"code": code, "title": title, "terms": parsed.definition(), "is_default": is_default}
    operation = "shippingTemplateCreate"
    async with transaction():
        await lock_operator(operator_id)
        before = await replayed(operator_id, key=key, operation=operation, content=content)
        if before is not None:
            return await ShippingTemplate.get(id=UUID(before["template_id"]))
        if is_default:
            await _alone_with_the_default()
            await _no_default()
        made = await ShippingTemplate.create(
            id=new_id(now),
            code=code,
            title=title.strip(),
            version=1,
            is_default=is_default,
            created_at=now,
            updated_at=now,
        )
        await _write_version(made.id, 1, parsed, operator_id, now)
        await record(operator_id, "shipping_template.create", "shipping_template", made.id, None, content, now)
        result = {"template_id": str(made.id)}
        await remember(operator_id, key=key, operation=operation, content=content, result=result, now=now)
        return made


@retried
async def change(
    deps: Deps, *, operator_id: UUID, template_id: UUID, changes: TemplateChanges, idempotency_key: str
) -> ShippingTemplate:
    """Change what ``changes`` names. Other terms are a new version, for the orders placed after it.

    Raises:
        KeyInvalid, KeyReused: the idempotency key.
        CatalogueInvalid, ProgrammeInvalid: the title, or terms that cannot work.
        ShippingTemplateNotFound: there is no such template.
    """
    now = deps.clock.now()
    wanted: dict[str, Any] = {}
    if "title" in changes:
        catalogue_rule.admit_product(title=changes["title"])
        wanted["title"] = changes["title"].strip()
    if "terms" in changes:
        wanted["terms"] = ShippingTerms.parse(changes["terms"]).definition()
    content = {"template_id": str(template_id), **wanted}
    key, operation = idempotency_key, "shippingTemplateChange"
    async with transaction():
        await lock_operator(operator_id)
        if await replayed(operator_id, key=key, operation=operation, content=content) is None:
            template = await _locked(template_id)
            version = await ShippingTemplateVersion.get(template_id=template.id, version=template.version)
            was = {"title": template.title, "terms": version.definition, "version": template.version}
            after = {name: value for name, value in wanted.items() if value != was[name]}
            columns: dict[str, Any] = {name: value for name, value in after.items() if name != "terms"}
            if "terms" in after:
                after["version"] = columns["version"] = template.version + 1
                terms = ShippingTerms.parse(after["terms"])
                await _write_version(template.id, template.version + 1, terms, operator_id, now)
            if after:
                await ShippingTemplate.filter(id=template.id).update(**columns, updated_at=now)
                before = {name: was[name] for name in after}
                await record(
                    operator_id, "shipping_template.change", "shipping_template", template.id, before, after, now
                )
            await remember(operator_id, key=key, operation=operation, content=content, result={}, now=now)
        return await ShippingTemplate.get(id=template_id)


@retried
async def set_default(deps: Deps, *, operator_id: UUID, template_id: UUID | None, idempotency_key: str) -> None:
    """Ship products without a template of their own under this one; None: free of charge.

    Raises:
        KeyInvalid, KeyReused: the idempotency key.
        ShippingTemplateNotFound: there is no such template.
    """
    now = deps.clock.now()
    content = told({"template_id": template_id})
    key, operation = idempotency_key, "shippingDefaultSet"
    async with transaction():
        await lock_operator(operator_id)
        if await replayed(operator_id, key=key, operation=operation, content=content) is None:
            await _alone_with_the_default()
            was = await ShippingTemplate.get_or_none(is_default=True)
            if template_id is not None and not await ShippingTemplate.exists(id=template_id):
                raise ShippingTemplateNotFound
            if (was.id if was else None) != template_id:
                await _no_default()
                await ShippingTemplate.filter(id=template_id).update(is_default=True, updated_at=now)
                before = told({"template_id": was.id if was else None})
                await record(operator_id, "shipping.default_set", "shipping_template", "default", before, content, now)
            await remember(operator_id, key=key, operation=operation, content=content, result={}, now=now)


@retried
async def set_for_product(
    deps: Deps, *, operator_id: UUID, product_id: UUID, template_id: UUID | None, idempotency_key: str
) -> Product:
    """Ship a product under this template; None: under the shop's default one.

    Raises:
        KeyInvalid, KeyReused: the idempotency key.
        ProductNotFound, ShippingTemplateNotFound: there is no such product or template.
    """
    now = deps.clock.now()
    content = told({"product_id": product_id, "template_id": template_id})
    key, operation = idempotency_key, "productShippingSet"
    async with transaction():
        await lock_operator(operator_id)
        if await replayed(operator_id, key=key, operation=operation, content=content) is None:
            product = await lock_product(product_id)
            if template_id is not None and not await ShippingTemplate.exists(id=template_id):
                raise ShippingTemplateNotFound
            if product.shipping_template_id != template_id:
                await Product.filter(id=product_id).update(shipping_template_id=template_id, updated_at=now)
                before = told({"template_id": product.shipping_template_id})
                after = told({"template_id": template_id})
                await record(operator_id, "product.shipping_set", "product", product_id, before, after, now)
            await remember(operator_id, key=key, operation=operation, content=content, result={}, now=now)
        return await Product.get(id=product_id)


async def _locked(template_id: UUID) -> ShippingTemplate:
    await rows("SELECT id FROM shipping_template WHERE id = $1 FOR NO KEY UPDATE", [template_id])
    template = await ShippingTemplate.get_or_none(id=template_id)
    if template is None:
        raise ShippingTemplateNotFound
    return template


async def _alone_with_the_default() -> None:
    """Choose the default one operator at a time: it concerns all templates."""
    await rows("SELECT pg_advisory_xact_lock(hashtextextended('shipping_template.default', 0))")


async def _no_default() -> None:
    await changed("UPDATE shipping_template SET is_default = false WHERE is_default")


async def _write_version(
    template_id: UUID, version: int, terms: ShippingTerms, operator_id: UUID, now: datetime
) -> None:
    await ShippingTemplateVersion.create(
        id=new_id(now),
        template_id=template_id,
        version=version,
        definition=terms.definition(),
        made_at=now,
        made_by_id=operator_id,
    )
