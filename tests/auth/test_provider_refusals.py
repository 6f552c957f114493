"""Rows C1 to C4: what the provider must refuse, each without a trace in the database unless the row asks for one."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from isthmus.auth.pkce import challenge_of, new_verifier
from isthmus.auth.provider.clients import register_client
from tests.auth.provider_kit import CLI, ISSUER, LOOPBACK, WEB, WEB_REDIRECT, Kit, redirected

pytestmark = pytest.mark.asyncio(loop_scope="module")

VERIFIER = new_verifier()


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        pytest.param({"code_challenge": None, "code_challenge_method": None}, "invalid_request", id="C1 none"),
        pytest.param({"code_challenge": None}, "invalid_request", id="C1 method only"),
        pytest.param({"code_challenge_method": None}, "invalid_request", id="C1 plain by default"),
        pytest.param({"code_challenge_method": "plain"}, "invalid_request", id="C1 plain"),
        pytest.param({"code_challenge_method": "s256"}, "invalid_request", id="C1 other case"),
        pytest.param({"code_challenge": "a" * 42}, "invalid_request", id="C1 challenge too short"),
        pytest.param({"code_challenge": "a" * 44}, "invalid_request", id="C1 challenge too long"),
        pytest.param({"code_challenge": "a" * 42 + "="}, "invalid_request", id="C1 challenge padded"),
        pytest.param({"response_type": "token"}, "unsupported_response_type", id="implicit"),
        pytest.param({"response_type": "code id_token"}, "unsupported_response_type", id="hybrid"),
        pytest.param({"response_type": None}, "unsupported_response_type", id="no response type"),
        pytest.param({"scope": None}, "invalid_scope", id="no scope"),
        pytest.param({"scope": "openid everything"}, "invalid_scope", id="unknown scope"),
        pytest.param({"prompt": "none"}, "login_required", id="prompt none"),
        pytest.param({"prompt": "none", "scope": "read"}, "login_required", id="prompt none without openid"),
        pytest.param({"prompt": "none login"}, "invalid_request", id="prompt none and another"),
        pytest.param({"request": "eyJ"}, "request_not_supported", id="request object"),
        pytest.param({"request_uri": "https://x.test"}, "request_uri_not_supported", id="request by reference"),
        pytest.param({"response_mode": "fragment"}, "invalid_request", id="response mode"),
        pytest.param({"max_age": "soon"}, "invalid_request", id="max_age"),
    ],
)
async def test_a_refusal_goes_to_the_verified_address_with_state_and_issuer(
    kit: Kit, changed: dict[str, str | None], error: str
) -> None:
    """RFC 6749, 4.1.2.1; C4: RFC 9207, 2 wants `iss` on error answers too."""
    before = await kit.state()
    response = await kit.authorize(**changed)
    assert response.status_code == 303
    assert response.headers["location"].startswith(LOOPBACK + "?")
    answer = redirected(response)
    assert (answer["error"], answer["state"], answer["iss"]) == (error, "the state", ISSUER)
    assert "code" not in answer
    assert await kit.state() == before


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"redirect_uri": uri}, id=f"C3 {why}")
        for why, uri in {
            "missing": None,
            "empty": "",
            "prefix": LOOPBACK + "/more",
            "shorter": LOOPBACK[:-1],
            "suffix of host": "http://127.0.0.1.evil.test:43211/callback",
            "dots": "http://127.0.0.1:43211/x/../callback",
            "encoded dots": "http://127.0.0.1:43211/%2e/callback",
            "userinfo": "http://127.0.0.1:43211@evil.test/callback",
            "userinfo before": "http://user@127.0.0.1:43211/callback",
            "port 0": "http://127.0.0.1:0/callback",
            "port too high": "http://127.0.0.1:65536/callback",
            "port with zeros": "http://127.0.0.1:0043211/callback",
            "port in other digits": "http://127.0.0.1:٤٣٢/callback",
            "no port number": "http://127.0.0.1:/callback",
            "case of path": "http://127.0.0.1:43211/Callback",
            "case of scheme": "HTTP://127.0.0.1:43211/callback",
            "https": "https://127.0.0.1:43211/callback",
            "localhost": "http://localhost:43211/callback",
            "ipv6": "http://[::1]:43211/callback",
            "other loopback": "http://127.0.0.2:43211/callback",
            "short loopback": "http://127.1:43211/callback",
            "fragment": LOOPBACK + "#x",
            "query": LOOPBACK + "?next=https://evil.test",
            "backslash": "http://127.0.0.1:43211\\@evil.test/callback",
            "line break": LOOPBACK + "\r\nSet-Cookie: a=b",
            "newline at the end": LOOPBACK + "\n",
            "blank": LOOPBACK + " ",
            "quote": LOOPBACK + '"',
            "script": "javascript:alert(1)//127.0.0.1/callback",
            "another client's": WEB_REDIRECT,
        }.items()
    ]
    + [
        pytest.param({"client_id": WEB, "redirect_uri": uri}, id=f"C3 web {why}")
        for why, uri in {
            "port": "https://app.example.test:8443/callback",
            "usual port": "https://app.example.test:443/callback",
            "http": "http://app.example.test/callback",
            "case of host": "https://APP.example.test/callback",
            "subdomain": "https://x.app.example.test/callback",
            "slash": WEB_REDIRECT + "/",
            "query": WEB_REDIRECT + "?x",
            "native app's": LOOPBACK,
        }.items()
    ]
    + [
        pytest.param({"client_id": None}, id="no client"),
        pytest.param({"client_id": "nobody"}, id="unknown client"),
        pytest.param({"client_id": "isthmus-cli\0"}, id="NUL"),
        pytest.param({"client_id": "ISTHMUS-CLI"}, id="case of client"),
        pytest.param({"client_id": "' or true--"}, id="SQL"),
        pytest.param({"client_id": "isthmus-playground"}, id="nothing registered"),
        pytest.param({"client_id": "nobody", "response_type": "token"}, id="unknown client, other type"),
        pytest.param({"redirect_uri": "https://evil.test", "response_type": "token"}, id="other type, other address"),
        pytest.param({"redirect_uri": "https://evil.test", "code_challenge": None}, id="no PKCE, other address"),
        pytest.param({"redirect_uri": "https://evil.test", "prompt": "none"}, id="prompt none, other address"),
        pytest.param({"state": "x\r\nLocation: https://evil.test"}, id="line break in state"),
        pytest.param({"nonce": "x" * 3_000}, id="too long"),
    ],
)
async def test_nobody_is_sent_to_an_address_that_is_not_verified(kit: Kit, changed: dict[str, str | None]) -> None:
    before = await kit.state()
    response = await kit.authorize(**changed)
    assert response.status_code == 400
    assert "location" not in response.headers
    assert "evil" not in response.text
    assert await kit.state() == before


@pytest.mark.parametrize("name", ["client_id", "redirect_uri", "state", "scope", "code_challenge", "nonce"])
async def test_a_parameter_that_is_there_twice_is_refused(kit: Kit, name: str) -> None:
    asking = kit.asking()
    response = await kit.http.get("/authorize", params=[*asking.items(), (name, asking[name])])
    assert response.status_code == 400
    response = await kit.http.post(
        "/token",
        content=b"grant_type=authorization_code&code=a&code=b",
        headers={"content-type": "application/x-www-form-urlencoded"},
    )
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        pytest.param({"code_verifier": None}, "invalid_request", id="C1 no verifier"),
        pytest.param({"code_verifier": ""}, "invalid_request", id="C1 empty verifier"),
        pytest.param({"code_verifier": new_verifier()}, "invalid_grant", id="C1 wrong verifier"),
        pytest.param({"code_verifier": challenge_of(VERIFIER)}, "invalid_grant", id="C1 the challenge as verifier"),
        pytest.param({"code_verifier": "a" * 42}, "invalid_request", id="C1 42 characters"),
        pytest.param({"code_verifier": "a" * 129}, "invalid_request", id="C1 129 characters"),
        pytest.param({"code_verifier": VERIFIER + "\n"}, "invalid_request", id="C1 line break"),
        pytest.param({"code_verifier": "é" * 43}, "invalid_request", id="C1 no ASCII"),
        pytest.param({"code": None}, "invalid_request", id="no code"),
        pytest.param({"code": "guess"}, "invalid_grant", id="unknown code"),
        pytest.param({"code": "x\0"}, "invalid_request", id="NUL"),
        pytest.param({"client_id": WEB, "redirect_uri": LOOPBACK}, "invalid_grant", id="C2 another client"),
        pytest.param({"client_id": None}, "invalid_client", id="no client"),
        pytest.param({"client_id": "nobody"}, "invalid_client", id="unknown client"),
        pytest.param({"client_secret": "guess"}, "invalid_client", id="a secret of a public client"),
        pytest.param({"redirect_uri": None}, "invalid_grant", id="C2 no redirect address"),
        pytest.param({"redirect_uri": LOOPBACK.replace("43211", "43212")}, "invalid_grant", id="C2 other port"),
        pytest.param({"redirect_uri": WEB_REDIRECT}, "invalid_grant", id="C2 other redirect address"),
        pytest.param({"grant_type": "password"}, "unsupported_grant_type", id="password grant"),
        pytest.param({"grant_type": 'né"\\'}, "invalid_request", id="garbled grant"),
        pytest.param({"grant_type": "client_credentials"}, "unsupported_grant_type", id="client credentials"),
        pytest.param({"grant_type": None}, "unsupported_grant_type", id="no grant"),
    ],
)
async def test_the_token_endpoint_refuses_and_the_code_is_still_good(
    kit: Kit, changed: dict[str, str | None], error: str
) -> None:
    kit.verifier = VERIFIER
    code = await kit.code()
    before = await kit.state()
    response = await kit.exchange(code, **changed)
    assert (response.status_code, response.json()["error"]) == (400, error)
    assert response.headers["cache-control"] == "no-store"
    assert not {"access_token", "refresh_token", "id_token"} & set(response.json())
    assert await kit.state() == before
    assert (await kit.exchange(code)).status_code == 200


async def test_a_code_lives_60_seconds(kit: Kit) -> None:
    code, late = await kit.code(), await kit.code()
    kit.clock.advance(timedelta(seconds=59))
    assert (await kit.exchange(code)).status_code == 200
    kit.clock.advance(timedelta(seconds=1))
    assert (await kit.exchange(late)).json()["error"] == "invalid_grant"


async def test_a_code_used_twice_takes_the_first_ones_tokens_with_it(kit: Kit) -> None:
    code = await kit.code()
    tokens = (await kit.exchange(code)).json()
    assert (await kit.userinfo(tokens["access_token"])).status_code == 200
    assert (await kit.exchange(code, client_id=WEB)).json()["error"] == "invalid_grant"
    assert (await kit.userinfo(tokens["access_token"])).status_code == 200, "another client's guess ends nothing"
    assert (await kit.exchange(code)).json()["error"] == "invalid_grant"
    assert (await kit.userinfo(tokens["access_token"])).status_code == 401
    assert (await kit.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"


async def test_a_code_used_many_times_at_once_works_once_and_then_not_at_all(kit: Kit) -> None:
    code = await kit.code()
    responses = await asyncio.gather(*(kit.exchange(code) for _ in range(6)))
    (won,) = [response.json() for response in responses if response.status_code == 200]
    assert [response.json()["error"] for response in responses if response.status_code != 200] == ["invalid_grant"] * 5
    assert (await kit.refresh(won["refresh_token"])).json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    "uri",
    [
        "http://app.example.test/",
        "https://*.example.test/",
        "https://app.example.test/#x",
        "https://user@app.example.test/",
        "https://app.example.test/../x",
        "https://app.example.test/ x",
        "https:///x",
        "app:/callback",
        "javascript:alert(1)",
    ],
)
async def test_such_an_address_cannot_be_registered(kit: Kit, uri: str) -> None:
    before = await kit.state()
    with pytest.raises(ValueError):
        await register_client(kit.admin, CLI, [uri])
    assert await kit.state() == before
