"""The last statements of a batch: everything it decided, written in one round trip a stretch, and its balances in one more.

`log_head` is updated first inside a stretch's statement (every other part reads from it), so its row lock puts writers in line and
draws positions and stamps without gaps; after it come only the batch's other stretches, its balances and COMMIT. Each event has a
stamp of its own, one microsecond apart, so that a balance shown with a stamp is the only balance with that stamp. The hash chain is
computed where the rows are stored.

Rows travel as one JSON text a part: an array a column costs the driver more per cell than the whole row costs the database to read.
Parts that a stretch has no rows for are left out of the text; the few texts that result are prepared once per connection, and
planned once: nothing in them depends on how many rows there are (`commands.writer_pool`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from isthmus.write_models.connection import Connection

Row = dict[str, Any]


@dataclass
class Rows:
    """Rows to write, with the columns that `_PARTS` names. `k` counts the stretch's events from 1; `chained` says that one
    of them follows another of the same stretch in its stream. Of an account's new names the last one stays."""

    events: list[Row] = field(default_factory=list)
    chained: bool = False
    journals: list[Row] = field(default_factory=list)
    entries: list[Row] = field(default_factory=list)
    pending: list[Row] = field(default_factory=list)
    accounts: list[Row] = field(default_factory=list)
    names: dict[UUID, Row] = field(default_factory=dict)
    keys: list[Row] = field(default_factory=list)


@dataclass(frozen=True)
class Part:
    """`columns` as SQL declares them; `sql` reads the rows as `{rows}` and the head as `h`."""

    columns: str
    sql: str


_FIGURES = "account_version bigint, posted numeric, pending_in numeric, pending_out numeric"
_BALANCE = (
    "account_id uuid, posted numeric, pending_in numeric, pending_out numeric, version bigint, floor numeric, freezes text[], "
    "closed bool, stream_version int, as_of timestamptz"
)
_AT = "h.stamp + (r.k - 1) * interval '1 microsecond'"

_PARTS: dict[str, Part] = {
    "journals": Part(
        "k int, id uuid, reference_id text, kind text, phase text, reference text, correlation_id text, event_id uuid, "
        "reverses uuid, resolves uuid, linked uuid, expires_at timestamptz",
        "insert into journal_entries (id, reference_id, kind, phase, reference, correlation_id, event_id, posted_at, "
        "reverses, resolves, linked, expires_at) "
        "select r.id, r.reference_id, r.kind, r.phase, r.reference, r.correlation_id, r.event_id, " + _AT + ", "
        "r.reverses, r.resolves, r.linked, r.expires_at from {rows}, head h",
    ),
    "entries": Part(
        f"k int, journal_id uuid, account_id uuid, amount numeric, asset text, direction text, {_FIGURES}",
        "insert into entries (journal_id, account_id, amount, asset, direction, posted_at, account_version, "
        "posted_after, pending_in_after, pending_out_after) "
        "select r.journal_id, r.account_id, r.amount, r.asset, r.direction, " + _AT + ", "
        "r.account_version, r.posted, r.pending_in, r.pending_out from {rows}, head h",
    ),
    "pending": Part(
        f"k int, journal_id uuid, account_id uuid, amount numeric, asset text, direction text, effect text, {_FIGURES}",
        "insert into pending_entries (journal_id, account_id, amount, asset, direction, effect, posted_at, account_version, "
        "posted_after, pending_in_after, pending_out_after) "
        "select r.journal_id, r.account_id, r.amount, r.asset, r.direction, r.effect, " + _AT + ", "
        "r.account_version, r.posted, r.pending_in, r.pending_out from {rows}, head h",
    ),
    "accounts": Part(
        "id uuid, code text, name text, type text, asset text, owner uuid, may_overdraw bool",
        "insert into accounts (id, code, name, type, asset, owner, may_overdraw) "
        "select r.id, r.code, r.name, r.type, r.asset, r.owner, r.may_overdraw from {rows}, head h",
    ),
    "names": Part(
        "id uuid, name text",
        "update accounts a set name = r.name from {rows}, head h where a.id = r.id",
    ),
    "keys": Part(
        "k int, scope bytea, request_hash bytea, outcome jsonb",
        "insert into idempotency (scope, request_hash, outcome, position, committed_at) "
        "select r.scope, r.request_hash, r.outcome, h.base + r.k, h.stamp from {rows}, head h",
    ),
}

_EVENT_COLUMNS = (
    "k int, wave int, event_id uuid, aggregate_type text, aggregate_id uuid, version int, type text, schema_version int, data jsonb, "
    "metadata jsonb, topic text, payload jsonb"
)
# `log_head` is locked before the clock is read: a reader that holds the row FOR SHARE (balance(asOf: now)) keeps writers waiting, and
# a stamp taken before the wait would lie below an instant that the reader has answered for.
# `wave` counts an aggregate's events within the batch: each takes its predecessor's hash from the wave before it.
_NO_HASH = "decode(repeat('00', 32), 'hex')"
_HASHED = (
    "i.position, i.event_id, i.aggregate_type, i.aggregate_id, i.version, i.type, i.schema_version, i.data, i.metadata, "
    "i.committed_at"
)
_HEAD = f"""
with recursive held as materialized (
    select only_row from log_head for update
), head as (
    update log_head l set position = position + $1, committed_at =
        greatest(coalesce($2, clock_timestamp()), committed_at + interval '1 microsecond') + ($1 - 1) * interval '1 microsecond'
    from held where held.only_row = l.only_row
    returning position - $1 as base, committed_at - ($1 - 1) * interval '1 microsecond' as stamp
), input as materialized (
    select r.*, h.base + r.k as position, {_AT} as committed_at from {{rows}}, head h
), hashed as (
    select i.*, event_hash(case when i.version = 1 then {_NO_HASH} else (select p.hash from event_store p
        where p.aggregate_id = i.aggregate_id and p.version = i.version - 1) end, {_HASHED}) as hash
    from input i where i.wave = 0{{later}}
), stored as (
    insert into event_store (position, event_id, aggregate_type, aggregate_id, version, type, schema_version, data, metadata,
        committed_at, hash)
    select position, event_id, aggregate_type, aggregate_id, version, type, schema_version, data, metadata, committed_at, hash
    from hashed
), w_outbox as (
    insert into outbox (id, aggregatetype, aggregateid, type, payload, position, correlation_id)
    select event_id, aggregate_type, aggregate_id::text, topic, payload, position, metadata->>'correlation_id' from input
)"""
_LATER_WAVES = f"""
    union all
    select i.*, event_hash(p.hash, {_HASHED})
    from hashed p join input i on i.aggregate_id = p.aggregate_id and i.wave = p.wave + 1"""
_OPENED = """
insert into account_balances (account_id, posted, pending_in, pending_out, version, floor, frozen, freezes, closed, stream_version, as_of)
select r.account_id, r.posted, r.pending_in, r.pending_out, r.version, r.floor, r.freezes <> '{{}}', r.freezes, r.closed,
    r.stream_version, r.as_of from {rows}"""
_CHANGED = """
update account_balances b set posted = r.posted, pending_in = r.pending_in, pending_out = r.pending_out, version = r.version,
    floor = r.floor, frozen = r.freezes <> '{{}}', freezes = r.freezes, closed = r.closed, stream_version = r.stream_version,
    as_of = coalesce(r.as_of, b.as_of)
from {rows} where b.account_id = r.account_id"""
_REFUSALS_ONLY = """
insert into idempotency (scope, request_hash, outcome, position, committed_at)
select r.scope, r.request_hash, r.outcome, h.position, h.committed_at from {rows}, log_head h
returning position"""


async def flush(connection: Connection, rows: Rows, stamp: datetime | None) -> tuple[int, datetime]:
    """Write `rows` and wake the relay. Returns (position before the first event, stamp of the first event)."""
    arguments: list[Any] = [len(rows.events), stamp]
    later = _LATER_WAVES if rows.chained else ""
    parts = [_HEAD.format(rows=_records(_EVENT_COLUMNS, rows.events, arguments), later=later)]
    for name, part in _PARTS.items():
        values = getattr(rows, name)
        if values:
            values = list(values.values()) if isinstance(values, dict) else values
            parts.append(f"w_{name} as ({part.sql.format(rows=_records(part.columns, values, arguments))})")
    text = ",\n".join(parts) + "\nselect base, stamp, pg_notify('isthmus_log', (base + $1)::text) from head"
    row = await connection.fetchrow(text, *arguments)
    assert row is not None, "log_head has its one row"
    return row["base"], row["stamp"]


async def write_balances(connection: Connection, *, opened: Sequence[Row], changed: Sequence[Row]) -> None:
    """Rows of `account_balances` that are new, and those that were there."""
    for statement, rows in ((_OPENED, opened), (_CHANGED, changed)):
        if rows:
            arguments: list[Any] = []
            await connection.execute(statement.format(rows=_records(_BALANCE, rows, arguments)), *arguments)


async def flush_refusals(connection: Connection, keys: Sequence[Row]) -> int:
    """Remember refusals where nothing else was decided: no position is drawn. Returns the log's end."""
    arguments: list[Any] = []
    text = _REFUSALS_ONLY.format(rows=_records(_PARTS["keys"].columns, keys, arguments))
    position: int = await connection.fetchval(text, *arguments)
    return position


def _records(columns: str, rows: Sequence[Row], arguments: list[Any]) -> str:
    """The rows as a set `r`: one JSON text, appended to the statement's arguments."""
    arguments.append(orjson.dumps(rows, default=str).decode())  # str: a driver's own kind of UUID
    return f"json_to_recordset(${len(arguments)}::json) as r ({columns})"
