"""The points mall over HTTP: who may, what members see, what is refused, and how many statements it takes."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from loyalty.people.rights import Role
from models.asyncpg_backend import SqlCount, sql_count
from models.ids import new_secret
from models.orders.order import Order
from models.people.operator import AuditRow
from models.points.points_mall import MallExchange, MallItem, MallItemVersion, MallStockEntry
from resolvers.clock import SetClock
from resolvers.deps import Deps
from tests.doors import Bearer, Door
from tests.mall import give_points, make_item
from tests.sandbox_server import SandboxControl
from tests.shelf import put_on_shelf

Tokens = Callable[..., Awaitable[Bearer]]

TERMS = "terms { points cash targetCode trialDays memberLimit tierCodes tierLimits { tierCode limit } }"
ITEM = f"""id kind title description imageUrl version opensAt closesAt exchangedCount exchangedPoints stockLeft offered
    {TERMS}"""
REFUSED = "... on Refusal { __typename code message }"
INVALID = (
    "... on ProgrammeInvalid { field } ... on CatalogueInvalid { field least most } ... on MediaUrlInvalid { position }"
)
LIST = f"""query($kind: MallItemKind, $first: Int!, $after: String) {{
    mallItems(kind: $kind, first: $first, after: $after) {{
        nodes {{ {ITEM} publishedAt yours {{ forYourTier limit exchanged }} }} pageInfo {{ hasNextPage endCursor }}
    }} }}"""
ONE = f"query($id: ID!) {{ mallItem(id: $id) {{ {ITEM} yours {{ forYourTier limit exchanged }} }} }}"
EXCHANGE = f"""mutation($input: MallExchangeInput!, $key: IdempotencyKey!) {{
    mallExchange(input: $input, idempotencyKey: $key) {{
        ... on MallExchanged {{ order {{
            id kind state pointsUsed pointsAmount payable explain {{ step amount }}
            lines {{ skuId productTitle skuTitle quantity payable }}
            mallExchange {{ itemId version quantity points }} timeline {{ kind }} }} }}
        {REFUSED} ... on MallLimitReached {{ limit exchanged }} ... on MallPriceChanged {{ points cash }}
        ... on PointsShort {{ available wanted }} }} }}"""
CANCEL = """mutation($id: ID!) {
    orderCancel(orderId: $id) { ... on OrderChanged { order { state } } ... on Refusal { code } } }"""
OPERATED = f"{ITEM} state skuId publishedAt createdAt updatedAt"
DOCUMENTS = {
    "mallItemCreate": f"""mutation($input: MallItemCreateInput!, $key: IdempotencyKey!) {{
        mallItemCreate(input: $input, idempotencyKey: $key) {{
            ... on MallItemCreated {{ item {{ {OPERATED} }} }} {REFUSED} {INVALID} }} }}""",
    "mallItemChange": f"""mutation($input: MallItemChangeInput!, $key: IdempotencyKey!) {{
        mallItemChange(input: $input, idempotencyKey: $key) {{
            ... on MallItemChanged {{ item {{ {OPERATED} }} }} {REFUSED} {INVALID} }} }}""",
    "mallItemPublish": f"""mutation($id: ID!, $key: IdempotencyKey!) {{
        mallItemPublish(itemId: $id, idempotencyKey: $key) {{
            ... on MallItemPublished {{ item {{ {OPERATED} }} }} {REFUSED} }} }}""",
    "mallItemHide": f"""mutation($id: ID!, $key: IdempotencyKey!) {{
        mallItemHide(itemId: $id, idempotencyKey: $key) {{
            ... on MallItemHidden {{ item {{ {OPERATED} }} }} {REFUSED} }} }}""",
    "mallStockAdjust": f"""mutation($input: MallStockAdjustInput!, $key: IdempotencyKey!) {{
        mallStockAdjust(input: $input, idempotencyKey: $key) {{
            ... on MallStockAdjusted {{ item {{ stockLeft }} entry {{ kind amount leftAfter note at }} }}
            {REFUSED} ... on CatalogueInvalid {{ field least most }} }} }}""",
}


def a_key() -> str:
    return new_secret(12)


@contextmanager
def counting() -> Iterator[SqlCount]:
    counter = SqlCount()
    token = sql_count.set(counter)
    yield counter
    sql_count.reset(token)


class Desk:
    """An operator at the door: calls a mutation and returns what its field answered."""

    def __init__(self, door: Door, token: Bearer) -> None:
        self.door = door
        self.token = token

    async def __call__(self, name: str, *, key: str | None = None, **variables: object) -> dict[str, Any]:
        data = await self.door.ask(DOCUMENTS[name], {"key": key or a_key(), **variables}, token=self.token)
        found: dict[str, Any] = data[name]
        return found


@pytest.fixture
async def desk(admin: Door, operator_token: Tokens) -> Desk:
    return Desk(admin, await operator_token(Role.ACTIVITY_OPERATIONS))


async def everything() -> list[object]:
    tables = (MallItem, MallItemVersion, MallStockEntry, MallExchange, Order, AuditRow)
    return [await table.all().order_by("id").values() for table in tables]


async def exchange(shop: Door, token: str, item: MallItem, **wanted: object) -> dict[str, Any]:
    sent = {"itemId": str(item.id), "expectedPoints": 500, **wanted}
    data = await shop.ask(EXCHANGE, {"input": sent, "key": a_key()}, token=token)
    found: dict[str, Any] = data["mallExchange"]
    return found


async def with_points(deps: Deps, member_token: Tokens, points: int = 10_000, **fields: Any) -> Bearer:
    token = await member_token(**fields)
    await give_points(deps, token.subject_id, points)
    return token


# Who may


async def test_only_those_with_the_right_fill_the_mall(
    admin: Door, deps: Deps, member_token: Tokens, operator_token: Tokens
) -> None:
    draft, shown = await make_item(deps, published=False), await make_item(deps)
    calls: dict[str, dict[str, Any]] = {
        "mallItemCreate": {"input": {"kind": "GOODS", "title": "茶杯", "points": 5, "stock": 1}},
        "mallItemChange": {"input": {"id": str(draft.id), "points": 7}},
        "mallItemPublish": {"id": str(draft.id)},
        "mallItemHide": {"id": str(shown.id)},
        "mallStockAdjust": {"input": {"itemId": str(draft.id), "amount": 1, "reason": "盘点"}},
    }
    assert set(calls) == set(DOCUMENTS)
    member, content = await member_token(), await operator_token(Role.CONTENT_OPERATIONS)
    before = await everything()
    for name, variables in calls.items():
        for token, code in ((None, "UNAUTHENTICATED"), (member, "UNAUTHENTICATED"), (content, "FORBIDDEN")):
            sent = {"key": a_key(), **variables}
            assert await admin.codes(DOCUMENTS[name], sent, token=token) == [code], (name, code)
    assert await everything() == before
    desk = Desk(admin, await operator_token(Role.USER_OPERATIONS))
    for name, variables in calls.items():
        answer = await desk(name, **variables)
        assert "code" not in answer, (name, answer)
    assert await AuditRow.filter(operator_id=desk.token.subject_id).count() == len(calls)


@pytest.mark.parametrize(
    "document",
    [
        "{ mallItems { nodes { id } } }",
        '{ mallItem(id: "01930000-0000-7000-8000-000000000001") { id } }',
        '{ mallItemVersions(itemId: "01930000-0000-7000-8000-000000000001") { nodes { id } } }',
        '{ mallStockEntries(itemId: "01930000-0000-7000-8000-000000000001") { nodes { id } } }',
    ],
)
async def test_only_operators_read_behind_the_mall(
    admin: Door, member_token: Tokens, operator_token: Tokens, document: str
) -> None:
    assert await admin.codes(document) == ["UNAUTHENTICATED"]
    assert await admin.codes(document, token=await member_token()) == ["UNAUTHENTICATED"]
    assert await admin.codes(document, token=await operator_token("no such role")) == ["FORBIDDEN"]
    assert await admin.codes(document, token=await operator_token(Role.SUPPORT)) == []


async def test_only_members_exchange(shop: Door, deps: Deps, operator_token: Tokens) -> None:
    item = await make_item(deps)
    variables = {"input": {"itemId": str(item.id), "expectedPoints": 500}, "key": a_key()}
    assert await shop.codes(EXCHANGE, variables) == ["UNAUTHENTICATED"]
    assert await shop.codes(EXCHANGE, variables, token=await operator_token()) == ["UNAUTHENTICATED"]
    assert await MallExchange.filter(item_id=item.id).count() == 0


# What members see


async def test_an_item_says_what_it_is_to_everyone_and_to_a_member(
    shop: Door, deps: Deps, member_token: Tokens, clock: SetClock
) -> None:
    closes_at = clock.now() + timedelta(days=3)
    item = await make_item(
        deps,
        title="马克杯",
        cash_fen=300,
        member_limit=2,
        tier_codes=["member"],
        tier_limits=[{"tier_code": "member", "limit": 3}],
        closes_at=closes_at,
    )
    mine = await with_points(deps, member_token)
    await exchange(shop, mine, item, quantity=2, expectedPoints=1_000, expectedCash=600)
    found = (await shop.ask(ONE, {"id": str(item.id)}, token=mine))["mallItem"]
    assert found.pop("yours") == {"forYourTier": True, "limit": 3, "exchanged": 2}
    assert found == {
        "id": str(item.id),
        "kind": "GOODS",
        "title": "马克杯",
        "description": "",
        "imageUrl": None,
        "version": 1,
        "opensAt": None,
        "closesAt": "2026-11-23T04:00:00Z",
        "exchangedCount": 2,
        "exchangedPoints": 1_000,
        "stockLeft": 8,
        "offered": True,
        "terms": {
            "points": 500,
            "cash": 300,
            "targetCode": None,
            "trialDays": None,
            "memberLimit": 2,
            "tierCodes": ["member"],
            "tierLimits": [{"tierCode": "member", "limit": 3}],
        },
    }
    assert (await shop.ask(ONE, {"id": str(item.id)}))["mallItem"]["yours"] is None
    other = (await shop.ask(ONE, {"id": str(item.id)}, token=await member_token()))["mallItem"]
    assert other["yours"]["exchanged"] == 0
    clock.at = closes_at
    assert (await shop.ask(ONE, {"id": str(item.id)}))["mallItem"] is None


async def test_what_is_still_to_open_is_shown_and_not_offered(shop: Door, deps: Deps, clock: SetClock) -> None:
    item = await make_item(deps, opens_at=clock.now() + timedelta(hours=1))
    for offered in (False, True):
        assert (await shop.ask(ONE, {"id": str(item.id)}))["mallItem"]["offered"] is offered
        clock.advance(timedelta(hours=1))
    hidden = await make_item(deps, published=False)
    assert (await shop.ask(ONE, {"id": str(hidden.id)}))["mallItem"] is None


async def test_the_mall_goes_page_by_page_with_what_came_in_last_first(shop: Door, deps: Deps, clock: SetClock) -> None:
    clock.advance(timedelta(days=365))
    made = []
    for _ in range(5):
        made.append(await make_item(deps, kind="charity", target_code="trees"))
        clock.advance(timedelta(minutes=1))
    seen: list[str] = []
    after = None
    for _ in range(3):
        found = (await shop.ask(LIST, {"kind": "CHARITY", "first": 2, "after": after}))["mallItems"]
        seen += [one["id"] for one in found["nodes"]]
        after = found["pageInfo"]["endCursor"]
    assert seen[:5] == [str(one.id) for one in reversed(made)]


async def test_the_mall_takes_the_same_statements_for_1_and_20_items(
    shop: Door, deps: Deps, member_token: Tokens, clock: SetClock
) -> None:
    clock.advance(timedelta(days=730))
    mine = await with_points(deps, member_token, 100_000)
    for at in range(20):
        item = await make_item(deps, sku_id=await put_on_shelf(deps) if at % 2 else None)
        await exchange(shop, mine, item)
    counts = {}
    for size in (1, 10, 20):
        for token in (None, mine):
            with counting() as statements:
                found = await shop.ask(LIST, {"kind": "GOODS", "first": max(size, 2)}, token=token)
            assert len(found["mallItems"]["nodes"]) == max(size, 2)
            counts[size, token is not None] = statements.value
    listing, terms, skus, exchanged, tier = 1, 1, 1, 1, 2
    assert {counts[size, False] for size in (1, 10, 20)} == {listing + terms + skus}
    assert {counts[size, True] for size in (1, 10, 20)} == {listing + terms + skus + exchanged + tier}


# Exchanging


async def test_an_exchange_is_an_order_that_names_its_item(shop: Door, deps: Deps, member_token: Tokens) -> None:
    mine, item = await with_points(deps, member_token), await make_item(deps, title="马克杯")
    made = (await exchange(shop, mine, item, quantity=2, expectedPoints=1_000))["order"]
    order_id = made.pop("id")
    assert made == {
        "kind": "MALL",
        "state": "PAID",
        "pointsUsed": 1_000,
        "pointsAmount": 0,
        "payable": 0,
        "explain": [{"step": "LIST", "amount": 0}],
        "lines": [{"skuId": None, "productTitle": "马克杯", "skuTitle": "", "quantity": 2, "payable": 0}],
        "mallExchange": {"itemId": str(item.id), "version": 1, "quantity": 2, "points": 1_000},
        "timeline": [{"kind": "placed"}, {"kind": "paid"}],
    }
    document = "query($kind: OrderKind) { orders(kind: $kind) { nodes { id } } }"
    for kind, ids in ((None, [order_id]), ("MALL", [order_id]), ("PURCHASE", [])):
        found = (await shop.ask(document, {"kind": kind}, token=mine))["orders"]["nodes"]
        assert [one["id"] for one in found] == ids


async def test_an_exchange_with_cash_is_paid_by_wechat_pay_or_cancelled(
    shop: Door, deps: Deps, member_token: Tokens, wechat: SandboxControl
) -> None:
    mine = await with_points(deps, member_token, openid=await wechat.openid())
    item = await make_item(deps, cash_fen=300)
    made = (await exchange(shop, mine, item, expectedCash=300))["order"]
    assert (made["state"], made["payable"]) == ("UNPAID", 300)
    opened = await shop.ask(
        "mutation($id: ID!) { orderPay(orderId: $id) { ... on PaymentRequested { package } } }",
        {"id": made["id"]},
        token=mine,
    )
    assert opened["orderPay"]["package"].startswith("prepay_id=")
    other = await shop.ask(CANCEL, {"id": made["id"]}, token=await member_token())
    assert other["orderCancel"] == {"code": "ORDER_NOT_FOUND"}
    cancelled = await shop.ask(CANCEL, {"id": made["id"]}, token=mine)
    assert cancelled["orderCancel"] == {"order": {"state": "CLOSED"}}
    assert (await MallItem.get(id=item.id)).exchanged_count == 0


async def test_refusals_say_their_values_and_change_nothing(shop: Door, deps: Deps, member_token: Tokens) -> None:
    mine = await with_points(deps, member_token, 1_600)
    item = await make_item(deps, member_limit=2, stock=4)
    plenty, draft = await make_item(deps, stock=4), await make_item(deps, published=False)
    await exchange(shop, mine, item)
    before = await everything()
    told = {
        "MALL_LIMIT_REACHED": await exchange(shop, mine, item, quantity=2),
        "MALL_PRICE_CHANGED": await exchange(shop, mine, item, expectedPoints=499, expectedCash=1),
        "POINTS_SHORT": await exchange(shop, mine, plenty, quantity=3),
        "OUT_OF_STOCK": await exchange(shop, mine, plenty, quantity=5),
        "QUANTITY_INVALID": await exchange(shop, mine, plenty, quantity=100),
        "MALL_ITEM_NOT_OFFERED": await exchange(shop, mine, draft),
    }
    values = {}
    for code, answer in told.items():
        assert answer.pop("code") == code
        assert answer.pop("message")
        values[code] = answer
    assert values == {
        "MALL_LIMIT_REACHED": {"__typename": "MallLimitReached", "limit": 2, "exchanged": 1},
        "MALL_PRICE_CHANGED": {"__typename": "MallPriceChanged", "points": 500, "cash": 0},
        "POINTS_SHORT": {"__typename": "PointsShort", "available": 1_100, "wanted": 1_500},
        "OUT_OF_STOCK": {"__typename": "SimpleRefusal"},
        "QUANTITY_INVALID": {"__typename": "SimpleRefusal"},
        "MALL_ITEM_NOT_OFFERED": {"__typename": "SimpleRefusal"},
    }
    assert await everything() == before


async def test_the_shop_refunds_an_exchange_but_no_gift(
    shop: Door, admin: Door, deps: Deps, member_token: Tokens, operator_token: Tokens
) -> None:
    mine, support = await with_points(deps, member_token), await operator_token(Role.SUPPORT)
    document = """mutation($id: ID!, $key: IdempotencyKey!) {
        orderRefund(orderId: $id, reason: "不想要了", idempotencyKey: $key) {
            ... on OrderRefunded { order { state kind mallExchange { itemId } } } ... on Refusal { code } } }"""
    goods, gift = await make_item(deps), await make_item(deps, kind="charity", target_code="trees")
    answers = []
    for item in (goods, gift):
        made = (await exchange(shop, mine, item))["order"]
        answers.append((await admin.ask(document, {"id": made["id"], "key": a_key()}, token=support))["orderRefund"])
    assert answers == [
        {"order": {"state": "REFUNDED", "kind": "MALL", "mallExchange": {"itemId": str(goods.id)}}},
        {"code": "MALL_NOT_RETURNABLE"},
    ]


# Keeping items


async def test_an_item_goes_from_draft_to_the_mall_and_out_of_it(desk: Desk, shop: Door, admin: Door) -> None:
    made = (
        await desk(
            "mallItemCreate",
            input={
                "kind": "GOODS",
                "title": " 马克杯 ",
                "description": "手工",
                "imageUrl": "https://img.example.com/cup.jpg",
                "points": 500,
                "cash": 100,
                "memberLimit": 2,
                "tierLimits": [{"tierCode": "member", "limit": 3}],
                "stock": 7,
                "closesAt": "2027-01-01T00:00:00+08:00",
            },
        )
    )["item"]
    assert (made["title"], made["state"], made["version"], made["stockLeft"]) == ("马克杯", "DRAFT", 1, 7)
    assert (made["imageUrl"], made["closesAt"]) == ("https://img.example.com/cup.jpg", "2026-12-31T16:00:00Z")
    assert (await shop.ask(ONE, {"id": made["id"]}))["mallItem"] is None
    assert (await desk("mallItemPublish", id=made["id"]))["item"]["state"] == "PUBLISHED"
    assert (await shop.ask(ONE, {"id": made["id"]}))["mallItem"]["terms"]["points"] == 500
    changes = {"id": made["id"], "cash": 0, "memberLimit": None, "tierLimits": [], "imageUrl": None, "closesAt": None}
    after = (await desk("mallItemChange", input=changes))["item"]
    assert (after["version"], after["imageUrl"], after["closesAt"], after["title"]) == (2, None, None, "马克杯")
    assert (after["terms"]["cash"], after["terms"]["memberLimit"], after["terms"]["tierLimits"]) == (0, None, [])
    adjusted = await desk("mallStockAdjust", input={"itemId": made["id"], "amount": -2, "reason": "破损"})
    entry = {"kind": "SUPPLY", "amount": -2, "leftAfter": 5, "note": "破损", "at": "2026-11-20T04:00:00Z"}
    assert adjusted == {"item": {"stockLeft": 5}, "entry": entry}
    assert (await desk("mallItemHide", id=made["id"]))["item"]["state"] == "HIDDEN"
    assert (await shop.ask(ONE, {"id": made["id"]}))["mallItem"] is None
    told = await admin.ask(
        """query($id: ID!) {
            mallItem(id: $id) { state } mallItemVersions(itemId: $id) { nodes { version madeById terms { cash } } }
            mallStockEntries(itemId: $id) { nodes { kind amount leftAfter causeId } }
            mallItems(state: HIDDEN, first: 50) { nodes { id } } }""",
        {"id": made["id"]},
        token=desk.token,
    )
    by = str(desk.token.subject_id)
    assert told["mallItem"] == {"state": "HIDDEN"}
    assert told["mallItemVersions"]["nodes"] == [
        {"version": 2, "madeById": by, "terms": {"cash": 0}},
        {"version": 1, "madeById": by, "terms": {"cash": 100}},
    ]
    assert [(one["amount"], one["leftAfter"]) for one in told["mallStockEntries"]["nodes"]] == [(-2, 5), (7, 7)]
    assert told["mallStockEntries"]["nodes"][1]["causeId"] == made["id"]
    assert {"id": made["id"]} in told["mallItems"]["nodes"]
    deeds = [one.action for one in await AuditRow.filter(operator_id=desk.token.subject_id).order_by("id")]
    assert deeds == [
        "mall_item.create",
        "mall_item.publish",
        "mall_item.change",
        "mall_stock.adjust",
        "mall_item.hide",
    ]


@pytest.mark.parametrize(
    ("fields", "refused"),
    [
        ({"points": 0}, ("ProgrammeInvalid", "points")),
        ({"cash": -1}, ("ProgrammeInvalid", "cash")),
        ({"targetCode": "x"}, ("ProgrammeInvalid", "targetCode")),
        ({"trialDays": 3}, ("ProgrammeInvalid", "trialDays")),
        ({"memberLimit": 0}, ("ProgrammeInvalid", "memberLimit")),
        ({"tierCodes": ["black"]}, ("ProgrammeInvalid", "tierCodes[0]")),
        ({"tierLimits": [{"tierCode": "member", "limit": 0}]}, ("ProgrammeInvalid", "tierLimits[0].limit")),
        ({"stock": None}, ("ProgrammeInvalid", "stock")),
        ({"kind": "CHARITY", "targetCode": "trees", "cash": 5}, ("ProgrammeInvalid", "cash")),
        (
            {"opensAt": "2026-12-01T00:00:00Z", "closesAt": "2026-12-01T00:00:00Z"},
            ("ProgrammeInvalid", "closesAt"),
        ),
        ({"title": " "}, ("CatalogueInvalid", "title")),
        ({"imageUrl": "http://img.example.com/a.jpg"}, ("MediaUrlInvalid", None)),
        ({"stock": None, "skuId": "01930000-0000-7000-8000-000000000001"}, ("SimpleRefusal", None)),
    ],
)
async def test_an_impossible_item_is_refused_with_the_field_named(
    desk: Desk, fields: dict[str, object], refused: tuple[str, str | None]
) -> None:
    before = await everything()
    answer = await desk("mallItemCreate", input={"kind": "GOODS", "title": "杯", "points": 5, "stock": 1, **fields})
    assert (answer["__typename"], answer.get("field")) == refused
    assert await everything() == before


async def test_a_coupon_needs_its_template_and_a_tier_trial_says_its_days(desk: Desk) -> None:
    given = {"title": "体验", "points": 5}
    coupon = await desk("mallItemCreate", input={"kind": "COUPON", "targetCode": "tea", **given})
    assert (await desk("mallItemPublish", id=coupon["item"]["id"]))["code"] == "COUPON_TEMPLATE_NOT_FOUND"
    wanted = {"kind": "TIER_TRIAL", "targetCode": "member", "trialDays": 7, **given}
    trial = (await desk("mallItemCreate", input=wanted))["item"]
    assert (trial["terms"]["targetCode"], trial["terms"]["trialDays"], trial["stockLeft"]) == ("member", 7, None)
    assert (await desk("mallItemPublish", id=trial["id"]))["item"]["state"] == "PUBLISHED"
    unknown = "01930000-0000-7000-8000-000000000001"
    assert (await desk("mallItemPublish", id=unknown))["code"] == "MALL_ITEM_NOT_FOUND"
    assert (await desk("mallItemChange", input={"id": unknown, "points": 1}))["code"] == "MALL_ITEM_NOT_FOUND"


async def test_a_key_is_one_deed(desk: Desk) -> None:
    key = a_key()
    given = {"kind": "CHARITY", "title": "植树", "points": 5, "targetCode": "trees"}
    first = await desk("mallItemCreate", key=key, input=given)
    assert (await desk("mallItemCreate", key=key, input=given))["item"]["id"] == first["item"]["id"]
    assert (await desk("mallItemCreate", key=key, input={**given, "points": 6}))["code"] == "KEY_REUSED"
