"""A command on its way into a batch, and the sealing of what is personal in it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any

from isthmus.domain.personal import PersonalText, PersonalTexts
from isthmus.write_models.connection import Connection
from isthmus.write_models.envelope import Envelope
from isthmus.write_models.handlers import HANDLERS
from isthmus.write_models.handling import Needs


@dataclass(frozen=True)
class Ask:
    """`scope` and `request_hash` are the idempotency key's, hashed."""

    command: Any
    envelope: Envelope
    scope: bytes
    request_hash: bytes

    def needs(self) -> Needs:
        return HANDLERS[type(self.command)].needs(self.command)


async def sealed(asks: Sequence[Ask], connection: Connection, texts: PersonalTexts) -> Sequence[Ask]:
    """Turn every PersonalText into ciphertext before anything is decided, with one look at the keys for the whole batch."""
    found = [
        (n, name, ask.command.person, text.plain)
        for n, ask in enumerate(asks)
        for name, text in _personal_texts(ask.command)
    ]
    if not found:
        return asks
    ciphertexts = await texts.seal_many(connection, [(person, plain) for _, _, person, plain in found])
    changes: dict[int, dict[str, PersonalText]] = defaultdict(dict)
    for (n, name, _, _), ciphertext in zip(found, ciphertexts, strict=True):
        changes[n][name] = PersonalText("", ciphertext)
    return [
        replace(ask, command=replace(ask.command, **changes[n])) if n in changes else ask for n, ask in enumerate(asks)
    ]


def _personal_texts(command: Any) -> Iterator[tuple[str, PersonalText]]:
    for name in _field_names(type(command).__name__):
        value = getattr(command, name)
        if isinstance(value, PersonalText) and value.sealed is None:
            yield name, value


@cache
def _field_names(command_name: str) -> tuple[str, ...]:
    return next(tuple(field.name for field in fields(kind)) for kind in HANDLERS if kind.__name__ == command_name)
