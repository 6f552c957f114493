"""Idempotency: a key, scoped by person and mutation, is answered once; the record commits with the events or not at all.

Nothing says "in progress": a claim is the row itself, and it dies with its transaction. Business refusals stick; what was wrong
with the request, and machinery that failed, do not. The request hash is keyed, so that it tells nobody what the input was.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec
import orjson

from isthmus.domain import refusals
from isthmus.domain.refusals import Refusal
from isthmus.write_models.connection import Connection
from isthmus.write_models.envelope import Envelope

_REFUSALS: Mapping[str, type[Refusal]] = {
    kind.__name__: kind
    for kind in vars(refusals).values()
    if isinstance(kind, type) and issubclass(kind, Refusal) and kind is not Refusal
}


def scope_of(envelope: Envelope) -> bytes:
    return _digest(envelope.person, envelope.mutation, envelope.idempotency_key)


async def was_answered(connection: Connection, envelope: Envelope) -> bool:
    """Whether the wish was answered before: it gets that answer again, or is told that its key was another wish's."""
    return bool(await connection.fetchval("select true from idempotency where scope = $1", scope_of(envelope)))


def reference_id_of(envelope: Envelope, leg: int) -> str:
    """What makes a journal unique: the same command can never make it twice, whatever else fails."""
    return _digest(envelope.person, envelope.mutation, envelope.idempotency_key, str(leg)).hex()


def request_hash_of(envelope: Envelope, key: bytes) -> bytes:
    canonical = orjson.dumps(envelope.body, option=orjson.OPT_SORT_KEYS)
    return hmac.digest(key, envelope.mutation.encode() + b"\n" + canonical, "sha256")


def accepted(events: int) -> dict[str, object]:
    """What is remembered of a command that was done."""
    return {"events": events}


def refused(refusal: Refusal) -> dict[str, object]:
    return {"refusal": type(refusal).__name__, "fields": msgspec.to_builtins(refusal)}


def row(k: int, scope: bytes, request_hash: bytes, outcome: Mapping[str, object]) -> dict[str, object]:
    """For `flush`; `k` counts the batch's events up to the command's last."""
    return {"k": k, "scope": f"\\x{scope.hex()}", "request_hash": f"\\x{request_hash.hex()}", "outcome": outcome}


def refusal_from(outcome: Mapping[str, Any]) -> Refusal | None:
    name = outcome.get("refusal")
    if name is None:
        return None
    return msgspec.convert(outcome["fields"], _REFUSALS[name])


def _digest(person: UUID, *parts: str) -> bytes:
    told = [person.bytes]
    for part in parts:
        raw = part.encode()
        told += (len(raw).to_bytes(4, "big"), raw)  # lengths, so that no two lists of parts look alike
    return hashlib.sha256(b"".join(told)).digest()
