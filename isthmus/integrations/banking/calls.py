"""How a provider is called: within a deadline, again where that is safe, and not at all for a while once it has failed too often.

Retries are stamina's, the circuit breaker is purgatory's. A call that is not `safe` (asking twice would do it twice) is made once; when
it then does not answer, its outcome is unknown, which is told as such.

A breaker is the process's own: what one process cannot reach another may, and none of them depends on a third to know. So each finds
out for itself, with a handful of calls, and the gauge is of the process that shows it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import stamina
from prometheus_client import Counter, Gauge, Histogram
from purgatory import AsyncCircuitBreakerFactory
from purgatory.domain.model import OpenedState

from isthmus.domain.banking import (
    ChangedWhilePaging,
    Malformed,
    OutcomeUnknown,
    ProviderFault,
    ProviderRefused,
    ProviderUnavailable,
)

#: Longest that a provider's own wish to be left alone is waited for within a call.
_PATIENCE_S = 2.0

_calls = Counter(
    "isthmus_provider_calls_total",
    "Calls of a bank provider by outcome: ok, refused, unavailable, unknown, malformed, open (not made: its breaker is open).",
    ["provider", "call", "outcome"],
)
_seconds = Histogram("isthmus_provider_call_seconds", "How long a provider took to answer.", ["provider", "call"])
_open = Gauge(
    "isthmus_provider_breaker_open", "1 while a provider is not called, because it failed too often.", ["provider"]
)

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Manners:
    """`deadline_s` is for one attempt, and holds however slowly an answer drips in. So many failures in a row open the breaker."""

    deadline_s: float = 8.0
    attempts: int = 3
    breaker_failures: int = 5
    breaker_rest_s: float = 30.0


class Calls:
    """One per provider and process."""

    def __init__(self, provider: str, manners: Manners | None = None) -> None:
        self.provider = provider
        self._manners = manners or Manners()
        # What a provider refuses says nothing against its health.
        self._breakers = AsyncCircuitBreakerFactory(
            default_threshold=self._manners.breaker_failures,
            default_ttl=self._manners.breaker_rest_s,
            exclude=[ProviderRefused, ChangedWhilePaging],
        )
        self._breakers.add_listener(self._told)
        _open.labels(provider).set(0)

    async def run(self, name: str, call: Callable[[], Awaitable[Answer]], *, safe: bool) -> Answer:
        """Raises ProviderFault only."""
        retrying = stamina.retry_context(
            on=_again,
            attempts=self._manners.attempts if safe else 1,
            timeout=None,
            wait_initial=0.1,
            wait_max=_PATIENCE_S,
            wait_jitter=0.2,
        )
        async for attempt in retrying:
            with attempt:
                return await self._once(name, call, safe=safe)
        raise AssertionError("the last attempt returns or raises")

    async def _once(self, name: str, call: Callable[[], Awaitable[Answer]], *, safe: bool) -> Answer:
        begun, outcome = time.monotonic(), "failed"
        try:
            async with self._guarded():
                try:
                    async with asyncio.timeout(self._manners.deadline_s):
                        answer = await call()
                except TimeoutError:
                    raise silence(self.provider, safe=safe) from None
            outcome = "ok"
            return answer
        except OpenedState:
            outcome = "open"
            raise ProviderUnavailable(
                f"{self.provider} is left alone for a while", self._manners.breaker_rest_s
            ) from None
        except ProviderFault as fault:
            outcome = _outcome(fault)
            raise
        finally:
            _calls.labels(self.provider, name, outcome).inc()
            _seconds.labels(self.provider, name).observe(time.monotonic() - begun)

    @asynccontextmanager
    async def _guarded(self) -> AsyncIterator[None]:
        """Within the breaker. A caller who gives up says nothing of the provider, neither good nor bad."""
        breaker = await self._breakers.get_breaker(self.provider)
        await breaker.__aenter__()
        try:
            yield
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            await breaker.__aexit__(type(error), error, error.__traceback__)
            raise
        await breaker.__aexit__(None, None, None)

    def _told(self, name: str, event: str, about: Any) -> None:
        if event == "state_changed":
            _open.labels(name).set(1 if about.state == "opened" else 0)


def silence(provider: str, *, safe: bool) -> ProviderFault:
    """A provider was asked and did not answer."""
    if safe:
        return ProviderUnavailable(f"{provider} does not answer")
    return OutcomeUnknown(f"{provider} did not answer: it may have done what was asked")


def _again(error: Exception) -> bool | timedelta:
    if not isinstance(error, ProviderUnavailable):
        return False
    wait_s = error.retry_after_s
    if wait_s is None:
        return True
    return timedelta(seconds=wait_s) if wait_s <= _PATIENCE_S else False


def _outcome(fault: ProviderFault) -> str:
    match fault:
        case ProviderUnavailable():
            return "unavailable"
        case OutcomeUnknown():
            return "unknown"
        case Malformed():
            return "malformed"
        case _:
            return "refused"
