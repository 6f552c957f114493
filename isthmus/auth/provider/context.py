"""What the provider's endpoints share, and how each of them runs its one transaction."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from argon2 import PasswordHasher
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from isthmus.auth.addresses import networks
from isthmus.auth.provider import store
from isthmus.auth.provider.jwts import Minter
from isthmus.auth.provider.keys import LEAD, SigningKeys
from isthmus.auth.provider.pages import Pages
from isthmus.auth.provider.passwords import Passwords
from isthmus.auth.provider.server import Parts, Server
from isthmus.auth.provider.users import login_key
from isthmus.domain.clock import Clock
from isthmus.integrations.secrets.opening import opened_master_key
from isthmus.integrations.secrets.person_keys import PersonKeys
from isthmus.runtime.rate_limits import RateLimits
from isthmus.settings import Settings

_T = TypeVar("_T")
_POOL = 8


class Provider:
    def __init__(
        self,
        settings: Settings,
        database_url: str,
        redis_url: str,
        issuer_url: str,
        clock: Clock,
        hasher: PasswordHasher | None,
    ) -> None:
        master = opened_master_key(settings, database_url)
        access_life = timedelta(minutes=settings.issuer.access_token_minutes)
        self.issuer = issuer_url.rstrip("/")
        self.clock = clock
        self.engine = _engine(settings, database_url)
        self.parts = Parts(Minter(self.issuer, settings.issuer.audience, access_life), SigningKeys(master, access_life))
        self.pages = Pages(self.issuer, master.derive("provider csrf"))
        self._redis = Redis.from_url(redis_url, socket_timeout=settings.redis.timeout_s, max_connections=8)
        self.proxies = networks(settings.api.trusted_proxies)
        self.passwords = Passwords(
            self.engine,
            login_key(master),
            settings.issuer.login_attempts_per_minute,
            RateLimits(self._redis),
            hasher,
        )
        self.person_keys = PersonKeys(master)

    async def run(self, work: Callable[[Server], _T]) -> _T:
        """All of `work` in one transaction. authlib's core is synchronous: it waits for the database on a greenlet of its own."""
        async with self.engine.begin() as connection:
            return await connection.run_sync(lambda sync: work(Server(self.parts, sync, self.clock.now())))

    async def rotate_keys(self, lead: timedelta = LEAD) -> str:
        """A new signing key, published now, that signs after `lead`; zero for a key that leaked. Returns its kid."""
        return await self.run(lambda server: self.parts.keys.rotate(server.connection, server.now, lead))

    async def keep(self) -> None:
        """What is due: forget what has expired, rotate the signing key."""

        def work(server: Server) -> None:
            store.sweep(server.connection, server.now)
            self.parts.keys.rotate_if_due(server.connection, server.now)

        await self.run(work)

    async def open_texts(self, *sealed: str) -> list[str | None]:
        """Personal texts; None for a person whose key was destroyed."""
        async with self.engine.connect() as connection:
            raw = await connection.get_raw_connection()
            return await self.person_keys.open_many(raw.driver_connection, sealed)

    async def close(self) -> None:
        await self.engine.dispose()
        await self._redis.aclose()


def _engine(settings: Settings, database_url: str) -> AsyncEngine:
    _, rest = database_url.split("://", 1)
    limits = {
        "application_name": "isthmus-provider",
        "statement_timeout": str(settings.database.statement_timeout_ms),
        "lock_timeout": str(settings.database.lock_timeout_ms),
        "idle_in_transaction_session_timeout": str(settings.database.idle_in_transaction_timeout_ms),
    }
    return create_async_engine(
        f"postgresql+asyncpg://{rest}",
        pool_size=_POOL,
        max_overflow=0,
        pool_timeout=5,
        pool_pre_ping=True,
        hide_parameters=True,  # an error must not print what was looked up
        connect_args={"server_settings": limits, "timeout": 5},
    )
