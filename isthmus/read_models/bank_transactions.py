"""Transactions of accounts at banks, newest first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from isthmus.domain.bank_texts import TRANSACTION_CONTEXT, TransactionText
from isthmus.domain.secrets import LinkSecrets
from isthmus.read_models.database import ACQUIRE_TIMEOUT_S, Sight

_COLUMNS = (
    "t.id as transaction_id, t.account_id, t.link_id, t.provider, t.reference, t.amount, t.asset, t.status, t.booked_at, t.value_on, "
    "t.category, t.sealed, g.sealed as tags"
)
_PAGE = f"""
select {_COLUMNS} from unnest($1::uuid[]) with ordinality as k (account_id, n)
join bank_accounts a on a.id = k.account_id and a.owner = $2 and a.linked
cross join lateral (
    select * from bank_transactions t where t.account_id = k.account_id and ($5::text is null or t.status = $5)
        and ($3::timestamptz is null or (t.booked_at, t.id) < ($3, $4::uuid))
    order by t.booked_at desc, t.id desc limit $6
) t left join bank_transaction_tags g on g.transaction_id = t.id
order by k.n, t.booked_at desc, t.id desc"""


@dataclass(frozen=True)
class BankTransactionRow:
    """`amount` is signed: negative is money out. `text` is None once the link's key is gone. `tags` is ciphertext, a word a line."""

    transaction_id: UUID
    account_id: UUID
    provider: str
    reference: str | None
    amount: Decimal
    asset: str
    status: str
    booked_at: datetime
    value_on: date | None
    category: str | None
    text: TransactionText | None
    tags: str | None = None


@dataclass(frozen=True)
class BankPageOf:
    """One page of one account, behind (`booked_at`, `transaction_id`)."""

    account_id: UUID
    first: int
    before: tuple[datetime, UUID] | None
    status: str | None


BankPage = tuple[list[BankTransactionRow], bool]


class BankTransactionReader:
    def __init__(self, pool: asyncpg.Pool, secrets: LinkSecrets) -> None:
        self._pool = pool
        self._secrets = secrets

    async def pages(self, sight: Sight, keys: Sequence[BankPageOf]) -> list[BankPage]:
        """Per key the rows and whether there are more; pages that differ in nothing but the account are read together."""
        alike: dict[Any, list[UUID]] = defaultdict(list)
        for key in keys:
            alike[key.first, key.before, key.status].append(key.account_id)
        found: dict[BankPageOf, list[BankTransactionRow]] = defaultdict(list)
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            for (first, before, status), accounts in alike.items():
                at, last = before or (None, None)
                rows = await connection.fetch(_PAGE, accounts, sight.person, at, last, status, first + 1)
                for row in await self._opened(connection, rows):
                    found[BankPageOf(row.account_id, first, before, status)].append(row)
        return [(found[key][: key.first], len(found[key]) > key.first) for key in keys]

    async def load_many(self, sight: Sight, keys: Sequence[UUID]) -> list[BankTransactionRow | None]:
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            rows = await connection.fetch(
                f"select {_COLUMNS} from bank_transactions t join bank_accounts a on a.id = t.account_id and a.owner = $2 and a.linked "
                "left join bank_transaction_tags g on g.transaction_id = t.id where t.id = any($1::uuid[])",
                list(keys),
                sight.person,
            )
            found = {row.transaction_id: row for row in await self._opened(connection, rows)}
        return [found.get(key) for key in keys]

    async def counts(self, sight: Sight, keys: Sequence[tuple[UUID, str]]) -> list[int]:
        """How many of one status; all of an account is the kept counter in its row."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            rows = await connection.fetch(
                "select k.n, (select count(*) from bank_transactions t "
                "where t.account_id = k.account_id and t.status = k.status) as counted "
                "from unnest($1::uuid[], $2::text[]) with ordinality as k (account_id, status, n) "
                "join bank_accounts a on a.id = k.account_id and a.owner = $3 and a.linked",
                [key[0] for key in keys],
                [key[1] for key in keys],
                sight.person,
            )
        found = {row["n"]: row["counted"] for row in rows}
        return [found.get(n, 0) for n in range(1, len(keys) + 1)]

    async def _opened(self, connection: Any, rows: Sequence[asyncpg.Record]) -> list[BankTransactionRow]:
        texts = await self._secrets.open_across(
            connection, [(row["link_id"], row["sealed"]) for row in rows], TRANSACTION_CONTEXT
        )
        return [
            BankTransactionRow(
                **{name: value for name, value in row.items() if name not in ("link_id", "sealed")},
                text=None if text is None else msgspec.json.decode(text, type=TransactionText),
            )
            for row, text in zip(rows, texts, strict=True)
        ]
