"""The shortest way to a plain attribute.

Most fields of an answer are attributes of a row's type that are written out as they are. GraphQL's executor prepares
each of them as if it had arguments, a resolver and something to await; on a list of 20 × 8 such fields that was three
quarters of the time. Whatever is not exactly the plain case, an error included, still goes the long way.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from graphql import GraphQLObjectType, GraphQLSchema, get_nullable_type, is_leaf_type, is_non_null_type
from graphql.execution.collect_fields import FieldDetails
from graphql.pyutils import Path
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.field import StrawberryField

PlainField = tuple[str, Callable[[Any], Any], bool]


def plain_fields(schema: GraphQLSchema) -> Mapping[GraphQLObjectType, Mapping[str, PlainField]]:
    """For each object type its fields that are plain attributes: by name the attribute, how its value is
    written, and whether it may be null."""
    return {
        type_: plain
        for type_ in schema.type_map.values()
        if isinstance(type_, GraphQLObjectType) and (plain := dict(_plain_fields_of(type_)))
    }


def _plain_fields_of(type_: GraphQLObjectType) -> Iterator[tuple[str, PlainField]]:
    for name, field in type_.fields.items():
        definition = field.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
        if isinstance(definition, StrawberryField) and definition.is_basic_field:
            nullable = not is_non_null_type(field.type)
            leaf = get_nullable_type(field.type)
            if is_leaf_type(leaf):
                yield name, (definition.python_name, leaf.coerce_output_value, nullable)


def executor_for(schema: GraphQLSchema) -> type[StrawberryGraphQLCoreExecutionContext]:
    """The executor that knows the plain fields of this schema."""
    known = plain_fields(schema)
    nothing: Mapping[str, PlainField] = {}

    class Executor(StrawberryGraphQLCoreExecutionContext):
        def execute_field(
            self,
            parent_type: GraphQLObjectType,
            source: Any,
            field_details_list: list[FieldDetails],
            path: Path,
            position_context: Any,
        ) -> Any:
            plain = known.get(parent_type, nothing).get(field_details_list[0].node.name.value)
            if plain is not None:
                attribute, write, nullable = plain
                try:
                    value = getattr(source, attribute)
                    if value is None and nullable:
                        return None
                    written = write(value)
                except Exception:
                    written = None
                if written is not None:
                    return written
            elif parent_type is schema.mutation_type:
                # Mutations run one after the other; what an earlier one fetched may have changed since.
                self.context_value.loaders.forget()
            return super().execute_field(parent_type, source, field_details_list, path, position_context)

    return Executor
