"""Puts notifications together: what notes them and what sends them, both for `work`; what a person switches off `serve` notes itself.

Jobs that send have a queue runner of their own, and calls of theirs a circuit breaker of their own: a provider that hangs takes no place
from payments, nor from codes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import asyncpg
import httpx

from isthmus.domain.notifications import Channel
from isthmus.integrations.banking.calls import Manners
from isthmus.runtime.payments import notifier
from isthmus.runtime.wiring import WriteSide
from isthmus.settings import Settings
from isthmus.write_models.notice_delivery import NoticeDelivery
from isthmus.write_models.notices import SEND_NOTICE, Notices
from isthmus.write_models.timers import Schedule, Timers, every_seconds

_SWEEP_S = 10


@dataclass(frozen=True)
class Noticing:
    notices: Notices
    delivery: NoticeDelivery


def notices_of(settings: Settings, side: WriteSide) -> Notices:
    told = settings.notifications
    channels = tuple(Channel(name) for name in told.channels) if told.carried else ()
    return Notices(side.pool, channels, timedelta(hours=told.send_within_hours), side.clock)


@asynccontextmanager
async def noticing(settings: Settings, side: WriteSide) -> AsyncIterator[Noticing]:
    within = timedelta(hours=settings.notifications.send_within_hours)
    async with httpx.AsyncClient(timeout=settings.banking.deadline_s, trust_env=False) as http:
        # Tried again by jobs, later and later, and not at once.
        carrier = notifier(
            settings, http, "onesignal_notifications", Manners(deadline_s=settings.banking.deadline_s, attempts=1)
        )
        yield Noticing(
            notices_of(settings, side),
            NoticeDelivery(side.pool, side.texts, carrier, side.commands.assets, within, side.clock),
        )


def notice_timers(connect: Callable[[], Awaitable[asyncpg.Connection[asyncpg.Record]]], parts: Noticing) -> Timers:
    async def send(payload: bytes | None) -> None:
        assert payload is not None, "the payload is the notification's id, and the channel"
        notification_id, channel = payload.decode().split()
        await parts.delivery.deliver(UUID(notification_id), Channel(channel))

    async def sweep() -> None:
        await parts.notices.sweep()

    return Timers(connect, {SEND_NOTICE: send}, (Schedule("missed_notifications", every_seconds(_SWEEP_S), sweep),))
