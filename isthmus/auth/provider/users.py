"""The provider's users. No e-mail and no name is at rest in the clear: sign-in finds a user by a keyed digest of the e-mail,
and the two texts are ciphertext under the person's own key, so that destroying that key leaves nothing that names them.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import uuid4

import asyncpg
from argon2 import PasswordHasher

from isthmus.auth.scopes import Role
from isthmus.domain.identifiers import person_id
from isthmus.integrations.secrets.master_key import MasterKey
from isthmus.integrations.secrets.opening import open_master_key
from isthmus.integrations.secrets.person_keys import PersonKeys
from isthmus.settings import Settings

DEMO_PASSWORD = "isthmus-demo"  # noqa: S105  # printed by `up`; it opens only demo users


class HasDatabase(Protocol):
    @property
    def database_url(self) -> str: ...


class EmailTaken(Exception):
    """Someone signs in with this e-mail already."""


@dataclass(frozen=True)
class DemoUser:
    """`subject` is fixed, so that a demo person's id is the same in every data directory."""

    email: str
    name: str
    subject: str
    roles: tuple[Role, ...]


DEMO_USERS = (
    DemoUser("ada@example.com", "Ada Lovelace", "5f0c2f5e-6a0b-4c1e-9d51-0a7b1c1f1815", (Role.CUSTOMER,)),
    DemoUser("grace@example.com", "Grace Hopper", "c7a4f6d2-2b63-4f0e-8a37-5d3e9b9e1906", (Role.CUSTOMER,)),
    DemoUser("olga@example.com", "Olga Operator", "0b9d3c41-7e58-4a6f-b2c4-8e1f6a2d1931", (Role.OPERATOR,)),
    DemoUser("alan@example.com", "Alan Turing", "9e2b7a60-41cf-4d8e-a5f3-3c6d0e7f1912", (Role.AUDITOR,)),
)


def login_key(master: MasterKey) -> bytes:
    return master.derive("login")


def login_digest(key: bytes, email: str) -> bytes:
    """What a user is found by: HMAC-SHA256 over the e-mail, however it was capitalised."""
    normalised = unicodedata.normalize("NFKC", email).strip().casefold()
    return hmac.new(key, normalised.encode(errors="surrogatepass"), hashlib.sha256).digest()


async def find_subject(connection: Any, login_key: bytes, email: str) -> str | None:
    subject: str | None = await connection.fetchval(
        "select subject from provider.users where login_digest = $1", login_digest(login_key, email)
    )
    return subject


async def add_user(
    connection: Any,
    master: MasterKey,
    issuer_name: str,
    *,
    email: str,
    name: str,
    password_hash: str,
    roles: Iterable[Role],
    subject: str | None = None,
) -> str:
    """Returns the new user's subject. Raises EmailTaken."""
    subject = subject or str(uuid4())
    person, keys = person_id(issuer_name, subject), PersonKeys(master)
    async with connection.transaction():
        added = await connection.fetchval(
            "insert into provider.users (subject, login_digest, email_sealed, name_sealed, password_hash, roles) "
            "values ($1, $2, $3, $4, $5, $6) on conflict do nothing returning subject",
            subject,
            login_digest(login_key(master), email),
            await keys.seal(connection, person, email.strip()),
            await keys.seal(connection, person, name.strip()),
            password_hash,
            sorted({role.value for role in roles}),
        )
        if added is None:
            raise EmailTaken("this e-mail address is in use")
    return subject


async def ensure_demo_users(settings: Settings, endpoints: HasDatabase, hasher: PasswordHasher | None = None) -> None:
    """Idempotent, and cheap once they are there: a password is hashed only where one is missing."""
    master = await open_master_key(settings, endpoints.database_url)
    key = login_key(master)
    connection = await asyncpg.connect(endpoints.database_url)
    try:
        rows = await connection.fetch(
            "select login_digest from provider.users where login_digest = any($1::bytea[])",
            [login_digest(key, user.email) for user in DEMO_USERS],
        )
        known = {row["login_digest"] for row in rows}
        missing = [user for user in DEMO_USERS if login_digest(key, user.email) not in known]
        if not missing:
            return
        # One hash for all of them: their password is public, and hashing is slow on purpose.
        password_hash = await asyncio.to_thread((hasher or PasswordHasher()).hash, DEMO_PASSWORD)
        for user in missing:
            try:
                await add_user(
                    connection,
                    master,
                    settings.issuer.name,
                    email=user.email,
                    name=user.name,
                    password_hash=password_hash,
                    roles=user.roles,
                    subject=user.subject,
                )
            except EmailTaken:
                continue  # another starter was quicker
    finally:
        await connection.close()
