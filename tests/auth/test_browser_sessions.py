"""Sessions of browsers: tokens renewed once however many ask, ended when the issuer says so, and useless to whoever reads the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio
from redis.asyncio import Redis
from starlette.requests import HTTPConnection
from starlette.responses import Response

from isthmus.auth.browser_sessions import BrowserSessions, _Kept
from isthmus.auth.caller import Caller
from isthmus.auth.issuer_keys import IssuerUnavailable
from isthmus.auth.provider.clients import register_client
from isthmus.auth.session_store import RedisSessions
from isthmus.auth.sites import Site
from isthmus.auth.tokens import TokenVerifier
from isthmus.graphql.cookies import PROOF, caller_by_cookie, is_proven, set_session_cookie
from isthmus.integrations.secrets.file_master_key import FileMasterKey
from isthmus.runtime.servers import EmbeddedServers
from isthmus.settings import load_settings
from tests.auth.provider_kit import ADA, ISSUER, Kit, on_its_own_database, redirected, submit

pytestmark = pytest.mark.asyncio(loop_scope="module")
SITE = Site("http://127.0.0.1:8000", ISSUER, "isthmus-playground")


class Counted(httpx.AsyncBaseTransport):
    """The issuer as the API reaches it: what was asked of it is counted, and it may be away."""

    def __init__(self, app: Any) -> None:
        self._inner = httpx.ASGITransport(app)
        self.asked: list[str] = []
        self.away = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path)
        if self.away:
            raise httpx.ConnectError("away", request=request)
        return await self._inner.handle_async_request(request)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kit(servers: EmbeddedServers, template: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Kit]:
    async with on_its_own_database(servers, template, tmp_path_factory.mktemp("provider")) as kit:
        await register_client(
            kit.admin, SITE.client_id, [SITE.redirect_uri], post_logout_redirect_uris=[SITE.signed_out_uri]
        )
        yield kit


@pytest_asyncio.fixture(loop_scope="module")
async def issuer(kit: Kit) -> Counted:
    return Counted(kit.app)


@pytest_asyncio.fixture(loop_scope="module")
async def redis(servers: EmbeddedServers) -> AsyncIterator[Redis]:
    client: Redis = Redis.from_url(servers.redis_url)
    yield client
    await client.aclose()


@pytest_asyncio.fixture(loop_scope="module")
async def sessions(kit: Kit, issuer: Counted, redis: Redis, tmp_path: Path) -> AsyncIterator[BrowserSessions]:
    settings = load_settings(data_dir=tmp_path)
    async with httpx.AsyncClient(transport=issuer) as http:
        verifier = TokenVerifier(settings.issuer, ISSUER, kit.clock, http)
        await verifier.start()
        master = FileMasterKey.load_or_create(settings.master_key_file)
        yield BrowserSessions(SITE, RedisSessions(redis), master, kit.clock, verifier, http)
        await verifier.aclose()


async def signed_in(kit: Kit, sessions: BrowserSessions) -> str:
    kit.http.cookies.clear()
    begun = await sessions.begin()
    parts = urlsplit(begun.location)
    page = await kit.http.get(f"{parts.path}?{parts.query}")
    back = await submit(kit.http, page, email=ADA, password="isthmus-demo")
    return await sessions.finish(begun.cookie, redirected(back))


async def by_cookie(sessions: BrowserSessions, cookie: str, scope: dict[str, Any]) -> Caller | None:
    ours = [
        (b"host", b"127.0.0.1:8000"),
        (b"origin", SITE.origin.encode()),
        (PROOF.lower().encode(), b"1"),
        (b"cookie", f"isthmus_page={cookie}".encode()),
    ]
    return await caller_by_cookie(HTTPConnection(scope | {"headers": [*ours, *scope.get("headers", [])]}), sessions)


async def test_many_at_once_renew_the_tokens_once(kit: Kit, sessions: BrowserSessions, issuer: Counted) -> None:
    cookie = await signed_in(kit, sessions)
    before = await sessions.caller(cookie)
    kit.clock.advance(timedelta(minutes=9, seconds=30))
    issuer.asked.clear()

    callers = await asyncio.gather(*(sessions.caller(cookie) for _ in range(20)))

    assert before is not None
    assert {caller.person_id for caller in callers if caller} == {before.person_id}
    assert all(caller is not None and caller.expires_at > before.expires_at for caller in callers)
    assert issuer.asked.count("/token") == 1


async def test_a_sign_in_that_the_issuer_ended_is_over_here_too(kit: Kit, sessions: BrowserSessions) -> None:
    cookie = await signed_in(kit, sessions)
    await kit.admin.execute(
        "update provider.families set revoked_at = now(), revoked_because = 'revoked' where revoked_at is null"
    )
    kit.clock.advance(timedelta(minutes=9, seconds=30))

    assert await sessions.caller(cookie) is None
    assert await sessions.caller(cookie) is None


async def test_without_the_issuer_a_session_lasts_as_long_as_its_token(
    kit: Kit, sessions: BrowserSessions, issuer: Counted
) -> None:
    cookie = await signed_in(kit, sessions)
    issuer.away = True
    kit.clock.advance(timedelta(minutes=9, seconds=30))
    assert await sessions.caller(cookie) is not None

    kit.clock.advance(timedelta(minutes=1))
    with pytest.raises(IssuerUnavailable):
        await sessions.caller(cookie)
    issuer.away = False
    assert await sessions.caller(cookie) is not None


async def test_signing_out_takes_the_refresh_token_back(kit: Kit, sessions: BrowserSessions, issuer: Counted) -> None:
    kit.clock.advance(timedelta(seconds=1))
    cookie = await signed_in(kit, sessions)

    target = await sessions.end(cookie)

    assert target.startswith(f"{ISSUER}/logout?")
    assert "/revoke" in issuer.asked
    assert await sessions.caller(cookie) is None
    last = "select revoked_because from provider.families f join provider.refresh_tokens t using (family) order by t.issued_at desc limit 1"
    assert [row["revoked_because"] for row in await kit.rows(last)] == ["revoked"]


async def test_a_session_that_was_moved_or_changed_in_the_store_opens_for_nobody(
    kit: Kit, sessions: BrowserSessions, redis: Redis
) -> None:
    cookie = await signed_in(kit, sessions)
    store: Any = redis
    (mine,) = [
        key for key in [key async for key in store.scan_iter("isthmus:session:*")] if await _opens(sessions, key)
    ]
    sealed = await store.get(mine)
    await store.set(mine, sealed[:-1] + bytes([sealed[-1] ^ 1]), keepttl=True)
    assert await sessions.caller(cookie) is None

    other = await signed_in(kit, sessions)
    (theirs,) = [
        key for key in [key async for key in store.scan_iter("isthmus:session:*")] if await _opens(sessions, key)
    ]
    await store.set(mine, await store.get(theirs))
    assert await sessions.caller(cookie) is None
    assert await sessions.caller(other) is not None


async def test_a_session_in_which_nothing_is_done_for_five_minutes_is_over_and_use_keeps_it(
    kit: Kit, sessions: BrowserSessions, redis: Redis
) -> None:
    store: Any = redis
    for key in [key async for key in store.scan_iter("isthmus:session-used:*")]:
        await store.delete(key)
    cookie = await signed_in(kit, sessions)
    caller = await sessions.caller(cookie)
    assert caller is not None
    assert caller.session is not None
    (used,) = [key async for key in store.scan_iter("isthmus:session-used:*")]
    assert 0 < await store.ttl(used) <= 300

    await store.expire(used, 10)
    assert await sessions.lasts(caller.session), "whoever only looks on does nothing"
    for kind in ("websocket", "http"):
        assert await by_cookie(sessions, cookie, {"type": kind}) is not None
    assert await store.ttl(used) <= 10, "what is asked for is not known yet: it may be to listen"
    assert await sessions.use(caller.session)
    assert await store.ttl(used) > 10, "use is"

    await store.delete(used)  # as its end does
    assert not await sessions.lasts(caller.session)
    assert await by_cookie(sessions, cookie, {"type": "websocket"}) is None
    assert await sessions.caller(cookie) is None
    assert await sessions.caller(cookie) is None, "for good"


async def test_the_issuer_asks_again_who_was_away_for_longer(kit: Kit, sessions: BrowserSessions) -> None:
    await signed_in(kit, sessions)
    parts = urlsplit((await sessions.begin()).location)
    assert (await kit.http.get(f"{parts.path}?{parts.query}")).status_code in (302, 303), "its own session signs in"

    kit.clock.advance(timedelta(minutes=5, seconds=1))
    page = await kit.http.get(f"{parts.path}?{parts.query}")

    assert page.status_code == 200
    assert "password" in page.text


async def _opens(sessions: BrowserSessions, key: bytes) -> bool:
    return await sessions._vault.find(key.decode(), _Kept) is not None


async def test_a_proof_counts_for_the_name_that_it_was_sent_to_alone(sessions: BrowserSessions) -> None:
    """A page at another name of this machine is another site: also one of ours."""
    address, name = "127.0.0.1:8000", "localhost:8000"
    sessions.also_at(sessions.site.by_name())

    def proven(host: str, origin: str) -> bool:
        headers = [(b"host", host.encode()), (b"origin", origin.encode()), (PROOF.lower().encode(), b"1")]
        handshake = HTTPConnection({"type": "websocket", "headers": headers})
        request = HTTPConnection({"type": "http", "headers": headers})
        site = sessions.at(host).site
        assert is_proven(handshake, site) is is_proven(request, site)
        return is_proven(request, site)

    assert proven(address, f"http://{address}")
    assert proven(name, f"http://{name}")
    for host, origin in ((address, name), (name, address), ("evil.example", "evil.example"), ("localhost:1", name)):
        assert not proven(host, f"http://{origin}"), (host, origin)
    assert sessions.at(name).site.redirect_uri == f"http://{name}/playground/callback"
    assert sessions.at(None).site == sessions.at("evil.example").site == SITE
    assert Site("https://bank.example", ISSUER, "x").by_name().url == "https://bank.example"


async def test_over_https_cookies_are_bound_to_their_host() -> None:
    response = Response()
    set_session_cookie(response, Site("https://api.example.com", "https://id.example.com", "x"), "value")

    line = response.headers["set-cookie"]
    assert line.startswith("__Host-isthmus_page=value;")
    assert all(part in line for part in ("Secure", "HttpOnly", "SameSite=lax", "Path=/"))
    assert "Domain" not in line
