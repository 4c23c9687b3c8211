"""Stories that nobody wrote: members, money, time and bad luck in any order, and the books right after each step.

A failing story is printed with its steps, which ``make simulate`` shortens first. ``YOULI_SIMULATE_STORIES`` and
``YOULI_SIMULATE_STEPS`` make it more and longer stories, ``YOULI_SIMULATE_SEED`` tells the same ones again: ``make
simulate`` sets and prints all three.
"""

import asyncio
import os
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, ClassVar

from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.simulation.world import MEMBERS, SHELF, Tap, World

STORIES = int(os.environ.get("YOULI_SIMULATE_STORIES", "10"))
STEPS = int(os.environ.get("YOULI_SIMULATE_STEPS", "25"))
SEED = int(os.environ.get("YOULI_SIMULATE_SEED", "20261111"))

WHICH = st.integers(0, 7)
MEMBER = st.integers(0, MEMBERS - 1)
POINTS_PROGRAMMES = st.sampled_from(
    [
        {},
        {"expiry": "rolling_days", "expiry_after": 7, "redeem_cap_bp": 10_000},
        {"clawback_mode": "clamp", "pending_days": 1},
        {"clawback_mode": "block", "cap_per_day": 3_000},
        {"redeem_step_points": 10, "redeem_min_points": 10, "expiry": "never", "return_grace_days": 0},
    ]
)
NOTICES = st.sampled_from(
    [
        None,
        None,
        {"drop": True},
        {"drop": True, "first_attempts": 2},
        {"delay_s": 90},
        {"delay_s": 7_200},
        {"delay_s": 100_000},
        {"duplicate": 2},
        {"duplicate": 2, "fresh_ids": True},
        {"hold": True},
        {"signature": "forged", "first_attempts": 1},
        {"timestamp_offset_s": -600, "first_attempts": 1},
        {"tamper": "ciphertext", "first_attempts": 1},
    ]
)
Purchase = tuple[int, int, int, int, str, dict[str, object] | None]
PURCHASES = st.tuples(
    MEMBER,
    st.integers(0, len(SHELF) - 1),
    st.integers(1, 3),
    st.sampled_from([0, 0, 100, 200, 450, 1_000, 5_000]),
    st.sampled_from(["paid", "opened", "placed"]),
    NOTICES,
)
FORGERIES = st.sampled_from(
    [
        {"signature": "forged"},
        {"timestamp_offset_s": -400},
        {"forge": {"total_fen": 1, "transaction_id": "4200000000000000000000000002"}},
        {"forge": {"mchid": "1900000001", "transaction_id": "4200000000000000000000000003"}},
        {"forge": {"trade_state": "NOTPAY"}},
    ]
)
REFUNDS = st.sampled_from(
    [
        None,
        None,
        {"at_once": True},
        {"after_s": 3_600},
        {"status": "ABNORMAL"},
        {"status": "CLOSED"},
        {"status": "PROCESSING"},
    ]
)
STEPS_IN_TIME = st.sampled_from(
    [
        timedelta(seconds=31),
        timedelta(minutes=3),
        timedelta(minutes=29, seconds=30),
        timedelta(minutes=31),
        timedelta(hours=5),
        timedelta(days=1),
        timedelta(days=8),
        timedelta(days=45),
    ]
)
FAULTS = st.one_of(
    st.tuples(
        st.sampled_from(["prepay", "query", "close", "refund", "refund_query"]),
        st.sampled_from(
            [
                "system_error",
                "system_error_after_effect",
                "reset",
                "reset_after_effect",
                "frequency_limited",
                "truncated_json",
                "unsigned",
                "forged_signature",
                "slow",
            ]
        ),
    ),
    st.just(("close", "pay_first")),
    st.just(("refund", "not_enough")),
)


class Stories(RuleBasedStateMachine):
    """One story after another in the same world."""

    world: ClassVar[World]
    runner: ClassVar[asyncio.Runner]

    def do(self, step: Coroutine[Any, Any, None]) -> None:
        """Run a step to its end in the world's event loop."""
        self.runner.run(step)

    @initialize(points_programme=POINTS_PROGRAMMES, purchases=st.lists(PURCHASES, min_size=2, max_size=5))
    def begin(self, points_programme: dict[str, object], purchases: list[Purchase]) -> None:
        self.do(self.world.begin(points_programme))
        self.buy(purchases)

    @rule(purchases=st.lists(PURCHASES, min_size=1, max_size=3))
    def buy(self, purchases: list[Purchase]) -> None:
        for member, sku, quantity, points, as_far_as, notice in purchases:
            self.do(self.world.place(member, sku, quantity, points))
            if as_far_as in ("opened", "paid"):
                self.do(self.world.open_payment(0))
            if as_far_as == "paid":
                self.do(self.world.pay(0, notice))

    @rule(which=WHICH, notice=NOTICES)
    def pay(self, which: int, notice: dict[str, object] | None) -> None:
        self.do(self.world.open_payment(which))
        self.do(self.world.pay(which, notice))

    @rule(which=WHICH, taps=st.lists(st.sampled_from(["pay", "cancel", "confirm", "again"]), min_size=1, max_size=4))
    def tap(self, which: int, taps: list[Tap]) -> None:
        self.do(self.world.tap(which, taps))

    @rule(which=WHICH, outcome=REFUNDS)
    def refund(self, which: int, outcome: dict[str, object] | None) -> None:
        self.do(self.world.refund(which, outcome))

    @rule(members=st.sets(MEMBER, min_size=1))
    def check_in(self, members: set[int]) -> None:
        for member in sorted(members):
            self.do(self.world.check_in(member))

    @rule(by=STEPS_IN_TIME, sweeps=st.sampled_from([1, 0, 2]))
    def wait(self, by: timedelta, sweeps: int) -> None:
        self.do(self.world.advance(by))
        for _ in range(sweeps):
            self.do(self.world.sweep())

    @rule(which=WHICH, forgery=FORGERIES | st.none())
    def deceive(self, which: int, forgery: dict[str, object] | None) -> None:
        self.do(self.world.underpay(which) if forgery is None else self.world.forge(which, forgery))

    @rule(fault=FAULTS | st.none(), times=st.integers(1, 3))
    def fail(self, fault: tuple[str, str] | None, times: int) -> None:
        self.do(self.world.lose_redis() if fault is None else self.world.fault(*fault, times))

    @invariant()
    def the_books_are_right(self) -> None:
        self.do(self.world.assert_the_books_are_right())

    def teardown(self) -> None:
        """The story ends well: everything comes to rest, and WeChat's books agree with ours."""
        try:
            if self.world.story.members:
                self.do(self.world.come_to_rest())
                self.do(self.world.assert_the_books_are_right())
                self.do(self.world.assert_wechat_agrees())
        finally:
            self.do(self.world.end())


def test_any_story_leaves_the_books_right(
    postgres_url: str, migrated_template: str, worker_id: str, redis_url: str, wechat_url: str
) -> None:
    print(f"YOULI_SIMULATE_SEED={SEED} YOULI_SIMULATE_STORIES={STORIES} YOULI_SIMULATE_STEPS={STEPS}")
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        opened = World.opened(
            postgres_url=postgres_url,
            template=migrated_template,
            name=f"youli_simulation_{worker_id}",
            redis_url=redis_url,
            wechat_url=wechat_url,
        )
        Stories.runner, Stories.world = runner, runner.run(opened.__aenter__())
        try:
            run_state_machine_as_test(
                seed(SEED)(Stories),
                settings=settings(
                    max_examples=STORIES,
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
