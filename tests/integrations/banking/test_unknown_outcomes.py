"""Row F18: what a provider did without saying so is looked up, or ended, and never done twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from uuid import uuid4

import pytest

from isthmus.domain.banking import (
    Credential,
    LinkToken,
    OutcomeUnknown,
    ProviderConsent,
    ProviderRefused,
    RedirectTo,
)
from isthmus.domain.secrets import ProviderTokens
from isthmus.integrations.banking import gocardless
from isthmus.integrations.banking.calls import Calls, Manners
from isthmus.integrations.banking.registry import PROVIDERS
from tests.integrations.banking.outside import Counted, link, outside
from tests.sandbox.running import Sandbox, sandbox_running

#: For the one call that hangs; whatever else is asked may take its time on a slow machine.
IMPATIENT = Manners(deadline_s=0.5, attempts=8, breaker_failures=100)
HANGS_S = 1


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with sandbox_running(history_days=3) as running:
        yield running


@pytest.fixture(autouse=True)
def _well_again(sandbox: Sandbox) -> Iterator[None]:
    yield
    sandbox.http.delete(f"{sandbox.url}/sandbox/misbehaviour")


def answered(sandbox: Sandbox, authorization: RedirectTo | LinkToken) -> dict[str, str]:
    assert isinstance(authorization, RedirectTo)
    page = sandbox.http.get(authorization.url, follow_redirects=True)
    back = sandbox.approve(str(page.url)).headers["location"]
    return dict(one.split("=", 1) for one in back.partition("?")[2].split("&"))


@pytest.mark.parametrize("kind", ["hang_after", "error_after"])
async def test_yapilys_consent_whose_token_was_lost_is_ended(sandbox: Sandbox, kind: str) -> None:
    sent = Counted()
    async with outside(sandbox, "yapily", sent) as out:
        provider = PROVIDERS["yapily"](out)
        impatient = PROVIDERS["yapily"](replace(out, calls=Calls("yapily", IMPATIENT)))
        assert provider is not None
        assert impatient is not None
        wish = link("nordlicht-sandbox", uuid4().hex)
        begun = await provider.begin(wish)
        wish = replace(wish, begun_as=begun.reference)
        code = Credential(answered(sandbox, begun.authorization)["one-time-token"])
        sandbox.tell(
            "misbehaviour", route="POST /yapily/consent-one-time-token", kind=kind, seconds=HANGS_S, status=502
        )
        sent.sent.clear()

        with pytest.raises(OutcomeUnknown):
            await impatient.complete(wish, code, None)
        assert sent.sent == ["POST /yapily/consent-one-time-token"], "not asked for twice by itself"
        theirs = ProviderTokens("", reference=begun.reference)
        assert (await provider.news(theirs)).state is ProviderConsent.AUTHORISED

        with pytest.raises(ProviderRefused):
            await provider.complete(wish, code, None)
        assert (await provider.news(theirs)).state is ProviderConsent.REVOKED


async def test_truelayers_code_that_was_used_gives_nothing_more(sandbox: Sandbox) -> None:
    async with outside(sandbox, "truelayer") as out:
        provider = PROVIDERS["truelayer"](out)
        assert provider is not None
        wish = link("de-ob-nordlicht", uuid4().hex)
        begun = await provider.begin(wish)
        code = Credential(answered(sandbox, begun.authorization)["code"])
        sandbox.tell("misbehaviour", route="POST /truelayer/auth/connect/token", kind="error_after", status=503)

        with pytest.raises(OutcomeUnknown):
            await provider.complete(wish, code, None)
        with pytest.raises(ProviderRefused) as refused:
            await provider.complete(wish, code, None)

    assert refused.value.code == "invalid_grant"


async def test_gocardless_requisition_that_nobody_heard_of_is_not_asked_for_twice(sandbox: Sandbox) -> None:
    sent = Counted()
    async with outside(sandbox, "gocardless", sent) as out:
        provider = gocardless.made(out)
        assert provider is not None
        sandbox.tell("misbehaviour", route="POST /gocardless/api/v2/requisitions/", kind="error_after", status=500)

        with pytest.raises(OutcomeUnknown):
            await provider.begin(link("NORDLICHT_DE", uuid4().hex))
        begun = await provider.begin(link("NORDLICHT_DE", uuid4().hex))

    assert sent.sent.count("POST /gocardless/api/v2/requisitions/") == 2
    assert isinstance(begun.authorization, RedirectTo)


@pytest.mark.parametrize("kind", ["hang_before", "hang_after", "drip"])
async def test_what_is_only_looked_at_is_asked_for_again(sandbox: Sandbox, kind: str) -> None:
    sent = Counted()
    async with outside(sandbox, "yapily", sent) as out:
        provider = PROVIDERS["yapily"](out)
        impatient = PROVIDERS["yapily"](replace(out, calls=Calls("yapily", IMPATIENT)))
        assert provider is not None
        assert impatient is not None
        begun = await provider.begin(link("nordlicht-sandbox", uuid4().hex))
        sandbox.tell("misbehaviour", route="GET /yapily/consents/*", kind=kind, seconds=HANGS_S)
        sent.sent.clear()

        news = await impatient.news(ProviderTokens("", reference=begun.reference))

    assert news.state is ProviderConsent.AWAITING
    assert len(sent.sent) > 1, "more than twice where the machine is slower than we are patient"


@pytest.mark.parametrize("provider_name", ["yapily", "truelayer"])
async def test_what_was_renewed_leaves_no_permission_behind(sandbox: Sandbox, provider_name: str) -> None:
    institution = {"yapily": "nordlicht-sandbox", "truelayer": "de-ob-nordlicht"}[provider_name]
    async with outside(sandbox, provider_name) as out:
        provider = PROVIDERS[provider_name](out)
        assert provider is not None

        async def granted(before: ProviderTokens | None) -> ProviderTokens:
            wish = link(institution, uuid4().hex)
            begun = await provider.begin(wish)
            told = answered(sandbox, begun.authorization)
            code = Credential(told.get("code") or told["one-time-token"])
            return (await provider.complete(replace(wish, begun_as=begun.reference), code, before)).tokens

        first = await granted(None)
        second = await granted(first)

        assert await provider.accounts(second)
        with pytest.raises(ProviderRefused):
            await provider.accounts(first)
