"""Rows C6 and C12: refresh tokens that were stolen, and passwords that are guessed."""

from __future__ import annotations

import asyncio
import html
import re
from typing import Any
from uuid import UUID

import httpx
import jwt
import pytest

from isthmus.auth.provider.users import DEMO_PASSWORD, DEMO_USERS
from tests.attacks.count import Row
from tests.auth.provider_kit import ADA, CLI, WEB, Kit, provider, submit

pytestmark = pytest.mark.asyncio(loop_scope="module")

GRACE = "grace@example.com"


async def chain(kit: Kit, length: int) -> list[dict[str, Any]]:
    """A sign-in and what it was refreshed to, oldest first."""
    kit.http.cookies.clear()
    tokens = [await kit.tokens()]
    for _ in range(length - 1):
        tokens.append((await kit.refresh(tokens[-1]["refresh_token"])).json())
    return tokens


async def dead(kit: Kit, tokens: list[dict[str, Any]]) -> None:
    assert [(await kit.userinfo(token["access_token"])).status_code for token in tokens] == [401] * len(tokens)
    for token in tokens:
        assert (await kit.refresh(token["refresh_token"])).json()["error"] == "invalid_grant"


async def test_c6_any_older_token_ends_the_whole_family(kit: Kit, row: Row) -> None:
    """Wherever in the chain the thief's copy stands, and why is kept for whoever tells the person."""
    for length in (2, 3, 5):
        for stolen in range(length - 1):
            with row.case((length, stolen)):
                tokens = await chain(kit, length)
                assert (await kit.userinfo(tokens[-1]["access_token"])).status_code == 200
                answer = await kit.refresh(tokens[stolen]["refresh_token"])
                assert answer.json()["error"] == "invalid_grant"
                await dead(kit, tokens)
                family = UUID(jwt.decode(tokens[0]["access_token"], options={"verify_signature": False})["sid"])
                (kept,) = await kit.rows("select revoked_because from provider.families where family = $1", family)
                assert kept[0] == "refresh token reused"


async def test_c6_of_many_uses_at_once_one_wins_and_then_none(kit: Kit, row: Row) -> None:
    for at_once in (2, 4, 8):
        with row.case(at_once):
            (first,) = await chain(kit, 1)
            answers = await asyncio.gather(*(kit.refresh(first["refresh_token"]) for _ in range(at_once)))
            won = [answer.json() for answer in answers if answer.status_code == 200]
            assert len(won) == 1
            await dead(kit, won)


async def test_c6_a_refresh_token_is_one_clients_and_one_texts(kit: Kit, row: Row) -> None:
    (first,) = await chain(kit, 1)
    token: str = first["refresh_token"]
    before = await kit.state()
    texts = [token[:-1], token + "A", token.swapcase(), token[::-1], " " + token, token + "\n", "", "x", token * 2]
    texts += [token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :] for place in range(len(token))]
    texts += [first["access_token"], first["id_token"], "' or true --"]
    for text in texts:
        with row.case(text):
            answer = await kit.refresh(text)
            assert answer.status_code == 400
            assert "access_token" not in answer.json()
    for client_id in (WEB, "isthmus-playground", "nobody", "", CLI.upper()):
        with row.case(client_id):
            answer = await kit.refresh(token, client_id=client_id)
            assert answer.json()["error"] in ("invalid_grant", "invalid_client")
    for scope in ("read write operate", "audit", "everything", "openid read write offline_access operate"):
        with row.case(scope):
            answer = await kit.refresh(token, scope=scope)
            assert answer.json()["error"] == "invalid_scope", "refreshing never widens (RFC 6749, 6)"
    assert await kit.state() == before
    assert (await kit.refresh(token)).status_code == 200, "and all that ended nothing"


async def test_c6_signing_out_and_revoking_end_what_was_given(kit: Kit, row: Row) -> None:
    with row.case("logout"):
        tokens = await chain(kit, 2)
        await submit(kit.http, await kit.http.get("/logout"))
        await dead(kit, tokens)
    for name in ("access_token", "refresh_token"):
        with row.case(name):
            tokens = await chain(kit, 2)
            await kit.http.post("/revoke", data={"client_id": CLI, "token": tokens[-1][name]})
            await dead(kit, tokens)
        with row.case(("another client revokes", name)):
            tokens = await chain(kit, 1)
            await kit.http.post("/revoke", data={"client_id": WEB, "token": tokens[-1][name]})
            assert (await kit.refresh(tokens[0]["refresh_token"])).status_code == 200


def said(answer: httpx.Response, email: str) -> tuple[int, str, list[str]]:
    """A page as the person sees it: without its own form secret and the address that they typed."""
    text = html.unescape(re.sub(r'name="csrf" value="[^"]*"', "csrf", answer.text)).replace(email, "<e-mail>")
    return answer.status_code, text, sorted(name for name in answer.headers if name != "date")


async def guess(kit: Kit, email: str, password: str, address: str) -> httpx.Response:
    async with kit.another_browser(address) as browser:
        return await kit.sign_in(email, password, http=browser)


async def test_c12_nobody_learns_who_has_an_account(kit: Kit, row: Row) -> None:
    reference = said(await guess(kit, "nobody@example.com", "wrong", "10.1.0.1"), "nobody@example.com")
    emails = [user.email for user in DEMO_USERS] + ["ADA@EXAMPLE.COM", "x@example.com", "a" * 200 + "@example.com"]
    for email in emails:
        for password in ("wrong", "x" * 1_000, DEMO_PASSWORD + " ", DEMO_PASSWORD.upper()):
            with row.case((email, password)):
                assert said(await guess(kit, email, password, "10.1.0.2"), email) == reference


async def test_c12_guessing_stops_per_account_whatever_the_addresses(shared: Kit, row: Row) -> None:
    """And what exists is slowed like what does not: the limit is no oracle either."""
    for email in (ADA, "nobody@example.com"):
        async with provider(
            shared.app_url, shared.admin_url, shared.data_dir, redis_url=shared.redis_url, attempts=5
        ) as kit:
            answers = [await guess(kit, email, f"guess {n}", f"10.2.{n}.1") for n in range(20)]
            assert [answer.status_code for answer in answers[:5]] == [400] * 5
            for number, answer in enumerate(answers[5:]):
                with row.case((email, number)):
                    assert answer.status_code == 429
                    assert int(answer.headers["retry-after"]) > 0
            with row.case((email, "the right password, while it is blocked")):
                assert (await guess(kit, email, DEMO_PASSWORD, "10.3.0.1")).status_code == 429


async def test_c12_guessing_stops_per_address_whatever_the_accounts(shared: Kit, row: Row) -> None:
    addresses = {"10.4.0.1": "10.4.0.2", "2001:db8:1:2::1": "2001:db8:1:3::1"}
    for address, neighbour in addresses.items():
        async with provider(
            shared.app_url, shared.admin_url, shared.data_dir, redis_url=shared.redis_url, attempts=5
        ) as kit:
            answers = [await guess(kit, f"user{n}@example.com", DEMO_PASSWORD, address) for n in range(20)]
            assert [answer.status_code for answer in answers[:5]] == [400] * 5
            for number, answer in enumerate(answers[5:]):
                with row.case((address, number)):
                    assert answer.status_code == 429
            assert (await guess(kit, ADA, DEMO_PASSWORD, neighbour)).status_code == 303, "others are let in meanwhile"
    async with provider(
        shared.app_url, shared.admin_url, shared.data_dir, redis_url=shared.redis_url, attempts=5
    ) as kit:
        answers = [await guess(kit, f"user{n}@example.com", "x", f"2001:db8:9:9::{n:x}") for n in range(1, 15)]
        for number, answer in enumerate(answers[5:]):
            with row.case(("one /64", number)):
                assert answer.status_code == 429


async def test_c12_a_burst_gets_no_more_guesses_than_a_trickle(shared: Kit, row: Row) -> None:
    async with provider(
        shared.app_url, shared.admin_url, shared.data_dir, redis_url=shared.redis_url, attempts=4
    ) as kit:
        answers = await asyncio.gather(*(guess(kit, GRACE, f"guess {n}", f"10.5.0.{n}") for n in range(24)))
    tried = sorted(answer.status_code for answer in answers)
    for number in range(20):
        with row.case(number):
            assert tried[4 + number] == 429
    assert tried[:4] == [400] * 4


async def test_c12_a_made_up_address_in_a_header_counts_for_nothing(shared: Kit, row: Row) -> None:
    names = ("X-Forwarded-For", "X-Real-IP", "Forwarded", "CF-Connecting-IP", "True-Client-IP", "X-Client-IP")
    async with provider(
        shared.app_url, shared.admin_url, shared.data_dir, redis_url=shared.redis_url, attempts=3
    ) as kit:
        for _ in range(3):
            await guess(kit, "first@example.com", "x", "10.6.0.1")
        for number, name in enumerate(names):
            with row.case(name):
                async with kit.another_browser("10.6.0.1") as browser:
                    browser.headers[name] = f"for=10.7.0.{number}" if name == "Forwarded" else f"10.7.0.{number}"
                    assert (await kit.sign_in(ADA, DEMO_PASSWORD, http=browser)).status_code == 429
