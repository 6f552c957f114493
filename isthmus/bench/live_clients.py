"""The subscribers of `bench live`, in a process of their own: many sockets, each message counted and none decoded that need not be.

The same program for every server. `python -m isthmus.bench.live_clients` takes a `Wish` as JSON; prints `ready` once each socket has its
first message; then for each line `seconds` (or `seconds timed`: with latencies) on standard input measures for so long and prints
a `Seen` as JSON.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import sys
import time
from base64 import b64encode
from datetime import datetime
from typing import Any, cast

import msgspec
import orjson
import uvloop

from isthmus.bench.report import percentile

_AS_OF, _VERSION = b'"asOf":"', b'"version":'
#: Of so many sockets one looks whether versions follow one another.
_CHECKED_EACH = 20


class Wish(msgspec.Struct):
    """`variables`: what each socket subscribes with, in turn. `stopped`: how many of them read their first message and no more."""

    host: str
    port: int
    query: str
    variables: list[dict[str, Any]]
    sockets: int
    token: str
    stopped: int = 0


class Seen(msgspec.Struct):
    """`slowest`: the fewest messages of any socket. `gaps`: versions that did not follow the one before."""

    delivered: int
    seconds: float
    slowest: int
    gaps: int
    p50_ms: float
    p99_ms: float
    last_version: int


class Run:
    def __init__(self, wish: Wish) -> None:
        self.wish = wish
        self.ready = 0
        self.all_ready = asyncio.Event()
        self.timed = False
        self.gaps = 0
        self.last_version = 0
        self.latencies_s: list[float] = []
        self._stamps: dict[bytes, float] = {}

    def first(self) -> None:
        self.ready += 1
        if self.ready == self.wish.sockets:
            self.all_ready.set()

    def arrived(self, message: bytes) -> None:
        """From the stamp that the commit gave the change until now, on one machine's clock."""
        start = message.find(_AS_OF) + len(_AS_OF)
        stamp = message[start : message.find(b'"', start)]
        at = self._stamps.get(stamp)
        if at is None:
            if len(self._stamps) > 1_000:
                self._stamps.clear()
            at = self._stamps[stamp] = datetime.fromisoformat(stamp.decode()).timestamp()
        self.latencies_s.append(time.time() - at)


class Reader(asyncio.Protocol):
    """One socket. Frames of servers are not masked: a header says how far it is to the next."""

    def __init__(self, run: Run, number: int, *, stops: bool) -> None:
        self.count = 0
        self._run = run
        self._number = number
        self._stops = stops
        self._checked = number % _CHECKED_EACH == 0
        self._version = -1
        self._buffer = b""
        self._state = "upgrade"
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast(asyncio.Transport, transport)
        wish = self._run.wish
        transport.write(
            (
                f"GET /graphql HTTP/1.1\r\nHost: {wish.host}:{wish.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: {b64encode(os.urandom(16)).decode()}\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
            ).encode()
        )

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        at = 0
        if self._state == "upgrade":
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                self._buffer = buffer
                return
            assert buffer.startswith(b"HTTP/1.1 101"), buffer[:200]
            self._state, at = "acknowledge", end + 4
            self._send({"type": "connection_init", "payload": {"Authorization": f"Bearer {self._run.wish.token}"}})
        length = len(buffer)
        while length - at >= 2:
            size, head = buffer[at + 1], 2
            if size == 126:
                head = 4
                size = int.from_bytes(buffer[at + 2 : at + 4], "big")
            elif size == 127:
                head = 10
                size = int.from_bytes(buffer[at + 2 : at + 10], "big")
            if length - at < head + size:
                break
            opcode = buffer[at] & 0x0F
            if opcode == 1 and self._state == "live":
                self.count += 1
                if self._checked or self._run.timed:
                    self._look(buffer[at + head : at + head + size])
            else:
                self._other(opcode, buffer[at + head : at + head + size])
            at += head + size
        self._buffer = buffer[at:]

    def _look(self, message: bytes) -> None:
        if self._run.timed:
            self._run.arrived(message)
        if self._checked:
            start = message.find(_VERSION) + len(_VERSION)
            version = int(message[start : start + 20].split(b",")[0].split(b"}")[0])
            self._run.gaps += version != self._version + 1
            self._version = version
            self._run.last_version = max(self._run.last_version, version)

    def _other(self, opcode: int, message: bytes) -> None:
        if opcode == 9:
            self._frame(10, message)
        elif opcode == 8:
            raise SystemExit(f"the server closed a socket: {message!r}")
        elif self._state == "acknowledge":
            assert b"connection_ack" in message, message
            self._state = "first"
            wish = self._run.wish
            variables = wish.variables[self._number % len(wish.variables)]
            self._send({"id": "1", "type": "subscribe", "payload": {"query": wish.query, "variables": variables}})
        elif self._state == "first":
            assert b'"next"' in message, message
            assert b'"errors"' not in message, message
            self._state = "live"
            if self._checked:
                self._version = int(message.split(_VERSION, 1)[1].split(b",")[0].split(b"}")[0])
            if self._stops:
                assert self._transport is not None
                self._transport.pause_reading()
            self._run.first()

    def _send(self, message: Any) -> None:
        self._frame(1, orjson.dumps(message))

    def _frame(self, opcode: int, payload: bytes) -> None:
        """Masked with zeros: a client's frames must be masked, with what is nobody's business here."""
        size = len(payload)
        head = bytes((0x80 | opcode, 0x80 | size)) if size < 126 else struct.pack("!BBH", 0x80 | opcode, 0xFE, size)
        assert self._transport is not None
        self._transport.write(head + bytes(4) + payload)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if not self._stops:
            raise SystemExit("the server dropped a socket")


async def _main(wish: Wish) -> None:
    run, loop = Run(wish), asyncio.get_running_loop()
    readers: list[Reader] = []
    for number in range(wish.sockets):
        reader = Reader(run, number, stops=number >= wish.sockets - wish.stopped)
        made = socket.socket()
        if number >= wish.sockets - wish.stopped:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        made.setblocking(False)
        await loop.sock_connect(made, (wish.host, wish.port))
        await loop.create_connection(lambda reader=reader: reader, sock=made)  # type: ignore[misc]
        readers.append(reader)
    async with asyncio.timeout(60):
        await run.all_ready.wait()
    _tell("ready")
    counted = readers[: wish.sockets - wish.stopped]
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        duration, *timed = line.split()
        run.latencies_s.clear()
        run.timed = bool(timed)
        before, began = [reader.count for reader in counted], time.perf_counter()
        await asyncio.sleep(float(duration))
        seconds = time.perf_counter() - began
        counts = [reader.count - count for reader, count in zip(counted, before, strict=True)]
        samples = run.latencies_s[:]
        seen = Seen(
            sum(counts),
            seconds,
            min(counts),
            run.gaps,
            percentile(samples, 50) * 1_000,
            percentile(samples, 99) * 1_000,
            run.last_version,
        )
        _tell(msgspec.json.encode(seen).decode())


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(_main(msgspec.json.decode(sys.argv[1], type=Wish)))
