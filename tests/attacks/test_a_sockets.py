"""Rows A12 to A14: WebSockets from elsewhere, out of turn, out of shape, and after their time."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from tests.api.conftest import CONTRACT, Person, Served, token
from tests.api.socket_client import Client, connected
from tests.api.test_websocket import CHANGED
from tests.attacks.count import Row

EVIL = """https://evil.example http://app.example https://app.example.evil.example https://evilapp.example https://app.example:444
    https://app.example,https://evil.example null NULL file:// data: *
    chrome-extension://x http://127.0.0.1 http://localhost https://xn--pp-jia.example https://* https://app.example@evil.example
    //app.example app.example https://app.example%00.evil.example about:blank"""


async def code_after(client: Client, *messages: Any) -> int:
    """The close code; the server may be quicker than we are."""
    with suppress(ConnectionClosed):
        for message in messages:
            await client.socket.send(message if isinstance(message, str | bytes) else json.dumps(message))
    return await client.closed(20)


async def test_a12_a_page_of_another_origin_gets_no_socket(served: Served, ada: Person, row: Row) -> None:
    async with connected(served, origin="https://app.example") as client:
        await client.sign_in(ada.token)
    for origin in EVIL.split():
        with row.case(origin):
            with pytest.raises(InvalidStatus) as refused:
                async with connected(served, origin=origin):
                    pass
            assert refused.value.response.status_code == 403
    for cookie in (
        "isthmus_session=x",
        "session=x; other=y",
        f"token={ada.token}",
        f"Authorization=Bearer {ada.token}",
    ):
        with row.case(("a cookie, and no origin", cookie[:20])):
            async with connected(served, additional_headers={"Cookie": cookie}) as client:
                assert await code_after(client, {"type": "connection_init"}) == 4403, "a cookie signs nobody in"
        with row.case(("a cookie, and another origin", cookie[:20])), pytest.raises(InvalidStatus):
            async with connected(served, origin="https://evil.example", additional_headers={"Cookie": cookie}):
                pass


JUNK: list[Any] = [None, True, 1, 1.5, "", [], ["x"], {}, {"a": 1}]


def misshapen() -> Iterator[str | bytes]:
    """What is no message of the protocol: whatever its JSON, its type, its id or its payload."""
    yield from (
        "",
        " ",
        "{",
        "}",
        "[",
        "nul",
        "NaN",
        "'x'",
        '{"type"',
        "\0",
        "\ufeff{}",
        '{"type":"ping"}x',
        '{"type":"ping"}{"type":"ping"}',
    )
    yield from (json.dumps(value) for value in [*JUNK, "ping", [1], [{"type": "ping"}], {"id": "1"}, {"payload": {}}])
    for kind in (
        *JUNK,
        "nope",
        "PING",
        "ping ",
        "start",
        "stop",
        "data",
        "connection_terminate",
        "ka",
        "next",
        "error",
        "connection_ack",
    ):
        yield json.dumps({"type": kind, "id": "1", "payload": {"query": "{ viewer { id } }"}})
    for kind in ("ping", "pong"):
        yield from (
            json.dumps({"type": kind, "payload": value}) for value in JUNK if not isinstance(value, dict | None)
        )
    for value in JUNK:
        if not (isinstance(value, str) and value):
            yield json.dumps({"type": "subscribe", "id": value, "payload": {"query": "{ viewer { id } }"}})
            yield json.dumps({"type": "complete", "id": value})
        yield json.dumps({"type": "subscribe", "id": "1", "payload": value})
        if not isinstance(value, str):
            yield json.dumps({"type": "subscribe", "id": "1", "payload": {"query": value}})
            if value is not None:
                yield json.dumps(
                    {"type": "subscribe", "id": "1", "payload": {"query": "{ viewer { id } }", "operationName": value}}
                )
        if not isinstance(value, dict | None):
            for name in ("variables", "extensions"):
                yield json.dumps(
                    {"type": "subscribe", "id": "1", "payload": {"query": "{ viewer { id } }", name: value}}
                )
    for depth in (2_000, 20_000):
        yield "[" * depth + "]" * depth
        yield '{"type":"ping","payload":' + '{"a":' * depth + "1" + "}" * (depth + 1)
    for size in (100_001, 500_000, 900_000):
        yield '{"type": "ping", "payload": {"x": "' + "x" * size + '"}}'
    yield from (b"", b"{}", b"\xff\xfe", b'{"type": "ping"}', b"\x00" * 1_000)


async def test_a13_a_message_that_is_none_closes_4400(served: Served, ada: Person, row: Row) -> None:
    for message in misshapen():
        for signed_in in (True, False):
            with row.case((message[:80], signed_in)):
                async with connected(served) as client:
                    if signed_in:
                        await client.sign_in(ada.token)
                    await client.socket.send(message)
                    assert await client.closed() == 4400


async def test_a13_a_message_out_of_turn_has_a_code_of_its_own(served: Served, ada: Person, row: Row) -> None:
    signed = {"type": "connection_init", "payload": {"Authorization": f"Bearer {ada.token}"}}
    ask = {"type": "subscribe", "id": "1", "payload": {"query": CHANGED}}
    turns: dict[str, tuple[list[Any], int]] = {
        "subscribe first": ([ask], 4401),
        "subscribe, then init": ([ask, signed], 4401),
        "a second init": ([signed, signed], 4429),
        "a third init": ([signed, ask, signed], 4429),
        "a second init without a token": ([signed, {"type": "connection_init"}], 4429),
        "an id that is in use": ([signed, ask, ask], 4409),
        "an id that is in use, for a query": ([signed, ask, ask | {"payload": {"query": "{ viewer { id } }"}}], 4409),
        "no token": ([{"type": "connection_init"}], 4403),
    }
    await asyncio.to_thread(ada.open)
    for name, (messages, code) in turns.items():
        with row.case(name):
            async with connected(served) as client:
                for message in messages:
                    await client.send(message)
                assert await client.closed() == code
    good = ada.token
    for bad in (
        "",
        "x",
        good[:-1] + "x",
        f"{good} {good}",
        f" {good[:5]}",
        token("late", seconds=-1),
        "é",
        "a" * 9_000,
        "null",
        "undefined",
    ):
        for scheme in ("Bearer ", "bearer ", "Basic ", "", "Bearer\t", "Token "):
            with row.case((scheme, bad[:40])):
                async with connected(served) as client:
                    await client.send({"type": "connection_init", "payload": {"Authorization": f"{scheme}{bad}"}})
                    assert await client.closed() == 4403
    with row.case("complete of what never began"):
        async with connected(served) as client:
            await client.sign_in(good)
            await client.send({"type": "complete", "id": "never"})
            await client.send({"type": "ping"})
            assert await client.receive() == {"type": "pong"}, "a late complete is no fault (the two may cross)"


async def test_a13_no_older_protocol_is_spoken(served: Served, ada: Person, row: Row) -> None:
    """CVE-2026-35523: over the legacy protocol an operation could begin before anybody had signed in."""
    begin = [
        {"type": "start", "id": "1", "payload": {"query": "{ viewer { id } }"}},
        {"type": "subscribe", "id": "1", "payload": {"query": CHANGED}},
    ]
    for protocols in (
        ["graphql-ws"],
        ["graphql"],
        ["GRAPHQL-TRANSPORT-WS"],
        ["graphql-transport-ws2"],
        ["graphql-ws", "json"],
        None,
    ):
        for message in begin:
            with row.case((protocols, message["type"])):
                given: Any = protocols
                try:
                    async with connect(served.socket, subprotocols=given) as socket:
                        assert await code_after(Client(socket), message) == 4406
                except InvalidHandshake:
                    continue  # it was not even opened


async def test_a13_floods_and_splinters_are_answered_or_closed(served: Served, ada: Person, row: Row) -> None:
    async with connected(served) as client:
        await client.sign_in(ada.token)
        ping = json.dumps({"type": "ping", "payload": {"n": "x" * 9_900}})
        with row.case("10,000 fragments"):
            await client.socket.send(iter(ping[start : start + 1] for start in range(len(ping))))
            assert (await client.receive(20))["type"] == "pong"
        with row.case("2,000 pings at once"):
            await asyncio.gather(*(client.send({"type": "ping"}) for _ in range(2_000)))
            for _ in range(2_000):
                assert (await client.receive(20))["type"] == "pong"
        with row.case("2,000 pings of the transport"):
            waiting = [await client.socket.ping() for _ in range(2_000)]
            await asyncio.wait_for(asyncio.gather(*waiting), 20)
        with row.case("500 completes"):
            for number in range(500):
                await client.send({"type": "complete", "id": str(number)})
        await client.subscribe("{ viewer { id } }")
        assert (await client.next())["data"]["viewer"]["id"], "and it is still there"
    with row.case("16 MB"):
        async with connected(served) as client:
            await client.sign_in(ada.token)
            code = await code_after(client, "x" * 17_000_000)
            assert code in (1009, 4400)


async def test_a13_many_that_say_nothing_are_closed_in_time(
    served: Served, monkeypatch: pytest.MonkeyPatch, row: Row
) -> None:
    monkeypatch.setattr(served.app.state.endpoint, "connection_init_wait_timeout", timedelta(seconds=0.3))

    async def silent(talk: bool) -> int:
        async with connected(served) as client:
            if talk:
                await client.send({"type": "ping"})
            return await client.closed(10)

    for code in await asyncio.gather(*(silent(number % 2 == 0) for number in range(30))):
        with row.case(code):
            assert code == 4408


async def test_a14_who_one_is_was_settled_when_the_socket_was_opened(
    served: Served, ada: Person, grace: Person, row: Row
) -> None:
    """Nothing in a later message makes the caller somebody else, and nothing in the first is run."""
    stolen = f"Bearer {grace.token}"
    whoami = "{ viewer { subject } }"
    async with connected(served) as client:
        await client.send(
            {
                "type": "connection_init",
                "payload": {
                    "Authorization": f"Bearer {ada.token}",
                    "query": whoami,
                    "id": "0",
                    "variables": {},
                    "operations": [whoami],
                },
            }
        )
        with row.case("a query in connection_init"):
            assert await client.receive() == {"type": "connection_ack"}
        inside: list[dict[str, Any]] = [
            {"Authorization": stolen},
            {"headers": {"authorization": stolen}},
            {"token": grace.token},
            {"correlationId": str(grace.id)},
        ]
        places: list[dict[str, Any]] = [
            {name: part} for name in ("extensions", "variables", "headers", "context") for part in inside
        ]
        places += inside[:3]
        for number, place in enumerate(places):
            with row.case(place):
                await client.send({"type": "subscribe", "id": str(number), "payload": {"query": whoami} | place})
                answer = await client.receive()
                shown = answer["payload"]["data"]["viewer"]["subject"] if answer["type"] == "next" else None
                assert shown in (ada.subject, None)
                if answer["type"] == "next":
                    assert await client.receive() == {"type": "complete", "id": str(number)}
        with row.case("signing in again"):
            await client.send({"type": "connection_init", "payload": {"Authorization": stolen}})
            assert await client.closed() == 4429


async def test_a14_after_the_tokens_end_nothing_runs(served: Served, ada: Person, row: Row) -> None:
    """Whether the socket's timer or the operation itself finds out first."""
    for waits in (0.35, 0.5):
        for query in (CONTRACT, "{ viewer { id } }"):
            with row.case((waits, query[:20])):
                name = f"late {uuid4()}"
                wish = {"asset": "EUR", "name": name, "idempotencyKey": uuid4().hex}
                async with connected(served) as client:
                    await client.sign_in(token(ada.subject, seconds=0.3))
                    await asyncio.sleep(waits)
                    payload = {"query": query, "variables": {"input": wish}}
                    if query is CONTRACT:
                        payload["operationName"] = "OpenAccount"
                    assert await code_after(client, {"type": "subscribe", "id": "1", "payload": payload}) == 4403
                accounts = await asyncio.to_thread(ada.ask, "{ viewer { accounts { edges { node { name } } } } }")
                assert name not in str(accounts)


async def test_a14_each_of_many_operations_is_authorised_afresh(served: Served, ada: Person, row: Row) -> None:
    """The first may, the next may not, and so on: what one was allowed says nothing about the other."""
    allowed_one = "{ viewer { id } }"
    forbidden = 'mutation { freezeAccount(input: {accountId: "x", idempotencyKey: "k"}) { position } }'
    async with connected(served) as client:
        await client.sign_in(ada.token)
        for number, query in enumerate(itertools.islice(itertools.cycle((allowed_one, forbidden)), 40)):
            await client.subscribe(query, id=str(number))
            answer = await client.next()
            assert await client.receive() == {"type": "complete", "id": str(number)}
            if query is forbidden:
                with row.case(number):
                    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
            else:
                assert answer["data"]["viewer"]["id"]


async def test_a7_of_ten_thousand_subscriptions_a_hundred_are_taken(served: Served, ada: Person, row: Row) -> None:
    """The others are refused one by one, with a code, and the socket and what runs on it live on."""
    await asyncio.to_thread(ada.open)
    async with connected(served) as client:
        await client.sign_in(ada.token)
        for number in range(100):
            await client.subscribe(CHANGED, id=f"taken {number}")
        assert {(await client.receive(20))["id"] for _ in range(100)} == {f"taken {number}" for number in range(100)}
        for start in range(0, 9_900, 300):
            for number in range(start, start + 300):
                await client.subscribe(CHANGED, id=str(number))
            for number in range(start, start + 300):
                answer = await client.receive(20)
                with row.case(number):
                    assert (answer["type"], answer["id"]) == ("error", str(number))
                    assert answer["payload"][0]["extensions"]["code"] == "RATE_LIMITED"
        await client.send({"type": "complete", "id": "taken 7"})
        await client.subscribe("{ viewer { id } }", id="a place is free again")
        assert (await client.next())["data"]["viewer"]["id"]
