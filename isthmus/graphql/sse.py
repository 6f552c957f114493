"""GraphQL over server-sent events: graphql-sse, distinct connections mode, at the same address.

A stream begins only once there is something to stream: whoever is not signed in, and whatever is refused, is answered by status as
over HTTP (http.py). Each message's place is the event's id, and `Last-Event-ID` goes on behind it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from isthmus.graphql import metrics
from isthmus.graphql.execution import Answer
from isthmus.graphql.http_protocol import connection_of
from isthmus.graphql.live import Subscription
from isthmus.graphql.media import EVENTS

#: A comment as often as this, in seconds, so that nothing on the way takes the connection for idle.
HEARTBEAT_S = 12.0
#: Longest, in seconds, that a client may take for what it is sent.
STUCK_S = 10.0
_HEARTBEAT = b":\n\n"
_COMPLETE = b"event: complete\ndata:\n\n"
_HEADERS = {"Content-Type": f"{EVENTS}; charset=utf-8", "X-Accel-Buffering": "no"}


def answered(answer: Answer, correlation_id: str) -> Response:
    """A query's or a mutation's stream: one message, and its end."""
    body = b"event: next\ndata: " + orjson.dumps(answer.shape(correlation_id)) + b"\n\n" + _COMPLETE
    return Response(body, headers=_HEADERS)


class EventStream(Response):
    """A subscription's stream. It ends with the caller's right to it, when the server goes away, and when the client does."""

    def __init__(
        self,
        subscription: Subscription,
        correlation_id: str,
        ended: Callable[[], Awaitable[None]],
        left: Callable[[], None],
    ) -> None:
        """`ended` returns when the caller's right is over; `left` hears once that the stream is."""
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]
        head = orjson.dumps({"extensions": {"correlationId": correlation_id}})
        self._head = b"\ndata: " + head[:-1] + b","
        self._subscription = subscription
        self._ended = ended
        self._left = left

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = connection_of(scope)
        tasks = [
            asyncio.ensure_future(task)
            for task in (self._send(send, connection.abort), _left(receive), self._ended(), connection.closing.wait())
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._subscription.close()
            self._left()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        # No `complete`: the operation is not over, and the client may come back to it.
        if not tasks[0].done() or tasks[0].cancelled():
            async with asyncio.timeout(STUCK_S):
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, send: Send, abort: Callable[[], None]) -> None:
        try:
            async with asyncio.timeout(STUCK_S):
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async with aclosing(self._events()) as events:
                async for event in events:
                    async with asyncio.timeout(STUCK_S):
                        await send({"type": "http.response.body", "body": event, "more_body": True})
        except TimeoutError:
            metrics.dropped()
            abort()  # ending it in order would wait for a client that has stopped reading

    async def _events(self) -> AsyncGenerator[bytes, None]:
        yield _HEARTBEAT  # the headers go out now, whenever the first message comes
        async with aclosing(self._subscription.messages(HEARTBEAT_S)) as messages:
            async for message in messages:
                if message is None:
                    yield _HEARTBEAT
                else:
                    body, place = message
                    yield b"".join((b"event: next\nid: ", place.encode(), self._head, body, b"\n\n"))


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
