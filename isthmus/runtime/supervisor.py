"""Keeps children running: starts them again when they die, with longer and longer pauses, and gives up on one that cannot stay."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from isthmus.runtime import processes
from isthmus.runtime.child import Child, ChildError, Spec
from isthmus.runtime.data_directory import DataDirectory

_POLL_S, _WATCH_S, _MEMORY_POLL_S = 0.01, 0.1, 1.0
_DEATHS_MAX, _DEATHS_WITHIN_S = 5, 30.0
#: Of one that never answered, which will hardly learn to: whoever waits for `ready` hears of it sooner.
_FALSE_STARTS_MAX = 3
_PAUSES_S = (0.1, 0.3, 1.0, 3.0)


class Supervisor:
    """All its methods belong to the main thread (see `launch`). `say` gets a sentence about whatever happens to a child."""

    def __init__(self, data: DataDirectory, say: Callable[[str], None]) -> None:
        self._data = data
        self._say = say
        self._outgrown: set[int] = set()
        self._answered: set[Child] = set()
        self._children: list[Child] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Raises ChildError once a child cannot be kept running."""

    async def start(self, spec: Spec) -> Child:
        """Returns once it answers. From here on it is started again whenever it dies."""
        child = Child(spec, self._data)
        await asyncio.to_thread(spec.prepare)
        if self._stopping:
            raise asyncio.CancelledError
        child.spawn()
        self._children.append(child)
        self._tasks.append(asyncio.create_task(self._keep(child)))
        until = time.monotonic() + spec.start_s
        while not await asyncio.to_thread(child.answers):
            if self.failed.done():
                await asyncio.shield(self.failed)
            if time.monotonic() > until:
                raise child.failure()
            await asyncio.sleep(child.pause_s)
        self._answered.add(child)
        return child

    def bound_memory(self, child: Child, mib_max: int) -> None:
        self._tasks.append(asyncio.create_task(self._bound_memory(child, mib_max)))

    async def stop(self, groups: Sequence[Callable[[Child], bool]], *, at_once: asyncio.Event) -> None:
        """Group after group: each is asked, waited for as long as its children are granted, and killed then (or `at_once`)."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for belongs in groups:
            await asyncio.gather(*(self._stop(child, at_once) for child in self._children if belongs(child)))

    async def _stop(self, child: Child, at_once: asyncio.Event) -> None:
        began = time.monotonic()
        child.ask_to_stop()
        while child.pid is not None:
            if at_once.is_set() or time.monotonic() - began > child.spec.stop_s:
                self._say(f"{child.name} did not end within {time.monotonic() - began:.1f} s and was killed")
                child.kill()
                await asyncio.sleep(_WATCH_S)
            await asyncio.sleep(_POLL_S)

    async def _keep(self, child: Child) -> None:
        deaths: deque[float] = deque(maxlen=_DEATHS_MAX)
        while True:
            await asyncio.sleep(_WATCH_S)
            if child.exit_code is None:
                continue
            if child.last_pid in self._outgrown:
                self._outgrown.clear()  # it was asked to go, however often that is
            else:
                now = time.monotonic()
                recent = sum(1 for death in deaths if now - death < _DEATHS_WITHIN_S)
                deaths.append(now)
                if recent + 1 >= (_DEATHS_MAX if child in self._answered else _FALSE_STARTS_MAX):
                    if not self.failed.done():
                        self.failed.set_exception(child.failure())
                    return
                pause_s = _PAUSES_S[min(recent, len(_PAUSES_S) - 1)]
                self._say(f"{child.name} {child.ending}; starting it again in {pause_s} s (log: {child.log_file})")
                await asyncio.sleep(pause_s)
            try:
                await asyncio.to_thread(child.spec.prepare)
                child.spawn()
            except (ChildError, OSError) as error:
                self._say(f"{child.name} could not be started: {error}")
            except Exception as error:  # noqa: BLE001  # a bug of ours: nobody would keep the child running any more
                if not self.failed.done():
                    self.failed.set_exception(error)
                return

    async def _bound_memory(self, child: Child, mib_max: int) -> None:
        """By ending it: the one that keeps it running starts it anew."""
        while True:
            await asyncio.sleep(_MEMORY_POLL_S)
            if (pid := child.pid) is not None and (mib := processes.resident_mib(pid)) > mib_max:
                self._say(f"{child.name} holds {mib:.0f} MiB, more than {mib_max}: starting it anew")
                self._outgrown.add(pid)
                child.ask_to_stop()
                with suppress(TimeoutError):
                    async with asyncio.timeout(child.spec.stop_s):
                        while child.pid == pid:  # noqa: ASYNC110  # another process ends: only polling sees it
                            await asyncio.sleep(_POLL_S)
                    continue
                child.kill()
