"""Coupons verb by verb: templates, ways to a coupon, limits, expiry."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from cache.rate_limit import TooMany
from loyalty.coupons.coupon import (
    CouponChannel,
    CouponCodeInvalid,
    CouponEventKind,
    CouponGrantNotFound,
    CouponLimitReached,
    CouponNotFound,
    CouponNotOffered,
    CouponsGone,
    CouponState,
    CouponStateRefused,
    CouponTemplateCodeTaken,
    CouponTemplateNotFound,
    GrantState,
    TemplateState,
)
from loyalty.idempotency import KeyReused
from loyalty.programme import ProgrammeInvalid
from loyalty.refusal import Refusal
from models.coupons.coupon import Coupon, CouponCode, CouponEvent, CouponGrant, CouponQuota, CouponTemplate
from models.ids import new_id, new_secret
from models.people.operator import AuditRow
from resolvers.clock import SetClock
from resolvers.coupons import coupon, coupon_expiry, coupon_grant, coupon_template
from resolvers.coupons.coupon_issue import tell
from resolvers.coupons.coupon_template import TemplateChanges
from resolvers.deps import Deps
from tests.coupons import claim, claimed, counted, make_template, new_template
from tests.doors import make_member, make_operator
from tests.patience import nothing_comes_back
from tests.rulebook import LEVELS, tiers


@pytest.fixture
def store_url(own_store_url: str) -> str:
    """These tests publish tiers and grant to everybody."""
    return own_store_url


def a_key() -> str:
    return new_secret(12)


async def change(deps: Deps, template: CouponTemplate, **changes: Any) -> CouponTemplate:
    boss = await make_operator(deps)
    wanted = TemplateChanges(**changes)  # type: ignore[typeddict-item]
    return await coupon_template.change(
        deps, operator_id=boss.id, template_id=template.id, changes=wanted, idempotency_key=a_key()
    )


async def happened(one: Coupon) -> list[str]:
    return [event.kind for event in await CouponEvent.filter(coupon_id=one.id).order_by("seq")]


# Claiming


async def test_a_claim_gives_one_coupon_that_is_good_for_its_days(deps: Deps, clock: SetClock) -> None:
    member = await make_member(deps)
    template = await make_template(deps, total_limit=5, budget_fen=5_000)
    one = await claim(deps, member.id, template)
    assert (one.state, one.channel, one.worth_fen) == (CouponState.ISSUED, CouponChannel.CLAIM, 1_000)
    assert (one.usable_from, one.expires_at) == (clock.now(), datetime(2026, 12, 20, 16, tzinfo=UTC))
    assert await counted(template) == (1, 1_000)
    assert await happened(one) == [CouponEventKind.ISSUED]
    mine = await coupon.one(deps, member_id=member.id, coupon_id=one.id)
    assert mine is not None
    assert await coupon.one(deps, member_id=(await make_member(deps)).id, coupon_id=one.id) is None


async def test_a_long_history_shows_its_newest_lines(deps: Deps, clock: SetClock) -> None:
    long, short = [await claimed(deps, (await make_member(deps)).id) for _ in range(2)]
    kinds = [CouponEventKind.RESERVED, CouponEventKind.RELEASED] * (coupon.EVENTS_SHOWN // 2)
    for kind in kinds:
        await tell([long.id], kind, clock.now())
    shown = await coupon.events_by_coupon(deps, [long.id, short.id])
    assert [event.kind for event in shown[long.id]] == kinds
    assert [(event.kind, event.order_id, event.at) for event in shown[short.id]] == [("issued", None, clock.now())]


async def test_the_same_tap_twice_is_one_coupon(deps: Deps) -> None:
    member, template, key = await make_member(deps), await make_template(deps), a_key()
    first = await coupon.claim(deps, member_id=member.id, template_id=template.id, idempotency_key=key)
    again = await coupon.claim(deps, member_id=member.id, template_id=template.id, idempotency_key=key)
    assert first.id == again.id
    assert await counted(template) == (1, 1_000)
    other = await make_template(deps)
    with pytest.raises(KeyReused):
        await coupon.claim(deps, member_id=member.id, template_id=other.id, idempotency_key=key)


@pytest.mark.parametrize(
    ("fields", "claims", "refusal"),
    [
        ({"member_limit": 2}, 2, CouponLimitReached),
        ({"member_daily_limit": 1}, 1, CouponLimitReached),
        ({"total_limit": 2}, 2, CouponsGone),
        ({"daily_limit": 1}, 1, CouponsGone),
        ({"budget_fen": 2_999}, 2, CouponsGone),
        ({"total_limit": 0}, 0, CouponsGone),
        ({"claimable": False}, 0, CouponNotOffered),
        ({"published": False}, 0, CouponNotOffered),
        ({"opens_at": datetime(2026, 11, 20, 4, 0, 1, tzinfo=UTC)}, 0, CouponNotOffered),
        ({"closes_at": datetime(2026, 11, 20, 4, tzinfo=UTC)}, 0, CouponNotOffered),
        ({"valid_until": "2026-11-19"}, 0, CouponNotOffered),
    ],
    ids=str,
)
async def test_limits_and_times_just_inside_and_outside(
    deps: Deps, fields: dict[str, Any], claims: int, refusal: type[Refusal]
) -> None:
    member, template = await make_member(deps), await make_template(deps, **fields)
    for _ in range(claims):
        await claim(deps, member.id, template)
    before = await counted(template)
    with pytest.raises(refusal):
        await claim(deps, member.id, template)
    assert await Coupon.filter(member_id=member.id).count() == claims
    assert await counted(template) == before == (claims, claims * 1_000)


async def test_the_day_s_number_begins_anew_at_the_shop_s_midnight(deps: Deps, clock: SetClock) -> None:
    member, template = await make_member(deps), await make_template(deps, daily_limit=1, member_daily_limit=1)
    await claim(deps, member.id, template)
    clock.advance(timedelta(hours=12, seconds=-1))
    with pytest.raises(CouponLimitReached):
        await claim(deps, member.id, template)
    with pytest.raises(CouponsGone):
        await claim(deps, (await make_member(deps)).id, template)
    clock.advance(timedelta(seconds=1))
    await claim(deps, member.id, template)
    assert await counted(template) == (2, 2_000)


async def test_what_expires_gives_its_budget_back_and_not_its_number(deps: Deps, clock: SetClock) -> None:
    member, template = await make_member(deps), await make_template(deps, valid_days=1, budget_fen=1_000, total_limit=2)
    one = await claim(deps, member.id, template)
    clock.advance(one.expires_at - clock.now() - timedelta(seconds=1))
    assert member.id not in await coupon_expiry.ended(deps, 50)
    clock.advance(timedelta(seconds=1))
    assert member.id in await coupon_expiry.ended(deps, 50)
    assert await coupon_expiry.expire(deps, member_id=member.id) == 1
    assert await coupon_expiry.expire(deps, member_id=member.id) == 0
    assert (await Coupon.get(id=one.id)).state == CouponState.EXPIRED
    assert await happened(one) == ["issued", "expired"]
    assert await counted(template) == (1, 0)
    await claim(deps, member.id, template)
    with pytest.raises(CouponsGone):
        await claim(deps, member.id, template)


# Codes


async def make_codes(deps: Deps, template: CouponTemplate, size: int = 3, **fields: Any) -> list[CouponCode]:
    boss = await make_operator(deps)
    batch = await coupon_template.make_codes(
        deps,
        operator_id=boss.id,
        template_id=template.id,
        size=size,
        **{"title": "包裹卡", "closes_at": None, "idempotency_key": a_key(), **fields},
    )
    return await CouponCode.filter(batch_id=batch.id)


async def redeem(deps: Deps, member_id: UUID, code: str) -> Coupon:
    return await coupon.redeem_code(deps, member_id=member_id, code=code, idempotency_key=a_key())


async def test_a_code_gives_one_coupon_to_one_member_however_it_is_typed(deps: Deps) -> None:
    template = await make_template(deps, claimable=False)
    first, other, _ = await make_codes(deps, template)
    mine, yours = await make_member(deps), await make_member(deps)
    typed = f" {first.code[:4].lower()}-{first.code[4:]} "
    one = await redeem(deps, mine.id, typed)
    assert (one.template_id, one.channel, one.cause_id) == (template.id, CouponChannel.CODE, first.id)
    for member in (mine, yours):
        with pytest.raises(CouponCodeInvalid):
            await redeem(deps, member.id, first.code)
    assert (await redeem(deps, yours.id, other.code)).member_id == yours.id
    assert await counted(template) == (2, 2_000)
    counts = await coupon_template.redeemed_counts(deps, [first.batch_id])
    assert counts == {first.batch_id: 2}


async def test_a_code_goes_through_the_same_limits(deps: Deps) -> None:
    template = await make_template(deps, member_limit=1, total_limit=1)
    codes = await make_codes(deps, template)
    mine = await make_member(deps)
    await redeem(deps, mine.id, codes[0].code)
    with pytest.raises(CouponLimitReached):
        await redeem(deps, mine.id, codes[1].code)
    with pytest.raises(CouponsGone):
        await redeem(deps, (await make_member(deps)).id, codes[1].code)
    assert (await CouponCode.get(id=codes[1].id)).coupon_id is None


async def test_codes_end_with_their_batch_and_guessing_is_slowed_down(
    deps: Deps, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing_comes_back(monkeypatch, coupon)
    template = await make_template(deps)
    (late,) = await make_codes(deps, template, 1, closes_at=clock.now() + timedelta(hours=1))
    member = await make_member(deps)
    clock.advance(timedelta(hours=1))
    with pytest.raises(CouponCodeInvalid):
        await redeem(deps, member.id, late.code)
    with pytest.raises(CouponCodeInvalid):
        await redeem(deps, member.id, "short")
    with pytest.raises(TooMany):
        for _ in range(12):
            with pytest.raises(CouponCodeInvalid):
                await redeem(deps, member.id, "000000000000")


async def test_a_batch_has_a_size_a_title_and_an_end_to_come(deps: Deps, clock: SetClock) -> None:
    template = await make_template(deps)
    for fields in ({"size": 0}, {"size": 5_001}, {"title": " "}, {"closes_at": clock.now()}):
        with pytest.raises(ProgrammeInvalid):
            await make_codes(deps, template, **fields)
    with pytest.raises(CouponTemplateNotFound):
        await make_codes(deps, CouponTemplate(id=new_id(clock.now())))


# Templates


async def test_other_terms_are_a_new_version_for_the_coupons_after_them(deps: Deps) -> None:
    member, template = await make_member(deps), await make_template(deps)
    before = await claim(deps, member.id, template)
    changed = await change(deps, template, title="二十元券", terms={"amount_fen": 2_000}, quota={"total_limit": 2})
    after = await claim(deps, member.id, template)
    assert (changed.version, changed.title) == (2, "二十元券")
    terms = await coupon.terms_by_version(deps, [before.version_id, after.version_id])
    assert {number: one.amount_fen for number, one in terms.values()} == {1: 1_000, 2: 2_000}
    assert await counted(template) == (2, 3_000)
    with pytest.raises(CouponsGone):
        await claim(deps, member.id, template)
    audit = await AuditRow.filter(subject_id=str(template.id)).order_by("-id").first()
    assert audit is not None
    assert audit.action == "coupon_template.change"
    assert (await change(deps, template, title="二十元券")).version == 2


async def test_a_template_that_cannot_work_changes_nothing(deps: Deps) -> None:
    template = await make_template(deps)
    for changes in (
        {"terms": {"kind": "exchange", "amount_fen": None}},
        {"terms": {"amount_fen": 0}},
        {"quota": {"total_limit": -1}},
        {"opens_at": datetime(2026, 1, 2, tzinfo=UTC), "closes_at": datetime(2026, 1, 1, tzinfo=UTC)},
    ):
        with pytest.raises(ProgrammeInvalid):
            await change(deps, template, **changes)
    assert (await CouponTemplate.get(id=template.id)).updated_at == template.updated_at
    with pytest.raises(CouponTemplateNotFound):
        await change(deps, CouponTemplate(id=new_id(deps.clock.now())), title="x")


async def test_a_code_stands_for_one_template(deps: Deps) -> None:
    await make_template(deps, code="ten_off")
    with pytest.raises(CouponTemplateCodeTaken):
        await make_template(deps, code="ten_off")
    with pytest.raises(ProgrammeInvalid):
        await make_template(deps, code="Ten off")


async def test_making_a_template_twice_under_one_key_makes_one(deps: Deps) -> None:
    boss, key, new = await make_operator(deps), a_key(), new_template()
    first = await coupon_template.create(deps, operator_id=boss.id, template=new, idempotency_key=key)
    again = await coupon_template.create(deps, operator_id=boss.id, template=new, idempotency_key=key)
    assert first.id == again.id
    assert await CouponQuota.filter(template_id=first.id).count() == 1


async def test_a_paused_template_gives_out_no_more_until_it_is_published_again(deps: Deps) -> None:
    member, template, boss = await make_member(deps), await make_template(deps), await make_operator(deps)
    paused = await coupon_template.pause(deps, operator_id=boss.id, template_id=template.id, idempotency_key=a_key())
    assert paused.state == TemplateState.PAUSED
    with pytest.raises(CouponNotOffered):
        await claim(deps, member.id, template)
    await coupon_template.publish(deps, operator_id=boss.id, template_id=template.id, idempotency_key=a_key())
    await claim(deps, member.id, template)


async def test_an_operator_takes_a_coupon_away_once(deps: Deps) -> None:
    member, template, boss = (
        await make_member(deps),
        await make_template(deps, member_limit=1),
        await make_operator(deps),
    )
    one = await claim(deps, member.id, template)

    async def void(coupon_id: UUID = one.id, reason: str = "发错了") -> Coupon:
        return await coupon_template.void(
            deps, operator_id=boss.id, coupon_id=coupon_id, reason=reason, idempotency_key=a_key()
        )

    with pytest.raises(ProgrammeInvalid):
        await void(reason=" ")
    assert (await void()).state == CouponState.VOID
    assert await counted(template) == (1, 0)
    with pytest.raises(CouponStateRefused):
        await void()
    with pytest.raises(CouponNotFound):
        await void(new_id(deps.clock.now()))
    await claim(deps, member.id, template)


# Grants


async def start(deps: Deps, template: CouponTemplate, **fields: Any) -> CouponGrant:
    boss = await make_operator(deps)
    wanted = {"member_ids": [], "tier_codes": [], "reason": "周年庆", "idempotency_key": a_key(), **fields}
    return await coupon_grant.start(deps, operator_id=boss.id, template_id=template.id, **wanted)


async def run(deps: Deps, grant: CouponGrant) -> CouponGrant:
    while await coupon_grant.advance(deps, grant_id=grant.id):
        pass
    return await CouponGrant.get(id=grant.id)


async def test_a_grant_reaches_everybody_once_in_steps(deps: Deps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coupon_grant, "STEP", 2)
    members = [await make_member(deps) for _ in range(5)]
    template = await make_template(deps, claimable=False)
    grant = await start(deps, template)
    late = await make_member(deps, created_at=deps.clock.now() + timedelta(seconds=1))
    assert grant.total == 5
    assert grant.id in await coupon_grant.claim_due(deps, 10)
    assert grant.id not in await coupon_grant.claim_due(deps, 10)
    done = await run(deps, grant)
    assert (done.state, done.granted_count, done.skipped_count) == (GrantState.DONE, 5, 0)
    assert {one.member_id for one in await Coupon.filter(cause_id=grant.id)} == {member.id for member in members}
    assert await Coupon.filter(member_id=late.id).count() == 0
    assert await counted(template) == (5, 5_000)


async def test_a_grant_leaves_out_who_has_enough_and_ends_when_there_are_no_more(deps: Deps) -> None:
    members = sorted([await make_member(deps) for _ in range(4)], key=lambda member: member.id)
    template = await make_template(deps, member_limit=1, total_limit=3)
    await claim(deps, members[0].id, template)
    ended = await run(deps, await start(deps, template, member_ids=[member.id for member in members]))
    assert (ended.state, ended.total, ended.granted_count, ended.skipped_count) == (GrantState.EXHAUSTED, 4, 2, 1)
    assert await counted(template) == (3, 3_000)
    assert await Coupon.filter(member_id=members[3].id).count() == 0


async def test_a_grant_reaches_the_members_of_tiers(deps: Deps) -> None:
    await tiers(deps)
    template = await make_template(deps)
    nobody = await run(deps, await start(deps, template, tier_codes=["gold"]))
    assert (nobody.state, nobody.total) == (GrantState.DONE, 0)
    with pytest.raises(ProgrammeInvalid) as refused:
        await start(deps, template, tier_codes=["gold", "no_such_tier"])
    assert (refused.value.data["field"], "no_such_tier" in refused.value.message("zh")) == ("tier_codes", True)


async def test_a_grant_is_stopped_between_two_steps(deps: Deps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coupon_grant, "STEP", 1)
    for _ in range(3):
        await make_member(deps)
    template, boss = await make_template(deps), await make_operator(deps)
    grant = await start(deps, template)
    assert await coupon_grant.advance(deps, grant_id=grant.id)
    key = a_key()
    for _ in range(2):
        stopped = await coupon_grant.stop(deps, operator_id=boss.id, grant_id=grant.id, idempotency_key=key)
        assert (stopped.state, stopped.granted_count) == (GrantState.STOPPED, 1)
    assert not await coupon_grant.advance(deps, grant_id=grant.id)
    assert await counted(template) == (1, 1_000)
    with pytest.raises(CouponGrantNotFound):
        await coupon_grant.stop(deps, operator_id=boss.id, grant_id=template.id, idempotency_key=a_key())


async def test_a_grant_that_cannot_work_is_not_started(deps: Deps) -> None:
    template, draft = await make_template(deps), await make_template(deps, published=False)
    member = await make_member(deps)
    for fields in ({"reason": ""}, {"member_ids": [member.id], "tier_codes": ["basic"]}):
        with pytest.raises(ProgrammeInvalid):
            await start(deps, template, **fields)
    with pytest.raises(CouponNotOffered):
        await start(deps, draft)
    with pytest.raises(CouponTemplateNotFound):
        await start(deps, CouponTemplate(id=new_id(deps.clock.now())))
    assert await CouponGrant.all().count() == 0


async def test_a_grant_of_a_template_that_is_paused_meanwhile_ends(deps: Deps) -> None:
    await make_member(deps)
    template, boss = await make_template(deps), await make_operator(deps)
    grant = await start(deps, template)
    await coupon_template.pause(deps, operator_id=boss.id, template_id=template.id, idempotency_key=a_key())
    assert (await run(deps, grant)).state == GrantState.EXHAUSTED


# Tiers


async def test_a_tier_gives_its_coupons_each_month_once(deps: Deps, clock: SetClock) -> None:
    template = await make_template(deps, code="monthly", claimable=False)
    basic = {**LEVELS[0], "benefits": [{"kind": "monthly_coupons", "figure": 2, "code": "monthly"}]}
    await tiers(deps, basic, *LEVELS[1:])
    member = await make_member(deps)
    given = await coupon.claim_monthly(deps, member_id=member.id, idempotency_key="a-key-of-november")
    again = await coupon.claim_monthly(deps, member_id=member.id, idempotency_key="a-key-of-november")
    assert [one.id for one in given] == [one.id for one in again]
    assert len(given) == 2
    with pytest.raises(CouponNotOffered):
        await coupon.claim_monthly(deps, member_id=member.id, idempotency_key=a_key())
    clock.advance(timedelta(days=11))
    await coupon.claim_monthly(deps, member_id=member.id, idempotency_key=a_key())
    assert await counted(template) == (4, 4_000)


async def test_without_the_benefit_there_are_no_monthly_coupons(deps: Deps) -> None:
    member = await make_member(deps)
    with pytest.raises(CouponNotOffered):
        await coupon.claim_monthly(deps, member_id=member.id, idempotency_key=a_key())
    assert not await Coupon.exists(member_id=member.id)


async def test_coupons_of_one_template_are_told_apart_by_what_gave_them(deps: Deps) -> None:
    member = await make_member(deps)
    one = await claimed(deps, member.id)
    assert one.claim_key == f"claim:{member.id}:1"
