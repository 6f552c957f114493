"""Consents: a person lets us look at their accounts at a bank, for a while. The wishes about one, and what comes of them.

What a provider says of one is news, in any order and more than once: it never takes back what is over, and a word that is not known
changes nothing but is kept, and told to whoever runs the platform.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import assert_never
from uuid import UUID

from isthmus.domain.banking import ConsentNews, ProviderConsent
from isthmus.domain.consent_events import (
    FINAL,
    RENEWABLE,
    AuthorisationBegun,
    AuthorisationReturned,
    Consent,
    ConsentAuthorised,
    ConsentEndChanged,
    ConsentEvent,
    ConsentExpired,
    ConsentExpiryNear,
    ConsentFailed,
    ConsentRejected,
    ConsentRenewalNeeded,
    ConsentRequested,
    ConsentRevoked,
    ConsentStatus,
    ConsentStatusParked,
    Ended,
    LinkDeleted,
)
from isthmus.domain.consent_policy import WARN_BEFORE, Jurisdiction, policy_of
from isthmus.domain.refusals import ConsentNotFound, ConsentOver, InvalidInput, LinkNotBegun, Refusal

_TOLD_MAX = 64


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
