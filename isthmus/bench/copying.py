"""Baseline (b), the database's own limit: the rows that the product wrote, once more, by binary COPY.

Read from the product's database as ready bytes, commit by commit in the product's order, and copied into the same tables with the same
triggers in a fresh one. Balances, which COPY cannot update, are brought up to date afterwards, outside the measured time: all in
favour of COPY.
"""

from __future__ import annotations

import io
import time
from dataclasses import dataclass

import asyncpg

from isthmus.write_models.connection import Connection

#: table -> (columns, the rows between two positions). In the order of the triggers' needs: entries after their journal.
_TABLES = {
    "event_store": (
        "position, event_id, aggregate_type, aggregate_id, version, type, schema_version, data, metadata, committed_at, hash",
        "event_store where position > {low} and position <= {high}",
    ),
    "outbox": (
        "id, aggregatetype, aggregateid, type, payload, position, correlation_id",
        "outbox where position > {low} and position <= {high}",
    ),
    "journal_entries": (
        "id, reference_id, kind, phase, reference, correlation_id, event_id, posted_at, reverses, resolves, linked, expires_at",
        "journal_entries where posted_at > '{after}' and posted_at <= '{until}'",
    ),
    "entries": (
        "journal_id, account_id, amount, asset, direction, posted_at, account_version, posted_after, pending_in_after, pending_out_after",
        "entries where posted_at > '{after}' and posted_at <= '{until}'",
    ),
    "idempotency": (
        "scope, request_hash, outcome, position, committed_at",
        "idempotency where position > {low} and position <= {high}",
    ),
}
_HEAD = "update log_head set position = $1, committed_at = $2"
_BALANCES = """
update account_balances b set posted = e.posted_after, version = e.account_version, as_of = e.posted_at
from (select distinct on (account_id) * from entries order by account_id, account_version desc) e
where e.account_id = b.account_id and e.account_version > b.version"""


@dataclass(frozen=True)
class Batch:
    """One commit: how many commands, the log's end after it, and each table's rows as a binary COPY."""

    commands: int
    head: asyncpg.Record
    tables: dict[str, bytes]


async def read_batches(url: str, after: int, size: int, batches_max: int) -> list[Batch]:
    """What the product wrote beyond position `after`, one event a command, cut into commits of `size`."""
    connection = await asyncpg.connect(url)
    try:
        # For the stretches below, which the product itself never asks for.
        await connection.execute("set enable_seqscan = off")
        end = await connection.fetchval("select position from log_head")
        lows = range(after, min(end, after + size * batches_max) - size + 1, size)
        return [await _read(connection, low, low + size) for low in lows]
    finally:
        await connection.close()


async def _read(connection: Connection, low: int, high: int) -> Batch:
    stamp = "select position, committed_at from event_store where position = $1"
    before, head = await connection.fetchrow(stamp, low), await connection.fetchrow(stamp, high)
    assert before is not None, "positions have no gap"
    assert head is not None, "positions have no gap"
    tables = {}
    for table, (columns, rows) in _TABLES.items():
        place = rows.format(low=low, high=high, after=before["committed_at"], until=head["committed_at"])
        into = io.BytesIO()
        await connection.copy_from_query(f"select {columns} from {place}", output=into, format="binary")
        tables[table] = into.getvalue()
    return Batch(high - low, head, tables)


async def copy_batches(admin_url: str, batches: list[Batch], seconds: float) -> tuple[int, float]:
    """Returns (commands copied, seconds it took): a commit a batch, until the time is over or all are copied."""
    connection = await asyncpg.connect(admin_url)
    try:
        copied, began = 0, time.perf_counter()
        taken = 0.0
        for batch in batches:
            async with connection.transaction():
                for table, (columns, _) in _TABLES.items():
                    await connection.copy_to_table(
                        table, source=io.BytesIO(batch.tables[table]), columns=columns.split(", "), format="binary"
                    )
                await connection.execute(_HEAD, *batch.head)
            copied += batch.commands
            taken = time.perf_counter() - began
            if taken > seconds:
                break
        await connection.execute(_BALANCES)
        return copied, taken
    finally:
        await connection.close()
