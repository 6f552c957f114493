"""Notices' own consumer group: what is on the log is noted as it comes. Offsets are kept once it is noted, and only save reading again."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from isthmus.domain.event_codec import (
    API_KEY,
    CONSENT,
    PAYMENT,
    PERSONAL_LIMIT,
    SAVED_PAYEE,
    SCA_APP,
    SCA_DEVICE,
    SCA_GUARD,
)
from isthmus.domain.log import LogConsumer, Received
from isthmus.write_models.notices import Notices

GROUP = "isthmus.notifications"
_KINDS = (PAYMENT, SCA_GUARD, SCA_DEVICE, SCA_APP, API_KEY, SAVED_PAYEE, PERSONAL_LIMIT, CONSENT)
#: How the names of what may be told begin.
TOLD_ABOUT = tuple(f"{kind}:".encode() for kind in _KINDS)
_POLL_S, _POLL_RECORDS_MAX = 1.0, 4_000
_REMEMBER_S = 2.0
#: A place beyond what the database counts to is none of ours, and would stop whoever asked for it, again and again.
_DIGITS_MAX = 18
_PAUSE_S, _PAUSE_MAX_S = 0.1, 2.0

log = structlog.get_logger(__name__)


@dataclass
class NoticeConsumer:
    """`run` until cancelled; raises what the database raises. `identity` says which log is ours, where several share a bus."""

    notices: Notices
    consumer: Callable[[], LogConsumer]
    failures: tuple[type[Exception], ...]
    identity: str

    async def run(self) -> None:
        pause_s = _PAUSE_S
        while True:
            consumer = self.consumer()
            try:
                await consumer.start(_shifted, _shifted)
                pause_s = _PAUSE_S
                await self._consume(consumer)
            except self.failures as error:
                log.warning("the bus does not answer; notifications come later", error=str(error))
            finally:
                await consumer.aclose()
            await asyncio.sleep(random.uniform(pause_s / 2, pause_s))
            pause_s = min(pause_s * 2, _PAUSE_MAX_S)

    async def _consume(self, consumer: LogConsumer) -> None:
        offsets: dict[int, int] = {}
        remembered = time.monotonic()
        while True:
            polled = await consumer.poll(_POLL_S, _POLL_RECORDS_MAX)
            await self.notices.take(positions_of(self.identity, polled))
            offsets |= {partition: received[-1].offset + 1 for partition, received in polled.items() if received}
            if offsets and time.monotonic() - remembered > _REMEMBER_S:
                await consumer.remember(offsets)
                offsets, remembered = {}, time.monotonic()


def positions_of(identity: str, polled: Mapping[int, Sequence[Received]]) -> list[int]:
    """Where in our log something is that may be told. Only what the headers say is looked at."""
    mine = identity.encode()
    every: Iterable[Received] = (one for received in polled.values() for one in received)
    return sorted(
        {
            int(one.headers["position"])
            for one in every
            if one.headers.get("log") == mine
            and one.headers.get("aggregate", b"").startswith(TOLD_ABOUT)
            and one.headers.get("position", b"").isdigit()
            and len(one.headers["position"]) <= _DIGITS_MAX
        }
    )


async def _shifted(_: frozenset[int]) -> None:
    """Whose partitions they are is the group's business: nothing is kept about any."""
