"""A key per bank link: what it opens, what opens it, and what is gone with it."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import asyncpg
import pytest

from isthmus.domain.secrets import KeyDestroyed, LinkKeyInUse
from isthmus.integrations.secrets.link_keys import LinkKeys
from isthmus.integrations.secrets.person_keys import PersonKeys
from isthmus.runtime.wiring import WriteSide

ADA, GRACE = uuid4(), uuid4()
THINGS = b"things"


async def another_process(side: WriteSide) -> LinkKeys:
    """The same keys, with nothing remembered."""
    return LinkKeys(PersonKeys(side.master_key))


async def test_what_a_link_brought_opens_in_every_process_in_its_order(
    side: WriteSide, links: LinkKeys, admin: asyncpg.Connection
) -> None:
    link, plains = uuid4(), [f"field {n}".encode() for n in range(5_000)]

    sealed = await links.seal_many(admin, link, ADA, plains, THINGS)

    assert len(set(sealed)) == len(plains)
    assert not any(b"field" in one for one in sealed)
    other = await another_process(side)
    assert await links.open_many(admin, link, sealed, THINGS) == plains
    assert await other.open_many(admin, link, sealed, THINGS) == plains
    assert await links.open_many(admin, link, [], THINGS) == []


async def test_a_ciphertext_opens_for_its_link_and_as_what_it_is_only(
    links: LinkKeys, admin: asyncpg.Connection
) -> None:
    one, two = uuid4(), uuid4()
    (mine,) = await links.seal_many(admin, one, ADA, [b"mine"], THINGS)
    (other,) = await links.seal_many(admin, two, ADA, [b"other"], THINGS)

    mixed = [(one, mine), (two, mine), (two, other), (uuid4(), other), (one, mine[:-1]), (one, mine[:5]), (one, b"")]

    assert await links.open_across(admin, mixed, THINGS) == [b"mine", None, b"other", None, None, None, None]
    assert await links.open_many(admin, one, [mine], b"other things") == [None]


async def test_a_key_that_is_put_in_another_links_place_opens_nothing(
    side: WriteSide, links: LinkKeys, admin: asyncpg.Connection
) -> None:
    one, two = uuid4(), uuid4()
    (mine,) = await links.seal_many(admin, one, ADA, [b"mine"], THINGS)
    await links.seal_many(admin, two, ADA, [b"other"], THINGS)
    await admin.execute(
        "update link_keys set wrapped_key = (select wrapped_key from link_keys where link_id = $1) where link_id = $2",
        one,
        two,
    )

    assert await (await another_process(side)).open_many(admin, two, [mine], THINGS) == [None]


async def test_a_destroyed_link_takes_its_own_data_only(links: LinkKeys, admin: asyncpg.Connection) -> None:
    one, two = uuid4(), uuid4()
    (gone,) = await links.seal_many(admin, one, ADA, [b"gone"], THINGS)
    (stays,) = await links.seal_many(admin, two, ADA, [b"stays"], THINGS)

    assert await links.destroy(admin, one)
    assert not await links.destroy(admin, one)
    assert await links.open_across(admin, [(one, gone), (two, stays)], THINGS) == [None, b"stays"]

    (after,) = await links.seal_many(admin, one, ADA, [b"after"], THINGS)
    assert await links.open_many(admin, one, [gone, after], THINGS) == [None, b"after"]


async def test_a_destroyed_person_takes_every_link_and_nobody_elses(
    side: WriteSide, links: LinkKeys, admin: asyncpg.Connection
) -> None:
    mine, hers = [uuid4(), uuid4()], uuid4()
    sealed = [(link, (await links.seal_many(admin, link, ADA, [b"mine"], THINGS))[0]) for link in mine]
    sealed += [(hers, (await links.seal_many(admin, hers, GRACE, [b"hers"], THINGS))[0])]

    assert await side.texts.destroy(admin, ADA)

    for keys in (links, await another_process(side)):
        assert await keys.open_across(admin, sealed, THINGS) == [None, None, b"hers"]
    assert await admin.fetchval("select count(*) from link_keys where person_id = $1", ADA) == 0


async def test_many_that_write_first_use_one_key(side: WriteSide, links: LinkKeys) -> None:
    """Each in a transaction of its own, in processes of their own, as far as memory goes."""
    link = uuid4()

    async def write(n: int) -> bytes:
        keys = await another_process(side)
        async with side.pool.acquire() as connection, connection.transaction():
            return (await keys.seal_many(connection, link, ADA, [str(n).encode()], THINGS))[0]

    sealed = await asyncio.gather(*(write(n) for n in range(12)))

    async with side.pool.acquire() as connection:
        assert await links.open_many(connection, link, sealed, THINGS) == [str(n).encode() for n in range(12)]


async def test_a_link_never_changes_hands(links: LinkKeys, admin: asyncpg.Connection) -> None:
    link = uuid4()
    await links.seal_many(admin, link, ADA, [b"mine"], THINGS)

    with pytest.raises(LinkKeyInUse):
        await links.seal_many(admin, link, GRACE, [b"hers"], THINGS)


async def test_the_key_is_read_anew_each_time_and_unwrapped_once(
    side: WriteSide, admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty thousand fields ask the table a few times and the master key once."""
    link, unwrapped = uuid4(), list[UUID]()
    keys = await another_process(side)
    known = PersonKeys.known

    async def counted(self: PersonKeys, connection: object, persons: set[UUID]) -> object:
        unwrapped.extend(persons)
        return await known(self, connection, persons)

    await keys.seal_many(admin, link, ADA, [b"first"], THINGS)
    monkeypatch.setattr(PersonKeys, "known", counted)
    sealed = await keys.seal_many(admin, link, ADA, [b"x" * 64] * 20_000, THINGS)
    assert await keys.open_many(admin, link, sealed, THINGS) == [b"x" * 64] * 20_000
    assert unwrapped == []

    assert (await (await another_process(side)).open_many(admin, link, sealed, THINGS))[-1] == b"x" * 64
    assert unwrapped == [ADA]


async def test_a_person_who_goes_while_a_link_is_made_takes_it_along(
    side: WriteSide, links: LinkKeys, admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = PersonKeys.made

    async def and_gone(self: PersonKeys, connection: object, person: UUID) -> object:
        key = await made(self, connection, person)
        await self.destroy(admin, person)
        return key

    monkeypatch.setattr(PersonKeys, "made", and_gone)
    async with side.pool.acquire() as connection:
        with pytest.raises(KeyDestroyed):
            await links.seal_many(connection, uuid4(), ADA, [b"late"], THINGS)
