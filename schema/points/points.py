"""Points 积分 in the API: what a member has, and the history that made it so."""

from datetime import datetime
from typing import Any
from uuid import UUID

import strawberry

from loyalty.people.rights import Right
from loyalty.points import points as rule
from models.points.points import PointsEntry as PointsEntryRow
from resolvers.points import balance
from resolvers.points.balance import Balance
from schema.context import Info
from schema.enums import describe
from schema.paging import After, Connection, First, connection, page
from schema.permissions import ForMembers, Needs, require_member
from schema.scalars import Points
from schema.tiers.tier import MemberId

describe(
    rule.EntryKind,
    "Why points were added or taken.",
    {
        rule.EntryKind.EARN: "Earned by an order, a check-in or another deed.",
        rule.EntryKind.SPEND: "Spent on an order.",
        rule.EntryKind.SPEND_REVERSAL: "Came back with a refund.",
        rule.EntryKind.EARN_REVERSAL: "Taken back, because the order that earned them was refunded.",
        rule.EntryKind.DEBT_RECOVERY: "Paid a debt that a claw-back had left.",
        rule.EntryKind.EXPIRE: "Ended unused.",
        rule.EntryKind.RENEW: "Came back from a closed order after they had ended, with a grace; 0 in sum.",
        rule.EntryKind.GIFT: "A gift of the tier; no earning, so no cap counts it.",
        rule.EntryKind.ADJUST: "An operator's correction.",
    },
)


@strawberry.type(description="Points that end together.")
class PointsExpiry:
    """How many, and when."""

    points: Points = strawberry.field(description="So many points end.")
    at: datetime = strawberry.field(
        description="They cannot be used from this instant, a shop midnight: members read the day before."
    )


@strawberry.type(description="What a member has in points. `balance` includes `held`, `pending` and what just ended.")
class PointsAccount:
    """An account at the instant of the request."""

    balance: Points = strawberry.field(description="The sum of the member's entries.")
    available: Points = strawberry.field(description="What can be used now.")
    pending: Points = strawberry.field(description="Earned, and usable once the return window has passed.")
    held: Points = strawberry.field(description="Promised to open orders 冻结.")
    debt: Points = strawberry.field(
        description="What a refund could not take back; the next earnings pay it first. Never negative."
    )
    soonest_expiry: PointsExpiry | None = strawberry.field(
        description="The points that end first, of those promised to no order; null if none ends."
    )

    @classmethod
    def from_balance(cls, found: Balance) -> "PointsAccount":
        """A balance as the resolver found it."""
        soonest = found.soonest_expiry
        return cls(
            balance=Points(found.balance),
            available=Points(found.available),
            pending=Points(found.pending),
            held=Points(found.held),
            debt=Points(found.debt),
            soonest_expiry=PointsExpiry(points=Points(soonest.points), at=soonest.at) if soonest else None,
        )


@strawberry.type(description="Points earned together 批次: they open and end together.")
class PointsLot:
    """A lot as it is now."""

    id: UUID = strawberry.field(description="The id of the lot.")
    amount: Points = strawberry.field(description="How many points it was made with.")
    remaining: Points = strawberry.field(description="How many are left in it now.")
    opens_at: datetime = strawberry.field(description="Usable from this instant.")
    expires_at: datetime | None = strawberry.field(description="Usable until before this instant; null: for ever.")
    origin_id: UUID | None = strawberry.field(
        description="The lot it replaces: its points came back after that one had ended."
    )


@strawberry.type(description="What an entry moved in one lot.")
class PointsDraw:
    """A part of an entry."""

    amount: Points = strawberry.field(description="Points put into the lot, or taken out of it if negative.")
    lot: PointsLot = strawberry.field(description="The lot.")

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> "PointsDraw":
        """A draw with its lot."""
        return cls(
            amount=Points(row["amount"]),
            lot=PointsLot(
                id=row["id"],
                amount=Points(row["lot_amount"]),
                remaining=Points(row["remaining"]),
                opens_at=row["opens_at"],
                expires_at=row["expires_at"],
                origin_id=row["origin_id"],
            ),
        )


@strawberry.type(description="One change of a balance 流水. Entries are never changed; a correction is a new entry.")
class PointsEntry:
    """A line of the points ledger."""

    id: UUID = strawberry.field(description="The id of the entry.")
    seq: int = strawberry.field(description="Counts the member's entries from 1 without a gap.")
    kind: rule.EntryKind = strawberry.field(description="Why it was written.")
    amount: Points = strawberry.field(description="Points added, or taken if negative: the sum of `draws`.")
    balance_after: Points = strawberry.field(description="The balance after it.")
    debt_change: Points = strawberry.field(description="How the debt changed; negative when it was paid.")
    cause_kind: str = strawberry.field(
        description="What caused it: `order`, `check_in`, `action`, `adjustment`, `lot`, `referral`, `referral_goal`."
    )
    cause_id: UUID = strawberry.field(description="The id of what caused it.")
    at: datetime = strawberry.field(description="When it was written.")

    @strawberry.field(description="Which lots it filled or emptied.")
    async def draws(self, info: Info) -> list[PointsDraw]:
        """One statement for all entries of a page."""
        found = await info.context.loaders.load(balance.draws, self.id)
        return [PointsDraw.from_row(row) for row in found or ()]

    @classmethod
    def from_row(cls, row: PointsEntryRow) -> "PointsEntry":
        """An entry as it is kept."""
        return cls(
            id=row.id,
            seq=row.seq,
            kind=rule.EntryKind(row.kind),
            amount=Points(row.amount),
            balance_after=Points(row.balance_after),
            debt_change=Points(row.debt_change),
            cause_kind=row.cause_kind,
            cause_id=row.cause_id,
            at=row.at,
        )


@strawberry.type
class ShopQuery:
    """The member's own account."""

    @strawberry.field(description="The member's points.", extensions=[ForMembers()])
    async def points_account(self, info: Info) -> PointsAccount:
        """The member's own account."""
        found = await info.context.loaders.load(balance.balances, require_member(info))
        assert found is not None, "a member has an account from the day of joining"
        return PointsAccount.from_balance(found)

    @strawberry.field(description="The member's points entries, the newest first.", extensions=[ForMembers()])
    async def points_history(self, info: Info, first: First = 20, after: After = None) -> Connection[PointsEntry]:
        """One page."""
        found = await balance.history(
            info.context.deps, member_id=require_member(info), page=page(balance.NEWEST, first, after)
        )
        return connection(found, PointsEntry.from_row)


@strawberry.type
class OperatorQuery:
    """Any member's entries."""

    @strawberry.field(description="A member's points entries, the newest first.", extensions=[Needs(Right.MEMBER_READ)])
    async def points_history(
        self, info: Info, member_id: MemberId, first: First = 20, after: After = None
    ) -> Connection[PointsEntry]:
        """One page; empty for an unknown member."""
        found = await balance.history(info.context.deps, member_id=member_id, page=page(balance.NEWEST, first, after))
        return connection(found, PointsEntry.from_row)
