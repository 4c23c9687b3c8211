"""The timeline of an order, with every kind of line named."""

from datetime import datetime

import strawberry

from loyalty.orders.order_event import TITLES, OrderEventKind, kind_of
from resolvers.orders.order_view import TimelineLine
from schema.context import Info
from schema.enums import describe

describe(
    OrderEventKind,
    "What can happen to an order. More may come.",
    {kind: f"{TITLES[kind].en} {TITLES[kind].zh}." for kind in OrderEventKind},
)


@strawberry.type(description="One thing that happened to an order.")
class OrderEvent:
    """One line of the timeline."""

    kind: str = strawberry.field(description="What, as `event` in lower case. More may come.")
    event: OrderEventKind | None = strawberry.field(description="What; null for what this server does not know yet.")
    at: datetime = strawberry.field(description="When.")

    @strawberry.field(
        description="What a person reads, in Chinese, or in English if `Accept-Language` prefers it; empty for what "
        "this server does not know yet."
    )
    def title(self, info: Info) -> str:
        """The title in the caller's language."""
        if self.event is None:
            return ""
        title = TITLES[self.event]
        return title.zh if info.context.language == "zh" else title.en

    @classmethod
    def from_row(cls, line: TimelineLine) -> "OrderEvent":
        return cls(kind=line.kind, event=kind_of(line.kind), at=line.at)
