"""F43: a server is killed under its subscribers, and all of them come back at once."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from isthmus.graphql.ids import account_key
from isthmus.runtime.wiring import WriteSide, write_side
from isthmus.settings import load_settings
from tests.end_to_end.client import PROTOCOL, Client
from tests.faults.system import System
from tests.write_models.driver import Driver

#: How many subscribers: FAULT_SOCKETS=1000 takes what the row says.
SOCKETS = int(os.environ.get("FAULT_SOCKETS", "60"))
#: Generous: it is over in seconds where the machine has nothing else to do.
DEADLINE_S = 45 + SOCKETS / 20
_RESUMED = (
    "subscription($ids: [ID!], $after: Position) { balanceChanged(accountIds: $ids, after: $after) "
    "{ version position lagged { toPosition } } }"
)
_READY = re.compile(r"^ready ")


@dataclass
class _Watcher:
    """A subscriber as client libraries are: it comes back after a moment that differs and grows, and goes on after the last position
    it has."""

    url: str
    token: str | None
    account: str
    chance: random.Random
    seen: list[int] = field(default_factory=list)
    position: str | None = None
    connections: int = 0

    async def run(self) -> None:
        pause_s = 0.1
        while True:
            known = self.connections
            with suppress(OSError, TimeoutError, WebSocketException):
                await self._listen()
            pause_s = 0.1 if self.connections > known else min(2 * pause_s, 1.0)
            await asyncio.sleep(self.chance.uniform(pause_s / 2, pause_s))

    async def _listen(self) -> None:
        url = self.url.replace("http", "ws", 1)
        async with connect(
            url, subprotocols=[PROTOCOL], open_timeout=30, close_timeout=1, ping_interval=None, compression=None
        ) as socket:
            hello = {"type": "connection_init", "payload": {"Authorization": f"Bearer {self.token}"}}
            await socket.send(json.dumps(hello))
            assert json.loads(await socket.recv())["type"] == "connection_ack"
            variables = {"ids": [self.account], "after": self.position}
            payload = {"query": _RESUMED, "variables": variables}
            await socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": payload}))
            self.connections += 1
            while True:
                message = json.loads(await socket.recv())
                assert message["type"] == "next", message
                change = message["payload"]["data"]["balanceChanged"]
                assert change["lagged"] is None
                self.seen.append(change["version"])
                self.position = change["position"]


async def _all_have(version: int, watchers: list[_Watcher], tasks: list[asyncio.Task[None]]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not all(watcher.seen and watcher.seen[-1] >= version for watcher in watchers):
            for task in tasks:
                if task.done():
                    task.result()  # raises what it was told and did not expect
            await asyncio.sleep(0.02)


async def _changed(side: WriteSide, account: str, count: int) -> int:
    """From outside, so that it goes on without any server. Returns the balance's version."""
    key = account_key(account)
    owner = await side.pool.fetchval("select owner from accounts where id = $1", key)
    for _ in range(count):
        await Driver(side.commands).deposit(key, owner, "1")
    version: int = await side.pool.fetchval("select version from account_balances where account_id = $1", key)
    return version


@asynccontextmanager
async def _killed(system: System) -> AsyncIterator[None]:
    """The API is; at the end it is there again, at the same address."""
    system.serve.process.kill()
    system.serve.process.wait(10)
    try:
        yield
    finally:
        port = str(httpx.URL(system.endpoints.api_url).port)
        system.serve = system.run("serve", "--port", port, wait=False)
        await asyncio.to_thread(system.serve.wait_for, _READY, 60)


async def test_f43_all_reconnect_at_once_after_a_kill_and_nothing_is_missed_or_repeated(
    system: System, ada: Client
) -> None:
    account = str((await ada.open())["account"]["id"])
    watchers = [_Watcher(ada.url, ada.token, account, random.Random(n)) for n in range(SOCKETS)]
    settings = load_settings(data_dir=system.data_dir)
    async with write_side(settings, system.endpoints.database_url) as side:
        await _changed(side, account, 1)
        tasks = [asyncio.create_task(watcher.run()) for watcher in watchers]
        try:
            await _all_have(1, watchers, tasks)
            await _changed(side, account, 10)  # on its way to them when it happens
            async with _killed(system):
                await _changed(side, account, 20)
            ready = time.monotonic()
            last = await _changed(side, account, 5)
            await _all_have(last, watchers, tasks)
            print(f"{SOCKETS} subscribers are whole again {time.monotonic() - ready:.1f} s after the server is")
            assert last == 36
            await asyncio.sleep(0.2)  # what is repeated may come late
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    for watcher in watchers:
        assert watcher.seen == list(range(watcher.seen[0], last + 1)), "none missed, none twice"
        assert watcher.connections >= 2
    assert system.serve.process.poll() is None, "the server stays up"
