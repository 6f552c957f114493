"""The processes of `bench live` that are not the product: its subscribers, and the servers that it is compared with."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import msgspec

from isthmus.bench.live_clients import Seen, Wish
from isthmus.settings import LOOPBACK

_PEERS = Path(__file__).parents[2] / "bench" / "peers"
_START_S, _STOP_S, _READY_S = 30.0, 5.0, 90.0


class PeerMissing(Exception):
    """What a peer needs is not here; the message says what."""


class Clients:
    """The subscribers' process, from when all of them have their first message."""

    def __init__(self, wish: Wish) -> None:
        self._wish = wish

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "isthmus.bench.live_clients",
            msgspec.json.encode(self._wish).decode(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert await self._line(_READY_S) == b"ready\n", "the subscribers did not all get their first message"
        return self

    @property
    def pid(self) -> int:
        return self._process.pid

    async def measure(self, seconds: float, *, timed: bool = False) -> Seen:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seconds}{' timed' if timed else ''}\n".encode())
        return msgspec.json.decode(await self._line(seconds + _READY_S), type=Seen)

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        await _end(self._process)

    async def _line(self, timeout_s: float) -> bytes:
        assert self._process.stdout is not None
        async with asyncio.timeout(timeout_s):
            return await self._process.stdout.readline()


@dataclass
class Peer:
    """Another server: `making` changes of all balances that are subscribed to, until it is left."""

    name: str
    command: list[str]
    port: int
    accounts: list[str] = field(default_factory=lambda: [f"account-{n}" for n in range(10)])
    token: str = ""

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(*self.command, str(self.port))
        async with asyncio.timeout(_START_S), httpx.AsyncClient() as http:
            while True:
                try:
                    await http.get(f"http://{LOOPBACK}:{self.port}/stop")
                    return self
                except httpx.TransportError:
                    assert self._process.returncode is None, f"{self.name} did not start"
                    await asyncio.sleep(0.05)

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        await _end(self._process)

    @property
    def pid(self) -> int:
        return self._process.pid

    @asynccontextmanager
    async def making(self, how: str) -> AsyncIterator[None]:
        async with httpx.AsyncClient(timeout=_START_S) as http:
            await http.get(f"http://{LOOPBACK}:{self.port}/{how}")
            try:
                yield
            finally:
                await http.get(f"http://{LOOPBACK}:{self.port}/stop")


async def stock_strawberry() -> Peer:
    return Peer("strawberry", [sys.executable, "-m", "isthmus.bench.live_stock"], free_port())


async def graphql_ws(data_dir: Path) -> Peer:
    """Fetched by npm into `data_dir`, as the lock says. Raises PeerMissing."""
    if not _PEERS.is_dir() or shutil.which("node") is None or shutil.which("npm") is None:
        raise PeerMissing(f"--peers needs node, npm and {_PEERS}")
    home = data_dir / "peers"
    shutil.copytree(_PEERS, home, ignore=shutil.ignore_patterns("node_modules"))
    fetching = await asyncio.create_subprocess_exec(
        "npm", "ci", "--no-audit", "--no-fund", "--silent", cwd=home, env={**os.environ, "NO_UPDATE_NOTIFIER": "1"}
    )
    if await fetching.wait() != 0:
        raise PeerMissing("npm ci did not bring graphql-ws")
    return Peer("graphql_ws", ["node", str(home / "server.mjs")], free_port())


def free_port() -> int:
    with socket.socket() as found:
        found.bind((LOOPBACK, 0))
        port: int = found.getsockname()[1]
    return port


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
        try:
            async with asyncio.timeout(_STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
