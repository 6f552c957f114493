"""Processor time: what a command costs whoever works on it, which moves less with the machine's other work than seconds do."""

from __future__ import annotations

import time
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Spent:
    """Seconds of processor time since the start: of this process (clients and product), and of PostgreSQL with all its backends."""

    here_s: float
    database_s: float

    def since(self, before: Spent) -> Spent:
        return Spent(self.here_s - before.here_s, self.database_s - before.database_s)


def spent(postmaster: int) -> Spent:
    """A backend that has ended since is missing: connections are kept open while something is measured."""
    return Spent(time.process_time(), family_s(postmaster))


def family_s(pid: int) -> float:
    """Seconds of processor time of a process and of those that it started and that still run."""
    process = psutil.Process(pid)
    return sum(processor_s(one.pid) for one in (process, *process.children()))


def processor_s(pid: int) -> float:
    """Seconds of processor time of one process since its start."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def child_that_runs(parent: int, command: str) -> int:
    """The id of the child of `parent` that has `command` among its arguments."""
    found = next(child for child in psutil.Process(parent).children() if command in child.cmdline())
    return int(found.pid)
