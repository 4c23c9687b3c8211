"""Answering an operation: worked out once from its document, then run for each request.

graphql-core and strawberry find out anew for each request, and for each entry of a list, what never changes: which
fields are asked for, how their arguments are made, who resolves them, how a value is written. Here that is a plan.
A plan runs what is plain. Whatever is not, errors above all, is handed piece by piece to graphql-core's own executor,
so that no answer is another than it would be there: ``docs/decisions/0015-planned-execution.md``.
"""

from collections.abc import Callable, Mapping
from types import CoroutineType, SimpleNamespace
from typing import Any

import strawberry
from graphql import (
    DocumentNode,
    ExecutionResult,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLField,
    GraphQLLeafType,
    GraphQLObjectType,
    OperationDefinitionNode,
    OperationType,
    Undefined,
    default_type_resolver,
    get_nullable_type,
    is_abstract_type,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
)
from graphql.execution.collect_fields import (
    FieldDetailsList,
    FragmentDetails,
    GroupedFieldSet,
    collect_fields,
    collect_subfields,
)
from graphql.execution.executor import Executor, default_field_resolver
from graphql.execution.values import VariableValues
from graphql.pyutils import Path, gather_with_cancel
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext
from strawberry.schema.schema_converter import GraphQLCoreConverter

from schema.context import Context, Info
from schema.execution_input import Call, Calls, Variables, reads

Complete = Callable[[Any, Path, "_Run"], Any]
"""Makes of a value what the answer says, or a coroutine that will. None for null, and for what is not plain."""

VARIANTS = 4
"""How many ways of what ``@skip`` and ``@include`` may say are remembered for one operation."""


class Planner:
    """What the plans of one schema share."""

    def __init__(self, schema: strawberry.Schema, *, hide_suggestions: bool) -> None:
        # strawberry has no public name for the schema it builds; its converter registers resolvers on exactly this one.
        self.schema = schema._schema
        self.calls = Calls(schema.schema_converter)
        self.hide_suggestions = hide_suggestions
        self._leaves: dict[str, Complete] = {}

    def leaf(self, type_: GraphQLLeafType) -> Complete:
        """How the values of a scalar or an enum are written."""
        write = type_.coerce_output_value

        def leaf(value: Any, _path: Path, _run: _Run) -> Any:
            try:
                return None if value is None else write(value)
            except Exception:
                return None

        return self._leaves.setdefault(type_.name, leaf)

    def classes(self, type_: Any) -> Mapping[type, GraphQLObjectType]:
        """The classes whose very own instances are plain values of an object type, an interface or a union."""
        if not is_abstract_type(type_):
            definition = _definition(type_)
            return {} if definition.is_type_of else {(definition.concrete_of or definition).origin: type_}
        if getattr(_definition(type_), "resolve_type", None):
            return {}
        members = [(one, _definition(one)) for one in self.schema.get_possible_types(type_)]
        return {found.origin: one for one, found in members if not found.is_type_of}


def _definition(type_: Any) -> Any:
    return type_.extensions[GraphQLCoreConverter.DEFINITION_BACKREF]


class Plan:
    """One operation of a document that passed every check."""

    def __init__(self, planner: Planner, document: DocumentNode, operation: OperationDefinitionNode) -> None:
        self.planner = planner
        self.operation = operation
        self.fragments = {
            one.name.value: FragmentDetails(one)
            for one in document.definitions
            if isinstance(one, FragmentDefinitionNode)
        }
        self.variables = Variables(planner.schema, document, operation, hide_suggestions=planner.hide_suggestions)
        self._variants: dict[tuple[object, ...], _Selection] = {}

    async def answer(self, given: Mapping[str, Any], context: Context) -> ExecutionResult:
        """What graphql-core would answer to a request with these variables."""
        coerced = self.variables.coerced(given)
        if isinstance(coerced, list):
            return ExecutionResult(None, coerced)
        run = _Run(self, given, coerced, context)
        data: dict[str, Any] | None
        try:
            root = self._root(run)
            if self.operation.operation is OperationType.MUTATION:
                data = await root.one_by_one(run)
            else:
                found = root.all_at_once(None, None, run)
                data = await found if type(found) is CoroutineType else found
        except GraphQLError as error:
            run.executor.collected_errors.add(error, None)
            data = None
        return ExecutionResult(data, run.errors)

    def _root(self, run: "_Run") -> "_Selection":
        variant = tuple(run.coerced.get(one) for one in self.variables.switches)
        found = self._variants.get(variant)
        if found is None:
            schema, hide_suggestions = self.planner.schema, self.planner.hide_suggestions
            type_ = schema.get_root_type(self.operation.operation)
            assert type_ is not None, "a valid operation has a root type"
            fields = collect_fields(schema, self.fragments, run.variables, type_, self.operation, hide_suggestions)
            found = _Selection(self, type_, fields.grouped_field_set)
            if len(self._variants) < VARIANTS:
                self._variants[variant] = found
        return found


class _Run:
    """One request on its way through a plan."""

    __slots__ = ("_executor", "_variables", "coerced", "context", "given", "info", "plan")

    def __init__(self, plan: Plan, given: Mapping[str, Any], coerced: Mapping[str, Any], context: Context) -> None:
        self.plan = plan
        self.given = given
        self.coerced = coerced
        self.context = context
        # A resolver asks it for nothing but the context; a house test sees to that.
        self.info: Info = strawberry.Info(_raw_info=SimpleNamespace(context=context), _field=None)  # type: ignore[arg-type]
        self._executor: Executor[Any] | None = None
        self._variables: VariableValues | None = None

    @property
    def variables(self) -> VariableValues:
        """The variables as graphql-core has them."""
        if self._variables is None:
            self._variables = VariableValues(self.plan.variables.sources(self.given), dict(self.coerced))
        return self._variables

    @property
    def executor(self) -> Executor[Any]:
        """graphql-core's own, for what is not plain. It keeps the errors of the answer."""
        if self._executor is None:
            plan = self.plan
            self._executor = StrawberryGraphQLCoreExecutionContext(
                plan.planner.schema,
                {name: one.definition for name, one in plan.fragments.items()},
                plan.fragments,
                None,
                self.context,
                plan.operation,
                self.variables,
                default_field_resolver,
                default_type_resolver,
                default_field_resolver,
                hide_suggestions=plan.planner.hide_suggestions,
            )
        return self._executor

    @property
    def errors(self) -> list[GraphQLError] | None:
        """The errors of the answer, None if it has none."""
        return self._executor.collected_errors.errors or None if self._executor else None

    def settle(self, answer: Any, waiting: list[Any]) -> None:
        """Let what was begun end, though nobody waits for it any more."""
        if waiting:
            self.executor.settle_in_background([answer[at] for at in waiting])


class _Field:
    """One field of an answer: all that is written in the document under one name at one place.

    This one is graphql-core's from beginning to end, because there is something about it that a plan does not know.
    """

    __slots__ = ("attribute", "details", "key", "parent", "plan", "write")

    def __init__(self, plan: Plan, parent: GraphQLObjectType, key: str, details: FieldDetailsList) -> None:
        self.plan = plan
        self.parent = parent
        self.key = key
        self.details = details
        self.attribute: str | None = None
        self.write: Callable[[Any], Any] | None = None

    def resolve(self, source: Any, parent_path: Path | None, run: _Run) -> Any:
        """What the answer says, or a coroutine that will."""
        path = Path(parent_path, self.key, self.parent.name)
        return run.executor.execute_field(self.parent, source, self.details, path, None)


class _PlannedField(_Field):
    """A field whose resolver and type a plan knows."""

    __slots__ = ("_ask", "_complete", "_field", "_reads")

    def __init__(
        self,
        plan: Plan,
        parent: GraphQLObjectType,
        key: str,
        details: FieldDetailsList,
        field: GraphQLField,
        call: Call,
    ) -> None:
        super().__init__(plan, parent, key, details)
        self._field = field
        self._ask = call.ask
        self._reads = reads(field, details[0].node, call.python_names, hide_suggestions=plan.planner.hide_suggestions)
        self._complete = self._completion(field.type)
        leaf: Any = get_nullable_type(field.type)
        if call.attribute is not None and is_leaf_type(leaf):
            self.attribute, self.write = call.attribute, leaf.coerce_output_value

    def resolve(self, source: Any, parent_path: Path | None, run: _Run) -> Any:
        """What the answer says, or a coroutine that will."""
        path = Path(parent_path, self.key, self.parent.name)
        try:
            arguments = {name: value for name, read in self._reads if (value := read(run)) is not Undefined}
            value = self._ask(source, arguments, run.info)
            if hasattr(value, "__await__"):
                return self._resolve_later(value, path, run)
            found = self._completed(self._complete, self._field.type, value, path, run)
        except Exception as error:
            self._failed(error, self._field.type, path, run)
            return None
        return self._watched(found, self._field.type, path, run) if type(found) is CoroutineType else found

    async def _resolve_later(self, awaitable: Any, path: Path, run: _Run) -> Any:
        try:
            found = self._completed(self._complete, self._field.type, await awaitable, path, run)
            return await found if type(found) is CoroutineType else found
        except Exception as error:
            self._failed(error, self._field.type, path, run)
            return None

    async def _watched(self, found: Any, type_: Any, path: Path, run: _Run) -> Any:
        try:
            return await found
        except Exception as error:
            self._failed(error, type_, path, run)
            return None

    def _failed(self, error: Exception, type_: Any, path: Path, run: _Run) -> None:
        """Null with an error, or an error for what is above if there may not be null."""
        run.executor.handle_field_error(error, type_, self.details, path)

    def _completed(self, complete: Complete, type_: Any, value: Any, path: Path, run: _Run) -> Any:
        found = complete(value, path, run)
        if found is not None or (value is None and not is_non_null_type(type_)):
            return found
        # Not plain: graphql-core makes something of it after all, or raises what is wrong with it.
        executor = run.executor
        info = executor.build_resolve_info(self._field, [one.node for one in self.details], self.parent, path)
        if hasattr(value, "__await__"):
            return executor.complete_awaitable_list_item_value(value, type_, self.details, info, path, None)
        return executor.complete_value(type_, self.details, info, path, value, None)

    def _completion(self, type_: Any) -> Complete:
        type_ = get_nullable_type(type_)
        if is_leaf_type(type_):
            return self.plan.planner.leaf(type_)
        if is_list_type(type_):
            return self._entries(type_.of_type)
        classes = self.plan.planner.classes(type_)
        selections: dict[GraphQLObjectType, _Selection] = {}

        def composite(value: Any, path: Path, run: _Run) -> Any:
            found = classes.get(type(value))
            if found is None:
                return None
            selection = selections.get(found)
            if selection is None:
                selection = selections[found] = self._selection(found, run)
            return selection.all_at_once(value, path, run)

        return composite

    def _selection(self, type_: GraphQLObjectType, run: _Run) -> "_Selection":
        plan, planner = self.plan, self.plan.planner
        fields = collect_subfields(
            planner.schema, plan.fragments, run.variables, plan.operation, type_, self.details, planner.hide_suggestions
        )
        return _Selection(plan, type_, fields.grouped_field_set)

    def _entries(self, type_: Any) -> Complete:
        complete = self._completion(type_)

        def entries(value: Any, path: Path, run: _Run) -> Any:
            if type(value) is not list:
                return None
            answer: list[Any] = []
            waiting: list[int] = []
            try:
                for index, entry in enumerate(value):
                    entry_path = Path(path, index, None)
                    try:
                        found = self._completed(complete, type_, entry, entry_path, run)
                    except Exception as error:
                        self._failed(error, type_, entry_path, run)
                        found = None
                    if type(found) is CoroutineType:
                        found = self._watched(found, type_, entry_path, run)
                        waiting.append(index)
                    answer.append(found)
            except Exception:
                run.settle(answer, waiting)
                raise
            return _gathered(answer, waiting) if waiting else answer

        return entries


class _Selection:
    """The fields that are asked for of an object type."""

    __slots__ = ("_entries", "_keys")

    def __init__(self, plan: Plan, type_: GraphQLObjectType, grouped: GroupedFieldSet) -> None:
        self._keys: dict[str, str | None] = {}
        self._entries: list[tuple[str, str | None, Any, bool, _Field]] = []
        for key, details in grouped.items():
            name = details[0].node.name.value
            if name == "__typename":
                self._keys[key] = type_.name
                continue
            self._keys[key] = None
            definition = plan.planner.schema.get_field(type_, name)
            assert definition is not None, "a valid document asks for fields that are there"
            call = plan.planner.calls.of(definition)
            field = (
                _PlannedField(plan, type_, key, details, definition, call)
                if call
                else _Field(plan, type_, key, details)
            )
            self._entries.append((key, field.attribute, field.write, not is_non_null_type(definition.type), field))

    def all_at_once(self, source: Any, path: Path | None, run: _Run) -> Any:
        """Every field of a value, in its order; a coroutine if some have to be waited for."""
        answer: dict[str, Any] = self._keys.copy()
        waiting: list[str] = []
        try:
            for key, attribute, write, nullable, field in self._entries:
                if attribute is not None:
                    try:
                        value = getattr(source, attribute)
                        if value is None:
                            is_plain = nullable
                        else:
                            value = write(value)
                            is_plain = value is not None
                    except Exception:
                        is_plain = False
                    if is_plain:
                        answer[key] = value
                        continue
                answer[key] = found = field.resolve(source, path, run)
                if type(found) is CoroutineType:
                    waiting.append(key)
        except Exception:
            run.settle(answer, waiting)
            raise
        return _gathered(answer, waiting) if waiting else answer

    async def one_by_one(self, run: _Run) -> dict[str, Any]:
        """The fields of a mutation. What an earlier one fetched may have changed since."""
        answer: dict[str, Any] = self._keys.copy()
        for key, *_, field in self._entries:
            run.context.loaders.forget()
            found = field.resolve(None, None, run)
            answer[key] = await found if type(found) is CoroutineType else found
        return answer


async def _gathered(answer: Any, waiting: list[Any]) -> Any:
    """The answer with everything that has to be waited for, at the same time, as graphql-core does it."""
    if len(waiting) == 1:
        answer[waiting[0]] = await answer[waiting[0]]
    else:
        for at, found in zip(waiting, await gather_with_cancel(*(answer[at] for at in waiting)), strict=True):
            answer[at] = found
    return answer
