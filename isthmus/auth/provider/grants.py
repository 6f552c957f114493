"""What a client may bring to the token endpoint, how it is checked once and used once, and how it is taken back.

authlib drives these; `server` is the one of this request, so that all of it happens in that request's transaction. A refusal
that must leave something behind (a replay ends a family) is an answer, not an exception, and is committed like any other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from authlib.oauth2.rfc6749 import AccessDeniedError, InvalidRequestError, OAuth2Error
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant, RefreshTokenGrant
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7636 import CodeChallenge

from isthmus.auth.pkce import is_challenge, is_verifier
from isthmus.auth.provider import store
from isthmus.auth.provider.clients import Client
from isthmus.auth.provider.jwts import family_of
from isthmus.auth.provider.messages import FormRequest, permitted
from isthmus.auth.provider.store import Grant, Session, User

log = structlog.get_logger(__name__)

_NUMBER = re.compile(r"[0-9]{1,9}")
_UNSUPPORTED = ("request", "request_uri", "registration")


class S256Only(CodeChallenge):  # type: ignore[misc]
    """PKCE (RFC 7636) is required, with S256: `plain` shows the verifier to whoever sees the request (RFC 9700, 2.1.1)."""

    SUPPORTED_CODE_CHALLENGE_METHOD = ("S256",)
    DEFAULT_CODE_CHALLENGE_METHOD = "S256"

    def validate_code_challenge(self, grant: CodeGrant, redirect_uri: str) -> None:
        del redirect_uri
        data = grant.request.payload.data
        if data.get("code_challenge_method") != "S256" or not is_challenge(data.get("code_challenge", "")):
            raise InvalidRequestError("PKCE is required: code_challenge with code_challenge_method=S256.")

    def validate_code_verifier(self, grant: CodeGrant, result: object) -> None:
        if not is_verifier(grant.request.form.get("code_verifier", "")):
            raise InvalidRequestError("code_verifier is missing or malformed.")
        super().validate_code_verifier(grant, result)


class CodeGrant(AuthorizationCodeGrant):  # type: ignore[misc]
    """The authorization code grant (RFC 6749, 4.1). `request.user` is the person's session."""

    TOKEN_ENDPOINT_AUTH_METHODS = ("none",)

    @staticmethod
    def validate_authorization_redirect_uri(request: FormRequest, client: Client) -> str:
        uri: str = request.payload.redirect_uri or ""
        if not client.check_redirect_uri(uri):
            raise InvalidRequestError("redirect_uri is missing, or is not one that this client registered.")
        return uri

    def validate_consent_request(self) -> Any:
        redirect_uri = super().validate_consent_request()
        data = self.request.payload.data
        try:
            for name in _UNSUPPORTED:  # OpenID Connect Core 6
                if name in data:
                    raise OAuth2Error(f"{name} is not supported.", error=f"{name}_not_supported")
            if data.get("response_mode", "query") != "query":
                raise InvalidRequestError("Only response_mode=query is supported.")
            if not _NUMBER.fullmatch(data.get("max_age", "0")):
                raise InvalidRequestError("max_age is a number of seconds.")
            prompts = data.get("prompt", "").split()
            if "none" in prompts and len(prompts) > 1:
                raise InvalidRequestError("prompt=none goes with no other.")
        except OAuth2Error as error:
            error.redirect_uri = redirect_uri
            raise
        return redirect_uri

    def create_authorization_response(self, redirect_uri: str, grant_user: Session | None) -> Any:
        """The code, or `access_denied` where the person said no or may have nothing of what was asked for."""
        if grant_user is not None and not permitted(self.request.scope, grant_user.user):
            raise AccessDeniedError("This user may have none of the requested scopes.", redirect_uri=redirect_uri)
        return super().create_authorization_response(redirect_uri, grant_user)

    def generate_authorization_code(self) -> str:
        return store.new_secret()

    def save_authorization_code(self, code: str, request: FormRequest) -> None:
        session: Session = request.user
        store.save_code(
            self.server.connection,
            code,
            session,
            self.server.now,
            client_id=request.client.client_id,
            redirect_uri=request.payload.redirect_uri,
            scope=permitted(request.scope, session.user),
            nonce=request.payload.data.get("nonce"),
            code_challenge=request.payload.data["code_challenge"],
        )

    def query_authorization_code(self, code: str, client: Client) -> Grant | None:
        """A code that was used before takes the tokens of its first use with it (RFC 6749, 4.1.2)."""
        row = store.lock_code(self.server.connection, code, client.client_id)
        if row is None:
            return None
        if row.used_at is not None:
            if store.revoke_family(self.server.connection, row.family, "code replayed", self.server.now):
                log.warning("provider.code_replayed", family=str(row.family), client_id=client.client_id)
            return None
        return _grant(row) if self.server.now < row.expires_at else None

    def authenticate_user(self, authorization_code: Grant) -> User | None:
        return store.find_user(self.server.connection, authorization_code.subject)

    def generate_token(self, user: User, scope: str, **_: object) -> dict[str, Any]:
        token: dict[str, Any] = self.server.tokens(self.request.authorization_code, user, scope, self.request.client)
        return token

    def save_token(self, token: dict[str, Any]) -> None:
        """Also the ID token (OpenID Connect Core 3.1.3.3), which authlib's extension would date by the wall clock."""
        server, grant = self.server, self.request.authorization_code
        store.start_family(server.connection, grant, server.now)
        store.add_refresh_token(server.connection, token["refresh_token"], grant.family, server.now)
        if "openid" in token["scope"].split():
            key = server.parts.keys.current(server.connection, server.now)
            token["id_token"] = server.parts.minter.id_token(key, server.now, grant, token["access_token"])

    def delete_authorization_code(self, authorization_code: Grant) -> None:
        """Marked, not deleted: a replay must be recognised."""
        store.use_code(self.server.connection, authorization_code, self.server.now)


class RefreshGrant(RefreshTokenGrant):  # type: ignore[misc]
    """Refresh with rotation (RFC 9700, 4.14.2): each token works once, and a second use ends the whole family."""

    TOKEN_ENDPOINT_AUTH_METHODS = ("none",)
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, refresh_token: str) -> Grant | None:
        server = self.server
        row = store.lock_refresh_token(server.connection, refresh_token, self.request.client.client_id)
        if row is None or row.revoked_at is not None:
            return None
        if row.used_at is not None:
            store.revoke_family(server.connection, row.family, "refresh token reused", server.now)
            log.warning("provider.refresh_token_reused", family=str(row.family), client_id=row.client_id)
            return None
        return _grant(row) if server.now < row.expires_at else None

    def authenticate_user(self, refresh_token: Grant) -> User | None:
        return store.find_user(self.server.connection, refresh_token.subject)

    def generate_token(self, user: User, scope: str, **_: object) -> dict[str, Any]:
        token: dict[str, Any] = self.server.tokens(self.request.refresh_token, user, scope, self.request.client)
        return token

    def save_token(self, token: dict[str, Any]) -> None:
        store.add_refresh_token(
            self.server.connection, token["refresh_token"], self.request.refresh_token.family, self.server.now
        )

    def revoke_old_credential(self, refresh_token: Grant) -> None:
        store.use_refresh_token(self.server.connection, refresh_token, self.server.now)


@dataclass(frozen=True)
class _Revocable:
    family: UUID
    client_id: str

    def check_client(self, client: Client) -> bool:
        return client.client_id == self.client_id


class Revocation(RevocationEndpoint):  # type: ignore[misc]
    """RFC 7009. Either token ends its family; a token that nobody gave out is answered like one that was revoked."""

    CLIENT_AUTH_METHODS = ("none",)

    def query_token(self, token_string: str, token_type_hint: str | None) -> _Revocable | None:
        del token_type_hint
        server = self.server
        client: Client = self.client
        row = store.lock_refresh_token(server.connection, token_string, client.client_id)
        if row is not None:
            return _Revocable(row.family, client.client_id)
        keys = server.parts.keys.published(server.connection, server.now)
        claims = server.parts.minter.read_access_token(keys, token_string, server.now)
        return _Revocable(family_of(claims), claims["client_id"]) if claims is not None else None

    def check_params(self, request: FormRequest, client: Client) -> None:
        self.client = client
        super().check_params(request, client)

    def revoke_token(self, token: _Revocable, request: FormRequest) -> None:
        del request
        store.revoke_family(self.server.connection, token.family, "revoked", self.server.now)


def _grant(row: Any) -> Grant:
    values = row._mapping
    return Grant(**{name: values[name] for name in Grant.__dataclass_fields__ if name in values})
