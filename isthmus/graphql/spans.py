"""Spans of operations: one for each root field. Spans of every field would cost more than the fields."""

from __future__ import annotations

from collections.abc import Callable
from inspect import isawaitable
from typing import Any

from graphql import GraphQLSchema

from isthmus import tracing


def trace_roots(schema: GraphQLSchema) -> None:
    """Put a span around each field of Query and Mutation. For processes that trace; the others have none of it."""
    for root in (schema.query_type, schema.mutation_type):
        for name, field in (root.fields if root else {}).items():
            assert field.resolve is not None, "every root field has a resolver"
            field.resolve = _traced(f"{root.name}.{name}" if root else name, field.resolve)


def _traced(name: str, inner: Callable[..., Any]) -> Callable[..., Any]:
    async def resolve(root: Any, info: Any, /, **arguments: Any) -> Any:
        with tracing.span(name):
            answer = inner(root, info, **arguments)
            return await answer if isawaitable(answer) else answer

    return resolve
