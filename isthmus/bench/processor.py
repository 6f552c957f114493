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
    server = psutil.Process(postmaster)
    times = [process.cpu_times() for process in (server, *server.children())]
    return Spent(time.process_time(), sum(one.user + one.system for one in times))
