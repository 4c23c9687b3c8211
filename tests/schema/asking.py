"""Documents written from the schema itself, so that a new field is asked for on the day it is added."""

from typing import Any, cast

from graphql import (
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    build_client_schema,
    get_introspection_query,
    get_named_type,
    get_nullable_type,
    is_leaf_type,
    is_required_argument,
)

from tests.doors import Door


def fields_of(schema: GraphQLSchema, kind: str) -> dict[str, GraphQLField]:
    """The queries or mutations of a schema."""
    root = schema.mutation_type if kind == "mutation" else schema.query_type
    assert root is not None
    return dict(root.fields)


def selection(type_: Any, depth: int) -> str:
    """Everything that can be asked of an answer without arguments, so that writing it is tried as well."""
    named = get_named_type(type_)
    if is_leaf_type(named):
        return ""
    if isinstance(named, GraphQLUnionType):
        success = [each for each in named.types if not any(parent.name == "Refusal" for parent in each.interfaces)]
        parts = [f"... on {each.name} {selection(each, depth)}" for each in success]
        return "{ __typename ... on Refusal { code message } " + " ".join(parts) + " }"
    assert isinstance(named, GraphQLObjectType | GraphQLInterfaceType)
    wanted = ["__typename"]
    for name, each in named.fields.items():
        if name == "edges" or any(is_required_argument(argument) for argument in each.args.values()):
            continue
        if is_leaf_type(get_named_type(each.type)):
            wanted.append(name)
        elif depth > 1 and not isinstance(get_named_type(each.type), GraphQLUnionType):
            wanted.append(f"{name} {selection(each.type, depth - 1)}")
    return "{ " + " ".join(wanted) + " }"


def document(kind: str, name: str, field_: GraphQLField, *, depth: int = 2) -> str:
    """A document that calls one field with all of its arguments as variables; those with defaults may be left out."""
    declared = ", ".join(
        f"${each}: {argument.type if is_required_argument(argument) else get_nullable_type(argument.type)}"
        for each, argument in field_.args.items()
    )
    given = ", ".join(f"{each}: ${each}" for each in field_.args)
    return (
        f"{kind}{f'({declared})' if declared else ''} "
        f"{{ {name}{f'({given})' if given else ''} {selection(field_.type, depth)} }}"
    )


async def read_schema(door: Door) -> GraphQLSchema:
    """The schema as a client sees it."""
    return build_client_schema(cast("Any", await door.ask(get_introspection_query())))
