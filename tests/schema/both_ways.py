"""One request answered twice: by our plan, and by graphql-core alone. The answers must be the same to the byte."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import orjson
import strawberry
from graphql import DocumentNode, ExecutionResult, GraphQLSchema, OperationDefinitionNode, OperationType, execute, parse
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from loyalty.people.rights import Role
from resolvers.people.token import TokenClaims
from schema import limits
from schema.context import Context
from schema.documents import Prepared
from schema.execution import Plan, Planner
from schema.http import GraphQLEndpoint
from schema.request import GraphQLRequest
from tests.schema.serving import NOON, OPERATOR, SESSION, door_deps


def context_of(request_id: str) -> Context:
    """A request of an operator who may do next to nothing."""
    operator = TokenClaims(subject_id=OPERATOR, session_id=SESSION, role=Role.STAFF, expires_at=NOON)
    return Context(deps=door_deps(), now=NOON, request_id=request_id, language="en", client_ip="", operator=operator)


def plan_of(planner: Planner, text: str) -> Plan:
    """The plan of a document's only operation."""
    document = parse(text)
    (operation,) = (one for one in document.definitions if isinstance(one, OperationDefinitionNode))
    return Plan(planner, document, operation)


async def unplanned(
    schema: GraphQLSchema,
    document: DocumentNode,
    variables: Mapping[str, Any],
    context: Context,
    name: str | None = None,
    *,
    hide_suggestions: bool = True,
) -> ExecutionResult:
    """graphql-core's way, from beginning to end."""
    found = execute(
        schema,
        document,
        context_value=context,
        variable_values=dict(variables),
        operation_name=name,
        max_coercion_errors=limits.ERRORS,
        executor_class=StrawberryGraphQLCoreExecutionContext,
        hide_suggestions=hide_suggestions,
    )
    return found if isinstance(found, ExecutionResult) else await found


def said(result: ExecutionResult) -> tuple[bytes, list[tuple[str, bytes, str]]]:
    """All of an answer: its data in their order, and of each error the text, place, path and cause."""
    errors = [
        (one.message, orjson.dumps([one.locations and [[*at] for at in one.locations], one.path]), repr(_cause(one)))
        for one in result.errors or ()
    ]
    return orjson.dumps(result.data), errors


def _cause(error: Any) -> type[BaseException]:
    while getattr(error, "original_error", None) is not None:
        error = error.original_error
    found: type[BaseException] = type(error)
    return found


@cache
def planner_of(schema: strawberry.Schema) -> Planner:
    """What its plans share, made once."""
    return Planner(schema, hide_suggestions=True)


def answers(
    schema: strawberry.Schema, text: str, variables: Mapping[str, Any], request_id: str = "0"
) -> tuple[Any, Any, Any]:
    """What graphql-core says, what a plan says, and what the same plan says when it is asked again."""
    plan = plan_of(planner_of(schema), text)

    async def run() -> tuple[Any, Any, Any]:
        theirs = said(await unplanned(schema._schema, parse(text), variables, context_of(request_id)))
        first = said(await plan.answer(variables, context_of(request_id)))
        again = said(await plan.answer(variables, context_of(request_id)))
        # What was left running when its place in the answer had gone is let end; its errors are nobody's any more.
        while left := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(left)
        return theirs, first, again

    return asyncio.run(run())


class BothWays(GraphQLEndpoint):
    """An endpoint that answers every query both ways, and not at all if they differ."""

    async def _execute(self, prepared: Prepared, request: GraphQLRequest, context: Context) -> ExecutionResult:
        before = replace(context)
        ours = await super()._execute(prepared, request, context)
        operation = self._documents.operation(prepared, request.operation_name)
        if operation.operation is OperationType.QUERY:
            schema, hide = self._planner.schema, self._planner.hide_suggestions
            name = request.operation_name
            theirs = await unplanned(schema, prepared.document, request.variables, before, name, hide_suggestions=hide)
            assert said(ours) == said(theirs), request.query
        return ours
