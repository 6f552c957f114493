"""Fail points: named places in the code where a test may have the process die, fail, hang or stall.

Off unless set, by `ISTHMUS_FAIL` (for processes) or `armed` (within a test); a point that is off costs a call and a look at an
empty dict. Every name stands in `POINTS`, so that tests can enumerate them and a misspelt one stops the start.

    ISTHMUS_FAIL=commit.before:kill                die at every passing (so: the first)
    ISTHMUS_FAIL=relay.published:3:raise           raise at the third passing only
    ISTHMUS_FAIL=unit.after_lock:hang,leases.renew:1:sleep=5
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog

POINTS: Mapping[str, str] = {
    "committer.next": "the writer is about to begin a batch: an error here is its own, and no command's",
    "committer.taken": "a batch was taken from the queue, nothing is asked of the database yet",
    "unit.before_lock": "the transaction has begun, no account is locked",
    "unit.after_lock": "accounts are locked and read",
    "unit.after_decide": "every command of the batch is decided in memory",
    "unit.before_flush": "nothing is written yet but timers of holds",
    "commit.before": "everything is written, COMMIT is not sent",
    "commit.after": "committed, nobody has an answer",
    "relay.read": "events are read, nothing is published",
    "bank_links.returned": "what a person brought back is taken, nothing is exchanged",
    "bank_links.exchanged": "the provider has given tokens, they are not kept",
    "bank_links.kept": "tokens are kept, the consent is not authorised",
    "bank_sync.before_rows": "pages are read, nothing is written",
    "bank_sync.before_commit": "rows and cursor are written, not committed",
    "webhooks.kept": "a webhook is kept, not checked",
    "webhooks.worked": "what a webhook says is carried out, it is not marked",
    "payment_saga.begun": "a submission is written down, the bank has not heard of it",
    "payment_saga.sent": "the bank has the payment, nothing of that is written",
    "notices.noted": "a notification is written, with the job that sends it, not committed",
    "notices.sent": "what there is to tell was sent, nothing of that is written",
    "bank_payments.begun": "that the bank is to ask its customer is written down, it has not heard of it",
    "bank_payments.asked": "the bank asks its customer, where is not written",
    "bank_payments.answered": "the provider has told what became of a payment, nothing of that is written",
    "bank_payments.submitting": "a submission is written down, the provider has not heard of it",
    "bank_payments.submitted": "the provider has the payment, nothing of that is written",
    "parked.recorded": "what a provider tells of a parked payment is written, not that an operator looked into it",
    "relay.published": "the broker has acknowledged, the position is not kept",
    "relay.kept": "the position is kept",
    "projector.before_apply": "records are polled, nothing is applied",
    "projector.applied": "rows are written, not committed",
    "projector.committed": "rows are committed, nobody is told and no offset is",
    "broadcaster.before_tell": "moves were taken from the queue, Redis has not heard of them",
    "timers.job": "a job was taken, its work has not begun",
    "timers.done": "a job's work is done, the queue does not know",
    "leases.taken": "a lease is held, its work has not begun",
    "leases.renew": "a lease is about to be renewed",
}
ACTIONS = ("kill", "raise", "disconnect", "hang", "sleep")

_HANG_S = 3_600.0
_SLEEP_S = 5.0

log = structlog.get_logger(__name__)


class FailPointError(ValueError):
    """What was to be armed is no fail point or no action; the message says what there is."""


class InjectedFault(Exception):
    """Raised by a fail point set to `raise`: an error that nothing in the product knows."""


@dataclass
class Armed:
    """`nth` passing only, or every one where it is 0. `passed` counts passings since it was armed."""

    name: str
    action: str
    nth: int = 0
    seconds: float = _SLEEP_S
    passed: int = field(default=0, compare=False)

    def due(self) -> bool:
        self.passed += 1
        return self.nth in (0, self.passed)


_armed: dict[str, Armed] = {}


def failpoint(name: str) -> None:
    """A place in synchronous code: `hang` and `sleep` stop the whole thread, its event loop included."""
    if _armed and (point := _due(name)) is not None:
        _act(point)
        if point.action in ("hang", "sleep"):
            time.sleep(point.seconds)


async def failpoint_async(name: str) -> None:
    """A place in a coroutine: `hang` stops the task alone. `sleep` stops the event loop, as a bug that blocks would."""
    if _armed and (point := _due(name)) is not None:
        _act(point)
        if point.action == "hang":
            await asyncio.sleep(point.seconds)
        elif point.action == "sleep":
            time.sleep(point.seconds)  # noqa: ASYNC251  # to block is what was asked for


def arm(wish: str) -> None:
    """Set the points of `name[:nth]:action[,…]`, in addition to those that are set. Raises FailPointError."""
    for point in parse(wish):
        _armed[point.name] = point
        log.warning("a fail point is set: this process will fail on purpose", point=point.name, action=point.action)


def disarm() -> None:
    _armed.clear()


@contextmanager
def armed(wish: str) -> Iterator[dict[str, Armed]]:
    """Within a test: the points by name, whose `passed` says how often each was come by."""
    before = dict(_armed)
    arm(wish)
    try:
        yield _armed
    finally:
        _armed.clear()
        _armed.update(before)


def parse(wish: str) -> list[Armed]:
    """Raises FailPointError naming what is wrong."""
    return [_parse_one(part.strip()) for part in wish.split(",") if part.strip()]


def _parse_one(text: str) -> Armed:
    name, *rest = text.split(":")
    if name not in POINTS:
        raise FailPointError(f"{name} is no fail point; there are {', '.join(POINTS)}")
    nth = 0
    if len(rest) == 2:
        if not rest[0].isdecimal() or int(rest[0]) == 0:
            raise FailPointError(f"{text}: the passing is a whole number from 1")
        nth = int(rest.pop(0))
    action, _, seconds = (rest[0] if len(rest) == 1 else "").partition("=")
    if action not in ACTIONS:
        raise FailPointError(f"{text}: write name[:nth]:action, with an action of {', '.join(ACTIONS)}")
    try:
        default = _HANG_S if action == "hang" else _SLEEP_S
        return Armed(name, action, nth, float(seconds) if seconds else default)
    except ValueError:
        raise FailPointError(f"{text}: {seconds} is no number of seconds") from None


def _due(name: str) -> Armed | None:
    assert name in POINTS, f"{name} is not among POINTS"
    point = _armed.get(name)
    return point if point is not None and point.due() else None


def _act(point: Armed) -> None:
    log.warning("fail point", point=point.name, action=point.action, passed=point.passed)
    if point.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif point.action == "raise":
        raise InjectedFault(point.name)
    elif point.action == "disconnect":
        raise ConnectionResetError(f"injected at {point.name}")
