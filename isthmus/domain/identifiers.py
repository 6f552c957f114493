"""Ids: opaque, drawn outside decisions, and the same for the same thing where a thing has a natural name."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from uuid import UUID, uuid5

_NAMESPACE = UUID("6f2b1f0e-7c1d-5e53-9a41-0d2f5b8a9c11")

#: Stands for "no such thing": a malformed id is looked up under it, so that it is answered the way a missing one is.
NOWHERE = UUID(int=0)

IdSource = Callable[[], UUID]


def person_id(issuer_name: str, subject: str) -> UUID:
    """A person's id: follows from who signed them in, so that it needs no table and no e-mail."""
    return uuid5(_NAMESPACE, f"{issuer_name}|{subject}")


def house_account_id(code: str) -> UUID:
    """The id of an account of the platform's own, known from its code alone."""
    return uuid5(_NAMESPACE, f"account|{code}")


def uuid7_source(now: Callable[[], datetime]) -> IdSource:
    """Ids that rise with time (RFC 9562, version 7): rows made together lie together in an index."""

    def draw() -> UUID:
        milliseconds = int(now().timestamp() * 1_000)
        random = int.from_bytes(os.urandom(10), "big")
        value = (milliseconds & ((1 << 48) - 1)) << 80 | random
        value = value & ~(0xF << 76) | 7 << 76
        value = value & ~(0x3 << 62) | 2 << 62
        return UUID(int=value)

    return draw
