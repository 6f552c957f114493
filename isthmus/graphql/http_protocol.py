"""uvicorn's HTTP protocol, with what a stream needs of its connection: to be told that the server goes away, and to drop a peer.

A connection between two requests is not closed the moment the server is to end: its next request may be on the way already, and would
be lost without a word, which leaves its client with an unknown outcome. It is left open a little; what comes is answered, with
`Connection: close`.

For `uvicorn.Config(http="isthmus.graphql.http_protocol:StreamingProtocol")`. It reaches into the library: the version is pinned by the
lock, and tests on real connections hold every name that is used here.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Scope

from isthmus.graphql.bounded_heads import BoundedHeads

_CONNECTION = "isthmus.connection"
#: How long a connection between two requests is left open once the server is to end.
LINGER_S = 0.3
#: What the system takes for a connection and has not sent, at most. By itself it takes megabytes for a peer that does not read: memory
#: that nobody counts, full of what is out of date, before anyone learns that the peer is slow.
_UNSENT_BYTES_MAX = 262_144
_NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", None)  # Linux, macOS


@dataclass
class Connection:
    """`abort` drops the peer without waiting for it; `closing` is set once the server goes away."""

    abort: Callable[[], None] = lambda: None
    closing: asyncio.Event = field(default_factory=asyncio.Event)


class StreamingProtocol(BoundedHeads):
    _connection: Connection | None = None
    _going_away = False

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        taken = transport.get_extra_info("socket")
        if _NOTSENT_LOWAT is not None and taken is not None:
            with suppress(OSError):  # not a TCP socket, or not a system that has it
                taken.setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, _UNSENT_BYTES_MAX)

    def on_headers_complete(self) -> None:
        if self._connection is None:
            self._connection = Connection(self.transport.abort)
        extensions: Any = self.scope.setdefault("extensions", {})
        extensions[_CONNECTION] = self._connection
        super().on_headers_complete()
        if self._going_away and self.cycle is not None:
            self.cycle.keep_alive = False

    def shutdown(self) -> None:
        self._going_away = True
        if self._connection is not None:
            self._connection.closing.set()
        if self.cycle is not None and not self.cycle.response_complete:
            super().shutdown()  # closes once it is answered
        else:
            self.loop.call_later(LINGER_S, self._close_if_idle)

    def _close_if_idle(self) -> None:
        if not self.transport.is_closing():
            super().shutdown()


def connection_of(scope: Scope) -> Connection:
    """The connection's, or one of no effect where another server than ours runs the application."""
    found: Connection = (scope.get("extensions") or {}).get(_CONNECTION) or Connection()
    return found
