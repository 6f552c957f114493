"""The audit trail: every event without its data, and who may see it. Whichever partition comes first inserts it."""

from __future__ import annotations

from collections.abc import Sequence

from isthmus.read_models.projections.facts import Connection, Fact, columns

NAME = "audit"

_EVENTS = """
insert into {schema}.audit_events (position, event_id, aggregate_type, aggregate_id, version, event_type, occurred_at,
    correlation_id, causation_id, actor, hash)
select * from unnest($1::bigint[], $2::uuid[], $3::text[], $4::uuid[], $5::integer[], $6::text[], $7::timestamptz[], $8::text[],
    $9::text[], $10::text[], $11::bytea[]) as u (position, event_id, aggregate_type, aggregate_id, version, event_type,
    occurred_at, correlation_id, causation_id, actor, hash)
order by position
on conflict do nothing"""
_VISIBILITY = """
insert into {schema}.audit_visibility (person, position)
select * from unnest($1::uuid[], $2::bigint[]) as u (person, position) order by position, person
on conflict do nothing"""


async def apply(connection: Connection, schema: str, facts: Sequence[Fact]) -> None:
    once = {fact.position: fact for fact in facts}
    if not once:
        return
    events = [
        (
            fact.position,
            fact.row.event_id,
            fact.row.aggregate_type,
            fact.row.aggregate_id,
            fact.row.version,
            fact.row.type,
            fact.written.occurred_at,
            fact.written.correlation_id,
            fact.written.causation_id,
            fact.written.actor,
            bytes.fromhex(fact.row.hash),
        )
        for fact in once.values()
    ]
    await connection.execute(_EVENTS.format(schema=schema), *columns(events, 11))
    visible = [(person, fact.position) for fact in once.values() for person in fact.people()]
    if visible:
        await connection.execute(_VISIBILITY.format(schema=schema), *columns(visible, 2))
