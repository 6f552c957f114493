"""Spans of ours, wherever in the product they are; nothing at all where tracing is off.

What traces is installed at the start of a process (runtime/tracing.py), so that nobody else imports the SDK, and a span that is off
costs a call and an empty context manager.

A trace crosses the store and the bus as a *carrier*: W3C's `traceparent` of a span that is sampled, kept in the event's metadata and in
the header of the same name. Work that many traces share (a commit, a transaction of the projections) is one span that links to all
of them, with a twin of the same times in each of the other traces: whoever looks at one trace sees the whole road.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TypeAlias

Value: TypeAlias = str | int | bool
#: A carrier (None: not sampled), and the correlation id that belongs to it.
Origin: TypeAlias = tuple[str | None, str]

CARRIER = "traceparent"


class Tracing(Protocol):
    """The port. Nothing of it raises."""

    def span(self, name: str, attributes: Mapping[str, Value]) -> AbstractContextManager[None]: ...

    def shared(self, name: str, origins: Iterable[Origin]) -> AbstractContextManager[Mapping[str, str]]: ...

    def carrier(self) -> str | None: ...

    def trace_id(self) -> str | None: ...

    def note(self, attributes: Mapping[str, Value]) -> None: ...


_NOTHING: AbstractContextManager[None] = nullcontext()
_NOBODY: AbstractContextManager[Mapping[str, str]] = nullcontext({})
_tracing: Tracing | None = None


def install(tracing: Tracing | None) -> None:
    global _tracing
    _tracing = tracing


def on() -> bool:
    return _tracing is not None


def span(name: str, **attributes: Value) -> AbstractContextManager[None]:
    """Around a piece of work, as a child of what is under way. No person's data, no secret and no client's text in attributes."""
    return _NOTHING if _tracing is None else _tracing.span(name, attributes)


def shared(name: str, origins: Callable[[], Iterable[Origin]]) -> AbstractContextManager[Mapping[str, str]]:
    """Around work done for many. Gives, for each carrier, that of the span in its trace; `origins` is asked only where tracing is on."""
    return _NOBODY if _tracing is None else _tracing.shared(name, origins())


def carrier() -> str | None:
    """Of the span that is under way, where it is sampled."""
    return None if _tracing is None else _tracing.carrier()


def trace_id() -> str | None:
    """Of the span that is under way, for log lines."""
    return None if _tracing is None else _tracing.trace_id()


def note(**attributes: Value) -> None:
    """On the span that is under way."""
    if _tracing is not None:
        _tracing.note(attributes)
