"""Integration events: the small public set that others may rely on. No personal text is in them, sealed or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from isthmus.domain.event_codec import stream_of
from isthmus.domain.ledger import LedgerEvent

Payload = dict[str, Any]


@dataclass(frozen=True)
class IntegrationEvent:
    """A row of `outbox`, in Debezium's columns; `type` is the topic."""

    type: str
    aggregatetype: str
    aggregateid: str
    payload: Payload


def _only(*names: str) -> Callable[[Payload], Payload]:
    return lambda data: {name: data[name] for name in names}


_PUBLIC: Mapping[str, tuple[str, Callable[[Payload], Payload]]] = {
    "AccountOpened": ("accounts.account.opened.v1", _only("account_id", "account_type", "asset", "owner")),
    "AccountRenamed": ("accounts.account.renamed.v1", _only("account_id", "owner")),
    "AccountFrozen": ("accounts.account.frozen.v1", _only("account_id", "owner", "reason")),
    "AccountUnfrozen": ("accounts.account.unfrozen.v1", _only("account_id", "owner", "reason")),
    "AccountClosed": ("accounts.account.closed.v1", _only("account_id", "owner")),
    "JournalPosted": (
        "ledger.journal.posted.v1",
        _only("journal_id", "kind", "legs", "figures", "reverses", "resolves", "linked"),
    ),
    "JournalReserved": (
        "ledger.journal.reserved.v1",
        _only("journal_id", "kind", "legs", "figures", "expires_at", "linked"),
    ),
    "HoldVoided": ("ledger.hold.voided.v1", _only("journal_id", "reason", "figures")),
}

TOPICS: tuple[str, ...] = tuple(topic for topic, _ in _PUBLIC.values())


def integration_event(event: LedgerEvent, data: Payload) -> IntegrationEvent:
    """`data` is the event as encoded for the store, so that it is encoded once."""
    topic, public = _PUBLIC[type(event).__name__]
    aggregate_type, aggregate_id = stream_of(event)
    return IntegrationEvent(topic, aggregate_type, str(aggregate_id), public(data))
