"""TrueLayer's account holder verification: whose the accounts of the sandbox's banks are.

Source: docs.truelayer.com (account holder verification). Of an account that is at none of the banks nobody can say anything. The fact
`truelayer.verification_s` makes an answer wait for so long.
"""

from __future__ import annotations

import difflib
import unicodedata
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from isthmus.sandbox.answers import World, json_body, json_response
from isthmus.sandbox.clock import iso, read_iso
from isthmus.sandbox.truelayer_auth import TrueLayerAuth
from isthmus.sandbox.truelayer_errors import Body, Problem, bearer

_PATH = "/v3/account-holder-verifications/requests"
_KIND = "truelayer.verification"
_CLOSE_MIN = 0.85
_TITLES = frozenset({"mr", "mrs", "ms", "dr"})


class TrueLayerVerification:
    """`routes` stand for api.truelayer.com/v3."""

    def __init__(self, world: World, auth: TrueLayerAuth) -> None:
        self._world = world
        self._book = world.book
        self._auth = auth
        self.routes = [
            Route(_PATH, self._create, methods=["POST"]),
            Route(_PATH + "/{verification}", self._show, methods=["GET"]),
        ]

    async def _create(self, request: Request) -> Response:
        try:
            self._authenticate(request)
            body = await json_body(request)
            name, holder = _asked(body), self._holder(_identifier(body))
        except Problem as problem:
            return problem.answer(self._world.token("")[:32])
        verification, now = self._world.uuid(), self._world.clock.now()
        wait = timedelta(seconds=float(self._book.fact("truelayer.verification_s") or 0))
        told = {"created_at": iso(now), "ready_at": iso(now + wait), "result": _result(name, holder)}
        self._book.put(_KIND, verification, told)
        return json_response({"id": verification}, 201)

    async def _show(self, request: Request) -> Response:
        try:
            self._authenticate(request)
            kept = self._book.get(_KIND, request.path_params["verification"])
            if kept is None:
                raise Problem(404, "Not Found", "There is no such verification.")
        except Problem as problem:
            return problem.answer(self._world.token("")[:32])
        shown = {"id": request.path_params["verification"], "created_at": kept["created_at"]}
        if self._world.clock.now() < read_iso(kept["ready_at"]):
            return json_response({**shown, "status": "pending"})
        return json_response({**shown, "status": "completed", "result": kept["result"]})

    def _authenticate(self, request: Request) -> None:
        if not self._auth.is_clients(bearer(request), "verification"):
            detail = "A valid Bearer token must be provided in the Authorization header."
            raise Problem(401, "Unauthenticated", detail)

    def _holder(self, identifier: Body) -> str | None:
        for account in self._book.accounts():
            by_iban = account.iban is not None and account.iban == identifier.get("iban")
            scan = (identifier.get("sort_code"), identifier.get("account_number"))
            if by_iban or (account.sort_code is not None and (account.sort_code, account.number) == scan):
                customer = self._book.customer_by_id(account.customer)
                return customer.full_name if customer is not None else None
        return None


def _asked(body: Body | None) -> str:
    name = (body or {}).get("account_holder_name")
    if not isinstance(name, str) or not name:
        raise Problem(
            400, "Invalid Parameters", "The request is not what it must be.", {"account_holder_name": ["is required"]}
        )
    return name


def _identifier(body: Body | None) -> Body:
    identifier = (body or {}).get("account_identifier")
    if not isinstance(identifier, dict) or identifier.get("type") not in ("iban", "sort_code_account_number"):
        raise Problem(
            400, "Invalid Parameters", "The request is not what it must be.", {"account_identifier": ["is required"]}
        )
    return identifier


def _result(name: str, holder: str | None) -> Body:
    if holder is None:
        return {"type": "match_not_possible", "reason": "The account cannot be found."}
    asked, held = _words(name), _words(holder)
    if asked == held:
        return {"type": "match"}
    initial = len(asked) == len(held) >= 2 and all(
        mine == theirs or (1 in (len(mine), len(theirs)) and mine[0] == theirs[0])
        for mine, theirs in zip(asked, held, strict=True)
    )
    if initial or difflib.SequenceMatcher(None, " ".join(asked), " ".join(held)).ratio() >= _CLOSE_MIN:
        return {"type": "partial_match", "account_holder_name": holder}
    return {"type": "no_match"}


def _words(name: str) -> list[str]:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().casefold()
    parted = "".join(letter if letter.isalnum() else " " for letter in plain).split()
    return sorted(word for word in parted if word not in _TITLES)
