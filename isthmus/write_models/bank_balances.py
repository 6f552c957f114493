"""Balances while their owner looks at them: asked for anew where they are older than they may be, or known to be outdated."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID
from weakref import WeakValueDictionary

import structlog

from isthmus.domain.banking import BankProvider, ProviderFault
from isthmus.domain.clock import Clock
from isthmus.domain.secrets import TokenVault
from isthmus.write_models import bank_store
from isthmus.write_models.bank_mirror import BankMirror
from isthmus.write_models.bank_tokens import LinkTokens
from isthmus.write_models.connection import Pool

#: Longest that somebody who looks at a balance waits for the bank.
LOOK_S = 3.0

log = structlog.get_logger(__name__)


class BankBalances:
    """`lasts`: for so long a balance is shown without asking the bank again, unless the bank says that it has changed."""

    def __init__(
        self,
        pool: Pool,
        providers: Mapping[str, BankProvider],
        vault: TokenVault,
        mirror: BankMirror,
        clock: Clock,
        lasts: timedelta,
    ) -> None:
        self._pool = pool
        self._providers = providers
        self._vault = vault
        self._tokens = LinkTokens(pool, vault, clock)
        self._mirror = mirror
        self._clock = clock
        self.lasts = lasts
        self._locks: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

    async def freshen(self, consent_id: UUID, as_of: datetime | None, *, outdated: bool = False) -> bool:
        """Ask the bank, where that is due. Whether they are newer now."""
        if not outdated and self._young(as_of):
            return False
        try:
            async with self._alone(consent_id), asyncio.timeout(LOOK_S):
                async with self._pool.acquire() as connection:
                    consent = await bank_store.find_consent(connection, consent_id)
                    tokens = await self._vault.get(connection, consent_id)
                    oldest = await bank_store.oldest_balance(connection, consent_id)
                provider = self._providers.get(consent.provider) if consent is not None else None
                if consent is None or provider is None or tokens is None or not consent.readable(self._clock.now()):
                    return False
                if self._young(oldest):
                    return True  # whoever came before has asked
                fresh = await self._tokens.between_readings(consent, provider, tokens)
                if fresh is None:
                    return False  # it is being read right now, which brings balances too
                await self._mirror.link(consent, await provider.accounts(fresh))
            return True
        except (ProviderFault, TimeoutError) as fault:
            log.info("balances stay as they are", why=str(fault))
            return False

    def _young(self, as_of: datetime | None) -> bool:
        return as_of is not None and self._clock.now() - as_of < self.lasts

    def _alone(self, consent_id: UUID) -> asyncio.Lock:
        """One at a time in this process: whoever comes second sees what the first was told."""
        return self._locks.setdefault(consent_id, asyncio.Lock())
