"""Rows C5 and C11 for our own pages: a sign-in is its browser's, and so is the session that it ends in."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from redis.asyncio import Redis
from starlette.requests import Request
from starlette.responses import Response

from isthmus.auth.browser_sessions import BrowserSessions
from isthmus.auth.relying_party import SignInFailed
from isthmus.auth.sites import Site
from isthmus.graphql.cookies import (
    forget_session_cookie,
    is_proven,
    session_cookie,
    set_session_cookie,
    set_sign_in_cookie,
)
from tests.attacks.count import Row
from tests.auth.provider_kit import ADA, ISSUER, Kit, redirected, submit
from tests.auth.test_browser_sessions import SITE, Counted, issuer, kit, redis, sessions, signed_in

__all__ = ["issuer", "kit", "redis", "sessions"]
pytestmark = pytest.mark.asyncio(loop_scope="module")

PUBLIC = Site("https://bank.example", ISSUER, "isthmus-playground")


def asked(location: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


def bent(text: str) -> dict[str, str | None]:
    """Each place changed, and what else is not the text."""
    changed: dict[str, str | None] = {
        f"place {n}": text[:n] + ("A" if sign != "A" else "B") + text[n + 1 :] for n, sign in enumerate(text)
    }
    digest = hashlib.sha256(text.encode()).hexdigest()
    return changed | {
        "none": None, "empty": "", "longer": text + "A", "shorter": text[:-1], "case": text.swapcase(), "NUL": text + "\0",
        "its digest": digest, "a key of Redis": f"isthmus:session:{digest}", "a pattern": "*", "surrogate": "\ud800",
    }  # fmt: skip


async def answer(kit: Kit, location: str) -> dict[str, str]:
    """What the issuer sends back, once Ada has signed in there."""
    kit.http.cookies.clear()
    parts = urlsplit(location)
    page = await kit.http.get(f"{parts.path}?{parts.query}")
    return redirected(await submit(kit.http, page, email=ADA, password="isthmus-demo"))


async def refused(sessions: BrowserSessions, issuer: Counted, cookie: str | None, told: dict[str, str]) -> None:
    issuer.asked.clear()
    with pytest.raises(SignInFailed):
        await sessions.finish(cookie, told)
    assert "/token" not in issuer.asked, "the code is not even redeemed"


async def test_c5_a_state_in_a_shared_store_is_bound_to_its_browser(
    kit: Kit, sessions: BrowserSessions, issuer: Counted, row: Row
) -> None:
    """CVE-2025-68158: the attacker's answer, brought to somebody else's browser."""
    begun = await sessions.begin()
    told = await answer(kit, begun.location)
    for name, cookie in bent(begun.cookie).items():
        with row.case(("cookie", name)):
            await refused(sessions, issuer, cookie, told)
    for victims in range(5):
        with row.case(("another's sign-in", victims)):
            await refused(sessions, issuer, (await sessions.begin()).cookie, told)
    assert await sessions.finish(begun.cookie, told), "the control: in its own browser it ends well"


def telling(name: str, value: str) -> Callable[[dict[str, str]], dict[str, str]]:
    return lambda told: told | {name: value}


async def test_c5_no_answer_but_the_one_that_was_asked_for(
    kit: Kit, sessions: BrowserSessions, issuer: Counted, row: Row
) -> None:
    bends: dict[str, Callable[[dict[str, str]], dict[str, str]]] = {
        "no state": lambda told: {k: v for k, v in told.items() if k != "state"},
        "no code": lambda told: {k: v for k, v in told.items() if k != "code"},
        "no iss": lambda told: {k: v for k, v in told.items() if k != "iss"},
        "an error": lambda told: {"error": "access_denied", "state": told["state"], "iss": told["iss"]},
    }
    for name, value in bent("x" * 43).items():
        if value is not None:
            bends[f"state {name}"] = telling("state", value)
    for iss in ("https://evil.example", ISSUER + "/", ISSUER.upper(), "", "null"):
        bends[f"iss {iss}"] = telling("iss", iss)
    for name, bend in bends.items():
        with row.case(name):
            begun = await sessions.begin()
            told = {"code": "c0de", "state": asked(begun.location)["state"], "iss": ISSUER}
            await refused(sessions, issuer, begun.cookie, bend(told))
            await refused(sessions, issuer, begun.cookie, told)  # one try each: what was taken is gone


async def test_c5_an_answer_counts_once_however_many_bring_it(kit: Kit, sessions: BrowserSessions, row: Row) -> None:
    for at_once in (2, 8):
        begun = await sessions.begin()
        told = await answer(kit, begun.location)
        ends = await asyncio.gather(
            *(sessions.finish(begun.cookie, told) for _ in range(at_once)), return_exceptions=True
        )
        for number in range(at_once - 1):
            with row.case((at_once, number)):
                assert sum(isinstance(end, SignInFailed) for end in ends) == at_once - 1
        assert sum(isinstance(end, str) for end in ends) == 1


async def test_c11_a_session_is_no_other_text_than_its_own(kit: Kit, sessions: BrowserSessions, row: Row) -> None:
    cookie = await signed_in(kit, sessions)
    begun = await sessions.begin()
    for name, value in bent(cookie).items():
        if value is not None:
            with row.case(name):
                assert await sessions.caller(value) is None
    with row.case("a sign-in under way is no session"):
        assert await sessions.caller(begun.cookie) is None
    with row.case("a session is no sign-in under way"), pytest.raises(SignInFailed):
        await sessions.finish(cookie, {"code": "x", "state": "x", "iss": ISSUER})
    assert await sessions.caller(cookie) is not None


async def test_c11_each_sign_in_makes_a_session_of_its_own(kit: Kit, sessions: BrowserSessions, row: Row) -> None:
    """Whatever the browser had before: nobody is moved into a session that somebody else knows."""
    seen: set[str] = set()
    last = ""
    for _ in range(10):
        cookie = await signed_in(kit, sessions)
        with row.case("new"):
            assert cookie not in seen
            assert len(cookie) == 43, "256 bits"
        seen.add(cookie)
        last = cookie
    await sessions.end(last)
    with row.case("signed out"):
        assert await sessions.caller(last) is None
    for other in seen - {last}:
        with row.case("the others live on"):
            assert await sessions.caller(other) is not None


async def test_c11_what_is_at_rest_opens_nothing(kit: Kit, sessions: BrowserSessions, redis: Redis, row: Row) -> None:
    cookie = await signed_in(kit, sessions)
    begun = await sessions.begin()
    stored = b"".join([key + (await redis.get(key) or b"") async for key in redis.scan_iter("isthmus:s*")])
    assert len(stored) > 500
    for secret in (
        cookie,
        begun.cookie,
        asked(begun.location)["state"],
        asked(begun.location)["nonce"],
        "eyJ",
        "refresh",
        "access_token",
        ADA,
    ):
        with row.case(secret):
            assert secret.encode() not in stored


def cookies_of(response: Response) -> list[Any]:
    return [morsel for value in response.headers.getlist("set-cookie") for morsel in SimpleCookie(value).values()]


async def test_c11_cookies_are_kept_from_scripts_other_hosts_and_other_sites(row: Row) -> None:
    for site in (PUBLIC, SITE):
        for put in (
            lambda r, s: set_session_cookie(r, s, "x" * 43),
            lambda r, s: set_sign_in_cookie(r, s, "x" * 43),
            forget_session_cookie,
        ):
            response = Response()
            put(response, site)
            for morsel in cookies_of(response):
                with row.case((site.url, morsel.key)):
                    assert morsel["httponly"]
                    assert morsel["samesite"].lower() in ("lax", "strict")
                    assert morsel["path"] == "/"
                    assert not morsel["domain"]
                    assert site is SITE or (morsel["secure"] and morsel.key.startswith("__Host-"))


def arriving(site: Site, method: str = "POST", **headers: str) -> Request:
    raw = [(name.replace("_", "-").lower().encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": method, "path": "/", "query_string": b"", "headers": raw})


async def test_c11_a_cookie_alone_proves_nothing(row: Row) -> None:
    """Signing out, and every operation: with our own header, and from nowhere else."""
    for origin in (
        "https://evil.example",
        "null",
        "http://bank.example",
        "https://bank.example.evil.example",
        "https://bank.example:444",
        "",
    ):
        for proof in ("", "1"):
            with row.case((origin, proof)):
                headers = {"Origin": origin, **({"X_Isthmus_CSRF": proof} if proof else {})}
                assert not is_proven(arriving(PUBLIC, **headers), PUBLIC)
    with row.case("no header"):
        assert not is_proven(arriving(PUBLIC, Origin="https://bank.example"), PUBLIC)
    for name in ("isthmus_page", "__Secure-isthmus_page", "__host-isthmus_page"):
        with row.case(("another name of the cookie", name)):
            assert session_cookie(arriving(PUBLIC, Cookie=f"{name}={'x' * 43}"), PUBLIC) is None
    assert is_proven(arriving(PUBLIC, Origin="https://bank.example", X_Isthmus_CSRF="1"), PUBLIC)
    assert httpx.URL(PUBLIC.redirect_uri).host == "bank.example"
