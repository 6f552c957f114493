"""TrueLayer's account holder verification, at the sandbox: nobody waits for it long, and nothing that it says faults a payment."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import httpx
import pytest

from isthmus.domain.clock import SystemClock
from isthmus.domain.payee_checks import UNAVAILABLE, PayeeAnswer, PayeeMatch
from isthmus.domain.payees import PayeeAccount
from isthmus.integrations.banking.calls import Calls, Manners
from isthmus.integrations.payments.truelayer_verification import TrueLayerVerification
from tests.sandbox.running import Sandbox, at_sandbox, sandbox_running


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with sandbox_running(history_days=1) as running:
        yield running


@pytest.fixture(scope="module")
def jos(sandbox: Sandbox) -> PayeeAccount:
    account = sandbox.accounts("harbour")[0]
    return PayeeAccount(sort_code=account["sort_code"], number=account["number"])


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False) as client:
        yield client


def verification(
    sandbox: Sandbox, http: httpx.AsyncClient, within_s: float = 20, secret: str = "sandbox-truelayer-secret"
) -> TrueLayerVerification:
    told = at_sandbox(sandbox)
    calls = Calls("truelayer_verification", Manners(deadline_s=within_s, attempts=1, breaker_failures=100))
    urls = told["truelayer_auth_url"], told["truelayer_data_url"]
    within = timedelta(seconds=within_s)
    return TrueLayerVerification(*urls, told["truelayer_client_id"], secret, http, calls, SystemClock(), within)


async def test_what_the_bank_says_by_sort_code_too(
    sandbox: Sandbox, jos: PayeeAccount, http: httpx.AsyncClient
) -> None:
    asked = verification(sandbox, http)

    assert await asked.check(jos, "Ms Jo Hartley") == PayeeAnswer(PayeeMatch.MATCH)
    assert await asked.check(jos, "Jo Hartlay") == PayeeAnswer(PayeeMatch.CLOSE_MATCH, "Jo Hartley")
    assert await asked.check(jos, "Max Power") == PayeeAnswer(PayeeMatch.NO_MATCH)
    assert await asked.check(PayeeAccount(sort_code="200000", number="00000001"), "Jo Hartley") == UNAVAILABLE


async def test_f18_f19_f21_what_is_not_said_in_time_or_at_all_is_unavailable(
    sandbox: Sandbox, jos: PayeeAccount, http: httpx.AsyncClient
) -> None:
    asked = verification(sandbox, http)
    sandbox.tell("facts", name="truelayer.verification_s", value="3600")
    assert await verification(sandbox, http, 0.3).check(jos, "Jo Hartley") == UNAVAILABLE
    sandbox.tell("facts", name="truelayer.verification_s", value="0.05")
    assert (await asked.check(jos, "Jo Hartley")).match is PayeeMatch.MATCH, "it is asked for until it is there"

    assert await verification(sandbox, http, secret="wrong").check(jos, "Jo Hartley") == UNAVAILABLE
    path = "/truelayer/api/v3/account-holder-verifications/requests"
    sandbox.tell("misbehaviour", route=f"POST {path}", kind="hang_before", seconds=1)
    assert await verification(sandbox, http, 0.3).check(jos, "Jo Hartley") == UNAVAILABLE
    sandbox.http.delete(f"{sandbox.url}/sandbox/misbehaviour")
    for route in (f"POST {path}", f"GET {path}/*"):
        for kind in ("error_before", "error_after", "too_many", "hang_after", "truncated", "huge"):
            sandbox.tell("misbehaviour", route=route, kind=kind, seconds=0)
            assert await asked.check(jos, "Jo Hartley") == UNAVAILABLE, (route, kind)
    sandbox.tell("actions", action="truelayer.forget_tokens")
    assert (await asked.check(jos, "Jo Hartley")).match is PayeeMatch.MATCH, "well again, and let in anew"


@pytest.mark.parametrize(
    "told",
    [
        {"status": "failed"},
        {"status": "completed"},
        {"status": "completed", "result": {"type": "who_knows"}},
        {"status": "a new one", "result": {"type": "match"}},
        {"result": {"type": "match"}},
        [],
    ],
)
async def test_f20_a_word_that_nobody_knows_says_nothing_of_the_name(jos: PayeeAccount, told: object) -> None:
    async def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/connect/token"):
            return httpx.Response(200, json={"access_token": "t", "expires_in": 3600})
        return httpx.Response(200, json={"id": "v"} if request.method == "POST" else told)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        calls = Calls("truelayer_verification", Manners(attempts=1))
        asked = TrueLayerVerification("https://a.example", "https://b.example", "c", "s", http, calls, SystemClock())
        assert await asked.check(jos, "Jo Hartley") == UNAVAILABLE
