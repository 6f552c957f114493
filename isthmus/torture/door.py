"""The API as a client meets it over HTTP: mutations with their outcome told apart, queries, and what errors say."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from isthmus.torture.intents import Intent, Kind, Outcome
from isthmus.torture.watches import Watches

REQUEST_S = 8.0

_JOURNAL = "journal { id kind status reference postedAt correlationId entries { account { id } direction amount { amount asset } } }"
_ACCOUNT = "account { id asset }"
#: Only what never changes: the same wish again shows the payment as it is then.
_PAYMENT = "payment { id amount { amount asset } reference challenge { id } }"
#: Every mutation a client sends: its input's type, and what it asks back.
_PAYLOADS = {
    "openAccount": ("OpenAccountInput", f"{_ACCOUNT}"),
    "renameAccount": ("RenameAccountInput", f"{_ACCOUNT}"),
    "closeAccount": ("CloseAccountInput", f"{_ACCOUNT}"),
    "freezeAccount": ("FreezeAccountInput", f"{_ACCOUNT}"),
    "unfreezeAccount": ("UnfreezeAccountInput", f"{_ACCOUNT}"),
    "transferInternally": ("TransferInternallyInput", _JOURNAL),
    "settleDeposit": ("SettleDepositInput", _JOURNAL),
    "initiatePayment": ("InitiatePaymentInput", _PAYMENT),
    "topUp": ("TopUpInput", _PAYMENT),
    "cancelPayment": ("CancelPaymentInput", "payment { id }"),
}
#: Neither done nor refused for good: to be sent again.
_NOT_DEFINITE = frozenset({"UNAVAILABLE", "RATE_LIMITED", "UNAUTHENTICATED", "INTERNAL", "NOT_YET_VISIBLE", "CONFLICT"})


def document(mutation: str) -> str:
    kind, fields = _PAYLOADS[mutation]
    return (
        f"mutation($input: {kind}!) {{ {mutation}(input: $input) {{ {fields} position replayed "
        "errors { __typename code message path } } }"
    )


class Away(Exception):
    """No answer, or none that can be read as one. What was asked may have been done."""


@dataclass
class Answer:
    """`data` where there is any, else the first error's code."""

    data: Mapping[str, Any] | None
    code: str | None = None


@dataclass
class HttpDoor:
    """`url` gives the endpoint to use now, `token` the access token to use. Errors' codes are told to `watches`."""

    http: httpx.AsyncClient
    url: Callable[[], str]
    token: Callable[[], Awaitable[str]]
    watches: Watches
    away: Callable[[], None] = lambda: None
    """Told where no answer came: the next thing is asked elsewhere."""
    refused: Callable[[str], None] = lambda _: None
    """Told of the token that was not taken."""

    async def send(self, intent: Intent, correlation_id: str) -> Outcome:
        variables = {"input": {**intent.input, "idempotencyKey": intent.key}}
        try:
            answer = await self._post(document(intent.mutation), variables, {"x-correlation-id": correlation_id})
        except Away as error:
            return Outcome(Kind.UNKNOWN, code=str(error))
        if answer.data is None:
            kind = Kind.UNKNOWN if answer.code in _NOT_DEFINITE or answer.code is None else Kind.REFUSED
            return Outcome(kind, code=answer.code)
        payload = answer.data[intent.mutation]
        if not payload["errors"]:
            return Outcome(Kind.OK, payload)
        code = payload["errors"][0]["code"]
        return Outcome(Kind.UNKNOWN if code in _NOT_DEFINITE else Kind.REFUSED, payload, code)

    async def ask(
        self, query: str, variables: Mapping[str, Any], position: int = 0, correlation_id: str | None = None
    ) -> Answer:
        """Raises Away. `position`: what the answer must not be older than."""
        headers = {"x-isthmus-position": str(position)} if position else {}
        if correlation_id is not None:
            headers["x-correlation-id"] = correlation_id
        return await self._post(query, variables, headers)

    async def _post(self, query: str, variables: Mapping[str, Any], headers: Mapping[str, str]) -> Answer:
        token = await self.token()
        sent = {
            "accept": "application/graphql-response+json",
            "authorization": f"Bearer {token}",
            **headers,
        }
        try:
            response = await self.http.post(self.url(), json={"query": query, "variables": variables}, headers=sent)
            body = response.json()
        except (httpx.HTTPError, ValueError, OSError) as error:
            self.away()
            raise Away(type(error).__name__) from None
        if body.get("errors"):
            code = body["errors"][0].get("extensions", {}).get("code")
            if code == "UNAUTHENTICATED":
                self.refused(token)
            self.watches.code(code, query.partition("(")[2][:60] or query[:60])
            return Answer(None, code)
        return Answer(body["data"])
