"""What banking does by itself: consents that end, links that are due to be read, ends that a bank has not heard of yet."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

import structlog

from isthmus.domain.banking import BankProvider
from isthmus.domain.clock import Clock
from isthmus.domain.consents import MindConsentEnd
from isthmus.write_models.bank_mirror import BankMirror, system_envelope
from isthmus.write_models.commands import CommandBus
from isthmus.write_models.connection import Pool
from isthmus.write_models.consents import consents_to_mind

#: For so long a provider is told again and again that a consent is over; then its tokens are forgotten all the same.
PATIENCE = timedelta(days=1)
_BATCH = 200
#: What failed once, or is not there yet, is tried again after so long.
_AGAIN = timedelta(minutes=5)

log = structlog.get_logger(__name__)


class BankUpkeep:
    def __init__(
        self, pool: Pool, commands: CommandBus, providers: Mapping[str, BankProvider], mirror: BankMirror, clock: Clock
    ) -> None:
        self._pool = pool
        self._commands = commands
        self._providers = providers
        self._mirror = mirror
        self._clock = clock

    async def mind_ends(self) -> int:
        """Consents that are over are said to be, and those whose end is near. Returns how many were looked at."""
        async with self._pool.acquire() as connection:
            due = await consents_to_mind(connection, _BATCH, self._clock.stamp())
        for consent_id in due:
            wish = MindConsentEnd(consent_id)
            which = f"{consent_id} {self._clock.now().isoformat()}"
            await self._commands.run(wish, system_envelope(wish, which, f"consent-{consent_id}"))
        return len(due)

    async def end_links(self) -> int:
        """Consents that are over for good, of which something is left to do. Returns how many are done."""
        async with self._pool.acquire() as connection:
            rows = await connection.fetch(
                "select c.id, e.committed_at < coalesce($3, now()) - $1::interval as waited from consents c "
                "join lateral (select committed_at from event_store e where e.aggregate_id = c.id order by version desc limit 1) e on true "
                "where c.status in ('REVOKED', 'REJECTED', 'FAILED') and (exists (select from provider_tokens t where t.link_id = c.id) "
                "or (c.deleted and (exists (select from link_keys k where k.link_id = c.id) "
                "or exists (select from bank_accounts a where a.consent_id = c.id and a.linked)))) limit $2",
                PATIENCE,
                _BATCH,
                self._clock.stamp(),
            )
        done = [
            await self._mirror.end(UUID(str(row["id"])), self._providers, patient=not row["waited"]) for row in rows
        ]
        return sum(done)

    async def want_syncs(self, every: timedelta) -> int:
        """Links that were not read for so long, or whose last reading failed a while ago: an hour after it did so twice, and after that
        when it is due anyway, since the law counts readings that fail. Those first that wait longest. Returns how many."""
        async with self._pool.acquire() as connection:
            rows = await connection.fetch(
                "select c.id from consents c left join bank_syncs s on s.consent_id = c.id where c.status = 'AUTHORISED' and not c.deleted "
                "and c.provider = any($1) and (s.started_at is null or s.started_at < $2::timestamptz - $4::interval) "
                "and (s.finished_at is null or s.finished_at < $2 - $3::interval or (s.state <> 'DONE' and s.finished_at < $2 - "
                "$4 * power(12, least(greatest(s.failures, 1), 4) - 1))) order by s.started_at nulls first limit $5",
                list(self._providers),
                self._clock.now(),
                every,
                _AGAIN,
                _BATCH,
            )
        for row in rows:
            await self._mirror.want_sync(UUID(str(row["id"])))
        return len(rows)
