"""Who a bearer token is taken for on the real doors, over the real store."""

from collections.abc import Awaitable, Callable

from tests.doors import Bearer, Door

TIME = "{ serverInfo { time } }"

Tokens = Callable[..., Awaitable[Bearer]]


async def test_each_kind_of_token_opens_its_own_door(
    shop: Door, admin: Door, member_token: Tokens, operator_token: Tokens
) -> None:
    assert await shop.codes(TIME, token=await member_token()) == []
    assert await admin.codes(TIME, token=await operator_token()) == []


async def test_no_token_opens_the_other_door(
    shop: Door, admin: Door, member_token: Tokens, operator_token: Tokens
) -> None:
    assert await shop.codes(TIME, token=await operator_token()) == ["UNAUTHENTICATED"]
    assert await admin.codes(TIME, token=await member_token()) == ["UNAUTHENTICATED"]
