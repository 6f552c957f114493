"""uvicorn's HTTP protocol, with what a stream needs of its connection: to be told that the server goes away, and to drop a peer.

For `uvicorn.Config(http="isthmus.graphql.http_protocol:StreamingProtocol")`. It reaches into the library: the version is pinned by the
lock, and tests on real connections hold every name that is used here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Scope

from isthmus.graphql.bounded_heads import BoundedHeads

_CONNECTION = "isthmus.connection"


@dataclass
class Connection:
    """`abort` drops the peer without waiting for it; `closing` is set once the server goes away."""

    abort: Callable[[], None] = lambda: None
    closing: asyncio.Event = field(default_factory=asyncio.Event)


class StreamingProtocol(BoundedHeads):
    _connection: Connection | None = None

    def on_headers_complete(self) -> None:
        if self._connection is None:
            self._connection = Connection(self.transport.abort)
        extensions: Any = self.scope.setdefault("extensions", {})
        extensions[_CONNECTION] = self._connection
        super().on_headers_complete()

    def shutdown(self) -> None:
        if self._connection is not None:
            self._connection.closing.set()
        super().shutdown()


def connection_of(scope: Scope) -> Connection:
    """The connection's, or one of no effect where another server than ours runs the application."""
    found: Connection = (scope.get("extensions") or {}).get(_CONNECTION) or Connection()
    return found
