"""Stories of members who buy together: teams open, fill, are left and end in any order, with time and bad luck between.

The settings are those of ``test_store.py``; a team's story is longer, so there are half as many.
"""

import asyncio
import os
from typing import Any, ClassVar

from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule, run_state_machine_as_test

from loyalty.group_buys.group_buy import Fallback
from tests.simulation.teams import SIZES, TeamWorld
from tests.simulation.test_store import MEMBER, NOTICES, POINTS_PROGRAMMES, SEED, STEPS, STORIES, WHICH, Stories

CAMPAIGNS = st.sampled_from(
    [{}, {"virtual_from": 2}, {"member_limit": 1}, {"newcomers_only": True}, {"stock": 2}, {"member_limit": 2}]
)
SIZE = st.sampled_from(SIZES)
FALLBACKS = st.sampled_from(list(Fallback))
AS_FAR_AS = st.sampled_from(["paid", "paid", "opened", "placed"])


class TeamStories(Stories):
    """The same world, in which most of what is bought is bought together."""

    world: ClassVar[TeamWorld]

    @initialize(points_programme=POINTS_PROGRAMMES, campaign=CAMPAIGNS, sizes=st.lists(SIZE, min_size=1, max_size=3))
    def begin(self, points_programme: dict[str, object], campaign: dict[str, Any], sizes: list[int]) -> None:
        self.do(self.world.begin_together(points_programme, campaign))
        for member, size in enumerate(sizes):
            self.open(member, size, "paid", None)

    @rule(member=MEMBER, size=SIZE, as_far_as=AS_FAR_AS, notice=NOTICES)
    def open(self, member: int, size: int, as_far_as: str, notice: dict[str, object] | None) -> None:
        self.do(self.world.open_team(member, size))
        self._go(as_far_as, notice)

    @rule(
        joiners=st.lists(st.tuples(MEMBER, WHICH, FALLBACKS, AS_FAR_AS, NOTICES), min_size=1, max_size=3),
    )
    def join(self, joiners: list[tuple[int, int, Fallback, str, dict[str, object] | None]]) -> None:
        for member, which, fallback, as_far_as, notice in joiners:
            self.do(self.world.join_team(member, which, fallback))
            self._go(as_far_as, notice)

    @rule(which=WHICH)
    def leave(self, which: int) -> None:
        self.do(self.world.leave_team(which))

    def _go(self, as_far_as: str, notice: dict[str, object] | None) -> None:
        if as_far_as in ("opened", "paid"):
            self.do(self.world.open_payment(0))
        if as_far_as == "paid":
            self.do(self.world.pay(0, notice))

    def teardown(self) -> None:
        """Every team has come to its end."""
        try:
            if self.world.story.members:
                self.do(self.world.come_to_rest())
                self.do(self.world.assert_the_books_are_right())
                self.do(self.world.assert_wechat_agrees())
                self.do(self.world.assert_every_team_has_ended())
        finally:
            self.do(self.world.end())


def test_any_story_of_teams_leaves_the_books_right(
    postgres_url: str, migrated_template: str, worker_id: str, redis_url: str, wechat_url: str
) -> None:
    print(f"YOULI_SIMULATE_SEED={SEED} YOULI_SIMULATE_STORIES={STORIES} YOULI_SIMULATE_STEPS={STEPS}")
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        opened = TeamWorld.opened(
            postgres_url=postgres_url,
            template=migrated_template,
            name=f"youli_teams_{worker_id}",
            redis_url=redis_url,
            wechat_url=wechat_url,
        )
        world = runner.run(opened.__aenter__())
        assert isinstance(world, TeamWorld)
        TeamStories.runner, TeamStories.world = runner, world
        try:
            run_state_machine_as_test(
                seed(SEED)(TeamStories),
                settings=settings(
                    max_examples=max(1, STORIES // 2),
                    stateful_step_count=STEPS,
                    deadline=None,
                    database=None,
                    print_blob=True,
                    verbosity=Verbosity.normal,
                    report_multiple_bugs=False,
                    phases=(Phase.generate, Phase.shrink) if "YOULI_SIMULATE_SEED" in os.environ else (Phase.generate,),
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(opened.__aexit__(None, None, None))
