"""Who may ask for a field. A field of the operator schema names its right where it is declared."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import strawberry
from strawberry.extensions import FieldExtension
from strawberry.types.field import StrawberryField

from loyalty.people.rights import Right, rights_of
from resolvers.people.token import TokenClaims
from schema.context import Info
from schema.errors import Forbidden, Unauthenticated


def require_member(info: Info) -> UUID:
    """The id of the signed-in member.

    Raises:
        Unauthenticated: the request carries no token.
    """
    if info.context.member is None:
        raise Unauthenticated
    return info.context.member.subject_id


def require_operator(info: Info) -> TokenClaims:
    """The signed-in operator, whatever their rights.

    Raises:
        Unauthenticated: the request carries no token.
    """
    if info.context.operator is None:
        raise Unauthenticated
    return info.context.operator


def require_right(info: Info, right: Right) -> TokenClaims:
    """The signed-in operator, who has this right.

    Raises:
        Unauthenticated: the request carries no token.
        Forbidden: the operator's role does not carry the right.
    """
    operator = require_operator(info)
    if right not in rights_of(operator.role or ""):
        raise Forbidden(right=right)
    return operator


class Guard(FieldExtension):
    """Asks before the field's resolver runs."""

    note: str

    def check(self, info: Info) -> None:
        """Return for the right caller.

        Raises:
            Unauthenticated: nobody is signed in.
            Forbidden: somebody is, without the right.
        """
        raise NotImplementedError

    def apply(self, field: StrawberryField) -> None:
        # A field is prepared anew for every schema it is part of.
        if field.description and self.note not in field.description:
            field.description = f"{field.description} {self.note}"

    def resolve(self, next_: Callable[..., Any], source: Any, info: strawberry.Info, **kwargs: Any) -> Any:
        self.check(info)
        return next_(source, info, **kwargs)

    async def resolve_async(
        self, next_: Callable[..., Awaitable[Any]], source: Any, info: strawberry.Info, **kwargs: Any
    ) -> Any:
        self.check(info)
        return await next_(source, info, **kwargs)


class Needs(Guard):
    """Only for operators with this right: ``@strawberry.mutation(extensions=[Needs(Right.CATALOGUE_WRITE)], ...)``."""

    def __init__(self, right: Right) -> None:
        self.right = right
        self.note = f"Needs the right `{right}`."

    def check(self, info: Info) -> None:
        require_right(info, self.right)


class ForOperators(Guard):
    """For every signed-in operator, whatever their rights."""

    note = "Needs a signed-in operator."

    def check(self, info: Info) -> None:
        require_operator(info)


class ForMembers(Guard):
    """Only for a signed-in member."""

    note = "Needs a signed-in member."

    def check(self, info: Info) -> None:
        require_member(info)


class ForEveryone(Guard):
    """Open on purpose: signing in, and what says nothing about the shop's business."""

    note = "Open to everyone."

    def check(self, info: Info) -> None:
        return
