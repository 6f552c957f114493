"""uvicorn's WebSocket protocol, closing as the specification of WebSockets wants when the server goes away: 1001, not 1012.

For `uvicorn.Config(ws="isthmus.graphql.ws_protocol:GoingAwayProtocol")`. It reaches into the library (the version is pinned by the
lock, and a test closes a real socket).
"""

from __future__ import annotations

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

GOING_AWAY = 1001


#: Where a handler finds what drops a connection without waiting for a peer that has stopped reading.
ABORT = "isthmus.abort"


class GoingAwayProtocol(WebSocketsSansIOProtocol):
    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        scope = getattr(self, "scope", None)  # absent where the handshake was refused
        if scope is not None:
            scope.setdefault("extensions", {})[ABORT] = self.transport.abort

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
