"""How the shipping fee of an order came about."""

from uuid import UUID

import strawberry

from loyalty.delivery.shipping import Waiver
from models.delivery.shipping import OrderShipping as OrderShippingRow
from schema.enums import describe
from schema.scalars import Fen

describe(Waiver, "Who took a shipping fee off.", {Waiver.TIER: "The member's tier ships free 会员包邮."})


@strawberry.type(description="What one shipping template charged an order.")
class ShippingShare:
    """One template's share."""

    code: str = strawberry.field(description="The template's code.")
    version_id: UUID = strawberry.field(description="The version of its terms.")
    fee: Fen = strawberry.field(description="What it charged, in fen.")
    free: bool = strawberry.field(description="Whether its goods reached what makes them ship free.")


@strawberry.type(description="How the shipping fee of an order came about, frozen when it was placed.")
class OrderShipping:
    """The fee and its parts."""

    full_fee: Fen = strawberry.field(description="The sum of the shares, in fen.")
    fee: Fen = strawberry.field(description="What was left of it to pay, before a shipping coupon, in fen.")
    waived_by: Waiver | None = strawberry.field(description="Who took the full fee off; null if nobody did.")
    shares: list[ShippingShare] = strawberry.field(description="What each template charged.")

    @classmethod
    def from_row(cls, row: OrderShippingRow) -> "OrderShipping":
        """The stored fee."""
        return cls(
            full_fee=Fen(row.full_fen),
            fee=Fen(row.fee_fen),
            waived_by=Waiver(row.waived_by) if row.waived_by else None,
            shares=[
                ShippingShare(
                    code=part["code"],
                    version_id=UUID(part["version_id"]),
                    fee=Fen(part["fee_fen"]),
                    free=part["free"],
                )
                for part in row.parts
            ],
        )
