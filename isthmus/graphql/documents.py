"""From text to something that may be executed: parse, weigh, validate, pick the operation, coerce its variables.

One way for all transports. In production only what was published is read at all. What is valid is kept by the text's SHA-256, so
that a client that sends the same document again pays for none of it but the variables.
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
from isthmus.graphql.errors import (
    ApiError,
    BadUserInput,
    DocumentNotTrusted,
    ErrorCode,
    Forbidden,
    PersistedQueryNotFound,
    QueryTooComplex,
    classify,
)
from isthmus.graphql.limits import Limits, Weighed, weigh
from isthmus.graphql.services import TrustedDocuments

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


@dataclass(frozen=True)
class _Kept:
    text: str
    document: DocumentNode
    weighed: Weighed


class Documents:
    def __init__(
        self, schema: GraphQLSchema, limits: Limits, *, tokens_max: int, trusted: TrustedDocuments, development: bool
    ) -> None:
        """`development`: any document is taken, and errors suggest names."""
        self._schema = schema
        self._limits = limits
        self._tokens_max = tokens_max
        self._trusted = trusted
        self._development = development
        self._hide_suggestions = not development
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()

    async def prepare(self, call: Call, *, may_introspect: bool) -> Prepared:
        """Raises Refused."""
        given = call.variables or {}
        digest, text, published = await self._text(call)
        trusted = published or self._development
        if not trusted and not may_introspect:
            raise Refused([DocumentNotTrusted()])  # before it is read at all
        kept = self._document(digest, text, given)
        document, weighed = kept.document, kept.weighed
        if not trusted and not weighed.only_introspects:
            raise Refused([DocumentNotTrusted()])
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
        return Prepared(text, document, operation, given, published)

    def names_in(self, text: str) -> list[str]:
        """The operations of a document that would be served, were it published; "" for one without a name. Raises Refused."""
        document = self._document(_sha256(text), text, {}).document
        operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
        return [node.name.value if node.name else "" for node in operations]

    async def _text(self, call: Call) -> tuple[bytes, str, bool]:
        """The document's SHA-256, always computed here; its text; and whether it was published. Raises Refused."""
        if call.query is not None:
            digest = _sha256(call.query)
            if call.digest not in (None, digest):
                raise Refused([BadUserInput("The document is another one than its SHA-256 says.")])
            # In development it runs either way, so that nothing is worth a look at the database.
            published = self._trusted.knows(digest)
            if not published and not self._development:
                published = await self._trusted.find(digest) is not None
            return digest, call.query, published
        assert call.digest is not None, "a call has a text or a digest"
        text = await self._trusted.find(call.digest)
        if text is not None:
            return call.digest, text, True
        if self._development and call.digest in self._kept:
            # Apollo's automatic persisted queries: it was sent before, with its text.
            return call.digest, self._kept[call.digest].text, False
        raise Refused([PersistedQueryNotFound()])

    def _document(self, digest: bytes, text: str, variables: Mapping[str, Any]) -> _Kept:
        kept = self._kept.get(digest)
        try:
            if kept is not None:
                self._kept.move_to_end(digest)
                if kept.weighed.pages_vary:
                    weigh(self._schema, kept.document, variables, self._limits)
                return kept
            document = self._parse(text)
            weighed = weigh(self._schema, document, variables, self._limits)
        except ApiError as error:
            raise Refused([error]) from None
        errors = validate(self._schema, document, max_errors=_ERRORS_MAX, hide_suggestions=self._hide_suggestions)
        if errors:
            raise Refused([_clients(error) for error in errors])
        kept = self._kept[digest] = _Kept(text, document, weighed)
        if len(self._kept) > _KEPT_MAX:
            self._kept.popitem(last=False)
        return kept

    def _parse(self, text: str) -> DocumentNode:
        try:
            return parse(text, max_tokens=self._tokens_max)
        except GraphQLSyntaxError as error:
            if "nested too deeply" in error.message or "Parsing aborted" in error.message:
                raise QueryTooComplex(
                    f"The document has more than {self._tokens_max} tokens, or is nested too deeply."
                ) from None
            raise Refused([error]) from None


def _sha256(text: str) -> bytes:
    try:
        return hashlib.sha256(text.encode()).digest()
    except UnicodeEncodeError:
        raise Refused([BadUserInput("The document is not Unicode text.")]) from None


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
