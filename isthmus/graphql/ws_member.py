"""A subscriber at a socket of ours: it writes what its group has rendered, as frames, without a task of its own."""

from __future__ import annotations

import asyncio

import orjson

from isthmus.graphql.live import Rendering, Subscription
from isthmus.graphql.ws_protocol import Frames


class Member:
    """Until `ended` is done or cancelled, which leaves the group."""

    def __init__(self, operation_id: str, correlation_id: str, subscription: Subscription, frames: Frames) -> None:
        self._head = head_of(operation_id, correlation_id)
        self._subscription = subscription
        self._frames = frames
        self._awaited: Rendering | None = None
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ended.add_done_callback(self._leave)
        frames.drained.add(self._pump)
        subscription.source.ready = self._pump
        self._pump()

    def _pump(self) -> None:
        """One message after the other, while the socket takes them: what it does not take waits where it is bounded."""
        while self._awaited is None and self._frames.writable and (rendering := self._subscription.pop()) is not None:
            if rendering.body is None:
                self._awaited = rendering
                rendering.waiting.append(self._rendered)
            elif self._frames.write(self._head, rendering.payload):
                rendering.delivered()

    def _rendered(self, rendering: Rendering) -> None:
        self._awaited = None
        if not self.ended.done():
            if self._frames.write(self._head, rendering.payload):
                rendering.delivered()
            self._pump()

    def _leave(self, _: object) -> None:
        self._frames.drained.discard(self._pump)
        self._subscription.close()


def head_of(operation_id: str, correlation_id: str) -> bytes:
    """A message up to what all members of a group share."""
    head = {"id": operation_id, "type": "next", "payload": {"extensions": {"correlationId": correlation_id}}}
    return orjson.dumps(head).removesuffix(b"}}") + b","
