"""Consents: a person lets us look at their accounts at a bank, for a while.

What a provider says of one is news, in any order and more than once: it never takes back what is over, and a word that is not known
changes nothing but is kept, and told to whoever runs the platform. That a consent is over at its end is true from that instant on,
whether or not the event that says so is written yet: `Consent.readable` asks the time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import assert_never
from uuid import UUID

from isthmus.domain.banking import ConsentNews, ProviderConsent
from isthmus.domain.consent_policy import WARN_BEFORE, Jurisdiction, policy_of
from isthmus.domain.refusals import ConsentNotFound, ConsentOver, InvalidInput, LinkNotBegun, Refusal

_TOLD_MAX = 64


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


# -- wishes ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RequestConsent:
    consent_id: UUID
    owner: UUID
    institution_id: str
    provider: str
    jurisdiction: Jurisdiction
    scopes: tuple[str, ...]


@dataclass(frozen=True)
class BeginAuthorisation:
    consent_id: UUID
    owner: UUID
    state_digest: str


@dataclass(frozen=True)
class ReturnFromBank:
    """`state_digest`: of what the person brought back; None where the provider's own token is proof enough."""

    consent_id: UUID
    owner: UUID
    state_digest: str | None
    credential_digest: str


@dataclass(frozen=True)
class AuthoriseConsent:
    """`provider_says`: the end that the provider named."""

    consent_id: UUID
    granted_at: datetime
    provider_says: datetime | None


@dataclass(frozen=True)
class RecordConsentNews:
    consent_id: UUID
    news: ConsentNews


@dataclass(frozen=True)
class FailConsent:
    consent_id: UUID
    reason: str


@dataclass(frozen=True)
class RevokeConsent:
    consent_id: UUID
    owner: UUID


@dataclass(frozen=True)
class DeleteLink:
    consent_id: UUID
    owner: UUID


@dataclass(frozen=True)
class MindConsentEnd:
    """The time has come to look whether a consent is over, or near its end."""

    consent_id: UUID


Decision = Sequence[ConsentEvent] | Refusal


def request(wish: RequestConsent) -> Decision:
    return [
        ConsentRequested(
            wish.consent_id, wish.owner, wish.institution_id, wish.provider, wish.jurisdiction, wish.scopes
        )
    ]


def _missing() -> Refusal:
    return ConsentNotFound("There is no such consent.", ("input", "consentId"))


def _over(consent: Consent) -> Refusal:
    return ConsentOver(
        f"The consent is {consent.status.replace('_', ' ').lower()}. Link the bank anew.", ("input", "consentId")
    )


def begin_authorisation(consent: Consent | None, wish: BeginAuthorisation) -> Decision:
    if consent is None or consent.owner != wish.owner:
        return _missing()
    if consent.status in FINAL:
        return _over(consent)
    renewal = consent.status in RENEWABLE
    return [AuthorisationBegun(consent.consent_id, consent.owner, wish.state_digest, renewal)]


def return_from_bank(consent: Consent | None, wish: ReturnFromBank) -> Decision:
    """What a person brings back is taken once; the same again, while it is not known what became of it, is the same return."""
    if consent is None or consent.owner != wish.owner:
        return _missing()
    if consent.status in FINAL:
        return _over(consent)
    if consent.state_digest is None:
        if consent.credential_digest == wish.credential_digest:
            return []
        return LinkNotBegun("Nothing is under way for this consent: begin the link anew.", ("input", "consentId"))
    if wish.state_digest is not None and wish.state_digest != consent.state_digest:
        return InvalidInput("This is not the state that the link was begun with.", ("input", "credential", "state"))
    return [AuthorisationReturned(consent.consent_id, consent.owner, wish.credential_digest)]


def authorise(consent: Consent | None, wish: AuthoriseConsent) -> Decision:
    if consent is None:
        return _missing()
    if consent.status in FINAL:
        return []  # somebody took it back meanwhile
    ends = policy_of(consent.provider, consent.jurisdiction).ends_at(wish.granted_at, wish.provider_says)
    return [ConsentAuthorised(consent.consent_id, consent.owner, ends)]


def record_news(consent: Consent | None, wish: RecordConsentNews, now: datetime) -> Decision:
    """Total: every (status, news) has an answer, and what is over stays so."""
    if consent is None:
        return _missing()
    about, news = (consent.consent_id, consent.owner), wish.news
    if consent.status in FINAL:
        return []
    match news.state:
        case ProviderConsent.UNKNOWN:
            told = _safe(news.told)
            return [] if consent.parked == told else [ConsentStatusParked(*about, told)]
        case ProviderConsent.REVOKED:
            return [ConsentRevoked(*about, Ended.BANK)]
        case ProviderConsent.REJECTED:
            # Somebody who is on their way a second time keeps what they have.
            awaiting = consent.status is ConsentStatus.AWAITING_AUTHORISATION
            return [ConsentRejected(*about)] if awaiting else []
        case ProviderConsent.FAILED:
            awaiting = consent.status is ConsentStatus.AWAITING_AUTHORISATION
            return [ConsentFailed(*about, "AT_THE_BANK")] if awaiting else []
        case ProviderConsent.EXPIRED:
            return [] if consent.status is ConsentStatus.EXPIRED else [ConsentExpired(*about)]
        case ProviderConsent.RENEWAL_NEEDED:
            needed = consent.status is ConsentStatus.AUTHORISED
            return [ConsentRenewalNeeded(*about)] if needed else []
        case ProviderConsent.AWAITING:
            return []
        case ProviderConsent.AUTHORISED:
            return _still_authorised(consent, news, now)
        case _:
            assert_never(news.state)


def _still_authorised(consent: Consent, news: ConsentNews, now: datetime) -> Decision:
    """A login that was repaired, or another end. It does not prolong what the law ended, nor begin what was never exchanged."""
    ends, about = consent.expires_at, (consent.consent_id, consent.owner)
    if news.expires_at is not None and (ends is None or news.expires_at < ends):
        ends = news.expires_at
    if consent.status is ConsentStatus.RENEWAL_NEEDED:
        return [] if ends is not None and ends <= now else [ConsentAuthorised(*about, ends)]
    if consent.status is ConsentStatus.AUTHORISED and ends is not None and ends != consent.expires_at:
        return [ConsentEndChanged(*about, ends)]
    return []


def fail(consent: Consent | None, wish: FailConsent) -> Decision:
    if consent is None:
        return _missing()
    if consent.status is not ConsentStatus.AWAITING_AUTHORISATION:
        return []
    return [ConsentFailed(consent.consent_id, consent.owner, wish.reason)]


def revoke(consent: Consent | None, wish: RevokeConsent) -> Decision:
    if consent is None or consent.owner != wish.owner:
        return _missing()
    if consent.status is ConsentStatus.REVOKED:
        return []  # the same wish again
    if consent.status in FINAL:
        return _over(consent)
    return [ConsentRevoked(consent.consent_id, consent.owner, Ended.PERSON)]


def delete_link(consent: Consent | None, wish: DeleteLink) -> Decision:
    if consent is None or consent.owner != wish.owner:
        return _missing()
    if consent.deleted:
        return []  # the same wish again
    about = (consent.consent_id, consent.owner)
    revoked = [] if consent.status in FINAL else [ConsentRevoked(*about, Ended.PERSON)]
    return [*revoked, LinkDeleted(*about)]


def mind_end(consent: Consent | None, now: datetime) -> Decision:
    if consent is None or consent.expires_at is None:
        return []
    if consent.status not in (ConsentStatus.AUTHORISED, ConsentStatus.RENEWAL_NEEDED):
        return []
    if consent.expires_at <= now:
        return [ConsentExpired(consent.consent_id, consent.owner)]
    if consent.expires_at - WARN_BEFORE <= now and consent.warned_for != consent.expires_at:
        return [ConsentExpiryNear(consent.consent_id, consent.owner, consent.expires_at)]
    return []


def _safe(told: str) -> str:
    """A provider's word, as far as it can be one: it goes into events and logs."""
    kept = "".join(
        character
        for character in told[:_TOLD_MAX]
        if (character.isascii() and character.isalnum()) or character in "_-"
    )
    return kept or "UNREADABLE"
