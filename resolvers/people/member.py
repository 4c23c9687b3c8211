"""Members: joining, the profile, what they see when they open the store, and the terms that their tier gives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from loyalty.people.member import admit_avatar, admit_nickname
from loyalty.tiers.tier import TierChangeReason, TierLevel, TierTable
from models.engine import in_transaction, retried, rows, transaction
from models.ids import new_id
from models.keyset import Key, Keyset, Page, Slice, fetch
from models.people.member import Member
from models.points.points import PointsAccount
from models.tiers.tier import Membership, TierChange
from resolvers.coupons import newcomer_pack
from resolvers.deps import Deps
from resolvers.people.member_profile import reward_completed_profile
from resolvers.points import balance, check_in
from resolvers.points.balance import Balance
from resolvers.points.check_in import CheckInToday
from resolvers.programme import all_in_force, for_joining
from resolvers.replay import remember, replayed
from resolvers.tiers import tier
from resolvers.tiers.tier import Standing
from resolvers.tiers.tier_overlay import RUNNING

NEWEST = Keyset("member.newest", (Key("id", UUID),))

_HOME = f"""
SELECT member.id, member.nickname, member.avatar_url, member.birthday, member.birthday_changed_on, member.personalised,
    ARRAY(SELECT jsonb_array_elements_text(member.marketing_topics)) AS marketing_topics, member.created_at,
    membership.growth_value, membership.tier_code, membership.tier_since, membership.keep_until,
    membership.keep_due_at, account.balance, account.held, account.debt,
    (SELECT count(*) FROM shop_order WHERE member_id = $1 AND state = 'unpaid') AS unpaid_orders,
    (SELECT count(*) FROM shop_order WHERE member_id = $1 AND state = 'refunding') AS refunding_orders,
    {RUNNING}
FROM member JOIN membership ON membership.member_id = member.id JOIN points_account account
    ON account.member_id = member.id
WHERE member.id = $1
"""


async def join(member_id: UUID, *, now: datetime) -> None:
    """Give a new member the lowest tier and an empty points account, and owe the newcomer pack.

    In the transaction that makes the member.
    """
    assert in_transaction(), "a member without an account is never seen"
    table, pack = await for_joining(now)
    lowest = table.rules.lowest
    await Membership.create(member_id=member_id, tier_code=lowest.code, tier_since=now)
    await PointsAccount.create(member_id=member_id)
    await TierChange.create(
        id=new_id(now),
        member_id=member_id,
        from_code="",
        to_code=lowest.code,
        reason=TierChangeReason.JOINED,
        growth_seq=0,
        inputs={"growth": 0, "threshold": lowest.threshold},
        version_id=table.version_id,
        at=now,
    )
    await newcomer_pack.owe(member_id, pack, now)


async def membership(member_id: UUID) -> Membership:
    """Where a member stands: growth value and own tier, as they were last decided."""
    return await Membership.get(member_id=member_id)


async def tier_terms(member_id: UUID, table: TierTable, now: datetime) -> TierLevel:
    """The level of ``table`` whose discount, points factor and benefits apply to the member at ``now``.

    A table that has come into force since the member was last seen counts already, and so do a trial and a tier set
    by hand.
    """
    return (await tier.standings_at([member_id], table, now))[member_id].applies


async def by_ids(deps: Deps, member_ids: Sequence[UUID]) -> Mapping[UUID, Member]:
    """These members, as far as they exist, in one statement."""
    return {row.id: row for row in await Member.filter(id__in=member_ids)}


async def browse(deps: Deps, *, page: Page) -> Slice[Member]:
    """All members, the newest first."""
    return await fetch(Member.all(), page)


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """What a member sees first."""

    member: Member
    standing: Standing
    balance: Balance
    check_in: CheckInToday
    unpaid_orders: int
    refunding_orders: int


async def home(deps: Deps, *, member_id: UUID) -> Home:
    """All of it in four statements, however much the member has done."""
    now = deps.clock.now()
    row = (await rows(_HOME, [member_id, now]))[0]
    in_force = await all_in_force(now)
    lots = (await balance.open_lots_of([member_id])).get(member_id, ())
    return Home(
        member=Member(
            id=row["id"],
            nickname=row["nickname"],
            avatar_url=row["avatar_url"],
            birthday=row["birthday"],
            birthday_changed_on=row["birthday_changed_on"],
            personalised=row["personalised"],
            marketing_topics=row["marketing_topics"],
            created_at=row["created_at"],
        ),
        standing=tier.standing(row, in_force.tier.rules, now),
        balance=balance.balance_of(balance=row["balance"], held=row["held"], debt=row["debt"], lots=lots, now=now),
        check_in=await check_in.today(deps, member_id=member_id, in_force=in_force.check_in),
        unpaid_orders=row["unpaid_orders"],
        refunding_orders=row["refunding_orders"],
    )


@retried
async def update(
    deps: Deps, *, member_id: UUID, nickname: str | None, avatar_url: str | None, idempotency_key: str
) -> Member:
    """Change what is given of a member's profile; None leaves it as it is.

    Raises:
        NicknameInvalid, AvatarInvalid: what is given cannot be kept.
        KeyInvalid, KeyReused: the idempotency key.
    """
    now = deps.clock.now()
    content = {"nickname": nickname, "avatar_url": avatar_url}
    async with transaction(member_id):
        before = await replayed(member_id, key=idempotency_key, operation="memberUpdate", content=content)
        member = await Member.get(id=member_id)
        if before is not None:
            return member
        if nickname is not None:
            member.nickname = admit_nickname(nickname)
        if avatar_url is not None:
            member.avatar_url = admit_avatar(avatar_url)
        await member.save(update_fields=["nickname", "avatar_url"])
        await reward_completed_profile(member, now=now, zone=deps.zone)
        await remember(member_id, key=idempotency_key, operation="memberUpdate", content=content, result={}, now=now)
        return member
