"""Baseline (a): the usual command handler, one transaction a command and a round trip a statement.

Thirteen round trips on prepared statements, over a pool of 32 connections however many clients there are: begin, look up the key, lock
each of the two balances in id order, insert the journal, update each balance, insert both entries in one INSERT, the event, the outbox
row, the key, update `log_head`, commit. Same tables, triggers, decision and row contents as the product's. What a usual handler does
not have is left out in its favour: text is sealed beforehand, and positions come from a sequence (so they are not in commit order, and
the check `one_order` cannot hold).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import asyncpg

from isthmus.domain.accounts import Account, AccountType
from isthmus.domain.event_codec import dump, fields_of
from isthmus.domain.identifiers import uuid7_source
from isthmus.domain.internal_transfers import TransferInternally, transfer
from isthmus.domain.ledger import AccountState, JournalPosted
from isthmus.domain.personal import PersonalText, Sealed
from isthmus.write_models.connection import Connection, Pool
from isthmus.write_models.envelope import Envelope
from isthmus.write_models.idempotency import accepted, reference_id_of, request_hash_of, scope_of
from isthmus.write_models.outbox import integration_event

CONNECTIONS = 32
SEQUENCE = "naive_positions"
#: Checks of `verify` that say how the product orders its log.
NOT_KEPT = ("one_order",)

_KEY = "select request_hash, outcome::text, position from idempotency where scope = $1"
_LOCK = """
select b.posted, b.pending_in, b.pending_out, b.version, b.floor, a.code, a.type, a.asset, a.owner, a.may_overdraw
from account_balances b join accounts a on a.id = b.account_id where b.account_id = $1 for update of b"""
_JOURNAL = """
insert into journal_entries (id, reference_id, kind, phase, reference, correlation_id, event_id, posted_at)
values ($1, $2, $3, 'POSTED', $4, $5, $6, $7)"""
_BALANCE = "update account_balances set posted = $2, version = $3, as_of = $4 where account_id = $1"
_ENTRIES = """
insert into entries (journal_id, account_id, amount, asset, direction, posted_at, account_version, posted_after,
    pending_in_after, pending_out_after)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10), ($1, $11, $3, $4, $12, $6, $13, $14, $15, $16)"""
_EVENT = f"""
insert into event_store (position, event_id, aggregate_type, aggregate_id, version, type, schema_version, data, metadata,
    committed_at, hash)
select p.position, $1, 'journal', $2, 1, 'JournalPosted', 1, $3::text::jsonb, $4::text::jsonb, $5,
    event_hash(decode(repeat('00', 32), 'hex'), p.position, $1, 'journal', $2, 1, 'JournalPosted', 1, $3::text::jsonb,
        $4::text::jsonb, $5)
from (select nextval('{SEQUENCE}') as position) p
returning position"""
_OUTBOX = """
insert into outbox (id, aggregatetype, aggregateid, type, payload, position, correlation_id)
values ($1, $2, $3, $4, $5::text::jsonb, $6, $7)"""
_INSERT_KEY = """
insert into idempotency (scope, request_hash, outcome, position, committed_at) values ($1, $2, $3::text::jsonb, $4, $5)"""
_HEAD = "update log_head set position = greatest(position, $1), committed_at = greatest(committed_at, $2)"


class NaiveHandler:
    """`texts`: a sealed reference for each payer."""

    def __init__(self, pool: Pool, texts: Mapping[UUID, Sealed], idempotency_key: bytes) -> None:
        self._pool = pool
        self._texts = texts
        self._secret = idempotency_key
        self._ids = uuid7_source(lambda: datetime.now(UTC))

    async def run(self, command: TransferInternally, envelope: Envelope) -> int:
        """Returns the position. Raises RuntimeError where the transfer was refused or its key was there before."""
        scope, request_hash = scope_of(envelope), request_hash_of(envelope, self._secret)
        command = replace(command, reference=PersonalText("", self._texts[command.payer]))
        async with self._pool.acquire() as connection:
            await connection.execute("begin")
            try:
                if await connection.fetchrow(_KEY, scope) is not None:
                    raise RuntimeError("a key was there before")
                book = {
                    account_id: _state(account_id, await connection.fetchrow(_LOCK, account_id))
                    for account_id in sorted((command.from_account_id, command.to_account_id))
                }
                match transfer(book, command):
                    case [JournalPosted() as event]:
                        return await self._write(connection, event, envelope, scope, request_hash)
                    case refused:
                        raise RuntimeError(f"a transfer was refused: {refused}")
            except BaseException:
                await connection.execute("rollback")
                raise

    async def _write(
        self, connection: Connection, event: JournalPosted, envelope: Envelope, scope: bytes, request_hash: bytes
    ) -> int:
        now, event_id, correlation_id = datetime.now(UTC), self._ids(), envelope.correlation_id
        metadata = {
            "occurred_at": now.isoformat(),
            "actor": envelope.actor,
            "correlation_id": correlation_id,
            "causation_id": envelope.causation_id,
        }
        about = {"event_id": event_id, "occurred_at": metadata["occurred_at"], "correlation_id": correlation_id}
        fields = fields_of(event)
        public = integration_event("JournalPosted", fields, about)
        await connection.execute(
            _JOURNAL, event.journal_id, reference_id_of(envelope, 0), event.kind, event.reference, correlation_id, event_id, now
        )  # fmt: skip
        after = {figures.account_id: figures for figures in event.figures}
        for figures in event.figures:
            await connection.execute(_BALANCE, figures.account_id, figures.posted, figures.version, now)
        debit, credit = event.legs
        one, two = after[debit.account_id], after[credit.account_id]
        await connection.execute(
            _ENTRIES,
            event.journal_id, one.account_id, debit.amount, debit.asset, debit.direction, now,
            one.version, one.posted, one.pending_in, one.pending_out,
            two.account_id, credit.direction, two.version, two.posted, two.pending_in, two.pending_out,
        )  # fmt: skip
        position: int = await connection.fetchval(
            _EVENT, event_id, event.journal_id, dump(fields).decode(), dump(metadata).decode(), now
        )
        await connection.execute(
            _OUTBOX, event_id, "journal", str(event.journal_id), public.topic, dump(public.payload).decode(), position, correlation_id
        )  # fmt: skip
        await connection.execute(_INSERT_KEY, scope, request_hash, dump(accepted(1)).decode(), position, now)
        await connection.execute(_HEAD, position, now)
        await connection.execute("commit")
        return position


@asynccontextmanager
async def naive_pool(url: str) -> AsyncIterator[Pool]:
    """Plans by index from the first execution on: on tables that began empty, prepared statements would else keep scanning them."""
    async with asyncpg.create_pool(
        url,
        min_size=CONNECTIONS,
        max_size=CONNECTIONS,
        reset=_keep,
        server_settings={"enable_seqscan": "off", "plan_cache_mode": "force_generic_plan"},
    ) as pool:
        yield pool


async def prepare(admin_url: str) -> None:
    """The baseline's own sequence, in a database of its own."""
    connection = await asyncpg.connect(admin_url)
    try:
        position = await connection.fetchval("select position from log_head")
        await connection.execute(f"create sequence {SEQUENCE} start {position + 1}")
        await connection.execute(f"grant usage on sequence {SEQUENCE} to isthmus_app")
    finally:
        await connection.close()


async def _keep(connection: Connection) -> None:
    """No round trip to reset a connection that was left as it was found."""


def _state(account_id: UUID, row: asyncpg.Record | None) -> AccountState:
    assert row is not None, "the bench made the account"
    account = Account(
        account_id, row["code"], AccountType(row["type"]), row["asset"], row["owner"], row["may_overdraw"]
    )
    return AccountState(account, row["posted"], row["pending_in"], row["pending_out"], row["version"], row["floor"])
