"""The table of API keys: what each request looks up, and whose keys are counted. Written in the transaction of the event.

What a key is stays in its first event; the row says whose it is and whether it still works, so that a revoked key is refused from
the commit on, whatever the projections do.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from isthmus.domain.api_keys import ApiKeyConfirmed, ApiKeyEvent, ApiKeyMade, ApiKeyRevoked
from isthmus.domain.events import Event
from isthmus.write_models.connection import Connection

#: Sorts our advisory locks from everybody else's; the other half is of the person's id.
_LOCKS = 0x4150494B


async def load_live(connection: Connection, owners: Sequence[UUID], at: datetime | None) -> dict[UUID, set[UUID]]:
    """The keys of each that work at `at`, or wait to be answered for; None being now by the database's clock.

    Whoever else counts a person's keys waits until our transaction ends.
    """
    await connection.execute(
        "select pg_advisory_xact_lock($1, hashtext(owner::text)) from unnest($2::uuid[]) with ordinality as o (owner, n) "
        "order by hashtext(owner::text)",
        _LOCKS,
        list(owners),
    )
    # A statement of its own, after the wait: one beside the lock would count what was there before it.
    rows = await connection.fetch(
        "select owner, id from api_keys where owner = any($1::uuid[]) and not revoked "
        "and expires_at > coalesce($2, statement_timestamp()) "
        "and (confirmed or exists (select from sca_challenges c where c.id = challenge_id and c.state = 'PENDING' "
        "and c.expires_at > coalesce($2, statement_timestamp())))",
        list(owners),
        at,
    )
    live: dict[UUID, set[UUID]] = {owner: set() for owner in owners}
    for row in rows:
        live[row["owner"]].add(row["id"])
    return live


def bring_forward(live: dict[UUID, set[UUID]], event: ApiKeyEvent) -> None:
    """What the next command of the batch counts."""
    keys = live.setdefault(event.owner, set())
    if isinstance(event, ApiKeyMade):
        keys.add(event.api_key_id)
    elif isinstance(event, ApiKeyRevoked):
        keys.discard(event.api_key_id)


async def write(connection: Connection, events: Sequence[Event]) -> None:
    """Before the flush, as everything but the flush is."""
    made = [event for event in events if isinstance(event, ApiKeyMade)]
    if made:
        await connection.execute(
            "insert into api_keys (id, owner, expires_at, challenge_id, confirmed) select id, owner, ends, challenge, challenge is null "
            "from unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::uuid[]) as made (id, owner, ends, challenge)",
            [event.api_key_id for event in made],
            [event.owner for event in made],
            [event.expires_at for event in made],
            [event.challenge_id for event in made],
        )
    confirmed = sorted(event.api_key_id for event in events if isinstance(event, ApiKeyConfirmed))
    if confirmed:
        await connection.execute("update api_keys set confirmed = true where id = any($1::uuid[])", confirmed)
    revoked = sorted(event.api_key_id for event in events if isinstance(event, ApiKeyRevoked))
    if revoked:
        await connection.execute("update api_keys set revoked = true where id = any($1::uuid[])", revoked)
