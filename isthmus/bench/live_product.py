"""The product that `bench live` measures: `isthmus up` in a process of its own, accounts in it, and what changes them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import asyncpg
import httpx
import orjson
from redis.asyncio import Redis
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from isthmus.auth.provider.users import DEMO_PASSWORD
from isthmus.auth.sign_in import sign_in
from isthmus.bench.processor import child_that_runs
from isthmus.domain.log import partition_of
from isthmus.ending import end_if_cancelled
from isthmus.graphql.ids import account_key
from isthmus.read_models.feed_wire import FEED, Change, Move, hints
from isthmus.read_models.positions import log_identity
from isthmus.runtime.endpoints import resolve
from isthmus.settings import load_settings

BALANCES = 10
_READY = b"ready "
_START_S, _STOP_S = 90.0, 20.0
_CHANGE_EVERY_S = 0.2
#: Changes told at once, and most that may be on their way: below what a subscriber may be behind before it is told `lagged`.
_AT_ONCE, _AHEAD_MAX = 20, 200
_OPEN = "mutation($input: OpenAccountInput!) { openAccount(input: $input) { account { id } errors { code } } }"
_SETTLE = "mutation($input: SettleDepositInput!) { settleDeposit(input: $input) { position errors { code } } }"


@dataclass
class Product:
    port: int
    #: Of its `serve`.
    pid: int
    token: str
    operator: str
    admin_url: str
    redis_url: str
    identity: str
    owner: UUID
    http: httpx.AsyncClient
    accounts: list[str] = field(default_factory=list)
    _told: dict[str, int] = field(default_factory=dict)
    _position: int = 1_000_000_000

    async def ask(self, token: str, query: str, given: dict[str, Any]) -> Any:
        answer = await self.http.post(
            "/graphql", json={"query": query, "variables": {"input": given}}, headers=_as(token)
        )
        body = answer.json()
        assert "errors" not in body, body
        return body["data"]

    @asynccontextmanager
    async def changing(self) -> AsyncIterator[None]:
        """Five deposits a second into the first account, through the API."""
        task = asyncio.create_task(self._deposits())
        try:
            yield
        finally:
            await _ended(task)

    async def _deposits(self) -> None:
        loop = asyncio.get_running_loop()
        at = loop.time()
        while True:
            amount = {"amount": "1.00", "asset": "EUR"}
            wish = {"accountId": self.accounts[0], "amount": amount, "reference": uuid4().hex}
            await self.ask(self.operator, _SETTLE, wish)
            at = max(at + _CHANGE_EVERY_S, loop.time())
            await asyncio.sleep(at - loop.time())

    @asynccontextmanager
    async def flooding(self, query: str, balances: int) -> AsyncIterator[None]:
        """Changes of the first accounts, told on Redis as the projector tells them, as fast as a subscriber of ours takes them."""
        url = f"ws://127.0.0.1:{self.port}/graphql"
        redis = Redis.from_url(self.redis_url)
        async with connect(url, subprotocols=[Subprotocol("graphql-transport-ws")], compression=None) as socket:
            await socket.send(orjson.dumps({"type": "connection_init", "payload": _as(self.token)}).decode())
            payload = {"query": query, "variables": {"ids": self.accounts[:balances]}}
            await socket.recv()
            for number, account in enumerate(self.accounts[:balances]):
                one = {**payload, "variables": {"ids": [account]}}
                await socket.send(orjson.dumps({"id": str(number), "type": "subscribe", "payload": one}).decode())
            for _ in range(balances):
                change = orjson.loads(await socket.recv())["payload"]["data"]["balanceChanged"]
                self._told[change["account"]["id"]] = change["balance"]["version"]
            task = asyncio.create_task(self._flood(redis, socket, self.accounts[:balances]))
            try:
                yield
            finally:
                await _ended(task)
        await redis.aclose()

    async def _flood(self, redis: Redis, socket: Any, accounts: list[str]) -> None:
        on_their_way = 0
        while True:
            end_if_cancelled()
            for account in accounts:
                for hint in hints(self.identity, [self._move(account)], {}):
                    await redis.publish(FEED, hint)
                on_their_way += _AT_ONCE
                while on_their_way > _AHEAD_MAX:
                    await socket.recv(decode=False)
                    on_their_way -= 1

    def _move(self, account: str) -> Move:
        key, made = account_key(account), datetime.now(UTC)
        changes = []
        for _ in range(_AT_ONCE):
            self._told[account] += 1
            self._position += 1
            zero, cause = Decimal(0), uuid4()
            changes.append(
                Change(
                    key, self.owner, "EUR", self._told[account], self._position, Decimal(100), zero, zero, made, cause,
                    "JournalPosted", str(cause),
                )
            )  # fmt: skip
        return Move(partition_of(key), 0, self._position, tuple(changes))


@asynccontextmanager
async def running_product(data_dir: Path) -> AsyncIterator[Product]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ISTHMUS_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "isthmus", "up", "--no-demo", "--port", "0", "--data-dir", str(data_dir),
        env={**clean, "NO_COLOR": "1"}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        url = await _ready(process)
        async with httpx.AsyncClient(base_url=url, timeout=20) as http:
            yield await _product(http, url, data_dir, child_that_runs(process.pid, "serve"))
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
            async with asyncio.timeout(_STOP_S):
                await process.wait()


async def _ready(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(_START_S):
        while not (line := await process.stdout.readline()).startswith(_READY):
            assert line, "the product did not start"
    return line.decode().split()[1].removesuffix("/graphql")


async def _product(http: httpx.AsyncClient, url: str, data_dir: Path, pid: int) -> Product:
    ada, olga = [await sign_in(url, f"{name}@example.com", DEMO_PASSWORD) for name in ("ada", "olga")]
    endpoints = resolve(load_settings(data_dir=data_dir))
    connection = await asyncpg.connect(endpoints.admin_url)
    try:
        identity = await log_identity(connection)
        product = Product(
            urlsplit(url).port or 0, pid, ada.access_token, olga.access_token, endpoints.admin_url, endpoints.redis_url,
            identity, uuid4(), http,
        )  # fmt: skip
        for number in range(BALANCES):
            wish = {"asset": "EUR", "name": f"Bench {number}", "idempotencyKey": uuid4().hex}
            opened = await product.ask(product.token, _OPEN, wish)
            product.accounts.append(opened["openAccount"]["account"]["id"])
        product.owner = await connection.fetchval(
            "select owner from accounts where id = $1", account_key(product.accounts[0])
        )
    finally:
        await connection.close()
    return product


def _as(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def _ended(task: asyncio.Task[None]) -> None:
    """Cancelled; what it raised before that is raised here."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
