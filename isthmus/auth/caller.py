"""Whoever a verified access token speaks for."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from isthmus.auth.scopes import Role, Scope


@dataclass(frozen=True)
class Caller:
    """`subject` is what the issuer calls them; everything of ours knows only `person_id`, which is safe to log."""

    person_id: UUID
    subject: str = field(repr=False)
    roles: frozenset[Role]
    scopes: frozenset[Scope]
    expires_at: datetime

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes
