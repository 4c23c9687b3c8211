"""Inviting: what a member shares, what a friend opens, and who is bound to whom when the friend logs in."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from cache.rate_limit import Limit, network_of, take
from loyalty.referrals.referral import (
    BindingFacts,
    ReferralRefused,
    ReferralState,
    RejectReason,
    admit_binding,
    overdue_at,
    tracked,
)
from loyalty.referrals.referral_code import (
    CODE_SECRET_BYTES,
    TOKEN_SECRET_BYTES,
    ReferralCodeUnknown,
    admit_campaign,
    admit_token,
    code_from,
    is_token,
    read_code,
    token_from,
)
from loyalty.referrals.referral_programme import BindingSource, ReferralProgramme, Stage
from models.engine import in_transaction, rows, transaction
from models.ids import new_bytes, new_id
from models.people.member import Member
from models.referrals.referral import Referral, ReferralCode, ReferralDecision, ReferralReward, ReferralToken
from resolvers.deps import Deps
from resolvers.people.seal import SealBroken
from resolvers.programme import InForce, referral_programme

CLICK = "referral_click"
MAX_INVITATION_LENGTH = 512
MAX_DEVICE_LENGTH = 128
CODE_TRIES = 6
BINDING_LOCK = 7_305_551_202
OPENINGS_BY_ADDRESS = Limit("address", burst=60, every=timedelta(seconds=1))
"""Enough for a town behind one address, and 40 bits of code stay out of reach of guessing."""

UNREMARKABLE = frozenset({RejectReason.ALREADY_BOUND, RejectReason.NOT_NEW})
"""Refusals that come with every later login by the same link; they are not written down each time."""

_BINDING_FACTS = """
WITH RECURSIVE above (member_id) AS (
    SELECT $1::uuid
    UNION SELECT referral.inviter_id FROM referral JOIN above ON referral.invitee_id = above.member_id
)
SELECT EXISTS (SELECT 1 FROM above WHERE member_id = $2) AS is_above,
    EXISTS (SELECT 1 FROM referral WHERE invitee_id = $2) AS is_bound,
    EXISTS (SELECT 1 FROM shop_order WHERE member_id = $2 AND paid_at IS NOT NULL) AS has_bought,
    (SELECT created_at FROM member WHERE id = $2) AS joined_at,
    (SELECT inviter_id FROM referral WHERE invitee_id = $1) AS upline_id,
    coalesce((SELECT running FROM referral_switch ORDER BY at DESC, id DESC LIMIT 1), true) AS running
"""


# What a member shares


async def code_of(deps: Deps, *, member_id: UUID) -> str:
    """The member's code, which is made the first time that somebody asks for it."""
    for _ in range(CODE_TRIES):
        found = await ReferralCode.get_or_none(member_id=member_id)
        if found is not None:
            return found.code
        # A code that another member has already is not inserted either; then another one is drawn.
        await rows(
            "INSERT INTO referral_code (member_id, code, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            [member_id, code_from(new_bytes(CODE_SECRET_BYTES)), deps.clock.now()],
        )
    raise AssertionError("five codes in a row belong to somebody else")


async def create_token(deps: Deps, *, member_id: UUID, source: BindingSource, campaign: str) -> ReferralToken:
    """The member's token for a way of coming (QR or card) and a campaign, the same whenever it is asked for.

    Raises:
        ReferralCampaignInvalid: the campaign has no plain name.
        ReferralTokenLimit: the member has too many tokens.
    """
    assert source is not BindingSource.CODE, "a code is a code and no token"
    admit_campaign(campaign)
    now = deps.clock.now()
    async with transaction(member_id):
        mine = await ReferralToken.filter(member_id=member_id)
        for token in mine:
            if (token.source, token.campaign) == (source, campaign):
                return token
        admit_token(len(mine))
        return await ReferralToken.create(
            id=new_id(now),
            token=token_from(new_bytes(TOKEN_SECRET_BYTES)),
            member_id=member_id,
            source=source,
            campaign=campaign,
            created_at=now,
        )


# What a friend opens


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """Whose invitation was opened, how and when."""

    inviter_id: UUID
    source: BindingSource
    campaign: str
    clicked_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The member who invites, and the stamp that the friend's login brings along."""

    inviter: Member
    click: str


async def open_invitation(deps: Deps, *, text: str, client_ip: str) -> Opened:
    """Stamp that somebody opened the invitation of a token or typed a code.

    Raises:
        TooMany: too many from this address.
        ReferralCodeUnknown: it is nobody's.
    """
    await take(deps.redis, "referralInvitation", (OPENINGS_BY_ADDRESS, network_of(client_ip)))
    now = deps.clock.now()
    invitation = await _find(text, now)
    written = f"{invitation.inviter_id.hex} {invitation.source} {now.isoformat()} {invitation.campaign}"
    return Opened(inviter=await Member.get(id=invitation.inviter_id), click=deps.seal.close(written, belongs_to=CLICK))


async def read_invitation(deps: Deps, text: str, now: datetime) -> Invitation:
    """The invitation that a login brings along: a stamp, which says when it was opened, or a token or code of now.

    Raises:
        ReferralCodeUnknown: it is nobody's, or the stamp is not ours.
    """
    if "." not in text:
        return await _find(text, now)
    if len(text) > MAX_INVITATION_LENGTH:
        raise ReferralCodeUnknown
    try:
        inviter, source, clicked_at, campaign = deps.seal.open(text, belongs_to=CLICK).split(" ")
    except (SealBroken, ValueError):
        raise ReferralCodeUnknown from None
    return Invitation(
        inviter_id=UUID(hex=inviter),
        source=BindingSource(source),
        campaign=campaign,
        clicked_at=datetime.fromisoformat(clicked_at),
    )


async def _find(text: str, now: datetime) -> Invitation:
    if is_token(text):
        found = await rows(
            "SELECT token.member_id, token.source, token.campaign FROM referral_token token "
            "JOIN member ON member.id = token.member_id WHERE token.token = $1 AND member.disabled_at IS NULL",
            [text],
        )
    else:
        found = await rows(
            "SELECT code.member_id, 'code' AS source, '' AS campaign FROM referral_code code "
            "JOIN member ON member.id = code.member_id WHERE code.code = $1 AND member.disabled_at IS NULL",
            [read_code(text[:MAX_INVITATION_LENGTH])],
        )
    if not found:
        raise ReferralCodeUnknown
    return Invitation(
        inviter_id=found[0]["member_id"],
        source=BindingSource(found[0]["source"]),
        campaign=found[0]["campaign"],
        clicked_at=now,
    )


# Binding, in the login's transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """From where somebody logs in, and the invitation they bring along, if any."""

    client_ip: str
    device_id: str | None = None
    referral_token: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferralOutcome:
    """What became of an invitation at a login: bound if there is no refusal."""

    refusal: ReferralCodeUnknown | ReferralRefused | None = None


async def arrive(
    deps: Deps, member_id: UUID, arrival: Arrival, *, joins: bool, now: datetime
) -> ReferralOutcome | None:
    """Remember where a member logs in from, and bind them if they bring an invitation; None if they bring none."""
    assert in_transaction(), "a binding is a part of the login"
    await see(deps, member_id, device_id=arrival.device_id, client_ip=arrival.client_ip, now=now)
    if not arrival.referral_token:
        return None
    try:
        invitation = await read_invitation(deps, arrival.referral_token, now)
        await bind(member_id, invitation, joins=joins, now=now)
    except (ReferralCodeUnknown, ReferralRefused) as refusal:
        return ReferralOutcome(refusal=refusal)
    return ReferralOutcome()


async def see(deps: Deps, member_id: UUID, *, device_id: str | None, client_ip: str, now: datetime) -> None:
    """Remember, as keyed hashes, the network and the device (if the client names it) that a member logs in from."""
    marks = {"network": network_of(client_ip), "device": (device_id or "")[:MAX_DEVICE_LENGTH]}
    seen = {kind: deps.seal.mark(text, kind=kind) for kind, text in marks.items() if text}
    await rows(
        "INSERT INTO referral_trace (id, member_id, kind, mark, seen_at) "
        "SELECT trace.id, $2, trace.kind, trace.mark, $5 FROM unnest($1::uuid[], $3::text[], $4::text[]) "
        "AS trace (id, kind, mark) "
        "ON CONFLICT (member_id, kind, mark) DO UPDATE SET seen_at = excluded.seen_at",
        [[new_id(now) for _ in seen], member_id, list(seen), list(seen.values()), now],
    )


async def bind(member_id: UUID, invitation: Invitation, *, joins: bool, now: datetime) -> None:
    """Bind a member who logs in to whose invitation they opened. ``joins``: the member was made in this transaction.

    Raises:
        ReferralRefused: they cannot be bound. The login goes on, and its transaction keeps why.
    """
    assert in_transaction(), "a binding is a part of the login"
    if not joins:
        # Nobody stands below who just joined; the others are bound one at a time, or two could close a loop.
        await rows("SELECT pg_advisory_xact_lock($1)::text", [BINDING_LOCK])
    found = (await rows(_BINDING_FACTS, [invitation.inviter_id, member_id]))[0]
    programme = await referral_programme(now)
    facts = BindingFacts(
        inviter_id=invitation.inviter_id,
        invitee_id=member_id,
        source=invitation.source,
        clicked_at=invitation.clicked_at,
        invitee_is_new=found["joined_at"] >= invitation.clicked_at and not found["has_bought"],
        already_bound=found["is_bound"],
        invitee_is_above=found["is_above"],
        running=found["running"],
    )
    inputs = {
        "inviter_id": str(facts.inviter_id),
        "source": facts.source.value,
        "campaign": invitation.campaign,
        "clicked_at": facts.clicked_at.isoformat(),
        "is_new": facts.invitee_is_new,
        "is_bound": facts.already_bound,
        "is_above": facts.invitee_is_above,
        "running": facts.running,
    }
    try:
        admit_binding(programme.rules, facts, now)
    except ReferralRefused as refused:
        reason = RejectReason(str(refused.data["reason"]))
        if reason not in UNREMARKABLE:
            await decided(member_id, "binding", None, programme.version_id, inputs, f"refused: {reason}", now)
        raise
    referral = await _make(member_id, invitation, found["upline_id"], programme, now)
    await decided(member_id, "binding", referral.id, programme.version_id, inputs, "bound", now)


async def _make(
    member_id: UUID,
    invitation: Invitation,
    upline_id: UUID | None,
    programme: InForce[ReferralProgramme],
    now: datetime,
) -> Referral:
    registration, first_order = (
        tracked(programme.rules, stage, invitee_id=member_id, inviter_id=invitation.inviter_id, upline_id=upline_id)
        for stage in (Stage.REGISTRATION, Stage.FIRST_ORDER)
    )
    referral = await Referral.create(
        id=new_id(now),
        invitee_id=member_id,
        inviter_id=invitation.inviter_id,
        upline_id=upline_id,
        source=invitation.source,
        campaign=invitation.campaign,
        version_id=programme.version_id,
        clicked_at=invitation.clicked_at,
        bound_at=now,
        due_at=now if registration else overdue_at(programme.rules, bound_at=now),
    )
    await ReferralReward.bulk_create(
        [
            ReferralReward(
                id=new_id(now),
                referral_id=referral.id,
                member_id=beneficiary_id,
                stage=reward.stage,
                side=reward.side,
                points=reward.points,
                growth=reward.growth,
                state=ReferralState.QUALIFIED if reward.stage is Stage.REGISTRATION else ReferralState.PENDING,
                qualified_at=now if reward.stage is Stage.REGISTRATION else None,
            )
            for beneficiary_id, reward in (*registration, *first_order)
        ]
    )
    return referral


async def decided(
    member_id: UUID,
    subject: str,
    subject_id: UUID | None,
    version_id: UUID,
    inputs: Mapping[str, object],
    outcome: str,
    now: datetime,
) -> None:
    """Write down why: the version of the rules, what went in (JSON values), what came out."""
    await ReferralDecision.create(
        id=new_id(now),
        member_id=member_id,
        subject=subject,
        subject_id=subject_id,
        at=now,
        version_id=version_id,
        inputs=dict(inputs),
        outcome=outcome,
    )
