"""Closed-loop clients: each has one request in flight, and sends the next when it has its answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from isthmus.bench.report import percentile

_WARM_UP_S_MAX = 0.5


@dataclass(frozen=True)
class Measured:
    """`seconds` is from the first request until the last answer; `latencies_s` has one value a request."""

    seconds: float
    latencies_s: list[float]

    @property
    def per_second(self) -> float:
        return len(self.latencies_s) / self.seconds

    @property
    def p50_ms(self) -> float:
        return percentile(self.latencies_s, 50) * 1_000

    @property
    def p99_ms(self) -> float:
        return percentile(self.latencies_s, 99) * 1_000


async def closed_loop(clients: int, seconds: float, request: Callable[[int], Awaitable[object]]) -> Measured:
    """`request(client)` until the time is over, after a short warm-up that is not counted. What it raises ends the bench."""
    await _drive(clients, min(_WARM_UP_S_MAX, seconds / 4), request)
    return await _drive(clients, seconds, request)


async def _drive(clients: int, seconds: float, request: Callable[[int], Awaitable[object]]) -> Measured:
    latencies: list[float] = []
    began = time.perf_counter()
    over = began + seconds

    async def client(number: int) -> None:
        sent = time.perf_counter()
        while sent < over:
            await request(number)
            answered = time.perf_counter()
            latencies.append(answered - sent)
            sent = answered

    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(client(number))
    return Measured(time.perf_counter() - began, latencies)
