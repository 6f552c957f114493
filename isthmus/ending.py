"""Tasks that end when they are told to, whatever their libraries do on the way out.

A cancellation comes once. Where a connection breaks while it is on its way (a transaction that cannot be rolled back, say), the
library's error takes its place; and a loop that takes errors as they come and tries again would never hear of it, nor end.

A task that goes on after an `asyncio.TaskGroup` of its own may not ask here: where one of the group's tasks fails while it is waited
for, the group's cancellation of its owner stays counted (in Python 3.11 and 3.12), as if somebody else had told it to end. Such a
group gets a task of its own that ends with it.
"""

from __future__ import annotations

import asyncio


def end_if_cancelled() -> None:
    """For a loop that caught an error and is about to go on. Raises CancelledError where its task was told to end meanwhile."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
