"""The embedded provider as a browser and an app see it: real forms over HTTP against a real database, with a clock of the test's."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

import asyncpg
import httpx
from argon2 import PasswordHasher
from redis.asyncio import Redis

from isthmus.auth.pkce import challenge_of, new_verifier
from isthmus.auth.provider.asgi import create_provider_app
from isthmus.auth.provider.clients import register_client
from isthmus.auth.provider.context import Provider
from isthmus.auth.provider.users import DEMO_PASSWORD, ensure_demo_users
from isthmus.domain.clock import SettableClock
from isthmus.runtime.servers import EmbeddedServers
from isthmus.settings import load_settings

ISSUER = "http://127.0.0.1:9876"
CLI = "isthmus-cli"
LOOPBACK = "http://127.0.0.1:43211/callback"
WEB = "web"
WEB_REDIRECT = "https://app.example.test/callback"
WEB_AFTER = "https://app.example.test/bye"
ADA = "ada@example.com"
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
TABLES = ("users", "clients", "sessions", "codes", "families", "refresh_tokens")

Query = dict[str, str]


@dataclass(frozen=True)
class Reached:
    database_url: str


@dataclass
class Kit:
    app: Any
    http: httpx.AsyncClient
    clock: SettableClock
    admin: asyncpg.Connection
    verifier: str
    app_url: str
    admin_url: str
    redis_url: str
    data_dir: Path

    @property
    def provider(self) -> Provider:
        found: Provider = self.app.state.provider
        return found

    def another_browser(self, address: str = "127.0.0.1") -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app, client=(address, 50_000)), base_url=self.provider.issuer
        )

    def asking(self, **changed: str | None) -> Query:
        """An authorization request of the command line's; None leaves a parameter out."""
        usual: dict[str, str | None] = {
            "response_type": "code",
            "client_id": CLI,
            "redirect_uri": LOOPBACK,
            "scope": "openid profile email read write",
            "state": "the state",
            "nonce": "the-nonce",
            "code_challenge": challenge_of(self.verifier),
            "code_challenge_method": "S256",
        }
        return {name: value for name, value in (usual | changed).items() if value is not None}

    async def authorize(self, **changed: str | None) -> httpx.Response:
        return await self.http.get("/authorize", params=self.asking(**changed))

    async def sign_in(
        self,
        email: str = ADA,
        password: str = DEMO_PASSWORD,
        *,
        http: httpx.AsyncClient | None = None,
        **changed: Any,
    ) -> httpx.Response:
        """By the page's own form, as a browser sends it."""
        http = http or self.http
        page = await http.get("/authorize", params=self.asking(**({"prompt": "login"} | changed)))
        assert page.status_code == 200, page.text
        return await submit(http, page, email=email, password=password)

    async def code(self, email: str = ADA, **changed: Any) -> str:
        response = await self.sign_in(email, **changed)
        assert response.status_code == 303, response.text
        return redirected(response)["code"]

    async def exchange(self, code: str, /, **changed: str | None) -> httpx.Response:
        usual: dict[str, str | None] = {
            "grant_type": "authorization_code",
            "client_id": CLI,
            "redirect_uri": LOOPBACK,
            "code": code,
            "code_verifier": self.verifier,
        }
        return await self.http.post("/token", data={k: v for k, v in (usual | changed).items() if v is not None})

    async def refresh(self, token: str, **changed: str) -> httpx.Response:
        usual = {"grant_type": "refresh_token", "client_id": CLI, "refresh_token": token}
        return await self.http.post("/token", data=usual | changed)

    async def tokens(self, email: str = ADA, **changed: str | None) -> dict[str, Any]:
        response = await self.exchange(await self.code(email, **changed))
        assert response.status_code == 200, response.text
        return dict(response.json())

    async def userinfo(self, access_token: str) -> httpx.Response:
        return await self.http.get("/userinfo", headers={"Authorization": f"Bearer {access_token}"})

    async def rows(self, statement: str, *values: object) -> list[asyncpg.Record]:
        found: list[asyncpg.Record] = await self.admin.fetch(statement, *values)
        return found

    async def state(self) -> str:
        """Everything that a refusal must leave as it was."""
        parts = [
            f"(select coalesce(string_agg(t::text, '|' order by t::text), '') from provider.{name} t)"
            for name in TABLES
        ]
        return str((await self.rows(f"select concat_ws(E'\\n', {', '.join(parts)})"))[0][0])


async def submit(http: httpx.AsyncClient, page: httpx.Response, **fields: str) -> httpx.Response:
    action = re.search(r'<form method="post" action="([^"]+)">', page.text)
    hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', page.text)
    assert action is not None, page.text
    data = {name: html.unescape(value) for name, value in hidden} | fields
    return await http.post(html.unescape(action[1]), data=data)


def redirected(response: httpx.Response) -> Query:
    """The parameters that went to the app, each of which is there once."""
    pairs = parse_qsl(urlsplit(response.headers["location"]).query, keep_blank_values=True)
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


@asynccontextmanager
async def provider(
    app_url: str, admin_url: str, data_dir: Path, *, redis_url: str, issuer: str = ISSUER, attempts: int = 1_000
) -> AsyncIterator[Kit]:
    """Nobody has failed to sign in before."""
    redis = Redis.from_url(redis_url)
    async for key in redis.scan_iter("isthmus:rate:*"):
        await redis.delete(key)
    await redis.aclose()
    settings = load_settings(data_dir=data_dir, issuer={"login_attempts_per_minute": attempts})
    await ensure_demo_users(settings, Reached(app_url), CHEAP)
    admin = await asyncpg.connect(admin_url)
    await register_client(admin, WEB, [WEB_REDIRECT], post_logout_redirect_uris=[WEB_AFTER])
    clock = SettableClock(datetime(2026, 11, 23, 12, tzinfo=UTC))
    app = create_provider_app(
        settings, database_url=app_url, redis_url=redis_url, issuer_url=issuer, clock=clock, hasher=CHEAP
    )
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 50_000))
    async with httpx.AsyncClient(transport=transport, base_url=issuer) as http:
        yield Kit(app, http, clock, admin, new_verifier(), app_url, admin_url, redis_url, data_dir)
    await app.state.provider.close()
    await admin.close()


@asynccontextmanager
async def on_its_own_database(servers: EmbeddedServers, template: str, data_dir: Path) -> AsyncIterator[Kit]:
    """For a whole module's tests: a database of each test's own would take most of their time."""
    name = f"provider_{uuid4().hex}"
    connection = await asyncpg.connect(servers.admin_url)
    await connection.execute(f"create database {name} template {template} strategy file_copy")
    app_url, admin_url = (f"{url.rsplit('/', 1)[0]}/{name}" for url in (servers.app_url, servers.admin_url))
    async with provider(app_url, admin_url, data_dir, redis_url=servers.redis_url) as kit:
        yield kit
    await connection.execute(f"drop database {name} with (force)")
    await connection.close()
