"""The exceptions inbox, for operators: what machines could not finish, whose it is, and what can be done about it."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from loyalty.payments.exception_case import RULES, CaseAction, CaseKind
from loyalty.people.rights import Right
from models.payments.payment import ExceptionCase as ExceptionCaseRow
from resolvers.payments import exception_action as actions
from resolvers.payments import exception_case as verbs
from schema.arguments import Key
from schema.context import Info
from schema.enums import describe
from schema.paging import After, Connection, First, connection, page
from schema.permissions import Needs, require_operator
from schema.refusal import SimpleRefusal

describe(
    CaseAction,
    "What can be done about a case, each by a mutation of its own.",
    {
        CaseAction.RETRY: "Do the machine's part again now: exceptionCaseRetry.",
        CaseAction.REFUND: "Ask for the money back under a new number: exceptionCaseRefund.",
        CaseAction.ACCEPT: "Book the payment although it differs: exceptionCaseAccept.",
        CaseAction.PAID_BY_HAND: "Book the refund as paid back in another way: exceptionCasePaidByHand.",
        CaseAction.RESOLVE: "Settle it with words alone: exceptionCaseResolve.",
    },
    name="ExceptionCaseAction",
)
describe(
    CaseKind,
    "What could not be finished. More may come.",
    {kind: rule.en for kind, rule in RULES.items()},
    name="ExceptionCaseKind",
)


@strawberry.type(description="Something that a machine could not finish and a person must look at.")
class ExceptionCase:
    """One row of the inbox."""

    id: UUID = strawberry.field(description="Opaque id.")
    kind: str = strawberry.field(
        description="What: the names of ExceptionCaseKind in lower case, such as payment_mismatch. More may come."
    )
    order_id: UUID | None = strawberry.field(description="The order it is about, if it is known.")
    details: JSON = strawberry.field(description="Figures and numbers that help to look into it; never personal.")
    opened_at: datetime = strawberry.field(description="When it came up.")
    due_at: datetime = strawberry.field(description="By when somebody must have seen to it; by kind, never moved.")
    owner_id: UUID | None = strawberry.field(description="The operator who sees to it; null: nobody yet.")
    resolved_at: datetime | None = strawberry.field(description="When it was settled; null while it is open.")
    resolved_by_id: UUID | None = strawberry.field(
        description="The operator who settled it; null while it is open, and when its cause was gone by itself."
    )
    resolution: str = strawberry.field(description="How it was settled, up to 200 characters.")

    @strawberry.field(description="What happened, in a sentence.")
    def cause(self, info: Info) -> str:
        return RULES[CaseKind(self.kind)].cause(info.context.language)

    @strawberry.field(description="What to do about it, in a sentence.")
    def advice(self, info: Info) -> str:
        return RULES[CaseKind(self.kind)].advice(info.context.language)

    @strawberry.field(description="What can be done about it, the suggested action first; nothing once it is settled.")
    def actions(self) -> list[CaseAction]:
        return list(RULES[CaseKind(self.kind)].actions) if self.resolved_at is None else []

    @strawberry.field(description="Whether it is open and past its deadline.")
    def is_overdue(self, info: Info) -> bool:
        return self.resolved_at is None and self.due_at <= info.context.now

    @classmethod
    def from_row(cls, row: ExceptionCaseRow) -> "ExceptionCase":
        return cls(
            id=row.id,
            kind=row.kind,
            order_id=row.order_id,
            details=JSON(row.details),
            opened_at=row.opened_at,
            due_at=row.due_at,
            owner_id=row.owner_id,
            resolved_at=row.resolved_at,
            resolved_by_id=row.resolved_by_id,
            resolution=row.resolution,
        )


@strawberry.type(description="The case, settled.")
class ExceptionCaseResolved:
    """Success of exceptionCaseResolve."""

    exception_case: ExceptionCase = strawberry.field(description="The case as it stands now.")


@strawberry.type(description="The case after something was done about it.")
class ExceptionCaseChanged:
    """Success of what changes a case or acts on it."""

    exception_case: ExceptionCase = strawberry.field(
        description="The case as it stands now: settled, or still open if what was done did not help yet."
    )


ExceptionCaseResolveResult = Annotated[
    ExceptionCaseResolved | SimpleRefusal,
    strawberry.union("ExceptionCaseResolveResult", description="The case, or why it stays open."),
]
ExceptionCaseResult = Annotated[
    ExceptionCaseChanged | SimpleRefusal,
    strawberry.union("ExceptionCaseResult", description="The case, or why this cannot be done."),
]
CaseId = Annotated[UUID, strawberry.argument(description="The case.")]


@strawberry.type
class OperatorQuery:
    """The inbox."""

    @strawberry.field(
        description="What machines could not finish, newest first; with overdueOnly the longest overdue first.",
        extensions=[Needs(Right.PAYMENT_READ)],
    )
    async def exception_cases(
        self,
        info: Info,
        first: First = 20,
        after: After = None,
        open_only: Annotated[bool, strawberry.argument(description="Leave out what is settled.")] = True,
        overdue_only: Annotated[bool, strawberry.argument(description="Only what is past its deadline.")] = False,
        mine: Annotated[bool, strawberry.argument(description="Only what the caller owns.")] = False,
        kind: Annotated[CaseKind | None, strawberry.argument(description="Only this kind.")] = None,
    ) -> Connection[ExceptionCase]:
        wanted = verbs.Wanted(
            open_only=open_only,
            overdue_only=overdue_only,
            kind=kind,
            owner_id=require_operator(info).subject_id if mine else None,
        )
        keyset = verbs.SOONEST_DUE if overdue_only else verbs.NEWEST
        found = await verbs.browse(info.context.deps, page=page(keyset, first, after), wanted=wanted)
        return connection(found, ExceptionCase.from_row)


@strawberry.type
class OperatorMutation:
    """What operators do about cases."""

    @strawberry.mutation(
        description="Make an operator the owner of an open case, or nobody.", extensions=[Needs(Right.PAYMENT_READ)]
    )
    async def exception_case_assign(
        self,
        info: Info,
        id: CaseId,
        idempotency_key: Key,
        owner_id: Annotated[
            UUID | None, strawberry.argument(description="An operator who is not disabled; null: nobody.")
        ] = None,
    ) -> ExceptionCaseResult:
        case = await verbs.assign(
            info.context.deps,
            operator_id=require_operator(info).subject_id,
            case_id=id,
            owner_id=owner_id,
            idempotency_key=idempotency_key,
        )
        return ExceptionCaseChanged(exception_case=ExceptionCase.from_row(case))

    @strawberry.mutation(
        description="Do the machine's part of a case again, now. It is settled if that helped, else it stays open.",
        extensions=[Needs(Right.ORDER_REFUND)],
    )
    async def exception_case_retry(self, info: Info, id: CaseId, idempotency_key: Key) -> ExceptionCaseResult:
        case = await actions.retry(
            info.context.deps,
            operator_id=require_operator(info).subject_id,
            case_id=id,
            idempotency_key=idempotency_key,
        )
        return ExceptionCaseChanged(exception_case=ExceptionCase.from_row(case))

    @strawberry.mutation(
        description="Ask for the money of a case back under a new number: a refund that WeChat closed, a payment that "
        "does not agree, an exchange that cannot be delivered.",
        extensions=[Needs(Right.ORDER_REFUND)],
    )
    async def exception_case_refund(
        self,
        info: Info,
        id: CaseId,
        reason: Annotated[str, strawberry.argument(description="Shown to the payer, 1 to 80 characters.")],
        idempotency_key: Key,
    ) -> ExceptionCaseResult:
        case = await actions.refund_again(
            info.context.deps,
            operator_id=require_operator(info).subject_id,
            case_id=id,
            reason=reason,
            idempotency_key=idempotency_key,
        )
        return ExceptionCaseChanged(exception_case=ExceptionCase.from_row(case))

    @strawberry.mutation(
        description="Book a payment that does not agree with its order. Never one of another amount.",
        extensions=[Needs(Right.PAYMENT_SETTLE)],
    )
    async def exception_case_accept(
        self,
        info: Info,
        id: CaseId,
        note: Annotated[str, strawberry.argument(description="Why it is right, 1 to 200 characters.")],
        idempotency_key: Key,
    ) -> ExceptionCaseResult:
        case = await actions.accept(
            info.context.deps,
            operator_id=require_operator(info).subject_id,
            case_id=id,
            note=note,
            idempotency_key=idempotency_key,
        )
        return ExceptionCaseChanged(exception_case=ExceptionCase.from_row(case))

    @strawberry.mutation(
        description="Book a refund that WeChat closed, cannot bring to the payer or takes no more, as paid back in "
        "another way.",
        extensions=[Needs(Right.PAYMENT_SETTLE)],
    )
    async def exception_case_paid_by_hand(
        self,
        info: Info,
        id: CaseId,
        evidence: Annotated[
            str, strawberry.argument(description="The proof, such as a transfer's number, 1 to 200 characters.")
        ],
        idempotency_key: Key,
    ) -> ExceptionCaseResult:
        case = await actions.paid_by_hand(
            info.context.deps,
            operator_id=require_operator(info).subject_id,
            case_id=id,
            evidence=evidence,
            idempotency_key=idempotency_key,
        )
        return ExceptionCaseChanged(exception_case=ExceptionCase.from_row(case))

    @strawberry.mutation(
        description="Settle a case with a word on how, if that is among its actions.",
        extensions=[Needs(Right.ORDER_REFUND)],
    )
    async def exception_case_resolve(
        self,
        info: Info,
        id: CaseId,
        resolution: Annotated[str, strawberry.argument(description="What was done, 1 to 200 characters.")],
        idempotency_key: Key,
    ) -> ExceptionCaseResolveResult:
        case = await verbs.resolve(
            info.context.deps,
            operator_id=require_operator(info).subject_id,
            case_id=id,
            resolution=resolution,
            idempotency_key=idempotency_key,
        )
        return ExceptionCaseResolved(exception_case=ExceptionCase.from_row(case))
