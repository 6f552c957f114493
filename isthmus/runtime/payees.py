"""Puts together where payees are checked and saved, for `serve`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import httpx
from redis.asyncio import Redis

from isthmus.domain.identifiers import uuid7_source
from isthmus.domain.payee_checks import ANSWER_WITHIN, PayeeVerification
from isthmus.integrations.banking.calls import Calls, Manners
from isthmus.integrations.payments.truelayer_verification import TrueLayerVerification
from isthmus.runtime.rate_limits import Bucket, RateLimits
from isthmus.runtime.wiring import WriteSide
from isthmus.settings import Settings
from isthmus.write_models.payee_desk import PayeeDesk

_DAY_S = 86_400.0


class RatedAllowance:
    """Implements `write_models.payee_desk.Allowance`: by the minute and by the day."""

    def __init__(self, redis: Redis, per_minute: int, per_day: int, processes: int) -> None:
        self._minute = RateLimits(redis, processes=processes)
        self._day = RateLimits(redis, processes=processes, window_s=_DAY_S)
        self._per_minute, self._per_day = per_minute, per_day

    async def take(self, person: UUID) -> float:
        minute = Bucket("payee_check", str(person), self._per_minute)
        wait_s = await self._minute.take(minute)
        if not wait_s:
            wait_s = await self._day.take(Bucket("payee_check_day", str(person), self._per_day))
            if wait_s:
                await self._minute.give_back(minute)
        return wait_s


@asynccontextmanager
async def payee_desk(settings: Settings, side: WriteSide, redis: Redis) -> AsyncIterator[PayeeDesk]:
    told = settings.payees
    allowance = RatedAllowance(redis, told.checks_per_minute, told.checks_per_day, settings.api.processes)
    async with httpx.AsyncClient(timeout=ANSWER_WITHIN.total_seconds(), trust_env=False) as http:
        verification = _verification(settings, side, http)
        ids = uuid7_source(side.clock.now)
        devices = settings.sca.rp_id is not None
        yield PayeeDesk(side.pool, side.commands, side.texts, side.clock, ids, verification, allowance, devices=devices)


def _verification(settings: Settings, side: WriteSide, http: httpx.AsyncClient) -> PayeeVerification | None:
    told = settings.banking
    if told.truelayer_client_id is None or told.truelayer_secret is None:
        return None
    # Asked once, and given up before the whole is: who hangs is found out, and left alone for a while.
    calls = Calls("truelayer_verification", Manners(deadline_s=ANSWER_WITHIN.total_seconds() / 2, attempts=1))
    secret = told.truelayer_secret.get_secret_value()
    return TrueLayerVerification(
        told.truelayer_auth_url, told.truelayer_data_url, told.truelayer_client_id, secret, http, calls, side.clock
    )
