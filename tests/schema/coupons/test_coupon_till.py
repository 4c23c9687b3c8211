"""A coupon at the till, through both doors: shown, looked at, used once, taken back."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from loyalty.people.rights import Role
from models.coupons.coupon import Coupon
from models.ids import new_secret
from models.people.operator import AuditRow
from resolvers.clock import SetClock
from resolvers.deps import Deps
from resolvers.invariants.verify import verify
from tests.coupons import claimed
from tests.doors import Bearer, Door

Tokens = Callable[..., Awaitable[Bearer]]

CODE = """
mutation Code($id: ID!) {
  done: couponTillCode(couponId: $id) {
    __typename ... on CouponTillCode { code endsAt } ... on Refusal { code } ... on CouponNotUsable { reason }
  }
}
"""
PREVIEW = """
query Preview($code: String!, $amount: Fen) {
  done: couponTillPreview(code: $code, amount: $amount) {
    __typename ... on CouponTillPreview { couponId title terms { kind } discount }
    ... on Refusal { code } ... on CouponNotUsable { reason missing }
  }
}
"""
VERIFY = """
mutation Verify($code: String!, $amount: Fen, $place: String, $key: IdempotencyKey!) {
  done: couponVerify(code: $code, amount: $amount, place: $place, note: "收银台 2", idempotencyKey: $key) {
    __typename
    ... on CouponVerified { use { id couponId memberId amount discount place note title reversedAt } }
    ... on Refusal { code } ... on CouponNotUsable { reason missing } ... on ProgrammeInvalid { field }
  }
}
"""
REVERSE = """
mutation Reverse($id: ID!, $reason: String!, $key: IdempotencyKey!) {
  done: couponTillReverse(useId: $id, reason: $reason, idempotencyKey: $key) {
    __typename ... on CouponVerified { use { reversedAt reverseReason } } ... on Refusal { code }
  }
}
"""


async def ask(door: Door, who: Bearer, text: str, /, **variables: Any) -> dict[str, Any]:
    given = {"key": new_secret(12), **variables} if "$key" in text else variables
    done: dict[str, Any] = (await door.ask(text, given, token=who))["done"]
    return done


async def code_of(shop: Door, token: Bearer, coupon: Coupon) -> str:
    shown = await ask(shop, token, CODE, id=str(coupon.id))
    assert shown["__typename"] == "CouponTillCode", shown
    code: str = shown["code"]
    return code


async def test_a_coupon_is_looked_at_used_once_and_taken_back(
    shop: Door, admin: Door, deps: Deps, clock: SetClock, member_token: Tokens, operator_token: Tokens
) -> None:
    mine, staff, support = await member_token(), await operator_token(Role.STAFF), await operator_token(Role.SUPPORT)
    coupon = await claimed(deps, mine.subject_id, threshold_fen=3_000)
    code = await code_of(shop, mine, coupon)
    low = await ask(admin, staff, PREVIEW, code=code, amount=2_999)
    assert low == {
        "__typename": "CouponNotUsable",
        "code": "COUPON_NOT_USABLE",
        "reason": "below_threshold",
        "missing": 1,
    }
    seen = await ask(admin, staff, PREVIEW, code=f" {code} ", amount=3_000)
    assert (seen["discount"], seen["couponId"], seen["terms"]) == (1_000, str(coupon.id), {"kind": "AMOUNT"})
    assert (await Coupon.get(id=coupon.id)).state == "issued"
    nowhere = await ask(admin, staff, VERIFY, code=code, amount=3_000, place=" ")
    assert (nowhere["code"], nowhere["field"]) == ("PROGRAMME_INVALID", "place")
    key = new_secret(12)
    used = await ask(admin, staff, VERIFY, code=code, amount=3_000, place="南京路店", key=key)
    assert {name: used["use"][name] for name in ("amount", "discount", "place", "note", "title")} == {
        "amount": 3_000,
        "discount": 1_000,
        "place": "南京路店",
        "note": "收银台 2",
        "title": "十元券",
    }
    assert (await Coupon.get(id=coupon.id)).state == "used"
    clock.advance(timedelta(minutes=3))
    assert await ask(admin, staff, VERIFY, code=code, amount=3_000, place="南京路店", key=key) == used
    wrong = await ask(admin, support, REVERSE, id=used["use"]["id"], reason=" ")
    assert wrong["code"] == "PROGRAMME_INVALID"
    back = await ask(admin, support, REVERSE, id=used["use"]["id"], reason="退货")
    assert back["use"]["reverseReason"] == "退货"
    again = await Coupon.get(id=coupon.id)
    assert (again.state, again.till_use_id, again.due_at) == ("issued", None, again.expires_at)
    twice = await ask(admin, support, REVERSE, id=used["use"]["id"], reason="退货")
    assert twice == {"__typename": "SimpleRefusal", "code": "COUPON_TILL_USE_FINAL"}
    deeds = await AuditRow.filter(subject_id=str(coupon.id)).order_by("id")
    assert [deed.action for deed in deeds] == ["coupon.verify", "coupon.till_reverse"]
    assert not [found for found in await verify() if found.offenders and found.invariant.name.startswith("coupon")]


async def test_a_code_works_once_and_ends(
    shop: Door, admin: Door, deps: Deps, clock: SetClock, member_token: Tokens, operator_token: Tokens
) -> None:
    mine, staff, boss = await member_token(), await operator_token(Role.STAFF), await operator_token()
    coupon = await claimed(deps, mine.subject_id)
    code, late = await code_of(shop, mine, coupon), await code_of(shop, mine, coupon)
    used = await ask(admin, staff, VERIFY, code=code, amount=500, place="店")
    assert used["use"]["discount"] == 500
    await ask(admin, boss, REVERSE, id=used["use"]["id"], reason="错了")
    invalid = {"__typename": "SimpleRefusal", "code": "COUPON_TILL_CODE_INVALID"}
    assert await ask(admin, staff, VERIFY, code=code, amount=500, place="店") == invalid
    assert await ask(admin, staff, PREVIEW, code=code, amount=500) == invalid
    clock.advance(timedelta(minutes=2))
    assert await ask(admin, staff, VERIFY, code=late, amount=500, place="店") == invalid
    for unknown in ("890000000000000000", "x", ""):
        assert await ask(admin, staff, VERIFY, code=unknown, amount=500, place="店") == invalid
    assert (await Coupon.get(id=coupon.id)).state == "issued"


async def test_what_is_not_for_a_till_shows_no_code(shop: Door, deps: Deps, member_token: Tokens) -> None:
    mine, other = await member_token(), await member_token()
    shipping = await claimed(deps, mine.subject_id, kind="shipping")
    assert (await ask(shop, mine, CODE, id=str(shipping.id)))["code"] == "COUPON_NOT_FOR_TILL"
    later = await claimed(deps, mine.subject_id, delay_days=1)
    refused = await ask(shop, mine, CODE, id=str(later.id))
    assert (refused["code"], refused["reason"]) == ("COUPON_NOT_USABLE", "not_started")
    assert (await ask(shop, other, CODE, id=str(later.id)))["code"] == "COUPON_NOT_FOUND"


async def test_a_use_is_final_after_a_day_and_its_coupon_stays_good_for_some_days(
    shop: Door, admin: Door, deps: Deps, clock: SetClock, member_token: Tokens, operator_token: Tokens
) -> None:
    mine, boss = await member_token(), await operator_token()
    ending = await claimed(deps, mine.subject_id, valid_until="2026-11-20", return_grace_days=2)
    final = await claimed(deps, mine.subject_id)
    uses = [
        await ask(admin, boss, VERIFY, code=await code_of(shop, mine, coupon), amount=5_000, place="店")
        for coupon in (ending, final)
    ]
    clock.advance(timedelta(hours=23))
    boss = await operator_token()
    await ask(admin, boss, REVERSE, id=uses[0]["use"]["id"], reason="退货")
    back = await Coupon.get(id=ending.id)
    assert back.state == "issued"
    assert back.expires_at > clock.at + timedelta(days=2)
    clock.advance(timedelta(hours=1))
    boss = await operator_token()
    late = await ask(admin, boss, REVERSE, id=uses[1]["use"]["id"], reason="退货")
    assert late == {"__typename": "SimpleRefusal", "code": "COUPON_TILL_USE_FINAL"}
    assert (await Coupon.get(id=final.id)).state == "used"


async def test_only_who_may_uses_and_takes_back(
    admin: Door, deps: Deps, member_token: Tokens, operator_token: Tokens
) -> None:
    variables = {"code": "890000000000000000", "amount": 1, "place": "店", "key": new_secret(12)}
    back = {"id": str((await member_token()).subject_id), "reason": "x", "key": new_secret(12)}
    content, staff = await operator_token(Role.CONTENT_OPERATIONS), await operator_token(Role.STAFF)
    assert await admin.codes(VERIFY, variables) == ["UNAUTHENTICATED"]
    assert await admin.codes(VERIFY, variables, token=await member_token()) == ["UNAUTHENTICATED"]
    assert await admin.codes(VERIFY, variables, token=content) == ["FORBIDDEN"]
    assert await admin.codes(REVERSE, back, token=staff) == ["FORBIDDEN"]
