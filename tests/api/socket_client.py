"""A client of graphql-transport-ws that hides nothing: one message sent, one message received."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.api.conftest import Served


class Client:
    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def send(self, message: Any) -> None:
        await self.socket.send(json.dumps(message))

    async def receive(self, timeout_s: float = 5) -> Any:
        async with asyncio.timeout(timeout_s):
            text = await self.socket.recv()
        assert isinstance(text, str), "frames are text: browsers get Blobs otherwise"
        return json.loads(text)

    async def sign_in(self, given: str) -> None:
        await self.send({"type": "connection_init", "payload": {"Authorization": f"Bearer {given}"}})
        assert await self.receive() == {"type": "connection_ack"}

    async def subscribe(self, query: str, variables: Any = None, id: str = "1", **more: Any) -> None:
        await self.send({"id": id, "type": "subscribe", "payload": {"query": query, "variables": variables, **more}})

    async def next(self) -> Any:
        message = await self.receive()
        assert message["type"] == "next", message
        return message["payload"]

    async def closed(self, timeout_s: float = 5) -> int:
        """The close code; whatever comes before it is let go."""
        async with asyncio.timeout(timeout_s):
            with pytest.raises(ConnectionClosed) as end:
                while True:
                    await self.socket.recv()
        assert end.value.rcvd is not None, "the server said why"
        return end.value.rcvd.code


@asynccontextmanager
async def connected(
    served: Served, protocol: str | None = "graphql-transport-ws", **more: Any
) -> AsyncIterator[Client]:
    protocols: Any = [protocol] if protocol else None
    async with connect(served.socket, subprotocols=protocols, **more) as socket:
        yield Client(socket)
