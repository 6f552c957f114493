"""What can happen to a consent, and what it is after that. What may happen when is decided in `consents`.

That a consent is over at its end is true from that instant on, whether or not the event that says so is written yet:
`Consent.readable` asks the time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import assert_never
from uuid import UUID

from isthmus.domain.consent_policy import Jurisdiction


class ConsentStatus(StrEnum):
    AWAITING_AUTHORISATION = "AWAITING_AUTHORISATION"
    AUTHORISED = "AUTHORISED"
    RENEWAL_NEEDED = "RENEWAL_NEEDED"
    EXPIRED = "EXPIRED"
    REJECTED = "REJECTED"
    REVOKED = "REVOKED"
    FAILED = "FAILED"


#: Nothing brings these back.
FINAL = frozenset({ConsentStatus.REJECTED, ConsentStatus.REVOKED, ConsentStatus.FAILED})
#: From these a renewal leads on, with the same accounts.
RENEWABLE = frozenset({ConsentStatus.AUTHORISED, ConsentStatus.RENEWAL_NEEDED, ConsentStatus.EXPIRED})


class Ended(StrEnum):
    """Who took a consent back."""

    PERSON = "PERSON"
    BANK = "BANK"


@dataclass(frozen=True)
class ConsentRequested:
    consent_id: UUID
    owner: UUID
    institution_id: str
    provider: str
    jurisdiction: Jurisdiction
    scopes: tuple[str, ...]


@dataclass(frozen=True)
class AuthorisationBegun:
    """The person is on their way to the bank. `state_digest`: SHA-256 of what they are to come back with, in hexadecimal."""

    consent_id: UUID
    owner: UUID
    state_digest: str
    renewal: bool


@dataclass(frozen=True)
class AuthorisationReturned:
    """They came back, and what they brought is being exchanged: it is used now. `credential_digest` as `state_digest`."""

    consent_id: UUID
    owner: UUID
    credential_digest: str


@dataclass(frozen=True)
class ConsentAuthorised:
    consent_id: UUID
    owner: UUID
    expires_at: datetime | None


@dataclass(frozen=True)
class ConsentRenewalNeeded:
    """The bank wants to see its customer again."""

    consent_id: UUID
    owner: UUID


@dataclass(frozen=True)
class ConsentEndChanged:
    """The bank named another end than the one that was known."""

    consent_id: UUID
    owner: UUID
    expires_at: datetime


@dataclass(frozen=True)
class ConsentExpiryNear:
    consent_id: UUID
    owner: UUID
    expires_at: datetime


@dataclass(frozen=True)
class ConsentExpired:
    consent_id: UUID
    owner: UUID


@dataclass(frozen=True)
class ConsentRejected:
    consent_id: UUID
    owner: UUID


@dataclass(frozen=True)
class ConsentFailed:
    consent_id: UUID
    owner: UUID
    reason: str


@dataclass(frozen=True)
class ConsentRevoked:
    consent_id: UUID
    owner: UUID
    by: Ended


@dataclass(frozen=True)
class LinkDeleted:
    """Their owner wants nothing of it kept: what it brought is destroyed."""

    consent_id: UUID
    owner: UUID


@dataclass(frozen=True)
class ConsentStatusParked:
    """A provider said something that no map knows. Nothing follows from it but that somebody looks."""

    consent_id: UUID
    owner: UUID
    told: str


ConsentEvent = (
    ConsentRequested
    | AuthorisationBegun
    | AuthorisationReturned
    | ConsentAuthorised
    | ConsentRenewalNeeded
    | ConsentEndChanged
    | ConsentExpiryNear
    | ConsentExpired
    | ConsentRejected
    | ConsentFailed
    | ConsentRevoked
    | LinkDeleted
    | ConsentStatusParked
)


@dataclass(frozen=True)
class Consent:
    """Folded from its events. `state_digest`: of an authorisation under way; `credential_digest`: of the last one that came back."""

    consent_id: UUID
    owner: UUID
    institution_id: str
    provider: str
    jurisdiction: Jurisdiction
    scopes: tuple[str, ...]
    status: ConsentStatus = ConsentStatus.AWAITING_AUTHORISATION
    expires_at: datetime | None = None
    warned_for: datetime | None = None
    state_digest: str | None = None
    credential_digest: str | None = None
    parked: str | None = None
    deleted: bool = False

    def readable(self, now: datetime) -> bool:
        """Whether the bank may be asked for anything."""
        over = self.expires_at is not None and self.expires_at <= now
        return self.status is ConsentStatus.AUTHORISED and not over


def evolve(consent: Consent | None, event: ConsentEvent) -> Consent:
    if isinstance(event, ConsentRequested):
        assert consent is None, "a consent is requested once"
        return Consent(
            event.consent_id, event.owner, event.institution_id, event.provider, event.jurisdiction, event.scopes
        )
    assert consent is not None, "a consent begins with ConsentRequested"
    match event:
        case AuthorisationBegun():
            return replace(consent, state_digest=event.state_digest)
        case AuthorisationReturned():
            return replace(consent, state_digest=None, credential_digest=event.credential_digest)
        case ConsentAuthorised():
            return replace(
                consent, status=ConsentStatus.AUTHORISED, expires_at=event.expires_at, warned_for=None, parked=None
            )
        case ConsentRenewalNeeded():
            return replace(consent, status=ConsentStatus.RENEWAL_NEEDED)
        case ConsentEndChanged():
            return replace(consent, expires_at=event.expires_at, warned_for=None)
        case ConsentExpiryNear():
            return replace(consent, warned_for=event.expires_at)
        case ConsentExpired():
            return replace(consent, status=ConsentStatus.EXPIRED, state_digest=None)
        case ConsentRejected():
            return replace(consent, status=ConsentStatus.REJECTED, state_digest=None)
        case ConsentFailed():
            return replace(consent, status=ConsentStatus.FAILED, state_digest=None)
        case ConsentRevoked():
            return replace(consent, status=ConsentStatus.REVOKED, state_digest=None)
        case LinkDeleted():
            return replace(consent, deleted=True)
        case ConsentStatusParked():
            return replace(consent, parked=event.told)
        case _:
            assert_never(event)


def fold(events: Iterable[object]) -> Consent | None:
    """None where the stream is another thing's, or nobody's."""
    consent: Consent | None = None
    for event in events:
        if isinstance(event, ConsentEvent):
            consent = evolve(consent, event)
    return consent
