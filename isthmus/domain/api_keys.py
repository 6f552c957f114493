"""API keys: made for a program by a person, who lends it a part of what they may do themselves, and revoked by that person.

A key always ends, and works once its maker has answered for it: whoever took over a session makes nothing that outlives it. The secret
itself is known to nobody here: decisions and events hold its digest. Told elsewhere: what a key looks like and how one is recognised, in
`auth/api_keys.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import assert_never
from uuid import UUID

from isthmus.domain import sca, step_up
from isthmus.domain.dynamic_link import Purpose, StepUp
from isthmus.domain.personal import PersonalText, Sealed
from isthmus.domain.refusals import ApiKeyNotFound, InvalidInput, Refusal, TooManyApiKeys
from isthmus.domain.step_up import Asked

NAME_LENGTH_MAX = 100
#: Keys of one person that work at the same time.
LIVE_MAX = 20
LIFE_DEFAULT = timedelta(days=90)
LIFE_MAX = timedelta(days=366)


class KeyScope(StrEnum):
    """All that may be lent: nothing that reaches beyond the maker's own things."""

    READ = "read"
    WRITE = "write"


@dataclass(frozen=True)
class ApiKeyMade:
    """`secret_digest`: SHA-256 of the whole key, in hexadecimal. The key has 256 random bits, so that nobody finds it from this.
    `challenge_id`: what has to be passed before it works; None of those from before that was asked for, which work without."""

    api_key_id: UUID
    owner: UUID
    name: Sealed
    scopes: tuple[KeyScope, ...]
    secret_digest: str
    expires_at: datetime
    challenge_id: UUID | None = None


@dataclass(frozen=True)
class ApiKeyConfirmed:
    """Its maker answered for it: it works from now on."""

    api_key_id: UUID
    owner: UUID


@dataclass(frozen=True)
class ApiKeyRevoked:
    api_key_id: UUID
    owner: UUID


ApiKeyEvent = ApiKeyMade | ApiKeyConfirmed | ApiKeyRevoked


@dataclass(frozen=True)
class ApiKey:
    """Folded from its events."""

    made: ApiKeyMade
    confirmed: bool = False
    revoked: bool = False

    @property
    def api_key_id(self) -> UUID:
        return self.made.api_key_id

    @property
    def owner(self) -> UUID:
        return self.made.owner


def evolve(key: ApiKey | None, event: ApiKeyEvent) -> ApiKey:
    match event:
        case ApiKeyMade():
            assert key is None, "a key is made once"
            return ApiKey(event, confirmed=event.challenge_id is None)
        case ApiKeyConfirmed():
            assert key is not None, "a key begins with ApiKeyMade"
            return replace(key, confirmed=True)
        case ApiKeyRevoked():
            assert key is not None, "a key begins with ApiKeyMade"
            return replace(key, revoked=True)
        case _:
            assert_never(event)


def fold(events: Iterable[object]) -> ApiKey | None:
    """None where the stream is another thing's, or nobody's."""
    key: ApiKey | None = None
    for event in events:
        if isinstance(event, ApiKeyEvent):
            key = evolve(key, event)
    return key


@dataclass(frozen=True)
class WorkingKey:
    """What is known of a key that may be used now. `digest` is SHA-256 of the whole key."""

    owner: UUID
    scopes: frozenset[KeyScope]
    digest: bytes = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True)
class MakeApiKey:
    api_key_id: UUID
    owner: UUID
    name: PersonalText
    scopes: tuple[KeyScope, ...]
    secret_digest: str
    expires_at: datetime
    asked: Asked

    @property
    def person(self) -> UUID:
        """Whose key seals the text."""
        return self.owner


@dataclass(frozen=True)
class RevokeApiKey:
    api_key_id: UUID
    owner: UUID


def name_fault(name: str) -> Refusal | None:
    if not name.strip():
        return InvalidInput("The API key needs a name.", ("input", "name"))
    if len(name) > NAME_LENGTH_MAX:
        return InvalidInput(f"The name is longer than {NAME_LENGTH_MAX} characters.", ("input", "name"))
    return None


def scopes_fault(scopes: Collection[KeyScope], may: Collection[KeyScope]) -> Refusal | None:
    """`may` is what the maker may do: nobody lends what they do not have."""
    if not scopes:
        return InvalidInput("The API key needs at least one scope.", ("input", "scopes"))
    beyond = sorted(set(scopes) - set(may))
    if beyond:
        return InvalidInput(f"You may not {beyond[0]} yourself, so no key of yours may.", ("input", "scopes"))
    return None


def expiry_fault(expires_at: datetime, now: datetime) -> Refusal | None:
    if expires_at <= now:
        return InvalidInput("That instant is over: an API key ends in the future.", ("input", "expiresAt"))
    if expires_at > now + LIFE_MAX:
        return InvalidInput(f"An API key lives {LIFE_MAX.days} days at most.", ("input", "expiresAt"))
    return None


Decision = Sequence[ApiKeyEvent | sca.ScaEvent | sca.ScaGuardEvent] | Refusal


def make(live: Collection[UUID], guard: sca.Guard, wish: MakeApiKey, now: datetime) -> Decision:
    """`live`: the person's keys that work now, or wait to be answered for."""
    if (no := step_up.blocked(guard, now)) is not None:
        return no
    if len(live) >= LIVE_MAX:
        return TooManyApiKeys(f"There are {LIVE_MAX} API keys already. Revoke one that is not needed.")
    scopes = tuple(sorted(set(wish.scopes)))
    made = ApiKeyMade(
        wish.api_key_id,
        wish.owner,
        wish.name.ciphertext(),
        scopes,
        wish.secret_digest,
        wish.expires_at,
        wish.asked.challenge_id,
    )
    return [made, wish.asked.challenge(link_of(made))]


def link_of(made: ApiKeyMade) -> StepUp:
    """What its maker answers for: this key, with this name, for these scopes, until then."""
    ends = made.expires_at.astimezone(UTC).isoformat()
    return StepUp(
        Purpose.API_KEY, made.api_key_id, made.owner, (str(made.name), *made.scopes, made.secret_digest, ends)
    )


def answer(challenge: sca.Challenge, guard: sca.Guard, key: ApiKey | None, proof: sca.Proof, now: datetime) -> Decision:
    """To a challenge of this person's for this key (`sca_answers.py`)."""
    if key is None or key.revoked or key.confirmed or key.made.challenge_id is None:
        return step_up.answered(challenge, guard, proof, now, None, ())
    done = ApiKeyConfirmed(key.api_key_id, key.owner)
    return step_up.answered(challenge, guard, proof, now, (key.made.challenge_id, link_of(key.made)), [done])


def revoke(key: ApiKey | None, wish: RevokeApiKey) -> Sequence[ApiKeyEvent] | Refusal:
    if key is None or key.owner != wish.owner:
        return ApiKeyNotFound("There is no such API key.", ("input", "apiKeyId"))
    if key.revoked:
        return []  # the same wish again
    return [ApiKeyRevoked(key.api_key_id, key.owner)]
