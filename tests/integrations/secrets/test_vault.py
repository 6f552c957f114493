"""The master key in a real OpenBao: what it wraps, what it is asked, and what happens while it is away."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import hvac
import pytest

from isthmus.domain.secrets import ProviderTokens
from isthmus.integrations.secrets import rotation
from isthmus.integrations.secrets.file_master_key import FileMasterKey
from isthmus.integrations.secrets.master_key import MasterKey, MasterKeyAway, MasterKeyError, Plain, Wrapped
from isthmus.integrations.secrets.opening import open_master_key, opened_master_key
from isthmus.integrations.secrets.person_keys import PersonKeys
from isthmus.integrations.secrets.rotation import Rotated, RotationRefused
from isthmus.runtime.wiring import write_side
from isthmus.settings import Settings
from tests.conftest import Database
from tests.integrations.secrets.openbao import OpenBao, running
from tests.integrations.secrets.test_rotation import PLACES, unseen

ROOT = Path(__file__).parents[3]
CONTEXT = b"place"


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    with running(tmp_path_factory.mktemp("openbao")) as server:
        yield server


@pytest.fixture
def vault(bao: OpenBao, tmp_path: Path) -> Settings:
    return bao.settings(tmp_path, bao.key(f"key-{uuid4().hex[:8]}"))


async def opened(master: MasterKey, version: int, *blobs: bytes, context: bytes = CONTEXT) -> list[bytes]:
    return await master.unwrap_many([(Wrapped("vault", version, blob), context) for blob in blobs])


async def test_the_product_runs_on_it_and_nothing_that_opens_is_here(
    vault: Settings, database: Database, admin: asyncpg.Connection
) -> None:
    link, ada = uuid4(), uuid4()
    async with write_side(vault, database.url) as side, side.pool.acquire() as connection:
        await side.tokens.put(connection, link, ada, ProviderTokens("access"))
        sealed = await side.texts.seal_many(connection, [(ada, "text")])

    async with write_side(vault, database.url) as side, side.pool.acquire() as connection:
        assert await side.tokens.get(connection, link) == ProviderTokens("access")
        assert await side.texts.open_many(connection, sealed) == ["text"]
    row = await admin.fetchrow("select * from person_keys")
    assert (row["master_key"], row["master_key_version"]) == ("vault", 1)
    assert row["wrapped_key"].startswith(b"vault:v1:")
    assert not vault.master_key_file.exists()


async def test_many_go_in_batches_and_come_back_in_their_order(vault: Settings, database: Database) -> None:
    """The engine refuses 500 at once."""
    master = await open_master_key(vault, database.url)
    keys = [f"key {n}".encode() for n in range(450)]

    blobs = await master.wrap_many(1, [Plain(key, CONTEXT) for key in keys])

    assert await opened(master, 1, *blobs) == keys
    assert await master.wrap_many(1, []) == []


async def test_a_key_opens_in_its_place_only(vault: Settings, database: Database) -> None:
    master = await open_master_key(vault, database.url)
    (blob,) = await master.wrap_many(1, [Plain(b"key", CONTEXT)])

    with pytest.raises(MasterKeyError):
        await opened(master, 1, blob, context=b"elsewhere")
    for other in (b"vault:v1:AAAA", b"\xff\x00", b""):
        with pytest.raises(MasterKeyError):
            await opened(master, 1, blob, other)
    with pytest.raises(MasterKeyError, match="key file, which is not on this machine"):
        await master.unwrap_many([(Wrapped("file", 1, b"x"), CONTEXT)])


async def test_derived_keys_are_the_same_in_every_process_and_after_rotation(
    vault: Settings, database: Database, admin: asyncpg.Connection
) -> None:
    first, *others = await asyncio.gather(*(open_master_key(vault, database.url) for _ in range(4)))
    assert len(first.derive("login")) == 32
    await rotation.rotate(admin, first, PLACES, unseen)
    others.append(opened_master_key(vault, database.url))

    assert {master.derive("login") for master in others} == {first.derive("login")}
    assert first.derive("login") != first.derive("idempotency")
    assert await admin.fetchval("select master_key_version from root_secret") == 2


async def test_rotate_and_retire(vault: Settings, database: Database, admin: asyncpg.Connection, bao: OpenBao) -> None:
    before, cli = await open_master_key(vault, database.url), await open_master_key(vault, database.url)
    keys = PersonKeys(before)
    texts = [(uuid4(), f"text {n}") for n in range(450)]
    sealed = await keys.seal_many(admin, texts)
    old = await admin.fetchval("select wrapped_key from person_keys limit 1")

    assert await rotation.rotate(admin, cli, PLACES, unseen) == Rotated(2, 451, 0), "people's, and the root secret"
    with pytest.raises(RotationRefused):
        await rotation.retire(admin, cli, PLACES, 2)
    await rotation.retire(admin, cli, PLACES, 1)

    assert await cli.versions() == [2]
    for master in (before, await open_master_key(vault, database.url)):
        assert await PersonKeys(master).open_many(admin, sealed) == [text for _, text in texts]
    with pytest.raises(hvac.exceptions.InvalidRequest):
        bao.client.secrets.transit.decrypt_data(vault.secrets.vault_key, old.decode(), context="eA==")
    await keys.seal_many(admin, [(uuid4(), "after")])
    counts = await admin.fetch("select master_key_version, count(*) from person_keys group by 1")
    assert [tuple(row) for row in counts] == [(2, 451)]


async def test_what_a_file_wrapped_moves_into_the_vault_and_what_was_derived_stays(
    vault: Settings, database: Database, admin: asyncpg.Connection
) -> None:
    file = FileMasterKey.load_or_create(vault.master_key_file)
    sealed = await PersonKeys(file).seal_many(admin, [(uuid4(), "text") for _ in range(3)])

    master = await open_master_key(vault, database.url)
    assert master.derive("login") == file.derive("login")
    assert await PersonKeys(master).open_many(admin, sealed) == ["text"] * 3
    assert await rotation.rotate(admin, master, PLACES, unseen) == Rotated(1, 3, 0), "no other version is needed for it"

    vault.master_key_file.unlink()
    master = await open_master_key(vault, database.url)
    assert await PersonKeys(master).open_many(admin, sealed) == ["text"] * 3
    assert master.derive("login") == file.derive("login")


async def test_without_the_file_that_wrapped_before_nothing_is_begun(
    vault: Settings, database: Database, admin: asyncpg.Connection, tmp_path: Path
) -> None:
    """A root of its own would make every digest another: nobody would be found by their e-mail any more."""
    file = FileMasterKey.load_or_create(tmp_path / "elsewhere.key")
    await PersonKeys(file).seal_many(admin, [(uuid4(), "text")])

    with pytest.raises(MasterKeyError, match="bring it to this machine"):
        await open_master_key(vault, database.url)
    assert await admin.fetchval("select count(*) from root_secret") == 0


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("no such key", "refused to read the key: InvalidPath"),
        ("a wrong token", "refused to read the key: Forbidden"),
        ("a key that binds nothing", "must be made with derived=true"),
        ("a token's file that is missing", "token cannot be read from gone: FileNotFoundError"),
        ("a mount that is missing", "refused to read the key"),
    ],
)
async def test_what_is_wrong_is_said_and_no_token_with_it(
    bao: OpenBao, tmp_path: Path, database: Database, what: str, told: str
) -> None:
    key, more = "nowhere", dict[str, Any]()
    match what:
        case "a wrong token":
            more = {"vault_token": "canary-token"}
        case "a key that binds nothing":
            key = bao.key("plain", derived=False)
        case "a token's file that is missing":
            more = {"vault_token": None, "vault_token_file": tmp_path / "gone"}
        case "a mount that is missing":
            more = {"vault_mount": "elsewhere"}
        case _:
            assert what == "no such key"

    with pytest.raises(MasterKeyError, match=told) as refused:
        await open_master_key(bao.settings(tmp_path, key, **more), database.url)
    assert not isinstance(refused.value, MasterKeyAway)
    assert bao.token not in str(refused.value)
    assert "canary" not in str(refused.value)


async def test_the_tokens_file_is_read_each_time(bao: OpenBao, tmp_path: Path, database: Database) -> None:
    file = tmp_path / "token"
    file.write_text(bao.token + "\n")
    settings = bao.settings(tmp_path, bao.key(f"key-{uuid4().hex[:8]}"), vault_token=None, vault_token_file=file)
    master = await open_master_key(settings, database.url)
    (blob,) = await master.wrap_many(1, [Plain(b"key", CONTEXT)])

    file.write_text("revoked")
    with pytest.raises(MasterKeyError, match="Forbidden"):
        await opened(master, 1, blob)
    file.write_text(bao.token)
    assert await opened(master, 1, blob) == [b"key"]


async def test_the_rights_that_the_documentation_gives_are_enough_to_serve_and_not_to_rotate(
    bao: OpenBao, tmp_path: Path, database: Database, admin: asyncpg.Connection
) -> None:
    (policy,) = re.findall(r"<<'P'\n(.*?)\nP\n", (ROOT / "docs" / "secrets.md").read_text(encoding="utf-8"), re.DOTALL)
    bao.client.sys.create_or_update_policy("isthmus", policy)
    token = bao.client.auth.token.create(policies=["isthmus"])["auth"]["client_token"]

    master = await open_master_key(bao.settings(tmp_path, bao.key("isthmus"), vault_token=token), database.url)

    sealed = await PersonKeys(master).seal_many(admin, [(uuid4(), "text")])
    assert await PersonKeys(master).open_many(admin, sealed) == ["text"]
    with pytest.raises(MasterKeyError, match="refused to rotate: Forbidden"):
        await rotation.rotate(admin, master, PLACES, unseen)


async def test_while_it_is_away_only_those_wait_who_need_it_and_not_for_long(
    tmp_path: Path, database: Database, admin: asyncpg.Connection
) -> None:
    (tmp_path / "bao").mkdir()
    with running(tmp_path / "bao") as bao:
        master = await open_master_key(bao.settings(tmp_path, bao.key("one")), database.url)
        known = PersonKeys(master)
        sealed = await known.seal_many(admin, [(uuid4(), "text")])
        os.kill(bao.process.pid, signal.SIGSTOP)  # it takes connections and answers nothing

        began = time.monotonic()
        with pytest.raises(MasterKeyAway, match="in time: TimeoutError"):
            await PersonKeys(master).open_many(admin, sealed)
        assert 1.4 < time.monotonic() - began < 5
        assert await known.open_many(admin, sealed) == ["text"], "what is unwrapped is unwrapped"
        began = time.monotonic()
        with pytest.raises(MasterKeyAway, match="a moment ago"):
            await PersonKeys(master).open_many(admin, sealed)
        assert time.monotonic() - began < 0.5

        os.kill(bao.process.pid, signal.SIGCONT)
        async with asyncio.timeout(30):
            while True:
                try:
                    assert await PersonKeys(master).open_many(admin, sealed) == ["text"]
                    break
                except MasterKeyAway:
                    await asyncio.sleep(0.1)

        bao.process.kill()
        bao.process.wait()
        with pytest.raises(MasterKeyAway, match="ConnectionError"):
            await PersonKeys(master).open_many(admin, sealed)
