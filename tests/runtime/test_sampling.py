"""Which requests are traced, and that nothing is instrumented for the others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.sdk.trace import TracerProvider
from starlette.types import Receive, Scope, Send

from isthmus import tracing
from isthmus.runtime import tracing as telling

SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NOT_SAMPLED = SAMPLED[:-2] + "00"


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Tracing as it would be set up, without a collector."""

    def choose(ratio: float, *, honour_parent: bool = False) -> TracerProvider:
        choice, provider = telling._Choice(ratio, honour_parent), TracerProvider(sampler=telling._Roots())
        monkeypatch.setattr(telling, "_choice", choice)
        tracing.install(telling._Telling(provider.get_tracer("tests"), choice))
        return provider

    yield choose
    tracing.install(None)


@pytest.mark.parametrize(
    ("ratio", "honour_parent", "carrier", "traced"),
    [
        (1.0, False, None, True),
        (0.0, False, None, False),
        (0.0, False, SAMPLED, False),  # a client does not decide how much is traced
        (1.0, False, NOT_SAMPLED, True),
        (0.0, True, SAMPLED, True),  # a gateway of ours does
        (1.0, True, NOT_SAMPLED, False),
        (1.0, True, None, True),
    ],
)
async def test_the_choice_is_made_before_anything_is_traced(
    chosen: Any, ratio: float, honour_parent: bool, carrier: str | None, traced: bool
) -> None:
    provider = chosen(ratio, honour_parent=honour_parent)
    seen: list[tuple[bool, bool]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with tracing.span("a field"):
            seen.append((is_instrumentation_enabled(), tracing.carrier() is not None))

    spans = telling.ServerSpans(app, provider)
    headers = [] if carrier is None else [(b"traceparent", carrier.encode())]
    scope = {
        "type": "http",
        "method": "POST",
        "scheme": "http",
        "path": "/graphql",
        "query_string": b"",
        "headers": headers,
    }
    await spans(scope, _nothing, _nothing)

    assert seen == [(traced, traced)]
    assert is_instrumentation_enabled(), "only within the request"


def test_an_operation_at_a_socket_is_chosen_by_itself(chosen: Any) -> None:
    for ratio in (0.0, 1.0):
        chosen(ratio)
        with tracing.span("an operation"), tracing.span("its field"):
            assert (tracing.carrier() is not None) is bool(ratio)
            assert is_instrumentation_enabled() is bool(ratio)


def test_a_commit_without_a_trace_in_it_has_its_statements_left_alone(chosen: Any) -> None:
    chosen(1.0)
    with tracing.shared("commit", lambda: [(None, "one")]) as carriers:
        assert (carriers, is_instrumentation_enabled()) == ({}, False)
    with tracing.shared("commit", lambda: [(None, "one"), (SAMPLED, "two")]) as carriers:
        assert (set(carriers), is_instrumentation_enabled()) == ({SAMPLED}, True)


async def _nothing(*_: Any) -> Any:
    return None
