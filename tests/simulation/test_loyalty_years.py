"""Years in the life of three members: earning, holding, spending, expiry, refunds, corrections, check-ins, make-ups,
deeds and new rules in any order, through the verbs; after each step every equation of the books holds.

Short on ordinary runs: ``YOULI_SIMULATE_STORIES`` and ``YOULI_SIMULATE_STEPS`` make it more and longer lives, and
``YOULI_SIMULATE_SEED`` tells the same ones again. A failing life is printed whole; ``YOULI_SIMULATE_SHRINK=1`` shortens
it, which takes its time.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Coroutine
from datetime import date, timedelta
from typing import Any, ClassVar

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from jobs.sweep import BATCH
from jobs.sweeps import SWEEPS
from loyalty.shop_time import business_day
from models.engine import rows
from models.ids import new_secret
from resolvers.people import member_profile
from resolvers.points import points_action, points_book
from resolvers.points.check_in_calendar import calendar, make_up_day
from resolvers.programme import ProgrammeKind
from tests.rulebook import LEVELS, published
from tests.simulation.world import MEMBERS, SHELF, World

STORIES = int(os.environ.get("YOULI_SIMULATE_STORIES", "4"))
STEPS = int(os.environ.get("YOULI_SIMULATE_STEPS", "25"))
SEED = int(os.environ.get("YOULI_SIMULATE_SEED", "20261120"))
PHASES = (Phase.generate, Phase.shrink) if os.environ.get("YOULI_SIMULATE_SHRINK") == "1" else (Phase.generate,)

ACTIONS = [
    {"code": "profile_completed", "points": 100},
    {"code": "review", "points": 30, "times_per_day": 1, "times_per_member": 4},
]
BOOSTS = [
    {"code": "member_day", "kind": "weekday", "factor_bp": 20_000, "weekdays": [3]},
    {"code": "birthday", "kind": "birthday_month", "factor_bp": 30_000},
]
POINTS_RULES: dict[str, dict[str, Any]] = {
    "rolling": {"actions": ACTIONS, "expiry": "rolling_days", "expiry_after": 45, "redeem_cap_bp": 10_000},
    "month_end": {
        "actions": ACTIONS,
        "expiry": "month_end",
        "expiry_after": 2,
        "clawback_mode": "clamp",
        "pending_days": 15,
    },
    "boosts": {
        "actions": ACTIONS,
        "boosts": BOOSTS,
        "clawback_mode": "block",
        "cap_per_day": 900,
        "return_grace_days": 0,
    },
    "year_end": {
        "actions": ACTIONS,
        "boosts": BOOSTS,
        "expiry": "year_end",
        "expiry_after": 0,
        "cap_per_member": 30_000,
    },
}
CHECK_IN_RULES: dict[str, dict[str, Any]] = {
    "weekly": {
        "base_points": 20,
        "base_growth": 5,
        "cycle_days": 7,
        "cycle_rewards": [{"day": 3, "points": 15}, {"day": 7, "points": 40, "growth": 30}],
        "streak_rewards": [{"days": 3, "points": 25, "growth": 8}, {"days": 5, "points": 60}],
        "cumulative_rewards": [{"days": at, "points": 10 * at} for at in range(4, 60, 4)],
        "make_up": {"window_days": 10, "monthly_limit": 4, "price_points": 30},
    },
    "generous": {
        "base_points": 5,
        "cycle_days": 30,
        "streak_rewards": [{"days": at, "points": at} for at in range(2, 12)],
        "cumulative_rewards": [{"days": 20, "growth": 900}],
        "make_up": {"window_days": 62, "monthly_limit": 31, "pays_day": False},
        "protection": {"gap_days": 2, "monthly_limit": 5},
    },
    "daily": {"base_points": 50, "cycle_days": 1, "protection": {"gap_days": 1, "monthly_limit": 31}},
}
TIER_RULES: dict[str, dict[str, Any]] = {
    "four": {"levels": list(LEVELS)},
    "two": {
        "levels": [LEVELS[0], {**LEVELS[1], "threshold": 100, "keep_threshold": 50, "points_multiplier_bp": 25_000}]
    },
}
RULES: dict[ProgrammeKind, dict[str, dict[str, Any]]] = {
    ProgrammeKind.POINTS: POINTS_RULES,
    ProgrammeKind.CHECK_IN: CHECK_IN_RULES,
    ProgrammeKind.TIER: TIER_RULES,
}
NIGHTLY = [each for each in SWEEPS if each.name != "reconcile_bills"]
"""Bills are compared elsewhere; fetching those of years of days would take as long as the rest."""

MEMBER = st.integers(0, MEMBERS - 1)
WHICH = st.integers(0, 7)
MONTHS = [timedelta(days=days) for days in (1, 2, 6, 14, 31, 46, 92, 200)]
DIARIES = st.lists(st.tuples(st.integers(1, 4), st.sets(MEMBER)), min_size=2, max_size=7)


class Years(World):
    """A store whose members also live: they come daily, make up days, do deeds; and the operator changes the rules."""

    async def begin_life(self, points: str, check_in: str) -> None:
        """An empty store with these rules."""
        await self.begin(POINTS_RULES[points])
        await self.change_rules(ProgrammeKind.CHECK_IN, check_in)

    async def change_rules(self, kind: ProgrammeKind, name: str) -> None:
        """The operator publishes another version, in force at once."""
        await published(self.deps, kind, RULES[kind][name])

    async def night(self) -> None:
        """Everything that is due, until nothing is, and what has ended is off the books."""
        for each in NIGHTLY:
            for thing in await each.due(self.deps, BATCH):
                await each.do(self.deps, thing)
        await self.wechat.settle()
        left = await rows("SELECT id FROM points_lot WHERE expires_at <= $1 AND remaining > held", [self.clock.now()])
        assert not left, left

    async def live(self, diary: list[tuple[int, set[int]]]) -> None:
        """So many days pass, then some members come; and again, for the whole diary."""
        for days, members in diary:
            await self.advance(timedelta(days=days))
            for member in sorted(members):
                await self.check_in(member)
        await self.night()

    async def buy(self, member: int, sku: int, quantity: int, points: int, *, paid: bool) -> None:
        """An order, paid at once or left open."""
        before = len(self.story.orders)
        await self.place(member, sku, quantity, points)
        if paid and len(self.story.orders) > before:
            await self.open_payment(0)
            await self.pay(0, None)

    async def adjust(self, member: int, amount: int) -> None:
        """A correction, as far as the member can bear it."""
        await self._allowed(
            points_book.adjust(
                self.deps,
                operator_id=self.story.boss,
                member_id=self.story.members[member],
                amount=amount,
                reason="更正",
                idempotency_key=new_secret(12),
            )
        )

    async def review(self, member: int, cause: int) -> None:
        """A deed seen outside, perhaps told before."""
        await self._allowed(
            points_action.reward(
                self.deps,
                operator_id=self.story.boss,
                member_id=self.story.members[member],
                action_code="review",
                cause=f"review-{cause}",
                idempotency_key=new_secret(12),
            )
        )

    async def tell_birthday(self, member: int, month: int) -> None:
        """A birthday, which may be locked; with a nickname the profile is complete."""
        await self._allowed(
            member_profile.set_birthday(
                self.deps,
                member_id=self.story.members[member],
                birthday=date(1990, month, 1),
                idempotency_key=new_secret(12),
            )
        )

    async def make_up(self, member: int, days_ago: int) -> None:
        """A day made up; the calendar knew whether it could be, but for its price."""
        member_id = self.story.members[member]
        day = business_day(self.clock.now(), self.deps.zone) - timedelta(days=days_ago)
        shown = {one.day: one for one in (await calendar(self.deps, member_id=member_id, month=day)).days}
        refused_before = self.story.refusals.copy()
        made_up = await self._allowed(
            make_up_day(self.deps, member_id=member_id, day=day, idempotency_key=new_secret(12))
        )
        if made_up is None:
            (code,) = (self.story.refusals - refused_before).keys()
            assert code == "POINTS_SHORT" or not shown[day].can_make_up, (code, shown[day])
        else:
            assert shown[day].can_make_up, shown[day]

    async def assert_totals_were_paid_once(self) -> None:
        """A milestone of a total comes once in a life, however days were missed and made up."""
        twice = await rows(
            "SELECT member_id, reward->>'days' AS days FROM check_in, jsonb_array_elements(rewards) reward "
            "WHERE reward->>'kind' = 'cumulative' GROUP BY 1, 2 HAVING count(*) > 1"
        )
        assert not twice, twice


class Lives(RuleBasedStateMachine):
    """One life after another in the same world."""

    world: ClassVar[Years]
    runner: ClassVar[asyncio.Runner]
    refused: ClassVar[Counter[str]] = Counter()

    def do(self, step: Coroutine[Any, Any, None]) -> None:
        """Run a step to its end in the world's event loop."""
        self.runner.run(step)

    @initialize(points=st.sampled_from([*POINTS_RULES]), check_in=st.sampled_from([*CHECK_IN_RULES]), diary=DIARIES)
    def begin(self, points: str, check_in: str, diary: list[tuple[int, set[int]]]) -> None:
        self.do(self.world.begin_life(points, check_in))
        self.do(self.world.live(diary))

    @rule(diary=DIARIES)
    def live(self, diary: list[tuple[int, set[int]]]) -> None:
        self.do(self.world.live(diary))

    @rule(by=st.sampled_from(MONTHS))
    def stay_away(self, by: timedelta) -> None:
        self.do(self.world.advance(by))
        self.do(self.world.night())

    @rule(
        member=MEMBER,
        sku=st.integers(0, len(SHELF) - 1),
        quantity=st.integers(1, 2),
        points=st.sampled_from([0, 0, 100, 300, 1_000]),
        paid=st.booleans(),
    )
    def buy(self, member: int, sku: int, quantity: int, points: int, paid: bool) -> None:
        self.do(self.world.buy(member, sku, quantity, points, paid=paid))

    @rule(which=WHICH)
    def cancel(self, which: int) -> None:
        self.do(self.world.cancel(which))

    @rule(which=WHICH)
    def refund(self, which: int) -> None:
        self.do(self.world.refund(which, {"at_once": True}))

    @rule(member=MEMBER, amount=st.sampled_from([-5_000, -400, -1, 1, 250, 3_000]))
    def adjust(self, member: int, amount: int) -> None:
        self.do(self.world.adjust(member, amount))

    @rule(member=MEMBER, days_ago=st.lists(st.integers(1, 13), min_size=1, max_size=4))
    def make_up(self, member: int, days_ago: list[int]) -> None:
        for days in days_ago:
            self.do(self.world.make_up(member, days))

    @rule(member=MEMBER, cause=st.integers(0, 5), month=st.integers(1, 12))
    def deeds(self, member: int, cause: int, month: int) -> None:
        self.do(self.world.review(member, cause))
        self.do(self.world.tell_birthday(member, month))

    @rule(change=st.sampled_from([(kind, name) for kind, choices in RULES.items() for name in choices]))
    def change_rules(self, change: tuple[ProgrammeKind, str]) -> None:
        self.do(self.world.change_rules(*change))

    @invariant()
    def the_books_are_right(self) -> None:
        self.do(self.world.assert_the_books_are_right())
        self.do(self.world.assert_totals_were_paid_once())

    def teardown(self) -> None:
        """The next life begins in another store."""
        self.refused.update(self.world.story.refusals)
        self.do(self.world.end())


def test_years_of_any_life_leave_the_books_right(
    postgres_url: str, migrated_template: str, worker_id: str, redis_url: str, wechat_url: str
) -> None:
    print(f"YOULI_SIMULATE_SEED={SEED} YOULI_SIMULATE_STORIES={STORIES} YOULI_SIMULATE_STEPS={STEPS}")
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        opened = Years.opened(
            postgres_url=postgres_url,
            template=migrated_template,
            name=f"youli_years_{worker_id}",
            redis_url=redis_url,
            wechat_url=wechat_url,
        )
        world = runner.run(opened.__aenter__())
        assert isinstance(world, Years)
        Lives.runner, Lives.world = runner, world
        try:
            run_state_machine_as_test(
                seed(SEED)(Lives),
                settings=settings(
                    max_examples=STORIES,
                    stateful_step_count=STEPS,
                    deadline=None,
                    database=None,
                    print_blob=True,
                    phases=PHASES,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(opened.__aexit__(None, None, None))
        print(f"refused along the way: {dict(Lives.refused)}")
