from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.programme import ProgrammeInvalid
from loyalty.referrals import referral, referral_code
from loyalty.referrals.referral import (
    BindingFacts,
    HeldReward,
    LeaderboardPeriod,
    ReferralRefused,
    ReferralState,
    RejectReason,
    Review,
    Standing,
)
from loyalty.referrals.referral_programme import BindingSource, ReferralProgramme, Side, Stage
from loyalty.referrals.referral_risk import DEFAULT_WEIGHTS, Evidence, RiskFacts, RiskScore, RiskSignal, assess
from loyalty.refusal import Refusal
from tests.loyalty.worked_examples import RULES, number, worked

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
A_DAY = timedelta(days=1)
A, B, C = (UUID(int=at) for at in (1, 2, 3))
MEMBERS = {"A": A, "B": B}

FULL: dict[str, object] = {
    "sources": ["qr", "code"],
    "depth": 2,
    "attribution_days": 7,
    "qualify_days": 30,
    "min_order_fen": 5_000,
    "return_days": 7,
    "daily_limit": 2,
    "total_limit": 10,
    "review_score": 50,
    "reject_score": 90,
    "rewards": [
        {"stage": "registration", "side": "invitee", "points": 50},
        {"stage": "first_order", "side": "inviter", "points": 200, "growth": 20},
        {"stage": "first_order", "side": "invitee", "points": 100},
        {"stage": "first_order", "side": "upline", "points": 20},
    ],
    "goals": [{"code": "three", "friends": 3, "points": 500}, {"code": "ten", "friends": 10, "growth": 900}],
    "weights": {"same_network": 0, "burst": 40},
}
PROGRAMME = ReferralProgramme.parse(FULL)


# The page


def test_bindings_are_as_the_page_says() -> None:
    for row in worked("referral.md", "Example: binding"):
        facts = BindingFacts(
            inviter_id=MEMBERS[row["inviter"]],
            invitee_id=MEMBERS[row["friend"]],
            source=BindingSource(row["source"]),
            clicked_at=NOW - number(row["click"]) * A_DAY,
            invitee_is_new=row["friend is"] == "new",
            already_bound=row["bound before"] == "yes",
            invitee_is_above=row["friend is"] == "above A",
        )
        answer = "ok"
        try:
            referral.admit_binding(PROGRAMME, facts, NOW)
        except ReferralRefused as refused:
            answer = str(refused.data["reason"])
        assert answer == row["answer"], row


def test_orders_count_as_the_page_says() -> None:
    for row in worked("referral.md", "Example: does the order count"):
        counts = referral.qualifies(
            PROGRAMME,
            bound_at=NOW,
            settled_at=NOW + number(row["days after binding"]) * A_DAY,
            paid_fen=number(row["paid fen"]),
        )
        assert counts is (row["counts"] == "yes"), row


def test_held_rewards_are_decided_as_the_page_says() -> None:
    for row in worked("referral.md", "Example: what becomes of a held reward"):
        score, heaviest = number(row["score"]), row["heaviest evidence"]
        evidence = () if heaviest == "-" else (Evidence(signal=RiskSignal(heaviest), weight=score, figure=1),)
        decided = referral.decide(
            PROGRAMME,
            HeldReward(
                side=Side(row["side"]),
                held_until=NOW if row["window over"] == "yes" else NOW + timedelta(microseconds=1),
                risk=RiskScore(score=score, evidence=evidence),
                review=Review.APPROVED if row["approved"] == "yes" else Review.NONE,
                paid_today=number(row["paid today"]),
                paid_ever=number(row["paid ever"]),
            ),
            NOW,
        )
        outcome = decided.state.value
        outcome += ", review" if decided.needs_review else f": {decided.reason.value}" if decided.reason else ""
        assert outcome == row["outcome"], row


def test_codes_are_read_as_the_page_says() -> None:
    for row in worked("referral.md", "Example: typing a code"):
        try:
            read = referral_code.read_code(row["typed"].strip("`"))
        except Refusal as refusal:
            read = refusal.code
        assert f"`{read}`" == row["read as"], row


def test_signals_weigh_what_the_page_says() -> None:
    weights = {row["signal"]: number(row["weight"]) for row in worked("referral.md", "Example: the signals")}
    assert weights == {signal.value: weight for signal, weight in DEFAULT_WEIGHTS.items()}


# Codes


@given(st.binary(min_size=5, max_size=5), st.binary(min_size=5, max_size=5))
def test_every_secret_has_a_code_of_its_own_that_reads_back(one: bytes, other: bytes) -> None:
    code = referral_code.code_from(one)
    assert referral_code.read_code(code.lower()) == code
    assert (code == referral_code.code_from(other)) is (one == other)


@given(st.binary(min_size=12, max_size=12), st.binary(min_size=12, max_size=12))
def test_every_secret_has_a_token_of_its_own_that_fits_a_scene_and_is_no_code(one: bytes, other: bytes) -> None:
    token = referral_code.token_from(one)
    assert referral_code.is_token(token)
    assert len(token) <= 20 < referral_code.MAX_SCENE_LENGTH
    assert (token == referral_code.token_from(other)) is (one == other)
    with pytest.raises(referral_code.ReferralCodeUnknown):
        referral_code.read_code(token)


@pytest.mark.parametrize("campaign", ["", "autumn_2026", "a" * 40])
def test_campaigns_have_plain_names(campaign: str) -> None:
    referral_code.admit_campaign(campaign)


@pytest.mark.parametrize("campaign", ["a" * 41, "Autumn", "双十一", "a b", "a-b"])
def test_other_names_of_campaigns_are_refused(campaign: str) -> None:
    with pytest.raises(referral_code.ReferralCampaignInvalid) as refused:
        referral_code.admit_campaign(campaign)
    assert refused.value.data == {"most": 40}


def test_a_member_has_fifty_tokens_at_most() -> None:
    referral_code.admit_token(49)
    with pytest.raises(referral_code.ReferralTokenLimit):
        referral_code.admit_token(50)


def test_nobody_is_bound_while_the_programme_is_stopped() -> None:
    facts = BindingFacts(
        inviter_id=A,
        invitee_id=A,
        source=BindingSource.QR,
        clicked_at=NOW,
        invitee_is_new=True,
        already_bound=False,
        running=False,
    )
    with pytest.raises(ReferralRefused) as refused:
        referral.admit_binding(PROGRAMME, facts, NOW)
    assert refused.value.data == {"reason": "stopped"}


def test_a_friend_counts_even_where_the_inviter_is_paid_nothing() -> None:
    def sides(programme: ReferralProgramme, stage: Stage) -> list[tuple[UUID, Side, int]]:
        found = referral.tracked(programme, stage, invitee_id=B, inviter_id=A, upline_id=None)
        return [(member, reward.side, reward.points) for member, reward in found]

    assert sides(PROGRAMME, Stage.FIRST_ORDER) == [(A, Side.INVITER, 200), (B, Side.INVITEE, 100)]
    assert sides(ReferralProgramme(), Stage.FIRST_ORDER) == [(A, Side.INVITER, 0)]
    assert sides(ReferralProgramme(), Stage.REGISTRATION) == []


@pytest.mark.parametrize("note", ["", "   ", "x" * 201])
def test_who_decides_says_why(note: str) -> None:
    with pytest.raises(referral.ReferralNoteInvalid):
        referral.admit_note(note)
    assert referral.admit_note(f" {'x' * 200} ") == "x" * 200


# Risk


def risk(signals: RiskFacts) -> dict[str, int]:
    return {one.signal.value: one.figure for one in assess(signals, {}).evidence}


@pytest.mark.parametrize(
    ("inside", "outside", "signal"),
    [
        (RiskFacts(bindings_last_hour=10), RiskFacts(bindings_last_hour=9), "burst"),
        (RiskFacts(seconds_to_order=59), RiskFacts(seconds_to_order=60), "hurried_order"),
        (RiskFacts(seconds_to_order=0), RiskFacts(seconds_to_order=None), "hurried_order"),
        (RiskFacts(friends=5, friends_refunded=3), RiskFacts(friends=5, friends_refunded=2), "refund_habit"),
        (RiskFacts(friends=6, friends_refunded=3), RiskFacts(friends=4, friends_refunded=4), "refund_habit"),
        (RiskFacts(same_payer=True), RiskFacts(), "same_payer"),
    ],
)
def test_a_signal_is_seen_just_inside_its_bound(inside: RiskFacts, outside: RiskFacts, signal: str) -> None:
    assert list(risk(inside)) == [signal]
    assert risk(outside) == {}


def test_the_heaviest_evidence_comes_first_and_the_score_ends_at_100() -> None:
    score = assess(RiskFacts(same_network=True, same_payer=True, same_device=True), {})
    assert score.score == 100
    assert [one.signal.value for one in score.evidence] == ["same_payer", "same_device", "same_network"]


def test_a_weight_of_zero_switches_a_signal_off() -> None:
    assert assess(RiskFacts(same_network=True), PROGRAMME.weights) == RiskScore(score=0)
    assert assess(RiskFacts(bindings_last_hour=12), PROGRAMME.weights).score == 40


# States, depth, goals, leaderboard


def test_a_reward_ends_only_where_nothing_follows() -> None:
    ends = {state for state, following in referral.TRANSITIONS.items() if not following}
    assert ends == {ReferralState.REJECTED, ReferralState.CLAWED_BACK}
    assert set(referral.TRANSITIONS) == set(ReferralState)


def test_the_second_level_is_rewarded_only_with_depth_two() -> None:
    def paid(programme: ReferralProgramme, upline: UUID | None) -> dict[UUID, int]:
        rewarded = referral.beneficiaries(programme, Stage.FIRST_ORDER, invitee_id=B, inviter_id=A, upline_id=upline)
        return {member: reward.points for member, reward in rewarded}

    assert paid(PROGRAMME, C) == {A: 200, B: 100, C: 20}
    assert paid(PROGRAMME, None) == {A: 200, B: 100}
    rewards = [{"stage": "first_order", "side": "inviter", "points": 200}]
    assert paid(ReferralProgramme.parse({"rewards": rewards}), C) == {A: 200}
    assert paid(replace(PROGRAMME, depth=1), C) == {A: 200, B: 100}


def test_nobody_is_rewarded_for_heads_on_the_second_level() -> None:
    rewarded = referral.beneficiaries(PROGRAMME, Stage.REGISTRATION, invitee_id=B, inviter_id=A, upline_id=C)
    assert [(member, reward.points) for member, reward in rewarded] == [(B, 50)]


@pytest.mark.parametrize(
    ("state", "left", "becomes"),
    [
        (ReferralState.HELD, 4_999, ReferralState.REJECTED),
        (ReferralState.QUALIFIED, 0, ReferralState.REJECTED),
        (ReferralState.PAID, 4_999, ReferralState.CLAWED_BACK),
        (ReferralState.PAID, 5_000, None),
        (ReferralState.HELD, 5_000, None),
        (ReferralState.REJECTED, 0, None),
        (ReferralState.CLAWED_BACK, 0, None),
        (ReferralState.PENDING, 0, None),
    ],
)
def test_a_refund_below_the_minimum_undoes_the_reward(
    state: ReferralState, left: int, becomes: ReferralState | None
) -> None:
    assert referral.after_refund(PROGRAMME, state=state, paid_fen_left=left) is becomes
    if becomes is not None:
        assert becomes in referral.TRANSITIONS[state]


def test_a_first_order_is_held_and_a_registration_is_not() -> None:
    assert referral.held_until(PROGRAMME, stage=Stage.FIRST_ORDER, reached_at=NOW) == NOW + 7 * A_DAY
    assert referral.held_until(PROGRAMME, stage=Stage.REGISTRATION, reached_at=NOW) == NOW


def test_a_pending_reward_expires_with_its_chance() -> None:
    a_tick = timedelta(microseconds=1)
    assert not referral.overdue(PROGRAMME, bound_at=NOW, now=NOW + 30 * A_DAY - a_tick)
    assert referral.overdue(PROGRAMME, bound_at=NOW, now=NOW + 30 * A_DAY)


def test_only_a_reward_that_waits_for_a_review_is_reviewed() -> None:
    referral.admit_review(ReferralState.HELD, needs_review=True)
    for state, needs_review in ((ReferralState.HELD, False), (ReferralState.PAID, True)):
        with pytest.raises(referral.ReferralReviewRefused):
            referral.admit_review(state, needs_review=needs_review)


@given(st.lists(st.integers(-1, 1), max_size=60))
def test_a_goal_is_held_exactly_while_the_friends_reach_it(steps: list[int]) -> None:
    friends, held = 0, set[str]()
    for step in steps:
        friends = max(0, friends + step)
        new = referral.unlocked(PROGRAMME, friends=friends, before=held)
        gone = referral.lost(PROGRAMME, friends=friends, before=held)
        assert not {goal.code for goal in new} & held
        held = (held | {goal.code for goal in new}) - {goal.code for goal in gone}
        assert held == {goal.code for goal in PROGRAMME.goals if goal.friends <= friends}


def test_the_leaderboard_puts_who_got_there_earlier_first() -> None:
    standings = [
        Standing(member_id=A, friends=3, reached_at=NOW),
        Standing(member_id=B, friends=3, reached_at=NOW - A_DAY),
        Standing(member_id=C, friends=5, reached_at=NOW),
        Standing(member_id=UUID(int=4), friends=0, reached_at=NOW),
    ]
    assert [(place, one.member_id) for place, one in referral.leaderboard(standings, 10)] == [(1, C), (2, B), (3, A)]
    assert [one.member_id for _, one in referral.leaderboard(standings, 1)] == [C]


def test_leaderboards_start_on_monday_and_on_the_first() -> None:
    assert referral.period_start(LeaderboardPeriod.WEEK, date(2026, 11, 22)) == date(2026, 11, 16)
    assert referral.period_start(LeaderboardPeriod.WEEK, date(2026, 11, 16)) == date(2026, 11, 16)
    assert referral.period_start(LeaderboardPeriod.MONTH, date(2026, 11, 22)) == date(2026, 11, 1)


def test_the_page_lists_every_reason() -> None:
    page = (RULES / "referral.md").read_text(encoding="utf-8")
    assert all(f"`{reason.value}`" in page for reason in RejectReason)


# The definition


@pytest.mark.parametrize("definition", [{}, FULL])
def test_a_programme_reads_back_what_it_wrote(definition: dict[str, object]) -> None:
    programme = ReferralProgramme.parse(definition)
    assert ReferralProgramme.parse(programme.definition()) == programme


def reward(**more: object) -> dict[str, object]:
    return {"stage": "first_order", "side": "inviter", "points": 1, **more}


@pytest.mark.parametrize(
    ("definition", "field"),
    [
        ({"depth": 3}, "depth"),
        ({"depth": 0}, "depth"),
        ({"sources": []}, "sources"),
        ({"sources": ["share"]}, "sources[0]"),
        ({"sources": ["qr", "qr"]}, "sources[1]"),
        ({"attribution_days": 0}, "attribution_days"),
        ({"qualify_days": 366}, "qualify_days"),
        ({"min_order_fen": 0}, "min_order_fen"),
        ({"return_days": 91}, "return_days"),
        ({"daily_limit": 0}, "daily_limit"),
        ({"review_score": 101}, "review_score"),
        ({"review_score": 60, "reject_score": 59}, "reject_score"),
        ({"rewards": [reward(stage="share")]}, "rewards[0].stage"),
        ({"rewards": [reward(points=-1)]}, "rewards[0].points"),
        ({"rewards": [reward(points=0)]}, "rewards[0].points"),
        ({"rewards": [reward(), reward()]}, "rewards[1].side"),
        ({"rewards": [reward(side="upline")]}, "rewards[0].side"),
        ({"depth": 2, "rewards": [reward(side="upline", stage="registration")]}, "rewards[0].side"),
        ({"rewards": [reward(fee=1)]}, "rewards[0].fee"),
        ({"goals": [{"code": "a", "friends": 0, "points": 1}]}, "goals[0].friends"),
        (
            {"goals": [{"code": "a", "friends": 3, "points": 1}, {"code": "b", "friends": 3, "points": 1}]},
            "goals[1].friends",
        ),
        (
            {"goals": [{"code": "a", "friends": 3, "points": 1}, {"code": "a", "friends": 4, "points": 1}]},
            "goals[1].code",
        ),
        ({"goals": [{"code": "a", "friends": 3}]}, "goals[0].points"),
        ({"weights": {"burst": 101}}, "weights.burst"),
        ({"weights": {"horoscope": 1}}, "weights.horoscope"),
    ],
)
def test_an_impossible_programme_is_refused_with_the_field(definition: dict[str, object], field: str) -> None:
    with pytest.raises(ProgrammeInvalid) as refused:
        ReferralProgramme.parse(definition)
    assert refused.value.data["field"] == field
