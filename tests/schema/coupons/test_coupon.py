"""Coupons through both doors: made, published, claimed, weighed up, used; and who may do what."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from graphql import get_named_type

from jobs.worker import run_due
from loyalty.people.rights import Role
from models.asyncpg_backend import SqlCount, sql_count
from models.catalogue.catalogue import Sku
from models.coupons.coupon import Coupon, CouponTemplate
from models.ids import new_secret
from resolvers.coupons import coupon_gift, coupon_grant, coupon_template
from resolvers.coupons.coupon_template import TemplateChanges
from resolvers.deps import Deps
from tests.coupons import claimed, make_template, used_at_a_till
from tests.doors import Bearer, Door
from tests.schema.asking import document, fields_of, read_schema
from tests.shelf import put_on_shelf

Tokens = Callable[..., Awaitable[Bearer]]

CREATE = """
mutation Create($input: CouponTemplateCreateInput!, $key: IdempotencyKey!) {
  done: couponTemplateCreate(input: $input, idempotencyKey: $key) {
    __typename
    ... on CouponTemplateCreated {
      template { id code kind state version claimable terms { amount cap threshold validDays group combinesWith
        scope { productIds } } quota { totalLimit dailyLimit budget issuedCount committed } }
    }
    ... on Refusal { code message }
    ... on ProgrammeInvalid { field }
  }
}
"""
CHANGE = """
mutation Change($input: CouponTemplateChangeInput!, $key: IdempotencyKey!) {
  done: couponTemplateChange(input: $input, idempotencyKey: $key) {
    __typename
    ... on CouponTemplateChanged { template { title version opensAt terms { amount } quota { totalLimit budget } } }
    ... on Refusal { code } ... on ProgrammeInvalid { field }
  }
}
"""
PUBLISH = """
mutation Publish($id: ID!, $key: IdempotencyKey!) {
  done: couponTemplatePublish(id: $id, idempotencyKey: $key) {
    __typename ... on CouponTemplateChanged { template { state } } ... on Refusal { code }
  }
}
"""
CLAIM = """
mutation Claim($id: ID!, $key: IdempotencyKey!) {
  done: couponClaim(templateId: $id, idempotencyKey: $key) {
    __typename
    ... on CouponClaimed { coupon { id state channel title terms { amount } events { kind orderId } } }
    ... on Refusal { code } ... on CouponLimitReached { limit had }
  }
}
"""
CART = """
query Cart($lines: [OrderLineInput!]!) {
  done: cartCoupons(lines: $lines) {
    __typename
    ... on CartCoupons {
      bestCouponIds bestDiscount exact
      usable { couponId verdict discount alone title terms { kind } }
      unusable { couponId reason missing }
    }
    ... on Refusal { code }
  }
}
"""
PREVIEW = """
query Preview($input: OrderPlaceInput!) {
  done: orderPreview(input: $input) {
    __typename
    ... on OrderQuote { couponAmount couponIds payable explain { step amount code } }
    ... on Refusal { code } ... on CouponNotUsable { couponId reason missing }
    ... on CouponsNotCombinable { couponId otherId }
  }
}
"""
PLACE = """
mutation Place($input: OrderPlaceInput!, $key: IdempotencyKey!) {
  done: orderPlace(input: $input, idempotencyKey: $key) {
    __typename ... on OrderPlaced { order { couponAmount payable lines { couponAmount payable } } }
    ... on Refusal { code }
  }
}
"""


def a_key() -> str:
    return new_secret(12)


def wanted(**changed: Any) -> dict[str, Any]:
    code = f"c{new_secret(9)}".lower().replace("-", "a").replace("_", "b")
    terms = {"kind": "AMOUNT", "amount": 1_000, "validDays": 30, **changed.pop("terms", {})}
    return {"code": code, "title": "十元券", "terms": terms, **changed}


async def test_a_template_is_made_published_claimed_and_used(
    shop: Door, admin: Door, deps: Deps, member_token: Tokens, operator_token: Tokens
) -> None:
    boss, mine = await operator_token(Role.ACTIVITY_OPERATIONS), await member_token()
    given = wanted(totalLimit=1, budget=1_000, terms={"threshold": 5_000, "combinesWith": ["gift"]})
    made = (await admin.ask(CREATE, {"input": given, "key": a_key()}, token=boss))["done"]["template"]
    assert made["state"] == "DRAFT"
    assert made["terms"] == {
        "amount": 1_000,
        "cap": None,
        "threshold": 5_000,
        "validDays": 30,
        "group": "standard",
        "combinesWith": ["gift"],
        "scope": {"productIds": []},
    }
    assert made["quota"] == {"totalLimit": 1, "dailyLimit": None, "budget": 1_000, "issuedCount": 0, "committed": 0}
    early = await shop.ask(CLAIM, {"id": made["id"], "key": a_key()}, token=mine)
    assert early["done"] == {"__typename": "SimpleRefusal", "code": "COUPON_NOT_OFFERED"}
    published = await admin.ask(PUBLISH, {"id": made["id"], "key": a_key()}, token=boss)
    assert published["done"]["template"]["state"] == "PUBLISHED"
    offers = await shop.ask("{ couponOffers(first: 50) { nodes { id offered yours } } }", token=mine)
    assert {"id": made["id"], "offered": True, "yours": 0} in offers["couponOffers"]["nodes"]
    coupon = (await shop.ask(CLAIM, {"id": made["id"], "key": a_key()}, token=mine))["done"]["coupon"]
    assert coupon["events"] == [{"kind": "ISSUED", "orderId": None}]
    gone = await shop.ask(CLAIM, {"id": made["id"], "key": a_key()}, token=mine)
    assert gone["done"]["code"] == "COUPONS_GONE"
    lines = [{"skuId": str(await put_on_shelf(deps, price_fen=6_000)), "quantity": 1}]
    cart = (await shop.ask(CART, {"lines": lines}, token=mine))["done"]
    assert (cart["bestCouponIds"], cart["bestDiscount"], cart["exact"]) == ([coupon["id"]], 1_000, True)
    placing = {"lines": lines, "bestCoupons": True}
    quote = (await shop.ask(PREVIEW, {"input": placing}, token=mine))["done"]
    assert (quote["couponAmount"], quote["couponIds"], quote["payable"]) == (1_000, [coupon["id"]], 5_000)
    assert quote["explain"][-1] == {"step": "COUPON", "amount": -1_000, "code": given["code"]}
    placing = {"lines": lines, "couponIds": quote["couponIds"], "expectedPayable": quote["payable"]}
    placed = (await shop.ask(PLACE, {"input": placing, "key": a_key()}, token=mine))["done"]["order"]
    assert placed == {"couponAmount": 1_000, "payable": 5_000, "lines": [{"couponAmount": 1_000, "payable": 5_000}]}
    listed = await shop.ask("{ coupons(state: RESERVED) { nodes { id orderId events { kind } } } }", token=mine)
    assert [event["kind"] for event in listed["coupons"]["nodes"][0]["events"]] == ["ISSUED", "RESERVED"]


async def test_a_cart_explains_what_it_does_not_use(shop: Door, deps: Deps, member_token: Tokens) -> None:
    mine = await member_token()
    member_id = mine.subject_id
    small, large = await claimed(deps, member_id, amount_fen=500), await claimed(deps, member_id, amount_fen=800)
    far = await claimed(deps, member_id, amount_fen=9_000, threshold_fen=10_001)
    lines = [{"skuId": str(await put_on_shelf(deps, price_fen=10_000)), "quantity": 1}]
    cart = (await shop.ask(CART, {"lines": lines}, token=mine))["done"]
    assert {one["couponId"]: (one["verdict"], one["discount"], one["alone"]) for one in cart["usable"]} == {
        str(small.id): ("NOT_CHOSEN", 0, 500),
        str(large.id): ("APPLIED", 800, 800),
    }
    assert cart["unusable"] == [{"couponId": str(far.id), "reason": "BELOW_THRESHOLD", "missing": 1}]
    refused = await shop.ask(PREVIEW, {"input": {"lines": lines, "couponIds": [str(far.id)]}}, token=mine)
    assert refused["done"] == {
        "__typename": "CouponNotUsable",
        "code": "COUPON_NOT_USABLE",
        "couponId": str(far.id),
        "reason": "below_threshold",
        "missing": 1,
    }
    both = {"lines": lines, "couponIds": [str(small.id), str(large.id)]}
    refused = await shop.ask(PREVIEW, {"input": both}, token=mine)
    assert refused["done"]["code"] == "COUPONS_NOT_COMBINABLE"
    yours = await member_token()
    foreign = await shop.ask(PREVIEW, {"input": {"lines": lines, "couponIds": [str(small.id)]}}, token=yours)
    assert foreign["done"]["code"] == "COUPON_NOT_FOUND"


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"code": "Ten off"}, "code"),
        ({"terms": {"amount": 0}}, "terms.amount"),
        ({"terms": {"validDays": None}}, "terms.validDays"),
        ({"terms": {"discountBp": 1}}, "terms.discountBp"),
        ({"terms": {"exclusive": True, "combinesWith": ["a"]}}, "terms.combinesWith"),
        ({"totalLimit": -1}, "totalLimit"),
        ({"budget": -1}, "budget"),
        ({"terms": {"kind": "EXCHANGE", "amount": None}, "budget": 1}, "terms.cap"),
        ({"opensAt": "2026-12-02T00:00:00Z", "closesAt": "2026-12-01T00:00:00Z"}, "closesAt"),
    ],
    ids=str,
)
async def test_the_field_that_cannot_work_is_named_as_the_api_names_it(
    admin: Door, operator_token: Tokens, changed: dict[str, Any], field: str
) -> None:
    boss, given = await operator_token(), wanted(**changed)
    answer = (await admin.ask(CREATE, {"input": given, "key": a_key()}, token=boss))["done"]
    assert (answer["__typename"], answer.get("field")) == ("ProgrammeInvalid", field)
    assert not await CouponTemplate.exists(code=given["code"])


async def test_a_template_is_changed_field_by_field(admin: Door, deps: Deps, operator_token: Tokens) -> None:
    boss, template = await operator_token(), await make_template(deps, total_limit=5)
    sku = await Sku.get(id=await put_on_shelf(deps))
    terms = {"kind": "AMOUNT", "amount": 2_000, "validDays": 3, "scope": {"productIds": [str(sku.product_id)]}}
    changes = {
        "id": str(template.id),
        "title": "二十元券",
        "terms": terms,
        "totalLimit": None,
        "budget": 10_000,
        "opensAt": "2026-11-01T00:00:00Z",
    }
    answer = (await admin.ask(CHANGE, {"input": changes, "key": a_key()}, token=boss))["done"]
    assert answer["template"] == {
        "title": "二十元券",
        "version": 2,
        "opensAt": "2026-11-01T00:00:00Z",
        "terms": {"amount": 2_000},
        "quota": {"totalLimit": None, "budget": 10_000},
    }
    versions = await admin.ask(
        "query V($id: ID!) { couponTemplateVersions(templateId: $id) { nodes { version terms { amount } } } }",
        {"id": str(template.id)},
        token=boss,
    )
    assert [one["version"] for one in versions["couponTemplateVersions"]["nodes"]] == [2, 1]


async def test_codes_are_made_seen_and_redeemed(
    shop: Door, admin: Door, deps: Deps, member_token: Tokens, operator_token: Tokens
) -> None:
    boss, mine, template = await operator_token(), await member_token(), await make_template(deps, claimable=False)
    made = await admin.ask(
        "mutation M($input: CouponCodesMakeInput!, $key: IdempotencyKey!) { done: couponCodesMake(input: $input, "
        "idempotencyKey: $key) { ... on CouponCodesMade { batch { id size redeemedCount } } } }",
        {"input": {"templateId": str(template.id), "title": "包裹卡", "size": 2}, "key": a_key()},
        token=boss,
    )
    batch = made["done"]["batch"]
    assert (batch["size"], batch["redeemedCount"]) == (2, 0)
    codes = "query C($id: ID!) { couponCodes(batchId: $id) { nodes { code couponId } } }"
    listed = (await admin.ask(codes, {"id": batch["id"]}, token=boss))["couponCodes"]["nodes"]
    redeem = (
        "mutation R($code: String!, $key: IdempotencyKey!) { done: couponRedeemCode(code: $code, idempotencyKey: $key) "
        "{ __typename ... on CouponClaimed { coupon { id channel } } ... on Refusal { code } } }"
    )
    given = await shop.ask(redeem, {"code": listed[0]["code"].lower(), "key": a_key()}, token=mine)
    assert given["done"]["coupon"]["channel"] == "CODE"
    again = await shop.ask(redeem, {"code": listed[0]["code"], "key": a_key()}, token=await member_token())
    assert again["done"]["code"] == "COUPON_CODE_INVALID"
    staff = await operator_token(Role.STAFF)
    assert await admin.codes(codes, {"id": batch["id"]}, token=staff) == ["FORBIDDEN"]


async def test_a_grant_is_started_watched_and_its_coupons_are_taken_away(
    admin: Door, deps: Deps, member_token: Tokens, operator_token: Tokens
) -> None:
    boss, mine, template = await operator_token(), await member_token(), await make_template(deps)
    start = (
        "mutation S($input: CouponGrantStartInput!, $key: IdempotencyKey!) { done: couponGrantStart(input: $input, "
        "idempotencyKey: $key) { ... on CouponGrantChanged { grant { id state total } } ... on Refusal { code } } }"
    )
    given = {"templateId": str(template.id), "memberIds": [str(mine.subject_id)], "reason": "补偿"}
    grant = (await admin.ask(start, {"input": given, "key": a_key()}, token=boss))["done"]["grant"]
    assert (grant["state"], grant["total"]) == ("RUNNING", 1)
    while (await Coupon.filter(cause_id=grant["id"]).count()) == 0:
        assert await run_due(deps)
    await run_due(deps)
    seen = await admin.ask(
        "query G($id: ID!) { couponGrant(id: $id) { state grantedCount skippedCount } }",
        {"id": grant["id"]},
        token=boss,
    )
    assert seen["couponGrant"]["grantedCount"] == 1
    listed = await admin.ask(
        "query M($id: ID!) { memberCoupons(memberId: $id) { nodes { id memberId channel } } }",
        {"id": str(mine.subject_id)},
        token=boss,
    )
    (coupon,) = listed["memberCoupons"]["nodes"]
    assert (coupon["memberId"], coupon["channel"]) == (str(mine.subject_id), "GRANT")
    void = (
        'mutation V($id: ID!, $key: IdempotencyKey!) { done: couponVoid(id: $id, reason: "发错了", '
        "idempotencyKey: $key) { __typename ... on CouponVoided { coupon { state } } ... on Refusal { code } } }"
    )
    assert (await admin.ask(void, {"id": coupon["id"], "key": a_key()}, token=boss))["done"]["coupon"] == {
        "state": "VOID"
    }
    again = await admin.ask(void, {"id": coupon["id"], "key": a_key()}, token=boss)
    assert again["done"] == {"__typename": "CouponStateRefused", "code": "COUPON_STATE_REFUSED"}


async def test_who_may_do_what(
    shop: Door, admin: Door, deps: Deps, member_token: Tokens, operator_token: Tokens
) -> None:
    template, mine = await make_template(deps), await member_token()
    create = {"input": wanted(), "key": a_key()}
    assert await admin.codes(CREATE, create) == ["UNAUTHENTICATED"]
    assert await admin.codes(CREATE, create, token=mine) == ["UNAUTHENTICATED"]
    for role in (Role.STAFF, Role.FINANCE, Role.CONTENT_OPERATIONS):
        assert await admin.codes(CREATE, create, token=await operator_token(role)) == ["FORBIDDEN"]
    staff = await operator_token(Role.STAFF)
    assert await admin.codes("{ couponTemplates { nodes { id } } }", token=staff) == []
    assert await shop.codes(CLAIM, {"id": str(template.id), "key": a_key()}) == ["UNAUTHENTICATED"]
    assert await shop.codes("{ coupons { nodes { id } } }") == ["UNAUTHENTICATED"]
    assert await shop.codes("{ couponOffers { nodes { id title } } }") == []


async def test_every_list_takes_the_same_statements_for_1_and_12_rows(
    shop: Door, admin: Door, deps: Deps, member_token: Tokens, operator_token: Tokens
) -> None:
    mine, boss = await member_token(), await operator_token()
    template, many = await make_template(deps), 12
    for number in range(many):
        given_away = await claimed(deps, mine.subject_id)
        await coupon_gift.give(deps, member_id=mine.subject_id, coupon_id=given_away.id, idempotency_key=a_key())
        await used_at_a_till(deps, mine.subject_id, boss.subject_id)
        terms = TemplateChanges(terms={"amount_fen": 2_000 + number})
        await coupon_template.change(
            deps, operator_id=boss.subject_id, template_id=template.id, changes=terms, idempotency_key=a_key()
        )
        batch = await coupon_template.make_codes(
            deps,
            operator_id=boss.subject_id,
            template_id=template.id,
            title="包裹卡",
            size=many,
            closes_at=None,
            idempotency_key=a_key(),
        )
        await coupon_grant.start(
            deps,
            operator_id=boss.subject_id,
            template_id=template.id,
            member_ids=[mine.subject_id],
            tier_codes=[],
            reason="补偿",
            idempotency_key=a_key(),
        )
    given = {"templateId": str(template.id), "batchId": str(batch.id), "memberId": str(mine.subject_id)}
    uneven, tried = {}, 0
    for door, token in ((shop, mine), (admin, boss)):
        await door.ask("{ serverInfo { time } }", token=token)
        for name, field in fields_of(await read_schema(door), "query").items():
            if "oupon" not in name or not get_named_type(field.type).name.endswith("Connection"):
                continue
            tried += 1
            counts = {}
            for size in (1, many):
                counter = SqlCount()
                mark = sql_count.set(counter)
                variables = {"first": size} | {each: given[each] for each in field.args if each in given}
                data = await door.ask(document("query", name, field, depth=3), variables, token=token)
                sql_count.reset(mark)
                assert len(data[name]["nodes"]) == size, name
                counts[size] = counter.value
            if len(set(counts.values())) != 1 or not counts[1]:
                uneven[name] = counts
    assert not uneven, uneven
    assert tried == 11
