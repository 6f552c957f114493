"""Reading a link: pages to their end, then all of the update and its cursor in one transaction.

One process at a time reads a link, by a lease. Where the provider says that its pages changed meanwhile, the update begins again from
its first cursor. What cannot be taken is not taken: the cursor stays where it is, and the fault is told.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from prometheus_client import Counter, Histogram

from isthmus.domain.bank_transactions import MalformedTransaction
from isthmus.domain.banking import (
    AccessEnded,
    BankProvider,
    ChangedWhilePaging,
    ConsentNews,
    Malformed,
    ProviderConsent,
    ProviderFault,
)
from isthmus.domain.clock import Clock
from isthmus.domain.consent_events import Consent
from isthmus.domain.consent_policy import policy_of
from isthmus.domain.consents import RecordConsentNews
from isthmus.domain.secrets import LinkSecrets, ProviderTokens, TokenVault
from isthmus.failpoints import failpoint_async
from isthmus.write_models import bank_store
from isthmus.write_models.bank_mirror import BankMirror, system_envelope
from isthmus.write_models.bank_rows import write_update
from isthmus.write_models.bank_tokens import LEASE, LEASE_S, RELEASE, LinkTokens
from isthmus.write_models.bank_update import Update
from isthmus.write_models.commands import CommandBus
from isthmus.write_models.connection import Pool

_PAGES_MAX = 2_000
_RESTARTS_MAX = 5
_DAY = timedelta(days=1)
_REPAIRABLE = (ProviderConsent.EXPIRED, ProviderConsent.RENEWAL_NEEDED)

_syncs = Counter(
    "isthmus_bank_syncs_total",
    "Readings of a link by outcome: done, not_ready, quota, over, overtaken, unavailable, malformed, access_ended.",
    ["provider", "outcome"],
)
_seconds = Histogram(
    "isthmus_bank_sync_seconds", "How long reading a link took.", ["provider"], buckets=(0.1, 0.3, 1, 3, 10, 30, 100)
)

log = structlog.get_logger(__name__)


class BankSync:
    def __init__(
        self,
        pool: Pool,
        commands: CommandBus,
        providers: Mapping[str, BankProvider],
        secrets: LinkSecrets,
        vault: TokenVault,
        mirror: BankMirror,
        clock: Clock,
    ) -> None:
        self._pool = pool
        self._commands = commands
        self._providers = providers
        self._secrets = secrets
        self._vault = vault
        self._tokens = LinkTokens(pool, vault, clock)
        self._mirror = mirror
        self._clock = clock

    async def run(self, consent_id: UUID, *, attended: bool = False) -> str:
        """Read the link now. `attended`: its owner asked for it, so that it counts against no quota. Returns the outcome's name."""
        async with self._pool.acquire() as connection:
            consent = await bank_store.find_consent(connection, consent_id)
            if consent is None:
                return "over"
            if not await connection.fetchval(LEASE, consent_id, LEASE_S):
                return "busy"
        try:
            begun = time.monotonic()
            outcome = await self._read(consent, attended)
            _syncs.labels(consent.provider, outcome).inc()
            _seconds.labels(consent.provider).observe(time.monotonic() - begun)
            return outcome
        finally:
            async with self._pool.acquire() as connection:
                await connection.execute(RELEASE, consent_id)

    async def _read(self, consent: Consent, attended: bool) -> str:
        consent_id, provider = consent.consent_id, self._providers.get(consent.provider)
        if provider is None or not consent.readable(self._clock.now()):
            return "over"
        if not attended and not await self._within_quota(consent):
            return "quota"
        async with self._pool.acquire() as connection:
            tokens = await self._vault.get(connection, consent_id)
            cursor: str | None = await connection.fetchval(
                "insert into bank_syncs (consent_id, state, started_at) values ($1, 'RUNNING', $2) on conflict (consent_id) do update "
                "set state = 'RUNNING', started_at = $2, fetched = 0 returning cursor",
                consent_id,
                self._clock.now(),
            )
        if tokens is None:
            return "over"
        fresh = tokens
        try:
            fresh = await self._tokens.fresh(consent, provider, tokens)
            try:
                update = await self._pages(consent, provider, fresh, cursor)
            except AccessEnded as ended:
                fresh = await self._tokens.instead_of(consent, provider, fresh, ended)
                update = await self._pages(consent, provider, fresh, cursor)
            if update is None:
                await self._over(consent_id, "WAITING", None)
                return "not_ready"
            if not await self._take(consent, update, cursor):
                await self._overtaken(consent_id)
                return "overtaken"
        except _Overtaken:
            await self._overtaken(consent_id)
            return "overtaken"
        except AccessEnded as fault:
            if await self._tokens.replaced(consent_id, fresh):
                await self._overtaken(consent_id)  # it was renewed meanwhile, which ended what it was read by
                return "overtaken"
            await self._news(consent, fresh, fault)
            await self._over(consent_id, "FAILED", "the bank wants its customer to sign in again")
            return "access_ended"
        except (Malformed, MalformedTransaction) as fault:
            await self._over(consent_id, "FAILED", str(fault))
            log.error("what a bank told cannot be taken", provider=consent.provider, why=str(fault))
            return "malformed"
        except ProviderFault as fault:
            await self._over(consent_id, "FAILED", str(fault))
            log.warning("a bank could not be read", provider=consent.provider, why=str(fault))
            return "unavailable"
        return "done"

    async def _pages(
        self, consent: Consent, provider: BankProvider, tokens: ProviderTokens, cursor: str | None
    ) -> Update | None:
        """All pages of the update that begins at `cursor`. None where the provider is still gathering."""
        for _ in range(_RESTARTS_MAX):
            update, at = Update(first=cursor is None), cursor
            try:
                for _ in range(_PAGES_MAX):
                    page = await provider.sync(tokens, at)
                    if not page.ready:
                        return None
                    update.add(page)
                    at = page.cursor
                    await self._progress(consent, len(update.changed))
                    if not page.more:
                        return update
                raise Malformed(f"{consent.provider} has more than {_PAGES_MAX} pages")
            except ChangedWhilePaging:
                continue
        raise ProviderFaultAgain(f"{consent.provider}'s pages changed {_RESTARTS_MAX} times while they were read")

    async def _take(self, consent: Consent, update: Update, begun_at: str | None) -> bool:
        """False where nothing is taken: the consent has changed, or another reading was faster."""
        known = await self._mirror.link(consent, list(update.accounts.values()))
        if known is None:
            return False
        foreign = next((one for one in update.changed if one.account not in update.accounts), None)
        if foreign is not None:
            raise Malformed("a transaction is of an account that the bank does not show")
        now = self._clock.now()
        async with self._pool.acquire() as connection, connection.transaction():
            standing = await connection.fetchval(
                "select status from consents where id = $1 for share", consent.consent_id
            )
            if standing != consent.status:
                return False
            at = await connection.fetchval(
                "select cursor from bank_syncs where consent_id = $1 for update", consent.consent_id
            )
            if at != begun_at:
                return False
            await failpoint_async("bank_sync.before_rows")
            await write_update(connection, self._secrets, consent, known, update)
            await connection.execute(
                "update bank_syncs set cursor = $2, state = 'DONE', fault = $4, failures = 0, finished_at = $3, synced_at = $3 "
                "where consent_id = $1",
                consent.consent_id,
                update.cursor,
                now,
                "; ".join(sorted(update.left_out)) or None,
            )
            await failpoint_async("bank_sync.before_commit")
        return True

    async def _within_quota(self, consent: Consent) -> bool:
        """Takes one of the day's readings without the customer, where the law counts them."""
        allowed = policy_of(consent.provider, consent.jurisdiction).unattended_a_day
        if allowed is None:
            return True
        now = self._clock.now()
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(
                "insert into bank_syncs (consent_id) values ($1) on conflict (consent_id) do nothing",
                consent.consent_id,
            )
            times: list[datetime] = await connection.fetchval(
                "select unattended from bank_syncs where consent_id = $1 for update", consent.consent_id
            )
            lately = [one for one in times if one > now - _DAY]
            if len(lately) >= allowed:
                later = "update bank_syncs set started_at = $2 where consent_id = $1"
                await connection.execute(later, consent.consent_id, now)  # others are looked at first
                return False
            await connection.execute(
                "update bank_syncs set unattended = $2 where consent_id = $1", consent.consent_id, [*lately, now]
            )
        return True

    async def _progress(self, consent: Consent, fetched: int) -> None:
        """After each page. Raises _Overtaken where there must be no other: the consent is over, or taken back."""
        async with self._pool.acquire() as connection:
            standing = await connection.fetchval(
                "update bank_syncs set fetched = $2, leased_until = clock_timestamp() + $3::interval where consent_id = $1 "
                "returning (select status from consents where id = $1)",
                consent.consent_id,
                fetched,
                LEASE_S,
            )
        if standing != consent.status or not consent.readable(self._clock.now()):
            raise _Overtaken

    async def _over(self, consent_id: UUID, state: str, fault: str | None) -> None:
        async with self._pool.acquire() as connection:
            await connection.execute(
                "update bank_syncs set state = $2, fault = $3, finished_at = $4, failures = failures + $5 where consent_id = $1",
                consent_id,
                state,
                fault,
                self._clock.now(),
                int(fault is not None),
            )

    async def _overtaken(self, consent_id: UUID) -> None:
        """Whoever was faster may have said that all is done."""
        async with self._pool.acquire() as connection:
            await connection.execute(
                "update bank_syncs set state = 'WAITING', finished_at = $2 where consent_id = $1 and state = 'RUNNING'",
                consent_id,
                self._clock.now(),
            )

    async def _news(self, consent: Consent, tokens: ProviderTokens, fault: AccessEnded) -> None:
        """Why access ended is asked of the provider itself; where it does not say, a new sign-in is needed."""
        try:
            news = await self._providers[consent.provider].news(tokens)
        except ProviderFault:
            news = ConsentNews(ProviderConsent.RENEWAL_NEEDED, fault.code)
        if news.state is ProviderConsent.AUTHORISED:
            news = replace(news, state=ProviderConsent.RENEWAL_NEEDED)
        await self.record(consent.consent_id, news)

    async def hear(self, consent_id: UUID, news: ConsentNews, *, ahead: bool) -> None:
        """What a webhook says. It may be late: that a link is of no use any more counts unless the provider itself says otherwise now."""
        if news.state in _REPAIRABLE and not ahead:
            news = await self._said_now(consent_id) or news
        await self.record(consent_id, news)

    async def _said_now(self, consent_id: UUID) -> ConsentNews | None:
        """The provider's own word for a link that it lets us read; None where it does not, or does not answer."""
        async with self._pool.acquire() as connection:
            consent = await bank_store.find_consent(connection, consent_id)
            tokens = await self._vault.get(connection, consent_id)
        provider = self._providers.get(consent.provider) if consent is not None else None
        if provider is None or tokens is None:
            return None
        try:
            news = await provider.news(tokens)
        except ProviderFault:
            return None
        return news if news.state is ProviderConsent.AUTHORISED else None

    async def record(self, consent_id: UUID, news: ConsentNews) -> None:
        wish = RecordConsentNews(consent_id, news)
        which = f"{consent_id} {news.state} {news.told} {news.expires_at} {self._clock.now().isoformat()}"
        await self._commands.run(wish, system_envelope(wish, which, f"consent-{consent_id}"))


class _Overtaken(Exception):
    """What is read is not to be taken any more."""


class ProviderFaultAgain(ProviderFault):
    """It failed in the same way too often in a row."""
