"""Documents, parsed, measured and validated once and then remembered."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from graphql import DocumentNode, GraphQLError, GraphQLSchema, OperationDefinitionNode, parse, validate

from schema import limits
from schema.execution import Plan


@dataclass(slots=True)
class Prepared:
    """A document that passed every check.

    Of each operation that was asked for: the estimated cost, how often its first fields are written, and how it is
    answered.
    """

    document: DocumentNode
    operations: Sequence[OperationDefinitionNode]
    costs: dict[str | None, int] = field(default_factory=dict)
    first_fields: dict[str | None, Mapping[str, int]] = field(default_factory=dict)
    plans: dict[str | None, Plan] = field(default_factory=dict)


class Rejected(Exception):
    """The document or its variables are at fault; nothing was executed."""

    def __init__(self, errors: Sequence[GraphQLError]) -> None:
        super().__init__()
        self.errors = errors


class Documents:
    """Parses, measures and validates documents, and remembers those that passed: the last so many, least used out."""

    def __init__(self, schema: GraphQLSchema, *, introspection: bool, size: int = 1_000, longest: int = 10_000) -> None:
        self._schema = schema
        self._rules = limits.RULES if introspection else limits.RULES_WITHOUT_INTROSPECTION
        self._hide_suggestions = not introspection
        self._size = size
        self._longest = longest
        self._seen: OrderedDict[str, Prepared] = OrderedDict()

    def prepare(self, text: str) -> Prepared:
        """The checked document.

        Raises:
            Rejected: it is no GraphQL, or not for this schema, or too large.
        """
        prepared = self._seen.get(text)
        if prepared is not None:
            self._seen.move_to_end(text)
            return prepared
        try:
            document = parse(text, max_lexical_tokens=limits.TOKENS, max_comments=limits.COMMENTS)
            limits.check_shape(document)
        except GraphQLError as error:
            raise Rejected([error]) from None
        errors = validate(
            self._schema, document, self._rules, max_errors=limits.ERRORS, hide_suggestions=self._hide_suggestions
        )
        if errors:
            raise Rejected(errors)
        operations = [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]
        prepared = Prepared(document, operations)
        if len(text) <= self._longest:
            self._seen[text] = prepared
            if len(self._seen) > self._size:
                self._seen.popitem(last=False)
        return prepared

    def operation(self, prepared: Prepared, name: str | None) -> OperationDefinitionNode:
        """The operation of a document that a request means.

        Raises:
            Rejected: there is none of that name, or several and none is named, or its answer would be too large.
        """
        matching = [one for one in prepared.operations if name is None or (one.name and one.name.value == name)]
        if len(matching) != 1:
            message = "Must provide operation name if query contains multiple operations."
            raise Rejected([GraphQLError(message if name is None else "There is no operation of that name.")])
        operation = matching[0]
        if name not in prepared.costs:
            try:
                prepared.costs[name] = limits.cost_of(self._schema, prepared.document, operation)
            except GraphQLError as error:
                raise Rejected([error]) from None
            prepared.first_fields[name] = limits.first_fields(prepared.document, operation)
        return operation
