"""A task that a bug ends is told of and started again; one that is asked to end does."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from isthmus.supervised import Supervised


def crashes(name: str) -> float:
    return REGISTRY.get_sample_value("isthmus_task_crashes_total", {"task": name}) or 0.0


@pytest.mark.parametrize("error", [KeyError("a bug"), asyncio.CancelledError(), TimeoutError()])
async def test_whatever_ends_it_from_within_it_is_started_again(error: BaseException) -> None:
    """A cancellation that nobody asked for escapes from libraries now and then, and would end a task without a word."""
    runs = 0
    again = asyncio.Event()

    async def run() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise error
        again.set()
        await asyncio.Event().wait()

    part, before = Supervised("tried", run), crashes("tried")
    with capture_logs() as lines:
        task = part.start()
        async with asyncio.timeout(20):
            await again.wait()
    assert part.running
    assert (part.crashes, part.last_error, crashes("tried") - before) == (1, type(error).__name__, 1)
    assert [(line["event"], line["task"], line["log_level"]) for line in lines] == [
        ("task crashed; starting it again", "tried", "error")
    ]

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (part.running, runs, part.crashes) == (False, 2, 1)


@pytest.mark.parametrize(
    ("error", "crashed"),
    [
        (ConnectionResetError(), 0),
        (ExceptionGroup("of two tasks", [ConnectionResetError(), ExceptionGroup("within", [TimeoutError()])]), 0),
        (ExceptionGroup("of two tasks", [ConnectionResetError(), KeyError("a bug")]), 1),
    ],
    ids=["alone", "of several", "beside a bug"],
)
async def test_what_it_stands_on_being_away_is_no_crash_and_it_is_started_again(error: Exception, crashed: int) -> None:
    runs = 0
    again = asyncio.Event()

    async def run() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise error
        again.set()
        await asyncio.Event().wait()

    part, before = Supervised("tried", run, (OSError, TimeoutError)), crashes("tried")
    with capture_logs() as lines:
        task = part.start()
        async with asyncio.timeout(20):
            await again.wait()
    assert part.running
    assert (part.crashes, crashes("tried") - before) == (crashed, crashed)
    assert part.last_error == type(error).__name__
    assert [line["log_level"] for line in lines] == ["error" if crashed else "warning"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_one_that_crashes_again_and_again_is_not_running_between_and_is_tried_less_often() -> None:
    loop, began = asyncio.get_running_loop(), []

    async def run() -> None:
        began.append(loop.time())
        raise KeyError

    part = Supervised("tried", run)
    task = part.start()
    async with asyncio.timeout(20):
        while len(began) < 4:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    await asyncio.sleep(0)
    assert not part.running
    task.cancel()
    pauses = [later - earlier for earlier, later in pairwise(began)]
    assert pauses[0] >= 0.05
    assert pauses[2] >= 0.2


async def test_a_task_that_is_told_to_end_does_though_an_error_takes_the_place_of_its_cancellation() -> None:
    """As where a transaction cannot be rolled back on the way out, because its connection is gone."""
    begun = asyncio.Event()

    async def run() -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise ConnectionResetError from None

    task = Supervised("ends", run).start()
    await begun.wait()
    task.cancel()

    done, _ = await asyncio.wait({task}, timeout=10)
    assert done, "it was started again"
    assert task.cancelled()
