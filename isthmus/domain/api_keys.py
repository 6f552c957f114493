"""API keys: made for a program by a person, who lends it a part of what they may do themselves, and revoked by that person.

A key always ends. The secret itself is known to nobody here: decisions and events hold its digest. Told elsewhere: what a key looks
like and how one is recognised, in `auth/api_keys.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import assert_never
from uuid import UUID

from isthmus.domain.personal import PersonalText, Sealed
from isthmus.domain.refusals import ApiKeyNotFound, InvalidInput, Refusal, TooManyApiKeys

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
    """`secret_digest`: SHA-256 of the whole key, in hexadecimal. The key has 256 random bits, so that nobody finds it from this."""

    api_key_id: UUID
    owner: UUID
    name: Sealed
    scopes: tuple[KeyScope, ...]
    secret_digest: str
    expires_at: datetime


@dataclass(frozen=True)
class ApiKeyRevoked:
    api_key_id: UUID
    owner: UUID


ApiKeyEvent = ApiKeyMade | ApiKeyRevoked


@dataclass(frozen=True)
class ApiKey:
    """Folded from its events."""

    api_key_id: UUID
    owner: UUID
    revoked: bool = False


def evolve(key: ApiKey | None, event: ApiKeyEvent) -> ApiKey:
    match event:
        case ApiKeyMade():
            assert key is None, "a key is made once"
            return ApiKey(event.api_key_id, event.owner)
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


def make(live: Collection[UUID], wish: MakeApiKey) -> Sequence[ApiKeyEvent] | Refusal:
    """`live`: the person's keys that work now."""
    if len(live) >= LIVE_MAX:
        return TooManyApiKeys(f"There are {LIVE_MAX} API keys already. Revoke one that is not needed.")
    scopes = tuple(sorted(set(wish.scopes)))
    return [
        ApiKeyMade(wish.api_key_id, wish.owner, wish.name.ciphertext(), scopes, wish.secret_digest, wish.expires_at)
    ]


def revoke(key: ApiKey | None, wish: RevokeApiKey) -> Sequence[ApiKeyEvent] | Refusal:
    if key is None or key.owner != wish.owner:
        return ApiKeyNotFound("There is no such API key.", ("input", "apiKeyId"))
    if key.revoked:
        return []  # the same wish again
    return [ApiKeyRevoked(key.api_key_id, key.owner)]
