"""Integration events: the small public set that others may rely on. No personal text is in them, sealed or not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from isthmus.domain.event_codec import encode_fields, stream_of
from isthmus.domain.events import Event


@dataclass(frozen=True)
class IntegrationEvent:
    """A row of `outbox`, in Debezium's columns; `type` is the topic."""

    type: str
    aggregatetype: str
    aggregateid: str
    payload: str


_PUBLIC: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "AccountOpened": ("accounts.account.opened.v1", ("account_id", "account_type", "asset", "owner")),
    "AccountRenamed": ("accounts.account.renamed.v1", ("account_id", "owner")),
    "AccountFrozen": ("accounts.account.frozen.v1", ("account_id", "owner", "reason")),
    "AccountUnfrozen": ("accounts.account.unfrozen.v1", ("account_id", "owner", "reason")),
    "AccountClosed": ("accounts.account.closed.v1", ("account_id", "owner")),
    "JournalPosted": (
        "ledger.journal.posted.v1",
        ("journal_id", "kind", "legs", "figures", "reverses", "resolves", "linked"),
    ),
    "JournalReserved": (
        "ledger.journal.reserved.v1",
        ("journal_id", "kind", "legs", "figures", "expires_at", "linked"),
    ),
    "HoldVoided": ("ledger.hold.voided.v1", ("journal_id", "reason", "figures")),
    "ApiKeyMade": ("access.api_key.made.v1", ("api_key_id", "owner", "scopes", "expires_at")),
    "ApiKeyRevoked": ("access.api_key.revoked.v1", ("api_key_id", "owner")),
}

TOPICS: tuple[str, ...] = tuple(topic for topic, _ in _PUBLIC.values())


def integration_event(event: Event, about: Mapping[str, object]) -> IntegrationEvent:
    """`about`: what every payload says beside the event's public fields."""
    topic, public = _PUBLIC[type(event).__name__]
    aggregate_type, aggregate_id = stream_of(event)
    return IntegrationEvent(topic, aggregate_type, str(aggregate_id), encode_fields(event, public, about).decode())
