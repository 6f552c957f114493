"""How far the projections are: known in every process the moment it changes, and asked for again in case a message was lost."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import asyncpg
import msgspec
import structlog

from isthmus.domain.log import PARTITIONS
from isthmus.ending import end_if_cancelled
from isthmus.read_models.projections import CHANNEL, PROJECTIONS
from isthmus.read_models.projections.facts import Connection
from isthmus.supervised import Supervised

_RECHECK_S = 0.5
_STALE_S = 3.0
_DEADLINE_S = 2.0
_PAUSE_S, _PAUSE_MAX_S = 0.05, 1.0

Connect = Callable[[], Awaitable["asyncpg.Connection[asyncpg.Record]"]]
Listener = Callable[[Mapping[int, int]], None]

log = structlog.get_logger(__name__)


async def log_identity(connection: Any) -> str:
    """Which log this is: two databases may be given one broker or one Redis, and must not take each other's news."""
    identity: str = await connection.fetchval(
        "select (select system_identifier from pg_control_system())::text || '.' || "
        "(select oid from pg_database where datname = current_database())::text"
    )
    return identity


async def stored_positions(connection: Connection, schema: str = "read_models") -> dict[int, int]:
    """Per partition, where the slowest projection is; zero where one has not begun."""
    rows = await connection.fetch(
        f"select p.partition::int as partition, case when count(s.position) < $2 then 0 else min(s.position) end as position "
        f"from generate_series(0, $1 - 1) as p (partition) left join {schema}.projection_positions s on s.partition = p.partition "
        "group by p.partition",
        PARTITIONS,
        len(PROJECTIONS),
    )
    return {row["partition"]: row["position"] for row in rows}


class ProjectionPositions:
    """`start` and `aclose` frame its life. One connection of its own listens; `connect` makes it, as often as it is lost."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._known: dict[int, int] = {}
        self._heard_at = -_STALE_S
        self._lower: dict[int, int] = {}
        self._waiting: set[tuple[int, asyncio.Future[None]]] = set()
        self._listeners: set[Listener] = set()
        self.part = Supervised("positions", self._run)
        self._task: asyncio.Task[None] | None = None
        self._fresh: asyncio.Event = asyncio.Event()

    async def start(self) -> None:
        """Returns once the positions are known, or after a short while where the database does not answer."""
        self._task = self.part.start()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DEADLINE_S):
                await self._fresh.wait()

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def known(self) -> Mapping[int, int]:
        """Per partition what is committed, as far as this process knows. Empty where it has not heard for a while."""
        return dict(self._known) if time.monotonic() - self._heard_at < _STALE_S else {}

    def lowest(self) -> int:
        """Everything up to here is in every projection."""
        return min(self._known.values()) if self._known else 0

    def on_moved(self, listener: Listener) -> Callable[[], None]:
        """`listener` is told what moved, in the event loop. Returns what takes it away again."""
        self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)

    async def wait_for(self, position: int, timeout_s: float) -> bool:
        """True once every partition of every projection has passed `position`; False where that takes longer."""
        if self.lowest() >= position:
            return True
        waiter = position, asyncio.get_running_loop().create_future()
        self._waiting.add(waiter)
        try:
            async with asyncio.timeout(timeout_s):
                await waiter[1]
        except TimeoutError:
            return self.lowest() >= position
        finally:
            self._waiting.discard(waiter)
        return True

    async def _run(self) -> None:
        pause_s = _PAUSE_S
        while True:
            try:
                connection = await self._connect()
                try:
                    await connection.add_listener(CHANNEL, self._notified)
                    while True:
                        async with asyncio.timeout(_DEADLINE_S):
                            stored = await stored_positions(connection)
                        self._checked(stored)
                        pause_s = _PAUSE_S
                        await asyncio.sleep(_RECHECK_S)
                finally:
                    connection.terminate()
            except (
                OSError,
                TimeoutError,
                asyncpg.PostgresError,
                asyncpg.InterfaceError,
                asyncpg.InternalClientError,
            ) as error:
                end_if_cancelled()
                log.warning("listening for positions was interrupted", error=type(error).__name__)
                await asyncio.sleep(random.uniform(pause_s / 2, pause_s))
                pause_s = min(pause_s * 2, _PAUSE_MAX_S)

    def _notified(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        news = msgspec.json.decode(str(payload), type=dict[int, int])
        self._take({number: at for number, at in news.items() if at > self._known.get(number, -1)})

    def _checked(self, stored: Mapping[int, int]) -> None:
        """A position that is lower twice is believed: the database was taken back. Once, a notification was just quicker."""
        lower = {number: at for number, at in stored.items() if at < self._known.get(number, 0)}
        believed = {number: at for number, at in lower.items() if self._lower.get(number) == at}
        self._lower = lower
        self._heard_at = time.monotonic()
        self._take({number: at for number, at in stored.items() if at > self._known.get(number, -1)} | believed)
        self._fresh.set()

    def _take(self, moved: Mapping[int, int]) -> None:
        if not moved:
            return
        self._known.update(moved)
        lowest = self.lowest()
        for position, future in self._waiting:
            if position <= lowest and not future.done():
                future.set_result(None)
        for listener in tuple(self._listeners):
            listener(moved)
