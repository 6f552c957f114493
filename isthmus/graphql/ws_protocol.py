"""uvicorn's WebSocket protocol, with what live delivery needs of a connection, and closing 1001 (not 1012) when the server goes away.

For `uvicorn.Config(ws="isthmus.graphql.ws_protocol:GoingAwayProtocol")`. It reaches into the library: the version is pinned by the
lock, and tests on real sockets hold every name that is used here.
"""

from __future__ import annotations

from asyncio import TimerHandle
from collections.abc import Callable, Sequence
from functools import lru_cache

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request
from websockets.protocol import State

from isthmus.graphql import metrics

GOING_AWAY = 1001
#: Where a handler finds what drops a connection without waiting for a peer that has stopped reading.
ABORT = "isthmus.abort"
#: Where it finds `Frames`.
FRAMES = "isthmus.frames"
#: Longest, in seconds, that a peer may leave its full buffer (64 KiB) undrained.
STUCK_S = 10.0


class Frames:
    """Text frames onto the connection at once, without asking or waiting: a server's frame is the same bytes for every peer."""

    def __init__(self, protocol: GoingAwayProtocol) -> None:
        self._protocol = protocol
        #: Whether the buffer has room. Nobody keeps one from writing more; it would only grow.
        self.writable = True
        #: Called when a full buffer has drained.
        self.drained: set[Callable[[], None]] = set()

    def write(self, head: bytes, bodies: Sequence[bytes]) -> bool:
        """A text frame of the head and each body, all in one piece: what a connection costs is the call, not the bytes.

        False, and dropped, where the connection is closing: whoever closes it says why.
        """
        protocol = self._protocol
        if (
            protocol.close_sent
            or protocol.disconnected
            or protocol.conn.state is not State.OPEN
            or protocol.transport.is_closing()
        ):
            return False
        parts: list[bytes] = []
        for body in bodies:
            parts += _prefix(len(head) + len(body)), head, body
        protocol.transport.write(b"".join(parts))
        return True


@lru_cache(maxsize=1_024)
def _prefix(size: int) -> bytes:
    """Of a text frame from a server, which is not masked."""
    if size < 126:
        return bytes((0x81, size))
    if size < 65_536:
        return b"\x81\x7e" + size.to_bytes(2, "big")
    return b"\x81\x7f" + size.to_bytes(8, "big")


class GoingAwayProtocol(WebSocketsSansIOProtocol):
    _stuck: TimerHandle | None = None
    _live: Frames | None = None

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        scope = getattr(self, "scope", None)  # absent where the handshake was refused
        if scope is not None:
            self._live = Frames(self)
            scope.setdefault("extensions", {}).update({ABORT: self.transport.abort, FRAMES: self._live})

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._live is not None:
            self._live.writable = False
        if self._stuck is None:
            self._stuck = self.loop.call_later(STUCK_S, self._drop)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._forget()
        if self._live is not None:
            self._live.writable = True
            for tell in tuple(self._live.drained):
                tell()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        if self.close_sent or not self.handshake_complete:
            super().shutdown()
            return
        self.stop_keepalive()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": GOING_AWAY})
        self.conn.send_close(GOING_AWAY)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.transport.close()

    def _drop(self) -> None:
        """Closing would wait for the buffer, which a peer that does not read never takes."""
        metrics.dropped()
        self.transport.abort()

    def _forget(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None
