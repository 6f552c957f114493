"""What Prometheus and traces are told of operations. Labels come from the schema and from registered documents, never from a client's text.

A client may name an operation as it likes, and a new name would be a new time series for ever: so a name counts only where its
document was registered (trusted documents); any other is `other`, and none is `anonymous`. The root field says what was asked for
either way.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from graphql import FieldNode
from prometheus_client import Counter, Histogram

from isthmus import tracing
from isthmus.graphql.documents import Prepared
from isthmus.graphql.errors import ErrorCode

ANONYMOUS, OTHER, SEVERAL = "anonymous", "other", "several"

_duration = Histogram(
    "isthmus_graphql_operation_duration_seconds",
    "Queries and mutations that were executed. outcome: ok, or the code of the first error.",
    ["kind", "operation", "field", "outcome"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
_refused = Counter(
    "isthmus_graphql_refused_total",
    "Requests that were answered before anything was executed, by the code of the first error.",
    ["outcome"],
)
_messages = Counter(
    "isthmus_graphql_messages_total",
    "Messages of subscriptions, counted where each is sent. outcome: ok, or the code of the first error.",
    ["operation", "field", "outcome"],
)
_dropped = Counter("isthmus_live_dropped_total", "Sockets and streams dropped because their peer had stopped reading.")
for _code in ErrorCode:
    _refused.labels(
        _code.value
    )  # zero from the start: a rate cannot be taken of a series that begins at its first error


def operation_of(prepared: Prepared) -> str:
    """The operation's name where it may be a label."""
    name = prepared.operation_name
    if name is None:
        return ANONYMOUS
    return name if prepared.trusted else OTHER


def field_of(prepared: Prepared) -> str:
    """The root field asked for; `several` where it is not one. Valid documents name only what the schema has."""
    selections = prepared.operation.selection_set.selections
    only = selections[0] if len(selections) == 1 else None
    return only.name.value if isinstance(only, FieldNode) else SEVERAL


def span_of(prepared: Prepared) -> AbstractContextManager[None]:
    """Without the document and its variables: only what may be a label may be in a trace."""
    if not tracing.on():
        return tracing.span("")
    about = {"graphql.operation.type": prepared.kind.value, "graphql.operation.name": operation_of(prepared)}
    return tracing.span(f"{prepared.kind.value} {field_of(prepared)}", **about)


def executed(prepared: Prepared, outcome: str, seconds: float) -> None:
    _duration.labels(prepared.kind.value, operation_of(prepared), field_of(prepared), outcome).observe(seconds)


class Deliveries:
    """Messages of one kind, each counted where it is sent, in `untold`. A hundred thousand a second are too many for a lock each: whoever
    sends them lets `tell` say them to the series from time to time."""

    __slots__ = ("_series", "untold")

    def __init__(self, prepared: Prepared, outcome: str) -> None:
        self._series = _messages.labels(operation_of(prepared), field_of(prepared), outcome)
        self.untold = 0

    def tell(self) -> None:
        untold, self.untold = self.untold, 0
        self._series.inc(untold)


def dropped() -> None:
    _dropped.inc()


def refused(outcome: str) -> None:
    _refused.labels(outcome).inc()
