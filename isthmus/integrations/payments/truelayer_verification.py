"""TrueLayer's account holder verification: whether an account is held in a name, asked of the bank that has it.

Source: docs.truelayer.com (account holder verification): POST /v3/account-holder-verifications/requests gives an id, GET of it is asked
until it is no longer pending. Under which name the GET has its result is told in two ways, so that either is read: `result` and
`match_result`, with `type` match, partial_match (with the holder's name), no_match or match_not_possible.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from itertools import chain, repeat
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import msgspec
import orjson
import structlog
from prometheus_client import Counter

from isthmus.domain.banking import ProviderFault
from isthmus.domain.clock import Clock
from isthmus.domain.payee_checks import ANSWER_WITHIN, UNAVAILABLE, PayeeAnswer, PayeeMatch
from isthmus.domain.payees import PayeeAccount
from isthmus.integrations.banking.calls import Calls
from isthmus.integrations.payments.truelayer_client import TrueLayerClient

SCOPE = "verification"
_PATH = "/v3/account-holder-verifications/requests"
#: How long until it is looked at again; the last goes on.
_LOOKS_S = (0.05, 0.1, 0.2, 0.4)

_checks = Counter(
    "isthmus_payee_checks_total",
    "Confirmations of payee by result: MATCH, CLOSE_MATCH, NO_MATCH, UNAVAILABLE (also: not in time).",
    ["result"],
)
for _match in PayeeMatch:
    _checks.labels(_match)  # zero from the start: no rate can be taken of a series that begins at its first

_MATCHES: Mapping[str, PayeeMatch] = {
    "match": PayeeMatch.MATCH,
    "partial_match": PayeeMatch.CLOSE_MATCH,
    "no_match": PayeeMatch.NO_MATCH,
}

log = structlog.get_logger(__name__)


class _Created(msgspec.Struct):
    id: str


class _Result(msgspec.Struct):
    type: str
    account_holder_name: str | None = None


class _Verification(msgspec.Struct):
    status: str
    result: _Result | None = None
    match_result: _Result | None = None


class TrueLayerVerification:
    """Implements `isthmus.domain.payee_checks.PayeeVerification`."""

    def __init__(
        self,
        auth_url: str,
        api_url: str,
        client_id: str,
        secret: str,
        http: httpx.AsyncClient,
        calls: Calls,
        clock: Clock,
        within: timedelta = ANSWER_WITHIN,
    ) -> None:
        self._api = TrueLayerClient(auth_url, api_url, client_id, secret, SCOPE, http, calls, clock)
        self._within_s = within.total_seconds()

    async def check(self, account: PayeeAccount, name: str) -> PayeeAnswer:
        try:
            async with asyncio.timeout(self._within_s):
                answer = await self._asked(account, name)
        except (ProviderFault, TimeoutError) as fault:
            log.warning("nobody says whose account a payee's is", why=str(fault) or "not in time")
            answer = UNAVAILABLE
        _checks.labels(answer.match).inc()
        return answer

    async def _asked(self, account: PayeeAccount, name: str) -> PayeeAnswer:
        body = orjson.dumps({"account_holder_name": name, "account_identifier": _identifier(account)})
        more = {"Content-Type": "application/json", "Idempotency-Key": str(uuid4())}
        made = await self._api.ask("verify_payee", "POST", _PATH, _Created, more, content=body)
        path, waits = f"{_PATH}/{quote(made.id, safe='')}", chain(_LOOKS_S, repeat(_LOOKS_S[-1]))
        while True:  # until the time is over
            told: _Verification = await self._api.ask("payee_verification", "GET", path, _Verification, {})
            if told.status != "pending":
                return _answer(told)
            await asyncio.sleep(next(waits))


def _answer(told: _Verification) -> PayeeAnswer:
    """Whatever else it says (failed, match_not_possible, a word that nobody knows) says nothing of the name."""
    result = told.result or told.match_result
    match = _MATCHES.get(result.type) if told.status == "completed" and result is not None else None
    return UNAVAILABLE if match is None or result is None else PayeeAnswer(match, result.account_holder_name)


def _identifier(account: PayeeAccount) -> dict[str, Any]:
    if account.iban is not None:
        return {"type": "iban", "iban": account.iban}
    return {"type": "sort_code_account_number", "sort_code": account.sort_code, "account_number": account.number}
