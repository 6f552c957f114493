"""Webhooks on their way in: kept first, then checked, told from their repetitions, and worked off by whoever comes to it.

What one says is a hint: consents are changed by the same command as ever, which never takes back what is over, and transactions are read
from the provider itself.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Mapping
from enum import StrEnum
from uuid import UUID

import asyncpg
import msgspec
import structlog
from prometheus_client import Counter

from isthmus.domain.banking import ProviderFault
from isthmus.domain.webhooks import Sealing, WebhookRefused, WebhookSender
from isthmus.failpoints import failpoint_async
from isthmus.write_models.bank_mirror import BankMirror
from isthmus.write_models.bank_sync import BankSync
from isthmus.write_models.connection import Connection, Pool
from isthmus.write_models.timers import enqueue

WORK_OFF = "work_off_webhook"
#: Headers that are kept with a webhook: what its signature stands in.
_KEPT = ("plaid-verification", "tl-signature", "x-tl-webhook-timestamp", "x-yapily-signature", "content-type")
#: Of what is refused so much is kept as evidence in a minute; of the rest only the number is known.
_REFUSED_A_MINUTE = 60

_taken = Counter(
    "isthmus_webhooks_total",
    "Webhooks by provider and outcome: taken, repeated, refused, parked, done.",
    ["provider", "outcome"],
)

log = structlog.get_logger(__name__)


class Taken(StrEnum):
    """ACCEPTED also where it came before. LATER: whether it is genuine cannot be told now, so that it shall come again."""

    ACCEPTED = "ACCEPTED"
    REFUSED = "REFUSED"
    LATER = "LATER"


class Webhooks:
    def __init__(
        self, pool: Pool, senders: Mapping[str, WebhookSender], sealing: Sealing, mirror: BankMirror, sync: BankSync
    ) -> None:
        self._pool = pool
        self._senders = senders
        self._sealing = sealing
        self._mirror = mirror
        self._sync = sync
        self._refused: deque[float] = deque(maxlen=_REFUSED_A_MINUTE)

    def knows(self, provider: str) -> bool:
        return provider in self._senders

    async def take(self, provider: str, headers: Mapping[str, str], path: str, body: bytes) -> Taken:
        """Raises asyncpg's errors: then nothing is kept, and it shall come again."""
        webhook_id = await self._keep(provider, headers, body)
        await failpoint_async("webhooks.kept")
        try:
            identity = await self._senders[provider].verify(headers, path, body)
        except WebhookRefused as refusal:
            _taken.labels(provider, "refused").inc()
            log.warning("a webhook is refused", provider=provider, why=str(refusal))
            if webhook_id is not None:
                await self._mark(webhook_id, "REFUSED", str(refusal))
            return Taken.REFUSED
        except ProviderFault as fault:
            log.warning("a webhook cannot be checked now", provider=provider, why=str(fault))
            return Taken.LATER
        if webhook_id is None:
            webhook_id = await self._keep(provider, headers, body, however_many=True)
        assert webhook_id is not None, "what is genuine is kept"
        return await self._accept(provider, webhook_id, identity)

    async def work_off(self, webhook_id: int) -> None:
        """Carry out what a webhook says. Again and again is once."""
        async with self._pool.acquire() as connection:
            row = await connection.fetchrow("select provider, sealed, state from webhooks where id = $1", webhook_id)
        if row is None or row["state"] != "WAITING":
            return
        provider, body = row["provider"], self._sealing.open(row["sealed"])
        if body is None:
            await self._mark(webhook_id, "PARKED", "it cannot be opened any more")
            return
        try:
            told = self._senders[provider].read(body)
        except WebhookRefused as refusal:
            _taken.labels(provider, "parked").inc()
            await self._mark(webhook_id, "PARKED", str(refusal))
            return
        consent_id = await self._consent_of(provider, told.reference)
        if consent_id is None or (told.news is None and not told.changed):
            _taken.labels(provider, "parked").inc()
            await self._mark(
                webhook_id, "PARKED", "it is about nothing of ours" if consent_id is None else "its kind is not known"
            )
            return
        if told.news is not None:
            await self._sync.record(consent_id, told.news)
        if told.changed:
            await self._mirror.want_sync(consent_id, attended=True)  # the bank asks to be read
        await failpoint_async("webhooks.worked")
        _taken.labels(provider, "done").inc()
        await self._mark(webhook_id, "DONE", None)

    async def _keep(
        self, provider: str, headers: Mapping[str, str], body: bytes, *, however_many: bool = False
    ) -> int | None:
        """Its number; None where too much came lately that was refused."""
        now = time.monotonic()
        if not however_many and len(self._refused) == _REFUSED_A_MINUTE and now - self._refused[0] < 60:
            return None
        self._refused.append(now)
        kept = {name: headers[name][:4_096] for name in _KEPT if name in headers}
        async with self._pool.acquire() as connection:
            webhook_id: int = await connection.fetchval(
                "insert into webhooks (provider, headers, sealed, verified, digest, state) "
                "values ($1, $2::text::jsonb, $3, false, $4, 'RECEIVED') returning id",
                provider,
                msgspec.json.encode(kept).decode(),
                self._sealing.seal(body),
                hashlib.sha256(body).digest(),
            )
        return webhook_id

    async def _accept(self, provider: str, webhook_id: int, identity: str) -> Taken:
        if self._refused:
            self._refused.pop()  # it was none of those
        digest = hashlib.sha256(identity.encode()).digest()
        try:
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute(
                    "update webhooks set verified = true, digest = $2, state = 'WAITING' where id = $1",
                    webhook_id,
                    digest,
                )
                await enqueue(connection, WORK_OFF, str(webhook_id).encode())
        except asyncpg.UniqueViolationError:
            _taken.labels(provider, "repeated").inc()
            await self._mark(webhook_id, "REPEATED", None)
            return Taken.ACCEPTED
        _taken.labels(provider, "taken").inc()
        return Taken.ACCEPTED

    async def _mark(self, webhook_id: int, state: str, why: str | None) -> None:
        async with self._pool.acquire() as connection:
            await connection.execute(
                "update webhooks set state = $2, why = $3 where id = $1 and state in ('RECEIVED', 'WAITING')",
                webhook_id,
                state,
                why,
            )

    async def _consent_of(self, provider: str, reference: str | None) -> UUID | None:
        if reference is None:
            return None
        async with self._pool.acquire() as connection:
            return await _find(connection, provider, self._mirror.reference_digest(provider, reference))


async def _find(connection: Connection, provider: str, digest: bytes) -> UUID | None:
    found = await connection.fetchval(
        "select id from consents where provider = $1 and reference_digest = $2", provider, digest
    )
    return None if found is None else UUID(str(found))
