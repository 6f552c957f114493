"""Delivery in groups: executed once for all who see the same, right for all who do not, and no slower for one that stops reading."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any
from unittest.mock import Mock
from uuid import uuid4

import httpx
import pytest
from prometheus_client import REGISTRY
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.streams import StreamReader

from isthmus.graphql import ws_protocol
from isthmus.graphql.context import SharedContext
from isthmus.graphql.ids import account_key
from isthmus.read_models.database import Sight
from isthmus.read_models.feed_wire import BalanceMessage, Cause
from tests.api.conftest import Person, Served, deposit
from tests.api.socket_client import Client, connected

CHANGED = """subscription($ids: [ID!], $first: Int = 1) { balanceChanged(accountIds: $ids) {
    version position lagged { fromPosition toPosition } cause { eventType } balance { posted { amount } }
    account { id name transactions(first: $first) { edges { node { journal { entries { account { id } } } } } } } } }"""
BRIEF = """subscription($ids: [ID!]) { balanceChanged(accountIds: $ids) {
    version lagged { fromPosition toPosition } cause { correlationId } } }"""


def rendered() -> float:
    return REGISTRY.get_sample_value("isthmus_live_rendered_total") or 0.0


def groups() -> float:
    return REGISTRY.get_sample_value("isthmus_live_groups") or 0.0


async def change(client: Client) -> Any:
    payload = await client.next()
    assert "errors" not in payload, payload
    return payload["data"]["balanceChanged"]


async def test_owner_and_operator_watch_one_account_and_each_sees_what_is_theirs_to_see(
    served: Served, ada: Person, grace: Person, olga: Person
) -> None:
    account, theirs = ada.open(name="Shared"), grace.open()
    deposit(olga, account, "50.00")
    async with connected(served) as one, connected(served) as other, connected(served) as operator:
        for client, person in ((one, ada), (other, ada), (operator, olga)):
            await client.sign_in(person.token)
            await client.subscribe(CHANGED, {"ids": [account]}, id=uuid4().hex)
            assert (await change(client))["version"] == 1
        before, messages = rendered(), []
        await asyncio.to_thread(ada.transfer, account, theirs, "1.00")
        messages = [await change(client) for client in (one, other, operator)]

        assert rendered() - before == 2, "once for the owner's two sockets, once for the operator"

    def seen(message: Any) -> set[str | None]:
        (edge,) = message["account"]["transactions"]["edges"]
        return {entry["account"] and entry["account"]["id"] for entry in edge["node"]["journal"]["entries"]}

    assert [seen(message) for message in messages] == [{account, None}, {account, None}, {account, theirs}]
    assert {message["account"]["name"] for message in messages} == {"Shared"}
    assert {message["balance"]["posted"]["amount"] for message in messages} == {"49.00"}


async def test_every_message_that_is_sent_is_counted_and_no_other(served: Served, ada: Person, olga: Person) -> None:
    """Whether it was rendered for this subscriber, or stood ready; over a socket, or as an event."""
    account = ada.open()
    sent = {"Authorization": f"Bearer {ada.token}", "Accept": "text/event-stream"}
    body = {"query": BRIEF, "variables": {"ids": [account]}}
    async with connected(served) as one, connected(served) as other, httpx.AsyncClient(headers=sent) as http:
        before = delivered()
        for client in (one, other):
            await client.sign_in(ada.token)
            for id in ("1", "2", "3"):
                await client.subscribe(BRIEF, {"ids": [account]}, id=id)
                await change(client)
        await counted(before + 6)
        async with http.stream("POST", served.graphql, json=body) as events:
            lines = events.aiter_lines()
            await _event(lines)
            await counted(before + 7)
            for number in range(1, 4):
                await asyncio.to_thread(deposit, olga, account, "1.00")
                for client in (one, other):
                    for _ in range(3):
                        await change(client)
                await _event(lines)
                await counted(before + 7 + 7 * number)


async def _event(lines: AsyncIterator[str]) -> None:
    async with asyncio.timeout(10):
        async for line in lines:
            if line.startswith("data:"):
                return


async def counted(messages: float) -> None:
    """As many, and it stays there."""
    async with asyncio.timeout(10):
        while delivered() < messages:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert delivered() == messages


def delivered() -> float:
    labels = {"operation": "anonymous", "field": "balanceChanged", "outcome": "ok"}
    return REGISTRY.get_sample_value("isthmus_graphql_messages_total", labels) or 0.0


async def test_strangers_share_nothing(served: Served, ada: Person, grace: Person, olga: Person) -> None:
    mine, theirs = ada.open(name="Mine"), grace.open(name="Theirs")
    async with connected(served) as one, connected(served) as other:
        for client, person in ((one, ada), (other, grace)):
            await client.sign_in(person.token)
            await client.subscribe(CHANGED)
        got = [(await change(client))["account"] for client in (one, other)]
        await asyncio.to_thread(deposit, olga, mine, "1.00")
        assert (await change(one))["account"]["name"] == "Mine"
        with pytest.raises(TimeoutError):
            await other.receive(0.3)

    assert [(account["id"], account["name"]) for account in got] == [(mine, "Mine"), (theirs, "Theirs")]


async def test_the_same_question_in_other_words_is_one_group_and_another_is_not(served: Served, ada: Person) -> None:
    account = ada.open()
    same: list[tuple[str, dict[str, Any]]] = [
        ("subscription { balanceChanged { version account { id } } }", {}),
        ("subscription($ids: [ID!]) { # a comment\n balanceChanged(accountIds: $ids) { version, account { id } } }",
         {"ids": [account]}),
        ("subscription($x: [ID!]) { ...F } fragment F on Subscription { balanceChanged(accountIds: $x) { version account { id } } }",
         {"x": [account]}),
    ]  # fmt: skip
    other: list[tuple[str, dict[str, Any]]] = [
        ("subscription { balanceChanged { account { id } version } }", {}),
        ("subscription { changed: balanceChanged { version account { id } } }", {}),
        ("subscription($w: Boolean!) { balanceChanged { version account @include(if: $w) { id } } }", {"w": True}),
        ("subscription($w: Boolean!) { balanceChanged { version account @include(if: $w) { id } } }", {"w": False}),
    ]
    at_first = groups()
    async with connected(served) as client:
        await client.sign_in(ada.token)
        for n, (query, variables) in enumerate(same + other):
            await client.subscribe(query, variables, id=str(n))
            data = (await client.next())["data"]
            (message,) = data.values()
            assert ("account" in message) is (variables.get("w") is not False)

        assert groups() - at_first == 1 + len(other)
    for _ in range(100):
        if groups() == at_first:
            break
        await asyncio.sleep(0.02)
    assert groups() == at_first, "whoever leaves leaves nothing behind"


@pytest.mark.parametrize("id", ["1", "é" * 300, '"\\', "x" * 126, "☃"])
async def test_ids_and_correlation_ids_are_each_subscribers_own(served: Served, ada: Person, id: str) -> None:
    ada.open()
    async with connected(served, compression="deflate") as client:
        await client.sign_in(ada.token)
        await client.subscribe(CHANGED, id=id, extensions={"correlationId": "mine-1"})
        await client.subscribe(CHANGED, id="other", extensions={"correlationId": "mine-2"})
        got = [await client.receive() for _ in range(2)]

    assert {(m["id"], m["payload"]["extensions"]["correlationId"]) for m in got} == {
        (id, "mine-1"),
        ("other", "mine-2"),
    }


def test_what_is_shared_knows_nobody() -> None:
    shared = SharedContext(Mock(), Sight(uuid4()), 1.0)
    for name in ("caller", "correlation_id", "prepared"):
        with pytest.raises(AttributeError, match=name):
            getattr(shared, name)


@pytest.mark.parametrize("size", [1, 125, 126, 65_535, 65_536])
def test_frames_are_as_the_protocol_has_them(size: int) -> None:
    written: list[bytes] = []
    protocol = Mock(close_sent=False, disconnected=False)
    protocol.conn.state, protocol.transport.is_closing = State.OPEN, lambda: False
    protocol.transport.write = written.append
    ws_protocol.Frames(protocol).write(b"x", [b"y" * (size - 1), b"z"])
    stream = StreamReader()
    stream.feed_data(written[0])
    parsing = Frame.parse(stream.read_exact, mask=False)
    with pytest.raises(StopIteration) as parsed:
        next(parsing)

    assert parsed.value.value == Frame(Opcode.TEXT, b"x" + b"y" * (size - 1))
    assert written[0].endswith(b"\x81\x02xz"), "the next one in the same piece"
    assert len(written) == 1


@pytest.mark.parametrize(
    "closing", [{"close_sent": True}, {"disconnected": True}, {"state": State.CLOSING}, {"is_closing": True}]
)
def test_nothing_is_written_to_a_connection_that_closes(closing: dict[str, Any]) -> None:
    protocol = Mock(close_sent=closing.get("close_sent", False), disconnected=closing.get("disconnected", False))
    protocol.conn.state = closing.get("state", State.OPEN)
    protocol.transport.is_closing = lambda: closing.get("is_closing", False)
    ws_protocol.Frames(protocol).write(b"x", [b"y"])

    protocol.transport.write.assert_not_called()


def storm(served: Served, account: str, first: int, count: int) -> Callable[[], None]:
    """Changes of one account as the feed passes them on, quicker than any ledger makes them."""
    feed, key = served.app.state.running.services.feed, account_key(account)
    cause = Cause(uuid4(), "JournalPosted", "x" * 20_000)  # long, to fill the buffers of two kernels soon
    sample = BalanceMessage(key, "EUR", 0, 0, Decimal(1), Decimal(0), Decimal(0), served.now(), cause)

    def pass_on() -> None:
        for version in range(first, first + count):
            feed._watches.deliver(replace(sample, version=version, position=1_000_000 + version))

    return pass_on


@pytest.fixture
def small_buffer() -> Iterator[socket.socket]:
    """A client's socket that takes little before it stops."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    yield made
    made.close()


async def stopped_reader(served: Served, made: socket.socket) -> dict[str, Any]:
    host, port = served.url.removeprefix("http://").split(":")
    made.connect((host, int(port)))
    made.setblocking(False)
    return {"sock": made, "max_queue": 1, "ping_interval": None, "compression": None}


async def test_what_comes_together_leaves_in_one_piece(
    served: Served, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    account, pieces, write = ada.open(), list[int](), ws_protocol.Frames.write

    def counted(frames: ws_protocol.Frames, head: bytes, bodies: Sequence[bytes]) -> bool:
        pieces.append(len(bodies))
        return write(frames, head, bodies)

    async with connected(served) as one, connected(served) as other:
        for client in (one, other):
            await client.sign_in(ada.token)
            await client.subscribe(BRIEF, {"ids": [account]})
            assert (await change(client))["version"] == 0
        monkeypatch.setattr(ws_protocol.Frames, "write", counted)
        assert served.loop is not None
        served.loop.call_soon_threadsafe(storm(served, account, 1, 3))
        for client in (one, other):
            assert [(await change(client))["version"] for _ in range(3)] == [1, 2, 3]

    assert sorted(pieces) == [1, 1, 1, 3], "whoever comes first waits for each to be rendered"


async def test_a_reader_that_stops_costs_the_others_nothing_and_learns_what_it_missed(
    served: Served, ada: Person, small_buffer: socket.socket
) -> None:
    account = ada.open()
    options = await stopped_reader(served, small_buffer)
    async with connected(served) as quick, connected(served, **options) as slow:
        for client in (quick, slow):
            await client.sign_in(ada.token)
            await client.subscribe(BRIEF, {"ids": [account]})
            assert (await change(client))["version"] == 0
        total, at_once, got = 600, 10, []
        for first in range(1, total + 1, at_once):
            assert served.loop is not None
            served.loop.call_soon_threadsafe(storm(served, account, first, at_once))
            got += [await change(quick) for _ in range(at_once)]

        assert [one["version"] for one in got] == list(range(1, total + 1))
        assert {one["lagged"] for one in got} == {None}
        late = [await change(slow)]
        while late[-1]["version"] < total:
            late.append(await change(slow))
        lagged = [one for one in late if one["lagged"]]
        assert lagged, "the test filled its buffers"
        expected, position = 1, "0"
        for one in late:
            if one["lagged"]:
                assert int(one["lagged"]["fromPosition"]) == int(position)
                assert int(one["lagged"]["toPosition"]) == 1_000_000 + one["version"]
            else:
                assert one["version"] == expected
            expected, position = one["version"] + 1, str(1_000_000 + one["version"])
        assert len(late) < total, "what waits for it is bounded"


async def test_a_reader_that_never_comes_back_is_dropped(
    served: Served, ada: Person, small_buffer: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ws_protocol, "STUCK_S", 0.2)
    account = ada.open()
    dropped = REGISTRY.get_sample_value("isthmus_live_dropped_total") or 0.0
    at_first = groups()
    async with connected(served, **await stopped_reader(served, small_buffer)) as slow:
        await slow.sign_in(ada.token)
        await slow.subscribe(BRIEF, {"ids": [account]})
        assert (await change(slow))["version"] == 0
        assert served.loop is not None
        for first in range(1, 4_000, 10):
            served.loop.call_soon_threadsafe(storm(served, account, first, 10))
            await asyncio.sleep(0.002)
            if (REGISTRY.get_sample_value("isthmus_live_dropped_total") or 0.0) > dropped:
                break
        else:
            pytest.fail("it was not dropped")
        with pytest.raises(ConnectionClosed):
            while True:
                json.loads(await slow.socket.recv())
    assert groups() == at_first


async def test_one_subscriber_that_a_bug_keeps_from_being_told_costs_the_others_nothing(
    served: Served, ada: Person, olga: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    account, first, write = ada.open(), [True], ws_protocol.Frames.write

    def failing_once(frames: ws_protocol.Frames, head: bytes, bodies: Sequence[bytes]) -> bool:
        if first and any(b'"eventType":"JournalPosted"' in body for body in bodies):
            first.clear()
            raise KeyError("a bug")
        return write(frames, head, bodies)

    monkeypatch.setattr(ws_protocol.Frames, "write", failing_once)
    async with connected(served) as one, connected(served) as other:
        for client in (one, other):
            await client.sign_in(ada.token)
            await client.subscribe(CHANGED, {"ids": [account]}, id=uuid4().hex)
            await change(client)
        told = []
        for amount in ("1.00", "2.00"):
            await asyncio.to_thread(deposit, olga, account, amount)
            told.append(await asyncio.wait_for(_either(one, other), 20))

    assert first == []
    assert [message["version"] for message in told] == [1, 2]


async def _either(one: Client, other: Client) -> Any:
    """Whichever is told."""
    tasks = [asyncio.create_task(change(client)) for client in (one, other)]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    return done.pop().result()
