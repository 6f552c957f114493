"""What banks say lies in accounts and moved in them: a mirror, beside the ledger and never in it.

Rows follow from what was told, so that the same page again changes nothing. What is personal is sealed under the key of the link that
brought it. A transaction keeps its id for life: where its booking says which pending one it was, and where it does not and only one
fits.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid5

import msgspec
import structlog

from isthmus.domain.bank_accounts import FoundAccount, LinkBankAccounts, UnlinkBankAccounts
from isthmus.domain.bank_texts import ACCOUNT_CONTEXT, AccountText
from isthmus.domain.banking import BankProvider, Malformed, ProviderAccount, ProviderFault, ProviderUnavailable
from isthmus.domain.clock import Clock
from isthmus.domain.consent_events import FINAL, Consent
from isthmus.domain.secrets import LinkSecrets, ProviderTokens, TokenVault
from isthmus.write_models import bank_store
from isthmus.write_models.commands import PLATFORM, CommandBus
from isthmus.write_models.connection import Connection, Pool
from isthmus.write_models.envelope import Envelope
from isthmus.write_models.timers import enqueue

SYNC_LINK = "sync_bank_link"
ACTOR = "service:banking"
_REFERENCE_MAX = 256
_CURRENCY = re.compile(r"[A-Z]{3}")
#: Of a balance, before and behind its point.
_DIGITS_MAX, _PLACES_MAX = 18, 18

#: Where rows go which another link to the same accounts told as well: it tells all of them again, soon.
_FROM_THE_START = """
update bank_syncs s set cursor = null, state = 'WAITING', started_at = null, finished_at = null from consents c
where c.id = s.consent_id and c.id <> $1 and c.owner = $2 and c.institution_id = $3 and not c.deleted
    and exists (select from bank_transactions where link_id = $1)"""
#: An account comes by one link, the newest that stands: of two at Plaid each has names of its own for the same movements.
_BY_ANOTHER = """
select a.id from bank_accounts a join consents c on c.id = a.consent_id where a.id = any($1::uuid[]) and a.linked and c.id > $2
    and c.status = 'AUTHORISED' and (c.expires_at is null or c.expires_at > $3)"""
#: Whoever has an account of another link's tells all of it, so that what the other told is known again.
_TAKEN_OVER = """
update bank_syncs set cursor = null where consent_id = $1
    and exists (select from bank_accounts where id = any($2::uuid[]) and consent_id <> $1)"""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Known:
    """An account of a link, as far as a sync needs it."""

    account_id: UUID
    asset: str


class BankMirror:
    """`identity_key`: the secret under which accounts' names at their banks are hashed, the same in every process."""

    def __init__(
        self,
        pool: Pool,
        commands: CommandBus,
        secrets: LinkSecrets,
        vault: TokenVault,
        clock: Clock,
        identity_key: bytes,
    ) -> None:
        self._pool = pool
        self._commands = commands
        self._secrets = secrets
        self._vault = vault
        self._clock = clock
        self._identity_key = identity_key

    async def link(self, consent: Consent, found: Sequence[ProviderAccount]) -> dict[str, Known] | None:
        """Accounts that a bank shows: the ids they have, or have from now on. By the provider's names for them, without those that a
        newer link brings. None where the consent is over for good: then nothing is kept of them."""
        if not found:
            return {}
        for account in found:
            _check(account)
        async with self._pool.acquire() as connection:
            if not await self._stands(connection, consent):
                return None
            told = [(await self._id_of(connection, consent, account), account) for account in found]
            by_others = await connection.fetch(
                _BY_ANOTHER, [key for key, _ in told], consent.consent_id, self._clock.now()
            )
        theirs = {UUID(str(row["id"])) for row in by_others}
        ours = [(key, account) for key, account in told if key not in theirs]
        ids = [key for key, _ in ours]
        if not await self._all_linked(consent, ids):
            wish = LinkBankAccounts(
                consent.consent_id,
                consent.owner,
                consent.institution_id,
                consent.provider,
                tuple(FoundAccount(key, account.asset) for key, account in ours),
            )
            # What there is to say is decided by the accounts' streams: the key need only be another each time.
            which = f"{consent.consent_id} {self._clock.now().isoformat()} {sorted(map(str, ids))}"
            async with self._pool.acquire() as connection:
                await connection.execute(_TAKEN_OVER, consent.consent_id, ids)
            await self._commands.run(wish, system_envelope(wish, which, f"consent-{consent.consent_id}"))
        async with self._pool.acquire() as connection, connection.transaction():
            if not await self._stands(connection, consent):
                return None  # whoever deletes the link finds no row and no key that was made after it looked
            await self._keep_accounts(connection, consent, ours)
        return {account.reference: Known(key, account.asset) for key, account in ours}

    def reference_digest(self, provider: str, reference: str) -> bytes:
        """What a consent is found by when its provider names it: the name itself is kept nowhere but among its tokens."""
        return hmac.digest(self._identity_key, f"{provider} {reference}".encode(), hashlib.sha256)

    async def outdate(self, consent_id: UUID) -> None:
        """The bank says that something has changed: whoever looks next has it asked, however young the balances are."""
        async with self._pool.acquire() as connection:
            await connection.execute("update bank_account_mirrors set outdated = true where link_id = $1", consent_id)

    async def want_sync(self, consent_id: UUID, *, attended: bool = False, after: timedelta | None = None) -> None:
        """Have the link read soon, by whichever process comes to it. Again while it waits adds nothing. `attended`: its owner asks."""
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(
                "insert into bank_syncs (consent_id) values ($1) on conflict (consent_id) do nothing", consent_id
            )
            payload = f"{consent_id} {'attended' if attended else ''}".strip()
            await enqueue(connection, SYNC_LINK, payload.encode(), after, dedupe_key=f"{SYNC_LINK}:{payload}")

    async def end(self, consent_id: UUID, providers: Mapping[str, BankProvider], *, patient: bool = True) -> bool:
        """Carry out what the end of a consent means: the provider is told, its tokens are forgotten, and where the link was deleted
        all it brought is destroyed. Safe to repeat. False where the provider could not be told: it is tried again, unless not
        `patient`, when it is given up."""
        async with self._pool.acquire() as connection:
            consent = await bank_store.find_consent(connection, consent_id)
            tokens = await self._vault.get(connection, consent_id)
        if consent is None or consent.status not in FINAL:
            return True
        if consent.deleted:
            await self._forget_rows(consent)
        if tokens is not None and tokens.access:
            try:
                tokens = await self._told(consent, providers.get(consent.provider), tokens)
            except ProviderFault as fault:
                log.warning("a bank is not told yet that a consent is over", provider=consent.provider, why=str(fault))
                if patient:
                    return False
        async with self._pool.acquire() as connection, connection.transaction():
            if patient and await self._vault.get(connection, consent_id) != tokens:
                return False  # somebody who came back from the bank just now brought others: they are told of next time
            await bank_store.forget_underway(connection, consent_id)
            await self._vault.forget(connection, consent_id)
            if consent.deleted:
                await self._secrets.destroy(connection, consent_id)
        return True

    async def _told(self, consent: Consent, provider: BankProvider | None, tokens: ProviderTokens) -> ProviderTokens:
        """Tell the provider that the consent is over. Tokens that were made fresh for that are kept: it may not listen yet."""
        if provider is None:
            raise ProviderUnavailable(f"{consent.provider} is not set up here any more")
        fresh = await provider.refresh(tokens)
        if fresh != tokens:
            async with self._pool.acquire() as connection:
                await self._vault.put(connection, consent.consent_id, consent.owner, fresh)
        await provider.revoke(fresh)
        return fresh

    async def _forget_rows(self, consent: Consent) -> None:
        async with self._pool.acquire() as connection:
            accounts = await bank_store.accounts_of(connection, consent.consent_id)
        if accounts:
            wish = UnlinkBankAccounts(consent.consent_id, consent.owner, tuple(accounts))
            await self._commands.run(
                wish, system_envelope(wish, str(consent.consent_id), f"consent-{consent.consent_id}")
            )
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(_FROM_THE_START, consent.consent_id, consent.owner, consent.institution_id)
            await connection.execute("delete from bank_transactions where link_id = $1", consent.consent_id)
            await connection.execute("delete from bank_account_mirrors where link_id = $1", consent.consent_id)
            await connection.execute("delete from bank_syncs where consent_id = $1", consent.consent_id)

    async def _all_linked(self, consent: Consent, ids: Sequence[UUID]) -> bool:
        """Most readings find no account that is new: then there is no wish."""
        async with self._pool.acquire() as connection:
            linked: int = await connection.fetchval(
                "select count(*) from bank_accounts where id = any($1::uuid[]) and linked and consent_id = $2 and provider = $3",
                list(ids),
                consent.consent_id,
                consent.provider,
            )
        return linked == len(set(ids))

    async def _stands(self, connection: Connection, consent: Consent) -> bool:
        """Until the transaction's end it does not change."""
        status = await connection.fetchval("select status from consents where id = $1 for share", consent.consent_id)
        return status not in FINAL

    async def _id_of(self, connection: Connection, consent: Consent, account: ProviderAccount) -> UUID:
        """The same account has the same id: by its full number; where a provider does not tell that, by its last digits, if one of
        the person's at this bank fits and no more."""
        strong, weak = self._identity(consent, account), self._weak_identity(consent, account)
        rows = await connection.fetch(
            "select m.account_id, m.identity, m.weak_identity, m.reference, a.provider, a.asset from bank_account_mirrors m "
            "join bank_accounts a on a.id = m.account_id where a.owner = $1 and a.institution_id = $2",
            consent.owner,
            consent.institution_id,
        )
        for row in rows:
            if (row["provider"], row["reference"]) == (consent.provider, account.reference):
                if row["asset"] != account.asset:
                    raise Malformed("an account is told in another currency than before")
                return UUID(str(row["account_id"]))
        rows = [row for row in rows if row["asset"] == account.asset]
        for row in rows:
            if strong is not None and row["identity"] == strong:
                return UUID(str(row["account_id"]))
        alike = [row for row in rows if weak is not None and row["weak_identity"] == weak]
        if len(alike) == 1 and (strong is None or alike[0]["identity"] is None):
            return UUID(str(alike[0]["account_id"]))
        named = strong or self._hashed(consent, f"{consent.provider} {account.lasting_reference or account.reference}")
        return uuid5(consent.owner, f"bank account {named.hex()}")

    async def _keep_accounts(
        self, connection: Connection, consent: Consent, accounts: Sequence[tuple[UUID, ProviderAccount]]
    ) -> None:
        texts = [msgspec.json.encode(AccountText(one.name, one.iban, one.number)) for _, one in accounts]
        sealed = await self._secrets.seal_many(connection, consent.consent_id, consent.owner, texts, ACCOUNT_CONTEXT)
        now = self._clock.now()
        for (key, one), text in zip(accounts, sealed, strict=True):
            told = one.available is not None or one.booked is not None
            await connection.execute(
                "insert into bank_account_mirrors (account_id, link_id, reference, identity, weak_identity, kind, sealed, available, "
                "booked, as_of) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) on conflict (account_id) do update set "
                "link_id = excluded.link_id, reference = excluded.reference, kind = excluded.kind, sealed = excluded.sealed, "
                "identity = coalesce(excluded.identity, bank_account_mirrors.identity), "
                "weak_identity = coalesce(excluded.weak_identity, bank_account_mirrors.weak_identity), "
                "available = coalesce(excluded.available, bank_account_mirrors.available), "
                "booked = coalesce(excluded.booked, bank_account_mirrors.booked), "
                "as_of = coalesce(excluded.as_of, bank_account_mirrors.as_of), "
                "outdated = bank_account_mirrors.outdated and excluded.as_of is null",
                key,
                consent.consent_id,
                one.reference,
                self._identity(consent, one),
                self._weak_identity(consent, one),
                one.kind,
                text,
                one.available,
                one.booked,
                now if told else None,
            )

    def _identity(self, consent: Consent, account: ProviderAccount) -> bytes | None:
        full = account.iban or account.number
        return self._hashed(consent, f"{account.asset} {full.replace(' ', '').upper()}") if full else None

    def _weak_identity(self, consent: Consent, account: ProviderAccount) -> bytes | None:
        digits = account.last_digits
        return self._hashed(consent, f"{account.asset} {account.kind} {digits}") if digits else None

    def _hashed(self, consent: Consent, text: str) -> bytes:
        about = f"{consent.owner} {consent.institution_id} {text}"
        return hmac.digest(self._identity_key, about.encode(), hashlib.sha256)


def _check(account: ProviderAccount) -> None:
    """Raises Malformed for what no account can be, and no row of ours hold."""
    if not 0 < len(account.reference) <= _REFERENCE_MAX or not account.reference.isprintable():
        raise Malformed("an account's name at its provider is none")
    if _CURRENCY.fullmatch(account.asset) is None:
        raise Malformed("an account has no currency")
    for amount in (account.available, account.booked):
        if amount is None:
            continue
        places = amount.as_tuple().exponent
        if not isinstance(places, int) or places < -_PLACES_MAX or amount.adjusted() >= _DIGITS_MAX:
            raise Malformed("a balance is no amount")


def system_envelope(command: object, which: str, correlation_id: str) -> Envelope:
    """A command that nobody asked for: the platform minds its links."""
    name = type(command).__name__
    return Envelope(
        actor=ACTOR,
        person=PLATFORM,
        mutation=name,
        idempotency_key=hashlib.sha256(which.encode()).hexdigest(),
        body={"which": which},
        correlation_id=correlation_id,
    )
