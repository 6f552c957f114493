"""Subscribers in trouble, on real sockets: some that do not read, and those whose right is over."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from isthmus.auth.api_keys import RECHECK_S
from isthmus.domain.sca import CodeProof
from isthmus.domain.sca_answers import AnswerScaChallenge
from isthmus.graphql.ws_protocol import STUCK_S
from isthmus.runtime.wiring import write_side
from isthmus.settings import load_settings
from isthmus.write_models.envelope import Done, Envelope
from tests.end_to_end.client import PROTOCOL, Client
from tests.faults.open_loop import quantile
from tests.faults.system import System, funded, settle
from tests.faults.traffic import resident_mib

#: How many subscribers: FAULT_SOCKETS=1000 takes what the rows say.
SOCKETS = int(os.environ.get("FAULT_SOCKETS", "40"))
_BRIEF = "subscription($ids: [ID!]) { balanceChanged(accountIds: $ids) { version asOf lagged { toPosition } } }"
#: Many bytes a message, so that a reader that stops is noticed before a minute is over.
_LONG = """subscription($ids: [ID!]) { balanceChanged(accountIds: $ids) { version asOf lagged { toPosition } account {
    transactions(first: 100) { edges { cursor node { id status bookedAt description amount { amount asset } } } } } } }"""
#: Changes whose messages, of 20 kB and more, are more than the product and the system hold for one that does not read; some systems take
#: more, whatever a program asks of them. Whoever does not read for ten seconds is dropped: few first.
_FLOODS = (60, 250, 500)
_VERSION, _STAMP = re.compile(r'"version":(\d+)'), re.compile(r'"asOf":"([^"]+)"')


async def _subscribed(
    stack: AsyncExitStack, url: str, token: str | None, query: str, variables: dict[str, Any], **options: Any
) -> ClientConnection:
    """A socket of its own with one subscription, whose first message is there."""
    connection = await stack.enter_async_context(
        connect(
            url.replace("http", "ws", 1),
            subprotocols=[PROTOCOL],
            open_timeout=60,
            close_timeout=0.1,
            ping_interval=None,
            compression=None,
            max_size=None,
            **options,
        )
    )
    await connection.send(json.dumps({"type": "connection_init", "payload": {"Authorization": f"Bearer {token}"}}))
    assert json.loads(await asyncio.wait_for(connection.recv(), 60))["type"] == "connection_ack"
    payload = {"query": query, "variables": variables}
    await connection.send(json.dumps({"type": "subscribe", "id": "1", "payload": payload}))
    return connection


async def _stopped(stack: AsyncExitStack, url: str, token: str | None, ids: dict[str, Any]) -> _Stopped:
    """One that subscribes and reads no more. The system takes next to nothing for it: small segments, a small buffer."""
    where = httpx.URL(url)
    taken = socket.socket()
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
    taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
    taken.setblocking(False)
    await asyncio.get_running_loop().sock_connect(taken, (where.host, where.port))
    raw = stack.enter_context(taken.dup())
    connection = await _subscribed(stack, url, token, _LONG, ids, sock=taken)
    connection.transport.pause_reading()
    return _Stopped(connection, raw)


@dataclass
class _Stopped:
    connection: ClientConnection
    raw: socket.socket

    def read_again(self) -> None:
        self.raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1_000_000)
        self.connection.transport.resume_reading()

    async def one_byte_a_second(self) -> None:
        while await asyncio.get_running_loop().sock_recv(self.raw, 1):  # noqa: ASYNC110  # a pace, not a wait
            await asyncio.sleep(1)


def _version(frame: str | bytes) -> int:
    found = _VERSION.search(str(frame))
    assert found, frame
    return int(found.group(1))


async def _latencies(connection: ClientConnection, last: int) -> list[float]:
    """Seconds from commit to here of each message, up to the version `last`."""
    found = []
    while True:
        frame = str(await asyncio.wait_for(connection.recv(), 60))
        stamp = _STAMP.search(frame)
        assert stamp, frame
        found.append((datetime.now(UTC) - datetime.fromisoformat(stamp.group(1))).total_seconds())
        if _version(frame) >= last:
            return found


async def _drained(connection: ClientConnection) -> None:
    async for _ in connection:
        pass


async def _changes(client: Client, source: str, target: str, count: int, pause_s: float) -> None:
    for _ in range(count):
        assert (await client.transfer(source, target, "0.01"))["errors"] == []
        await asyncio.sleep(pause_s)


async def test_f42_readers_that_are_slow_or_stop_cost_the_others_nothing_and_are_bounded(
    system: System, ada: Client, olga: Client
) -> None:
    source, target = await funded(ada, olga, "1000"), await funded(ada, olga, "1")
    serve, base = system.another_serve(API__REPLAY_MAX="10")
    url, ids = f"{base}/graphql", {"ids": [source]}
    stopped_count, changes = max(3, SOCKETS // 10), 20
    await _changes(ada, source, target, 100, 0)
    version = int((await ada.balance(source))["version"])
    async with AsyncExitStack() as stack:
        readers = [await _subscribed(stack, url, ada.token, _BRIEF, ids) for _ in range(SOCKETS - stopped_count)]
        # What those ask for that will stop is asked for by one that does not: only the stopping may make the difference.
        thorough = asyncio.create_task(_drained(await _subscribed(stack, url, ada.token, _LONG, ids)))

        async def measured() -> float:
            nonlocal version
            version += changes
            each = [asyncio.create_task(_latencies(reader, version)) for reader in readers]
            await _changes(ada, source, target, changes, 0.02)
            return quantile([one for some in await asyncio.gather(*each) for one in some], 0.99)

        await measured()
        alone = min([await measured() for _ in range(2)])
        back, *gone = [await _stopped(stack, url, ada.token, ids) for _ in range(stopped_count)]
        before_mib = resident_mib(serve.process.pid)
        slow = asyncio.create_task(gone[0].one_byte_a_second())
        beside = min([await measured() for _ in range(2)])
        # One that reads again in time misses history, is told so, and has the right balance in the end.
        lagged = False
        for flood in _FLOODS:
            await asyncio.gather(*(_changes(ada, source, target, flood // 5, 0) for _ in range(5)))
            version += flood
            back.read_again()
            lagged = await _lagged(back.connection, version)
            if lagged:
                break
            back.connection.transport.pause_reading()
        assert lagged
        # Those that never do are dropped; a byte a second is no reading.
        async with asyncio.timeout(STUCK_S + 30):
            while await _metric(ada.http, base, "isthmus_live_dropped_total") < len(gone):  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        slow.cancel()
        thorough.cancel()
        grown_mib = resident_mib(serve.process.pid) - before_mib
        await measured()
    print(
        f"{len(readers)} readers, p99 alone {alone * 1e3:.0f} ms, beside {stopped_count} that do not read {beside * 1e3:.0f} ms; "
        f"memory {grown_mib:+.1f} MiB"
    )
    assert beside < 2 * alone + 0.25
    assert grown_mib < 20 + stopped_count, "a few messages for each, not all of them"
    assert serve.stop() == 0


async def _lagged(connection: ClientConnection, last: int) -> bool:
    """Whether a message up to the version `last` says that some were left out."""
    found, version = False, 0
    while version < last:
        frame = json.loads(await asyncio.wait_for(connection.recv(), 30))
        message = frame["payload"]["data"]["balanceChanged"]
        found, version = found or message["lagged"] is not None, message["version"]
    return found


async def _metric(http: httpx.AsyncClient, base: str, name: str) -> float:
    text = (await http.get(f"{base}/metrics")).text
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    assert found, name
    return float(found.group(1))


_KEY = "mutation($i: CreateApiKeyInput!) { createApiKey(input: $i) { apiKey { id } secret errors { message } } }"
_REVOKE = "mutation($i: RevokeApiKeyInput!) { revokeApiKey(input: $i) { errors { message } } }"
_FREEZE = "mutation($i: FreezeAccountInput!) { freezeAccount(input: $i) { errors { message } } }"


async def _key(system: System, owner: Client, expires_at: datetime | None = None) -> tuple[str, str]:
    """Its id and its secret. It is answered for, as its maker does with the code that is sent."""
    wish = {"name": "F44", "scopes": ["READ"], "idempotencyKey": str(uuid4())}
    if expires_at is not None:
        wish |= {"expiresAt": expires_at.isoformat()}
    payload = (await owner.ask(_KEY, {"i": wish})).data["createApiKey"]
    assert payload["errors"] == []
    settings, url = load_settings(data_dir=system.data_dir), system.endpoints.database_url
    assert url is not None
    async with write_side(settings, url) as side:
        row = await side.pool.fetchrow(
            "select * from sca_challenges where purpose = 'API_KEY' order by id desc limit 1"
        )
        person = row["owner"]
        answer = AnswerScaChallenge(row["id"], row["subject_id"], person, row["digest"], CodeProof(True))
        envelope = Envelope(f"person:{person}", person, "answerScaChallenge", str(uuid4()), {}, "test")
        assert isinstance(await side.commands.run(answer, envelope), Done)
    return payload["apiKey"]["id"], payload["secret"]


@dataclass
class _Heard:
    """What a subscription delivers, and when and how it ends: a close code, or None for a stream."""

    versions: list[int] = field(default_factory=list)
    ended_at: float | None = None
    close_code: int | None = None

    async def over_websocket(self, url: str, token: str, account: str) -> None:
        async with AsyncExitStack() as stack:
            connection = await _subscribed(stack, url, token, _BRIEF, {"ids": [account]})
            try:
                while True:
                    self.versions.append(_version(await connection.recv()))
            except ConnectionClosed as closed:
                self.close_code = closed.rcvd.code if closed.rcvd else 0
        self.ended_at = time.time()

    async def over_event_stream(self, url: str, token: str, account: str) -> None:
        headers = {"accept": "text/event-stream", "authorization": f"Bearer {token}"}
        body = {"query": _BRIEF, "variables": {"ids": [account]}}
        async with (
            httpx.AsyncClient(timeout=60) as http,
            http.stream("POST", url, json=body, headers=headers) as response,
        ):
            assert response.status_code == 200
            async for line in response.aiter_lines():
                if line.startswith("data: "):
                    self.versions.append(_version(line))
        self.ended_at = time.time()


@pytest.mark.parametrize("road", ["over_websocket", "over_event_stream"])
@pytest.mark.parametrize("how", ["expires", "revoked"])
async def test_f44_a_right_that_ends_in_mid_stream_ends_the_stream_and_nothing_comes_after(
    system: System, ada: Client, olga: Client, how: str, road: str
) -> None:
    account = await funded(ada, olga, "1000")
    ends = datetime.now(UTC) + timedelta(seconds=5)
    key_id, secret = await _key(system, ada, ends if how == "expires" else None)
    heard = _Heard()
    listening = asyncio.create_task(getattr(heard, road)(ada.url, secret, account))
    async with asyncio.timeout(60):
        while not heard.versions:
            assert not listening.done(), listening
            await asyncio.sleep(0.02)
    last = 1
    if how == "revoked":
        await settle(olga, account, "1")
        last += 1
        wish = {"apiKeyId": key_id, "idempotencyKey": str(uuid4())}
        assert (await ada.ask(_REVOKE, {"i": wish})).data["revokeApiKey"]["errors"] == []
        ends = datetime.now(UTC) + timedelta(seconds=RECHECK_S)
    while datetime.now(UTC) < ends - timedelta(seconds=0.5) and how == "expires":
        await settle(olga, account, "1")
        last += 1
        await asyncio.sleep(0.2)
    await asyncio.wait_for(listening, 60)
    assert heard.ended_at is not None
    assert heard.ended_at < ends.timestamp() + 3.0
    if how == "expires":
        assert heard.ended_at >= ends.timestamp() - 0.1, "not before its time"
    told = list(heard.versions)
    assert told[:last] == list(range(1, len(told[:last]) + 1))
    await settle(olga, account, "1")
    await asyncio.sleep(0.2)
    assert heard.versions == told
    if road == "over_websocket":
        assert heard.close_code == 4403
    again = await Client(ada.url, secret, ada.http).ask("{ viewer { id } }")
    assert again.code == "UNAUTHENTICATED"


async def test_f44_a_frozen_account_stays_visible_to_its_owner(system: System, ada: Client, olga: Client) -> None:
    """Freezing keeps an account from paying; its owner goes on seeing what lies in it."""
    account = await funded(ada, olga, "10")
    heard = _Heard()
    listening = asyncio.create_task(heard.over_websocket(ada.url, ada.token or "", account))
    async with asyncio.timeout(60):
        while not heard.versions:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        wish = {"accountId": account, "idempotencyKey": str(uuid4())}
        assert (await olga.ask(_FREEZE, {"i": wish})).data["freezeAccount"]["errors"] == []
        refused = (await ada.transfer(account, await funded(ada, olga, "1"), "1"))["errors"]
        assert [error["code"] for error in refused] == ["ACCOUNT_FROZEN"]
        await settle(olga, account, "1")
        while heard.versions[-1] < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert heard.close_code is None
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
