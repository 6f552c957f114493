"""What a wish about a link comes to: where its owner has to go, a refusal, or a command that follows from it."""

from __future__ import annotations

import hashlib
import secrets as randomness
from dataclasses import dataclass
from uuid import UUID

from isthmus.domain.banking import Link, LinkToken, RedirectTo
from isthmus.domain.consent_events import Consent
from isthmus.domain.institutions import Institution
from isthmus.domain.refusals import RedirectNotRegistered, Refusal
from isthmus.write_models.envelope import Done, Envelope, Refused


@dataclass(frozen=True)
class Linked:
    """What became of a wish. `authorization`: where the person has to go; None where nowhere."""

    consent_id: UUID
    outcome: Done
    authorization: RedirectTo | LinkToken | None = None


def follow_up(envelope: Envelope, command: object, about: UUID, which: str) -> Envelope:
    """A command that follows from another, under a key of its own: however often it is come to, it happens once."""
    name = type(command).__name__
    return Envelope(
        actor=envelope.actor,
        person=envelope.person,
        mutation=name,
        idempotency_key=f"{about} {which}",
        body={"about": str(about), "which": which},
        correlation_id=envelope.correlation_id,
        causation_id=envelope.causation_id,
    )


def new_link(consent: Consent, institution: Institution, redirect_uri: str) -> Link:
    """With a state and a verifier that nobody can guess."""
    return Link(
        consent.consent_id,
        consent.owner,
        institution.providers[consent.provider],
        institution.countries[0],
        redirect_uri,
        state=randomness.token_urlsafe(32),
        verifier=randomness.token_urlsafe(48),
        scopes=consent.scopes,
    )


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def unregistered() -> Refusal:
    return RedirectNotRegistered("That address is not one that is registered.", ("input", "redirectUri"))


def no(refusal: Refusal, outcome: Done | None = None) -> Refused:
    return Refused(refusal, outcome.position if outcome else 0)
