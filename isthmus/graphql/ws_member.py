"""A subscriber at a socket of ours: in its turn it writes what its group has rendered, as frames, without a task of its own."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import orjson

from isthmus.graphql.live import Subscription
from isthmus.graphql.live_group import Rendering
from isthmus.graphql.ws_protocol import Frames

#: Most bytes that one turn adds to a buffer that has room: others have theirs meanwhile, and what a slow peer is owed stays bounded.
_TURN_BYTES_MAX = 65_536


class Member:
    """Until `ended` is done or cancelled, which leaves the group."""

    def __init__(self, operation_id: str, correlation_id: str, subscription: Subscription, frames: Frames) -> None:
        self.source = subscription.source
        self._head = head_of(operation_id, correlation_id)
        self._subscription = subscription
        self._group = subscription.group
        self._frames = frames
        self._held: Any = None
        self._ready = partial(subscription.group.ready, self)
        self.due = False
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ended.add_done_callback(self._leave)
        frames.drained.add(self._ready)
        self.source.ready = self._ready
        self._ready()

    def turn(self) -> Any:
        """What the socket does not take waits in the source, where it is bounded."""
        if self.ended.done() or not self._frames.writable:
            return None
        sent: list[Rendering] = []
        size = 0
        event = self.source.pop() if self._held is None else self._held
        while event is not None and (rendering := self._group.found(event)) is not None:
            sent.append(rendering)
            size += len(rendering.payload)
            if size > _TURN_BYTES_MAX:
                self._ready()
                event = None
            else:
                event = self.source.pop()
        self._held = event
        if sent and self._frames.write(self._head, [rendering.payload for rendering in sent]):
            for rendering in sent:
                rendering.deliveries.untold += 1
        return event

    def _leave(self, _: object) -> None:
        self._frames.drained.discard(self._ready)
        self._subscription.close()


def head_of(operation_id: str, correlation_id: str) -> bytes:
    """A message up to what all members of a group share."""
    head = {"id": operation_id, "type": "next", "payload": {"extensions": {"correlationId": correlation_id}}}
    return orjson.dumps(head).removesuffix(b"}}") + b","
