"""A subscriber that stays: it reconnects to whichever server answers, and resumes after the last position it has."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.typing import Subprotocol

from isthmus.torture.people import Person
from isthmus.torture.watches import FeedWatch

_PROTOCOL = Subprotocol("graphql-transport-ws")
_FORBIDDEN = 4403
_OPEN_S = 8.0
#: Without a message for so long the connection is given up: the network may have eaten its end.
_SILENCE_S = 6.0
_FIELDS = "account { id } balance { posted { amount } } version position cause { eventId }"
_LIVE = f"subscription($after: Position) {{ balanceChanged(after: $after) {{ {_FIELDS} lagged {{ fromPosition toPosition }} }} }}"


@dataclass
class Subscriber:
    watch: FeedWatch
    person: Person
    url: Callable[[], str]
    chance: random.Random

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            with contextlib.suppress(OSError, TimeoutError, WebSocketException, _Ended):
                await self._connection()
            await asyncio.sleep(self.chance.uniform(0.05, 0.5))

    async def _connection(self) -> None:
        url = self.url().replace("http", "ws", 1)
        async with connect(url, subprotocols=[_PROTOCOL], open_timeout=_OPEN_S, close_timeout=1.0) as socket:
            token = await self.person.token()
            await socket.send(_text("connection_init", payload={"Authorization": f"Bearer {token}"}))
            try:
                await self._receive(socket, "connection_ack")
            except ConnectionClosed as closed:
                if closed.rcvd is not None and closed.rcvd.code == _FORBIDDEN:
                    self.person.refused(token)
                raise
            resumed = self.watch.position > 0
            variables = {"after": str(self.watch.position)} if resumed else {}
            await socket.send(_text("subscribe", id="1", payload={"query": _LIVE, "variables": variables}))
            self.watch.connected(resumed=resumed)
            while True:
                message = await self._receive(socket, "next")
                if message is not None:
                    self.watch.message(message["payload"]["data"]["balanceChanged"])

    async def _receive(self, socket: Any, wanted: str) -> dict[str, Any] | None:
        """The next message of the kind; None where nothing came for a while and the other side is still there."""
        while True:
            try:
                async with asyncio.timeout(_SILENCE_S):
                    message: dict[str, Any] = json.loads(await socket.recv())
            except TimeoutError:
                async with asyncio.timeout(_SILENCE_S):
                    await (await socket.ping())
                if wanted == "next":
                    return None
                raise
            if message["type"] == wanted:
                errors = (message.get("payload") or {}).get("errors")
                if errors:
                    self._refused(errors)
                return message
            if message["type"] == "error":
                self._refused(message["payload"])
            if message["type"] == "complete":
                raise _Ended

    def _refused(self, errors: list[dict[str, Any]]) -> None:
        self.watch.watches.code(errors[0].get("extensions", {}).get("code"), "a subscription")
        raise _Ended


class _Ended(Exception):
    """By the server; connect again."""


def _text(kind: str, **more: Any) -> str:
    return json.dumps({"type": kind, **more})
