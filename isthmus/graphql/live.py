"""Live delivery: whoever would be sent the same bytes is executed for once.

Subscribers are grouped by what makes an answer: the selection, the variables used in it, and what may be seen. A group's execution
is given nothing else: no caller, no one's correlation id. So what one member may see and another may not is in two groups, and
a field that asks who is asking fails rather than answer for somebody else.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Callable, Hashable
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

import orjson
import structlog
from graphql import ExecutionResult, GraphQLError
from graphql.execution import Executor as CoreExecutor
from graphql.execution import create_source_event_stream, execute_subscription_event
from prometheus_client import Counter, Gauge

from isthmus.graphql import metrics
from isthmus.graphql.context import RequestContext, SharedContext
from isthmus.graphql.correlation import drawn
from isthmus.graphql.documents import Prepared, Refused
from isthmus.graphql.errors import classify, log_errors, shaped
from isthmus.graphql.plain import Complete, compiled
from isthmus.graphql.schema import Schema
from isthmus.graphql.shapes import Shape, Shapes

#: Messages that a group keeps rendered, for members that come to them a little later.
_KEPT_MAX = 64
#: After so many in a row others have their turn.
_RUN_MAX = 16

_rendered = Counter("isthmus_live_rendered_total", "Messages executed and encoded, once for a group of subscribers.")
_groups = Gauge("isthmus_live_groups", "Groups of subscribers that are sent the same bytes.")

log = structlog.get_logger(__name__)


class Source(Protocol):
    """What a subscription's resolver returns: events to take, and how an event becomes the root field's value.

    `ready` is called whenever there may be something to `pop`. Events with the same `mark` are the same for everyone who may see them.
    """

    ready: Callable[[], None]

    def pop(self) -> Any: ...

    def mark(self, event: Any) -> Hashable: ...

    def place(self, event: Any) -> str: ...

    async def value(self, context: SharedContext, event: Any) -> Any: ...

    def close(self) -> None: ...


class Rendering:
    """One message of a group. `body` is the answer's JSON from `"data"` (or `"errors"`) to its closing brace; `payload` is that with
    one more, for those who send it inside of a message's object. Both come with `delivered`, to be called for each time it is sent."""

    __slots__ = ("body", "delivered", "payload", "waiting")

    delivered: Callable[[], None]

    def __init__(self) -> None:
        self.body: bytes | None = None
        self.payload = b""
        self.waiting: list[Callable[[Rendering], None]] = []

    def be(self, body: bytes, delivered: Callable[[], None]) -> None:
        self.body, self.payload, self.delivered = body, body + b"}", delivered


class Group:
    def __init__(
        self,
        executor: CoreExecutor[Any],
        plain: Complete | None,
        context: SharedContext,
        prepared: Prepared,
        timeout_s: float,
    ) -> None:
        self._executor = executor
        self._plain = plain
        self._context = context
        self._prepared = prepared
        self._timeout_s = timeout_s
        self._kept: OrderedDict[Hashable, Rendering] = OrderedDict()
        self._todo: deque[tuple[Rendering, Source, Any]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._latest: tuple[Any, Rendering] | None = None
        self._deliveries: dict[str, metrics.Deliveries] = {}
        self.members = 0

    def rendering(self, source: Source, event: Any) -> Rendering:
        # Most members come to one event, the very same object, one after the other.
        if self._latest is not None and self._latest[0] is event:
            return self._latest[1]
        found = self._rendering(source, event)
        self._latest = event, found
        return found

    def _rendering(self, source: Source, event: Any) -> Rendering:
        mark = source.mark(event)
        found = self._kept.get(mark)
        if found is None:
            found = self._kept[mark] = Rendering()
            if len(self._kept) > _KEPT_MAX:
                self._kept.popitem(last=False)
            self._todo.append((found, source, event))
            if self._task is None:
                self._task = asyncio.create_task(self._work(), name="live: render")
        return found

    async def _work(self) -> None:
        done = 0
        try:
            while self._todo:
                rendering, source, event = self._todo.popleft()
                body, outcome = await self._render(source, event)
                rendering.be(body, self._deliveries_of(outcome).one)
                waiting, rendering.waiting = rendering.waiting, []
                _rendered.inc()
                for tell in waiting:
                    _tell(tell, rendering)
                done += 1
                if done % _RUN_MAX == 0:
                    await asyncio.sleep(0)
        finally:
            self._task = None

    def _deliveries_of(self, outcome: str) -> metrics.Deliveries:
        found = self._deliveries.get(outcome)
        if found is None:
            found = self._deliveries[outcome] = metrics.Deliveries(self._prepared, outcome)
        return found

    async def _render(self, source: Source, event: Any) -> tuple[bytes, str]:
        try:
            async with asyncio.timeout(self._timeout_s):
                self._context.renew_loaders()
                return _encoded(await self._execute(await source.value(self._context, event)))
        except Exception as error:  # noqa: BLE001 - shown as any other error of execution: masked, and logged once
            return _encoded(ExecutionResult(None, [GraphQLError("", original_error=error)]))

    async def _execute(self, value: Any) -> ExecutionResult:
        if self._plain is not None:
            with suppress(Exception):  # whatever it is: executed as usual it has its place and its words
                return ExecutionResult(self._plain(value), None)
        result: Any = execute_subscription_event(self._executor.build_per_event_executor(value))
        if inspect.isawaitable(result):
            result = await result
        found: ExecutionResult = result
        return found


def _encoded(result: ExecutionResult) -> tuple[bytes, str]:
    """The body of a rendering, and its outcome."""
    answer: dict[str, Any] = {"data": result.data}
    outcome = "ok"
    if result.errors:
        outcome = classify(result.errors[0]).value
        # The id that finds these errors in the log is the group's own; each member's stands beside them.
        correlation_id = drawn()
        log_errors(result.errors, correlation_id, "subscription")
        answer["errors"] = [shaped(error, correlation_id) for error in result.errors]
    return orjson.dumps(answer)[1:], outcome


def _tell(tell: Callable[[Rendering], None], rendering: Rendering) -> None:
    """One subscriber that cannot be told is no reason for the others to wait."""
    try:
        tell(rendering)
    except Exception:
        log.exception("a subscriber could not be told")


class Subscription:
    """One subscriber: its source, in its group. `close` gives up both."""

    def __init__(self, source: Source, group: Group, left: Callable[[], None]) -> None:
        self.source = source
        self.group = group
        self._left = left
        self._closed = False

    def pop(self) -> Rendering | None:
        """The next message's rendering, which may not be ready yet."""
        event = self.source.pop()
        return None if event is None else self.group.rendering(self.source, event)

    async def messages(self, idle_s: float | None = None) -> AsyncGenerator[tuple[bytes, str] | None, None]:
        """Bodies and places, for those who wait until each is sent; None whenever nothing came for `idle_s`. Does not end."""
        arrived = asyncio.Event()
        self.source.ready = arrived.set
        while True:
            arrived.clear()
            while (event := self.source.pop()) is not None:
                rendering = self.group.rendering(self.source, event)
                if rendering.body is None:
                    rendered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    rendering.waiting.append(partial(_settle, rendered))
                    await rendered
                assert rendering.body is not None
                yield rendering.body, self.source.place(event)
                rendering.delivered()  # whoever comes for the next has sent this one
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


def _settle(waiter: asyncio.Future[None], _: object) -> None:
    if not waiter.done():
        waiter.set_result(None)


class Live:
    def __init__(self, schema: Schema, timeout_s: float) -> None:
        self._schema = schema._schema
        self._timeout_s = timeout_s
        self._shapes = Shapes()
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
