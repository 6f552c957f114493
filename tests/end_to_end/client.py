"""A client as an app would have one: bearer token, correlation ids, queries over HTTP and subscriptions over WebSocket."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

PROTOCOL = Subprotocol("graphql-transport-ws")


@dataclass
class Answer:
    status: int
    headers: httpx.Headers
    body: dict[str, Any]

    @property
    def data(self) -> Any:
        assert not self.body.get("errors"), self.body
        return self.body["data"]

    @property
    def code(self) -> str:
        return str(self.body["errors"][0]["extensions"]["code"])


@dataclass
class Client:
    url: str
    token: str | None
    http: httpx.AsyncClient = field(default_factory=lambda: httpx.AsyncClient(timeout=20))

    async def ask(
        self, query: str, variables: dict[str, Any] | None = None, *, headers: dict[str, str] | None = None, **more: Any
    ) -> Answer:
        sent = {"accept": "application/graphql-response+json", **(headers or {})}
        if self.token is not None:
            sent["authorization"] = f"Bearer {self.token}"
        body = {"query": query, "variables": variables or {}, **more}
        answer = await self.http.post(self.url, json=body, headers=sent)
        return Answer(answer.status_code, answer.headers, answer.json())

    async def open(self, asset: str = "EUR", name: str = "Everyday") -> dict[str, Any]:
        document = (
            "mutation($input: OpenAccountInput!) { openAccount(input: $input) "
            "{ account { id name asset balance { available { amount } version } } position errors { code message path } } }"
        )
        answer = await self.ask(document, {"input": {"asset": asset, "name": name, "idempotencyKey": str(uuid4())}})
        payload: dict[str, Any] = answer.data["openAccount"]
        assert payload["errors"] == []
        return payload

    async def transfer(
        self,
        source: str,
        target: str,
        amount: str,
        *,
        asset: str = "EUR",
        key: str | None = None,
        reference: str = "rent",
    ) -> dict[str, Any]:
        document = (
            "mutation($input: TransferInternallyInput!) { transferInternally(input: $input) { journal { id postedAt } position "
            "replayed errors { __typename code message path } } }"
        )
        wish = {
            "fromAccountId": source,
            "toAccountId": target,
            "amount": {"amount": amount, "asset": asset},
            "reference": reference,
            "idempotencyKey": key or str(uuid4()),
        }
        payload: dict[str, Any] = (await self.ask(document, {"input": wish})).data["transferInternally"]
        return payload

    async def balance(self, account: str, position: str | None = None) -> dict[str, Any]:
        headers = {"x-isthmus-position": position} if position else {}
        document = "query($id: ID!) { node(id: $id) { ... on Account { balance { posted { amount } version asOf } } } }"
        found: dict[str, Any] = (await self.ask(document, {"id": account}, headers=headers)).data["node"]["balance"]
        return found

    @asynccontextmanager
    async def socket(self) -> AsyncIterator[Socket]:
        async with connect(self.url.replace("http", "ws", 1), subprotocols=[PROTOCOL]) as connection:
            socket = Socket(connection)
            await socket.send({"type": "connection_init", "payload": {"Authorization": f"Bearer {self.token}"}})
            assert (await socket.receive())["type"] == "connection_ack"
            yield socket


@dataclass
class Socket:
    connection: ClientConnection
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def send(self, message: dict[str, Any]) -> None:
        await self.connection.send(json.dumps(message))

    async def receive(self, timeout: float = 10) -> dict[str, Any]:
        frame = await asyncio.wait_for(self.connection.recv(), timeout)
        assert isinstance(frame, str), "GraphQL travels in text frames"
        message: dict[str, Any] = json.loads(frame)
        return message

    async def subscribe(self, query: str, variables: dict[str, Any] | None = None, **more: Any) -> str:
        operation = str(next(self._ids))
        payload = {"query": query, "variables": variables or {}, **more}
        await self.send({"id": operation, "type": "subscribe", "payload": payload})
        return operation

    async def next(self, operation: str, timeout: float = 10) -> Any:
        """The data of the operation's next message."""
        while True:
            message = await self.receive(timeout)
            if message["type"] in ("ping", "pong"):
                continue
            assert message["type"] == "next", message
            assert message["id"] == operation
            assert not message["payload"].get("errors"), message
            return message["payload"]["data"]
