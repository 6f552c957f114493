"""`isthmus secrets`: the master key's versions as an operator sees them, on a database that holds people's keys."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import asyncpg

from isthmus.runtime.wiring import WriteSide
from isthmus.settings import Settings
from tests.cli.conftest import RunIsthmus
from tests.conftest import Database


async def test_status_rotate_retire(
    isthmus: RunIsthmus, side: WriteSide, database: Database, admin: asyncpg.Connection, settings: Settings
) -> None:
    owner = {
        "ISTHMUS_DATABASE__URL": database.url,
        "ISTHMUS_DATABASE__ADMIN_URL": database.admin_url,
        "ISTHMUS_SECRETS__MASTER_KEY_FILE": str(settings.master_key_file),
    }
    sealed = await side.texts.seal_many(admin, [(uuid4(), "text") for _ in range(3)])

    def states() -> list[tuple[Any, ...]]:
        answer = isthmus("secrets", "status", "--json", **owner)
        assert answer.returncode == 0, answer.stderr
        return [
            (row["masterKey"], row["version"], row["state"], row["wrapped"])
            for row in json.loads(answer.stdout)["versions"]
        ]

    elsewhere = owner | {"ISTHMUS_SECRETS__MASTER_KEY_FILE": str(settings.data_dir / "no.key")}
    refused = isthmus("secrets", "rotate", **elsewhere)
    assert (refused.returncode, refused.stdout) == (1, ""), "no key is made where none was"
    assert refused.stderr == "isthmus: the master key cannot be read from no.key: FileNotFoundError\n"

    assert states() == [("file", 1, "active", 3)]
    assert isthmus("secrets", "rotate", "--prepare", **owner).stdout == "version 2 waits; nothing uses it yet\n"
    assert states() == [("file", 1, "active", 3), ("file", 2, "waiting", 0)]

    rotated = isthmus("secrets", "rotate", **owner)
    assert rotated.stdout == "version 2 is active; 3 keys were wrapped anew\n"
    assert rotated.stderr.splitlines() == ["wrapped anew: 0 of 3", "wrapped anew: 3 of 3"]
    assert states() == [("file", 1, "old", 0), ("file", 2, "active", 3)]
    assert "file v2  active   wraps person_keys 3" in isthmus("secrets", "status", **owner).stdout

    refused = isthmus("secrets", "retire", "--version", "2", **owner)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "isthmus: version 2 is not older than the active version 2\n"
    assert isthmus("secrets", "retire", "--version", "1", **owner).stdout == "version 1 is retired\n"
    assert states() == [("file", 2, "active", 3)]
    assert await side.texts.open_many(admin, sealed) == ["text"] * 3

    product = isthmus("secrets", "retire", "--version", "1", **(owner | {"ISTHMUS_DATABASE__ADMIN_URL": database.url}))
    assert product.returncode == 1

    isthmus("secrets", "rotate", **owner)
    product = isthmus("secrets", "retire", "--version", "2", **(owner | {"ISTHMUS_DATABASE__ADMIN_URL": database.url}))
    assert "ISTHMUS_DATABASE__ADMIN_URL" in product.stderr
    assert [state[:3] for state in states()] == [("file", 2, "old"), ("file", 3, "active")]
