"""From text to something that may be executed: parse, weigh, validate, pick the operation, coerce its variables.

One way for all transports. What is valid is kept by the text's hash, so that a client that sends the same document again pays
for none of it but the variables.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    OperationDefinitionNode,
    OperationType,
    get_variable_values,
    parse,
    validate,
)

from isthmus.auth.scopes import Scope
from isthmus.graphql.call import Call
from isthmus.graphql.errors import ApiError, BadUserInput, ErrorCode, Forbidden, QueryTooComplex, classify
from isthmus.graphql.limits import Limits, Weighed, weigh

_KEPT_MAX = 512
_ERRORS_MAX = 5


@dataclass(frozen=True)
class Prepared:
    """A document that is valid, the operation to run in it, and the variables as they came."""

    text: str
    document: DocumentNode
    operation: OperationDefinitionNode
    variables: Mapping[str, Any]
    #: From a registered document: its operation's name is one of a known set.
    trusted: bool = False

    @property
    def kind(self) -> OperationType:
        return self.operation.operation

    @property
    def operation_name(self) -> str | None:
        return self.operation.name.value if self.operation.name else None


class Refused(Exception):
    """Nothing was executed; `errors` says why."""

    def __init__(self, errors: Sequence[GraphQLError]) -> None:
        super().__init__(errors[0].message)
        self.errors = list(errors)


class Documents:
    def __init__(self, schema: GraphQLSchema, limits: Limits, *, tokens_max: int, suggestions: bool) -> None:
        self._schema = schema
        self._limits = limits
        self._tokens_max = tokens_max
        self._hide_suggestions = not suggestions
        self._kept: OrderedDict[bytes, tuple[DocumentNode, Weighed]] = OrderedDict()

    def prepare(self, call: Call, *, may_introspect: bool) -> Prepared:
        """Raises Refused."""
        given = call.variables or {}
        document, weighed = self._document(call.query, given)
        if weighed.introspects and not may_introspect:
            raise Refused([Forbidden(f"Reading the schema needs the scope {Scope.SCHEMA.value}.")])
        operation = _choose(document, call.operation_name)
        values = get_variable_values(
            self._schema,
            operation.variable_definitions or (),
            dict(given),
            max_errors=_ERRORS_MAX,
            hide_suggestions=self._hide_suggestions,
        )
        if isinstance(values, list):
            raise Refused([_clients(error) for error in values])
        return Prepared(call.query, document, operation, given)

    def _document(self, text: str, variables: Mapping[str, Any]) -> tuple[DocumentNode, Weighed]:
        try:
            key = hashlib.sha256(text.encode()).digest()
        except UnicodeEncodeError:
            raise Refused([BadUserInput("The document is not Unicode text.")]) from None
        kept = self._kept.get(key)
        try:
            if kept is not None:
                self._kept.move_to_end(key)
                document, weighed = kept
                if weighed.pages_vary:
                    weigh(self._schema, document, variables, self._limits)
                return kept
            document = self._parse(text)
            weighed = weigh(self._schema, document, variables, self._limits)
        except ApiError as error:
            raise Refused([error]) from None
        errors = validate(self._schema, document, max_errors=_ERRORS_MAX, hide_suggestions=self._hide_suggestions)
        if errors:
            raise Refused([_clients(error) for error in errors])
        self._kept[key] = (document, weighed)
        if len(self._kept) > _KEPT_MAX:
            self._kept.popitem(last=False)
        return document, weighed

    def _parse(self, text: str) -> DocumentNode:
        try:
            return parse(text, max_tokens=self._tokens_max)
        except GraphQLSyntaxError as error:
            if "nested too deeply" in error.message or "Parsing aborted" in error.message:
                raise QueryTooComplex(
                    f"The document has more than {self._tokens_max} tokens, or is nested too deeply."
                ) from None
            raise Refused([error]) from None


def _clients(error: GraphQLError) -> GraphQLError:
    """Whatever goes wrong while a document is read is the document's fault, also where the library stumbles over it."""
    return BadUserInput("A value in it cannot be read.") if classify(error) is ErrorCode.INTERNAL else error


def _choose(document: DocumentNode, name: str | None) -> OperationDefinitionNode:
    operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    if name is None:
        if len(operations) == 1:
            return operations[0]
        raise Refused([BadUserInput("The document has several operations: name one in operationName.")])
    for node in operations:
        if node.name is not None and node.name.value == name:
            return node
    raise Refused([BadUserInput("The document has no operation of that name.")])
