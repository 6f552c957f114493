"""Whom a person pays who names a payee that they saved: read of what they answered for, not of a table that somebody may have changed."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from uuid import UUID

from isthmus.domain import saved_payees
from isthmus.domain.lookalikes import KnownPayee
from isthmus.domain.personal import PersonalTexts
from isthmus.domain.refusals import Refusal
from isthmus.domain.saved_payees import missing, payable, payee_digest
from isthmus.write_models.connection import Connection
from isthmus.write_models.event_store import load_streams


async def saved_payees_of(
    connection: Connection, texts: PersonalTexts, person: UUID, payee_ids: Sequence[UUID]
) -> dict[UUID, KnownPayee | Refusal]:
    """Each by name and account, as they are now."""
    streams = await load_streams(connection, sorted(set(payee_ids)))
    found: dict[UUID, KnownPayee | Refusal] = {}
    for payee_id in set(payee_ids):
        payee = saved_payees.fold(streams.get(payee_id, ()))
        no = payable(payee, person)
        if no is not None or payee is None:
            found[payee_id] = no or missing()
            continue
        told = payee.requested
        name, account = await texts.open_many(connection, [told.name, told.account])
        if name is None or account is None:
            found[payee_id] = missing()  # of one whose person was erased nothing can be read
            continue
        same = hmac.compare_digest(payee_digest(payee_id, person, name, account), told.digest)
        found[payee_id] = KnownPayee(name, account) if same else missing()
    return found
