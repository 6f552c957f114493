"""Personal text: what a person wrote or what names one.

Every field that may hold such text is marked in its type: `PersonalText` in a command, `Sealed` in an event. A `Sealed` is
ciphertext under the person's own key; when the key is destroyed the text is gone everywhere at once and shows as null.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

SEALED_PATTERN = r"^sealed:v1:[0-9a-f-]{36}:[A-Za-z0-9_-]+$"


class Sealed(str):
    """`sealed:v1:<person id>:<base64url of nonce and ciphertext>`."""

    __slots__ = ()

    @property
    def person(self) -> UUID:
        return UUID(self.split(":", 3)[2])


@dataclass(frozen=True)
class PersonalText:
    """Text on its way in. Its repr shows nothing, so that no log and no traceback can."""

    plain: str = field(repr=False)
    sealed: Sealed | None = None

    def ciphertext(self) -> Sealed:
        assert self.sealed is not None, "the command bus seals personal text before anything is decided"
        return self.sealed


class PersonalTexts(Protocol):
    """The port that seals and opens. `connection` is the database connection (or transaction) to use."""

    async def seal_many(self, connection: Any, texts: Sequence[tuple[UUID, str]]) -> list[Sealed]:
        """Each (whose, text) under that person's key, made the first time. In the order given."""
        ...

    async def open_many(self, connection: Any, sealed: Sequence[str]) -> list[str | None]:
        """In the order given; None where the person's key was destroyed."""
        ...

    async def destroy(self, connection: Any, person: UUID) -> bool:
        """Forget a person's key: their text becomes unreadable, for ever. False where there was none."""
        ...
