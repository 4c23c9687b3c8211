"""What goes into a resolver, worked out once: an operation's variables, a field's arguments, and the call itself.

Values are coerced by graphql-core and made into input classes as strawberry makes them. Wherever either would complain,
it is asked to do so itself, so that its words are the ones that are said.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, dataclass
from inspect import iscoroutinefunction
from typing import Any, NoReturn, Protocol

from graphql import (
    DirectiveNode,
    DocumentNode,
    FieldNode,
    GraphQLArgument,
    GraphQLError,
    GraphQLField,
    GraphQLSchema,
    ListValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    Undefined,
    ValueNode,
    VariableNode,
    Visitor,
    is_non_null_type,
    is_required_argument,
    visit,
)
from graphql.execution.get_variable_signature import GraphQLVariableSignature, get_variable_signature
from graphql.execution.values import (
    VariableValues,
    VariableValueSource,
    get_argument_values,
    get_variable_values,
    input_is_nested_too_deeply,
)
from graphql.utilities.coerce_input_value import coerce_default_value, coerce_input_literal, coerce_input_value
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.arguments import convert_argument
from strawberry.types.base import StrawberryList, StrawberryMaybe, StrawberryOptional, has_object_definition
from strawberry.types.field import StrawberryField
from strawberry.types.lazy_type import LazyType
from strawberry.types.maybe import Some

from schema.context import Info
from schema.limits import ERRORS
from schema.permissions import Guard
from schema.refusal import RefusalHandler

Convert = Callable[[Any], Any]


class Given(Protocol):
    """What a request gave: the values of its variables, coerced."""

    coerced: Mapping[str, Any]

    @property
    def variables(self) -> VariableValues:
        """The same with where each came from, as graphql-core has it."""


Read = Callable[[Given], Any]
"""The value of an argument in a request, ``Undefined`` if it is left out."""


class Variables:
    """The variables that an operation declares. ``switches`` are those that ``@skip`` and ``@include`` ask."""

    def __init__(
        self,
        schema: GraphQLSchema,
        document: DocumentNode,
        operation: OperationDefinitionNode,
        *,
        hide_suggestions: bool,
    ) -> None:
        self._schema = schema
        self._nodes = operation.variable_definitions or ()
        self._hide_suggestions = hide_suggestions
        self._signatures: list[GraphQLVariableSignature] = []
        for node in self._nodes:
            signature = get_variable_signature(schema, node)
            assert not isinstance(signature, GraphQLError), "a valid operation declares variables of input types"
            self._signatures.append(signature)
        finder = _SwitchFinder()
        visit(document, finder)
        self.switches = sorted(finder.names)

    def coerced(self, given: Mapping[str, Any]) -> Mapping[str, Any] | list[GraphQLError]:
        """The value of each variable that has one, or what is wrong with what was given."""
        values: dict[str, Any] = {}
        for name, type_, default, _ in self._signatures:
            value = given.get(name, Undefined)
            if value is Undefined and default is None and not is_non_null_type(type_):
                continue
            coerced: Any = Undefined
            # A value that an input's own check refuses is an error of its own; it is raised again below.
            with suppress(GraphQLError):
                if value is Undefined and default is not None and default.literal is not None:
                    coerced = coerce_input_literal(default.literal, type_)
                elif not input_is_nested_too_deeply(value, type_):
                    coerced = coerce_input_value(value, type_)
            if coerced is Undefined:
                found = get_variable_values(self._schema, self._nodes, dict(given), ERRORS, self._hide_suggestions)
                return found if isinstance(found, list) else found.coerced
            values[name] = coerced
        return values

    def sources(self, given: Mapping[str, Any]) -> dict[str, VariableValueSource]:
        """Of each variable what was given for it."""
        return {one.name: VariableValueSource(one, given.get(one.name, Undefined)) for one in self._signatures}


class _SwitchFinder(Visitor):
    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def enter_directive(self, node: DirectiveNode, *_args: object) -> None:
        self.names |= {one.value.name.value for one in node.arguments or () if isinstance(one.value, VariableNode)}


@dataclass(slots=True, frozen=True)
class Call:
    """How strawberry calls the resolver of a field: ``ask(source, arguments, info)``, arguments by Python name.

    ``attribute`` is set where it is nothing but an attribute of the source.
    """

    ask: Callable[[Any, dict[str, Any], Info], Any]
    python_names: Mapping[str, str]
    attribute: str | None = None


class Calls:
    """The calls of the fields of one schema, worked out when they are first needed."""

    def __init__(self, converter: GraphQLCoreConverter) -> None:
        self._converter = converter
        self._inputs: dict[Any, Convert] = {}
        # By identity: a field cannot be hashed, and lives as long as its schema.
        self._known: dict[int, Call | None] = {}

    def of(self, field: GraphQLField) -> Call | None:
        """The call; None if there is something about the field that this module does not know."""
        if id(field) not in self._known:
            self._known[id(field)] = self._call(field.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF))
        return self._known[id(field)]

    def _call(self, field: object) -> Call | None:
        if type(field) is not StrawberryField or field.is_subscription:
            return None
        # The extension that was written last stands outermost.
        checks = [one.check for one in reversed(field.extensions) if isinstance(one, Guard)]
        handlers = self._converter._get_field_exception_handlers(field)
        resolver = field.base_resolver
        if len(checks) < len(field.extensions) or any(not isinstance(one, RefusalHandler) for _, one in handlers):
            return None
        names = {self._converter.config.name_converter.from_argument(one): one.python_name for one in field.arguments}
        converts = [
            (one.python_name, convert) for one in field.arguments if (convert := self._convert(one.type)) is not None
        ]
        if resolver is None:
            if handlers or field.default_resolver is not getattr:
                return None
            name = field.python_name

            def attribute(source: Any, _arguments: dict[str, Any], info: Info) -> Any:
                for check in checks:
                    check(info)
                return getattr(source, name)

            return Call(attribute, names, None if checks else name)

        function: Any = resolver.wrapped_func
        takes_source = [one.name for one in (resolver.parent_parameter, resolver.root_parameter) if one is not None]
        takes_info = resolver.info_parameter.name if resolver.info_parameter else None
        takes_self = resolver.self_parameter is not None

        def call(source: Any, arguments: dict[str, Any], info: Info) -> Any:
            for name, convert in converts:
                if name in arguments:
                    arguments[name] = convert(arguments[name])
            for check in checks:
                check(info)
            for name in takes_source:
                arguments[name] = source
            if takes_info is not None:
                arguments[takes_info] = info
            return function(source, **arguments) if takes_self else function(**arguments)

        if not field.is_async:
            return None if handlers else Call(call, names)
        if not iscoroutinefunction(function):
            return None
        handled = tuple(kind for kinds, _ in handlers for kind in kinds)

        async def call_async(source: Any, arguments: dict[str, Any], info: Info) -> Any:
            try:
                return await call(source, arguments, info)
            except handled as refusal:
                return handlers[0][1].handle(refusal, field=field, info=info)

        return Call(call_async, names)

    def _convert(self, type_: Any) -> Convert | None:
        """How strawberry makes the Python value of an input out of the coerced one; None if it leaves it as it is."""
        if isinstance(type_, LazyType):
            return self._convert(type_.resolve_type())
        if isinstance(type_, StrawberryMaybe):
            return self._maybe(type_)
        if isinstance(type_, StrawberryOptional):
            return self._convert(type_.of_type)
        if isinstance(type_, StrawberryList):
            inner = self._convert(type_.of_type)

            def many(value: Any) -> Any:
                if value is None:
                    return None
                # Never the list itself: a default is the same one for every request.
                return list(value) if inner is None else [inner(one) for one in value]

            return many
        return self._input(type_) if has_object_definition(type_) else None

    def _maybe(self, type_: StrawberryMaybe) -> Convert:
        clearable = isinstance(type_.of_type, StrawberryOptional)
        inner = self._convert(type_.of_type)

        def maybe(value: Any) -> Any:
            if value is None and not clearable:
                # It raises, in its own words.
                return convert_argument(value, type_, self._converter.scalar_registry, self._converter.config)
            return Some(value if inner is None else inner(value))

        return maybe

    def _input(self, type_: Any) -> Convert:
        if type_ in self._inputs:
            return self._inputs[type_]
        definition = type_.__strawberry_definition__
        assert definition.from_input is None, "inputs of this API are made by calling their class"
        absent = {
            one.python_name: None
            for one in definition.fields
            if one.default_value is MISSING and one.default_factory is MISSING
        }
        parts: list[tuple[str, str, Convert | None]] = []

        def make(value: Any) -> Any:
            if value is None:
                return None
            given: dict[str, Any] = dict(absent)
            for python_name, name, convert in parts:
                if name in value:
                    given[python_name] = value[name] if convert is None else convert(value[name])
            return type_(**given)

        # Known before its parts are, for it may be a part of itself.
        self._inputs[type_] = make
        for one in definition.fields:
            name = self._converter.config.name_converter.from_field(one)
            parts.append((one.python_name, name, self._convert(one.resolve_type(type_definition=definition))))
        return make


def reads(
    field: GraphQLField, node: FieldNode, python_names: Mapping[str, str], *, hide_suggestions: bool
) -> Sequence[tuple[str, Read]]:
    """How each argument of a field is read in a request, by Python name."""
    if not field.args:
        return ()

    def refuse(given: Given) -> NoReturn:
        get_argument_values(field, node, given.variables, None, hide_suggestions)
        raise AssertionError("graphql-core complains about an argument that it cannot coerce")

    written = {one.name.value: one.value for one in node.arguments or ()}
    return tuple((python_names[name], _read(one, written.get(name), refuse)) for name, one in field.args.items())


def _read(argument: GraphQLArgument, node: ValueNode | None, refuse: Callable[[Given], NoReturn]) -> Read:
    default = Undefined if is_required_argument(argument) else coerce_default_value(argument)
    if node is None:
        return refuse if is_required_argument(argument) else lambda _given: default
    if isinstance(node, VariableNode):
        name = node.name.value
        not_null = is_non_null_type(argument.type)

        def variable(given: Given) -> Any:
            value = given.coerced.get(name, default)
            if not_null and (value is None or value is Undefined):
                refuse(given)
            return value

        return variable

    def literal(given: Given) -> Any:
        value = coerce_input_literal(node, argument.type, given.variables)
        return refuse(given) if value is Undefined else value

    if isinstance(node, ListValueNode | ObjectValueNode):
        return literal
    constant = coerce_input_literal(node, argument.type)
    return literal if constant is Undefined else lambda _given: constant
