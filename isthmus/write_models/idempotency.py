"""Idempotency: a key, scoped by person and mutation, is answered once; the record commits with the events or not at all.

Nothing says "in progress": a claim is the row itself, and it dies with its transaction. Business refusals stick; what was wrong
with the request, and machinery that failed, do not. The request hash is keyed, so that it tells nobody what the input was.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec

from isthmus.domain import refusals
from isthmus.domain.refusals import Refusal
from isthmus.write_models.envelope import Envelope

_REFUSALS: Mapping[str, type[Refusal]] = {
    kind.__name__: kind
    for kind in vars(refusals).values()
    if isinstance(kind, type) and issubclass(kind, Refusal) and kind is not Refusal
}


def scope_of(envelope: Envelope) -> bytes:
    return _digest(envelope.person, envelope.mutation, envelope.idempotency_key)


def reference_id_of(envelope: Envelope, leg: int) -> str:
    """What makes a journal unique: the same command can never make it twice, whatever else fails."""
    return _digest(envelope.person, envelope.mutation, envelope.idempotency_key, str(leg)).hex()


def request_hash_of(envelope: Envelope, key: bytes) -> bytes:
    canonical = json.dumps(envelope.body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hmac.new(key, f"{envelope.mutation}\n{canonical}".encode(), hashlib.sha256).digest()


def accepted_json(events: int) -> str:
    return json.dumps({"events": events})


def refused_json(refusal: Refusal) -> str:
    return json.dumps({"refusal": type(refusal).__name__, "fields": msgspec.to_builtins(refusal)})


def refusal_from(outcome: Mapping[str, Any]) -> Refusal | None:
    name = outcome.get("refusal")
    if name is None:
        return None
    return msgspec.convert(outcome["fields"], _REFUSALS[name])


def _digest(person: UUID, *parts: str) -> bytes:
    digest = hashlib.sha256(person.bytes)
    for part in parts:
        raw = part.encode()
        digest.update(len(raw).to_bytes(4, "big") + raw)  # lengths, so that no two lists of parts look alike
    return digest.digest()
