"""The whole way on real parts: the command line's sign-in, the embedded provider, and the API's own check of what it gave."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from isthmus.auth.metadata import protected_resource_metadata
from isthmus.auth.provider.users import DEMO_PASSWORD, DEMO_USERS
from isthmus.auth.scopes import Role, Scope, allowed
from isthmus.auth.sign_in import SignInFailed, Tokens, sign_in
from isthmus.auth.tokens import TokenRefused, TokenVerifier
from isthmus.domain.identifiers import person_id
from isthmus.runtime.servers import EmbeddedServers
from isthmus.settings import IssuerSettings, Settings
from tests.auth.provider_kit import ISSUER, Kit, provider
from tests.conftest import Database

API = "http://127.0.0.1:8000"


@pytest.fixture
async def kit(database: Database, servers: EmbeddedServers, tmp_path: Path) -> AsyncIterator[Kit]:
    async with provider(database.url, database.admin_url, tmp_path, redis_url=servers.redis_url) as made:
        yield made


@pytest.fixture
async def http(kit: Kit, settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    metadata = protected_resource_metadata(settings, ISSUER, f"{API}/graphql")

    def api(request: httpx.Request) -> httpx.Response:
        found = request.url.path == "/.well-known/oauth-protected-resource"
        return httpx.Response(200, json=metadata) if found else httpx.Response(404)

    issuer = httpx.ASGITransport(kit.app, client=("127.0.0.1", 50_000))
    async with httpx.AsyncClient(mounts={ISSUER: issuer, API: httpx.MockTransport(api)}) as made:
        yield made


@pytest.fixture
async def verifier(kit: Kit, http: httpx.AsyncClient) -> AsyncIterator[TokenVerifier]:
    made = TokenVerifier(IssuerSettings(), ISSUER, kit.clock, http)
    await made.start()
    yield made
    await made.aclose()


async def _tokens(http: httpx.AsyncClient, email: str, password: str = DEMO_PASSWORD) -> Tokens:
    return await sign_in(f"{API}/graphql", email, password, http=http)


async def test_every_demo_user_gets_what_the_roles_allow(http: httpx.AsyncClient, verifier: TokenVerifier) -> None:
    for user in DEMO_USERS:
        tokens = await _tokens(http, user.email)
        caller = await verifier.verify(tokens.access_token)
        assert caller.person_id == person_id("isthmus", user.subject)
        assert caller.roles == set(user.roles)
        assert caller.scopes == allowed(user.roles)
        assert set(tokens.scope.split()) & set(Scope) == allowed(user.roles), "and the provider says so too"
        assert tokens.refresh_token
        assert user.roles == (Role.CUSTOMER,) or not caller.may(Scope.WRITE)


async def test_its_other_tokens_open_nothing(http: httpx.AsyncClient, verifier: TokenVerifier, kit: Kit) -> None:
    tokens = await _tokens(http, "ada@example.com")
    keycloak_like = TokenVerifier(IssuerSettings(token_types=("JWT",), audience="isthmus-cli"), ISSUER, kit.clock, http)
    await keycloak_like.start()
    for other in (tokens.id_token, tokens.refresh_token):
        assert other is not None
        with pytest.raises(TokenRefused):
            await verifier.verify(other)
        with pytest.raises(TokenRefused):
            await keycloak_like.verify(other)
    await keycloak_like.aclose()


@pytest.mark.parametrize(("email", "password"), [("ada@example.com", "wrong"), ("nobody@example.com", DEMO_PASSWORD)])
async def test_wrong_is_wrong_in_the_same_words(http: httpx.AsyncClient, email: str, password: str) -> None:
    with pytest.raises(SignInFailed, match=r"^the e-mail address or the password is wrong$"):
        await _tokens(http, email, password)
