"""What operators do with campaigns of a group-buy: make, change, publish, close."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, TypedDict
from uuid import UUID

from loyalty.catalogue.catalogue import SkuNotFound
from loyalty.group_buys import group_buy as rule
from loyalty.group_buys.group_buy import GroupBuyNotFound, GroupBuyState, GroupTerms, NewGroupItem, TeamState
from models.catalogue.catalogue import Sku
from models.engine import retried, transaction
from models.group_buys.group_buy import GroupBuy, GroupItem, GroupTeam
from models.ids import new_id
from models.keyset import Key, Keyset, Page, Slice, fetch
from resolvers.catalogue.catalogue import told
from resolvers.deps import Deps
from resolvers.people.audit import record
from resolvers.people.operator import lock_operator
from resolvers.replay import remember, replayed

MADE = Keyset("group_buy.made", (Key("id", UUID),))

TEAMS = Keyset("group_team.newest", (Key("id", UUID),))


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemWish:
    """An item as an operator wants it: the price of a piece for each size, in the order of the campaign's sizes."""

    sku_id: UUID
    prices_fen: tuple[int, ...]


class CampaignChanges(TypedDict, total=False):
    """What is to be changed of a draft; what is absent stays. ``items`` are all of them anew."""

    title: str
    opens_at: datetime
    closes_at: datetime
    sizes: tuple[int, ...]
    team_hours: int
    virtual_from: int | None
    newcomers_only: bool
    member_limit: int | None
    most_pieces: int
    items: Sequence[ItemWish]


async def campaigns(deps: Deps, *, page: Page, state: GroupBuyState | None = None) -> Slice[GroupBuy]:
    """Every campaign by ``MADE``, or those in a state."""
    return await fetch(GroupBuy.filter(state=state) if state else GroupBuy.all(), page)


async def teams(_: Deps, *, group_buy_id: UUID, page: Page, state: TeamState | None = None) -> Slice[GroupTeam]:
    """The teams of a campaign by ``TEAMS``, or those in a state."""
    wanted = {"state": state} if state else {}
    return await fetch(GroupTeam.filter(group_buy_id=group_buy_id, **wanted), page)


async def one(_: Deps, group_buy_id: UUID) -> GroupBuy | None:
    """A campaign in whatever state."""
    return await GroupBuy.get_or_none(id=group_buy_id)


@retried
async def create(
    deps: Deps, *, operator_id: UUID, terms: GroupTerms, items: Sequence[ItemWish], idempotency_key: str
) -> GroupBuy:
    """Make a campaign as a draft.

    Raises:
        KeyInvalid, KeyReused: the idempotency key.
        ProgrammeInvalid: the values cannot work.
        SkuNotFound: an item names a SKU that is not there.
    """
    now = deps.clock.now()
    content = told({**asdict(terms), "items": [asdict(item) for item in items]})
    key, operation = idempotency_key, "groupBuyCreate"
    async with transaction():
        await lock_operator(operator_id)
        before = await replayed(operator_id, key=key, operation=operation, content=content)
        if before is not None:
            return await GroupBuy.get(id=UUID(before["group_buy_id"]))
        await _admit(terms, items, now)
        made = await GroupBuy.create(
            id=new_id(now), state=GroupBuyState.DRAFT, created_at=now, updated_at=now, **_columns(terms)
        )
        await _write_items(made.id, items, now)
        await record(operator_id, "group_buy.create", "group_buy", made.id, None, content, now)
        result = {"group_buy_id": str(made.id)}
        await remember(operator_id, key=key, operation=operation, content=content, result=result, now=now)
        return made


@retried
async def change(
    deps: Deps, *, operator_id: UUID, group_buy_id: UUID, changes: CampaignChanges, idempotency_key: str
) -> GroupBuy:
    """Change what ``changes`` names of a draft.

    Raises:
        KeyInvalid, KeyReused: the idempotency key.
        GroupBuyNotFound, GroupBuyStateRefused: there is no such draft.
        ProgrammeInvalid, SkuNotFound: what it would become cannot work.
    """
    now = deps.clock.now()
    wanted: dict[str, Any] = dict(changes)
    new_items: Sequence[ItemWish] | None = wanted.pop("items", None)
    content = told({"group_buy_id": group_buy_id, **wanted})
    if new_items is not None:
        content["items"] = told({"items": [asdict(item) for item in new_items]})["items"]
    key, operation = idempotency_key, "groupBuyChange"
    async with transaction():
        await lock_operator(operator_id)
        if await replayed(operator_id, key=key, operation=operation, content=content) is None:
            campaign = await _locked(group_buy_id)
            rule.admit_state(GroupBuyState(campaign.state), wanted=GroupBuyState.DRAFT)
            was, items = terms_of(campaign), await _items(group_buy_id)
            before = told({**asdict(was), "items": [asdict(item) for item in items]})
            renewed = replace(was, **wanted)
            items = items if new_items is None else new_items
            await _admit(renewed, items, now)
            await GroupBuy.filter(id=group_buy_id).update(updated_at=now, **_columns(renewed))
            if new_items is not None:
                await GroupItem.filter(group_buy_id=group_buy_id).delete()
                await _write_items(group_buy_id, items, now)
            after = told({**asdict(renewed), "items": [asdict(item) for item in items]})
            await record(operator_id, "group_buy.change", "group_buy", group_buy_id, before, after, now)
            await remember(operator_id, key=key, operation=operation, content=content, result={}, now=now)
        return await GroupBuy.get(id=group_buy_id)


async def publish(deps: Deps, *, operator_id: UUID, group_buy_id: UUID, idempotency_key: str) -> GroupBuy:
    """Publish a draft.

    Raises:
        KeyInvalid, KeyReused: the idempotency key.
        GroupBuyNotFound, GroupBuyStateRefused: there is no such draft.
        ProgrammeInvalid: its values cannot work any more, as its time is over or a list price fell below its price.
    """
    return await _turn(deps, operator_id, group_buy_id, GroupBuyState.PUBLISHED, idempotency_key)


async def close(deps: Deps, *, operator_id: UUID, group_buy_id: UUID, idempotency_key: str) -> GroupBuy:
    """Close a published campaign: no more teams are opened, and those that are open play to their end.

    Raises: KeyInvalid, KeyReused, GroupBuyNotFound, GroupBuyStateRefused.
    """
    return await _turn(deps, operator_id, group_buy_id, GroupBuyState.CLOSED, idempotency_key)


@retried
async def _turn(deps: Deps, operator_id: UUID, group_buy_id: UUID, state: GroupBuyState, key: str) -> GroupBuy:
    now = deps.clock.now()
    content: dict[str, object] = {"group_buy_id": str(group_buy_id)}
    publishing = state is GroupBuyState.PUBLISHED
    operation = "groupBuyPublish" if publishing else "groupBuyClose"
    current = GroupBuyState.DRAFT if publishing else GroupBuyState.PUBLISHED
    async with transaction():
        await lock_operator(operator_id)
        if await replayed(operator_id, key=key, operation=operation, content=content) is None:
            campaign = await _locked(group_buy_id)
            rule.admit_state(GroupBuyState(campaign.state), wanted=current)
            if publishing:
                await _admit(terms_of(campaign), await _items(group_buy_id), now)
            at = {"published_at": now} if publishing else {"closed_at": now}
            await GroupBuy.filter(id=group_buy_id).update(state=state, updated_at=now, **at)
            action = "group_buy.publish" if publishing else "group_buy.close"
            await record(operator_id, action, "group_buy", group_buy_id, {"state": current}, {"state": state}, now)
            await remember(operator_id, key=key, operation=operation, content=content, result={}, now=now)
        return await GroupBuy.get(id=group_buy_id)


def terms_of(campaign: GroupBuy) -> GroupTerms:
    """A campaign as the rule meets it."""
    return GroupTerms(
        title=campaign.title,
        opens_at=campaign.opens_at,
        closes_at=campaign.closes_at,
        sizes=tuple(campaign.sizes),
        team_hours=campaign.team_hours,
        virtual_from=campaign.virtual_from,
        newcomers_only=campaign.newcomers_only,
        member_limit=campaign.member_limit,
        most_pieces=campaign.most_pieces,
    )


def _columns(terms: GroupTerms) -> dict[str, Any]:
    return {**asdict(terms), "title": terms.title.strip(), "sizes": list(terms.sizes)}


async def _locked(group_buy_id: UUID) -> GroupBuy:
    campaign = await GroupBuy.filter(id=group_buy_id).select_for_update(no_key=True).get_or_none()
    if campaign is None:
        raise GroupBuyNotFound
    return campaign


async def _items(group_buy_id: UUID) -> Sequence[ItemWish]:
    found = await GroupItem.filter(group_buy_id=group_buy_id).order_by("position")
    return [ItemWish(sku_id=item.sku_id, prices_fen=tuple(item.prices_fen)) for item in found]


async def _admit(terms: GroupTerms, items: Sequence[ItemWish], now: datetime) -> None:
    rule.admit_campaign(terms, now=now)
    prices = {sku.id: sku.price_fen for sku in await Sku.filter(id__in=[item.sku_id for item in items])}
    if any(item.sku_id not in prices for item in items):
        raise SkuNotFound
    wanted = [
        NewGroupItem(sku_id=item.sku_id, prices_fen=item.prices_fen, list_price_fen=prices[item.sku_id])
        for item in items
    ]
    rule.admit_items(wanted, sizes=terms.sizes)


async def _write_items(group_buy_id: UUID, items: Sequence[ItemWish], now: datetime) -> None:
    await GroupItem.bulk_create(
        [
            GroupItem(
                id=new_id(now),
                group_buy_id=group_buy_id,
                sku_id=item.sku_id,
                position=position,
                prices_fen=list(item.prices_fen),
            )
            for position, item in enumerate(items)
        ]
    )
