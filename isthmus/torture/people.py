"""Who takes part: customers of a torture's own, an operator, and their sign-ins."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field

import asyncpg
import httpx
from argon2 import PasswordHasher

from isthmus.auth.provider.users import DEMO_PASSWORD, EmailTaken, add_user
from isthmus.auth.scopes import Role
from isthmus.auth.sign_in import SignInFailed, sign_in
from isthmus.integrations.secrets.opening import open_master_key
from isthmus.settings import Settings

#: Of a token's ten minutes.
_RENEW_AFTER_S = 300.0
_TRY_S = 20.0


@dataclass
class Person:
    """Signed in through the API at `base()` when a token is needed and the last one is getting old."""

    name: str
    email: str
    roles: tuple[Role, ...]
    _token: str = field(default="", repr=False)
    _signed_in_at: float = float("-inf")
    _signing_in: asyncio.Lock = field(default_factory=asyncio.Lock)
    _where: tuple[httpx.AsyncClient, str] | None = field(default=None, repr=False)

    async def sign_in(self, http: httpx.AsyncClient, base: str) -> None:
        """Tried again for a while. Raises SignInFailed."""
        self._where = http, base
        until = time.monotonic() + _TRY_S
        async with self._signing_in:
            while time.monotonic() - self._signed_in_at > _RENEW_AFTER_S:
                try:
                    tokens = await sign_in(base, self.email, DEMO_PASSWORD, http=http)
                except SignInFailed:
                    if time.monotonic() > until:
                        raise
                    await asyncio.sleep(0.5)
                    continue
                self._token, self._signed_in_at = tokens.access_token, time.monotonic()

    async def token(self) -> str:
        """As an app does it: whoever was refused signs in again, if that can be done now."""
        if self._where is not None and self._signed_in_at == float("-inf"):
            with contextlib.suppress(SignInFailed, httpx.HTTPError, OSError):
                await self.sign_in(*self._where)
        return self._token

    def refused(self, token: str) -> None:
        """Nobody knows any more when the session was used last: Redis has lost it."""
        if token == self._token:
            self._signed_in_at = float("-inf")


async def enrol(settings: Settings, database_url: str, customers: int) -> tuple[list[Person], Person]:
    """Make the customers and the operator. One hash for all: their password is public, and hashing is slow on purpose."""
    people = [Person(f"c{n}", f"customer-{n}@torture.example", (Role.CUSTOMER,)) for n in range(customers)]
    operator = Person("op", "operator@torture.example", (Role.OPERATOR,))
    master = await open_master_key(settings, database_url)
    password_hash = await asyncio.to_thread(PasswordHasher().hash, DEMO_PASSWORD)
    connection = await asyncpg.connect(database_url)
    try:
        for person in (*people, operator):
            try:
                await add_user(
                    connection,
                    master,
                    settings.issuer.name,
                    email=person.email,
                    name=f"Torture {person.name}",
                    password_hash=password_hash,
                    roles=person.roles,
                )
            except EmailTaken:
                continue
    finally:
        await connection.close()
    return people, operator
