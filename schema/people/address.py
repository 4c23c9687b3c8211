"""Addresses 收货地址: a member's address book, and where an order goes."""

from typing import Annotated
from uuid import UUID

import strawberry

from loyalty.people import address as rule
from loyalty.people.address import Contact, Region
from loyalty.people.rights import Right
from models.people.address import Address as AddressRow
from resolvers.deps import Deps
from resolvers.people import address as verbs
from resolvers.people.address import AddressWish, Destination
from schema.arguments import Key
from schema.context import Info
from schema.permissions import ForMembers, Needs, require_member, require_right
from schema.refusal import Refusal, SimpleRefusal, refusal_type

_FROM_WECHAT = (
    "The fields of `wx.chooseAddress` go into it as follows: userName is recipient, telNumber is phone, nationalCode "
    "is regionCode, provinceName is province, cityName is city, countyName is district, and streetName followed by "
    "detailInfoNew (or detailInfo) is street."
)


@strawberry.input(description=f"An address to be kept. {_FROM_WECHAT}")
class AddressInput:
    """All of an address."""

    recipient: str = strawberry.field(description="Who takes it in, 1 to 25 characters; userName at WeChat.")
    phone: str = strawberry.field(
        description="A mainland mobile number, a landline with its area code, or a number with +852, +853 or +886; "
        "blanks, hyphens and +86 are dropped; telNumber at WeChat."
    )
    region_code: str = strawberry.field(
        description="The GB/T 2260 code of the district, or of a city without districts, 6 digits; nationalCode at "
        "WeChat."
    )
    province: str = strawberry.field(description="Its province, 1 to 32 characters; provinceName at WeChat.")
    city: str = strawberry.field(description="Its city, 1 to 32 characters; cityName at WeChat.")
    district: str = strawberry.field(
        default="", description="Its district, up to 32 characters, empty where there is none; countyName at WeChat."
    )
    street: str = strawberry.field(
        description="Street, house and door, 1 to 120 characters; streetName with detailInfoNew or detailInfo at "
        "WeChat."
    )
    label: str = strawberry.field(default="", description="The member's word for it, up to 16 characters.")

    def wish(self) -> AddressWish:
        """As the verbs take it."""
        return AddressWish(
            contact=Contact(recipient=self.recipient, phone=self.phone, street=self.street),
            region=Region(code=self.region_code, province=self.province, city=self.city, district=self.district),
            label=self.label,
        )


@strawberry.type(description="An address in the book of the member who asks.")
class Address:
    """All of it: it is the member's own."""

    id: UUID = strawberry.field(description="Opaque id.")
    recipient: str = strawberry.field(description="Who takes it in.")
    phone: str = strawberry.field(description="Digits; a plus and the country code outside the mainland.")
    region_code: str = strawberry.field(description="GB/T 2260 code, 6 digits.")
    province: str = strawberry.field(description="Province.")
    city: str = strawberry.field(description="City.")
    district: str = strawberry.field(description="District; empty where there is none.")
    street: str = strawberry.field(description="Street, house and door.")
    label: str = strawberry.field(description="The member's word for it; may be empty.")
    is_default: bool = strawberry.field(description="Whether it is the one that is chosen unless another is.")

    @classmethod
    def from_row(cls, deps: Deps, row: AddressRow) -> "Address":
        """The stored address, opened for its owner."""
        there = verbs.destination(deps.seal, row)
        return cls(
            id=row.id,
            recipient=there.contact.recipient,
            phone=there.contact.phone,
            region_code=there.region.code,
            province=there.region.province,
            city=there.region.city,
            district=there.region.district,
            street=there.contact.street,
            label=row.label,
            is_default=row.is_default,
        )


@strawberry.type(
    description="Where parcels go. Members see all of their own; operators see it masked until they reveal it."
)
class ShippingAddress:
    """In the open or masked."""

    recipient: str = strawberry.field(description="Who takes it in; masked: the first character, the others as stars.")
    phone: str = strawberry.field(description="Digits, with a plus outside the mainland; masked: the last four digits.")
    region_code: str = strawberry.field(description="GB/T 2260 code, 6 digits.")
    province: str = strawberry.field(description="Province.")
    city: str = strawberry.field(description="City.")
    district: str = strawberry.field(description="District; empty where there is none.")
    street: str | None = strawberry.field(description="Street, house and door; null where it is masked.")

    @classmethod
    def of(cls, there: Destination, *, masked: bool) -> "ShippingAddress":
        """The address in the open, or masked."""
        contact, region = there.contact, there.region
        return cls(
            recipient=rule.masked_recipient(contact.recipient) if masked else contact.recipient,
            phone=rule.phone_ending(contact.phone) if masked else contact.phone,
            region_code=region.code,
            province=region.province,
            city=region.city,
            district=region.district,
            street=None if masked else contact.street,
        )


async def address_of_order(info: Info, order_id: UUID) -> ShippingAddress | None:
    """Where an order goes; masked for everybody but the member who asks in the shop, where orders are one's own."""
    row = await info.context.loaders.load(verbs.of_orders, order_id)
    if row is None:
        return None
    return ShippingAddress.of(verbs.destination(info.context.deps.seal, row), masked=info.context.member is None)


@refusal_type(rule.AddressInvalid)
@strawberry.type(name="AddressInvalid", description="A field of the address cannot be kept. Code `ADDRESS_INVALID`.")
class AddressInvalidRefusal(Refusal):
    """Which one."""

    field: str = strawberry.field(description="The name of the field in the input.")


@refusal_type(rule.AddressLimitReached)
@strawberry.type(name="AddressLimitReached", description="The address book is full. Code `ADDRESS_LIMIT_REACHED`.")
class AddressLimitRefusal(Refusal):
    """How many there may be."""

    most: int = strawberry.field(description="How many addresses a member keeps at most.")


@strawberry.type(description="The address is in the book.")
class AddressKept:
    """Success of addressCreate, addressChange and addressSetDefault."""

    address: Address = strawberry.field(description="The address as it is now.")


@strawberry.type(description="The address is not in the book any more.")
class AddressDeleted:
    """Success of addressDelete."""

    addresses: list[Address] = strawberry.field(description="What is left: the default first, then the newest.")


AddressKeepResult = Annotated[
    AddressKept | AddressInvalidRefusal | AddressLimitRefusal | SimpleRefusal,
    strawberry.union("AddressKeepResult", description="The address as it is kept, or why not."),
]
AddressDeleteResult = Annotated[
    AddressDeleted | SimpleRefusal,
    strawberry.union("AddressDeleteResult", description="What is left of the book, or why nothing was deleted."),
]


@strawberry.type(description="An operator has looked; the look is in the audit log.")
class OrderAddressRevealed:
    """Success of orderAddressReveal."""

    address: ShippingAddress | None = strawberry.field(description="Where the order goes; null if it is not shipped.")


OrderAddressRevealResult = Annotated[
    OrderAddressRevealed | SimpleRefusal,
    strawberry.union("OrderAddressRevealResult", description="Where an order goes, or why it is not shown."),
]

AddressId = Annotated[UUID, strawberry.argument(description="The address.")]


@strawberry.type
class ShopQuery:
    """A member's own address book."""

    @strawberry.field(
        description="The member's addresses, at most 20: the default first, then the newest.", extensions=[ForMembers()]
    )
    async def addresses(self, info: Info) -> list[Address]:
        """All of them."""
        deps = info.context.deps
        return [Address.from_row(deps, row) for row in await verbs.addresses(deps, member_id=require_member(info))]


@strawberry.type
class ShopMutation:
    """What a member does with the address book."""

    @strawberry.mutation(
        description="Keep another address. The first becomes the default by itself. Refusals: `ADDRESS_INVALID`, "
        "`ADDRESS_LIMIT_REACHED`, `KEY_REUSED`.",
        extensions=[ForMembers()],
    )
    async def address_create(
        self,
        info: Info,
        input: Annotated[AddressInput, strawberry.argument(description="The address.")],
        idempotency_key: Key,
        is_default: Annotated[
            bool, strawberry.argument(description="Whether it becomes the default in place of another.")
        ] = False,
    ) -> AddressKeepResult:
        """One call."""
        row = await verbs.create(
            info.context.deps,
            member_id=require_member(info),
            wish=input.wish(),
            make_default=is_default,
            idempotency_key=idempotency_key,
        )
        return AddressKept(address=Address.from_row(info.context.deps, row))

    @strawberry.mutation(
        description="Write an address anew, all of it; whether it is the default stays. Orders keep it as it was. "
        "Refusals: `ADDRESS_NOT_FOUND`, `ADDRESS_INVALID`, `KEY_REUSED`.",
        extensions=[ForMembers()],
    )
    async def address_change(
        self,
        info: Info,
        address_id: AddressId,
        input: Annotated[AddressInput, strawberry.argument(description="The address as it is to be.")],
        idempotency_key: Key,
    ) -> AddressKeepResult:
        """One call."""
        row = await verbs.change(
            info.context.deps,
            member_id=require_member(info),
            address_id=address_id,
            wish=input.wish(),
            idempotency_key=idempotency_key,
        )
        return AddressKept(address=Address.from_row(info.context.deps, row))

    @strawberry.mutation(
        description="Forget an address. Orders keep it. After the default, the newest of the others is the default. "
        "Harmless to repeat.",
        extensions=[ForMembers()],
    )
    async def address_delete(self, info: Info, address_id: AddressId) -> AddressDeleteResult:
        """One call."""
        deps = info.context.deps
        left = await verbs.delete(deps, member_id=require_member(info), address_id=address_id)
        return AddressDeleted(addresses=[Address.from_row(deps, row) for row in left])

    @strawberry.mutation(
        description="Make an address the default. Harmless to repeat. Refusal: `ADDRESS_NOT_FOUND`.",
        extensions=[ForMembers()],
    )
    async def address_set_default(self, info: Info, address_id: AddressId) -> AddressKeepResult:
        """One call."""
        row = await verbs.set_default(info.context.deps, member_id=require_member(info), address_id=address_id)
        return AddressKept(address=Address.from_row(info.context.deps, row))


@strawberry.type
class OperatorQuery:
    """For those who help members."""

    @strawberry.field(
        description="A member's addresses, masked, at most 20: the default first, then the newest.",
        extensions=[Needs(Right.MEMBER_READ)],
    )
    async def member_addresses(
        self, info: Info, member_id: Annotated[UUID, strawberry.argument(description="The member.")]
    ) -> list[ShippingAddress]:
        """All of them."""
        deps = info.context.deps
        found = await verbs.addresses(deps, member_id=member_id)
        return [ShippingAddress.of(verbs.destination(deps.seal, row), masked=True) for row in found]


@strawberry.type
class OperatorMutation:
    """For those who send parcels."""

    @strawberry.mutation(
        description="Show where an order goes, with recipient, phone and street. Every look is in the audit log. "
        "Refusal: `ORDER_NOT_FOUND`.",
        extensions=[Needs(Right.ORDER_ADDRESS_READ)],
    )
    async def order_address_reveal(
        self, info: Info, order_id: Annotated[UUID, strawberry.argument(description="The order.")]
    ) -> OrderAddressRevealResult:
        """One call, which writes the look."""
        there = await verbs.reveal(
            info.context.deps,
            operator_id=require_right(info, Right.ORDER_ADDRESS_READ).subject_id,
            order_id=order_id,
        )
        return OrderAddressRevealed(address=ShippingAddress.of(there, masked=False) if there else None)
