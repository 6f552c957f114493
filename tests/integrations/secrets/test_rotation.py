"""Rotation while the product writes: everything stays readable, nothing has to come to its end, no version goes that is needed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from isthmus.auth.provider.keys import WRAPPED as SIGNING_KEYS
from isthmus.domain.personal import Sealed
from isthmus.integrations.secrets import rotation
from isthmus.integrations.secrets.file_master_key import FileMasterKey
from isthmus.integrations.secrets.master_key import MasterKeyError
from isthmus.integrations.secrets.person_keys import WRAPPED as PERSON_KEYS
from isthmus.integrations.secrets.person_keys import PersonKeys
from isthmus.integrations.secrets.rotation import Rotated, RotationRefused
from isthmus.integrations.secrets.vault_master_key import ROOT_SECRET
from isthmus.integrations.secrets.versions import activate
from isthmus.runtime.wiring import WriteSide
from isthmus.settings import Settings

PLACES = [PERSON_KEYS, SIGNING_KEYS, ROOT_SECRET]


class Killed(BaseException):
    """Not one that anything catches."""


def unseen(_: int, __: int) -> None:
    """Nobody looks at the progress."""


@pytest.fixture
def master(settings: Settings, side: WriteSide) -> FileMasterKey:
    """The command line's own, beside the one of the running product."""
    return FileMasterKey(settings.master_key_file)


async def written(side: WriteSide, people: int) -> list[Sealed]:
    async with side.pool.acquire() as connection:
        return await side.texts.seal_many(connection, [(uuid4(), f"text {n}") for n in range(people)])


async def under(admin: asyncpg.Connection) -> dict[int, int]:
    rows = await admin.fetch("select master_key_version, count(*) from person_keys group by 1")
    return {row[0]: row[1] for row in rows}


async def assert_readable(keys: PersonKeys, connection: Any, sealed: list[Sealed]) -> None:
    assert await keys.open_many(connection, sealed) == [f"text {n}" for n in range(len(sealed))]


async def test_everything_is_wrapped_anew_and_running_processes_read_on(
    side: WriteSide, admin: asyncpg.Connection, master: FileMasterKey, settings: Settings
) -> None:
    sealed, seen = await written(side, 450), list[tuple[int, int]]()
    cold = PersonKeys(
        FileMasterKey(settings.master_key_file)
    )  # a process that has unwrapped nothing, and knows version 1 only

    done = await rotation.rotate(admin, master, PLACES, lambda *told: seen.append(told))

    assert done == Rotated(2, 450, 0)
    assert seen == [(0, 450), (200, 450), (400, 450), (450, 450)]
    assert await under(admin) == {2: 450}
    for keys in (side.texts, cold, PersonKeys(FileMasterKey(settings.master_key_file))):
        await assert_readable(keys, admin, sealed)
    await written(side, 1)
    assert await under(admin) == {2: 451}, "a process that was there before wraps under the new version"


async def test_what_was_cut_off_goes_on_under_the_same_version(
    side: WriteSide, admin: asyncpg.Connection, master: FileMasterKey, settings: Settings
) -> None:
    sealed = await written(side, 450)

    def killed(done: int, _: int) -> None:
        if done == 200:
            raise Killed

    with pytest.raises(Killed):
        await rotation.rotate(admin, master, PLACES, killed)
    assert await under(admin) == {1: 250, 2: 200}
    await assert_readable(PersonKeys(FileMasterKey(settings.master_key_file)), admin, sealed)

    assert await rotation.rotate(admin, master, PLACES, unseen) == Rotated(2, 250, 0)
    await assert_readable(PersonKeys(FileMasterKey(settings.master_key_file)), admin, sealed)
    assert await rotation.rotate(admin, master, PLACES, unseen) == Rotated(3, 450, 0), "and then another begins"


async def test_a_version_whose_activation_was_cut_off_is_taken_up(
    side: WriteSide, admin: asyncpg.Connection, master: FileMasterKey
) -> None:
    """As `--prepare` leaves it, too: in the file, and nothing uses it."""
    await written(side, 3)
    assert await rotation.prepare(admin, master) == 2
    assert await rotation.prepare(admin, master) == 2
    await written(side, 1)
    assert await under(admin) == {1: 4}

    assert await rotation.rotate(admin, master, PLACES, unseen) == Rotated(2, 4, 0)


async def test_writers_are_never_in_the_way_nor_lost(
    side: WriteSide, admin: asyncpg.Connection, master: FileMasterKey, settings: Settings
) -> None:
    """People come and go while versions do: who is there reads their texts, who went stays away."""
    kept, gone, texts = list[Sealed](), set[UUID](), list[str]()
    wanted, reached, ended = 0, asyncio.Event(), asyncio.Event()

    async def live(n: int) -> None:
        keys, turn = PersonKeys(FileMasterKey(settings.master_key_file)), 0
        while not ended.is_set():
            turn += 1
            async with side.pool.acquire() as connection, connection.transaction():
                stays, goes = uuid4(), uuid4()
                word = f"{n} {turn}"
                one, two = await keys.seal_many(connection, [(stays, word), (goes, word)])
                assert await keys.open_many(connection, [one, two]) == [word, word]
            async with side.pool.acquire() as connection:
                await keys.destroy(connection, goes)
                assert await keys.open_many(connection, [one, two]) == [word, None]
            gone.add(goes)
            kept.append(one)
            texts.append(word)
            if len(kept) >= wanted:
                reached.set()

    async with asyncio.TaskGroup() as writers:  # one that fails ends the test
        for n in range(3):
            writers.create_task(live(n))
        for version in (2, 3, 4):
            wanted = 30 * version
            reached.clear()
            await reached.wait()
            assert (await rotation.rotate(admin, master, PLACES, unseen)).version == version
        ended.set()
    await rotation.rotate(admin, master, PLACES, unseen)
    for version in range(1, 4):
        await rotation.retire(admin, master, PLACES, version)

    assert await PersonKeys(FileMasterKey(settings.master_key_file)).open_many(admin, kept) == texts
    assert not gone & {row[0] for row in await admin.fetch("select person_id from person_keys")}


async def test_who_goes_and_comes_back_meanwhile_keeps_the_new_key(
    side: WriteSide, admin: asyncpg.Connection, master: FileMasterKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, after, rewrap = uuid4(), list[Sealed](), FileMasterKey.rewrap_many
    await side.texts.seal_many(admin, [(ada, "before")])

    async def slow(self: FileMasterKey, version: int, wrapped: Any) -> list[bytes]:
        blobs = await rewrap(self, version, wrapped)
        if not after:
            await side.texts.destroy(admin, ada)
            after.extend(await side.texts.seal_many(admin, [(ada, "after")]))
        return blobs

    monkeypatch.setattr(FileMasterKey, "rewrap_many", slow)
    await rotation.rotate(admin, master, PLACES, unseen)

    assert await side.texts.open_many(admin, after) == ["after"]


async def test_a_version_goes_only_when_nothing_needs_it(
    side: WriteSide, admin: asyncpg.Connection, master: FileMasterKey, settings: Settings
) -> None:
    sealed = await written(side, 5)
    with pytest.raises(RotationRefused, match="version 1 is not older than the active version 1"):
        await rotation.retire(admin, master, PLACES, 1)
    await rotation.rotate(admin, master, PLACES, unseen)
    behind = "update person_keys set (wrapped_key, master_key_version) = ($2, $3) where person_id = $1"
    row = await admin.fetchrow("select person_id, wrapped_key from person_keys limit 1")
    await admin.execute(behind, row["person_id"], row["wrapped_key"], 1)
    with pytest.raises(RotationRefused, match="1 keys are still wrapped under it"):
        await rotation.retire(admin, master, PLACES, 1)
    await admin.execute(behind, row["person_id"], row["wrapped_key"], 2)
    with pytest.raises(RotationRefused, match="version 7 is not older"):
        await rotation.retire(admin, master, PLACES, 7)

    await rotation.retire(admin, master, PLACES, 1)

    assert await master.versions() == [2]
    await activate(admin, "file", 1)
    assert await admin.fetchval("select array_agg(version) from master_key_versions") == [2], "it does not come back"
    with pytest.raises(RotationRefused, match="there is no version 1"):
        await rotation.retire(admin, master, PLACES, 1)
    await assert_readable(PersonKeys(FileMasterKey(settings.master_key_file)), admin, sealed)


async def test_what_is_being_written_under_a_version_keeps_it(
    side: WriteSide, admin: asyncpg.Connection, master: FileMasterKey
) -> None:
    """A transaction that nobody sees yet: retiring waits for it, and is refused once it is there."""
    async with side.pool.acquire() as connection:
        writing = connection.transaction()
        await writing.start()
        await side.texts.seal_many(connection, [(uuid4(), "late")])
        await rotation.rotate(admin, master, PLACES, unseen)
        retiring = asyncio.create_task(rotation.retire(admin, master, PLACES, 1))
        async with side.pool.acquire() as other:
            while not await other.fetchval("select count(*) from pg_locks where not granted"):
                assert not retiring.done()
                await asyncio.sleep(0.01)
        await writing.commit()

    with pytest.raises(RotationRefused, match="just now"):
        await retiring
    assert await master.versions() == [1, 2]
    assert await rotation.rotate(admin, master, PLACES, unseen) == Rotated(2, 1, 0)
    await rotation.retire(admin, master, PLACES, 1)


async def test_nothing_is_written_under_a_version_that_went(
    side: WriteSide, admin: asyncpg.Connection, master: FileMasterKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that asked which one is active, and slept through a rotation."""
    slept = FileMasterKey.wrap_many

    async def sleepy(self: FileMasterKey, version: int, plains: Any) -> list[bytes]:
        blobs = await slept(self, version, plains)
        monkeypatch.undo()
        await rotation.rotate(admin, master, PLACES, unseen)
        await rotation.retire(admin, master, PLACES, 1)
        return blobs

    await written(side, 1)
    monkeypatch.setattr(FileMasterKey, "wrap_many", sleepy)
    async with side.pool.acquire() as connection:
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            await side.texts.seal_many(connection, [(uuid4(), "too late")])


async def test_one_that_does_not_open_is_told_of_and_left(
    side: WriteSide, admin: asyncpg.Connection, master: FileMasterKey
) -> None:
    await written(side, 5)
    await admin.execute(
        "update person_keys set wrapped_key = 'rotten' where person_id = (select person_id from person_keys limit 1)"
    )

    assert await rotation.rotate(admin, master, PLACES, unseen) == Rotated(2, 4, 1)
    assert await under(admin) == {1: 1, 2: 4}
    with pytest.raises(RotationRefused):
        await rotation.retire(admin, master, PLACES, 1)


async def test_one_at_a_time(side: WriteSide, database: Any, admin: asyncpg.Connection, master: FileMasterKey) -> None:
    other = await asyncpg.connect(database.admin_url)
    try:
        await written(side, 1)
        await other.execute("select pg_advisory_lock($1)", rotation._LOCK)
        with pytest.raises(RotationRefused, match="at work"):
            await rotation.rotate(admin, master, PLACES, unseen)
        assert await master.versions() == [1]
    finally:
        await other.close()


async def test_another_key_in_the_files_place_opens_nothing_and_says_so(
    side: WriteSide, admin: asyncpg.Connection, tmp_path: Path
) -> None:
    sealed = await written(side, 1)
    stranger = PersonKeys(FileMasterKey.load_or_create(tmp_path / "another.key"))

    with pytest.raises(MasterKeyError, match="not the master key that wrapped"):
        await stranger.open_many(admin, sealed)
