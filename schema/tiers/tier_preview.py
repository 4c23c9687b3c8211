"""What a tier table would do before it is published, for operators."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import strawberry

from loyalty.people.rights import Right
from resolvers.people import member as members
from resolvers.tiers import tier_preview as verbs
from schema.context import Info
from schema.errors import BadInput
from schema.people.member import Member
from schema.permissions import Needs
from schema.programme import ProgrammeInvalidRefusal, api_words
from schema.refusal import SimpleRefusal
from schema.scalars import Fen, Points
from schema.tiers.tier import TierTableInput, benefit_paths_of, table_definition


@strawberry.type(description="How many members would go from the tier they have to a tier of the draft, or stay in it.")
class TierPreviewMove:
    """One pair of tiers."""

    from_code: str = strawberry.field(description="The own tier they have now.")
    to_code: str = strawberry.field(description="The tier of the draft they would have; the same if they stay.")
    members: int = strawberry.field(description="How many.")
    below_threshold: int = strawberry.field(
        description="Of these, whose growth value does not reach it: they keep it until their keep period ends."
    )

    @classmethod
    def from_move(cls, move: verbs.Move) -> "TierPreviewMove":
        """A move as the resolver counted it."""
        return cls(
            from_code=move.from_code,
            to_code=move.to_code,
            members=move.members,
            below_threshold=move.below_threshold,
        )


@strawberry.type(
    description="What the tier discount and the points of the orders of a tier's members come to, replayed with the "
    "members' present tiers by the table in force and by the draft."
)
class TierPreviewCost:
    """One tier of the draft."""

    tier_code: str = strawberry.field(description="The tier of the draft that the members would have.")
    orders: int = strawberry.field(description="Their orders of the window that are paid and not refunded.")
    discount_in_force: Fen = strawberry.field(description="In fen, by the table in force.")
    discount: Fen = strawberry.field(description="In fen, by the draft.")
    discount_difference: Fen = strawberry.field(
        description="In fen: what the draft would have cost more; may be negative."
    )
    points_in_force: Points = strawberry.field(description="Points earned, by the table in force; without caps.")
    points: Points = strawberry.field(description="Points earned, by the draft; without caps.")
    points_difference: Points = strawberry.field(description="Points that the draft would have given more.")

    @classmethod
    def from_cost(cls, cost: verbs.Cost) -> "TierPreviewCost":
        """A cost as the resolver summed it."""
        return cls(
            tier_code=cost.tier_code,
            orders=cost.orders,
            discount_in_force=Fen(cost.discount_fen_now),
            discount=Fen(cost.discount_fen),
            discount_difference=Fen(cost.discount_fen - cost.discount_fen_now),
            points_in_force=Points(cost.points_now),
            points=Points(cost.points),
            points_difference=Points(cost.points - cost.points_now),
        )


@strawberry.type(description="A member who would move.")
class TierPreviewMember:
    """One of the sample."""

    growth_value: Points = strawberry.field(description="The member's growth value.")
    from_code: str = strawberry.field(description="The own tier now.")
    to_code: str = strawberry.field(description="The tier by the draft.")
    member_id: strawberry.Private[UUID]

    @strawberry.field(description="The member.")
    async def member(self, info: Info) -> Member:
        """One statement for all of the sample."""
        found = await info.context.loaders.load(members.by_ids, self.member_id)
        assert found is not None, "a membership has its member"
        return Member.from_row(found)


@strawberry.type(description="A published promotion that would lose a tier.")
class TierPreviewPromotion:
    """A promotion, and the tiers it would be for in vain."""

    id: UUID = strawberry.field(description="The promotion's id.")
    code: str = strawberry.field(description="Its code.")
    title: str = strawberry.field(description="Its name.")
    missing_tier_codes: list[str] = strawberry.field(
        description="The tiers it is for that the draft does not have: it would be for nobody of them."
    )


@strawberry.type(description="What publishing the draft now would do. Nothing was changed.")
class TierPreview:
    """Moves, costs and some members."""

    at: datetime = strawberry.field(description="When it was looked at.")
    since: datetime = strawberry.field(description="From here on orders count for the costs.")
    moves: list[TierPreviewMove] = strawberry.field(
        description="By the tier before and after, lowest first; who stays is counted too, so they add up to everybody."
    )
    costs: list[TierPreviewCost] = strawberry.field(description="By tier of the draft, lowest first.")
    sample: list[TierPreviewMember] = strawberry.field(
        description=f"At most {verbs.SAMPLE} of those who would move, some of every move."
    )
    promotions: list[TierPreviewPromotion] = strawberry.field(
        description="Promotions that run or will run and are for a tier that the draft does not have, by code, at most "
        "200: change or stop them, they do not hold up the table."
    )

    @classmethod
    def from_preview(cls, found: verbs.Preview) -> "TierPreview":
        """A preview as the resolver found it."""
        return cls(
            at=found.at,
            since=found.since,
            moves=[TierPreviewMove.from_move(move) for move in found.moves],
            costs=[TierPreviewCost.from_cost(cost) for cost in found.costs],
            sample=[
                TierPreviewMember(
                    growth_value=Points(one.growth_value),
                    from_code=one.from_code,
                    to_code=one.to_code,
                    member_id=one.member_id,
                )
                for one in found.sample
            ],
            promotions=[
                TierPreviewPromotion(id=one.id, code=one.code, title=one.title, missing_tier_codes=list(one.missing))
                for one in found.promotions
            ],
        )


TierPreviewResult = Annotated[
    TierPreview | ProgrammeInvalidRefusal | SimpleRefusal,
    strawberry.union("TierPreviewResult", description="The preview, or why the draft cannot work."),
]


@strawberry.type
class OperatorQuery:
    """Looking before publishing."""

    @strawberry.field(
        description="What publishing this table now would do: who moves, what its discount and points would have cost, "
        "and some of the members. Trials and tiers set by hand are left aside.",
        extensions=[Needs(Right.TIER_PUBLISH)],
    )
    async def tier_preview(
        self,
        info: Info,
        table: Annotated[TierTableInput, strawberry.argument(description="The draft, as it would be published.")],
        days: Annotated[
            int, strawberry.argument(description=f"Orders of so many days count for the costs, 1 to {verbs.MOST_DAYS}.")
        ] = 90,
    ) -> TierPreviewResult:
        """Five statements in all."""
        if not 1 <= days <= verbs.MOST_DAYS:
            raise BadInput(
                zh=f"days 须在 1 到 {verbs.MOST_DAYS} 之间", en=f"days must be between 1 and {verbs.MOST_DAYS}."
            )
        definition = table_definition(table)
        with api_words(benefit_paths_of(table)):
            found = await verbs.preview(info.context.deps, definition=definition, days=days)
        return TierPreview.from_preview(found)
