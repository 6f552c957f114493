"""Webhooks on their way out: kept until they are taken, sent again where they are not, signed as their provider signs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

#: Pauses between the attempts at one webhook, in seconds; after the last one it is given up.
_PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0)
_DEADLINE_S = 5.0
_KEPT_MAX = 1_000

#: Headers for a body, made at every attempt: a signature has an age.
Sign = Callable[[bytes], dict[str, str]]


@dataclass
class Delivery:
    """`statuses`: what came of each attempt, 0 where there was no answer."""

    url: str
    body: bytes
    sign: Sign = field(repr=False)
    statuses: list[int] = field(default_factory=list)
    taken: bool = False
    given_up: bool = False


class Webhooks:
    """`start` and `aclose` frame its life."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._client: httpx.AsyncClient | None = None

    def start(self) -> None:
        self._client = httpx.AsyncClient(timeout=_DEADLINE_S, trust_env=False)

    async def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()

    def send(self, url: str, body: bytes, sign: Sign) -> Delivery:
        delivery = Delivery(url, body, sign)
        self.deliveries = [*self.deliveries[-_KEPT_MAX + 1 :], delivery]
        task = asyncio.create_task(self._deliver(delivery))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return delivery

    async def _deliver(self, delivery: Delivery) -> None:
        for pause_s in (*_PAUSES_S, None):
            delivery.statuses.append(await self._attempt(delivery))
            if 200 <= delivery.statuses[-1] < 300:
                delivery.taken = True
                return
            if pause_s is not None:
                await asyncio.sleep(pause_s)
        delivery.given_up = True

    async def _attempt(self, delivery: Delivery) -> int:
        assert self._client is not None, "it was started"
        headers = {"Content-Type": "application/json", **delivery.sign(delivery.body)}
        try:
            return (await self._client.post(delivery.url, content=delivery.body, headers=headers)).status_code
        except httpx.HTTPError:
            return 0
