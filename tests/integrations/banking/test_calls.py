"""Rows F18 and F19: deadlines, who is asked again and when, and a provider that is left alone once it has failed too often."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import httpx
import purgatory.domain.model
import pytest
import stamina.instrumentation
from prometheus_client import REGISTRY

from isthmus.domain.banking import (
    AccessEnded,
    ChangedWhilePaging,
    Malformed,
    OutcomeUnknown,
    ProviderFault,
    ProviderRefused,
    ProviderUnavailable,
)
from isthmus.integrations.banking.calls import Calls, Manners
from isthmus.integrations.banking.json_http import JsonHttp, refusal_of

QUICK = Manners(deadline_s=0.1, attempts=3, breaker_failures=3, breaker_rest_s=30)


@dataclass
class Answers:
    """Gives these one after another, and the last again and again."""

    given: list[object]
    asked: int = 0

    async def __call__(self) -> object:
        one = self.given[min(self.asked, len(self.given) - 1)]
        self.asked += 1
        if isinstance(one, Exception):
            raise one
        if callable(one):
            return await one()
        return one


async def hang() -> None:
    await asyncio.sleep(60)


@pytest.fixture
def calls() -> Calls:
    return Calls(f"test-{uuid4().hex}", QUICK)


@pytest.fixture
def waits() -> Iterator[list[float]]:
    """For how long each retry waits."""
    told: list[float] = []
    stamina.instrumentation.set_on_retry_hooks([lambda details: told.append(details.wait_for)])
    yield told
    stamina.instrumentation.set_on_retry_hooks(None)


@dataclass
class Later:
    """The clock of the breakers, which can be moved."""

    ahead_s: float = 0.0
    time: Callable[[], float] = field(init=False)

    def __post_init__(self) -> None:
        self.time = lambda: time.time() + self.ahead_s


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Later:
    clock = Later()
    monkeypatch.setattr(purgatory.domain.model, "time", SimpleNamespace(time=clock.time))
    return clock


def gauge(calls: Calls) -> float | None:
    return REGISTRY.get_sample_value("isthmus_provider_breaker_open", {"provider": calls.provider})


def counted(calls: Calls, outcome: str) -> float | None:
    told = {"provider": calls.provider, "call": "x", "outcome": outcome}
    return REGISTRY.get_sample_value("isthmus_provider_calls_total", told)


async def fails(work: Awaitable[Any], kind: type[ProviderFault]) -> ProviderFault:
    with pytest.raises(kind) as raised:
        await work
    return raised.value


@pytest.mark.parametrize(("safe", "kind", "asked"), [(True, ProviderUnavailable, 3), (False, OutcomeUnknown, 1)])
async def test_f18_who_does_not_answer_in_time_is_asked_again_only_where_that_is_safe(
    calls: Calls, safe: bool, kind: type[ProviderFault], asked: int
) -> None:
    answers, begun = Answers([hang]), time.monotonic()

    await fails(calls.run("x", answers, safe=safe), kind)

    assert answers.asked == asked
    assert time.monotonic() - begun < 5, "three deadlines and two pauses are 1.1 s at most"


@pytest.mark.parametrize("fault", [OutcomeUnknown("?"), Malformed("x"), ProviderRefused("x"), ChangedWhilePaging("x")])
async def test_only_what_was_not_done_is_asked_again(calls: Calls, fault: ProviderFault) -> None:
    answers = Answers([fault])

    await fails(calls.run("x", answers, safe=True), type(fault))

    assert answers.asked == 1


async def test_f19_those_who_fail_together_come_back_apart(waits: list[float]) -> None:
    async def one(n: int) -> object:
        calls = Calls(f"apart-{n}", QUICK)
        return await calls.run("x", Answers([ProviderUnavailable("down"), n]), safe=True)

    assert await asyncio.gather(*(one(n) for n in range(8))) == list(range(8))

    assert len(waits) == 8
    assert len(set(waits)) > 4, "no two wait alike"
    assert all(0.1 <= wait <= 0.3 + 0.1 for wait in waits), waits


async def test_f19_a_breaker_opens_is_left_alone_and_tries_again(calls: Calls, later: Later) -> None:
    down, well = Answers([ProviderUnavailable("down", 60.0)]), Answers(["well"])
    for n in range(3):
        assert gauge(calls) == 0, n
        await fails(calls.run("x", down, safe=True), ProviderUnavailable)
    assert gauge(calls) == 1

    rest = await fails(calls.run("x", well, safe=True), ProviderUnavailable)
    assert isinstance(rest, ProviderUnavailable)
    assert (well.asked, rest.retry_after_s, counted(calls, "open")) == (0, 30, 1)

    later.ahead_s = 31
    await fails(calls.run("x", down, safe=True), ProviderUnavailable)
    assert (down.asked, gauge(calls)) == (4, 1), "half open, one failure is enough"
    await fails(calls.run("x", well, safe=True), ProviderUnavailable)

    later.ahead_s = 62
    assert await calls.run("x", well, safe=True) == "well"
    assert (well.asked, gauge(calls)) == (1, 0)
    for _ in range(2):
        await fails(calls.run("x", down, safe=True), ProviderUnavailable)
    assert gauge(calls) == 0, "it counts from the beginning again"


@pytest.mark.parametrize("fault", [ProviderRefused("no"), AccessEnded("no"), ChangedWhilePaging("x")])
async def test_what_a_provider_refuses_says_nothing_against_its_health(calls: Calls, fault: ProviderFault) -> None:
    for _ in range(5):
        await fails(calls.run("x", Answers([fault]), safe=True), type(fault))

    assert gauge(calls) == 0
    assert await calls.run("x", Answers(["well"]), safe=True) == "well"


async def test_a_caller_who_gives_up_says_nothing_of_the_provider(calls: Calls, later: Later) -> None:
    async def given_up() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await calls.run("x", Answers([hang]), safe=True)

    for _ in range(5):
        await given_up()
    assert gauge(calls) == 0
    down = Answers([ProviderUnavailable("down", 60.0)])
    for _ in range(3):
        await fails(calls.run("x", down, safe=True), ProviderUnavailable)
    later.ahead_s = 31
    await given_up()
    await fails(calls.run("x", down, safe=True), ProviderUnavailable)
    assert gauge(calls) == 1, "nor does it close what is half open"


async def test_each_process_has_a_breaker_of_its_own() -> None:
    one, other = Calls("shared-name", QUICK), Calls("shared-name", QUICK)
    for _ in range(3):
        await fails(one.run("x", Answers([ProviderUnavailable("down", 60.0)]), safe=True), ProviderUnavailable)

    assert await other.run("x", Answers(["well"]), safe=True) == "well"


# -- over HTTP ---------------------------------------------------------------------------------------------------------------------


def spoken(calls: Calls, *answers: httpx.Response | Exception) -> tuple[JsonHttp, list[float]]:
    """An HTTP client that is given these answers, and when it asked."""
    times: list[float] = []

    def answer(_: httpx.Request) -> httpx.Response:
        one = answers[min(len(times), len(answers) - 1)]
        times.append(time.monotonic())
        if isinstance(one, Exception):
            raise one
        return one

    http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    return JsonHttp(http, calls, "https://x.example", lambda status, _: refusal_of("X", status, ""), ("x-rest",)), times


def ask(http: JsonHttp, *, safe: bool) -> Awaitable[dict[str, int]]:
    return http.ask("x", "POST", "/x", dict[str, int], safe=safe)


WELL = httpx.Response(200, json={"a": 1})


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_f19_a_server_that_fails_is_asked_again_only_where_that_is_safe(calls: Calls, status: int) -> None:
    http, times = spoken(calls, httpx.Response(status), WELL)
    assert await ask(http, safe=True) == {"a": 1}
    assert len(times) == 2

    http, times = spoken(calls, httpx.Response(status), WELL)
    await fails(ask(http, safe=False), OutcomeUnknown)
    assert len(times) == 1


@pytest.mark.parametrize(
    ("broken", "unsafe"),
    [
        (httpx.ConnectError("no"), ProviderUnavailable),
        (httpx.ConnectTimeout("no"), ProviderUnavailable),
        (httpx.ReadError("reset"), OutcomeUnknown),
        (httpx.ReadTimeout("no"), OutcomeUnknown),
        (httpx.WriteError("reset"), OutcomeUnknown),
        (httpx.RemoteProtocolError("cut off"), OutcomeUnknown),
    ],
)
async def test_f18_f19_whoever_was_reached_may_have_done_it(
    calls: Calls, broken: Exception, unsafe: type[ProviderFault]
) -> None:
    http, times = spoken(calls, broken, WELL)
    assert await ask(http, safe=True) == {"a": 1}
    assert len(times) == 2

    http, _ = spoken(calls, broken, WELL)
    await fails(ask(http, safe=False), unsafe)


@pytest.mark.parametrize("status", [429, 503])
async def test_f19_who_wants_to_be_left_alone_for_a_moment_is(calls: Calls, status: int, waits: list[float]) -> None:
    http, times = spoken(calls, httpx.Response(status, headers={"Retry-After": "0.4"}), WELL)

    assert await ask(http, safe=True) == {"a": 1}

    assert waits == [0.4]
    assert times[1] - times[0] >= 0.4


@pytest.mark.parametrize(
    ("headers", "least", "most"),
    [
        ({"Retry-After": "3600"}, 3_600, 3_600),
        ({"x-rest": "5000", "Retry-After": "3"}, 5_000, 5_000),
        ({"Retry-After": "in an hour"}, 3_000, 3_600),
        ({}, 60, 60),
        ({"Retry-After": "soon"}, 60, 60),
        ({"Retry-After": "inf"}, 60, 60),
    ],
)
async def test_f19_who_wants_to_be_left_alone_for_long_is_not_asked_again_now(
    calls: Calls, headers: dict[str, str], least: float, most: float
) -> None:
    in_an_hour = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    told = {name: in_an_hour if value == "in an hour" else value for name, value in headers.items()}
    http, times = spoken(calls, httpx.Response(429, headers=told), WELL)

    fault = await fails(ask(http, safe=True), ProviderUnavailable)

    assert isinstance(fault, ProviderUnavailable)
    assert fault.retry_after_s is not None
    assert least <= fault.retry_after_s <= most
    assert len(times) == 1


async def test_an_answer_without_end_is_cut_off_and_a_redirect_is_not_followed(calls: Calls) -> None:
    async def drip() -> Any:
        while True:
            yield b"1" * 1_000_000
            await asyncio.sleep(0)

    http, _ = spoken(calls, httpx.Response(200, content=drip()))
    await fails(ask(http, safe=True), Malformed)
    http, times = spoken(calls, httpx.Response(307, headers={"Location": "https://evil.example/"}), WELL)
    await fails(ask(http, safe=True), Malformed)
    assert len(times) == 1
