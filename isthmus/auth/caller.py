"""Whoever a verified access token speaks for."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from isthmus.auth.scopes import Role, Scope


@dataclass(frozen=True)
class SignedIn:
    """The session that an access token belongs to (a digest: it signs nobody in), and when this token of it was given out."""

    session: str
    at: datetime


@dataclass(frozen=True)
class Caller:
    """`subject` is what the issuer calls them; everything of ours knows only `person_id`, which is safe to log.

    `api_key_id`: the key that a program of theirs signed in with; None where they are here themselves.
    `session`: the browser session that signed them in (its digest: it signs nobody in); None where no cookie did.
    `signed_in`: the session of their access token at the issuer; None where an API key speaks for them.
    """

    person_id: UUID
    subject: str = field(repr=False)
    roles: frozenset[Role]
    scopes: frozenset[Scope]
    expires_at: datetime
    api_key_id: UUID | None = None
    session: str | None = field(default=None, repr=False)
    signed_in: SignedIn | None = field(default=None, repr=False)

    @property
    def actor(self) -> str:
        """As events, audit trail and logs name whoever did something."""
        person = f"person:{self.person_id}"
        return person if self.api_key_id is None else f"{person}/key:{self.api_key_id}"

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes
