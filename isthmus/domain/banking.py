"""Banks behind one port: what linking, reading and revoking need of a provider, and how a provider says No.

An adapter translates; it decides nothing. Whatever it cannot translate is `Malformed`, and nothing of it is taken.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from isthmus.domain.bank_transactions import BankTransaction
from isthmus.domain.secrets import ProviderTokens


class ProviderConsent(StrEnum):
    """What a provider's word for the state of a consent means to us. Every word is mapped; one that is not known is UNKNOWN."""

    AWAITING = "AWAITING"
    AUTHORISED = "AUTHORISED"
    RENEWAL_NEEDED = "RENEWAL_NEEDED"
    EXPIRED = "EXPIRED"
    REJECTED = "REJECTED"
    REVOKED = "REVOKED"
    FAILED = "FAILED"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True)
class RedirectTo:
    """A person is to be sent there. `expires_at`: when the address is of no use any more."""

    url: str = field(repr=False)
    expires_at: datetime | None = None


@dataclass(frozen=True)
class LinkToken:
    """What a provider's own component is opened with. `hosted_url`: where it can be had as a page."""

    token: str = field(repr=False)
    expires_at: datetime | None = None
    hosted_url: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Link:
    """One link of one person to one bank. `institution` is the provider's own name for it; `state` comes back with the person;
    `verifier` is PKCE's, for providers that have it; `begun_as` is what `begin` gave as its reference, once it has."""

    consent_id: UUID
    person: UUID
    institution: str
    country: str
    redirect_uri: str
    state: str = field(repr=False)
    verifier: str = field(repr=False)
    scopes: tuple[str, ...] = ()
    begun_as: str | None = None


@dataclass(frozen=True)
class Begun:
    """`reference`: the provider's own name for the consent, where it has one already."""

    authorization: RedirectTo | LinkToken
    reference: str | None = None


@dataclass(frozen=True)
class Credential:
    """What a person came back with: a code, or a public token."""

    code: str | None = field(default=None, repr=False)
    public_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Granted:
    """`expires_at`: when the provider says that access ends; None where it does not say."""

    tokens: ProviderTokens
    expires_at: datetime | None = None


@dataclass(frozen=True)
class ConsentNews:
    """`told` is the provider's own word."""

    state: ProviderConsent
    told: str
    expires_at: datetime | None = None


@dataclass(frozen=True)
class ProviderAccount:
    """`reference`: the provider's name for it. `iban`, `number` (sort code and number, or as its country has it) as far as they are
    told; `last_digits` of it where no more is. `available` and `booked` are None where this answer does not say."""

    reference: str
    name: str = field(repr=False)
    asset: str
    kind: str = "CURRENT"
    iban: str | None = field(default=None, repr=False)
    number: str | None = field(default=None, repr=False)
    last_digits: str | None = field(default=None, repr=False)
    lasting_reference: str | None = None
    available: Decimal | None = None
    booked: Decimal | None = None


@dataclass(frozen=True)
class Removed:
    account: str
    reference: str


@dataclass(frozen=True)
class SyncPage:
    """A page of an update. `cursor` asks for the next page, or begins the next update where there is no `more`.

    `changed` is what is new or other than it was. `whole_pending`: accounts of which this update tells everything that is pending, so
    that what was pending and is not told any more is gone. `booked_since`: of those accounts it tells everything that was booked after
    that day as well. `left_out`: what could not be taken and is of no concern to the rest, a few words each. Not `ready`: the provider
    is still gathering; ask again later.
    """

    accounts: tuple[ProviderAccount, ...] = ()
    changed: tuple[BankTransaction, ...] = ()
    removed: tuple[Removed, ...] = ()
    whole_pending: frozenset[str] = frozenset()
    booked_since: date | None = None
    left_out: tuple[str, ...] = ()
    cursor: str | None = None
    more: bool = False
    ready: bool = True


@dataclass(frozen=True)
class ProviderInstitution:
    reference: str
    name: str
    countries: tuple[str, ...]
    logo_url: str | None = None
    capabilities: tuple[str, ...] = ()


class ProviderFault(Exception):
    """A provider did not do what was asked. Messages name what, never anyone's data."""


class ProviderUnavailable(ProviderFault):
    """Nothing was done, and may be tried again, after `retry_after_s` where it said so."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class OutcomeUnknown(ProviderFault):
    """It was asked and did not answer: it may have been done. `retry_after_s` as ProviderUnavailable has it."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ProviderRefused(ProviderFault):
    """It will not, and would not if asked again. `code` is the provider's own."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class NeverAsked(ProviderRefused):
    """It will not be asked as things stand with us: that says nothing of what was asked before."""


class AccessEnded(ProviderRefused):
    """The person has to sign in at the bank again before anything is told."""


class Malformed(ProviderFault):
    """The answer cannot be what it should: not JSON, no numbers, another currency, too large."""


class ChangedWhilePaging(ProviderFault):
    """The pages so far belong to an update that is no more: begin it again."""


class BankProvider(Protocol):
    """Implemented by each module of `integrations/banking/`. Every call has a deadline and raises ProviderFault only."""

    name: str

    async def begin(self, link: Link) -> Begun:
        """Ask for a consent. Asking again for the same link is safe."""
        ...

    async def renew(self, link: Link, tokens: ProviderTokens) -> Begun | Granted:
        """As `begin`, for a consent that is there; Granted where nobody has to go to the bank for it."""
        ...

    async def complete(self, link: Link, credential: Credential, tokens: ProviderTokens | None) -> Granted:
        """`tokens`: those from before, where the consent was renewed, or what `begin` gave as its reference."""
        ...

    async def refresh(self, tokens: ProviderTokens) -> ProviderTokens:
        """Tokens that work now: the same, where those do. Raises AccessEnded."""
        ...

    async def news(self, tokens: ProviderTokens) -> ConsentNews: ...

    async def accounts(self, tokens: ProviderTokens) -> Sequence[ProviderAccount]:
        """With their balances of this moment."""
        ...

    async def sync(self, tokens: ProviderTokens, cursor: str | None) -> SyncPage:
        """From the beginning without a cursor. Raises ChangedWhilePaging."""
        ...

    async def revoke(self, tokens: ProviderTokens) -> None:
        """That there is nothing to revoke any more is no fault."""
        ...

    def institutions(self, country: str) -> AsyncIterator[ProviderInstitution]: ...
