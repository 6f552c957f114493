"""GraphQL over WebSocket: graphql-transport-ws and nothing else, on the library's handler where that is right.

What it leaves open is closed here: messages of the wrong shape (4400), a token or a session that ends while the socket is open
(4403), and documents that go the same way as over HTTP. Every operation is authorised anew, with the caller that signed the socket in.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, cast

import orjson
from graphql import GraphQLError, OperationType
from starlette.requests import HTTPConnection
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState
from strawberry.exceptions import ConnectionRejectionError
from strawberry.http.exceptions import NonJsonMessageReceived, NonTextMessageReceived, WebSocketDisconnected
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import BaseGraphQLTransportWSHandler, Operation
from structlog.contextvars import bind_contextvars

from isthmus.auth.caller import Caller
from isthmus.auth.tokens import IssuerUnavailable, TokenRefused
from isthmus.graphql import metrics
from isthmus.graphql.call import Call, names_document
from isthmus.graphql.cookies import Unproven, caller_by_cookie
from isthmus.graphql.correlation import drawn, well_formed
from isthmus.graphql.documents import Refused
from isthmus.graphql.errors import ApiError, RateLimited, Unavailable, classify, log_errors, shaped
from isthmus.graphql.execution import Executor
from isthmus.graphql.json_bodies import decode
from isthmus.graphql.live import Subscription
from isthmus.graphql.scalars import parse_position
from isthmus.graphql.ws_member import Member, head_of
from isthmus.graphql.ws_protocol import ABORT, FRAMES, STUCK_S, Frames

if TYPE_CHECKING:
    _Handler = BaseGraphQLTransportWSHandler["Socket", None]
else:
    _Handler = BaseGraphQLTransportWSHandler

_TRY_AGAIN = 1013


class Socket:
    """What is known of one connection. The library sets `connection_params` from connection_init."""

    def __init__(self, executor: Executor, correlation_id: str | None, handshake: HTTPConnection, address: str) -> None:
        self.executor = executor
        self.address = address
        self.correlation_id = correlation_id
        self.handshake = handshake
        self.connection_params: dict[str, object] | None = None
        self.caller: Caller | None = None
        self.counted = False

    async def sign_in(self) -> None:
        """Raises ConnectionRejectionError, which closes with 4403, or RateLimited."""
        await self.executor.admit_address(self.address)
        given = (self.connection_params or {}).get("Authorization")
        if given is None:
            try:
                self.caller = await caller_by_cookie(self.handshake, self.executor.services.sessions)
            except Unproven:
                raise ConnectionRejectionError from None
            if self.caller is not None:
                await self._enter(self.caller)
                return
        scheme, _, token = given.partition(" ") if isinstance(given, str) else ("", "", "")
        if scheme.lower() != "bearer" or not token.strip():
            raise ConnectionRejectionError
        try:
            self.caller = await self.executor.services.verifier.verify(token.strip(), looks_on=True)
        except TokenRefused:
            raise ConnectionRejectionError from None
        await self._enter(self.caller)

    async def _enter(self, caller: Caller) -> None:
        """Raises RateLimited."""
        await self.executor.admit_caller(caller, self.address)
        self.executor.open_connections.enter(caller.person_id)
        self.counted = True

    def leave(self) -> None:
        if self.counted and self.caller is not None:
            self.counted = False
            self.executor.open_connections.leave(self.caller.person_id)


class TransportHandler(_Handler):
    _ending: asyncio.Task[None] | None = None

    async def handle_message(self, message: Any) -> None:
        """The right shape first: the library takes what comes and fails later."""
        fault = _fault(message)
        if fault is not None:
            await self.handle_invalid_message(fault)
            return
        await super().handle_message(message)

    async def handle_connection_init(self, message: Any) -> None:
        try:
            await super().handle_connection_init(message)
        except IssuerUnavailable:
            await self.websocket.close(code=_TRY_AGAIN, reason="Tokens cannot be checked right now")
        except RateLimited as error:
            await self.websocket.close(code=_TRY_AGAIN, reason=error.message)
            return
        caller = self.context.caller
        if self.connection_acknowledged and caller is not None and self._ending is None:
            self._ending = asyncio.create_task(self._end_with(caller))

    async def handle_subscribe(self, message: Any) -> None:
        if not self.connection_acknowledged:
            await self.websocket.close(code=4401, reason="Unauthorized")
            return
        if message["id"] in self.operations:
            await self.websocket.close(code=4409, reason=f"Subscriber for {message['id'][:80]} already exists")
            return
        payload = message["payload"]
        correlation_id = well_formed((payload.get("extensions") or {}).get("correlationId"))
        correlation_id = correlation_id or self.context.correlation_id or drawn()
        if len(self.operations) >= self.context.executor.api.socket_operations_max:
            await self._errors(message["id"], correlation_id, [RateLimited("Too many operations on one socket.")])
            return
        try:
            call = Call.of(payload)
        except ApiError as error:
            await self._errors(message["id"], correlation_id, [error])
            return
        operation = Operation(self, message["id"], call.query or "", None, call.operation_name)
        operation.task = asyncio.create_task(self._run(operation, call, correlation_id))
        operation.task.add_done_callback(self._task_done)
        self.operations[message["id"]] = operation

    async def shutdown(self) -> None:
        self.context.leave()
        if self._ending is not None:
            self._ending.cancel()
        await super().shutdown()

    async def _run(self, operation: Operation[Any, None], call: Call, correlation_id: str) -> None:
        try:
            await self._deliver(operation, call, correlation_id)
        except (Refused, ApiError) as refusal:
            errors: list[GraphQLError] = refusal.errors if isinstance(refusal, Refused) else [refusal]
            await self._end(operation, correlation_id, errors)
        except TokenRefused:
            self.operations.pop(operation.id, None)
            await self._forbid()
        except (WebSocketDisconnected, WebSocketDisconnect):
            self.operations.pop(operation.id, None)
        except Exception as error:  # noqa: BLE001 - shown as over HTTP: masked, and logged once
            fault = GraphQLError("", original_error=error)
            log_errors([fault], correlation_id, "websocket")
            await self._end(operation, correlation_id, [fault])

    async def _deliver(self, operation: Operation[Any, None], call: Call, correlation_id: str) -> None:
        executor, caller = self.context.executor, self.context.caller
        assert caller is not None, "nothing is acknowledged before the token is"
        bind_contextvars(correlation_id=correlation_id, actor=caller.actor)  # this operation's own task
        await executor.admit(caller, self.context.address)
        await self._may_go_on(executor.services.verifier.check(caller))
        prepared = await executor.prepare(call, caller)
        if prepared.kind is not OperationType.SUBSCRIPTION:
            await self._may_go_on(executor.services.verifier.used(caller))
        position = (call.extensions or {}).get("position")
        await executor.visible(prepared, None if position is None else parse_position(position))
        context = executor.context(caller, correlation_id, prepared)
        if prepared.kind is OperationType.SUBSCRIPTION:
            await self._subscribe(operation, correlation_id, await executor.live.open(context))
            return
        answer = await executor.run(context)
        if not answer.executed:
            raise Refused(answer.errors)
        payload: Any = answer.shape(correlation_id)
        await operation.send_operation_message({"id": operation.id, "type": "next", "payload": payload})
        await operation.send_operation_message({"id": operation.id, "type": "complete"})

    @staticmethod
    async def _may_go_on(checked: Awaitable[None]) -> None:
        try:
            await checked
        except IssuerUnavailable:
            raise Unavailable("Sessions cannot be checked right now.") from None

    async def _subscribe(
        self, operation: Operation[Any, None], correlation_id: str, subscription: Subscription
    ) -> None:
        """At a socket of ours the operation needs no task from here on; at another's this task sends its messages."""
        if self.operations.get(operation.id) is not operation:
            subscription.close()
            return
        socket = cast(SocketAdapter, self.websocket)
        if socket.frames is not None:
            member = Member(operation.id, correlation_id, subscription, socket.frames)
            operation.task = cast("asyncio.Task[None]", member.ended)  # cancelled and awaited, which a future can be
            return
        head = head_of(operation.id, correlation_id)
        try:
            async with aclosing(subscription.messages()) as messages:
                async for message in messages:
                    assert message is not None, "it was not asked to say when it is idle"
                    await socket.send_text(head + message[0] + b"}")
        finally:
            subscription.close()

    async def _end(self, operation: Operation[Any, None], correlation_id: str, errors: list[GraphQLError]) -> None:
        """Unless the client has completed it, and may have given its id to another."""
        if self.operations.get(operation.id) is operation:
            del self.operations[operation.id]
            await self._errors(operation.id, correlation_id, errors)

    async def _errors(self, operation_id: str, correlation_id: str, errors: list[GraphQLError]) -> None:
        metrics.refused(classify(errors[0]).value)
        payload: Any = [shaped(error, correlation_id) for error in errors]
        await self.send_message({"id": operation_id, "type": "error", "payload": payload})

    async def _end_with(self, caller: Caller) -> None:
        """A token or a session that is over, or a key that was revoked."""
        await self.context.executor.services.verifier.until_ended(caller)
        await self._forbid()

    async def _forbid(self) -> None:
        await self.websocket.close(code=4403, reason="Forbidden")


def _fault(message: Any) -> str | None:
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        return "A message must be an object with a type"
    if not isinstance(message.get("payload"), dict | None) and message["type"] in ("connection_init", "ping", "pong"):
        return "payload must be an object"
    identified = isinstance(message.get("id"), str) and message["id"]
    if message["type"] in ("subscribe", "complete") and not identified:
        return "id must be a string that is not empty"
    if message["type"] == "subscribe":
        payload = message.get("payload")
        if not isinstance(payload, dict) or not (isinstance(payload.get("query"), str) or names_document(payload)):
            return "payload must be an object with a query"
        if not isinstance(payload.get("query"), str | None):
            return "query must be a string"
        if not isinstance(payload.get("operationName"), str | None):
            return "operationName must be a string"
        if any(not isinstance(payload.get(name), dict | None) for name in ("variables", "extensions")):
            return "variables and extensions must be objects"
    return None


class SocketAdapter:
    """Text frames of JSON, both ways, no longer than a request's body may be."""

    def __init__(self, view: Any, _: WebSocket, response: WebSocket) -> None:
        self._socket = response
        self._bytes_max: int = view.executor.api.body_bytes_max
        self._json_depth_max: int = view.executor.api.json_depth_max
        extensions = response.scope.get("extensions") or {}
        self._abort: Callable[[], None] = extensions.get(ABORT, _nothing)
        self.frames: Frames | None = extensions.get(FRAMES)

    async def iter_json(self) -> AsyncGenerator[object, None]:
        while self._socket.application_state is not WebSocketState.DISCONNECTED:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text")
            if text is None:
                raise NonTextMessageReceived
            try:
                # No text has fewer bytes than characters: what is much too long is not even encoded.
                if len(text) > self._bytes_max or len(encoded := text.encode()) > self._bytes_max:
                    raise NonJsonMessageReceived
                decoded: object = decode(encoded, self._json_depth_max)
            except ValueError:
                raise NonJsonMessageReceived from None
            yield decoded

    async def send_json(self, message: Any) -> None:
        await self.send_text(orjson.dumps(message))

    async def send_text(self, message: bytes) -> None:
        try:
            # Text, never bytes: browsers would get Blobs.
            async with asyncio.timeout(STUCK_S):
                await self._socket.send_text(message.decode())
        except TimeoutError as error:
            metrics.dropped()
            self._abort()  # a peer that has stopped reading
            raise WebSocketDisconnected from error
        except (WebSocketDisconnect, RuntimeError) as error:
            raise WebSocketDisconnected from error

    async def close(self, code: int, reason: str) -> None:
        if self._socket.application_state is WebSocketState.CONNECTED:
            try:
                # Closing waits for what is still to be sent, which a peer that does not read never takes.
                asyncio.get_running_loop().call_later(STUCK_S, self._abort)
                await self._socket.close(code=code, reason=reason)
            except (WebSocketDisconnect, RuntimeError):
                return


def _nothing() -> None:
    """Where another server than ours runs the application."""
