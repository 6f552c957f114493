"""The tables of consents and of accounts at banks: what is asked about each at any moment. Written in the transaction of the event.

What a consent is stays in its events; its row says where it stands, so that a bank that must not be asked any more is not asked from
the commit on. A trigger tells whoever shows consents live that a row has changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from prometheus_client import Counter

from isthmus.domain.bank_accounts import BankAccountLinked, BankAccountUnlinked, BankTransactionTagged
from isthmus.domain.consent_events import (
    AuthorisationBegun,
    AuthorisationReturned,
    ConsentAuthorised,
    ConsentEndChanged,
    ConsentEvent,
    ConsentExpired,
    ConsentExpiryNear,
    ConsentFailed,
    ConsentRejected,
    ConsentRenewalNeeded,
    ConsentRequested,
    ConsentRevoked,
    ConsentStatus,
    ConsentStatusParked,
    LinkDeleted,
)
from isthmus.domain.events import Event
from isthmus.write_models.connection import Connection

_parked = Counter(
    "isthmus_consents_parked_total",
    "Words of a provider for a consent that nobody knows here: kept, and nothing changed by them.",
)

_STATUS: dict[type, ConsentStatus] = {
    ConsentAuthorised: ConsentStatus.AUTHORISED,
    ConsentRenewalNeeded: ConsentStatus.RENEWAL_NEEDED,
    ConsentExpired: ConsentStatus.EXPIRED,
    ConsentRejected: ConsentStatus.REJECTED,
    ConsentFailed: ConsentStatus.FAILED,
    ConsentRevoked: ConsentStatus.REVOKED,
}
#: These change nothing that the row says, but are told of.
_TOLD = (ConsentExpiryNear, AuthorisationBegun, AuthorisationReturned)


async def write(connection: Connection, events: Sequence[Event]) -> None:
    """Before the flush, as everything but the flush is."""
    for event in events:
        if isinstance(event, ConsentRequested):
            await connection.execute(
                "insert into consents (id, owner, institution_id, provider, jurisdiction, scopes, status) "
                "values ($1, $2, $3, $4, $5, $6, $7)",
                event.consent_id,
                event.owner,
                event.institution_id,
                event.provider,
                event.jurisdiction,
                list(event.scopes),
                ConsentStatus.AWAITING_AUTHORISATION,
            )
        elif isinstance(event, ConsentEvent):
            await _change(connection, event)
        elif isinstance(event, BankAccountLinked):
            await connection.execute(
                "insert into bank_accounts (id, owner, consent_id, institution_id, provider, asset) values ($1, $2, $3, $4, $5, $6) "
                "on conflict (id) do update set consent_id = excluded.consent_id, institution_id = excluded.institution_id, "
                "provider = excluded.provider, asset = excluded.asset, linked = true",
                event.bank_account_id,
                event.owner,
                event.consent_id,
                event.institution_id,
                event.provider,
                event.currency,
            )
        elif isinstance(event, BankTransactionTagged):
            # Nothing, where its link was deleted just now.
            await connection.execute(
                "insert into bank_transaction_tags (transaction_id, sealed) select id, $2 from bank_transactions where id = $1 "
                "on conflict (transaction_id) do update set sealed = excluded.sealed",
                event.bank_transaction_id,
                str(event.tags),
            )
        elif isinstance(event, BankAccountUnlinked):
            await connection.execute("update bank_accounts set linked = false where id = $1", event.bank_account_id)


async def _change(connection: Connection, event: ConsentEvent) -> None:
    changes: dict[str, Any] = {}
    if type(event) in _STATUS:
        changes["status"] = _STATUS[type(event)]
    if isinstance(event, ConsentAuthorised | ConsentEndChanged):
        changes |= {"expires_at": event.expires_at, "warned": False}
    if isinstance(event, ConsentAuthorised):
        changes |= {"parked": None}
    if isinstance(event, ConsentExpiryNear):
        changes["warned"] = True
    if isinstance(event, LinkDeleted):
        changes["deleted"] = True
    if isinstance(event, ConsentStatusParked):
        changes["parked"] = event.told
        _parked.inc()
    if changes or isinstance(event, _TOLD):
        names = list(changes)
        sets = "".join(f", {name} = ${n}" for n, name in enumerate(names, 2))
        await connection.execute(
            f"update consents set version = version + 1{sets} where id = $1", event.consent_id, *changes.values()
        )


async def consents_to_mind(connection: Connection, limit: int, at: Any) -> list[UUID]:
    """Those that are over, or near their end and their owners not told. `at` None is now by the database's clock."""
    rows = await connection.fetch(
        "select id from consents where status in ('AUTHORISED', 'RENEWAL_NEEDED') and (expires_at <= coalesce($1, statement_timestamp()) "
        "or (not warned and expires_at <= coalesce($1, statement_timestamp()) + interval '7 days')) order by expires_at limit $2",
        at,
        limit,
    )
    return [row["id"] for row in rows]
