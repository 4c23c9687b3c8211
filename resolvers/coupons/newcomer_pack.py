"""The newcomer pack: owed from the moment of joining, given within seconds, through the gate of each template."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from loyalty.coupons.coupon import CouponChannel
from loyalty.coupons.newcomer_pack import NewcomerPack, PackItem
from models.coupons.newcomer_pack import NewcomerGrant
from models.engine import in_transaction, retried, rows, transaction
from models.ids import new_id
from models.keyset import Key, Keyset, Page, Slice, fetch
from resolvers.coupons.coupon_issue import give_many, template_ids
from resolvers.deps import Deps
from resolvers.programme import InForce, version

NEWEST = Keyset("newcomer_grant.newest", (Key("id", UUID),))


async def owe(member_id: UUID, pack: InForce[NewcomerPack], now: datetime) -> None:
    """Write down that a new member is owed the pack, in the transaction that makes the member. An empty one is none."""
    assert in_transaction(), "joining and the pack are kept together"
    if pack.rules.items:
        await NewcomerGrant.create(
            id=new_id(now), member_id=member_id, version_id=pack.version_id, joined_at=now, due_at=now, outcome=[]
        )


async def due(deps: Deps, limit: int) -> Sequence[UUID]:
    """Members who are owed their pack."""
    found = await rows(
        "SELECT member_id FROM newcomer_grant WHERE due_at <= $1 ORDER BY due_at LIMIT $2", [deps.clock.now(), limit]
    )
    return [row["member_id"] for row in found]


@retried
async def give(deps: Deps, *, member_id: UUID) -> None:
    """Give a member the pack that is owed. Harmless to repeat."""
    now = deps.clock.now()
    async with transaction(member_id):
        grant = await NewcomerGrant.get(member_id=member_id)
        if grant.due_at is None:
            return
        pack: InForce[NewcomerPack] = await version("newcomer_pack", grant.version_id)
        outcome = []
        for item in await _in_order(pack.rules.items):
            given, refusal = await give_many(
                member_id,
                template_code=item.template_code,
                count=item.count,
                channel=CouponChannel.NEWCOMER,
                cause_id=grant.id,
                claim_key=f"newcomer:{member_id}",
                now=now,
                zone=deps.zone,
            )
            outcome.append(
                {
                    "template_code": item.template_code,
                    "count": item.count,
                    "given": given,
                    "refusal": refusal,
                }
            )
        grant.due_at, grant.given_at, grant.outcome = None, now, outcome
        await grant.save(update_fields=["due_at", "given_at", "outcome"])


async def _in_order(items: Sequence[PackItem]) -> list[PackItem]:
    """By template, so that two members who get packs at once never wait for each other in a circle."""
    ids = await template_ids([item.template_code for item in items])
    return sorted(items, key=lambda item: (str(ids.get(item.template_code, "")), item.template_code))


async def grants(deps: Deps, *, page: Page) -> Slice[NewcomerGrant]:
    """The packs of those who joined, newest first."""
    return await fetch(NewcomerGrant.all(), page)
