"""The port to devices that sign (WebAuthn): what they are asked with, and whether what they answer is right. Nothing is kept there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

#: Longest answer of a device that is looked at; an honest one has a tenth of it.
ANSWER_LENGTH_MAX = 16_384


@dataclass(frozen=True)
class Credential:
    """A device's key pair, as far as we have it. Texts are base64url. `counter`: how often it signed; 0 where it does not count."""

    credential_id: str
    public_key: str = field(repr=False)
    counter: int


class Authenticators(Protocol):
    """Challenges are 32 bytes. Options and answers are JSON as a browser has them."""

    def creation_options(self, challenge: bytes, owner: UUID, name: str, known: Sequence[str]) -> str:
        """What `navigator.credentials.create` is called with. `known`: credentials that are there already."""
        ...

    def request_options(self, challenge: bytes, known: Sequence[str]) -> str:
        """What `navigator.credentials.get` is called with. `known`: the credentials that may answer."""
        ...

    def registered(self, answer: str, challenge: bytes) -> Credential | None:
        """The new key; None where anything is wrong."""
        ...

    def credential_id(self, answer: str) -> str | None:
        """Which credential it says that it is of."""
        ...

    def signed(self, answer: str, challenge: bytes, credential: Credential, owner: UUID) -> int | None:
        """The counter that came with it; None where anything is wrong."""
        ...
