"""Linking a bank: each wish is a command first, then a word with the provider, then a command that says what came of it.

Nothing is remembered between the steps but what is written: whoever comes back, to any process and however often, goes on from there.
A provider that does not answer leaves everything as it is, and the same wish may be sent again.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable, Mapping
from datetime import timedelta
from typing import TypeVar
from uuid import UUID
from weakref import WeakValueDictionary

import structlog

from isthmus.domain.bank_accounts import TagBankTransaction
from isthmus.domain.banking import (
    BankProvider,
    Credential,
    Granted,
    ProviderFault,
    ProviderRefused,
)
from isthmus.domain.clock import Clock
from isthmus.domain.consent_events import FINAL, RENEWABLE, Consent, ConsentRequested, ConsentStatus
from isthmus.domain.consent_policy import jurisdiction_of
from isthmus.domain.consents import (
    AuthoriseConsent,
    BeginAuthorisation,
    DeleteLink,
    FailConsent,
    RequestConsent,
    ReturnFromBank,
    RevokeConsent,
)
from isthmus.domain.identifiers import IdSource
from isthmus.domain.institutions import Routing
from isthmus.domain.personal import PersonalText
from isthmus.domain.refusals import (
    BankRefused,
    ConsentNotFound,
    ConsentOver,
    InstitutionNotFound,
    LinkNotBegun,
    Refusal,
)
from isthmus.domain.secrets import LinkSecrets, ProviderTokens, TokenVault
from isthmus.failpoints import failpoint_async
from isthmus.write_models import bank_store
from isthmus.write_models.bank_balances import LOOK_S, BankBalances
from isthmus.write_models.bank_mirror import BankMirror
from isthmus.write_models.bank_store import Underway
from isthmus.write_models.commands import CommandBus
from isthmus.write_models.connection import Connection, Pool
from isthmus.write_models.envelope import Done, Envelope, Outcome, Refused, Unavailable
from isthmus.write_models.link_wishes import Linked, digest, follow_up, new_link, no, unregistered

SCOPES = ("ACCOUNTS", "BALANCES", "TRANSACTIONS")

Answer = TypeVar("Answer")

log = structlog.get_logger(__name__)


class BankLinks:
    """`registered`: addresses that a person may be sent back to, to the letter."""

    def __init__(
        self,
        pool: Pool,
        commands: CommandBus,
        providers: Mapping[str, BankProvider],
        routing: Routing,
        secrets: LinkSecrets,
        vault: TokenVault,
        mirror: BankMirror,
        clock: Clock,
        ids: IdSource,
        registered: frozenset[str],
        *,
        key_secret: bytes,
        balance_lasts: timedelta = timedelta(seconds=30),
    ) -> None:
        self._pool = pool
        self._commands = commands
        self._providers = providers
        self._routing = routing
        self._secrets = secrets
        self._vault = vault
        self._mirror = mirror
        self._clock = clock
        self._ids = ids
        self._registered = registered
        self._key_secret = key_secret
        self.balances = BankBalances(pool, providers, vault, mirror, clock, balance_lasts)
        self._locks: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

    async def start(self, person: UUID, institution_id: str, redirect_uri: str, envelope: Envelope) -> Linked | Refused:
        """Ask for a consent. Raises Unavailable where the provider does not answer: send it again with the same key."""
        async with self._pool.acquire() as connection:
            institution = await bank_store.find_institution(connection, institution_id)
        provider = self._routing.provider_of(institution) if institution else None
        if institution is None or provider is None:
            return no(InstitutionNotFound("There is no such institution.", ("input", "institutionId")))
        if redirect_uri not in self._registered:
            return no(unregistered())
        wish = RequestConsent(
            self._ids(), person, institution_id, provider, jurisdiction_of(institution.countries[0]), SCOPES
        )
        outcome = await self._commands.run(wish, envelope)
        if isinstance(outcome, Refused):
            return outcome
        requested = outcome.events[0].event
        assert isinstance(requested, ConsentRequested), "it is what the command says"
        async with self._alone(requested.consent_id):
            async with self._pool.acquire() as connection:
                underway = await bank_store.find_underway(connection, self._secrets, requested.consent_id, person)
                consent = await bank_store.find_consent(connection, requested.consent_id)
            assert consent is not None, "it was requested"
            if underway is None and consent.status is ConsentStatus.AWAITING_AUTHORISATION:
                link = new_link(consent, institution, redirect_uri)
                begun = await self._asked(self._providers[consent.provider].begin(link))
                if isinstance(begun, Refused):
                    await self._run(FailConsent(consent.consent_id, "REFUSED"), envelope, "failed")
                    return begun
                underway = Underway(link, begun)
                await self._begin(underway, envelope)
        return Linked(consent.consent_id, outcome, underway.begun.authorization if underway else None)

    async def renew(self, person: UUID, consent_id: UUID, redirect_uri: str, envelope: Envelope) -> Linked | Refused:
        """Prolong a consent, with its history and its accounts' ids."""
        if redirect_uri not in self._registered:
            return no(unregistered())
        async with self._alone(consent_id):
            async with self._pool.acquire() as connection:
                consent = await bank_store.find_consent(connection, consent_id)
                institution = await bank_store.find_institution(connection, consent.institution_id) if consent else None
                tokens = await self._vault.get(connection, consent_id)
            if consent is None or consent.owner != person or institution is None:
                return no(ConsentNotFound("There is no such consent.", ("input", "consentId")))
            if consent.provider not in institution.providers:
                raise Unavailable(f"{consent.provider} does not speak for the bank now: link it anew, or wait")
            link = new_link(consent, institution, redirect_uri)
            wish = BeginAuthorisation(consent_id, person, digest(link.state))
            outcome = await self._commands.run(wish, envelope)
            if isinstance(outcome, Refused):
                return outcome
            if outcome.replayed:
                async with self._pool.acquire() as connection:
                    underway = await bank_store.find_underway(connection, self._secrets, consent_id, person)
                begun_now = underway is not None and digest(underway.link.state) == consent.state_digest
                came_back = consent.state_digest is None and consent.status is not ConsentStatus.EXPIRED
                if begun_now or came_back or consent.status in FINAL:
                    return Linked(consent_id, outcome, underway.begun.authorization if underway else None)
            provider = self._providers.get(consent.provider)
            if provider is None:
                raise Unavailable(f"{consent.provider} is not set up here any more")
            asked = provider.renew(link, tokens) if tokens and consent.status in RENEWABLE else provider.begin(link)
            begun = await self._asked(asked)
            if isinstance(begun, Refused):
                return begun
            if isinstance(begun, Granted):
                await self._granted(consent, begun, envelope, f"renewed {envelope.idempotency_key}")
                return Linked(consent_id, outcome)
            await self._begin(Underway(link, begun), envelope)
            return Linked(consent_id, outcome, begun.authorization)

    async def complete(
        self, person: UUID, consent_id: UUID, credential: Credential, state: str | None, envelope: Envelope
    ) -> Linked | Refused:
        """Take what a person came back with. The same again, after whatever happened in between, leads to the same end."""
        used = digest(credential.code or credential.public_token or "")
        async with self._alone(consent_id):
            wish = ReturnFromBank(consent_id, person, digest(state) if state is not None else None, used)
            outcome = await self._commands.run(wish, envelope)
            if isinstance(outcome, Refused):
                return outcome
            await failpoint_async("bank_links.returned")
            async with self._pool.acquire() as connection:
                consent = await bank_store.find_consent(connection, consent_id)
                underway = await bank_store.find_underway(connection, self._secrets, consent_id, person)
                tokens = await self._vault.get(connection, consent_id)
            assert consent is not None, "something came back for it"
            if underway is not None and state is not None and digest(underway.link.state) != digest(state):
                return no(LinkNotBegun("The link was begun anew since: come back from there.", ("input", "consentId")))
            if underway is None or consent.credential_digest != used:
                if consent.credential_digest == used and consent.status in RENEWABLE:
                    return Linked(consent_id, outcome)  # it came to its end before
                return no(LinkNotBegun("Nothing is under way for this consent.", ("input", "consentId")), outcome)
            known = tokens or ProviderTokens("", reference=underway.begun.reference)
            granted = await self._asked(
                self._providers[consent.provider].complete(underway.link, credential, known), outcome
            )
            if isinstance(granted, Refused):
                await self._run(FailConsent(consent_id, "REFUSED"), envelope, f"failed {used}")
                async with self._pool.acquire() as connection:
                    await bank_store.forget_underway(connection, consent_id)
                return granted
            await failpoint_async("bank_links.exchanged")
            await self._granted(consent, granted, envelope, used)
        return Linked(consent_id, outcome)

    async def revoke(self, person: UUID, consent_id: UUID, envelope: Envelope) -> Outcome:
        """From the commit on the bank is asked for nothing more; it is told so now, or as soon as it listens (`bank_endings`)."""
        outcome = await self._commands.run(RevokeConsent(consent_id, person), envelope)
        return await self._ended(consent_id, outcome)

    async def delete(self, person: UUID, consent_id: UUID, envelope: Envelope) -> Outcome:
        """As `revoke`; and what the link brought is gone from here on."""
        outcome = await self._commands.run(DeleteLink(consent_id, person), envelope)
        return await self._ended(consent_id, outcome)

    async def refresh(self, person: UUID, consent_id: UUID) -> Refusal | None:
        """Have the bank read soon, as its customer wishes."""
        async with self._pool.acquire() as connection:
            consent = await bank_store.find_consent(connection, consent_id)
        if consent is None or consent.owner != person:
            return ConsentNotFound("There is no such consent.", ("input", "consentId"))
        if not consent.readable(self._clock.now()):
            return ConsentOver("The bank must not be read: renew the consent first.", ("input", "consentId"))
        await self._mirror.want_sync(consent_id, attended=True)
        return None

    async def tag(self, person: UUID, transaction_id: UUID, tags: PersonalText, envelope: Envelope) -> Outcome:
        return await self._commands.run(TagBankTransaction(transaction_id, person, tags), envelope)

    def key_of(self, consent_id: str, credential: str, state: str | None) -> str:
        """The idempotency key of a return from the bank: what came back is the wish's own name."""
        told = f"{consent_id} {credential} {state}"
        return hmac.digest(self._key_secret, told.encode(), hashlib.sha256).hex()

    async def _ended(self, consent_id: UUID, outcome: Outcome) -> Outcome:
        if isinstance(outcome, Done):
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._mirror.end(consent_id, self._providers)
            except TimeoutError:
                log.info("a bank that does not answer is told later that a consent is over")
        return outcome

    async def _begin(self, underway: Underway, envelope: Envelope) -> None:
        link, state = underway.link, digest(underway.link.state)
        await self._run(BeginAuthorisation(link.consent_id, link.person, state), envelope, f"begun {state}")
        async with self._pool.acquire() as connection:
            await bank_store.keep_underway(connection, self._secrets, underway)
            # Its webhooks may be here before the person is. A renewal's come once it is given: until then the link goes by its old name.
            if underway.begun.reference is not None and await self._vault.get(connection, link.consent_id) is None:
                await self._name(connection, link.consent_id, underway.begun.reference)

    async def _granted(self, consent: Consent, granted: Granted, envelope: Envelope, which: str) -> None:
        """Tokens first: once the consent is authorised they are counted upon."""
        consent_id = consent.consent_id
        async with self._pool.acquire() as connection:
            await self._vault.put(connection, consent_id, consent.owner, granted.tokens)
            if granted.tokens.reference is not None:
                await self._name(connection, consent_id, granted.tokens.reference)
        await failpoint_async("bank_links.kept")
        wish = AuthoriseConsent(consent_id, self._clock.now(), granted.expires_at)
        await self._run(wish, envelope, f"authorised {which}")
        async with self._pool.acquire() as connection:
            await bank_store.forget_underway(connection, consent_id)
        try:
            found = await self._providers[consent.provider].accounts(granted.tokens)
            await self._mirror.link(consent, found)
        except ProviderFault as fault:  # the sync comes to it
            log.warning("accounts of a new link are not known yet", provider=consent.provider, why=str(fault))
        await self._mirror.want_sync(consent_id)

    async def _name(self, connection: Connection, consent_id: UUID, reference: str) -> None:
        """What webhooks call the consent by."""
        consent = await bank_store.find_consent(connection, consent_id)
        assert consent is not None, "it was requested"
        digest = self._mirror.reference_digest(consent.provider, reference)
        await connection.execute("update consents set reference_digest = $2 where id = $1", consent_id, digest)

    async def _asked(self, call: Awaitable[Answer], outcome: Done | None = None) -> Answer | Refused:
        """What a provider answers; a refusal of its own as one of ours. Raises Unavailable for whatever may be asked again."""
        try:
            return await call
        except ProviderRefused as refusal:
            log.info("a bank refused", why=str(refusal))
            return no(BankRefused(f"The bank refused: {refusal}."), outcome)
        except ProviderFault as fault:
            raise Unavailable(str(fault)) from None

    async def _run(self, command: object, envelope: Envelope, which: str) -> Outcome:
        """A command of our own that follows from the envelope's."""
        consent_id = getattr(command, "consent_id")  # noqa: B009 - every command of a link has one
        return await self._commands.run(command, follow_up(envelope, command, consent_id, which))

    def _alone(self, consent_id: UUID) -> asyncio.Lock:
        """One at a time in this process, which is where a person's doubled request comes to."""
        return self._locks.setdefault(consent_id, asyncio.Lock())
