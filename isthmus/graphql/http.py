"""GraphQL over HTTP: POST for anything but subscriptions, GET for queries; always JSON, and `errors` whatever the status.

Nothing is looked at for whoever is not signed in. Under application/json an error in the document is 200, as the specification
wants for old clients; under application/graphql-response+json it is 4xx.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Mapping
from typing import Any, TypeVar

import orjson
from graphql import GraphQLError, OperationType
from starlette.requests import Request
from starlette.responses import Response
from structlog.contextvars import bind_contextvars

from isthmus.auth.caller import Caller
from isthmus.auth.tokens import IssuerUnavailable, TokenRefused
from isthmus.graphql import metrics
from isthmus.graphql.admission import UNTOLD, Overloaded
from isthmus.graphql.call import Call
from isthmus.graphql.context import RequestContext
from isthmus.graphql.cookies import PROOF, Unproven, caller_by_cookie, looks_on
from isthmus.graphql.documents import Refused
from isthmus.graphql.errors import (
    RETRYABLE,
    ApiError,
    BadUserInput,
    ErrorCode,
    Forbidden,
    NotYetVisible,
    RateLimited,
    Unauthenticated,
    Unavailable,
    classify,
)
from isthmus.graphql.execution import Answer, Executor, nothing_ran
from isthmus.graphql.json_bodies import TooDeep, decode
from isthmus.graphql.lingering import Lingering
from isthmus.graphql.live import Subscription
from isthmus.graphql.media import EVENTS, GRAPHQL, JSON, is_json_body, pick, takes_events
from isthmus.graphql.scalars import parse_position
from isthmus.graphql.sse import EventStream, answered

POSITION_HEADER = "x-isthmus-position"
LAST_EVENT_ID = "last-event-id"


class HttpError(Exception):
    """An answer by status: the request never became an operation."""

    def __init__(self, status: int, error: GraphQLError, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(error.message)
        self.status = status
        self.error = error
        self.headers = dict(headers or {})


_Checked = TypeVar("_Checked")


class HttpTransport:
    def __init__(self, executor: Executor, challenge: str = "Bearer") -> None:
        """`challenge` is what WWW-Authenticate says: where to learn how to sign in."""
        self._executor = executor
        self._challenge = challenge
        self._body_max = executor.api.body_bytes_max

    async def handle(self, request: Request, correlation_id: str) -> Response:
        media_type = pick(request.headers.get("accept"))
        events = takes_events(request.headers.get("accept"))
        try:
            if request.method not in ("GET", "POST"):
                raise HttpError(405, BadUserInput("Use POST, or GET for queries."), {"Allow": "GET, POST"})
            if media_type is None and not events:
                raise HttpError(406, BadUserInput(f"The answer comes as {GRAPHQL}, {JSON} or {EVENTS}."))
            if request.method == "POST" and not is_json_body(request.headers.get("content-type")):
                raise HttpError(415, BadUserInput("The body must be application/json in UTF-8."))
            self._executor.admission.check()
            address = self._executor.address_of(request.scope)
            caller = await self._admitted(request, address)
            bind_contextvars(actor=caller.actor)
            position = _position(request)
            call = await self._call(request)
            answer = await self._answer(request, caller, correlation_id, call, position)
            if isinstance(answer, Subscription):
                return self._stream(answer, caller, correlation_id)
            if media_type is None and answer.executed:
                return answered(answer, correlation_id)
            status, headers = _status(answer, media_type), {}
            if answer.errors and classify(answer.errors[0]) in RETRYABLE:
                headers["Retry-After"] = str(_wait_s(answer.errors[0]))
        except Overloaded as error:
            request.scope[UNTOLD] = True
            answer, status, headers = nothing_ran(error), 503, {"Retry-After": str(error.retry_after_s)}
        except HttpError as refusal:
            answer, status, headers = nothing_ran(refusal.error), refusal.status, refusal.headers
        if not answer.counted:
            metrics.refused(answer.outcome)
        unread = status in (408, 413)
        return (Lingering if unread else Response)(
            orjson.dumps(answer.shape(correlation_id)),
            status,
            headers={**headers, "Content-Type": f"{media_type or JSON}; charset=utf-8"},
        )

    async def _open(self, context: RequestContext) -> Subscription:
        """Counted among the caller's connections before anything is read for it, until the stream ends."""
        connections, person_id = self._executor.open_connections, context.caller.person_id
        try:
            connections.enter(person_id)
        except RateLimited as error:
            raise _too_many(error) from None
        try:
            return await self._executor.live.open(context)
        except BaseException:
            connections.leave(person_id)
            raise

    def _stream(self, subscription: Subscription, caller: Caller, correlation_id: str) -> EventStream:
        return EventStream(
            subscription,
            correlation_id,
            ended=lambda: self._executor.services.verifier.until_ended(caller),
            left=lambda: self._executor.open_connections.leave(caller.person_id),
        )

    async def _admitted(self, request: Request, address: str) -> Caller:
        """Who may pass: the address first, so that looking up what was made up costs an address as much as anything else."""
        try:
            await self._executor.admit_address(address)
            caller = await self._caller(request)
            await self._executor.admit_caller(caller, address)
        except RateLimited as error:
            raise _too_many(error) from None
        return caller

    async def _caller(self, request: Request) -> Caller:
        if "authorization" not in request.headers and (caller := await self._by_cookie(request)) is not None:
            return caller
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        challenge = {"WWW-Authenticate": self._challenge}
        if scheme.lower() != "bearer" or not token.strip():
            raise HttpError(401, Unauthenticated("Sign in: send an access token as a bearer token."), challenge)
        return await self._checked(self._executor.services.verifier.verify(token.strip(), looks_on=True))

    async def _checked(self, asked: Awaitable[_Checked]) -> _Checked:
        try:
            return await asked
        except TokenRefused:
            challenge = {"WWW-Authenticate": f'{self._challenge}, error="invalid_token"'}
            if self._challenge == "Bearer":
                challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
            raise HttpError(401, Unauthenticated("The access token is not valid. Sign in again."), challenge) from None
        except IssuerUnavailable:
            raise HttpError(503, Unavailable("Tokens cannot be checked right now."), {"Retry-After": "1"}) from None

    async def _by_cookie(self, request: Request) -> Caller | None:
        try:
            return await caller_by_cookie(request, self._executor.services.sessions)
        except Unproven:
            raise HttpError(403, Forbidden(f"Whoever signs in by cookie sends the header {PROOF}.")) from None
        except IssuerUnavailable:
            raise HttpError(503, Unavailable("Sessions cannot be checked right now."), {"Retry-After": "1"}) from None

    async def _call(self, request: Request) -> Call:
        try:
            if request.method == "GET":
                return Call.of(_query_parameters(request, self._executor.api.json_depth_max))
            return Call.of(decode(await self._body(request), self._executor.api.json_depth_max))
        except TooDeep as error:
            raise HttpError(400, BadUserInput(f"The JSON is {error}.")) from None
        except orjson.JSONDecodeError:
            raise HttpError(400, BadUserInput("That is not JSON in UTF-8.")) from None
        except ApiError as error:
            raise HttpError(400, error) from None

    async def _body(self, request: Request) -> bytes:
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise HttpError(415, BadUserInput("The body must not be compressed."))
        too_long = HttpError(
            413, BadUserInput(f"The body is longer than {self._body_max} bytes."), {"Connection": "close"}
        )
        announced = request.headers.get("content-length", "0")
        if not announced.isdecimal() or int(announced[:20]) > self._body_max:
            raise too_long
        body = bytearray()
        try:
            async with asyncio.timeout(self._executor.api.request_timeout_s):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > self._body_max:
                        raise too_long
        except TimeoutError:
            raise HttpError(408, BadUserInput("The body did not come in time."), {"Connection": "close"}) from None
        return bytes(body)

    async def _answer(
        self, request: Request, caller: Caller, correlation_id: str, call: Call, position: int | None
    ) -> Answer | Subscription:
        streams = takes_events(request.headers.get("accept"))
        try:
            prepared = await self._executor.prepare(call, caller)
        except Refused as refused:
            return nothing_ran(*refused.errors)
        if prepared.kind is OperationType.SUBSCRIPTION and not streams:
            return nothing_ran(BadUserInput(f"Subscriptions come over WebSocket, or as {EVENTS}, at the same address."))
        if request.method == "GET" and prepared.kind is OperationType.MUTATION:
            raise HttpError(405, BadUserInput("GET is for queries only."), {"Allow": "POST"})
        if prepared.kind is not OperationType.SUBSCRIPTION and not looks_on(request):
            await self._checked(self._executor.services.verifier.used(caller))
        try:
            await self._executor.visible(prepared, position)
        except NotYetVisible as error:
            return nothing_ran(error)
        context = self._executor.context(caller, correlation_id, prepared, _resume_after(request))
        if prepared.kind is OperationType.SUBSCRIPTION:
            try:
                return await self._open(context)
            except Refused as refused:
                return nothing_ran(*refused.errors)
        return await self._executor.run(context)


def _too_many(error: RateLimited) -> HttpError:
    return HttpError(429, error, {"Retry-After": str(math.ceil(error.retry_after_s))})


def _wait_s(error: GraphQLError) -> int:
    """As the error itself says, where it does; whole seconds, so that whoever waits so long has waited long enough."""
    wait_ms: int = (error.extensions or {}).get("retryAfterMs", 1_000)
    return math.ceil(wait_ms / 1_000)


def _position(request: Request) -> int | None:
    return _header(request, POSITION_HEADER, "X-Isthmus-Position: give back the digits that a mutation answered.")


def _resume_after(request: Request) -> int | None:
    return _header(request, LAST_EVENT_ID, "Last-Event-ID: give back the id of the last event.")


def _header(request: Request, name: str, advice: str) -> int | None:
    text = request.headers.get(name)
    if text is None:
        return None
    try:
        return parse_position(text)
    except BadUserInput:
        raise HttpError(400, BadUserInput(advice)) from None


def _query_parameters(request: Request, json_depth_max: int) -> dict[str, Any]:
    parameters: dict[str, Any] = dict(request.query_params)
    for name in ("variables", "extensions"):
        if name in parameters:
            parameters[name] = decode(parameters[name].encode(errors="surrogatepass"), json_depth_max)
    return parameters


def _status(answer: Answer, media_type: str | None) -> int:
    if answer.executed or media_type == JSON:
        return 200
    code = classify(answer.errors[0])
    return 503 if code in RETRYABLE else 500 if code is ErrorCode.INTERNAL else 400
