"""GoCardless' adapter against the sandbox: linked, renewed, revoked, and its token that many need at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from uuid import uuid4

import httpx
import pytest

from isthmus.domain.banking import (
    AccessEnded,
    Credential,
    Granted,
    Link,
    ProviderConsent,
    ProviderRefused,
    ProviderUnavailable,
    RedirectTo,
)
from isthmus.domain.secrets import ProviderTokens
from isthmus.integrations.banking import gocardless
from isthmus.integrations.banking.gocardless import GoCardless
from isthmus.integrations.banking.gocardless_answers import refusal
from isthmus.integrations.banking.statuses import CONSENTS
from tests.integrations.banking.outside import Counted, link, outside
from tests.sandbox.running import Sandbox, sandbox_running

BANK = "NORDLICHT_DE"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with sandbox_running(history_days=10) as running:
        yield running


@pytest.fixture
def sent() -> Counted:
    return Counted()


@pytest.fixture
async def provider(sandbox: Sandbox, sent: Counted) -> AsyncIterator[GoCardless]:
    async with outside(sandbox, "gocardless", sent) as out:
        made = gocardless.made(out)
        assert isinstance(made, GoCardless)
        yield made


async def begun(provider: GoCardless, sandbox: Sandbox, answer: str | None = "approve") -> Link:
    """A link whose person has been at the bank; None: has not."""
    wish = link(BANK, uuid4().hex)
    begun = await provider.begin(wish)
    assert isinstance(begun.authorization, RedirectTo)
    if answer is not None:
        page = sandbox.http.get(begun.authorization.url, follow_redirects=True)
        sandbox.approve(str(page.url), answer=answer)
    return replace(wish, begun_as=begun.reference)


async def granted(provider: GoCardless, sandbox: Sandbox, before: ProviderTokens | None = None) -> Granted:
    wish = await begun(provider, sandbox)
    return await provider.complete(wish, Credential(wish.state), before)


async def test_a_link_lasts_ninety_days_and_shows_what_the_book_says(provider: GoCardless, sandbox: Sandbox) -> None:
    got = await granted(provider, sandbox)

    assert got.expires_at is not None
    assert 89 < (got.expires_at - provider._clock.now()).total_seconds() / 86_400 <= 90
    assert (await provider.news(got.tokens)).state is ProviderConsent.AUTHORISED
    shown = {one.reference: one for one in await provider.accounts(got.tokens)}
    for account in sandbox.accounts("nordlicht"):
        mine = shown[account["id"]]
        assert (mine.name, mine.iban, str(mine.booked)) == (account["name"], account["iban"], account["booked"])
        assert str(mine.available) == account["available"]
    page = await provider.sync(got.tokens, None)
    again = await provider.sync(got.tokens, page.cursor)
    assert page.whole_pending == set(shown)
    assert {one.reference for one in again.changed} <= {one.reference for one in page.changed}


async def test_only_what_was_signed_in_to_is_granted(provider: GoCardless, sandbox: Sandbox) -> None:
    waiting = await begun(provider, sandbox, answer=None)
    with pytest.raises(ProviderUnavailable, match="not answered yet"):
        await provider.complete(waiting, Credential(waiting.state), None)
    declined = await begun(provider, sandbox, answer="decline")
    with pytest.raises(ProviderRefused):
        await provider.complete(declined, Credential(declined.state), None)
    other = await begun(provider, sandbox)
    with pytest.raises(ProviderRefused, match="not of this link"):
        await provider.complete(replace(other, state="another"), Credential("another"), None)
    with pytest.raises(ProviderRefused):
        await provider.complete(replace(other, begun_as=None), Credential(other.state), None)


async def test_a_renewed_link_leaves_no_permission_behind(provider: GoCardless, sandbox: Sandbox) -> None:
    first = await granted(provider, sandbox)

    second = await granted(provider, sandbox, first.tokens)

    assert second.tokens != first.tokens
    assert (await provider.news(first.tokens)).state is ProviderConsent.REVOKED
    await provider.revoke(second.tokens)
    await provider.revoke(second.tokens)
    with pytest.raises(AccessEnded):
        await provider.accounts(second.tokens)


@pytest.mark.parametrize("word", [*CONSENTS["gocardless"], "SOMETHING_NEW"])
async def test_every_word_for_a_requisition_is_one_of_ours(provider: GoCardless, sandbox: Sandbox, word: str) -> None:
    got = await granted(provider, sandbox)
    sandbox.tell("actions", action="gocardless.status", requisition=got.tokens.access, status=word)

    news = await provider.news(got.tokens)

    assert (news.told, news.state) == (word, CONSENTS["gocardless"].get(word, ProviderConsent.UNKNOWN))
    if news.state is not ProviderConsent.AUTHORISED:
        with pytest.raises(AccessEnded):
            await provider.sync(got.tokens, None)


async def test_f19_a_token_that_ends_in_mid_flow_is_fetched_once_for_all_who_need_it(
    provider: GoCardless, sandbox: Sandbox, sent: Counted
) -> None:
    got = await granted(provider, sandbox)
    sent.sent.clear()
    sandbox.tell("actions", action="gocardless.forget_tokens")

    told = await asyncio.gather(*(provider.news(got.tokens) for _ in range(20)))

    assert {one.state for one in told} == {ProviderConsent.AUTHORISED}
    assert sum("token" in one for one in sent.sent) == 1, sent.sent


async def test_f19_who_is_refused_again_with_a_new_token_is_not_asked_for_ever(sandbox: Sandbox) -> None:
    def never(request: httpx.Request) -> httpx.Response | None:
        return None if "token" in request.url.path else httpx.Response(401, json={"summary": "Invalid token"})

    sent = Counted(never)
    async with outside(sandbox, "gocardless", sent) as out:
        made = gocardless.made(out)
        assert made is not None
        with pytest.raises(ProviderRefused):
            await made.news(ProviderTokens("x"))
    assert len(sent.sent) == 4, sent.sent


@pytest.mark.parametrize(
    ("status", "body", "ends"),
    [
        (401, b'{"type":"AccessExpiredError","summary":"x"}', True),
        (401, b'{"type":"AccountSuspendedError"}', True),
        (400, b'{"summary":"End User Agreement (EUA) 1a2b has expired","detail":"x","status_code":400}', True),
        (401, b'{"summary":"Invalid token"}', False),
        (403, b'{"summary":"Your IP is not in the whitelist"}', False),
        (404, b"[", False),
    ],
)
def test_only_what_a_bank_says_of_its_customer_ends_their_access(status: int, body: bytes, ends: bool) -> None:
    assert isinstance(refusal(status, body), AccessEnded) == ends
