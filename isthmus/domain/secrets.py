"""Secrets of a bank link: what its bank told, and the provider's tokens. The ports; nothing here holds a key.

Keys are wrapped from the top down: the master key wraps a key per person, a person's key wraps a key per link. So what one link
brought is forgotten with the link's key, and all that a person has with theirs. `connection` is the database connection (or
transaction) to use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID


class LinkKeyInUse(Exception):
    """The link's key is under another person's: a link never changes hands."""


class KeyDestroyed(Exception):
    """The key went while it was being used: nothing was sealed, and the transaction is to be given up."""


class SecretsAway(Exception):
    """Where the keys are cannot be reached right now; ask again."""


@dataclass(frozen=True)
class ProviderTokens:
    """What a provider gave for a link. Its repr shows nothing, so that no log and no traceback can.

    `reference` is the provider's own name for the link, such as Plaid's item_id. `expires_at` is the access token's.
    """

    access: str = field(repr=False)
    refresh: str | None = field(default=None, repr=False)
    expires_at: datetime | None = field(default=None, repr=False)
    reference: str | None = field(default=None, repr=False)


class LinkSecrets(Protocol):
    """The port that seals and opens under a key per link.

    `context` says what the ciphertext is, as in b"bank transaction": it opens as nothing else, and under no other link.
    """

    async def seal_many(
        self, connection: Any, link_id: UUID, person_id: UUID, plains: Sequence[bytes], context: bytes
    ) -> list[bytes]:
        """In the order given. The link's key is made the first time, and the person's where there is none.

        A key that was destroyed is made anew, and opens nothing of before: whoever writes for a link asks first, in the same
        transaction, whether it is still there. Raises LinkKeyInUse, KeyDestroyed.
        """
        ...

    async def open_many(
        self, connection: Any, link_id: UUID, sealed: Sequence[bytes], context: bytes
    ) -> list[bytes | None]:
        """In the order given; None where the link's key, or the person's, was destroyed."""
        ...

    async def open_across(
        self, connection: Any, sealed: Sequence[tuple[UUID, bytes]], context: bytes
    ) -> list[bytes | None]:
        """As `open_many`, for (link, ciphertext) of any links at once."""
        ...

    async def destroy(self, connection: Any, link_id: UUID) -> bool:
        """Forget the link's key: what it sealed is unreadable for ever, its tokens are gone. False where there was none."""
        ...


class TokenVault(Protocol):
    """The port that keeps a provider's tokens, as ciphertext under the link's key only."""

    async def put(self, connection: Any, link_id: UUID, person_id: UUID, tokens: ProviderTokens) -> int:
        """In place of what was kept. Returns how often tokens have been put for the link: 1 at first."""
        ...

    async def get(self, connection: Any, link_id: UUID) -> ProviderTokens | None:
        """None where there are none, or where their key was destroyed."""
        ...

    async def forget(self, connection: Any, link_id: UUID) -> bool:
        """Take the tokens away and leave what the link brought readable, as after a revocation. False where there were none.

        Where the link itself goes, `LinkSecrets.destroy` takes the key, and these rows with it.
        """
        ...
