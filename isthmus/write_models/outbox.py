"""Integration events: the small public set that others may rely on. No personal text is in them, sealed or not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class IntegrationEvent:
    """`payload` is for `event_codec.dump`. The outbox's other columns (Debezium's) are those of the event."""

    topic: str
    payload: Mapping[str, object]


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


def integration_event(kind: str, fields: Mapping[str, object], about: Mapping[str, object]) -> IntegrationEvent:
    """The public form of an event of type `kind` with `fields`. `about`: what every payload says beside them."""
    topic, public = _PUBLIC[kind]
    return IntegrationEvent(topic, {**about, **{name: fields[name] for name in public}})
