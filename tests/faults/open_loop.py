"""Load that does not wait for answers: a request is sent when its time has come, whatever became of those before it.

Raw HTTP/1.1 on asyncio streams, since a comfortable client would spend the processor that the server is to be measured by.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Reply:
    seconds: float
    status: int
    """0 where the connection broke: the outcome is unknown."""
    headers: dict[str, str]
    body: dict[str, Any]


class Wire:
    """Keeps connections that are free, and opens one more where none is."""

    def __init__(self, url: str, token: str) -> None:
        self._parts = urlsplit(url)
        self._head = (
            f"POST {self._parts.path} HTTP/1.1\r\nHost: {self._parts.netloc}\r\nAuthorization: Bearer {token}\r\n"
            "Content-Type: application/json\r\nAccept: application/graphql-response+json\r\nContent-Length: "
        )
        self._free: list[Connection] = []

    async def ask(self, body: dict[str, Any]) -> Reply:
        began = time.monotonic()
        connection: Connection | None = None
        try:
            connection = self._free.pop() if self._free else await self._open()
            content = json.dumps(body).encode()
            connection[1].write(f"{self._head}{len(content)}\r\n\r\n".encode() + content)
            status, headers, answer = await _read(connection[0])
        except (OSError, asyncio.IncompleteReadError, ValueError):
            if connection is not None:
                connection[1].close()
            return Reply(time.monotonic() - began, 0, {}, {})
        if headers.get("connection") == "close":
            connection[1].close()
        else:
            self._free.append(connection)
        return Reply(time.monotonic() - began, status, headers, answer)

    async def _open(self) -> Connection:
        return await asyncio.open_connection(self._parts.hostname, self._parts.port)

    def close(self) -> None:
        for _, writer in self._free:
            writer.close()
        self._free.clear()


async def _read(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], dict[str, Any]]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    content = await reader.readexactly(int(headers["content-length"]))
    return int(head[0].split()[1]), headers, json.loads(content)


async def open_loop(
    wire: Wire, make: Callable[[int], dict[str, Any]], per_second: float, seconds: float
) -> list[Reply]:
    """`make(n)` gives the n-th body. Returns every reply once all are there."""
    began = time.monotonic()
    tasks: list[asyncio.Task[Reply]] = []
    while (now := time.monotonic() - began) < seconds:
        while len(tasks) < now * per_second:
            tasks.append(asyncio.create_task(wire.ask(make(len(tasks)))))
        await asyncio.sleep(0.002)
    return await asyncio.gather(*tasks)


async def closed_loop(
    wire: Wire, make: Callable[[int], dict[str, Any]], clients: int, seconds: float
) -> tuple[list[Reply], float]:
    """Each client asks again once it is answered. Returns the replies, and how many came per second."""
    replies: list[Reply] = []
    began = time.monotonic()

    async def client() -> None:
        while time.monotonic() - began < seconds:
            replies.append(await wire.ask(make(len(replies))))

    await asyncio.gather(*(client() for _ in range(clients)))
    return replies, len(replies) / (time.monotonic() - began)


def quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
