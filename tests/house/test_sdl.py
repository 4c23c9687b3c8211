"""The committed SDL is the schema that is served, and it explains itself completely."""

import pytest
import strawberry
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLUnionType,
    build_schema,
    is_introspection_type,
    is_specified_scalar_type,
)

from loyalty.people.rights import RIGHTS, Right, Role
from schema.committed_sdl import sdl
from schema.operator import operator_schema
from schema.permissions import ForEveryone, ForMembers, ForOperators, Needs
from schema.shop import shop_schema

SCHEMAS = {"shop": shop_schema, "operator": operator_schema}


def own_types(text: str) -> list[GraphQLNamedType]:
    types = build_schema(text).type_map.values()
    return [one for one in types if not is_introspection_type(one) and not is_specified_scalar_type(one)]


def things(type_: GraphQLNamedType) -> list[tuple[str, str | None]]:
    found = [(type_.name, type_.description)]
    if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType):
        for name, field in type_.fields.items():
            found.append((f"{type_.name}.{name}", field.description))
            found += [(f"{type_.name}.{name}({at})", argument.description) for at, argument in field.args.items()]
    elif isinstance(type_, GraphQLInputObjectType):
        found += [(f"{type_.name}.{name}", field.description) for name, field in type_.fields.items()]
    elif isinstance(type_, GraphQLEnumType):
        found += [(f"{type_.name}.{name}", value.description) for name, value in type_.values.items()]
    return found


def test_the_committed_sdl_is_the_schema_that_is_served() -> None:
    for path, text in sdl().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is out of date: run `make schema`"


@pytest.mark.parametrize("name", SCHEMAS)
def test_everything_in_the_api_has_a_description(name: str) -> None:
    undescribed = [
        path
        for type_ in own_types(SCHEMAS[name]().as_str())
        for path, description in things(type_)
        if not (description or "").strip()
    ]
    assert undescribed == []


def test_a_missing_description_would_be_noticed() -> None:
    bare = "type Query { a(b: Int): C } enum C { D } input E { f: Int } scalar G union H = Query interface I { j: Int }"
    undescribed = [path for type_ in own_types(bare) for path, description in things(type_) if description is None]
    assert undescribed == ["Query", "Query.a", "Query.a(b)", "C", "C.D", "E", "E.f", "G", "H", "I", "I.j"]


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_result_union_is_one_success_or_any_refusal(name: str) -> None:
    unions = [one for one in own_types(SCHEMAS[name]().as_str()) if isinstance(one, GraphQLUnionType)]
    for union in (one for one in unions if one.name.endswith("Result")):
        members = {member.name: [interface.name for interface in member.interfaces] for member in union.types}
        assert "SimpleRefusal" in members, union.name
        successes = [member for member, interfaces in members.items() if "Refusal" not in interfaces]
        assert len(successes) == 1, f"{union.name} has the successes {successes}"


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_mutation_answers_with_a_result_union(name: str) -> None:
    mutation = build_schema(SCHEMAS[name]().as_str()).mutation_type
    answers = {field_name: str(field.type) for field_name, field in mutation.fields.items()} if mutation else {}
    assert [field_name for field_name, answer in answers.items() if not answer.endswith("Result!")] == []


def root_fields(schema: strawberry.Schema) -> list[strawberry.types.field.StrawberryField]:
    roots = [schema.query, *([schema.mutation] if schema.mutation else [])]
    return [field for root in roots for field in root.__strawberry_definition__.fields]  # type: ignore[attr-defined]


def test_every_field_of_the_operator_schema_says_who_may_ask_for_it() -> None:
    for field in root_fields(operator_schema()):
        guards = [one for one in field.extensions if isinstance(one, Needs | ForOperators | ForEveryone)]
        assert len(guards) == 1, f"{field.name} needs exactly one of Needs, ForOperators, ForEveryone"


def test_every_field_of_the_shop_schema_says_who_may_ask_for_it() -> None:
    for field in root_fields(shop_schema()):
        guards = [one for one in field.extensions if isinstance(one, ForMembers | ForEveryone)]
        assert len(guards) == 1, f"{field.name} needs exactly one of ForMembers, ForEveryone"


def test_every_role_has_rights_and_the_owner_has_all() -> None:
    assert set(RIGHTS) == set(Role)
    assert RIGHTS[Role.OWNER] == frozenset(Right)
    assert all(rights for rights in RIGHTS.values())
