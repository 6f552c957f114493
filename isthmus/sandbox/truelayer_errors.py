"""TrueLayer's errors, and what every part of it says with them: the data API's, and the payments API's problems (RFC 9457)."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from isthmus.sandbox.answers import json_response
from isthmus.sandbox.seeding import BANKS

Body = dict[str, Any]


class Refusal(Exception):
    """An error of sign-in and data: `code` is its `error`."""

    def __init__(self, status: int, code: str, description: str) -> None:
        super().__init__(description)
        self.status, self.code, self.description = status, code, description

    def answer(self) -> Response:
        body = {"error": self.code, "error_description": self.description, "error_details": {}}
        return json_response(body, self.status)


class Problem(Exception):
    """An error of payments: `errors` says, per field, what is wrong with it."""

    def __init__(self, status: int, title: str, detail: str, errors: dict[str, list[str]] | None = None) -> None:
        super().__init__(detail)
        self.status, self.title, self.detail, self.errors = status, title, detail, errors

    def answer(self, trace_id: str) -> Response:
        kind = self.title.lower().replace(" ", "-")
        body = {
            "type": f"https://docs.truelayer.com/docs/error-types#{kind}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "trace_id": trace_id,
            **({"errors": self.errors} if self.errors else {}),
        }
        answer = json_response(body, self.status)
        answer.headers["content-type"] = "application/problem+json"
        return answer


def provider_id(bank: str) -> str:
    """As TrueLayer names banks: country, kind of access, name."""
    return f"{'uk' if BANKS[bank].country == 'GB' else BANKS[bank].country.lower()}-ob-{bank}"


def bank_of(provider: str) -> str | None:
    return next((bank for bank in BANKS if provider_id(bank) == provider), None)


def bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token if scheme.lower() == "bearer" else ""
