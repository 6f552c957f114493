"""One group of live subscribers: each message is executed and encoded once, and whoever can take it is sent it in their turn.

A receiver has its turn once for all that has come for it since: what waits for one connection leaves in one piece. Writing to
a socket costs several times what everything else of a message does.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Any, Protocol

import orjson
import structlog
from graphql import ExecutionResult, GraphQLError
from graphql.execution import Executor as CoreExecutor
from graphql.execution import execute_subscription_event
from prometheus_client import Counter

from isthmus.graphql import metrics
from isthmus.graphql.context import SharedContext
from isthmus.graphql.correlation import drawn
from isthmus.graphql.documents import Prepared
from isthmus.graphql.errors import classify, log_errors, shaped
from isthmus.graphql.plain import Complete

#: Messages that a group keeps rendered, for members that come to them a little later.
_KEPT_MAX = 256
#: After so many turns in a row others have theirs.
_RUN_MAX = 256

_rendered = Counter("isthmus_live_rendered_total", "Messages executed and encoded, once for a group of subscribers.")

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
    one more, for those who send it inside of a message's object. Whoever sends it adds one to `deliveries.untold`."""

    __slots__ = ("body", "deliveries", "payload")

    def __init__(self, body: bytes, deliveries: metrics.Deliveries) -> None:
        self.body = body
        self.payload = body + b"}"
        self.deliveries = deliveries


class Receiver(Protocol):
    """`due`: whether its turn is to come."""

    source: Source
    due: bool

    def turn(self) -> Any:
        """Sends what it has, as far as that is rendered and there is room. The event that must be rendered before the next, or None."""


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
        # Most members come to the very same object, one after the other. It is held: while it lives no other has its id.
        self._by_event: OrderedDict[int, tuple[Any, Rendering]] = OrderedDict()
        self._rendering = asyncio.Lock()
        self._due: deque[Receiver] = deque()
        self._task: asyncio.Task[None] | None = None
        self._deliveries: dict[str, metrics.Deliveries] = {}
        self.members = 0

    def ready(self, receiver: Receiver) -> None:
        """There may be something for it."""
        if not receiver.due:
            receiver.due = True
            self._due.append(receiver)
            if self._task is None:
                self._task = asyncio.create_task(self._turns(), name="live: deliver")

    async def _turns(self) -> None:
        turns = 0
        try:
            while self._due:
                receiver = self._due.popleft()
                receiver.due = False
                try:
                    while (event := receiver.turn()) is not None:
                        await self.rendered(receiver.source, event)
                except Exception:
                    # One subscriber that cannot be told is no reason for the others to wait.
                    log.exception("a subscriber could not be told")
                turns += 1
                if turns % _RUN_MAX == 0:
                    await asyncio.sleep(0)
        finally:
            self._task = None
            for deliveries in self._deliveries.values():
                deliveries.tell()

    def found(self, event: Any) -> Rendering | None:
        entry = self._by_event.get(id(event))
        return None if entry is None else entry[1]

    async def rendered(self, source: Source, event: Any) -> Rendering:
        found = self.found(event)
        if found is not None:
            return found
        mark = source.mark(event)
        async with self._rendering:  # who waited while another rendered it finds it
            found = self._kept.get(mark)
            if found is None:
                body, outcome = await self._render(source, event)
                found = Rendering(body, self._deliveries_of(outcome))
                _rendered.inc()
                _keep(self._kept, mark, found)
        _keep(self._by_event, id(event), (event, found))
        return found

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


def _keep(kept: OrderedDict[Any, Any], key: Hashable, value: Any) -> None:
    kept[key] = value
    if len(kept) > _KEPT_MAX:
        kept.popitem(last=False)
