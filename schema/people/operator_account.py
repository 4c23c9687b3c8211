"""Operator accounts: signing in to the operator API, who may do what, and what was done."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from loyalty.people.operator import MAX_NAME_LENGTH
from loyalty.people.rights import Right, Role, rights_of
from models.people.operator import AuditRow
from models.people.operator import Operator as OperatorRow
from resolvers.people import audit
from resolvers.people import operator as verbs
from schema.context import Info
from schema.enums import describe
from schema.paging import After, Connection, First, connection, page
from schema.people.session import (
    RefreshTokenArgument,
    SessionLogoutEverywherePayload,
    SessionLogoutEverywhereResult,
    SessionLogoutPayload,
    SessionLogoutResult,
    SessionTokens,
    with_tokens,
)
from schema.permissions import ForEveryone, ForOperators, Needs, require_operator, require_right
from schema.refusal import SimpleRefusal
from schema.scalars import IdempotencyKey

describe(
    Role,
    "What an operator is hired for. A role carries a fixed set of rights.",
    {
        Role.OWNER: "店主: every right.",
        Role.USER_OPERATIONS: "用户运营: members, tiers, points, check-ins, referrals and coupons.",
        Role.CONTENT_OPERATIONS: "内容运营: the catalogue and shipping fees.",
        Role.ACTIVITY_OPERATIONS: "活动运营: activities, the catalogue, shipping fees, parcels and pick-up points.",
        Role.DATA_OPERATIONS: "数据运营: reads everything but accounts and records.",
        Role.STAFF: "导购: members and orders, parcels, and the till for pick-ups and coupons.",
        Role.SUPPORT: "客服: orders, parcels, cancelling, refunds and after-sale requests.",
        Role.FINANCE: "财务: payments, refunds, after-sale requests and records.",
    },
)


@strawberry.type(description="An account of the operator API.")
class Operator:
    """Who runs the store."""

    id: UUID = strawberry.field(description="Opaque id.")
    login: str = strawberry.field(description="Signs in with it; lower case, unique for ever.")
    display_name: str = strawberry.field(description="How others see this operator; may be empty.")
    role: Role | None = strawberry.field(
        description="What the account may do, as a set of rights; null for a role this version does not know, which "
        "carries none."
    )
    disabled_at: datetime | None = strawberry.field(description="Since when it cannot sign in; null if it can.")
    created_at: datetime = strawberry.field(description="When it was made.")

    @strawberry.field(description="The rights of the role, such as `catalogue.write`, in alphabetical order.")
    def rights(self) -> list[str]:
        """What the fields of this API ask for."""
        return sorted(rights_of(self.role)) if self.role else []

    @classmethod
    def from_row(cls, row: OperatorRow) -> "Operator":
        """Without the password's hash."""
        return cls(
            id=row.id,
            login=row.login,
            display_name=row.display_name,
            role=Role(row.role) if row.role in set(Role) else None,
            disabled_at=row.disabled_at,
            created_at=row.created_at,
        )


@strawberry.type(description="One thing an operator did. Never changed, never deleted.")
class AuditEntry:
    """A deed."""

    id: UUID = strawberry.field(description="Opaque id; later deeds sort later.")
    action: str = strawberry.field(
        description="What was done: the noun, a dot and the verb, such as `product.publish`."
    )
    subject_kind: str = strawberry.field(description="What it was done to, such as `product`.")
    subject_id: str = strawberry.field(description="The id of what it was done to.")
    before: JSON | None = strawberry.field(description="The changed fields as they were; null if there was nothing.")
    after: JSON | None = strawberry.field(description="The changed fields as they became; null if nothing is left.")
    at: datetime = strawberry.field(description="When.")
    operator_id: strawberry.Private[UUID]

    @strawberry.field(description="Who did it.")
    async def operator(self, info: Info) -> Operator:
        """Accounts are never deleted."""
        row = await info.context.loaders.load(verbs.by_ids, self.operator_id)
        assert row is not None, "a foreign key holds the account"
        return Operator.from_row(row)

    @classmethod
    def from_row(cls, row: AuditRow) -> "AuditEntry":
        """As it was kept."""
        return cls(
            id=row.id,
            action=row.action,
            subject_kind=row.subject_kind,
            subject_id=row.subject_id,
            before=row.before,
            after=row.after,
            at=row.at,
            operator_id=row.operator_id,
        )


@strawberry.input(description="Which deeds to list; every field that is given must fit.")
class AuditLogFilter:
    """A choice of deeds."""

    operator_id: UUID | None = strawberry.field(default=None, description="Only what this operator did.")
    subject_kind: str | None = strawberry.field(
        default=None, description="Only what was done to things of this kind, such as `product`."
    )
    subject_id: str | None = strawberry.field(default=None, description="Only what was done to the thing of this id.")


@strawberry.type(description="Signed in as an operator, or a new pair of tokens for the same session.")
class OperatorSession(SessionTokens):
    """The tokens and whose they are."""

    operator: Operator = strawberry.field(description="The operator who is signed in.")


@strawberry.type(description="The account after the change.")
class OperatorPayload:
    """An account."""

    operator: Operator = strawberry.field(description="The account.")


@strawberry.input(description="A new operator account.")
class OperatorCreateInput:
    """Who it is for."""

    login: str = strawberry.field(
        description="3 to 64 letters, digits or `. _ - @ +`, beginning with a letter or digit; stored in lower case."
    )
    password: str = strawberry.field(
        description="The first password, 10 to 128 characters; to be changed by its owner."
    )
    role: Role = strawberry.field(description="What the account may do.")
    display_name: str = strawberry.field(
        default="", description=f"How others see this operator, up to {MAX_NAME_LENGTH} characters."
    )
    idempotency_key: IdempotencyKey = strawberry.field(description="Made by the client before it sends this.")


OperatorLoginResult = Annotated[
    OperatorSession | SimpleRefusal,
    strawberry.union("OperatorLoginResult", description="Signed in, or CREDENTIALS_WRONG, ACCOUNT_DISABLED."),
]
OperatorRefreshResult = Annotated[
    OperatorSession | SimpleRefusal,
    strawberry.union(
        "OperatorRefreshResult", description="A new pair, or REFRESH_INVALID, REFRESH_REUSED, ACCOUNT_DISABLED."
    ),
]
OperatorCreateResult = Annotated[
    OperatorPayload | SimpleRefusal,
    strawberry.union(
        "OperatorCreateResult",
        description="The account, or LOGIN_UNFIT, OPERATOR_NAME_UNFIT, PASSWORD_TOO_WEAK, LOGIN_TAKEN, KEY_REUSED.",
    ),
]
OperatorDisableResult = Annotated[
    OperatorPayload | SimpleRefusal,
    strawberry.union(
        "OperatorDisableResult", description="The account, or OPERATOR_NOT_FOUND, LAST_OWNER, KEY_REUSED."
    ),
]
OperatorSetRoleResult = Annotated[
    OperatorPayload | SimpleRefusal,
    strawberry.union(
        "OperatorSetRoleResult", description="The account, or OPERATOR_NOT_FOUND, LAST_OWNER, KEY_REUSED."
    ),
]
OperatorChangePasswordResult = Annotated[
    OperatorPayload | SimpleRefusal,
    strawberry.union(
        "OperatorChangePasswordResult", description="The account, or PASSWORD_TOO_WEAK, CREDENTIALS_WRONG."
    ),
]

TargetArgument = Annotated[UUID, strawberry.argument(description="The account to change.")]
KeyArgument = Annotated[IdempotencyKey, strawberry.argument(description="Made by the client before it sends this.")]


@strawberry.type
class OperatorQuery:
    """Accounts and deeds."""

    @strawberry.field(description="The operator who asks.", extensions=[ForOperators()])
    async def me(self, info: Info) -> Operator:
        """From the database, like the rights that were checked."""
        found = await info.context.loaders.load(verbs.by_ids, require_operator(info).subject_id)
        assert found is not None, "the token was checked against this account"
        return Operator.from_row(found)

    @strawberry.field(
        description="All accounts, disabled ones too, newest first.", extensions=[Needs(Right.OPERATOR_READ)]
    )
    async def operators(self, info: Info, first: First = 20, after: After = None) -> Connection[Operator]:
        """One page."""
        found = await verbs.browse(info.context.deps, page=page(verbs.NEWEST, first, after))
        return connection(found, Operator.from_row)

    @strawberry.field(description="What operators did, newest first.", extensions=[Needs(Right.AUDIT_READ)])
    async def audit_log(
        self,
        info: Info,
        first: First = 20,
        after: After = None,
        filter: Annotated[
            AuditLogFilter | None, strawberry.argument(description="Which deeds; all of them without it.")
        ] = None,
    ) -> Connection[AuditEntry]:
        """One page."""
        wanted = filter or AuditLogFilter()
        found = await audit.browse(
            info.context.deps,
            page=page(audit.NEWEST, first, after),
            operator_id=wanted.operator_id,
            subject_kind=wanted.subject_kind,
            subject_id=wanted.subject_id,
        )
        return connection(found, AuditEntry.from_row)


@strawberry.type
class OperatorMutation:
    """Sessions and accounts."""

    @strawberry.mutation(
        description="Sign in. An unknown login and a wrong password are not told apart; too many tries for a login or "
        "from an address answer RATE_LIMITED with `retryAfterS` in the extensions.",
        extensions=[ForEveryone()],
    )
    async def operator_login(
        self,
        info: Info,
        login: Annotated[str, strawberry.argument(description="The account's login, in any case.")],
        password: Annotated[str, strawberry.argument(description="The account's password.")],
    ) -> OperatorLoginResult:
        """One login."""
        signed_in = await verbs.login(
            info.context.deps, login=login, password=password, client_ip=info.context.client_ip
        )
        return with_tokens(OperatorSession, signed_in.tokens, operator=Operator.from_row(signed_in.operator))

    @strawberry.mutation(
        description="Exchange a refresh token for a new pair. For 30 s after its first use it gives the same refresh "
        "token again, because the answer may have been lost; later use ends the session (REFRESH_REUSED). "
        "Send it without an `Authorization` header.",
        extensions=[ForEveryone()],
    )
    async def operator_refresh(self, info: Info, refresh_token: RefreshTokenArgument) -> OperatorRefreshResult:
        """One exchange."""
        signed_in = await verbs.refresh(
            info.context.deps, refresh_token=refresh_token, client_ip=info.context.client_ip
        )
        return with_tokens(OperatorSession, signed_in.tokens, operator=Operator.from_row(signed_in.operator))

    @strawberry.mutation(
        description="Sign out here: the session's access and refresh tokens end at once. Harmless to repeat.",
        extensions=[ForEveryone()],
    )
    async def operator_logout(self, info: Info, refresh_token: RefreshTokenArgument) -> SessionLogoutResult:
        """One end."""
        return SessionLogoutPayload(ended=await verbs.logout(info.context.deps, refresh_token=refresh_token))

    @strawberry.mutation(
        description="Sign out everywhere: all tokens of the account end at once, this request's too.",
        extensions=[ForOperators()],
    )
    async def operator_logout_everywhere(self, info: Info) -> SessionLogoutEverywhereResult:
        """All ends."""
        caller = require_operator(info)
        count = await verbs.logout_everywhere(info.context.deps, operator_id=caller.subject_id)
        return SessionLogoutEverywherePayload(ended_count=count)

    @strawberry.mutation(description="Make an account.", extensions=[Needs(Right.OPERATOR_WRITE)])
    async def operator_create(
        self, info: Info, input: Annotated[OperatorCreateInput, strawberry.argument(description="The account.")]
    ) -> OperatorCreateResult:
        """One account."""
        made = await verbs.create(
            info.context.deps,
            operator_id=require_right(info, Right.OPERATOR_WRITE).subject_id,
            login=input.login,
            password=input.password,
            role=input.role,
            display_name=input.display_name,
            idempotency_key=input.idempotency_key,
        )
        return OperatorPayload(operator=Operator.from_row(made))

    @strawberry.mutation(
        description="Disable an account for good and end its sessions at once. The last owner stays.",
        extensions=[Needs(Right.OPERATOR_WRITE)],
    )
    async def operator_disable(
        self, info: Info, id: TargetArgument, idempotency_key: KeyArgument
    ) -> OperatorDisableResult:
        """One account less."""
        row = await verbs.disable(
            info.context.deps,
            operator_id=require_right(info, Right.OPERATOR_WRITE).subject_id,
            target_id=id,
            idempotency_key=idempotency_key,
        )
        return OperatorPayload(operator=Operator.from_row(row))

    @strawberry.mutation(
        description="Give an account another role, which counts from its next request on. The last owner stays owner.",
        extensions=[Needs(Right.OPERATOR_WRITE)],
    )
    async def operator_set_role(
        self,
        info: Info,
        id: TargetArgument,
        role: Annotated[Role, strawberry.argument(description="The new role.")],
        idempotency_key: KeyArgument,
    ) -> OperatorSetRoleResult:
        """One change."""
        row = await verbs.set_role(
            info.context.deps,
            operator_id=require_right(info, Right.OPERATOR_WRITE).subject_id,
            target_id=id,
            role=role,
            idempotency_key=idempotency_key,
        )
        return OperatorPayload(operator=Operator.from_row(row))

    @strawberry.mutation(
        description="Change the own password and sign out everywhere else.", extensions=[ForOperators()]
    )
    async def operator_change_password(
        self,
        info: Info,
        current_password: Annotated[str, strawberry.argument(description="The password of today.")],
        new_password: Annotated[str, strawberry.argument(description="10 to 128 characters.")],
    ) -> OperatorChangePasswordResult:
        """One change."""
        caller = require_operator(info)
        row = await verbs.change_password(
            info.context.deps,
            operator_id=caller.subject_id,
            session_id=caller.session_id,
            current_password=current_password,
            new_password=new_password,
            client_ip=info.context.client_ip,
        )
        return OperatorPayload(operator=Operator.from_row(row))
