"""Valid documents at random, with their variables, for any schema: what a hand would not write."""

from dataclasses import dataclass, field
from typing import Any

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    get_named_type,
    is_leaf_type,
    is_required_argument,
    is_required_input_field,
)
from hypothesis import strategies as st

LITERALS: dict[str, list[str]] = {
    "Int": ["0", "7", "-3"],
    "Float": ["1.5", "2"],
    "String": ['"a"', '"茶"', '""'],
    "Boolean": ["true", "false"],
    "ID": ['"01930000-0000-7000-8000-000000000001"'],
    "Fen": ["0", "100"],
    "Date": ['"2026-11-11"'],
    "DateTime": ['"2026-11-11T00:00:00Z"'],
}
VALUES: dict[str, list[Any]] = {
    "Int": [0, 7, 2.0],
    "Float": [1.5, 2],
    "String": ["a", "茶", ""],
    "Boolean": [True, False],
    "ID": ["01930000-0000-7000-8000-000000000001"],
    "Fen": [0, 100],
    "Date": ["2026-11-11"],
    "DateTime": ["2026-11-11T00:00:00Z"],
}
WRONG: list[Any] = [None, [], {}, "no such thing", 2**53, 1.5, [None]]


@dataclass
class Writer:
    """Writes one document. The same name in an answer always stands for the same field and arguments."""

    draw: st.DrawFn
    schema: GraphQLSchema
    careless: bool
    declared: dict[str, str] = field(default_factory=dict)
    given: dict[str, Any] = field(default_factory=dict)
    fragments: dict[str, str] = field(default_factory=dict)
    written: dict[tuple[str, str], str] = field(default_factory=dict)

    def one_in(self, many: int) -> bool:
        """Sometimes."""
        return self.draw(st.integers(1, many)) == many

    def pick(self, values: Any) -> Any:
        """One of them."""
        return self.draw(st.sampled_from(list(values)))

    def document(self, kind: str, depth: int) -> str:
        """An operation and its fragments."""
        root = self.schema.mutation_type if kind == "mutation" else self.schema.query_type
        assert root is not None
        body = self.selection(root, depth)
        declared = ", ".join(f"${name}: {type_}" for name, type_ in self.declared.items())
        return " ".join([kind, f"({declared})" if declared else "", body, *self.fragments.values()])

    def selection(self, type_: Any, depth: int) -> str:
        """What is asked for of a type."""
        parts = [self.part(type_, depth) for _ in range(self.draw(st.integers(1, 4)))]
        return "{ " + " ".join(parts) + " }"

    def part(self, type_: Any, depth: int) -> str:
        """A field, or a fragment with some."""
        if isinstance(type_, GraphQLUnionType) or self.one_in(6):
            return self.fragment(type_, depth)
        return self.field(type_, depth)

    def fragment(self, type_: Any, depth: int) -> str:
        """On the type itself, on one that it can be, or on none in particular."""
        on = type_
        if not isinstance(type_, GraphQLObjectType):
            on = self.pick(self.schema.get_possible_types(type_))
        elif type_.interfaces and self.one_in(3):
            on = self.pick(type_.interfaces)
        if isinstance(type_, GraphQLUnionType) and self.one_in(4):
            return f"__typename{self.directives()}"
        if self.one_in(2):
            named = f"F{len(self.fragments)}"
            self.fragments[named] = ""
            self.fragments[named] = f"fragment {named} on {on.name} {self.selection(on, depth)}"
            again = f" ...{named}" if self.one_in(4) else ""
            return f"...{named}{self.directives()}{again}"
        where = f"on {on.name}" if on is not type_ or self.one_in(2) else ""
        return f"... {where}{self.directives()} {self.selection(on, depth)}"

    def field(self, type_: GraphQLObjectType | GraphQLInterfaceType, depth: int) -> str:
        """One field, written as before if the answer knows its name already."""
        names = [name for name, one in type_.fields.items() if depth > 1 or is_leaf_type(get_named_type(one.type))]
        if not names or self.one_in(12):
            return f"__typename{self.directives()}"
        name = self.pick(names)
        found = type_.fields[name]
        alias = self.pick(["", "", f"{name}_a", f"{name}_b"])
        key = (name, alias)
        if key not in self.written:
            given = [
                f"{each}: {self.value(one.type, one)}"
                for each, one in found.args.items()
                if is_required_argument(one) or self.one_in(2)
            ]
            self.written[key] = f"{alias + ': ' if alias else ''}{name}{'(' + ', '.join(given) + ')' if given else ''}"
        below = (
            "" if is_leaf_type(get_named_type(found.type)) else self.selection(get_named_type(found.type), depth - 1)
        )
        return f"{self.written[key]}{self.directives()} {below}"

    def directives(self) -> str:
        """Now and then one that leaves it out, or not."""
        if not self.one_in(8):
            return ""
        said = self.pick(["true", "false"]) if self.one_in(2) else self.variable("Boolean!")
        return f" @{self.pick(['skip', 'include'])}(if: {said})"

    def value(self, type_: Any, argument: GraphQLArgument | None = None) -> str:
        """A literal, or a variable."""
        if self.one_in(2):
            nullable = not isinstance(type_, GraphQLNonNull)
            optional = argument is not None and not is_required_argument(argument) and not nullable
            if optional:
                return self.variable(
                    self.pick([f"{type_.of_type}", f"{type_.of_type} = {self.literal(type_.of_type)}"])
                )
            return self.variable(str(type_))
        return self.literal(type_)

    def literal(self, type_: Any) -> str:
        """One that is valid."""
        if isinstance(type_, GraphQLNonNull):
            return self.literal(type_.of_type)
        if isinstance(type_, GraphQLList):
            items = [self.literal(type_.of_type) for _ in range(self.draw(st.integers(0, 2)))]
            return self.literal(type_.of_type) if self.one_in(5) else f"[{', '.join(items)}]"
        if isinstance(type_, GraphQLEnumType):
            return str(self.pick(type_.values))
        if isinstance(type_, GraphQLInputObjectType):
            given = [
                f"{name}: {self.literal(one.type)}"
                for name, one in type_.fields.items()
                if is_required_input_field(one) or self.one_in(5)
            ]
            return "{" + ", ".join(given) + "}"
        return str(self.pick(LITERALS[type_.name]))

    def variable(self, type_: str) -> str:
        """A new one, mostly given."""
        name = f"v{len(self.declared)}"
        self.declared[name] = type_
        named = type_.partition(" ")[0]
        if not self.one_in(8) or (named.endswith("!") and named == type_ and not self.careless):
            self.given[name] = self.sent(named)
        return f"${name}"

    def sent(self, type_: str) -> Any:
        """What a client sends for a type as it is written."""
        if self.careless and self.one_in(8):
            return self.pick(WRONG)
        if type_.endswith("!"):
            return self.not_null(type_[:-1])
        return None if self.one_in(10) else self.not_null(type_)

    def not_null(self, type_: str) -> Any:
        """The same, but for null."""
        if type_.startswith("["):
            return [self.sent(type_[1:-1]) for _ in range(self.draw(st.integers(0, 2)))]
        found = self.schema.type_map[type_]
        if isinstance(found, GraphQLEnumType):
            return self.pick(found.values)
        if isinstance(found, GraphQLInputObjectType):
            given = {
                name: self.sent(str(one.type))
                for name, one in found.fields.items()
                if is_required_input_field(one) or self.one_in(4)
            }
            return {**given, "unknown": 1} if self.careless and self.one_in(8) else given
        return self.pick(VALUES[type_])


@st.composite
def documents(draw: st.DrawFn, schema: GraphQLSchema, kind: str, depth: int = 4) -> tuple[str, dict[str, Any]]:
    """A document and the values of its variables."""
    writer = Writer(draw, schema, careless=draw(st.integers(1, 6)) == 6)
    return writer.document(kind, depth), writer.given
