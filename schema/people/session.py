"""Signing in to the shop, staying in, signing out. Tokens are explained in ``docs/api/sessions.md``."""

from datetime import datetime
from typing import Annotated, TypeVar

import strawberry

from resolvers.people import session as verbs
from resolvers.people.session_family import TokenPair
from resolvers.referrals.referral import MAX_DEVICE_LENGTH
from schema.context import Info
from schema.people.member import Member
from schema.permissions import ForEveryone, ForMembers, require_member
from schema.referrals.referral import ReferralBinding
from schema.refusal import SimpleRefusal

RefreshTokenArgument = Annotated[
    str,
    strawberry.argument(description="The refresh token as the last sign-in or refresh gave it; opaque."),
]


@strawberry.interface(description="What a client that is signed in keeps.")
class SessionTokens:
    """Two tokens, and until when they are good."""

    access_token: str = strawberry.field(
        description="Send it as `Authorization: Bearer …` with every request, but not with a refresh."
    )
    access_token_expires_at: datetime = strawberry.field(
        description="From then on it is refused with UNAUTHENTICATED; refresh a little before."
    )
    refresh_token: str = strawberry.field(
        description="Buys one new pair. Keep it where all pages of the client find it, and replace it at each refresh."
    )
    refresh_token_expires_at: datetime = strawberry.field(
        description="Until then it may be exchanged; afterwards the person signs in again."
    )


T = TypeVar("T", bound=SessionTokens)


def with_tokens(payload: type[T], tokens: TokenPair, **fields: object) -> T:
    """A payload that carries a pair of tokens."""
    return payload(
        access_token=tokens.access_token,
        access_token_expires_at=tokens.access_token_expires_at,
        refresh_token=tokens.refresh_token,
        refresh_token_expires_at=tokens.refresh_token_expires_at,
        **fields,
    )


@strawberry.type(description="Signed in.")
class SessionLoginPayload(SessionTokens):
    """The tokens and whose they are."""

    member: Member = strawberry.field(description="The member who is signed in.")
    referral: ReferralBinding | None = strawberry.field(
        description="What became of `referralToken`; null if none was sent."
    )


@strawberry.type(description="A new pair of tokens for the same session.")
class SessionRefreshPayload(SessionTokens):
    """The tokens and whose they are."""

    member: Member = strawberry.field(description="The member who is signed in.")


@strawberry.type(description="Signed out on this device.")
class SessionLogoutPayload:
    """An end."""

    ended: bool = strawberry.field(description="Whether a session ended; false if it had ended before.")


@strawberry.type(description="Signed out on every device.")
class SessionLogoutEverywherePayload:
    """Several ends."""

    ended_count: int = strawberry.field(description="How many sessions ended, this one among them.")


SessionLoginResult = Annotated[
    SessionLoginPayload | SimpleRefusal,
    strawberry.union(
        "SessionLoginResult",
        description="Signed in, or LOGIN_CODE_INVALID, RISK_BLOCKED, LOGIN_UNAVAILABLE, ACCOUNT_DISABLED.",
    ),
]
SessionRefreshResult = Annotated[
    SessionRefreshPayload | SimpleRefusal,
    strawberry.union(
        "SessionRefreshResult",
        description="A new pair, or REFRESH_INVALID, REFRESH_REUSED, ACCOUNT_DISABLED: the person signs in again.",
    ),
]
SessionLogoutResult = Annotated[
    SessionLogoutPayload | SimpleRefusal,
    strawberry.union("SessionLogoutResult", description="Signed out. No refusal is known; a client expects one."),
]
SessionLogoutEverywhereResult = Annotated[
    SessionLogoutEverywherePayload | SimpleRefusal,
    strawberry.union("SessionLogoutEverywhereResult", description="Signed out, or ACCOUNT_DISABLED."),
]


@strawberry.type
class ShopMutation:
    """What a visitor and a member can do about their session."""

    @strawberry.mutation(
        description="Sign in with the code of `wx.login`; whoever comes for the first time joins. A code works once, "
        "so after a lost answer the client calls `wx.login` again. Answers RATE_LIMITED to too many from one address.",
        extensions=[ForEveryone()],
    )
    async def session_login(
        self,
        info: Info,
        code: Annotated[
            str, strawberry.argument(description="What `wx.login` gave: up to 128 characters, good for five minutes.")
        ],
        referral_token: Annotated[
            str | None,
            strawberry.argument(
                description="The invitation that was opened, if one was: what `referralInvitation` gave, or a code. "
                "It never hinders the login."
            ),
        ] = None,
        device_id: Annotated[
            str | None,
            strawberry.argument(
                description=f"The device, if the client may tell it; up to {MAX_DEVICE_LENGTH} characters, kept as a "
                "keyed hash for 90 days."
            ),
        ] = None,
    ) -> SessionLoginResult:
        """One login."""
        signed_in = await verbs.login(
            info.context.deps,
            code=code,
            client_ip=info.context.client_ip,
            referral_token=referral_token,
            device_id=device_id,
        )
        return with_tokens(
            SessionLoginPayload,
            signed_in.tokens,
            member=Member.from_row(signed_in.member),
            referral=ReferralBinding.from_outcome(signed_in.referral) if signed_in.referral else None,
        )

    @strawberry.mutation(
        description="Exchange a refresh token for a new pair. For 30 s after its first use it gives the same refresh "
        "token again, because the answer may have been lost; later use ends the session (REFRESH_REUSED). "
        "Send it without an `Authorization` header.",
        extensions=[ForEveryone()],
    )
    async def session_refresh(self, info: Info, refresh_token: RefreshTokenArgument) -> SessionRefreshResult:
        """One exchange."""
        signed_in = await verbs.refresh(
            info.context.deps, refresh_token=refresh_token, client_ip=info.context.client_ip
        )
        return with_tokens(SessionRefreshPayload, signed_in.tokens, member=Member.from_row(signed_in.member))

    @strawberry.mutation(
        description="Sign out on this device: its access and refresh tokens end at once. Harmless to repeat.",
        extensions=[ForEveryone()],
    )
    async def session_logout(self, info: Info, refresh_token: RefreshTokenArgument) -> SessionLogoutResult:
        """One end."""
        return SessionLogoutPayload(ended=await verbs.logout(info.context.deps, refresh_token=refresh_token))

    @strawberry.mutation(
        description="Sign out on every device: all tokens of the member end at once, this request's too.",
        extensions=[ForMembers()],
    )
    async def session_logout_everywhere(self, info: Info) -> SessionLogoutEverywhereResult:
        """All ends."""
        count = await verbs.logout_everywhere(info.context.deps, member_id=require_member(info))
        return SessionLogoutEverywherePayload(ended_count=count)
