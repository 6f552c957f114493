"""A link's tokens, made fresh by one process at a time: whoever reads the link has it to itself, and only they ask for others.

Providers whose tokens never end give the same ones back. One that lets us in no more although its token should still last is asked for
others once; what it says then counts.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from isthmus.domain.banking import AccessEnded, BankProvider
from isthmus.domain.clock import Clock
from isthmus.domain.consent_events import Consent
from isthmus.domain.secrets import ProviderTokens, TokenVault
from isthmus.write_models.connection import Pool

#: A process that reads a link has it for so long from each page on; no connection is held while a bank is waited for.
LEASE_S = timedelta(seconds=60)
LEASE = """
insert into bank_syncs as s (consent_id, leased_until) values ($1, clock_timestamp() + $2::interval)
on conflict (consent_id) do update set leased_until = excluded.leased_until
    where s.leased_until is null or s.leased_until < clock_timestamp()
returning true"""
RELEASE = "update bank_syncs set leased_until = null where consent_id = $1"
_HOLD = "select true from provider_tokens where link_id = $1 for update"
#: More than any provider's adapter takes for soon.
_SOON = timedelta(minutes=5)


class LinkTokens:
    def __init__(self, pool: Pool, vault: TokenVault, clock: Clock) -> None:
        self._pool = pool
        self._vault = vault
        self._clock = clock

    async def fresh(self, consent: Consent, provider: BankProvider, tokens: ProviderTokens) -> ProviderTokens:
        """Tokens that work now, kept where they are others. For whoever has the link's lease. Raises ProviderFault.

        A renewal waits for no lease: those that it brought meanwhile stay, and are the ones that work now.
        """
        got = await provider.refresh(tokens)
        if got == tokens:
            return got
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(_HOLD, consent.consent_id)
            kept = await self._vault.get(connection, consent.consent_id)
            if kept is None or kept.access != tokens.access:
                return kept or got
            await self._vault.put(connection, consent.consent_id, consent.owner, got)
        return got

    async def replaced(self, consent_id: UUID, tokens: ProviderTokens) -> bool:
        """Whether these are not the link's any more: what a provider says of them says nothing of the link."""
        async with self._pool.acquire() as connection:
            kept = await self._vault.get(connection, consent_id)
        return kept is None or kept.access != tokens.access

    async def instead_of(
        self, consent: Consent, provider: BankProvider, tokens: ProviderTokens, ended: AccessEnded
    ) -> ProviderTokens:
        """Others than those that let us in no more, for whoever has the lease. Raises `ended` where there can be none."""
        if tokens.expires_at is None:
            raise ended
        return await self.fresh(consent, provider, replace(tokens, expires_at=self._clock.now()))

    async def between_readings(
        self, consent: Consent, provider: BankProvider, tokens: ProviderTokens
    ) -> ProviderTokens | None:
        """As `fresh`, for whoever has no lease; None while the link is being read, if they would have to be made fresh."""
        if tokens.expires_at is None or tokens.expires_at - _SOON > self._clock.now():
            return tokens
        if not await self._lease(consent.consent_id):
            return None
        try:
            async with self._pool.acquire() as connection:  # whoever read it a moment ago may have made them fresh
                newest = await self._vault.get(connection, consent.consent_id)
            return await self.fresh(consent, provider, newest) if newest is not None else None
        finally:
            async with self._pool.acquire() as connection:
                await connection.execute(RELEASE, consent.consent_id)

    async def _lease(self, consent_id: UUID) -> bool:
        async with self._pool.acquire() as connection:
            return bool(await connection.fetchval(LEASE, consent_id, LEASE_S))
