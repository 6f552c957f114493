"""What a client asks, whatever it came in by: the parameters of one GraphQL request, of the right types."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from isthmus.graphql.errors import BadUserInput

#: Where clients name a document that they do not send: the GraphQL-over-HTTP appendix on persisted documents, Meta's, and Relay's.
_ID_FIELDS = ("documentId", "doc_id", "id")
_SHA256 = re.compile(r"(?:sha256:)?([0-9a-fA-F]{64})")


@dataclass(frozen=True)
class Call:
    """`query` is the document's text, where it was sent; `digest` the SHA-256 that the client gives as its name. At least one is there."""

    query: str | None
    variables: Mapping[str, Any] | None = None
    operation_name: str | None = None
    extensions: Mapping[str, Any] | None = None
    digest: bytes | None = None

    @classmethod
    def of(cls, body: Any) -> Call:
        """Raises BadUserInput."""
        if not isinstance(body, dict):
            raise BadUserInput("The body must be one JSON object with a query; batches are not taken.")
        query, name = body.get("query"), body.get("operationName")
        if not isinstance(name, str | None):
            raise BadUserInput("operationName: must be a string.")
        for field in ("variables", "extensions"):
            if not isinstance(body.get(field), dict | None):
                raise BadUserInput(f"{field}: must be an object.")
        digest = _digest(body)
        if not isinstance(query, str | None) or not (query or digest):
            raise BadUserInput("query: give the document as a string, or name it by its SHA-256.")
        return cls(query or None, body.get("variables"), name, body.get("extensions"), digest)


def names_document(body: Mapping[str, Any]) -> bool:
    """Whether the request means to name its document, rightly or not."""
    extensions = body.get("extensions")
    persisted = isinstance(extensions, dict) and "persistedQuery" in extensions
    return persisted or any(isinstance(body.get(field), str) for field in _ID_FIELDS)


def _digest(body: Mapping[str, Any]) -> bytes | None:
    """However it is written: by `documentId`, by Relay's `doc_id` or `id`, or as Apollo's automatic persisted queries have it."""
    found = set()
    for field in _ID_FIELDS:
        # `id` beside a text may be anything of the client's own.
        if body.get(field) is not None and (field == "documentId" or not body.get("query")):
            found.add(_sha256(field, body[field]))
    persisted = (body.get("extensions") or {}).get("persistedQuery")
    if persisted is not None:
        if not isinstance(persisted, dict) or persisted.get("version", 1) != 1:
            raise BadUserInput("extensions.persistedQuery: must be an object of version 1 with a sha256Hash.")
        found.add(_sha256("extensions.persistedQuery.sha256Hash", persisted.get("sha256Hash")))
    if len(found) > 1:
        raise BadUserInput("The request names two documents.")
    return found.pop() if found else None


def _sha256(field: str, given: Any) -> bytes:
    match = _SHA256.fullmatch(given) if isinstance(given, str) else None
    if match is None:
        raise BadUserInput(f"{field}: give the SHA-256 of the document's text as 64 hexadecimal digits.")
    return bytes.fromhex(match[1])
