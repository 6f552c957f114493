"""Live delivery: whoever would be sent the same bytes is executed for once.

Subscribers are grouped by what makes an answer: the selection, the variables used in it, and what may be seen. A group's execution
is given nothing else: no caller, no one's correlation id. So what one member may see and another may not is in two groups, and
a field that asks who is asking fails rather than answer for somebody else.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Callable, Hashable
from typing import Any

import orjson
from graphql import ExecutionResult
from graphql.execution import Executor as CoreExecutor
from graphql.execution import create_source_event_stream
from prometheus_client import Gauge

from isthmus.graphql import metrics
from isthmus.graphql.context import RequestContext, SharedContext
from isthmus.graphql.documents import Refused
from isthmus.graphql.errors import log_errors
from isthmus.graphql.live_group import Group, Source
from isthmus.graphql.plain import compiled
from isthmus.graphql.schema import Schema
from isthmus.graphql.shapes import Shape, Shapes

_groups = Gauge("isthmus_live_groups", "Groups of subscribers that are sent the same bytes.")


class Subscription:
    """One subscriber: its source, in its group. `close` gives up both."""

    def __init__(self, source: Source, group: Group, left: Callable[[], None]) -> None:
        self.source = source
        self.group = group
        self._left = left
        self._closed = False

    async def messages(self, idle_s: float | None = None) -> AsyncGenerator[tuple[bytes, str] | None, None]:
        """Bodies and places, for those who wait until each is sent; None whenever nothing came for `idle_s`. Does not end."""
        arrived = asyncio.Event()
        self.source.ready = arrived.set
        while True:
            arrived.clear()
            while (event := self.source.pop()) is not None:
                rendering = await self.group.rendered(self.source, event)
                yield rendering.body, self.source.place(event)
                rendering.deliveries.untold += 1  # whoever comes for the next has sent this one
                rendering.deliveries.tell()
            try:
                async with asyncio.timeout(idle_s):
                    await arrived.wait()
            except TimeoutError:
                yield None

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self.source.close()
            self._left()


class Live:
    def __init__(self, schema: Schema, timeout_s: float) -> None:
        self._schema = schema._schema
        self._timeout_s = timeout_s
        self._shapes = Shapes(schema._schema)
        self._groups: dict[Hashable, Group] = {}

    async def open(self, context: RequestContext) -> Subscription:
        """Raises Refused where the subscription may not begin."""
        prepared = context.prepared
        shape = self._shapes.of(prepared)
        source = await self._source(context)
        variables = {name: prepared.variables[name] for name in shape.variables if name in prepared.variables}
        key = (
            shape.text,
            orjson.dumps(variables, option=orjson.OPT_SORT_KEYS),
            context.sight.shared,
            metrics.operation_of(prepared),  # each operation's messages are counted as its own
        )
        group = self._groups.get(key)
        if group is None:
            try:
                group = self._groups[key] = self._group(shape, variables, context)
            except BaseException:
                source.close()
                raise
            _groups.inc()
        group.members += 1

        def left() -> None:
            group.members -= 1
            if not group.members:
                del self._groups[key]
                _groups.dec()

        return Subscription(source, group, left)

    def _group(self, shape: Shape, variables: dict[str, Any], context: RequestContext) -> Group:
        shared = SharedContext(context.services, context.sight.shared, context.position_wait_s)
        executor = CoreExecutor.build(
            self._schema, shape.document, raw_variable_values=variables, context_value=shared, hide_suggestions=True
        )
        if isinstance(executor, list):
            raise Refused(executor)
        plain = compiled(self._schema, shape.document)
        return Group(executor, plain, shared, context.prepared, self._timeout_s)

    async def _source(self, context: RequestContext) -> Source:
        """The resolver's own, with the caller's rights: this is where each subscription is authorised."""
        prepared = context.prepared
        executor = CoreExecutor.build(
            self._schema,
            prepared.document,
            raw_variable_values=dict(prepared.variables),
            context_value=context,
            operation_name=prepared.operation_name,
            hide_suggestions=True,
        )
        if isinstance(executor, list):
            raise Refused(executor)
        source: Any = create_source_event_stream(executor)
        if inspect.isawaitable(source):
            source = await source
        if isinstance(source, ExecutionResult):
            log_errors(source.errors or [], context.correlation_id, "subscription")
            raise Refused(source.errors or [])
        found: Source = source
        return found
