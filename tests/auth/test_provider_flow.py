"""The whole way by real forms: metadata, what is in the tokens, who gets which scope, keys that change."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from isthmus.auth.provider.asgi import create_provider_app
from isthmus.auth.provider.users import DEMO_USERS, ensure_demo_users
from isthmus.settings import load_settings
from tests.auth.provider_kit import (
    ADA,
    CHEAP,
    CLI,
    ISSUER,
    LOOPBACK,
    WEB,
    WEB_REDIRECT,
    Kit,
    Reached,
    provider,
    redirected,
    submit,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def claims_of(kit: Kit, token: str, audience: str) -> dict[str, Any]:
    """Verified with another library than the one that signed."""
    jwks = jwt.PyJWKSet.from_dict((await kit.http.get("/jwks")).json())
    key = jwks[jwt.get_unverified_header(token)["kid"]]
    options: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}  # the clock is the test's
    return jwt.decode(token, key.key, ["ES256"], audience=audience, issuer=ISSUER, options=options)


async def test_metadata_name_every_endpoint_and_only_what_is_supported(kit: Kit) -> None:
    found = (await kit.http.get("/.well-known/openid-configuration")).json()
    assert found == (await kit.http.get("/.well-known/oauth-authorization-server")).json()
    assert found["issuer"] == ISSUER
    assert found["code_challenge_methods_supported"] == ["S256"]
    assert found["response_types_supported"] == ["code"]
    assert found["authorization_response_iss_parameter_supported"] is True
    for name in ("authorization", "token", "userinfo", "revocation", "end_session"):
        path = found[f"{name}_endpoint"].removeprefix(ISSUER)
        assert (await kit.http.request("OPTIONS" if name == "token" else "GET", path)).status_code != 404
    keys = (await kit.http.get("/jwks")).json()["keys"]
    assert [set(key) for key in keys] == [{"kty", "crv", "x", "y", "kid", "use", "alg"}], "public parts only"


async def test_the_whole_way(kit: Kit) -> None:
    response = await kit.sign_in()
    answer = redirected(response)
    assert response.headers["location"].startswith(LOOPBACK)
    assert (answer["state"], answer["iss"], set(answer)) == ("the state", ISSUER, {"code", "state", "iss"})
    kit.clock.advance(timedelta(seconds=30))
    response = await kit.exchange(answer["code"])
    token = response.json()
    assert response.headers["cache-control"] == "no-store"
    assert (token["token_type"], token["expires_in"], token["scope"]) == (
        "Bearer",
        600,
        "openid profile email read write",
    )
    now, ada = int(kit.clock.now().timestamp()), DEMO_USERS[0].subject

    assert jwt.get_unverified_header(token["access_token"])["typ"] == "at+jwt"
    access = await claims_of(kit, token["access_token"], "isthmus-api")
    assert access.pop("jti")
    family = access.pop("sid")
    assert access == {
        "iss": ISSUER, "sub": ada, "aud": "isthmus-api", "iat": now, "nbf": now, "exp": now + 600, "client_id": CLI,
        "scope": "openid profile email read write", "roles": ["customer"], "auth_time": now - 30,
    }  # fmt: skip

    assert jwt.get_unverified_header(token["id_token"])["typ"] == "JWT"
    half = base64.urlsafe_b64encode(hashlib.sha256(token["access_token"].encode()).digest()[:16]).decode().rstrip("=")
    assert await claims_of(kit, token["id_token"], CLI) == {
        "iss": ISSUER, "sub": ada, "aud": CLI, "iat": now, "exp": now + 600, "auth_time": now - 30, "amr": ["pwd"],
        "nonce": "the-nonce", "at_hash": half, "sid": family,
    }  # fmt: skip
    assert (await kit.userinfo(token["access_token"])).json() == {"sub": ada, "name": "Ada Lovelace", "email": ADA}


@pytest.mark.parametrize(
    ("email", "asked", "granted"),
    [
        ("ada@example.com", "openid read write operate audit", "openid read write"),
        ("olga@example.com", "read write operate audit", "read operate"),
        ("alan@example.com", "read write operate audit", "read audit"),
        ("grace@example.com", "read read", "read"),
    ],
)
async def test_scopes_are_those_asked_for_that_the_roles_allow(kit: Kit, email: str, asked: str, granted: str) -> None:
    token = await kit.tokens(email, scope=asked)
    assert token["scope"] == granted
    assert (await claims_of(kit, token["access_token"], "isthmus-api"))["scope"] == granted
    assert ("id_token" in token) == ("openid" in granted)


async def test_who_may_have_nothing_of_it_gets_no_code(kit: Kit) -> None:
    codes = await kit.rows("select from provider.codes")
    assert redirected(await kit.sign_in("alan@example.com", scope="write operate"))["error"] == "access_denied"
    assert await kit.rows("select from provider.codes") == codes


async def test_roles_that_were_taken_away_are_gone_at_the_next_refresh(kit: Kit) -> None:
    token = await kit.tokens("olga@example.com", scope="read operate")
    await kit.rows("update provider.users set roles = '{customer}' where subject = $1", DEMO_USERS[2].subject)
    token = (await kit.refresh(token["refresh_token"])).json()
    await kit.rows("update provider.users set roles = '{operator}' where subject = $1", DEMO_USERS[2].subject)
    assert token["scope"] == "read"
    assert (await claims_of(kit, token["access_token"], "isthmus-api"))["roles"] == ["customer"]


async def test_the_user_can_say_no(kit: Kit) -> None:
    page = await kit.authorize()
    answer = redirected(await submit(kit.http, page, action="cancel"))
    assert (answer["error"], answer["state"], answer["iss"]) == ("access_denied", "the state", ISSUER)


async def test_a_web_app_needs_one_sign_in_and_an_app_on_the_machine_a_yes_each_time(kit: Kit) -> None:
    web: dict[str, Any] = {"client_id": WEB, "redirect_uri": WEB_REDIRECT}
    await kit.sign_in(**web)
    assert "code" in redirected(await kit.authorize(**web))
    assert "code" in redirected(await kit.authorize(**web, prompt="none"))
    assert redirected(await kit.authorize(prompt="none"))["error"] == "consent_required"
    page = await kit.authorize()
    assert page.status_code == 200
    assert "code" in redirected(await submit(kit.http, page))
    assert redirected(await submit(kit.http, page, action="cancel"))["error"] == "access_denied"
    kit.clock.advance(timedelta(minutes=5))
    assert redirected(await kit.authorize(**web, prompt="none", max_age="60"))["error"] == "login_required"
    assert (await kit.authorize(**web, prompt="login")).status_code == 200
    kit.clock.advance(timedelta(hours=8))
    assert redirected(await kit.authorize(**web, prompt="none"))["error"] == "login_required"


async def test_authorize_takes_a_form_too(kit: Kit) -> None:
    page = await kit.http.post("/authorize", data=kit.asking())
    assert "code" in redirected(await submit(kit.http, page, email=ADA, password="isthmus-demo"))


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer x", "Bearer a.b.c", "Basic x", "bearer "])
async def test_userinfo_wants_a_token(kit: Kit, authorization: str) -> None:
    response = await kit.http.get("/userinfo", headers={"Authorization": authorization})
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")


async def test_userinfo_takes_no_id_token_no_expired_one_and_none_without_openid(kit: Kit) -> None:
    token = await kit.tokens()
    assert (await kit.userinfo(token["id_token"])).status_code == 401
    assert (await kit.userinfo((await kit.tokens(scope="read"))["access_token"])).status_code == 403
    kit.clock.advance(timedelta(minutes=10))
    assert (await kit.userinfo(token["access_token"])).status_code == 401


async def test_keys_are_published_before_they_sign_and_until_what_they_signed_has_expired(kit: Kit) -> None:
    await kit.rows("delete from provider.keys")

    async def published() -> list[str]:
        return [key["kid"] for key in (await kit.http.get("/jwks")).json()["keys"]]

    async def signs() -> str:
        return str(jwt.get_unverified_header((await kit.tokens())["access_token"])["kid"])

    first = await signs()
    second = await kit.provider.rotate_keys(timedelta(hours=1))
    assert await published() == [first, second]
    assert await signs() == first
    kit.clock.advance(timedelta(minutes=59, seconds=59))
    last = await kit.tokens()
    kit.clock.advance(timedelta(seconds=1))
    assert await signs() == second
    kit.clock.advance(timedelta(minutes=9, seconds=58))
    assert (await kit.userinfo(last["access_token"])).status_code == 200
    assert await published() == [first, second]
    kit.clock.advance(timedelta(minutes=6))
    assert await published() == [second]
    third = await kit.provider.rotate_keys(timedelta(0))
    assert await signs() == third
    kit.clock.advance(timedelta(days=31))
    await kit.provider.keep()
    assert len(await published()) == 2, "rotated by itself when it was due"


async def test_two_processes_that_start_at_once_agree_on_a_key(kit: Kit) -> None:
    await kit.rows("delete from provider.keys")
    async with provider(kit.app_url, kit.admin_url, kit.data_dir, redis_url=kit.redis_url) as other:
        other.clock.set(kit.clock.now())
        found = await asyncio.gather(*(process.http.get("/jwks") for process in (kit, other, kit, other)))
    assert len({response.text for response in found}) == 1


async def test_demo_users_are_made_once(kit: Kit) -> None:
    before = await kit.state()
    await ensure_demo_users(load_settings(data_dir=kit.data_dir), Reached(kit.app_url), CHEAP)
    assert await kit.state() == before


async def test_a_database_that_is_away_is_said_to_be(tmp_path: Path) -> None:
    url = "postgresql://nobody:secret@127.0.0.1:1/none"
    app = create_provider_app(
        load_settings(data_dir=tmp_path), database_url=url, redis_url="redis://127.0.0.1:1", issuer_url=ISSUER
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ISSUER) as http:
        response = await http.get("/jwks")
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        assert response.json() == {"error": "temporarily_unavailable"}
        assert (await http.get("/.well-known/openid-configuration")).status_code == 200
    await app.state.provider.close()
