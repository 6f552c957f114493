"""GraphQL over WebSocket: close codes as the protocol says, and streams that end with their token."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, suppress
from datetime import timedelta
from typing import Any
from unittest.mock import Mock
from uuid import uuid4

import pytest
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState
from strawberry.http.exceptions import WebSocketDisconnected
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from isthmus.graphql import websocket
from isthmus.graphql.ws_protocol import ABORT
from tests.api.conftest import CONTRACT, Person, Served, deposit, running, token
from tests.api.socket_client import Client, connected

CHANGED = """subscription($ids: [ID!]) { balanceChanged(accountIds: $ids) {
    version account { id name } balance { posted { amount } } cause { eventType correlationId } } }"""


async def test_a_query_and_a_mutation_run_over_the_socket(served: Served, ada: Person) -> None:
    wish = {"asset": "EUR", "name": "Socket", "idempotencyKey": uuid4().hex}
    async with connected(served) as client:
        await client.sign_in(ada.token)
        await client.subscribe(
            CONTRACT, {"input": wish}, operationName="OpenAccount", extensions={"correlationId": "ws-1"}
        )
        opened = await client.next()
        done = await client.receive()
        position = opened["data"]["openAccount"]["position"]
        await client.subscribe("{ viewer { accounts { totalCount } } }", extensions={"position": position})
        asked = await client.next()

    assert done == {"id": "1", "type": "complete"}
    assert opened["extensions"]["correlationId"] == "ws-1"
    assert asked["data"]["viewer"]["accounts"]["totalCount"] == 1
    assert asked["extensions"]["correlationId"]


@pytest.mark.parametrize(
    "message",
    [
        "{", "[]", "null", "1", '"x"', "{}", '{"type": 1}', '{"type": "nope"}', '{"type": "ping", "payload": 1}',
        '{"type": "connection_init", "payload": []}', '{"type": "subscribe"}', '{"type": "subscribe", "id": "", "payload": {"query": "x"}}',
        '{"type": "subscribe", "id": 1, "payload": {"query": "x"}}', '{"type": "subscribe", "id": "1", "payload": null}',
        '{"type": "subscribe", "id": "1", "payload": {"query": 1}}', '{"type": "complete"}', '{"type": "complete", "id": ""}',
        '{"type": "subscribe", "id": "1", "payload": {"query": "{ __typename }", "variables": []}}',
        '{"type": "subscribe", "id": "1", "payload": {"query": "{ __typename }", "extensions": 1}}',
        '{"type": "subscribe", "id": "1", "payload": {"query": "{ __typename }", "operationName": []}}',
        "[" * 50_000 + "]" * 50_000, '{"type": "ping", "payload": {"x": "' + "x" * 200_000 + '"}}', b"{}",
        '{"type": "ping", "payload": {"x": "' + "€" * 34_000 + '"}}', '{"type": "ping", "payload": {"x": "' + "𝄞" * 25_000 + '"}}',
    ],
    ids=lambda message: repr(message[:60]),
)  # fmt: skip
async def test_a_bad_message_closes_4400(served: Served, ada: Person, message: str | bytes) -> None:
    async with connected(served) as client:
        await client.sign_in(ada.token)
        await client.socket.send(message)

        assert await client.closed() == 4400


async def test_a_message_may_be_as_long_as_the_limit_in_whatever_script(served: Served, ada: Person) -> None:
    """100,000 bytes in UTF-8, to the byte."""
    async with connected(served) as client:
        await client.sign_in(ada.token)
        text = ""
        for sign in "x€":
            frame = '{"type": "ping", "payload": {"x": "%s"}}'
            room = 100_000 - len(frame % "")
            text = frame % (sign * (room // len(sign.encode())) + "x" * (room % len(sign.encode())))
            assert len(text.encode()) == 100_000
            await client.socket.send(text)
            assert (await client.receive())["type"] == "pong"
        await client.socket.send(text + " ")
        assert await client.closed() == 4400


async def test_subscribing_before_the_acknowledgement_closes_4401(served: Served) -> None:
    async with connected(served) as client:
        await client.subscribe("{ __typename }")

        assert await client.closed() == 4401


@pytest.mark.parametrize(
    "payload",
    [
        None,
        {},
        {"Authorization": 1},
        {"Authorization": "x"},
        {"Authorization": "Bearer x"},
        {"authorization": "Basic x"},
        {"Authorization": f"Bearer {token('late', seconds=-1)}"},
    ],
)
async def test_a_bad_token_closes_4403_at_once(served: Served, payload: Any) -> None:
    async with connected(served) as client:
        await client.send(
            {"type": "connection_init"} if payload is None else {"type": "connection_init", "payload": payload}
        )

        assert await client.closed(2) == 4403


async def test_a_good_token_closes_4403_when_it_ends_in_mid_stream(served: Served, ada: Person) -> None:
    ada.open()
    async with connected(served) as client:
        await client.sign_in(token(ada.subject, seconds=0.8))
        await client.subscribe(CHANGED)
        await client.next()

        assert await client.closed(3) == 4403


@pytest.mark.parametrize("protocol", [None, "graphql-ws"])
async def test_another_sub_protocol_closes_4406(served: Served, protocol: str | None) -> None:
    if protocol is None:
        async with connected(served, None) as client:
            assert await client.closed() == 4406
    else:
        with pytest.raises(Exception):  # noqa: B017  # the client itself gives up where its protocol is not taken
            async with connected(served, protocol) as client:
                await client.receive()


async def test_a_second_init_closes_4429(served: Served, ada: Person) -> None:
    async with connected(served) as client:
        await client.sign_in(ada.token)
        await client.send({"type": "connection_init", "payload": {"Authorization": f"Bearer {ada.token}"}})

        assert await client.closed() == 4429


async def test_a_doubled_id_closes_4409(served: Served, ada: Person) -> None:
    async with connected(served) as client:
        await client.sign_in(ada.token)
        await client.subscribe(CHANGED)
        await client.subscribe(CHANGED)

        assert await client.closed() == 4409


async def test_an_id_is_free_again_once_its_operation_is_over(served: Served, ada: Person) -> None:
    async with connected(served) as client:
        await client.sign_in(ada.token)
        for _ in range(3):
            await client.subscribe("{ viewer { id } }")
            assert (await client.next())["data"]
            assert (await client.receive())["type"] == "complete"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1.evil.example"])
async def test_a_foreign_origin_gets_no_socket(served: Served, origin: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connected(served, origin=origin):
            pass

    assert refused.value.response.status_code == 403


async def test_a_listed_origin_gets_one(served: Served, ada: Person) -> None:
    async with connected(served, origin="https://app.example") as client:
        await client.sign_in(ada.token)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{", "BAD_USER_INPUT"),
        ("{ nope }", "BAD_USER_INPUT"),
        ("subscription { balanceChanged(accountIds: 1.5) { version } }", "BAD_USER_INPUT"),
        ("{ viewer { " + " ".join(f"a{n}: id" for n in range(20)) + " } }", "QUERY_TOO_COMPLEX"),
    ],
)
async def test_a_wrong_document_is_an_error_message(served: Served, ada: Person, query: str, code: str) -> None:
    async with connected(served) as client:
        await client.sign_in(ada.token)
        await client.subscribe(query)
        message = await client.receive()

    assert message["type"] == "error"
    assert message["payload"][0]["extensions"]["code"] == code
    assert message["payload"][0]["extensions"]["correlationId"]


async def test_a_scope_that_is_missing_is_an_error_not_a_close(served: Served, ada: Person) -> None:
    freeze = 'mutation { freezeAccount(input: {accountId: "x", idempotencyKey: "k"}) { replayed } }'
    async with connected(served) as client:
        await client.sign_in(ada.token)
        await client.subscribe(freeze)
        answer = await client.next()

    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"


async def test_a_position_in_the_extensions_waits_too(served: Served, ada: Person) -> None:
    async with connected(served) as client:
        await client.sign_in(ada.token)
        await client.subscribe("{ viewer { id } }", extensions={"position": "999999999"})
        late = await client.receive()
        await client.subscribe("{ viewer { id } }", extensions={"position": 5})
        wrong = await client.receive()

    assert late["payload"][0]["extensions"]["code"] == "NOT_YET_VISIBLE"
    assert wrong["payload"][0]["extensions"]["code"] == "BAD_USER_INPUT"


async def test_too_many_operations_on_one_socket_are_refused(served: Served, ada: Person) -> None:
    async with connected(served) as client:
        await client.sign_in(ada.token)
        for number in range(101):
            await client.subscribe(CHANGED, id=str(number))
        message = await client.receive()

    assert message["id"] == "100"
    assert message["payload"][0]["extensions"]["code"] == "RATE_LIMITED"


async def test_balances_come_first_as_they_are_then_one_by_one(served: Served, ada: Person, olga: Person) -> None:
    account = ada.open(name="Live")
    deposit(olga, account, "10.00")
    async with connected(served) as client:
        await client.sign_in(ada.token)
        await client.subscribe(CHANGED, {"ids": [account]})
        messages = [(await client.next())["data"]["balanceChanged"]]
        for amount in ("1.00", "2.00", "3.00"):
            await asyncio.to_thread(deposit, olga, account, amount)
        messages += [(await client.next())["data"]["balanceChanged"] for _ in range(3)]

    assert [message["version"] for message in messages] == [1, 2, 3, 4]
    assert [message["balance"]["posted"]["amount"] for message in messages] == ["10.00", "11.00", "13.00", "16.00"]
    assert [message["cause"] and message["cause"]["eventType"] for message in messages] == [None] + [
        "JournalPosted"
    ] * 3
    assert {message["account"]["name"] for message in messages} == {"Live"}


async def test_without_ids_accounts_opened_later_come_too(served: Served, ada: Person) -> None:
    async with connected(served) as client:
        await client.sign_in(ada.token)
        await client.subscribe(CHANGED)
        await asyncio.sleep(0.2)
        account = await asyncio.to_thread(ada.open)
        message = await client.next()

    assert message["data"]["balanceChanged"]["account"]["id"] == account


async def test_foreign_missing_and_malformed_ids_are_silent_alike(served: Served, ada: Person, grace: Person) -> None:
    foreign = grace.open()
    for given in (foreign, foreign[:-2] + "AA", "zzz", "", "\x00"):
        async with connected(served) as client:
            await client.sign_in(ada.token)
            await client.subscribe(CHANGED, {"ids": [given]})
            await client.subscribe("{ viewer { id } }", id="2")
            assert (await client.receive())["id"] == "2"
            assert (await client.receive()) == {"id": "2", "type": "complete"}
            with pytest.raises(TimeoutError):
                await client.receive(0.2)


async def test_a_socket_that_never_signs_in_closes_4408(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = served.app.state.endpoint
    assert endpoint.connection_init_wait_timeout == timedelta(seconds=10)
    monkeypatch.setattr(endpoint, "connection_init_wait_timeout", timedelta(seconds=0.2))

    async with connected(served) as client:
        assert await client.closed(2) == 4408


async def test_a_server_that_goes_away_closes_1001() -> None:
    async def accept(socket: WebSocket) -> None:
        await socket.accept()
        with suppress(WebSocketDisconnect):
            await socket.receive_text()

    def stopped() -> None:
        stack.close()

    stack = ExitStack()
    url = stack.enter_context(running(Starlette(routes=[WebSocketRoute("/", accept)])))
    async with connect(url.replace("http", "ws", 1)) as socket:
        stopping = asyncio.create_task(asyncio.to_thread(stopped))

        assert await Client(socket).closed() == 1001
    await stopping


async def test_a_peer_that_has_stopped_reading_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sending to it and closing it both wait for what it never takes: neither may wait for ever."""
    monkeypatch.setattr(websocket, "STUCK_S", 0.05)
    dropped: list[bool] = []
    stuck = Mock(
        scope={"extensions": {ABORT: lambda: dropped.append(True)}}, application_state=WebSocketState.CONNECTED
    )
    stuck.send_text = stuck.close = lambda *_, **__: asyncio.sleep(3_600)
    adapter = websocket.SocketAdapter(Mock(), Mock(), stuck)
    with pytest.raises(WebSocketDisconnected):
        await adapter.send_json({})
    assert dropped == [True]
    closing = asyncio.create_task(adapter.close(4403, "Forbidden"))
    await asyncio.sleep(0.2)
    closing.cancel()
    assert dropped == [True, True]
