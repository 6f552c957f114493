"""Rows C5 (the browser's half), C11 and C12: cookies, forged forms, headers, guessing, and what is kept and logged."""

from __future__ import annotations

import asyncio
import html
from datetime import timedelta
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher

from isthmus.auth.addresses import network_of
from isthmus.auth.provider.asgi import create_provider_app
from isthmus.auth.provider.users import DEMO_PASSWORD
from isthmus.settings import load_settings
from tests.auth.provider_kit import (
    ADA,
    CHEAP,
    ISSUER,
    WEB,
    WEB_AFTER,
    WEB_REDIRECT,
    Kit,
    provider,
    redirected,
    submit,
)

GRACE = "grace@example.com"
COOKIE = "isthmus_session"


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_signing_in_changes_the_cookie_and_ends_the_session_before(kit: Kit) -> None:
    """No fixation: what an attacker planted stands for nothing afterwards."""
    web: dict[str, Any] = {"client_id": WEB, "redirect_uri": WEB_REDIRECT, "prompt": None}
    planted = "A" * 43
    kit.http.cookies.set(COOKIE, planted, domain="127.0.0.1")
    response = await kit.sign_in(**web)
    first = response.cookies[COOKIE]
    assert first != planted
    await kit.sign_in(**web | {"prompt": "login"})
    for old in (planted, first):
        async with kit.another_browser() as thief:
            thief.cookies.set(COOKIE, old, domain="127.0.0.1")
            assert (await thief.get("/authorize", params=kit.asking(**web))).status_code == 200, "has to sign in"


async def test_cookies_over_http_and_over_https(kit: Kit) -> None:
    plain = (await kit.authorize()).headers["set-cookie"]
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(plain.split("; "))
    assert "Secure" not in plain
    assert "Domain" not in plain
    async with provider(
        kit.app_url, kit.admin_url, kit.data_dir, redis_url=kit.redis_url, issuer="https://id.example.test"
    ) as secure:
        for response in (await secure.authorize(), await secure.sign_in()):
            cookie = response.headers["set-cookie"]
            assert cookie.startswith("__Host-isthmus_session=")
            assert {"HttpOnly", "SameSite=lax", "Path=/", "Secure"} <= set(cookie.split("; "))
            assert "Domain" not in cookie
            assert response.headers["strict-transport-security"]
        assert redirected(response)["iss"] == "https://id.example.test"


async def test_every_page_has_the_headers_and_no_script(kit: Kit) -> None:
    pages = [
        await kit.authorize(), await kit.authorize(client_id="nobody"), await kit.http.get("/logout"),
        await kit.http.get("/nowhere"), await kit.http.post("/sign-in", data={}), await kit.http.get("/token"),
    ]  # fmt: skip
    for page in pages:
        policy = page.headers["content-security-policy"]
        assert policy.startswith(
            "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
        )
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["x-content-type-options"] == "nosniff"
        assert page.headers["x-frame-options"] == "DENY"
        assert "<script" not in page.text
        assert " style=" not in page.text
    assert pages[0].headers["content-security-policy"].endswith("form-action 'self' http://127.0.0.1:43211")


@pytest.mark.parametrize("text", ['"><script>alert(1)</script>', "'><img src=x onerror=alert(1)>", "{{7*7}}"])
async def test_what_is_typed_or_sent_is_shown_as_text(kit: Kit, text: str) -> None:
    page = await submit(kit.http, await kit.authorize(), email=text, password="x")
    assert page.status_code == 400
    assert f'value="{html.escape(text)}"' in page.text.replace("&#34;", "&quot;").replace("&#39;", "&#x27;")
    for response in (await kit.authorize(login_hint=text), await kit.authorize(state=text, prompt="login")):
        assert "<script" not in response.text
        assert "<img" not in response.text


FORGED: list[Any] = [
    pytest.param({}, {}, id="none"),
    pytest.param({"csrf": ""}, {}, id="empty"),
    pytest.param({"csrf": "0" * 64}, {}, id="guess"),
    pytest.param({"csrf": "é"}, {}, id="no ASCII"),
    pytest.param(None, {}, id="another browser's"),
    pytest.param({"right": "yes"}, {"Origin": "https://evil.test"}, id="another origin"),
    pytest.param({"right": "yes"}, {"Origin": "null"}, id="origin null"),
    pytest.param({"right": "yes"}, {"Cookie": ""}, id="no cookie"),
]


@pytest.mark.parametrize(("forged", "headers"), FORGED)
@pytest.mark.parametrize("path", ["/sign-in", "/continue", "/logout"])
async def test_a_forged_form_does_nothing(
    kit: Kit, path: str, forged: dict[str, str] | None, headers: dict[str, str]
) -> None:
    await kit.code()
    cookie = kit.http.cookies[COOKIE]
    async with kit.another_browser() as other:
        foreign = kit.provider.pages.csrf((await other.get("/logout")).cookies[COOKIE])
    token = (
        {"csrf": foreign}
        if forged is None
        else {"csrf": kit.provider.pages.csrf(cookie)}
        if "right" in forged
        else forged
    )
    form = {"email": GRACE, "password": DEMO_PASSWORD, **token}
    before = await kit.state()
    if "Cookie" in headers:
        kit.http.cookies.clear()
    response = await kit.http.post(path, params=kit.asking(), data=form, headers=headers)
    assert response.status_code == (403 if path != "/logout" else 200)
    assert "location" not in response.headers
    assert await kit.state() == before


async def test_a_link_signs_nobody_out(kit: Kit) -> None:
    token = await kit.tokens()
    before = await kit.state()
    page = await kit.http.get("/logout", params={"id_token_hint": token["id_token"]})
    assert "Sign out" in page.text
    assert await kit.state() == before
    done = await submit(kit.http, page)
    assert "You are signed out" in done.text
    assert (await kit.userinfo(token["access_token"])).status_code == 401


@pytest.mark.parametrize(
    ("asked", "goes"),
    [
        ({"client_id": WEB, "post_logout_redirect_uri": WEB_AFTER, "state": "s&t"}, WEB_AFTER + "?state=s%26t"),
        ({"post_logout_redirect_uri": WEB_AFTER}, None),
        ({"client_id": WEB, "post_logout_redirect_uri": WEB_AFTER + "/x"}, None),
        ({"client_id": WEB, "post_logout_redirect_uri": WEB_REDIRECT}, None),
        ({"client_id": "isthmus-cli", "post_logout_redirect_uri": WEB_AFTER}, None),
        ({"client_id": "nobody\0", "post_logout_redirect_uri": "https://evil.test"}, None),
        ({"id_token_hint": "forged", "post_logout_redirect_uri": WEB_AFTER}, None),
    ],
)
async def test_signing_out_leads_only_to_a_registered_address(
    kit: Kit, asked: dict[str, str], goes: str | None
) -> None:
    await kit.code()
    response = await submit(kit.http, await kit.http.get("/logout", params=asked))
    assert response.headers.get("location") == goes
    response = await kit.http.get("/logout", params=asked)
    assert response.headers.get("location") == goes, "and so when nobody is signed in"


async def test_wrong_password_and_unknown_user_look_the_same(kit: Kit) -> None:
    pages = []
    for email, password in ((ADA, "wrong"), ("nobody@example.com", "wrong"), (ADA, ""), ("", "")):
        async with kit.another_browser() as browser:
            browser.cookies.set(COOKIE, "A" * 43, domain="127.0.0.1")
            response = await kit.sign_in(email, password, http=browser)
            shown = response.text.replace(f'value="{email}"', "")
            pages.append((response.status_code, shown, dict(response.headers) | {"content-length": ""}))
    assert all(page == pages[0] for page in pages)
    assert pages[0][0] == 400
    assert "location" not in pages[0][2]


async def test_an_unknown_user_costs_a_whole_verification_too(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    verified: list[str] = []
    whole = PasswordHasher.verify

    def verify(self: PasswordHasher, hash: str, password: str) -> bool:
        verified.append(hash.rsplit("$", 2)[0])
        return bool(whole(self, hash, password))

    monkeypatch.setattr(PasswordHasher, "verify", verify)
    for email in (ADA, "nobody@example.com"):
        await kit.sign_in(email, "wrong")
    assert len(verified) == 2
    assert len(set(verified)) == 1, "with the same parameters"


async def test_failures_are_limited_per_account_from_everywhere(shared: Kit) -> None:
    async with provider(
        shared.app_url, shared.admin_url, shared.data_dir, redis_url=shared.redis_url, attempts=3
    ) as kit:
        answers = {}
        for email in (ADA, "nobody@example.com"):
            answers[email] = [await _try(kit, f"10.0.{number}.{len(email)}", email) for number in range(5)]
            assert [response.status_code for response in answers[email]] == [400, 400, 400, 429, 429]
            assert 1 <= int(answers[email][-1].headers["retry-after"]) <= 60
        right = await _try(kit, "10.9.9.9", ADA, DEMO_PASSWORD)
        assert right.status_code == 429, "the right password tells nobody that it is right"
        assert (await _try(kit, "10.9.9.9", GRACE, DEMO_PASSWORD)).status_code == 303


async def test_failures_are_limited_per_address_over_all_accounts(shared: Kit) -> None:
    async with provider(
        shared.app_url, shared.admin_url, shared.data_dir, redis_url=shared.redis_url, attempts=3
    ) as kit:
        tried = [await _try(kit, "10.0.0.1", f"user{number}@example.com") for number in range(5)]
        assert [response.status_code for response in tried] == [400, 400, 400, 429, 429]
        assert (await _try(kit, "10.0.0.1", GRACE, DEMO_PASSWORD)).status_code == 429
        assert (await _try(kit, "10.0.0.2", GRACE, DEMO_PASSWORD)).status_code == 303


async def test_a_burst_gets_no_more_tries_and_success_is_not_counted(shared: Kit) -> None:
    async with provider(
        shared.app_url, shared.admin_url, shared.data_dir, redis_url=shared.redis_url, attempts=3
    ) as kit:
        for _ in range(5):
            assert (await _try(kit, "10.0.0.1", ADA, DEMO_PASSWORD)).status_code == 303
        burst = await asyncio.gather(*(_try(kit, f"10.0.1.{number}", ADA) for number in range(8)))
        assert sorted(response.status_code for response in burst) == [400] * 3 + [429] * 5


async def test_without_redis_no_password_is_tried(shared: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Failures could not be counted for all processes: refused, the right password too, and told to come again."""
    tried: list[str] = []
    monkeypatch.setattr(PasswordHasher, "verify", lambda *_: tried.append("a password"))
    app = create_provider_app(
        load_settings(data_dir=shared.data_dir),
        database_url=shared.app_url,
        redis_url="redis://127.0.0.1:1",
        issuer_url=ISSUER,
        clock=shared.clock,
        hasher=CHEAP,
    )
    transport = httpx.ASGITransport(app, client=("10.0.7.7", 50_000))
    async with httpx.AsyncClient(transport=transport, base_url=ISSUER) as http:
        refused = await shared.sign_in(http=http)
    await app.state.provider.close()

    assert (refused.status_code, refused.headers["retry-after"], tried) == (503, "5", [])
    assert "Signing in is not possible right now" in refused.text


async def _try(kit: Kit, address: str, email: str, password: str = "wrong") -> httpx.Response:
    async with kit.another_browser(address) as browser:
        return await kit.sign_in(email, password, http=browser)


async def test_an_address_of_ipv6_counts_by_its_network() -> None:
    assert network_of("2001:db8:1:2::1") == network_of("2001:db8:1:2:ffff::9") != network_of("2001:db8:1:3::1")
    assert network_of("::ffff:10.0.0.1") == network_of("10.0.0.1") == "10.0.0.1"
    assert network_of(None) == network_of("testclient") == "unknown"


async def test_forms_are_bounded(kit: Kit) -> None:
    kind = {"content-type": "application/x-www-form-urlencoded"}
    assert (await kit.http.post("/token", content=b"a" * 20_000, headers=kind)).status_code == 413
    assert (await kit.http.post("/token", content=b"&".join([b"a=b"] * 100), headers=kind)).status_code == 400
    assert (await kit.http.post("/token", content=b"\xff", headers=kind)).status_code == 400
    assert (await kit.http.post("/token", json={"grant_type": "authorization_code"})).status_code == 415
    assert (await kit.http.get("/authorize?" + "a" * 20_000)).status_code == 414


async def test_a_session_ends_by_itself(kit: Kit) -> None:
    await kit.code()
    kit.clock.advance(timedelta(hours=8))
    assert "Sign in" in (await kit.authorize(prompt=None)).text
    await kit.provider.keep()
    assert not await kit.rows("select from provider.sessions where expires_at <= $1", kit.clock.now())


async def test_who_did_nothing_for_five_minutes_does_not_come_back_by_a_button(kit: Kit) -> None:
    """The session at the app is over then; whoever sits at that browser later is not let in on the strength of it."""
    web: dict[str, Any] = {"client_id": WEB, "redirect_uri": WEB_REDIRECT}
    await kit.sign_in(**web)
    assert "code" in redirected(await kit.authorize(**web, prompt=None))
    kit.clock.advance(timedelta(minutes=5, seconds=1))
    for more in ({}, {"max_age": "28800"}):
        assert redirected(await kit.authorize(**web, prompt="none", **more))["error"] == "login_required"
        assert "Sign in" in (await kit.authorize(prompt=None, **more)).text, "the app on this machine, too"
