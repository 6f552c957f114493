"""The door's limits as a client meets them: one typed error each, told over HTTP and WebSocket alike."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import httpx
import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from isthmus.app import create_app
from isthmus.auth.api_keys import new_key
from isthmus.graphql.error_catalogue import _SETTINGS, LIMITS, page
from isthmus.graphql.json_bodies import TooDeep, decode
from isthmus.runtime.servers import EmbeddedServers
from isthmus.settings import ApiSettings, load_settings
from tests.api.conftest import Person, Served, running, wiring_of
from tests.api.socket_client import connected

ASK = "{ viewer { id } }"


@pytest.fixture(scope="module")
def strict(servers: EmbeddedServers, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An API whose limits are small enough to meet."""
    served = Served()
    settings = load_settings(
        data_dir=tmp_path_factory.mktemp("strict"),
        api={"mode": "development", "user_requests_per_minute": 5, "sockets_per_user_max": 2, "json_depth_max": 8,
             "trusted_proxies": ("127.0.0.1",), "address_requests_per_minute": 20},
    )  # fmt: skip
    served.app = create_app(settings, wiring_of(served, servers, template))
    with running(served.app) as served.url:
        yield served


@pytest.fixture(autouse=True)
async def _nothing_counted_yet(servers: EmbeddedServers) -> None:
    """Other tests' requests came from this address too, under limits that they never met."""
    async with Redis.from_url(servers.redis_url) as redis:
        await redis.flushdb()


def ask(person: Person, address: str, token: str | None = None) -> httpx.Response:
    sent = {"Authorization": f"Bearer {token or person.token}", "X-Forwarded-For": address}
    return httpx.post(person.url, json={"query": ASK}, headers=sent)


def test_a_user_who_asks_too_much_is_told_when_to_come_again(strict: Served) -> None:
    ada, grace = Person(strict), Person(strict)

    answers = [ask(ada, f"192.0.2.{number}") for number in range(12)]

    late = answers[-1]
    assert [answer.status_code for answer in answers[:5]] == [200] * 5
    assert (late.status_code, late.json()["errors"][0]["extensions"]["code"]) == (429, "RATE_LIMITED")
    assert late.json()["errors"][0]["extensions"]["retryable"] is True
    wait_ms = late.json()["errors"][0]["extensions"]["retryAfterMs"]
    assert 0 < wait_ms / 1_000 <= int(late.headers["retry-after"]) <= 120
    assert "data" not in late.json()
    assert ask(grace, "192.0.2.1").status_code == 200, "another user at the same address"


def test_an_address_is_limited_whoever_it_says_it_is(strict: Served) -> None:
    """Wrong tokens too: guessing them is limited."""
    answers = [ask(Person(strict), "198.51.100.7", "nonsense" if number % 2 else None) for number in range(45)]

    statuses = [answer.status_code for answer in answers]
    assert statuses[:20] == [200, 401] * 10
    assert statuses[-1] == 429
    assert ask(Person(strict), "198.51.100.8").status_code == 200


def looked_up() -> float:
    """API keys of the right form for which the database was asked in vain."""
    return REGISTRY.get_sample_value("isthmus_api_keys_total", {"outcome": "unknown API key"}) or 0.0


def test_an_invented_key_from_an_address_over_its_limit_is_not_even_looked_up(strict: Served) -> None:
    before = looked_up()

    statuses = [ask(Person(strict), "198.51.100.9", new_key(uuid4())).status_code for _ in range(45)]

    assert statuses[-1] == 429
    assert statuses.count(401) >= 20
    assert looked_up() - before == statuses.count(401)


async def test_nor_over_websocket(strict: Served) -> None:
    before, codes = looked_up(), []
    for _ in range(45):
        async with connected(strict, additional_headers={"X-Forwarded-For": "198.51.100.10"}) as client:
            payload = {"Authorization": f"Bearer {new_key(uuid4())}"}
            await client.send({"type": "connection_init", "payload": payload})
            codes.append(await client.closed())

    assert codes[-1] == 1013
    assert codes.count(4403) >= 20
    assert looked_up() - before == codes.count(4403)


def test_one_users_refused_requests_are_not_charged_to_the_others_of_the_address(strict: Served) -> None:
    ada = Person(strict)

    mine = [ask(ada, "198.51.100.11").status_code for _ in range(30)]
    others = [ask(Person(strict), "198.51.100.11").status_code for _ in range(9)]

    assert mine.count(429) >= 19
    assert others == [200] * 9


async def test_over_websocket_it_is_an_error_message(strict: Served) -> None:
    ada = Person(strict)
    async with connected(strict) as client:
        await client.sign_in(ada.token)
        codes = []
        for number in range(12):
            await client.subscribe(ASK, id=str(number))
            message = await client.receive()
            if message["type"] == "error":
                codes.append(message["payload"][0]["extensions"])
            else:
                await client.receive()
    assert codes
    assert all(told["code"] == "RATE_LIMITED" and told["retryAfterMs"] > 0 for told in codes)


async def test_a7_a_user_has_so_many_sockets_and_gets_another_when_one_closes(strict: Served) -> None:
    """Row A7."""
    grace = Person(strict)
    async with connected(strict) as first, connected(strict) as second:
        await first.sign_in(grace.token)
        await second.sign_in(grace.token)
        async with connected(strict) as third:
            await third.send({"type": "connection_init", "payload": {"Authorization": f"Bearer {grace.token}"}})
            assert await third.closed() == 1013
    open_now = strict.app.state.endpoint.executor.open_connections
    async with asyncio.timeout(10):
        while open_now._open:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a7_event_streams_count_as_sockets_do(strict: Served) -> None:
    grace = Person(strict)
    sent = {"Authorization": f"Bearer {grace.token}", "Accept": "text/event-stream"}
    body = {"query": "subscription { balanceChanged { version } }"}
    async with httpx.AsyncClient(headers=sent) as http, AsyncExitStack() as stack:
        for _ in range(2):
            answer = await stack.enter_async_context(http.stream("POST", strict.graphql, json=body))
            assert answer.status_code == 200
        third = await http.post(strict.graphql, json=body)

    assert (third.status_code, third.json()["errors"][0]["extensions"]["code"]) == (429, "RATE_LIMITED")
    assert int(third.headers["retry-after"]) >= 1


async def test_a7_a_stream_too_many_reads_nothing(strict: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row A7: and a stream that could not begin leaves its place to the next."""
    grace, executor = Person(strict), strict.app.state.endpoint.executor
    opened: list[Any] = []
    subscribe = executor.services.feed.subscribe

    async def noted(*args: Any) -> Any:
        opened.append(args)
        return await subscribe(*args)

    monkeypatch.setattr(executor.services.feed, "subscribe", noted)
    sent = {"Authorization": f"Bearer {grace.token}", "Accept": "text/event-stream"}
    body = {"query": "subscription { balanceChanged { version } }"}
    wrong = {"query": 'subscription { balanceChanged(after: "999999999") { version } }'}
    async with httpx.AsyncClient(headers=sent) as http, AsyncExitStack() as stack:
        assert (await http.post(strict.graphql, json=wrong)).status_code in (400, 503)
        for _ in range(2):
            await stack.enter_async_context(http.stream("POST", strict.graphql, json=body))
        opened.clear()
        third = await http.post(strict.graphql, json=body)

    assert third.status_code == 429
    assert opened == []


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_json_that_is_too_deep_is_refused_before_it_is_decoded(strict: Served, opening: str) -> None:
    ada = Person(strict)
    closing = "]" if opening == "[" else "}"
    sent = {"Authorization": f"Bearer {ada.token}", "Content-Type": "application/json"}
    for depth, status in ((6, 200), (9, 400), (40_000 // len(opening), 400)):
        deep = opening * depth + "1" + closing * depth
        body = f'{{"query": "{ASK}", "variables": {{"x": {deep}}}}}'
        answer = httpx.post(strict.graphql, content=body, headers=sent)

        assert answer.status_code == status, answer.text
        if status == 400:
            assert answer.json()["errors"][0]["message"] == "The JSON is nested deeper than 8 levels."
    got = httpx.get(strict.graphql, params={"query": ASK, "variables": "[" * 9}, headers=sent)
    assert got.status_code == 400


@pytest.mark.parametrize(
    ("text", "deep"),
    [
        ('{"a": "[[[[[[[[[["}', False),
        (r'{"a": "\"[[[[[[[[[[", "b": [1, [2]]}', False),
        ("[[1], [2], [3], [4], [5], [6], [7]]", False),
        ("[" * 5, False),
        ("[[[[[[1]]]]]]", True),
        ('{"a": "\\\\", "b": [[[[[1]]]]]}', True),
    ],
)
def test_brackets_in_strings_are_no_depth(text: str, deep: bool) -> None:
    try:
        decode(text.encode(), 5)
        found = False
    except TooDeep:
        found = True
    except json.JSONDecodeError:
        found = False

    assert found is deep


def test_development_never_limits_what_one_machine_can_ask() -> None:
    def limits(mode: Any) -> tuple[int, ...]:
        api = ApiSettings(mode=mode)
        return (api.user_rate, api.address_rate, api.api_key_rate, api.sockets_max)

    assert limits("production") == (1_200, 6_000, 1_200, 100)
    assert min(limits("development")) >= 100_000
    assert ApiSettings(mode="development", user_requests_per_minute=7).user_rate == 7


def test_every_limit_stands_in_the_docs_with_its_number() -> None:
    """docs/errors.md is compared with the catalogue by its own test; here: no setting that limits is forgotten there."""
    limiting = {
        name for name in ApiSettings.model_fields if name.endswith(("_max", "_per_minute", "timeout_s", "wait_ms"))
    }

    assert {_SETTINGS.get(name, name) for _, name, _ in LIMITS} >= limiting - {"replay_max"}
    assert "| lexical tokens of a document | 1 000 | `ISTHMUS_API__TOKENS_MAX` | `QUERY_TOO_COMPLEX` |" in page()
