"""What `bench sync` is compared with: a provider's pages fetched and thrown away, and a reader that writes row by row.

The naive reader asks for the same pages, and for each transaction begins, looks for the row, writes it and commits, on a table with the
same columns and indexes. Nothing is sealed, matched or shown meanwhile: that is in its favour.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from datetime import time as time_of_day
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import msgspec

_CREDENTIALS = {"client_id": "sandbox-client", "secret": "sandbox-secret"}
_PAGE = 500
_LOOK = "select id from naive_transactions where account_id = $1 and provider = 'plaid' and reference = $2"
_WRITE = """
insert into naive_transactions (id, account_id, link_id, provider, reference, amount, asset, status, booked_at, booked_on, sealed, raw)
values ($1, $2, $2, 'plaid', $3, $4, $5, $6, $7, $8, $9, $10)"""


class _Told(msgspec.Struct):
    transaction_id: str
    amount: Decimal
    iso_currency_code: str
    date: date
    pending: bool
    name: str


class _Page(msgspec.Struct):
    added: list[msgspec.Raw]
    next_cursor: str
    has_more: bool


async def access_token(http: httpx.AsyncClient, sandbox: str, username: str) -> str:
    """A link of its own to the same accounts."""
    options = {"override_username": username}
    made = await _post(
        http,
        f"{sandbox}/plaid/sandbox/public_token/create",
        institution_id="ins_harbour",
        initial_products=["transactions"],
        options=options,
    )
    public = msgspec.json.decode(made)["public_token"]
    got = await _post(http, f"{sandbox}/plaid/item/public_token/exchange", public_token=public)
    token: str = msgspec.json.decode(got)["access_token"]
    return token


async def serving_s(http: httpx.AsyncClient, sandbox: str, access: str) -> float:
    begun = time.perf_counter()
    async for _ in _pages(http, sandbox, access):
        pass
    return time.perf_counter() - begun


async def naive_rate(
    http: httpx.AsyncClient, sandbox: str, access: str, pool: asyncpg.Pool[asyncpg.Record], seconds: float
) -> float:
    """Transactions a second, for so long at most."""
    written, account = 0, uuid4()
    async with pool.acquire() as connection:
        await connection.execute("create table naive_transactions (like bank_transactions including all)")
        begun = time.perf_counter()
        async for page in _pages(http, sandbox, access):
            for raw in page.added:
                await _write(connection, account, raw)
                written += 1
            if time.perf_counter() - begun > seconds:
                break
        rate = written / (time.perf_counter() - begun)
        await connection.execute("drop table naive_transactions")
    return rate


async def _write(connection: Any, account: UUID, raw: msgspec.Raw) -> None:
    told = msgspec.json.decode(raw, type=_Told)
    async with connection.transaction():
        if await connection.fetchval(_LOOK, account, told.transaction_id) is not None:
            return
        at = datetime.combine(told.date, time_of_day(), UTC)
        status = "PENDING" if told.pending else "POSTED"
        await connection.execute(
            _WRITE, uuid4(), account, told.transaction_id, -told.amount, told.iso_currency_code, status, at, told.date,
            told.name.encode(), bytes(raw),
        )  # fmt: skip


async def _pages(http: httpx.AsyncClient, sandbox: str, access: str) -> AsyncIterator[_Page]:
    cursor: dict[str, str] = {}
    while True:
        body = await _post(http, f"{sandbox}/plaid/transactions/sync", access_token=access, count=_PAGE, **cursor)
        page = msgspec.json.decode(body, type=_Page)
        yield page
        if not page.has_more:
            return
        cursor = {"cursor": page.next_cursor}


async def _post(http: httpx.AsyncClient, url: str, **body: Any) -> bytes:
    return (await http.post(url, json=_CREDENTIALS | body)).raise_for_status().content
