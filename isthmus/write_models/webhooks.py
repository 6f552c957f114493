"""Webhooks on their way in: kept first, then checked, told from their repetitions, and worked off by whoever comes to it.

What one says is a hint: consents are changed by the same command as ever, which never takes back what is over, whether a link has become
of no use is asked of the provider itself, since it may have been repaired since, and so are transactions.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from uuid import UUID

import asyncpg
import msgspec
import structlog
from prometheus_client import Counter

from isthmus.domain.banking import ProviderFault
from isthmus.domain.webhooks import Sealing, WebhookNews, WebhookRefused, WebhookSender
from isthmus.failpoints import failpoint_async
from isthmus.write_models.bank_mirror import BankMirror
from isthmus.write_models.bank_sync import BankSync
from isthmus.write_models.connection import Connection, Pool
from isthmus.write_models.pay_ins import look_for
from isthmus.write_models.payments import advance
from isthmus.write_models.timers import enqueue, enqueue_all
from isthmus.write_models.together import Together

WORK_OFF = "work_off_webhook"
#: Headers that are kept with a webhook: what its signature stands in.
_KEPT = ("plaid-verification", "tl-signature", "x-tl-webhook-timestamp", "x-yapily-signature", "content-type")
#: Of what is refused or repeated so much is kept as evidence in a minute; of the rest only the number is known. What else comes beyond
#: that is kept once it is known to be genuine.
_SPENT_A_MINUTE = 60
#: So many are written together, and so many may wait for it: beyond that they shall come again.
_BATCH, _WAITING_MAX = 256, 2_000
#: What waits for so long to be worked off is begun again.
_LATE = timedelta(seconds=30)

_KEEP = """
insert into webhooks (provider, headers, sealed, verified, digest, state)
select provider, headers::jsonb, sealed, false, digest, 'RECEIVED'
from unnest($1::text[], $2::text[], $3::bytea[], $4::bytea[]) with ordinality as t (provider, headers, sealed, digest, n) order by n
returning id"""
_ACCEPT = """
update webhooks w set verified = true, digest = g.digest, state = 'WAITING'
from unnest($1::bigint[], $2::text[], $3::bytea[]) as g (id, provider, digest)
where w.id = g.id and w.state = 'RECEIVED' and not exists (
    select from webhooks o where o.provider = g.provider and o.digest = g.digest and o.verified and o.state <> 'REPEATED')
returning w.id"""

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


@dataclass(frozen=True)
class _Arrived:
    """A webhook as it came. `digest`: of its body, until it is known what tells it from its repetitions."""

    provider: str
    headers: str
    sealed: bytes
    digest: bytes


@dataclass(frozen=True)
class _Genuine:
    webhook_id: int
    provider: str
    digest: bytes


class Webhooks:
    def __init__(
        self, pool: Pool, senders: Mapping[str, WebhookSender], sealing: Sealing, mirror: BankMirror, sync: BankSync
    ) -> None:
        self._pool = pool
        self._senders = senders
        self._sealing = sealing
        self._mirror = mirror
        self._sync = sync
        self._spent: deque[float] = deque(maxlen=_SPENT_A_MINUTE)
        self._keeping = Together(self._keep_all, most=_BATCH, waiting_max=_WAITING_MAX)
        self._accepting = Together(self._accept_all, most=_BATCH, waiting_max=_WAITING_MAX)

    def knows(self, provider: str) -> bool:
        return provider in self._senders

    async def take(self, provider: str, headers: Mapping[str, str], path: str, body: bytes) -> Taken:
        """Raises asyncpg's errors, and TooMany: then it shall come again."""
        arrived = self._arrived(provider, headers, body)
        webhook_id = await self._keeping.do(arrived) if self._spend() else None
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
        digest = hashlib.sha256(identity.encode()).digest()
        if webhook_id is None:
            if await self._known(provider, digest):
                _taken.labels(provider, "repeated").inc()
                return Taken.ACCEPTED
            webhook_id = await self._keeping.do(arrived)
        if await self._accepting.do(_Genuine(webhook_id, provider, digest)):
            _taken.labels(provider, "taken").inc()
            if self._spent:
                self._spent.pop()
        else:
            _taken.labels(provider, "repeated").inc()
        return Taken.ACCEPTED

    async def late(self) -> int:
        """Have those worked off again that wait for longer than they should: whoever came to them ended, or failed. Returns how many."""
        async with self._pool.acquire() as connection:
            rows = await connection.fetch(
                "select id from webhooks where state = 'WAITING' and received_at < now() - $1::interval order by id limit $2",
                _LATE,
                _BATCH,
            )
            for row in rows:
                payload = str(row["id"])
                await enqueue(connection, WORK_OFF, payload.encode(), dedupe_key=f"{WORK_OFF}:{payload}")
        return len(rows)

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
        if told.payment is not None or told.our_payment is not None:
            await self._look_at(provider, webhook_id, told)
            return
        if told.pay_in is not None:
            async with self._pool.acquire() as connection, connection.transaction():
                await look_for(connection, provider, told.pay_in)
            _taken.labels(provider, "done").inc()
            await self._mark(webhook_id, "DONE", None)
            return
        consent_id = await self._consent_of(provider, told.reference)
        if consent_id is None and told.reference is not None and told.news is not None:
            # A payment is a consent of its own with some providers.
            await self._look_at(provider, webhook_id, replace(told, payment=told.reference))
            return
        if consent_id is None or (told.news is None and not told.changed):
            _taken.labels(provider, "parked").inc()
            await self._mark(
                webhook_id, "PARKED", "it is about nothing of ours" if consent_id is None else "its kind is not known"
            )
            return
        if told.news is not None:
            await self._sync.hear(consent_id, told.news, ahead=told.ahead)
        if told.changed:
            await self._mirror.outdate(consent_id)
            await self._mirror.want_sync(consent_id, attended=True)  # the bank asks to be read
        await failpoint_async("webhooks.worked")
        _taken.labels(provider, "done").inc()
        await self._mark(webhook_id, "DONE", None)

    async def _look_at(self, provider: str, webhook_id: int, told: WebhookNews) -> None:
        """What became of a payment is asked of the provider itself, soon. It is found by the provider's name for it, or by our own."""
        async with self._pool.acquire() as connection, connection.transaction():
            row = await connection.fetchrow(
                "select id, provider_reference from payments where provider = $1 and (provider_reference = $2 or id = $3) "
                "order by provider_reference = $2 desc nulls last limit 1",
                provider,
                told.payment,
                told.our_payment,
            )
            if row is not None:
                await advance(
                    connection, row["id"], told=told.payment if row["provider_reference"] != told.payment else None
                )
        _taken.labels(provider, "done" if row else "parked").inc()
        await self._mark(webhook_id, *(("DONE", None) if row else ("PARKED", "it is about nothing of ours")))

    def _arrived(self, provider: str, headers: Mapping[str, str], body: bytes) -> _Arrived:
        kept = {name: headers[name][:4_096] for name in _KEPT if name in headers}
        return _Arrived(
            provider,
            msgspec.json.encode(kept).decode(),
            self._sealing.seal(body),
            hashlib.sha256(body).digest(),
        )

    def _spend(self) -> bool:
        """Whether one more may be kept before it is known to be genuine and new."""
        now = time.monotonic()
        if len(self._spent) == _SPENT_A_MINUTE and now - self._spent[0] < 60:
            return False
        self._spent.append(now)
        return True

    async def _known(self, provider: str, digest: bytes) -> bool:
        async with self._pool.acquire() as connection:
            return bool(
                await connection.fetchval(
                    "select true from webhooks where provider = $1 and digest = $2 and verified and state <> 'REPEATED'",
                    provider,
                    digest,
                )
            )

    async def _keep_all(self, arrived: Sequence[_Arrived]) -> Sequence[int]:
        async with self._pool.acquire() as connection:
            rows = await connection.fetch(
                _KEEP,
                [one.provider for one in arrived],
                [one.headers for one in arrived],
                [one.sealed for one in arrived],
                [one.digest for one in arrived],
            )
        return sorted(row["id"] for row in rows)  # numbers are given in the order of the rows

    async def _accept_all(self, genuine: Sequence[_Genuine]) -> Sequence[bool]:
        """Whether each is new. Its work is begun in the same transaction."""
        try:
            return await self._accept_once(genuine)
        except asyncpg.UniqueViolationError:  # another process accepted one of them at the same time
            return await self._accept_once(genuine)

    async def _accept_once(self, genuine: Sequence[_Genuine]) -> Sequence[bool]:
        first: dict[tuple[str, bytes], int] = {}
        for one in genuine:
            first.setdefault((one.provider, one.digest), one.webhook_id)
        async with self._pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(
                _ACCEPT, list(first.values()), [provider for provider, _ in first], [digest for _, digest in first]
            )
            new = {row["id"] for row in rows}
            await connection.execute(
                "update webhooks set verified = true, state = 'REPEATED' where id = any($1) and state = 'RECEIVED'",
                [one.webhook_id for one in genuine if one.webhook_id not in new],
            )
            await enqueue_all(connection, WORK_OFF, [str(one).encode() for one in sorted(new)])
        return [one.webhook_id in new for one in genuine]

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
