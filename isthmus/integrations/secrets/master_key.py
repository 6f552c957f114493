"""The master key: wraps the keys per person, and gives derived keys for digests. The port, and what its adapters share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from isthmus.domain.secrets import SecretsAway
from isthmus.integrations.secrets.sealing import KEY_BYTES

Kind = Literal["file", "vault"]


class MasterKeyError(Exception):
    """The master key is missing, malformed, away, or not the one that wrapped what is to be unwrapped."""


class MasterKeyAway(MasterKeyError, SecretsAway):
    """It did not answer. It will again, and nothing is lost."""


@dataclass(frozen=True)
class Wrapped:
    """A key as it is stored: under which version of which master key stands beside it, in columns of their own."""

    kind: Kind
    version: int
    blob: bytes = field(repr=False)


@dataclass(frozen=True)
class Plain:
    """`context` binds a wrapped key to its place: unwrapping elsewhere fails."""

    key: bytes = field(repr=False)
    context: bytes


class MasterKey(Protocol):
    """The port. Everything that may go over a network is asynchronous, takes many at once, and raises MasterKeyError."""

    @property
    def kind(self) -> Kind: ...

    async def wrap_many(self, version: int, plains: Sequence[Plain]) -> list[bytes]: ...

    async def unwrap_many(self, wrapped: Sequence[tuple[Wrapped, bytes]]) -> list[bytes]:
        """Each with its context."""
        ...

    async def rewrap_many(self, version: int, wrapped: Sequence[tuple[Wrapped, bytes]]) -> list[bytes]:
        """From whichever master key and version to that version of this one."""
        ...

    async def versions(self) -> list[int]:
        """Those that can be used, the newest last."""
        ...

    async def add_version(self) -> int: ...

    async def drop_version(self, version: int) -> None:
        """What is wrapped under it is lost: `rotation.retire` looks first."""
        ...

    def derive(self, purpose: str) -> bytes:
        """32 bytes for one purpose: the same in every process, and for ever.

        They come from the first version whatever is rotated, because digests are made with them (whom an e-mail belongs to,
        which request was answered already), and a digest cannot be made anew without the words that it stands for.
        """
        ...


def derived(root: bytes, purpose: str) -> bytes:
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=b"isthmus " + purpose.encode()).derive(root)
