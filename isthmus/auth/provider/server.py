"""authlib's authorization server (RFC 6749) with our storage behind its hooks.

Its core is synchronous, so one of these is made per request around a synchronous view of that request's connection (SQLAlchemy's
`run_sync`), and everything that it does is one transaction. authlib carries the order of the checks, client authentication, the
error answers and the token endpoint's grants. Ours are: S256 only (authlib takes `plain`, and lets a request come without a
challenge), tokens (see `jwts.py`), `iss` on every answer that goes to a redirect address, error answers too (RFC 9207; authlib's
extension leaves some out), and fixed error sentences: authlib's repeat what was sent, and fail on characters outside RFC 6749's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from authlib.common.urls import add_params_to_uri
from authlib.oauth2.rfc6749 import (
    AuthorizationServer,
    OAuth2Error,
    UnsupportedGrantTypeError,
    UnsupportedResponseTypeError,
)

from isthmus.auth.provider import store
from isthmus.auth.provider.clients import ALL_SCOPES, GRANT_TYPES, Client, find_client
from isthmus.auth.provider.grants import CodeGrant, RefreshGrant, Revocation, S256Only
from isthmus.auth.provider.jwts import Minter
from isthmus.auth.provider.keys import SigningKeys
from isthmus.auth.provider.messages import Answer, FormRequest, permitted
from isthmus.auth.provider.store import Grant, Session, User

#: Instead of authlib's own sentences where those repeat what was sent.
_SENTENCES = {
    "unsupported_response_type": "Only response_type=code is supported.",
    "unsupported_grant_type": "Only authorization_code and refresh_token are supported.",
    "invalid_grant": "The code or token is unknown, used, expired, revoked, or was given to someone else.",
    "invalid_scope": "None of the requested scopes may be given, or one of them is unknown.",
}


@dataclass(frozen=True)
class Parts:
    """What every request shares."""

    minter: Minter
    keys: SigningKeys


class Server(AuthorizationServer):  # type: ignore[misc]  # authlib has no types
    def __init__(self, parts: Parts, connection: sa.Connection, now: datetime) -> None:
        super().__init__(scopes_supported=ALL_SCOPES)
        self.parts, self.connection, self.now = parts, connection, now
        self.register_grant(CodeGrant, [S256Only(required=True)])
        self.register_grant(RefreshGrant)
        self.register_endpoint(Revocation)

    def query_client(self, client_id: str) -> Client | None:
        return find_client(self.connection, client_id)

    def create_oauth2_request(self, request: FormRequest) -> FormRequest:
        return request

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Nobody listens."""

    def handle_response(self, status: int, body: Any, headers: Iterable[tuple[str, str]]) -> Answer:
        location = dict(headers).get("Location")
        if location is not None:
            return Answer(303, location=add_params_to_uri(location, [("iss", self.parts.minter.issuer)]))
        return Answer(status, dict(body))

    def handle_error_response(self, request: FormRequest, error: OAuth2Error) -> Answer:
        error.description = _SENTENCES.get(error.error, error.description)
        error.state = None if error.redirect_uri is None else request.payload.state
        answer: Answer = super().handle_error_response(request, error)
        return answer

    def consent_grant(self, request: FormRequest, session: Session | None) -> CodeGrant:
        """The checked authorization request. Raises OAuth2Error, with a redirect address only once that is verified."""
        request.check()
        grant: CodeGrant = self.get_consent_grant(request, session)
        return grant

    def get_authorization_grant(self, request: FormRequest) -> CodeGrant:
        if request.payload.response_type == "code":
            grant: CodeGrant = super().get_authorization_grant(request)
            return grant
        client = self.query_client(request.payload.client_id or "")
        uri = request.payload.redirect_uri or ""
        verified = uri if client is not None and client.check_redirect_uri(uri) else None
        raise UnsupportedResponseTypeError("this", redirect_uri=verified)

    def get_token_grant(self, request: FormRequest) -> Any:
        request.check()
        if request.payload.grant_type not in GRANT_TYPES:
            raise UnsupportedGrantTypeError("this")
        return super().get_token_grant(request)

    def token_response(self, request: FormRequest) -> Answer:
        try:
            answer: Answer = self.create_token_response(request)
        except OAuth2Error as error:
            answer = self.handle_error_response(request, error)
        return answer

    def revocation_response(self, request: FormRequest) -> Answer:
        try:
            request.check()
            answer: Answer = self.create_endpoint_response("revocation", request)
        except OAuth2Error as error:
            answer = self.handle_error_response(request, error)
        return answer

    def tokens(self, grant: Grant, user: User, scope: str, client: Client) -> dict[str, Any]:
        """RFC 6749, 5.1. Roles may have changed since the sign-in, so the scope is cut to them each time."""
        scope = permitted(scope, user)
        key = self.parts.keys.current(self.connection, self.now)
        minter = self.parts.minter
        token: dict[str, Any] = {
            "access_token": minter.access_token(key, self.now, user, grant, scope),
            "token_type": "Bearer",
            "expires_in": int(minter.access_life.total_seconds()),
            "scope": scope,
        }
        if client.check_grant_type("refresh_token"):
            token["refresh_token"] = store.new_secret()
        return token
