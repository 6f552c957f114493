"""Row C6, and taking tokens back (RFC 7009)."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import jwt
import pytest

from tests.auth.provider_kit import WEB, Kit, submit

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def revoked_because(kit: Kit, token: dict[str, Any]) -> str | None:
    family = jwt.decode(token["access_token"], options={"verify_signature": False})["sid"]
    (row,) = await kit.rows("select revoked_because from provider.families where family = $1", UUID(family))
    return str(row[0]) if row[0] is not None else None


async def test_each_refresh_token_works_once_and_its_reuse_ends_the_family(kit: Kit) -> None:
    other = await kit.tokens("grace@example.com")
    kit.http.cookies.clear()
    first = await kit.tokens()
    second = (await kit.refresh(first["refresh_token"])).json()
    third = (await kit.refresh(second["refresh_token"])).json()
    assert len({first["refresh_token"], second["refresh_token"], third["refresh_token"]}) == 3
    assert (await kit.userinfo(third["access_token"])).status_code == 200
    assert (await kit.refresh(first["refresh_token"])).json()["error"] == "invalid_grant"
    for token in (second, third):
        assert (await kit.refresh(token["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await kit.userinfo(third["access_token"])).status_code == 401
    assert (await kit.refresh(other["refresh_token"])).status_code == 200, "someone else's sign-in goes on"


async def test_of_two_uses_at_once_exactly_one_wins_and_the_family_ends(kit: Kit) -> None:
    token = (await kit.tokens())["refresh_token"]
    responses = await asyncio.gather(*(kit.refresh(token) for _ in range(6)))
    (won,) = [response.json() for response in responses if response.status_code == 200]
    assert [response.json()["error"] for response in responses if response.status_code != 200] == ["invalid_grant"] * 5
    assert (await kit.refresh(won["refresh_token"])).json()["error"] == "invalid_grant"
    assert await revoked_because(kit, won) == "refresh token reused"


async def test_another_client_gets_nothing_and_ends_nothing(kit: Kit) -> None:
    token = (await kit.tokens())["refresh_token"]
    before = await kit.state()
    assert (await kit.refresh(token, client_id=WEB)).json()["error"] == "invalid_grant"
    assert (await kit.refresh(token, client_id="nobody")).json()["error"] == "invalid_client"
    assert (await kit.refresh("guess")).json()["error"] == "invalid_grant"
    assert (await kit.refresh(token, scope="openid read write operate")).json()["error"] == "invalid_scope"
    assert await kit.state() == before
    assert (await kit.refresh(token)).status_code == 200


async def test_a_refresh_may_ask_for_less(kit: Kit) -> None:
    token = await kit.tokens()
    less = (await kit.refresh(token["refresh_token"], scope="read")).json()
    assert less["scope"] == "read"
    assert (await kit.refresh(less["refresh_token"])).json()["scope"] == token["scope"], (
        "the next may have all of it again"
    )


async def test_refresh_tokens_end_when_they_idle_and_the_family_in_the_end(kit: Kit) -> None:
    token = await kit.tokens()
    kit.clock.advance(timedelta(days=1))
    assert (await kit.refresh(token["refresh_token"])).json()["error"] == "invalid_grant"
    token = await kit.tokens()
    for _ in range(30):
        kit.clock.advance(timedelta(hours=23, minutes=59))
        response = await kit.refresh(token["refresh_token"])
        assert response.status_code == 200
        token = response.json()
    kit.clock.advance(timedelta(hours=1))
    assert (await kit.refresh(token["refresh_token"])).json()["error"] == "invalid_grant"
    await kit.provider.keep()
    assert await kit.rows("select (select count(*) from provider.families), (select count(*) from provider.codes)") == [
        (0, 0)
    ]


async def test_after_signing_out_nothing_of_that_browser_works_and_another_browser_goes_on(kit: Kit) -> None:
    async with kit.another_browser() as elsewhere:
        response = await kit.sign_in(http=elsewhere)
        code = response.headers["location"].split("code=")[1].split("&")[0]
        kept = (await kit.exchange(code)).json()
    token, pending = await kit.tokens(), await kit.code()
    again = await kit.tokens()  # signed in once more, under a new cookie: the first one's apps go on
    assert (await kit.userinfo(token["access_token"])).status_code == 200
    await submit(kit.http, await kit.http.get("/logout"))
    assert (await kit.exchange(pending)).json()["error"] == "invalid_grant"
    for ended in (token, again):
        assert (await kit.refresh(ended["refresh_token"])).json()["error"] == "invalid_grant"
        assert (await kit.userinfo(ended["access_token"])).status_code == 401
    assert (await kit.refresh(kept["refresh_token"])).status_code == 200


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
@pytest.mark.parametrize("hinted", [True, False])
async def test_revoking_either_token_ends_both(kit: Kit, kind: str, hinted: bool) -> None:
    token = await kit.tokens()
    before = await kit.state()
    form = {"client_id": WEB, "token": token[kind]} | ({"token_type_hint": kind} if hinted else {})
    await kit.http.post("/revoke", data=form)
    assert await kit.state() == before, "another client's request"
    response = await kit.http.post("/revoke", data=form | {"client_id": "isthmus-cli"})
    assert response.status_code == 200
    assert (await kit.refresh(token["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await kit.userinfo(token["access_token"])).status_code == 401
    assert await revoked_because(kit, token) == "revoked"


async def test_revoking_what_nobody_gave_out_is_answered_like_any_other(kit: Kit) -> None:
    response = await kit.http.post("/revoke", data={"client_id": "isthmus-cli", "token": "guess"})
    assert (response.status_code, response.json()) == (200, {})
    assert (await kit.http.post("/revoke", data={"client_id": "isthmus-cli"})).status_code == 400
    assert (await kit.http.post("/revoke", data={"client_id": "nobody", "token": "guess"})).status_code == 400
