"""Members' address books, and the address that an order keeps."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from loyalty.orders.order import OrderNotFound
from loyalty.people import address as rule
from loyalty.people.address import AddressNotFound, Contact, Region
from models.engine import changed, in_transaction, retried, transaction
from models.ids import new_id
from models.orders.order import Order
from models.people.address import Address, OrderAddress
from resolvers.deps import Deps
from resolvers.people.audit import record
from resolvers.people.operator import lock_operator
from resolvers.people.seal import Seal
from resolvers.replay import remember, replayed


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressWish:
    """An address as a member writes it."""

    contact: Contact
    region: Region
    label: str = ""

    def admitted(self) -> "AddressWish":
        """The address as it is kept. Raises: AddressInvalid."""
        return AddressWish(
            contact=rule.admit_contact(self.contact),
            region=rule.admit_region(self.region),
            label=rule.admit_label(self.label),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where a parcel goes, with its contact in the open."""

    region: Region
    contact: Contact


def destination(seal: Seal, row: Address | OrderAddress) -> Destination:
    """A stored address with its contact opened."""
    region = Region(code=row.region_code, province=row.province, city=row.city, district=row.district)
    opened = orjson.loads(seal.open(row.sealed, belongs_to=_owner(row)))
    return Destination(region=region, contact=Contact(**opened))


def _owner(row: Address | OrderAddress) -> str:
    return f"address:{row.id}" if isinstance(row, Address) else f"order_address:{row.order_id}"


def _sealed(seal: Seal, contact: Contact, *, belongs_to: str) -> str:
    return seal.close(orjson.dumps(asdict(contact)).decode(), belongs_to=belongs_to)


def _columns(region: Region) -> dict[str, Any]:
    return {
        "region_code": region.code,
        "province": region.province,
        "city": region.city,
        "district": region.district,
    }


# The address book


async def addresses(deps: Deps, *, member_id: UUID) -> Sequence[Address]:
    """All of a member's addresses, at most 20: the default first, then the one that was added last."""
    return await Address.filter(member_id=member_id).order_by("-is_default", "-id")


async def chosen(member_id: UUID, address_id: UUID) -> Address:
    """The member's address. Raises: AddressNotFound, also when it is somebody else's."""
    found = await Address.get_or_none(id=address_id, member_id=member_id)
    if found is None:
        raise AddressNotFound
    return found


async def default_id(member_id: UUID) -> UUID | None:
    """The member's default address; None while there is no address."""
    found = await Address.get_or_none(member_id=member_id, is_default=True)
    return found.id if found else None


@retried
async def create(
    deps: Deps, *, member_id: UUID, wish: AddressWish, make_default: bool, idempotency_key: str
) -> Address:
    """Add an address to the member's book. The first becomes the default whether asked for or not.

    Raises:
        KeyInvalid, KeyReused: the idempotency key.
        AddressInvalid: a field cannot be kept.
        AddressLimitReached: the book is full.
    """
    now = deps.clock.now()
    content = _content(deps, wish, make_default=make_default)
    key, operation = idempotency_key, "addressCreate"
    async with transaction(member_id):
        before = await replayed(member_id, key=key, operation=operation, content=content)
        if before is not None:
            return await chosen(member_id, UUID(before["address_id"]))
        kept = wish.admitted()
        count = await Address.filter(member_id=member_id).count()
        rule.admit_another(count)
        address_id = new_id(now)
        if make_default:
            await _no_default(member_id)
        made = await Address.create(
            id=address_id,
            member_id=member_id,
            **_columns(kept.region),
            sealed=_sealed(deps.seal, kept.contact, belongs_to=f"address:{address_id}"),
            label=kept.label,
            is_default=make_default or count == 0,
            created_at=now,
            updated_at=now,
        )
        result = {"address_id": str(address_id)}
        await remember(member_id, key=key, operation=operation, content=content, result=result, now=now)
        return made


@retried
async def change(deps: Deps, *, member_id: UUID, address_id: UUID, wish: AddressWish, idempotency_key: str) -> Address:
    """Write an address anew, all of it. Orders that go there already keep it as it was.

    Raises:
        KeyInvalid, KeyReused: the idempotency key.
        AddressInvalid: a field cannot be kept.
        AddressNotFound: the member has no such address.
    """
    now = deps.clock.now()
    content = _content(deps, wish, address_id=str(address_id))
    key, operation = idempotency_key, "addressChange"
    async with transaction(member_id):
        if await replayed(member_id, key=key, operation=operation, content=content) is None:
            kept = wish.admitted()
            address = await chosen(member_id, address_id)
            sealed = _sealed(deps.seal, kept.contact, belongs_to=_owner(address))
            await Address.filter(id=address.id).update(
                **_columns(kept.region), sealed=sealed, label=kept.label, updated_at=now
            )
            await remember(member_id, key=key, operation=operation, content=content, result={}, now=now)
        return await chosen(member_id, address_id)


@retried
async def delete(deps: Deps, *, member_id: UUID, address_id: UUID) -> Sequence[Address]:
    """Forget an address; one that is not there any more stays so. What is left of the book.

    After the default, the address that was added last is the default.
    """
    async with transaction(member_id):
        await Address.filter(id=address_id, member_id=member_id).delete()
        left = await addresses(deps, member_id=member_id)
        if left and not left[0].is_default:
            await Address.filter(id=left[0].id).update(is_default=True)
        return await addresses(deps, member_id=member_id)


@retried
async def set_default(deps: Deps, *, member_id: UUID, address_id: UUID) -> Address:
    """Make an address the default one. Harmless to repeat. Raises: AddressNotFound."""
    async with transaction(member_id):
        address = await chosen(member_id, address_id)
        if not address.is_default:
            await _no_default(member_id)
            await Address.filter(id=address.id).update(is_default=True)
        return await chosen(member_id, address_id)


async def _no_default(member_id: UUID) -> None:
    await changed("UPDATE address SET is_default = false WHERE member_id = $1 AND is_default", [member_id])


def _content(deps: Deps, wish: AddressWish, **more: object) -> dict[str, object]:
    """What an idempotency key stands for: a keyed mark, because a plain digest of a phone number can be guessed."""
    written = orjson.dumps(asdict(wish), option=orjson.OPT_SORT_KEYS).decode()
    return {"address": deps.seal.mark(written, kind="address"), **more}


# The address of an order


async def freeze(deps: Deps, *, order_id: UUID, address: Address, now: datetime) -> OrderAddress:
    """Keep the address with a new order, in its transaction."""
    assert in_transaction(), "an order and its address are written together"
    there = destination(deps.seal, address)
    return await OrderAddress.create(
        id=new_id(now),
        order_id=order_id,
        **_columns(there.region),
        sealed=_sealed(deps.seal, there.contact, belongs_to=f"order_address:{order_id}"),
    )


async def of_orders(_: Deps, order_ids: Sequence[UUID]) -> Mapping[UUID, OrderAddress]:
    """The addresses that these orders go to, as far as they are shipped."""
    return {row.order_id: row for row in await OrderAddress.filter(order_id__in=list(order_ids))}


async def of_order(deps: Deps, order_id: UUID) -> Destination | None:
    """Where an order goes, in the open; None: it is not shipped."""
    found = await OrderAddress.get_or_none(order_id=order_id)
    return destination(deps.seal, found) if found else None


@retried
async def reveal(deps: Deps, *, operator_id: UUID, order_id: UUID) -> Destination | None:
    """Show an operator where an order goes, in the open. Every look is in the audit log.

    Raises:
        AccountDisabled: the operator's account is disabled.
        OrderNotFound: there is no such order.
    """
    now = deps.clock.now()
    async with transaction():
        await lock_operator(operator_id)
        if not await Order.exists(id=order_id):
            raise OrderNotFound
        await record(operator_id, "order_address.reveal", "order", order_id, None, None, now)
        return await of_order(deps, order_id)
