"""What a client asks, whatever it came in by: the parameters of one GraphQL request, of the right types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from isthmus.graphql.errors import BadUserInput


@dataclass(frozen=True)
class Call:
    """A request's parameters, of the right types."""

    query: str
    variables: Mapping[str, Any] | None
    operation_name: str | None
    extensions: Mapping[str, Any] | None

    @classmethod
    def of(cls, body: Any) -> Call:
        """Raises BadUserInput."""
        if not isinstance(body, dict):
            raise BadUserInput("The body must be one JSON object with a query; batches are not taken.")
        query, name = body.get("query"), body.get("operationName")
        if not isinstance(query, str) or not query:
            raise BadUserInput("query: give the document as a string.")
        if not isinstance(name, str | None):
            raise BadUserInput("operationName: must be a string.")
        for field in ("variables", "extensions"):
            if not isinstance(body.get(field), dict | None):
                raise BadUserInput(f"{field}: must be an object.")
        return cls(query, body.get("variables"), name, body.get("extensions"))
