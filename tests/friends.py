"""Members who bring friends, for tests about referral."""

from collections.abc import Mapping
from datetime import timedelta
from itertools import count
from typing import Any
from uuid import UUID

from jobs.worker import run_due
from loyalty.orders.order import OrderLine
from models.engine import rows, transaction
from models.ids import new_secret
from models.orders.order import Order
from models.referrals.referral import Referral, ReferralReward
from resolvers.deps import Deps
from resolvers.orders import order
from resolvers.payments import settlement
from resolvers.people import session
from resolvers.people.session import SignedIn
from resolvers.programme import ProgrammeKind
from resolvers.referrals import referral
from tests.doors import make_member
from tests.rulebook import published
from tests.sandbox_server import SandboxControl
from tests.shelf import put_on_shelf

RULES: Mapping[str, Any] = {
    "min_order_fen": 5_000,
    "rewards": [
        {"stage": "registration", "side": "invitee", "points": 50},
        {"stage": "first_order", "side": "inviter", "points": 200, "growth": 20},
        {"stage": "first_order", "side": "invitee", "points": 100},
    ],
}
"""7 days from click to login, 30 to the order of 50 yuan, 7 of return window; no limits, review from 50."""

_addresses = count(1)


async def rules(deps: Deps, **changes: Any) -> None:
    """Referral rules in force from now: those above, with some changed."""
    await published(deps, ProgrammeKind.REFERRAL, {**RULES, **changes})


def an_address() -> str:
    """A network of its own."""
    number = next(_addresses)
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


async def inviter(deps: Deps) -> tuple[UUID, str]:
    """A member and their code."""
    member = await make_member(deps)
    return member.id, await referral.code_of(deps, member_id=member.id)


async def comes(
    deps: Deps, wechat: SandboxControl, token: str | None, *, openid: str | None = None, **how: Any
) -> SignedIn:
    """Somebody logs in with what they opened, from a network of their own unless told otherwise."""
    code, _ = await wechat.login_code(openid) if openid else await wechat.login_code()
    return await session.login(
        deps, code=code, client_ip=how.pop("client_ip", an_address()), referral_token=token, **how
    )


async def friend(deps: Deps, wechat: SandboxControl, token: str, **how: Any) -> UUID:
    """The id of a new member who was bound by this token."""
    signed_in = await comes(deps, wechat, token, **how)
    assert signed_in.referral is not None
    assert signed_in.referral.refusal is None
    return signed_in.member.id


async def buys(deps: Deps, member_id: UUID, price_fen: int = 5_000) -> Order:
    """An order of that price, settled now without WeChat."""
    placed = await order.place(
        deps,
        member_id=member_id,
        lines=[OrderLine(sku_id=await put_on_shelf(deps, price_fen=price_fen), quantity=1)],
        points_wanted=0,
        expected_fen=None,
        remark="",
        idempotency_key=new_secret(12),
    )
    return await settles(deps, placed)


async def settles(deps: Deps, placed: Order) -> Order:
    """The payment of an order that was placed, without WeChat."""
    async with transaction(placed.member_id):
        one = await Order.get(id=placed.id)
        await settlement.book(deps, one, paid_fen=one.payable_fen, now=deps.clock.now())
    return one


async def passes(deps: Deps, **time: float) -> None:
    """Time passes, and the clock's work is done."""
    deps.clock.advance(timedelta(**time))  # type: ignore[attr-defined]
    await run_due(deps)


async def rewards(friend_id: UUID) -> dict[tuple[str, str], str]:
    """How a friend's rewards stand, by stage and side: the state, and the reason if there is one."""
    bound = await Referral.get(invitee_id=friend_id)
    return {
        (row.stage, row.side): f"{row.state}: {row.reason}" if row.reason else row.state
        for row in await ReferralReward.filter(referral_id=bound.id)
    }


async def account(member_id: UUID) -> tuple[int, int, int]:
    """Points, debt and growth value of a member."""
    found = await rows(
        "SELECT balance, debt, growth_value FROM points_account JOIN membership USING (member_id) WHERE member_id = $1",
        [member_id],
    )
    return found[0]["balance"], found[0]["debt"], found[0]["growth_value"]
