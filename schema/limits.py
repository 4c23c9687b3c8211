"""How much one request may ask for. Every bound is checked before anything runs; ``docs/api/http.md`` lists them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from graphql import (
    ASTValidationRule,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    NoSchemaIntrospectionCustomRule,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    StringValueNode,
    get_named_type,
    get_nullable_type,
    is_list_type,
    specified_rules,
)
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule
from strawberry.schema.validation_rules.one_of import OneOfInputValidationRule

from schema.errors import BadInput
from schema.paging import FIRST_DEFAULT, FIRST_MAX

BODY_BYTES = 100_000
BODY_S = 10.0
EXECUTION_S = 12.0
TOKENS = 2_000
COMMENTS = 200
DEPTH = 12
ALIASES = 40
DIRECTIVES = 40
SELECTED_FIELDS = 1_000
REPEATS = 20
MUTATIONS = 5
LIST_ITEMS = 500
COST = 20_000
ERRORS = 20

PLAIN_LIST_SIZE = 5
"""How many entries a list without ``first`` is taken to have when the size of an answer is estimated."""

_NESTING = 64
"""How deep selections and fragments may nest in all, so that walking them cannot exhaust the stack."""


class StorableLiterals(ASTValidationRule):
    """Refuses texts that PostgreSQL cannot store, and lists longer than any field takes, written in the document."""

    def enter_string_value(self, node: StringValueNode, *_args: object) -> None:
        """NUL is the one character that the lexer lets through and the database does not."""
        if "\0" in node.value:
            self.report_error(GraphQLError("A text must not contain the character U+0000.", node))

    def enter_list_value(self, node: ListValueNode, *_args: object) -> None:
        """A list in the document has the same bound as one in a variable."""
        if len(node.values) > LIST_ITEMS:
            self.report_error(GraphQLError(f"A list must not have more than {LIST_ITEMS} entries.", node))


# Built once: the validation cache and graphql-core recognise rules by identity.
RULES: tuple[type[ASTValidationRule], ...] = (
    *specified_rules,
    MaybeNullValidationRule,
    OneOfInputValidationRule,
    StorableLiterals,
)
RULES_WITHOUT_INTROSPECTION: tuple[type[ASTValidationRule], ...] = (*RULES, NoSchemaIntrospectionCustomRule)


@dataclass(slots=True)
class _Shape:
    depth: int = 0
    width: int = 0
    fields: int = 0
    aliases: int = 0
    directives: int = 0


def check_shape(document: DocumentNode) -> None:
    """Refuse a document that is too deep or selects too much, before validation spends time on it.

    Fragments count as often as they are spread, so a small document cannot stand for a huge one. How deep the schema
    itself (``__schema``) may be asked for is bounded by graphql-core.

    Raises:
        GraphQLError: naming the bound.
    """
    fragments = {one.name.value: one for one in document.definitions if isinstance(one, FragmentDefinitionNode)}
    known: dict[str, _Shape | None] = {}
    for definition in document.definitions:
        if not isinstance(definition, OperationDefinitionNode):
            continue
        shape = _shape(definition.selection_set, fragments, known, 0)
        shape.directives += len(definition.directives or ())
        for count, bound, what in (
            (shape.depth, DEPTH, "levels deep"),
            (shape.fields, SELECTED_FIELDS, "fields"),
            (shape.aliases, ALIASES, "aliases"),
            (shape.directives, DIRECTIVES, "directives"),
        ):
            if count > bound:
                raise GraphQLError(f"The operation is too large: at most {bound} {what} are allowed.", definition)
        _check_repeats([definition.selection_set], fragments)
        if definition.operation is OperationType.MUTATION and shape.width > MUTATIONS:
            raise GraphQLError(f"At most {MUTATIONS} mutations are allowed in one operation.", definition)


def _shape(
    selections: SelectionSetNode,
    fragments: Mapping[str, FragmentDefinitionNode],
    known: dict[str, _Shape | None],
    nesting: int,
) -> _Shape:
    if nesting > _NESTING:
        raise GraphQLError(f"The operation is too large: at most {DEPTH} levels deep are allowed.", selections)
    total = _Shape()
    for selection in selections.selections:
        inner = _Shape()
        level = 0
        if isinstance(selection, FieldNode):
            level = 1
            total.width += 1
            total.fields += 1
            total.aliases += selection.alias is not None
            if selection.selection_set:
                inner = _shape(selection.selection_set, fragments, known, nesting + 1)
                if selection.name.value.startswith("__"):
                    inner = replace(inner, depth=0)
        elif isinstance(selection, InlineFragmentNode):
            inner = _shape(selection.selection_set, fragments, known, nesting + 1)
        elif isinstance(selection, FragmentSpreadNode):
            name = selection.name.value
            if name in fragments:
                if name not in known:
                    known[name] = None
                    known[name] = _shape(fragments[name].selection_set, fragments, known, nesting + 1)
                measured = known[name]
                if measured is None:
                    raise GraphQLError(f"Cannot spread fragment '{name}' within itself.", selection)
                inner = measured
        total.depth = max(total.depth, level + inner.depth)
        total.width += 0 if level else inner.width
        total.fields += inner.fields
        total.aliases += inner.aliases
        total.directives += len(selection.directives or ()) + inner.directives
    return total


def _check_repeats(merged: Sequence[SelectionSetNode], fragments: Mapping[str, FragmentDefinitionNode]) -> None:
    """Bound how often one field of the answer is written, because validation compares each time with every other."""
    times: dict[str, int] = {}
    below: dict[str, list[SelectionSetNode]] = {}
    spread: set[str] = set()
    stack = list(merged)
    while stack:
        for selection in stack.pop().selections:
            if isinstance(selection, FieldNode):
                name = (selection.alias or selection.name).value
                times[name] = times.get(name, 0) + 1
                if times[name] > REPEATS:
                    raise GraphQLError(f"One field is written more than {REPEATS} times.", selection)
                if selection.selection_set:
                    below.setdefault(name, []).append(selection.selection_set)
            elif isinstance(selection, InlineFragmentNode):
                stack.append(selection.selection_set)
            elif isinstance(selection, FragmentSpreadNode) and selection.name.value not in spread:
                spread.add(selection.name.value)
                if selection.name.value in fragments:
                    stack.append(fragments[selection.name.value].selection_set)
    for sets in below.values():
        _check_repeats(sets, fragments)


def cost_of(schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode) -> int:
    """About how many fields the answer can have, for a valid document: lists count as often as ``first`` says.

    Raises:
        GraphQLError: more than ``COST``.
    """
    fragments = {one.name.value: one for one in document.definitions if isinstance(one, FragmentDefinitionNode)}
    root = schema.get_root_type(operation.operation)
    assert root is not None, "a valid operation has a root type"
    cost = _cost(schema, root, operation.selection_set, fragments)
    if cost > COST:
        raise GraphQLError(
            f"The answer could have about {cost} fields; at most {COST} are allowed. Ask for fewer entries.", operation
        )
    return cost


def _cost(
    schema: GraphQLSchema,
    parent: GraphQLOutputType,
    selections: SelectionSetNode,
    fragments: Mapping[str, FragmentDefinitionNode],
) -> int:
    total = 0
    for selection in selections.selections:
        if isinstance(selection, FieldNode):
            total += 1
            if selection.selection_set and not selection.name.value.startswith("__"):
                assert isinstance(parent, GraphQLObjectType | GraphQLInterfaceType), "a valid field has a parent"
                field = parent.fields[selection.name.value]
                entries = _entries(selection, takes_first="first" in field.args, parent=parent, type_=field.type)
                total += entries * _cost(schema, get_named_type(field.type), selection.selection_set, fragments)
        else:
            fragment = fragments[selection.name.value] if isinstance(selection, FragmentSpreadNode) else selection
            assert isinstance(fragment, FragmentDefinitionNode | InlineFragmentNode), "there is no other selection"
            condition = fragment.type_condition
            narrowed: Any = schema.type_map[condition.name.value] if condition else parent
            total += _cost(schema, narrowed, fragment.selection_set, fragments)
    return total


def first_fields(document: DocumentNode, operation: OperationDefinitionNode) -> Mapping[str, int]:
    """How often an operation of a valid document asks for each field of its root type, under whatever alias."""
    fragments = {one.name.value: one for one in document.definitions if isinstance(one, FragmentDefinitionNode)}
    times: dict[str, int] = {}
    stack = [operation.selection_set]
    while stack:
        for selection in stack.pop().selections:
            if isinstance(selection, FieldNode):
                times[selection.name.value] = times.get(selection.name.value, 0) + 1
            elif isinstance(selection, FragmentSpreadNode):
                stack.append(fragments[selection.name.value].selection_set)
            elif isinstance(selection, InlineFragmentNode):
                stack.append(selection.selection_set)
    return times


def _entries(
    selection: FieldNode,
    *,
    takes_first: bool,
    parent: GraphQLObjectType | GraphQLInterfaceType,
    type_: GraphQLOutputType,
) -> int:
    if takes_first:
        for argument in selection.arguments or ():
            if argument.name.value == "first":
                return (
                    min(int(argument.value.value), FIRST_MAX) if isinstance(argument.value, IntValueNode) else FIRST_MAX
                )
        return FIRST_DEFAULT
    is_plain_list = is_list_type(get_nullable_type(type_)) and not parent.name.endswith("Connection")
    return PLAIN_LIST_SIZE if is_plain_list else 1


def check_variables(variables: Mapping[str, object]) -> None:
    """Refuse texts that PostgreSQL cannot store and lists longer than any field takes, anywhere in the variables.

    Raises:
        BadInput: naming what is wrong with which variable.
    """
    for name, variable in variables.items():
        stack = [variable]
        while stack:
            value = stack.pop()
            if isinstance(value, str):
                if "\0" in value:
                    raise BadInput(
                        zh="文本中不能包含 U+0000 字符",
                        en="A text must not contain the character U+0000.",
                        variable=_printable(name),
                    )
            elif isinstance(value, list):
                if len(value) > LIST_ITEMS:
                    raise BadInput(
                        zh=f"列表最多 {LIST_ITEMS} 项",
                        en=f"A list must not have more than {LIST_ITEMS} entries.",
                        variable=_printable(name),
                    )
                stack.extend(value)
            elif isinstance(value, dict):
                stack.extend(value)
                stack.extend(value.values())


def _printable(name: str) -> str:
    return name[:64].replace("\0", "")
