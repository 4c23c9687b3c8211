"""How the price of an order came about, step by step."""

from typing import Any

import strawberry

from loyalty.prices.pricing import Explanation
from loyalty.prices.unit_price import PriceSource, PriceStep
from schema.enums import describe
from schema.scalars import Fen

describe(
    PriceSource,
    "Which price a unit is sold at: the lowest that applies.",
    {
        PriceSource.LIST: "The list price.",
        PriceSource.ACTIVITY: "What an activity asks, such as a flash sale or a group-buy.",
        PriceSource.MEMBER: "The SKU's member price.",
        PriceSource.TIER: "The list price less the tier's discount.",
    },
)

describe(
    PriceStep,
    "A step of the price, in the order in which they apply.",
    {
        PriceStep.LIST: "The goods at list price.",
        PriceStep.ACTIVITY: "What the price of an activity takes off.",
        PriceStep.MEMBER: "What member prices take off.",
        PriceStep.TIER: "What the tier's discount takes off.",
        PriceStep.DISCOUNT: "What a timed discount, newcomer price or member day takes off beyond the steps before.",
        PriceStep.BUNDLE: "What an N-for-M promotion takes off.",
        PriceStep.AMOUNT_OFF: "What an amount-off promotion takes off.",
        PriceStep.COUPON: "What a coupon takes off.",
        PriceStep.POINTS: "What points take off.",
        PriceStep.SHIPPING: "The shipping fee; 0 with the reason when it is free.",
    },
)


@strawberry.type(description="One step of a price that had an effect.")
class PriceExplanation:
    """One line of the explanation."""

    step: PriceStep = strawberry.field(description="Which step.")
    amount: Fen = strawberry.field(description="What it adds (goods, shipping) or takes off (negative), in fen.")
    code: str | None = strawberry.field(
        description="The code of the activity, the tier, the promotion or the coupon's template; of a waived shipping "
        "fee, what waived it."
    )
    title: str | None = strawberry.field(description="The promotion's title; null for other steps.")

    @classmethod
    def from_rule(cls, step: Explanation) -> "PriceExplanation":
        """The step as the rule knows it."""
        return cls(step=step.step, amount=Fen(step.amount_fen), code=step.code, title=step.title)

    @classmethod
    def from_row(cls, step: dict[str, Any]) -> "PriceExplanation":
        """The step as an order keeps it."""
        return cls(
            step=PriceStep(step["step"]),
            amount=Fen(step["amount_fen"]),
            code=step["code"],
            title=step.get("title"),
        )
