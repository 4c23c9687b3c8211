"""A store in which members also buy together: the world's verbs for teams, and what must have become of every team."""

from typing import Any
from uuid import UUID

from loyalty.group_buys.group_buy import Fallback
from models.engine import rows
from models.ids import new_secret
from models.orders.order import Order
from resolvers.group_buys import group_buy
from resolvers.group_buys.group_buy import Wish
from tests import teams
from tests.simulation.world import World, _latest

SIZES = (2, 3)
TEAM_HOURS = 4
"""Shorter than the quiet at the end of a story, so that every team has come to its end by then."""


class TeamWorld(World):
    """A world with one campaign."""

    sale: teams.Campaign

    async def begin_together(self, points_programme: dict[str, object], campaign: dict[str, Any]) -> None:
        """An empty store with a campaign of these terms."""
        await self.begin(points_programme)
        terms = {"sizes": SIZES, "prices": (8_000, 7_000), "stock": 12, "team_hours": TEAM_HOURS, **campaign}
        self.sale = await teams.campaign(self.deps, **terms)

    async def open_team(self, member: int, size: int) -> None:
        """The order of a leader."""
        member_id = self.story.members[member]
        self._remember(
            await self._allowed(
                group_buy.open_team(
                    self.deps,
                    member_id=member_id,
                    size=size,
                    wish=Wish(item_id=self.sale.item_id),
                    idempotency_key=new_secret(12),
                )
            )
        )

    async def join_team(self, member: int, which: int, fallback: Fallback) -> None:
        """The order of somebody who follows a link, however old it is."""
        found = await rows("SELECT token FROM group_team WHERE opened_at IS NOT NULL ORDER BY id")
        if found:
            self._remember(
                await self._allowed(
                    group_buy.join(
                        self.deps,
                        member_id=self.story.members[member],
                        token=_latest(found, which)["token"],
                        fallback=fallback,
                        wish=Wish(item_id=self.sale.item_id),
                        idempotency_key=new_secret(12),
                    )
                )
            )

    async def leave_team(self, which: int) -> None:
        """A member does not want to wait any longer."""
        found = await rows("SELECT order_id, member_id FROM group_seat WHERE state = 'posted' ORDER BY id")
        if found:
            seat: dict[str, UUID] = _latest(found, which)
            await self._allowed(group_buy.leave(self.deps, member_id=seat["member_id"], order_id=seat["order_id"]))
            await self.wechat.settle()

    def _remember(self, placed: Order | None) -> None:
        if placed is not None:
            self.story.orders.append(placed.id)
            self.story.owner[placed.id] = placed.member_id

    async def assert_every_team_has_ended(self) -> None:
        """No team is open any more, and nobody waits: goods are on their way, or the money is.

        Who paid another sum than was asked for keeps the seat until a person has seen to it, and the team waits.
        """
        left = await rows(
            "SELECT id, state, due_at FROM group_team WHERE state IN ('pending', 'open') AND NOT EXISTS (SELECT "
            "FROM group_seat seat JOIN exception_case found ON found.order_id = seat.order_id "
            "WHERE seat.team_id = group_team.id AND seat.state = 'pending' AND found.kind = 'payment_mismatch' "
            "AND found.resolved_at IS NULL)"
        )
        assert not left, left
        waiting = await rows(
            "SELECT seat.id, team.state, o.state AS order_state FROM group_seat seat "
            "JOIN group_team team ON team.id = seat.team_id JOIN shop_order o ON o.id = seat.order_id "
            "WHERE o.state = 'paid' "
            "AND (team.state = 'failed' OR team.state = 'complete' AND o.fulfilment_state = 'none')"
        )
        assert not waiting, waiting
