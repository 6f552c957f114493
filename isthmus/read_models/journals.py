"""Journals with their lines, for whoever owns an account in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg

from isthmus.read_models.database import ACQUIRE_TIMEOUT_S, Sight


@dataclass(frozen=True)
class LineRow:
    account_id: UUID
    direction: str
    amount: Decimal
    asset: str


@dataclass(frozen=True)
class JournalRow:
    """`reference` is ciphertext."""

    journal_id: UUID
    kind: str
    status: str
    reference: str | None
    posted_at: datetime
    correlation_id: str
    lines: tuple[LineRow, ...]


class JournalReader:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def load_many(self, sight: Sight, keys: Sequence[UUID]) -> list[JournalRow | None]:
        """In the order of the keys; None where there is none, or none that touches an account that may be seen."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            rows = await connection.fetch(
                "select journal_id, kind, status, reference, posted_at, correlation_id, lines from read_models.journals "
                "where journal_id = any($1::uuid[]) and ($3 or lines @> jsonb_build_array(jsonb_build_object('owner', $2::text)))",
                list(keys),
                str(sight.person),
                sight.all_accounts,
            )
        found = {row["journal_id"]: _journal(row) for row in rows}
        return [found.get(key) for key in keys]


def _journal(row: asyncpg.Record) -> JournalRow:
    lines = tuple(_line(line) for line in row["lines"])
    return JournalRow(**{**row, "lines": lines})


def _line(line: Mapping[str, Any]) -> LineRow:
    return LineRow(UUID(line["account_id"]), line["direction"], Decimal(line["amount"]), line["asset"])
