"""What the provider keeps and logs: nothing that opens a door, nothing that names a person in the clear."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from isthmus.auth.provider.users import DEMO_PASSWORD, DEMO_USERS, EmailTaken, add_user, find_subject, login_key
from isthmus.auth.scopes import Role
from isthmus.domain.identifiers import person_id
from isthmus.integrations.secrets.file_master_key import FileMasterKey
from isthmus.integrations.secrets.person_keys import PersonKeys
from tests.auth.provider_kit import ADA, CHEAP, Kit, redirected

COOKIE = "isthmus_session"

pytestmark = pytest.mark.asyncio(loop_scope="module")


class _Gatherer(logging.Handler):
    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__()
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(record)


@pytest.fixture
def every_record() -> Iterator[list[logging.LogRecord]]:
    """What any library says, at DEBUG."""
    records: list[logging.LogRecord] = []
    handler = _Gatherer(records)
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.DEBUG)
    root.addHandler(handler)
    yield records
    root.removeHandler(handler)
    root.setLevel(level)


async def test_nothing_is_kept_or_logged_that_opens_a_door_or_names_a_person(
    kit: Kit, every_record: list[logging.LogRecord], capfd: pytest.CaptureFixture[str]
) -> None:
    seen = [DEMO_PASSWORD, "wrong-canary-password"]
    seen += [
        text for user in DEMO_USERS for text in (user.email, user.name, user.name.split()[1]) if text != "Operator"
    ]
    code = await kit.code()
    tokens = (await kit.exchange(code)).json()
    after = (await kit.refresh(tokens["refresh_token"])).json()
    pending = await kit.code()
    await kit.sign_in(ADA, "wrong-canary-password")
    await kit.userinfo(after["access_token"])
    await kit.exchange(code)
    await kit.refresh(tokens["refresh_token"])
    await kit.http.post("/revoke", data={"client_id": "isthmus-cli", "token": after["access_token"]})
    seen += [code, pending, kit.verifier, kit.http.cookies[COOKIE], kit.provider.pages.csrf(kit.http.cookies[COOKIE])]
    seen += [tokens[name] for name in ("access_token", "refresh_token", "id_token")] + [
        after["access_token"],
        after["refresh_token"],
    ]
    tables = ["person_keys"]
    tables += [
        f"provider.{row[0]}" for row in await kit.rows("select tablename from pg_tables where schemaname = 'provider'")
    ]
    assert len(tables) == 8
    kept = "\n".join(
        [str(row[0]) for table in tables for row in await kit.rows(f"select t::text from {table} t")]
    ).lower()
    lines = [record.getMessage() for record in every_record if not record.name.startswith(("httpx", "httpcore"))]
    output = "\n".join([*lines, *capfd.readouterr()])
    for secret in seen:
        assert secret.lower() not in kept
        assert secret.encode().hex() not in kept
        assert secret not in output
    assert '"d"' not in kept, "the private part of a key"
    assert "provider.code_replayed" in output, "what is worth knowing is logged"


async def test_authlib_would_print_tokens_if_it_were_let(kit: Kit, every_record: list[logging.LogRecord]) -> None:
    """The guard's other side: if this fails, authlib has stopped, and the guard may go."""
    authlib = logging.getLogger("authlib")
    held = authlib.level
    authlib.setLevel(logging.DEBUG)
    token = await kit.tokens()
    authlib.setLevel(held)
    assert token["refresh_token"] in "\n".join(record.getMessage() for record in every_record)


async def test_a_user_is_found_by_any_spelling_and_made_once(kit: Kit) -> None:
    master = FileMasterKey(kit.data_dir / "secrets" / "master.key")
    connection = await asyncpg.connect(kit.app_url)
    assert await find_subject(connection, login_key(master), " ADA@Example.com ") == DEMO_USERS[0].subject
    assert await find_subject(connection, login_key(master), "nobody@example.com") is None
    new: dict[str, Any] = {"name": "New", "password_hash": CHEAP.hash("x"), "roles": [Role.CUSTOMER]}
    subject = await add_user(connection, master, "isthmus", email="new@example.com", **new)
    assert await find_subject(connection, login_key(master), "NEW@example.com") == subject
    with pytest.raises(EmailTaken):
        await add_user(connection, master, "isthmus", email="New@Example.com", **new)
    await connection.close()


async def test_a_person_whose_key_was_destroyed_has_no_name_any_more(kit: Kit) -> None:
    master = FileMasterKey(kit.data_dir / "secrets" / "master.key")
    gone: dict[str, Any] = {
        "email": "gone@example.com",
        "name": "Gone",
        "password_hash": CHEAP.hash("x"),
        "roles": [Role.CUSTOMER],
    }
    subject = await add_user(kit.admin, master, "isthmus", **gone)
    token = (await kit.exchange(redirected(await kit.sign_in("gone@example.com", "x"))["code"])).json()
    assert (await kit.userinfo(token["access_token"])).json() == {
        "sub": subject,
        "name": "Gone",
        "email": "gone@example.com",
    }
    await PersonKeys(master).destroy(kit.admin, person_id("isthmus", subject))
    assert (await kit.userinfo(token["access_token"])).json() == {"sub": subject}
