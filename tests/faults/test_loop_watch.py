"""A call that blocks the event loop is seen while it lasts, by a thread that does not wait for the loop."""

from __future__ import annotations

import asyncio
import time

import structlog.testing

from isthmus.runtime.loop_watch import LoopWatch


async def test_f50_a_blocked_event_loop_is_told_where_it_stands_and_recovers() -> None:
    with structlog.testing.capture_logs() as lines, LoopWatch(blocked_s=0.2) as watch:
        await asyncio.sleep(0.3)
        time.sleep(1.0)  # noqa: ASYNC251  # the bug
        await asyncio.sleep(0.01)
        late = watch.lag_s
        async with asyncio.timeout(20):
            while watch.lag_s > 0.5:  # noqa: ASYNC110  # a beat of the watch, which tells nobody
                await asyncio.sleep(0.05)
    assert late > 0.5
    told = [line for line in lines if line["event"] == "the event loop is blocked"]
    assert any("test_loop_watch.py" in frame for frame in told[0]["where"])
