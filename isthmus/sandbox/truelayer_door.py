"""How requests come in at TrueLayer's payments API: whose token, whose signature, and whether it was asked before.

Signatures are checked with TrueLayer's own library, as over method, path, `Idempotency-Key` and body.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable

import orjson
import truelayer_signing
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from isthmus.sandbox.answers import World, json_response
from isthmus.sandbox.truelayer_auth import TrueLayerAuth
from isthmus.sandbox.truelayer_errors import Body, Problem, bearer

Work = Callable[[Request, Body], tuple[int, Body]]
_KEY_MAX = 255


class TrueLayerDoor:
    """`mounted`: what stands before the path that a client signs."""

    def __init__(self, world: World, auth: TrueLayerAuth, mounted: str) -> None:
        self._world = world
        self._book = world.book
        self._auth = auth
        self._mounted = mounted
        self._in_flight: set[str] = set()

    def add_key(self, kid: str, pem: str) -> None:
        """What a client does in TrueLayer's console. Raises ValueError where it is no public key on P-521."""
        key = load_pem_public_key(pem.encode())
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP521R1):
            raise ValueError("a signing key is on the curve P-521")
        self._book.put("truelayer.signing_key", kid, {"pem": pem})

    def reads(self, path: str, work: Work) -> Route:
        async def answer(request: Request) -> Response:
            try:
                self._world.catch_up()
                self._authenticate(request)
                return json_response(work(request, {})[1])
            except Problem as problem:
                return self._told(problem)

        return Route(path, answer, methods=["GET"])

    def writes(self, path: str, work: Work) -> Route:
        async def answer(request: Request) -> Response:
            raw = await request.body()
            try:
                self._world.catch_up()
                by_client = self._authenticate(request)
                key = request.headers.get("idempotency-key", "")
                if by_client:  # a person's browser, which has a resource token, has no signing key
                    self._check_signature(request, raw)
                    if not 0 < len(key) <= _KEY_MAX:
                        raise _invalid({"Idempotency-Key": ["is required"]})
                return await self._once(request, key, raw, work)
            except Problem as problem:
                return self._told(problem)

        return Route(path, answer, methods=["POST"])

    def _told(self, problem: Problem) -> Response:
        return problem.answer(self._world.token("")[:32])

    def _authenticate(self, request: Request) -> bool:
        """Whether it is the client itself; else whoever was given the resource token of this very payment."""
        token = bearer(request)
        if self._auth.is_clients(token, "payments"):
            return True
        kept = self._book.get("truelayer.resource", token)
        if kept is None:
            detail = "A valid Bearer token must be provided in the Authorization header."
            raise Problem(401, "Unauthenticated", detail)
        if kept["payment"] != request.path_params.get("payment"):
            raise Problem(403, "Forbidden", "The token does not give access to this resource.")
        return False

    def _check_signature(self, request: Request, raw: bytes) -> None:
        wrong = Problem(401, "Unauthenticated", "Invalid request signature.")
        signature = request.headers.get("tl-signature")
        if signature is None:
            raise Problem(401, "Unauthenticated", "The Tl-Signature header is missing.")
        try:
            kept = self._book.get("truelayer.signing_key", truelayer_signing.extract_jws_header(signature).kid)
            if kept is None:
                raise wrong
            (
                truelayer_signing.verify_with_pem(kept["pem"])
                .set_method(truelayer_signing.HttpMethod.POST)
                .set_path(request.url.path.removeprefix(self._mounted))
                .add_headers(dict(request.headers))
                .add_required_header("Idempotency-Key")
                .set_body(raw.decode())
                .verify(signature)
            )
        except (truelayer_signing.TlSigningException, AttributeError, TypeError, ValueError):
            # The library lets some of what garbage does to base64, JSON and keys through as it is.
            raise wrong from None

    async def _once(self, request: Request, key: str, raw: bytes, work: Work) -> Response:
        """The same key and body: the same answer. Kept for what was done; what was refused may be mended and asked again."""
        name = f"{request.url.path}|{key}"
        digest = hashlib.sha256(raw).hexdigest()
        if key and (kept := self._book.get("truelayer.idempotency", name)) is not None:
            if kept["digest"] != digest:
                detail = "The Idempotency-Key was used before, with another request."
                raise Problem(422, "Idempotency-Key Reuse", detail)
            return Response(kept["body"], kept["status"], media_type="application/json")
        if key and name in self._in_flight:
            detail = "A request with this Idempotency-Key is being worked on."
            raise Problem(409, "Idempotency-Key Concurrency Conflict", detail)
        self._in_flight.add(name)
        try:
            if (slow_s := self._book.fact("truelayer.slow_s")) is not None:
                await asyncio.sleep(float(slow_s))
            with self._book.writing():
                status, told = work(request, _object(raw))
                body = orjson.dumps(told)
                if key:
                    answer = {"digest": digest, "status": status, "body": body.decode()}
                    self._book.put("truelayer.idempotency", name, answer)
            return Response(body, status, media_type="application/json")
        finally:
            self._in_flight.discard(name)


def _object(raw: bytes) -> Body:
    try:
        body = orjson.loads(raw or b"{}")
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        raise Problem(400, "Invalid Parameters", "The body is no JSON object.")
    return body


def _invalid(errors: dict[str, list[str]]) -> Problem:
    return Problem(400, "Invalid Parameters", "The request is not what it must be.", errors)
