"""The operations that clients were published with: what production runs (design: an allow-list by SHA-256, kept in the database).

The serving role may only read them; publishing and retiring need the tables' owner, so that no request can ever register one.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import asyncpg
import structlog

from isthmus.ending import end_if_cancelled
from isthmus.outages import DATABASE_AWAY
from isthmus.supervised import Supervised

#: All published texts are held in memory by every `serve`: bounded here, 2 kB each would be 20 MB.
DOCUMENTS_MAX = 10_000
REFRESH_S = 5.0
#: How often an unknown SHA-256 may make us look at once.
_LOOK_AGAIN_S = 0.25

_UNREADABLE: tuple[type[Exception], ...] = (asyncpg.PostgresError, *DATABASE_AWAY)

log = structlog.get_logger(__name__)


class TooManyDocuments(Exception):
    """A sentence for the operator."""


@dataclass(frozen=True)
class Document:
    """`operations`: their names, "" for one that has none."""

    digest: bytes
    text: str
    operations: tuple[str, ...]


@dataclass(frozen=True)
class Published:
    """One client's document, as the table has it."""

    client: str
    digest: bytes
    operations: tuple[str, ...]
    published_at: datetime
    published_by: str
    retired_at: datetime | None
    retired_by: str | None


class PublishedDocuments:
    """What is published and not retired, as new as `REFRESH_S`, and newer for a document that is asked for before it was seen.

    Where the database does not answer, what was known stays known.
    """

    def __init__(self, pool: asyncpg.Pool, refresh_s: float = REFRESH_S) -> None:
        self._pool = pool
        self._refresh_s = refresh_s
        self._texts: dict[bytes, str] = {}
        self._seen = -1
        self._looked_at = 0.0
        self._looking = asyncio.Lock()
        self.part = Supervised("trusted documents", self._keep_looking)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self._look()
        self._task = self.part.start()

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def __len__(self) -> int:
        return len(self._texts)

    def knows(self, digest: bytes) -> bool:
        return digest in self._texts

    async def find(self, digest: bytes) -> str | None:
        text = self._texts.get(digest)
        if text is None and time.monotonic() - self._looked_at > _LOOK_AGAIN_S:
            await self._try_to_look()
            text = self._texts.get(digest)
        return text

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(self._refresh_s)
            await self._try_to_look()

    async def _try_to_look(self) -> None:
        try:
            await self._look()
        except _UNREADABLE as error:
            end_if_cancelled()
            log.warning("published operations cannot be read; the known ones go on", error=type(error).__name__)

    async def _look(self) -> None:
        asked_at = time.monotonic()
        async with self._looking:
            if self._looked_at > asked_at:
                return  # someone else looked while we waited
            self._looked_at = time.monotonic()
            async with self._pool.acquire(timeout=2) as connection, connection.transaction(readonly=True):
                changed = await connection.fetchval("select coalesce(max(number), 0) from trusted_document_changes")
                if changed == self._seen:
                    return
                rows = await connection.fetch("select digest, text from trusted_documents where retired_at is null")
            self._texts = {bytes(row["digest"]): row["text"] for row in rows}
            self._seen = changed


async def publish(connection: asyncpg.Connection, client: str, documents: Sequence[Document], by: str) -> list[bytes]:
    """All or none; safe to repeat. `connection` is the owner's. Returns the digests of those that were new, or had been retired.

    Raises TooManyDocuments.
    """
    async with connection.transaction():
        # One at a time, so that the numbers of changes rise in the order of commits, which is what readers go by.
        await connection.execute("lock table trusted_documents in share row exclusive mode")
        new = [
            bytes(digest)
            for (digest,) in await connection.fetch(
                "with given as (select * from unnest($1::bytea[], $2::text[], $3::jsonb[]) as g (digest, text, operations)), "
                "written as ("
                " insert into trusted_documents as d (client, digest, text, operations, published_by) "
                " select $4, digest, text, array(select jsonb_array_elements_text(operations)), $5 from given "
                " on conflict (client, digest) do update set retired_at = null, retired_by = null, "
                "  published_at = now(), published_by = excluded.published_by where d.retired_at is not null "
                " returning client, digest) "
                "insert into trusted_document_changes (action, actor, client, digest) "
                "select 'published', $5, client, digest from written returning digest",
                [document.digest for document in documents],
                [document.text for document in documents],
                [json.dumps(document.operations) for document in documents],
                client,
                by,
            )
        ]
        if await connection.fetchval("select count(*) from trusted_documents where retired_at is null") > DOCUMENTS_MAX:
            raise TooManyDocuments(f"more than {DOCUMENTS_MAX} documents would be published: retire old ones first")
    return new


async def retire(connection: asyncpg.Connection, digests: Sequence[bytes], client: str | None, by: str) -> int:
    """Of one client, or of all. Safe to repeat. Returns how many entries are retired now that were not."""
    async with connection.transaction():
        await connection.execute("lock table trusted_documents in share row exclusive mode")
        rows = await connection.fetch(
            "with changed as (update trusted_documents set retired_at = now(), retired_by = $3 "
            " where digest = any($1::bytea[]) and ($2::text is null or client = $2) and retired_at is null "
            " returning client, digest) "
            "insert into trusted_document_changes (action, actor, client, digest) "
            "select 'retired', $3, client, digest from changed returning digest",
            list(digests),
            client,
            by,
        )
    return len(rows)


async def published(connection: asyncpg.Connection, client: str | None, *, retired: bool) -> list[Published]:
    """By client and time; with `retired`, those too."""
    rows = await connection.fetch(
        "select client, digest, operations, published_at, published_by, retired_at, retired_by from trusted_documents "
        "where ($1::text is null or client = $1) and ($2 or retired_at is null) order by client, published_at, operations, digest",
        client,
        retired,
    )
    return [
        Published(
            row["client"],
            bytes(row["digest"]),
            tuple(row["operations"]),
            row["published_at"],
            row["published_by"],
            row["retired_at"],
            row["retired_by"],
        )
        for row in rows
    ]
