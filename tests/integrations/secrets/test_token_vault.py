"""Providers' tokens: kept as ciphertext only, the newest only, and gone with the link or the person."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import asyncpg
import pytest

from isthmus.domain.secrets import ProviderTokens
from isthmus.integrations.secrets.link_keys import LinkKeys
from isthmus.integrations.secrets.token_vault import SealedTokens
from isthmus.runtime.wiring import WriteSide

ADA = uuid4()
TOKENS = ProviderTokens("access-1", "refresh-1", datetime(2026, 11, 23, 12, tzinfo=UTC), "item-1")


async def test_what_is_put_comes_back_and_what_replaces_it(tokens: SealedTokens, admin: asyncpg.Connection) -> None:
    link = uuid4()
    assert await tokens.get(admin, link) is None

    assert await tokens.put(admin, link, ADA, TOKENS) == 1
    assert await tokens.get(admin, link) == TOKENS

    bare = ProviderTokens("access-2")
    assert await tokens.put(admin, link, ADA, bare) == 2
    assert await tokens.get(admin, link) == bare


async def test_no_token_is_in_the_table_or_in_a_repr(tokens: SealedTokens, admin: asyncpg.Connection) -> None:
    link = uuid4()
    await tokens.put(admin, link, ADA, TOKENS)

    kept = await admin.fetchval("select t::text from provider_tokens t where link_id = $1", link)
    for secret in ("access-1", "refresh-1", "item-1"):
        assert secret.encode().hex() not in kept
        assert secret not in f"{TOKENS!r} {TOKENS} {[TOKENS]}"
    assert repr(TOKENS) == "ProviderTokens()"


async def test_older_tokens_put_back_in_place_of_newer_ones_do_not_open(
    tokens: SealedTokens, admin: asyncpg.Connection
) -> None:
    link = uuid4()
    await tokens.put(admin, link, ADA, TOKENS)
    older = await admin.fetchval("select sealed from provider_tokens where link_id = $1", link)
    await tokens.put(admin, link, ADA, replace(TOKENS, access="access-2"))

    await admin.execute("update provider_tokens set sealed = $2 where link_id = $1", link, older)

    assert await tokens.get(admin, link) is None


async def test_forgotten_tokens_leave_what_the_link_brought(
    tokens: SealedTokens, links: LinkKeys, admin: asyncpg.Connection
) -> None:
    link = uuid4()
    await tokens.put(admin, link, ADA, TOKENS)
    sealed = await links.seal_many(admin, link, ADA, [b"a transaction"], b"things")

    assert await tokens.forget(admin, link)
    assert not await tokens.forget(admin, link)
    assert await tokens.get(admin, link) is None
    assert await links.open_many(admin, link, sealed, b"things") == [b"a transaction"]


@pytest.mark.parametrize("whose", ["link", "person"])
async def test_a_destroyed_key_takes_the_row_along(
    side: WriteSide, tokens: SealedTokens, links: LinkKeys, admin: asyncpg.Connection, whose: str
) -> None:
    link = uuid4()
    await tokens.put(admin, link, ADA, TOKENS)

    assert await (links.destroy(admin, link) if whose == "link" else side.texts.destroy(admin, ADA))

    assert await tokens.get(admin, link) is None
    assert await admin.fetchval("select count(*) from provider_tokens") == 0


async def test_of_many_at_once_the_last_stays_whole(side: WriteSide, tokens: SealedTokens) -> None:
    """As the product's own role, each in a transaction of its own."""
    link = uuid4()

    async def put(n: int) -> tuple[int, str]:
        access = f"access-{n}"
        async with side.pool.acquire() as connection:
            return await tokens.put(connection, link, ADA, ProviderTokens(access)), access

    put_as = dict(await asyncio.gather(*(put(n) for n in range(10))))

    assert sorted(put_as) == list(range(1, 11))
    async with side.pool.acquire() as connection:
        assert await tokens.get(connection, link) == ProviderTokens(put_as[10])
