"""A TCP proxy that misbehaves on request: what a network does to a connection, without root and on one machine.

It stands between a process and one server. Each fault has a counter, since a fault that never happened proves nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass, field

_CHUNK = 65_536
_REPLY_S = 2.0
_CONNECT_S = 5.0


@dataclass(eq=False)
class _Link:
    """One connection, both ways. `swallow`: its replies are read and thrown away; `cut_at_reply`: and then it is cut."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    swallow: bool = False
    cut_at_reply: bool = False
    passed: int = 0
    tail: bytes = b""

    def cut(self) -> None:
        """Without a goodbye, as a peer that died."""
        for writer in (self.client, self.server):
            if writer.transport is not None:
                writer.transport.abort()


@dataclass
class FaultProxy:
    """`start`, give its `port` to the client, set faults while it runs, `aclose`. All faults are off until set."""

    target_host: str
    target_port: int
    port: int = 0
    delay_s: float = 0.0
    """Added to every chunk, each way."""
    bytes_per_s: float = 0.0
    """A throttle, each way; 0 is none."""
    black_hole: bool = False
    """Connections stand and new ones are accepted, and nothing passes."""
    swallow_replies: bool = False
    """What is asked arrives; what is answered does not."""
    refuse: bool = False
    """New connections are cut at once."""
    counts: Counter[str] = field(default_factory=Counter)
    """How often each fault really happened: connections, cut_after_pattern, cut_before_pattern, cut_after_bytes, cut, …"""
    _links: set[_Link] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _server: asyncio.Server | None = None
    _patterns: tuple[bytes, ...] = ()
    _pattern_left: int = 0
    _before: bool = False
    _bytes_left: int | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def aclose(self) -> None:
        if self._server is not None:
            self._server.close()
        self.cut_all(counted=False)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def links(self) -> int:
        return len(self._links)

    def cut_on(self, *patterns: bytes, times: int = 1, before: bool = False) -> None:
        """Cut the next `times` connections on which one of `patterns` is sent: after the server got it and has answered (so that what was
        asked is done, and nobody hears of it), or `before` it arrives."""
        self._patterns, self._pattern_left, self._before = patterns, times, before

    def cut_after(self, sent_bytes: int) -> None:
        """Cut the connection on which the client sends its so-manieth byte from now; the rest of that chunk does not arrive."""
        self._bytes_left = sent_bytes

    def cut_all(self, *, counted: bool = True) -> int:
        """Cut what is connected now. Returns how many that were."""
        links = list(self._links)
        for link in links:
            link.cut()
        if counted:
            self.counts["cut"] += len(links)
        return len(links)

    def half_close(self) -> int:
        """Say goodbye to the clients of all connections, and go on listening to them."""
        closed = 0
        for link in self._links:
            with contextlib.suppress(OSError, RuntimeError):
                link.client.write_eof()
                link.swallow = True
                closed += 1
        self.counts["half_close"] += closed
        return closed

    def heal(self) -> None:
        """All faults off. Connections that lost bytes in a black hole are cut: they could only be misunderstood."""
        lossy = self.black_hole or self.swallow_replies
        self.delay_s = self.bytes_per_s = 0.0
        self.black_hole = self.swallow_replies = self.refuse = False
        self._pattern_left, self._bytes_left = 0, None
        if lossy or any(link.swallow for link in self._links):
            self.cut_all(counted=False)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "a handler runs in a task"
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, TimeoutError):
            writer.transport.abort()
        finally:
            self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.counts["connections"] += 1
        if self.refuse:
            self.counts["refused"] += 1
            writer.transport.abort()
            return
        async with asyncio.timeout(_CONNECT_S):
            from_server, to_server = await asyncio.open_connection(self.target_host, self.target_port)
        link = _Link(writer, to_server)
        self._links.add(link)
        try:
            ways = {
                asyncio.create_task(self._ask(link, reader)),
                asyncio.create_task(self._answer(link, from_server)),
            }
            done, rest = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in rest:
                way.cancel()
            await asyncio.gather(*done, *rest, return_exceptions=True)
        finally:
            self._links.discard(link)
            for each in (to_server, writer):
                each.close()

    async def _ask(self, link: _Link, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(_CHUNK):
            if self._bytes_left is not None:
                if len(data) >= self._bytes_left:
                    link.server.write(data[: self._bytes_left])
                    self._bytes_left = None
                    self.counts["cut_after_bytes"] += 1
                    link.cut()
                    return
                self._bytes_left -= len(data)
            if self._meets_pattern(link, data):
                if self._before:
                    self.counts["cut_before_pattern"] += 1
                    link.cut()
                    return
                link.cut_at_reply = True
            if not await self._pass(link, data, link.server):
                continue
            if link.cut_at_reply:
                await asyncio.sleep(_REPLY_S)  # the answer's way cuts first, unless there is none
                return

    async def _answer(self, link: _Link, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(_CHUNK):
            if link.cut_at_reply:
                self.counts["cut_after_pattern"] += 1
                link.cut()
                return
            if link.swallow or self.swallow_replies:
                self.counts["swallowed"] += 1
                link.swallow = True
                continue
            await self._pass(link, data, link.client)

    def _meets_pattern(self, link: _Link, data: bytes) -> bool:
        if not self._pattern_left:
            link.tail = b""
            return False
        seen = link.tail + data
        longest = max(map(len, self._patterns), default=0)
        link.tail = seen[-(longest - 1) :] if longest > 1 else b""
        if not any(pattern in seen for pattern in self._patterns):
            return False
        self._pattern_left -= 1
        return True

    async def _pass(self, link: _Link, data: bytes, to: asyncio.StreamWriter) -> bool:
        """Whether the bytes went on."""
        if self.black_hole:
            self.counts["black_hole"] += 1
            link.swallow = True
            return False
        if self.delay_s:
            self.counts["delayed"] += 1
            await asyncio.sleep(self.delay_s)
        if self.bytes_per_s:
            self.counts["throttled"] += 1
            await asyncio.sleep(len(data) / self.bytes_per_s)
        to.write(data)
        await to.drain()
        link.passed += len(data)
        return True
