"""The master key is rotated and retired while links are read and written: no token is missed, by any process, at any moment."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import asyncpg

from isthmus.domain.secrets import ProviderTokens
from isthmus.integrations.secrets import rotation
from isthmus.integrations.secrets.file_master_key import FileMasterKey
from isthmus.integrations.secrets.link_keys import LinkKeys
from isthmus.integrations.secrets.person_keys import PersonKeys
from isthmus.integrations.secrets.token_vault import SealedTokens
from isthmus.runtime.wiring import WriteSide
from isthmus.settings import Settings
from tests.integrations.secrets.test_rotation import PLACES, unseen

THINGS = b"things"


async def test_links_are_read_on_while_every_key_is_wrapped_anew(
    side: WriteSide, admin: asyncpg.Connection, settings: Settings
) -> None:
    master = FileMasterKey(settings.master_key_file)
    kept: dict[UUID, tuple[UUID, ProviderTokens, bytes]] = {}
    read, reached, ended = 0, asyncio.Event(), asyncio.Event()

    async def added() -> None:
        link, person = uuid4(), uuid4()
        tokens = ProviderTokens(f"access {link}", f"refresh {link}", reference=str(link))
        async with side.pool.acquire() as connection, connection.transaction():
            await side.tokens.put(connection, link, person, tokens)
            (sealed,) = await side.links.seal_many(connection, link, person, [link.bytes], THINGS)
        kept[link] = (person, tokens, sealed)

    async def reading() -> None:
        """A process that has unwrapped nothing yet, again and again."""
        nonlocal read
        while not ended.is_set():
            links = LinkKeys(PersonKeys(FileMasterKey(settings.master_key_file)))
            for link, (_, tokens, sealed) in list(kept.items()):
                async with side.pool.acquire() as connection:
                    assert await SealedTokens(links).get(connection, link) == tokens
                    assert await links.open_many(connection, link, [sealed], THINGS) == [link.bytes]
                read += 1
            await added()
            reached.set()

    for _ in range(5):
        await added()
    async with asyncio.TaskGroup() as readers:  # one that fails ends the test
        for _ in range(2):
            readers.create_task(reading())
        for version in (2, 3):
            reached.clear()
            await reached.wait()
            assert (await rotation.rotate(admin, master, PLACES, unseen)).version == version
        ended.set()
    await rotation.rotate(admin, master, PLACES, unseen)
    for version in (1, 2):
        await rotation.retire(admin, master, PLACES, version)

    assert read >= 10
    cold = LinkKeys(PersonKeys(FileMasterKey(settings.master_key_file)))
    for link, (_, tokens, sealed) in kept.items():
        assert await SealedTokens(cold).get(admin, link) == tokens
        assert await cold.open_many(admin, link, [sealed], THINGS) == [link.bytes]
