"""The last statement of a batch: everything it decided, written in one round trip.

`log_head` is updated first inside the statement (every other part reads from it), so its row lock puts writers in line and draws
positions and stamps without gaps; after it there is nothing but COMMIT. Each event has a stamp of its own, one microsecond apart,
so that a balance shown with a stamp is the only balance with that stamp. The hash chain is computed where the rows are stored.

Parts that a batch has no rows for are left out of the text; the few texts that result are prepared once per connection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from isthmus.write_models.connection import Connection

Row = tuple[Any, ...]

NO_HASH = "decode(repeat('00', 32), 'hex')"


@dataclass
class Rows:
    """Rows to write, column by column as `_PARTS` names them. `k` counts the batch's events from 1."""

    events: list[Row] = field(default_factory=list)
    outbox: list[Row] = field(default_factory=list)
    journals: list[Row] = field(default_factory=list)
    entries: list[Row] = field(default_factory=list)
    pending: list[Row] = field(default_factory=list)
    accounts: list[Row] = field(default_factory=list)
    names: list[Row] = field(default_factory=list)
    opened: list[Row] = field(default_factory=list)
    balances: list[Row] = field(default_factory=list)
    keys: list[Row] = field(default_factory=list)


@dataclass(frozen=True)
class Part:
    """`columns` as (name, array type on the wire); `sql` reads the rows as `r` and the head as `h`."""

    columns: tuple[tuple[str, str], ...]
    sql: str


_FIGURES = (
    ("account_version", "bigint"),
    ("posted", "text"),
    ("pending_in", "text"),
    ("pending_out", "text"),
)
_BALANCE = (
    ("account_id", "uuid"),
    ("posted", "text"),
    ("pending_in", "text"),
    ("pending_out", "text"),
    ("version", "bigint"),
    ("floor", "text"),
    ("freezes", "text"),
    ("closed", "bool"),
    ("stream_version", "int"),
    ("k", "int"),
)
_AT = "h.stamp + (r.k - 1) * interval '1 microsecond'"

_PARTS: dict[str, Part] = {
    "outbox": Part(
        (
            ("k", "int"),
            ("id", "uuid"),
            ("aggregatetype", "text"),
            ("aggregateid", "text"),
            ("type", "text"),
            ("payload", "text"),
            ("correlation_id", "text"),
        ),
        "insert into outbox (id, aggregatetype, aggregateid, type, payload, position, correlation_id) "
        "select r.id, r.aggregatetype, r.aggregateid, r.type, r.payload::jsonb, h.base + r.k, r.correlation_id from {rows} r, head h",
    ),
    "journals": Part(
        (
            ("k", "int"),
            ("id", "uuid"),
            ("reference_id", "text"),
            ("kind", "text"),
            ("phase", "text"),
            ("reference", "text"),
            ("correlation_id", "text"),
            ("event_id", "uuid"),
            ("reverses", "uuid"),
            ("resolves", "uuid"),
            ("linked", "uuid"),
            ("expires_at", "timestamptz"),
        ),
        "insert into journal_entries (id, reference_id, kind, phase, reference, correlation_id, event_id, posted_at, "
        "reverses, resolves, linked, expires_at) "
        "select r.id, r.reference_id, r.kind, r.phase, r.reference, r.correlation_id, r.event_id, " + _AT + ", "
        "r.reverses, r.resolves, r.linked, r.expires_at from {rows} r, head h",
    ),
    "entries": Part(
        (
            ("k", "int"),
            ("journal_id", "uuid"),
            ("account_id", "uuid"),
            ("amount", "text"),
            ("asset", "text"),
            ("direction", "text"),
            *_FIGURES,
        ),
        "insert into entries (journal_id, account_id, amount, asset, direction, posted_at, account_version, "
        "posted_after, pending_in_after, pending_out_after) "
        "select r.journal_id, r.account_id, r.amount::numeric, r.asset, r.direction, " + _AT + ", "
        "r.account_version, r.posted::numeric, r.pending_in::numeric, r.pending_out::numeric from {rows} r, head h",
    ),
    "pending": Part(
        (
            ("k", "int"),
            ("journal_id", "uuid"),
            ("account_id", "uuid"),
            ("amount", "text"),
            ("asset", "text"),
            ("direction", "text"),
            ("effect", "text"),
            *_FIGURES,
        ),
        "insert into pending_entries (journal_id, account_id, amount, asset, direction, effect, posted_at, account_version, "
        "posted_after, pending_in_after, pending_out_after) "
        "select r.journal_id, r.account_id, r.amount::numeric, r.asset, r.direction, r.effect, " + _AT + ", "
        "r.account_version, r.posted::numeric, r.pending_in::numeric, r.pending_out::numeric from {rows} r, head h",
    ),
    "accounts": Part(
        (
            ("id", "uuid"),
            ("code", "text"),
            ("name", "text"),
            ("type", "text"),
            ("asset", "text"),
            ("owner", "uuid"),
            ("may_overdraw", "bool"),
        ),
        "insert into accounts (id, code, name, type, asset, owner, may_overdraw) "
        "select r.id, r.code, r.name, r.type, r.asset, r.owner, r.may_overdraw from {rows} r, head h",
    ),
    "names": Part(
        (("id", "uuid"), ("name", "text")),
        "update accounts a set name = r.name from {rows} r, head h where a.id = r.id",
    ),
    "opened": Part(
        _BALANCE,
        "insert into account_balances (account_id, posted, pending_in, pending_out, version, floor, frozen, freezes, closed, "
        "stream_version, as_of) "
        "select r.account_id, r.posted::numeric, r.pending_in::numeric, r.pending_out::numeric, r.version, r.floor::numeric, "
        "r.freezes <> '{{}}', r.freezes::text[], r.closed, r.stream_version, " + _AT + " from {rows} r, head h",
    ),
    "balances": Part(
        _BALANCE,
        "update account_balances b set posted = r.posted::numeric, pending_in = r.pending_in::numeric, "
        "pending_out = r.pending_out::numeric, version = r.version, floor = r.floor::numeric, frozen = r.freezes <> '{{}}', "
        "freezes = r.freezes::text[], closed = r.closed, stream_version = r.stream_version, "
        "as_of = case when r.k = 0 then b.as_of else " + _AT + " end "
        "from {rows} r, head h where b.account_id = r.account_id",
    ),
    "keys": Part(
        (("k", "int"), ("scope", "bytea"), ("request_hash", "bytea"), ("outcome", "text")),
        "insert into idempotency (scope, request_hash, outcome, position, committed_at) "
        "select r.scope, r.request_hash, r.outcome::jsonb, h.base + r.k, h.stamp from {rows} r, head h",
    ),
}

_EVENTS = Part(
    (
        ("k", "int"),
        ("wave", "int"),
        ("event_id", "uuid"),
        ("aggregate_type", "text"),
        ("aggregate_id", "uuid"),
        ("version", "int"),
        ("type", "text"),
        ("schema_version", "int"),
        ("data", "text"),
        ("metadata", "text"),
    ),
    "",
)
# `log_head` is locked before the clock is read: a reader that holds the row FOR SHARE (balance(asOf: now)) keeps writers waiting, and
# a stamp taken before the wait would lie below an instant that the reader has answered for.
# `wave` counts an aggregate's events within the batch: each takes its predecessor's hash from the wave before it.
_HEAD = f"""
with recursive held as materialized (
    select only_row from log_head for update
), head as (
    update log_head l set position = position + $1, committed_at =
        greatest(coalesce($2, clock_timestamp()), committed_at + interval '1 microsecond') + ($1 - 1) * interval '1 microsecond'
    from held where held.only_row = l.only_row
    returning position - $1 as base, committed_at - ($1 - 1) * interval '1 microsecond' as stamp
), input as materialized (
    select r.wave, h.base + r.k as position, r.event_id, r.aggregate_type, r.aggregate_id, r.version, r.type, r.schema_version,
        r.data::jsonb as data, r.metadata::jsonb as metadata, {_AT} as committed_at
    from {{rows}} r, head h
), chained as (
    select i.*, event_hash(coalesce((select p.hash from event_store p where p.aggregate_id = i.aggregate_id
        and p.version = i.version - 1), {NO_HASH}), i.position, i.event_id, i.aggregate_type, i.aggregate_id, i.version,
        i.type, i.schema_version, i.data, i.metadata, i.committed_at) as hash
    from input i where i.wave = 0
    union all
    select i.*, event_hash(c.hash, i.position, i.event_id, i.aggregate_type, i.aggregate_id, i.version,
        i.type, i.schema_version, i.data, i.metadata, i.committed_at)
    from chained c join input i on i.aggregate_id = c.aggregate_id and i.wave = c.wave + 1
), stored as (
    insert into event_store (position, event_id, aggregate_type, aggregate_id, version, type, schema_version, data, metadata,
        committed_at, hash)
    select position, event_id, aggregate_type, aggregate_id, version, type, schema_version, data, metadata, committed_at, hash
    from chained
)"""
_REFUSALS_ONLY = """
insert into idempotency (scope, request_hash, outcome, position, committed_at)
select r.scope, r.request_hash, r.outcome::jsonb, h.position, h.committed_at from {rows} r, log_head h
returning position"""


async def flush(connection: Connection, rows: Rows, stamp: datetime | None) -> tuple[int, datetime]:
    """Write `rows` and wake the relay. Returns (position before the first event, stamp of the first event)."""
    arguments: list[Any] = [len(rows.events), stamp]
    parts = [_HEAD.format(rows=_unnest(_EVENTS, rows.events, arguments))]
    for name, part in _PARTS.items():
        values: list[Row] = getattr(rows, name)
        if values:
            parts.append(f"w_{name} as ({part.sql.format(rows=_unnest(part, values, arguments))})")
    text = ",\n".join(parts) + "\nselect base, stamp, pg_notify('isthmus_log', (base + $1)::text) from head"
    row = await connection.fetchrow(text, *arguments)
    assert row is not None, "log_head has its one row"
    return row["base"], row["stamp"]


async def flush_refusals(connection: Connection, keys: Sequence[Row]) -> int:
    """Remember refusals where nothing else was decided: no position is drawn. Returns the log's end."""
    arguments: list[Any] = []
    text = _REFUSALS_ONLY.format(rows=_unnest(_PARTS["keys"], keys, arguments))
    position: int = await connection.fetchval(text, *arguments)
    return position


def _unnest(part: Part, rows: Sequence[Row], arguments: list[Any]) -> str:
    """The rows as a set: one array a column, appended to the statement's arguments."""
    first = len(arguments) + 1
    arguments.extend([row[index] for row in rows] for index in range(len(part.columns)))
    arrays = ", ".join(f"${first + index}::{kind}[]" for index, (_, kind) in enumerate(part.columns))
    names = ", ".join(name for name, _ in part.columns)
    return f"(select * from unnest({arrays}) as u ({names}))"
