"""Row G9, for what banks' providers give us: tokens go through every way in and every way to fail, and are found nowhere."""

from __future__ import annotations

import contextlib
import io
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
import structlog
from prometheus_client import generate_latest

from isthmus.domain.secrets import LinkKeyInUse, ProviderTokens
from isthmus.integrations.secrets import rotation
from isthmus.integrations.secrets.link_keys import LinkKeys
from isthmus.integrations.secrets.master_key import MasterKeyError
from isthmus.integrations.secrets.opening import open_master_key
from isthmus.integrations.secrets.person_keys import PersonKeys
from isthmus.integrations.secrets.token_vault import SealedTokens
from isthmus.runtime.servers import EmbeddedServers
from isthmus.runtime.wiring import WriteSide, write_side
from isthmus.settings import Settings, load_settings
from tests.attacks.count import Row
from tests.attacks.logs import logging_everything
from tests.attacks.test_g_canaries import Canaries, cached, kept
from tests.conftest import Database
from tests.integrations.secrets.openbao import running
from tests.integrations.secrets.test_rotation import PLACES, unseen

ADA, GRACE = uuid4(), uuid4()
log = structlog.get_logger("isthmus.tests.provider_tokens")


@contextmanager
def told(said: list[str], *expected: type[Exception]) -> Iterator[None]:
    """The error is logged as the product would, and kept as it prints itself."""
    try:
        yield
    except expected as error:
        log.exception("tokens failed", error=str(error))
        log.error("tokens failed", exc_info=error)
        said.append("".join(traceback.format_exception(error)) + repr(error))
    else:
        raise AssertionError(f"no {expected}")


def dropped(canaries: Canaries, of: str) -> ProviderTokens:
    drop = canaries.drop
    return ProviderTokens(
        drop(f"an access token {of}", "access-sandbox-%s"),
        drop(f"a refresh token {of}"),
        datetime(2026, 11, 23, tzinfo=UTC),
        drop(f"a provider's id {of}", "item_%s"),
    )


async def sent_everywhere(side: WriteSide, admin: asyncpg.Connection, canaries: Canaries, said: list[str]) -> None:
    link, others = uuid4(), uuid4()
    vault: SealedTokens = side.tokens
    tokens = dropped(canaries, "that is put")
    async with side.pool.acquire() as connection:
        assert await vault.put(connection, link, ADA, tokens) == 1
        newer = dropped(canaries, "that replaces another")
        assert await vault.put(connection, link, ADA, newer) == 2
        assert await vault.get(connection, link) == newer
        log.info("tokens", tokens=tokens, given=newer, several=[tokens, {"kept": newer}], text=f"{tokens} {newer!r}")
        said += [repr(tokens), str([newer]), repr({"a": tokens}), repr(replace(tokens, access="x"))]

        with told(said, LinkKeyInUse):
            await vault.put(connection, link, GRACE, dropped(canaries, "of another person"))
        with told(said, asyncpg.InterfaceError, asyncpg.DataError):
            await vault.put(connection, "no uuid", ADA, dropped(canaries, "of no link"))  # type: ignore[arg-type]
        with told(said, TypeError):
            await vault.put(connection, others, ADA, replace(tokens, refresh=object()))  # type: ignore[arg-type]
        with told(said, asyncpg.QueryCanceledError):
            async with connection.transaction():
                await vault.put(connection, others, ADA, dropped(canaries, "of a transaction that fails"))
                await connection.execute("set local statement_timeout = '1ms'; select pg_sleep(1)")
        failing = uuid4()
        await admin.execute("alter table provider_tokens add constraint never check (version < 1) not valid")
        with told(said, asyncpg.CheckViolationError):
            await vault.put(connection, failing, ADA, dropped(canaries, "that a constraint refuses"))
        await admin.execute("alter table provider_tokens drop constraint never")
        sealed = await side.links.seal_many(connection, link, ADA, [b'{"a": 5}'], b"provider tokens 2")
        await connection.execute("update provider_tokens set sealed = $2 where link_id = $1", link, sealed[0])
        with told(said, Exception):
            await vault.get(connection, link)
    with told(said, asyncpg.InterfaceError):
        await vault.put(connection, link, ADA, dropped(canaries, "on a connection that was given back"))
    async with side.pool.acquire() as connection:
        await vault.put(connection, link, ADA, dropped(canaries, "that is rotated over"))
        await rotation.rotate(admin, side.master_key, PLACES, unseen)
        assert await vault.get(connection, link) is not None
        gone = uuid4()
        await vault.put(connection, gone, GRACE, dropped(canaries, "of one who goes"))
        await side.texts.destroy(connection, GRACE)
        assert await vault.get(connection, gone) is None
        await vault.forget(connection, link)


async def under_a_stranger(settings: Settings, side: WriteSide, said: list[str]) -> None:
    """Another file in the master key's place."""
    stranger = await open_master_key(load_settings(data_dir=settings.data_dir / "stranger"), "")
    vault = SealedTokens(LinkKeys(PersonKeys(stranger)))
    async with side.pool.acquire() as connection:
        await side.tokens.put(connection, link := uuid4(), ADA, ProviderTokens("x"))
        with told(said, MasterKeyError):
            await vault.get(connection, link)


@pytest.fixture(params=["file", "vault"])
async def keys(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Settings, str]]:
    """The settings, and what signs in at the vault."""
    if request.param == "file":
        yield load_settings(data_dir=tmp_path), ""
        return
    token = f"cnrytoken{uuid4().hex}"
    (tmp_path / "bao").mkdir()
    with running(tmp_path / "bao", token) as bao:
        yield bao.settings(tmp_path, bao.key("isthmus")), token


async def test_g9_no_token_of_a_provider_is_found_anywhere(
    keys: tuple[Settings, str],
    database: Database,
    admin: asyncpg.Connection,
    servers: EmbeddedServers,
    row: Row,
    tmp_path: Path,
) -> None:
    settings, vault_token = keys
    canaries, said, output = Canaries(), list[str](), io.StringIO()
    with logging_everything(tmp_path) as logged, contextlib.redirect_stdout(output):
        async with write_side(settings, database.url) as side:
            await sent_everywhere(side, admin, canaries, said)
            await under_a_stranger(settings, side, said)
        if vault_token:
            canaries.words["the vault's token"] = vault_token
            secrets: dict[str, Any] = {"vault_token": canaries.drop("a token that the vault refuses")}
            for wrong in (secrets, {"vault_url": "http://127.0.0.1:1"}, {"vault_deadline_s": 0.000_1}):
                given = settings.secrets.model_dump() | wrong
                with told(said, MasterKeyError):
                    refused = load_settings(data_dir=settings.data_dir, secrets=given)
                    said.append(repr(refused))
                    await open_master_key(refused, database.url)
        lines = logged.lines

    assert len(said) >= 10
    assert sum(line["level"] == "error" for line in lines) >= 2 * 8
    places = {
        "logs": logged.text,
        "output": output.getvalue(),
        "reprs and errors": "\n".join(said),
        "metrics": generate_latest().decode(),
        "the database, with the outbox that the bus is filled from": await kept(database.admin_url),
        "Redis": await cached(servers.redis_url),
    }
    for place, text in places.items():
        assert len(text) > 100 or place in ("output", "Redis"), "what is looked through is not empty"
        found = canaries.found_in(text)
        for purpose in canaries.words:
            with row.case((place, purpose)):
                assert purpose not in found
