"""uvicorn's HTTP protocol with an end to a request's head: so many bytes, so many seconds.

The library bounds neither on httptools: a head that never ends would take all memory, and
one that trickles, or a connection that says nothing, a place for ever. The body is bounded where it is read (graphql/http.py).
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: As much as browsers and proxies let through; what one reading of the socket brings on top of it is taken too.
HEAD_BYTES_MAX = 65_536
HEAD_S_MAX = 20.0
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_TIMED_OUT = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class BoundedHeads(HttpToolsProtocol):
    _head_bytes = 0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_there()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._expect_head()

    def on_headers_complete(self) -> None:
        self._head_is_there()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._deadline is not None:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self._refuse(_TOO_LARGE)

    def _expect_head(self) -> None:
        self._head_is_there()
        self._deadline = self.loop.call_later(HEAD_S_MAX, self._refuse, _TIMED_OUT)

    def _head_is_there(self) -> None:
        self._head_bytes = 0
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, answer: bytes) -> None:
        self._head_is_there()
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(answer)
            self.transport.close()
