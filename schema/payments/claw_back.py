"""What becomes of earned points that are spent when their order is refunded, as both programmes and refunds say it."""

from loyalty.points.points import ClawBackMode
from schema.enums import describe

__all__ = ["ClawBackMode"]

describe(
    ClawBackMode,
    "What happens when an order is refunded whose points are already spent.",
    {
        ClawBackMode.DEBT: "The rest is a debt that the next earnings pay first.",
        ClawBackMode.CLAMP: "The rest is given up, visibly.",
        ClawBackMode.BLOCK: "The refund is refused.",
    },
)
