"""Rows C1 to C3: authorization codes, what binds them to whoever asked for them, and where they may be sent."""

from __future__ import annotations

import asyncio
import re
import string
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from isthmus.auth.pkce import challenge_of, new_verifier
from isthmus.auth.provider.clients import Client
from tests.attacks.count import Row
from tests.auth.provider_kit import CLI, LOOPBACK, WEB, WEB_REDIRECT, Kit, submit

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOKENS = {"access_token", "refresh_token", "id_token"}


@pytest.fixture
def kit(shared: Kit) -> Kit:
    shared.http.cookies.clear()
    shared.verifier = new_verifier()
    return shared


def wrong_verifiers(right: str) -> Iterator[str]:
    """Each place of the right one changed, every length that is too short or too long, and other alphabets."""
    for place, sign in enumerate(right):
        yield right[:place] + ("A" if sign != "A" else "B") + right[place + 1 :]
    yield from (right[:length] for length in range(1, 43))
    yield from ("a" * length for length in (129, 130, 256, 1_000))
    yield from (right + more for more in (" ", "\n", "\0", "=", "%00", "A"))
    yield from (sign * 43 for sign in "é!+/= \t'")
    yield from (right.swapcase(), right[::-1], challenge_of(right), challenge_of(challenge_of(right)))


async def test_c1_only_the_verifier_that_was_promised_redeems_a_code(kit: Kit, row: Row) -> None:
    code = await kit.code()
    before = await kit.state()
    for verifier in [None, "", *wrong_verifiers(kit.verifier)]:
        with row.case(verifier):
            answer = await kit.exchange(code, code_verifier=verifier)
            assert answer.status_code == 400
            assert answer.json()["error"] in ("invalid_grant", "invalid_request")
            assert not TOKENS & set(answer.json())
    assert await kit.state() == before
    assert (await kit.exchange(code)).status_code == 200, "the right one still does"


async def test_c1_without_a_challenge_by_s256_there_is_no_code(kit: Kit, row: Row) -> None:
    """Also no downgrade: a verifier sent for a code that had no challenge has nothing to be compared with."""
    right = challenge_of(kit.verifier)
    methods = [None, "", "plain", "PLAIN", "s256", "S256 ", " S256", "S-256", "S512", "none", "null", "S256,plain"]
    challenges = [None, "", "a", right[:-1], right + "A", right + "=", right.replace(right[0], "+"), "é" * 43, " " * 43]
    wrong = [(right, method) for method in methods] + [
        (challenge, method) for challenge in challenges for method in ("S256", "plain", None)
    ]
    before = await kit.state()
    for challenge, method in wrong:
        with row.case((challenge, method)):
            answer = await kit.authorize(code_challenge=challenge, code_challenge_method=method)
            assert answer.status_code in (303, 400)
            assert "code" not in httpx.URL(answer.headers.get("location", "")).params
            assert "password" not in answer.text, "nobody is even asked to sign in"
    assert await kit.state() == before


async def _used_twice(kit: Kit, second: dict[str, Any]) -> tuple[httpx.Response, dict[str, Any]]:
    kit.http.cookies.clear()
    code = await kit.code()
    first: dict[str, Any] = (await kit.exchange(code)).json()
    return await kit.exchange(code, **second), first


async def test_c2_a_code_works_once_for_whoever_it_was_given_to(kit: Kit, row: Row) -> None:
    seconds: list[dict[str, Any]] = [{}, {"code_verifier": new_verifier()}, {"redirect_uri": WEB_REDIRECT}]
    for second in seconds:
        with row.case(("again", second)):
            answer, first = await _used_twice(kit, second)
            assert answer.json()["error"] == "invalid_grant"
            assert (await kit.userinfo(first["access_token"])).status_code == 401, (
                "what the first use got is taken back"
            )
            assert (await kit.refresh(first["refresh_token"])).json()["error"] == "invalid_grant"
    strangers: list[dict[str, Any]] = [
        {"client_id": WEB, "redirect_uri": uri} for uri in (WEB_REDIRECT, LOOPBACK, None)
    ]
    for second in strangers:
        with row.case(("another client", second)):
            answer, first = await _used_twice(kit, second)
            assert answer.json()["error"] == "invalid_grant"
            assert (await kit.userinfo(first["access_token"])).status_code == 200, "a stranger's guess ends nothing"
    for port in (1, 80, 43210, 43212, 65535):
        with row.case(("another port", port)):
            answer = await kit.exchange(await kit.code(), redirect_uri=LOOPBACK.replace("43211", str(port)))
            assert answer.json()["error"] == "invalid_grant"
    for seconds_later in (60, 61, 3_600, 86_400):
        with row.case(("late", seconds_later)):
            kit.http.cookies.clear()
            code = await kit.code()
            kit.clock.advance(timedelta(seconds=seconds_later))
            assert (await kit.exchange(code)).json()["error"] == "invalid_grant"


async def test_c2_a_code_presented_many_times_at_once_works_at_most_once(kit: Kit, row: Row) -> None:
    for at_once in (2, 3, 5, 8):
        with row.case(at_once):
            kit.http.cookies.clear()
            code = await kit.code()
            answers = await asyncio.gather(*(kit.exchange(code) for _ in range(at_once)))
            won = [answer.json() for answer in answers if answer.status_code == 200]
            assert len(won) == 1
            assert (await kit.refresh(won[0]["refresh_token"])).json()["error"] == "invalid_grant"
            assert (await kit.userinfo(won[0]["access_token"])).status_code == 401


async def test_c2_signing_out_ends_a_code_that_nobody_used(kit: Kit, row: Row) -> None:
    code = await kit.code()
    page = await kit.http.get("/logout")
    await submit(kit.http, page)
    with row.case("after logout"):
        assert (await kit.exchange(code)).json()["error"] == "invalid_grant"


def bent_addresses(right: str) -> Iterator[str]:
    """One character more, less or otherwise at every place; and what parsers disagree about."""
    for place in range(len(right) + 1):
        for sign in "/\\@#?.%:;&x \t\n\0é":
            yield right[:place] + sign + right[place:]
        yield right[:place] + right[place + 1 :]
        yield right[:place] + right[place : place + 1].swapcase() + right[place + 1 :]
    scheme, _, rest = right.partition("://")
    host, _, path = rest.partition("/")
    name = host.partition(":")[0]
    for tail in (
        "/..",
        "/../callback",
        "/./",
        "//",
        "?next=https://evil.test",
        "#x",
        "%2f..",
        ";x",
        "/%2e%2e/callback",
    ):
        yield right + tail
    for other in (f"{host}.evil.test", f"evil.test/{host}", f"{host}@evil.test", f"evil.test#{host}", f"x.{host}",
                  f"{name}:0", f"{name}:65536", f"{name}:080", f"{name}:", f"user:pw@{host}", "localhost", "[::1]",
                  "127.1", "0x7f000001", "2130706433", "evil.test", f"evil.test?{host}", f"{host}%00.evil.test"):  # fmt: skip
        yield f"{scheme}://{other}/{path}"
    for other in ("javascript", "data", "file", "ftp", "ws", "app", scheme.upper(), ""):
        yield f"{other}://{rest}"


def may_receive(uri: str, registered: str, *, native: bool) -> bool:
    """The rule said another way than the product says it: the same text, but for a loopback port in plain digits."""
    if uri == registered.replace(":43211", ""):
        return True  # a native app's address is registered without a port
    if not native:
        return uri == registered
    port = re.fullmatch(r"http://127\.0\.0\.1:([0-9]+)/callback", uri, re.ASCII)
    return port is not None and port[1][0] != "0" and int(port[1]) <= 65_535


async def test_c3_an_address_is_the_registered_text_or_none(kit: Kit, row: Row) -> None:
    for client_id, registered in ((CLI, LOOPBACK), (WEB, WEB_REDIRECT)):
        native = client_id == CLI
        (found,) = await kit.rows("select * from provider.clients where client_id = $1", client_id)
        client = Client(client_id, "", tuple(found["redirect_uris"]), (), frozenset(), found["native"])
        assert client.check_redirect_uri(registered)
        for uri in bent_addresses(registered):
            if not may_receive(uri, registered, native=native):
                with row.case(uri):
                    assert not client.check_redirect_uri(uri)


async def test_c3_nobody_is_redirected_to_an_address_that_is_not_registered(kit: Kit, row: Row) -> None:
    """Over HTTP, every tenth of them: no `Location`, not even for an error, and nothing of it on the page."""
    before = await kit.state()
    for client_id, registered in ((CLI, LOOPBACK), (WEB, WEB_REDIRECT)):
        bent = [uri for uri in bent_addresses(registered) if not may_receive(uri, registered, native=client_id == CLI)]
        for uri in bent[::10] + bent[-30:]:
            with row.case(uri):
                answer = await kit.authorize(client_id=client_id, redirect_uri=uri)
                assert answer.status_code == 400
                assert "location" not in answer.headers
                assert "evil.test" not in answer.text
    assert await kit.state() == before


async def test_c3_an_answer_carries_nothing_but_itself_to_the_address(kit: Kit, row: Row) -> None:
    """Parameters that would split or override the answer (RFC 9700, 4.1): each name is in it once."""
    for state in ("a&code=evil", "a#b", "a%26code%3devil", "&iss=https://evil.test", string.punctuation):
        with row.case(state):
            answer = await kit.authorize(state=state, prompt="none")
            assert answer.status_code == 303
            query = httpx.URL(answer.headers["location"]).params
            assert query.get_list("state") == [state]
            assert query.get_list("code") == []
            assert query.get_list("iss") == [kit.provider.issuer]
