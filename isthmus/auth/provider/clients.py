"""Clients: all of them public, so a redirect address that matches exactly and PKCE are what stands between a code and a thief."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
from authlib.oauth2.rfc6749 import ClientMixin

from isthmus.auth.scopes import Scope

OPENID_SCOPES = ("openid", "profile", "email", "offline_access")
ALL_SCOPES = (*OPENID_SCOPES, *(scope.value for scope in Scope))
GRANT_TYPES = ("authorization_code", "refresh_token")

#: RFC 8252, 7.3: a native app listens on whatever port it gets. The address alone, never the name `localhost` (8.3).
_LOOPBACK = re.compile(r"http://127\.0\.0\.1:([1-9][0-9]{0,4})(/[^#]*)")
_PORTS_MAX = 65_535


@dataclass(frozen=True)
class Client(ClientMixin):  # type: ignore[misc]  # authlib has no types
    """What authlib asks a client. `native`: an app on the person's machine, which anyone there can pretend to be (RFC 8252, 8.6)."""

    client_id: str
    name: str
    redirect_uris: tuple[str, ...]
    post_logout_redirect_uris: tuple[str, ...]
    scopes: frozenset[str]
    native: bool

    def get_client_id(self) -> str:
        return self.client_id

    def get_default_redirect_uri(self) -> None:
        """There is none: a request names its redirect address."""

    def get_allowed_scope(self, scope: str | None) -> str | None:
        """None refuses the request: nothing was asked for that this client may have."""
        return join_scopes(self.scopes & set((scope or "").split())) or None

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        """RFC 9700, 2.1: the same text, character by character; only the port of a native app's loopback address is free."""
        if redirect_uri in self.redirect_uris:
            return True
        loopback = _LOOPBACK.fullmatch(redirect_uri) if self.native else None
        if loopback is None or int(loopback[1]) > _PORTS_MAX:
            return False
        return f"http://127.0.0.1{loopback[2]}" in self.redirect_uris

    def check_client_secret(self, client_secret: str) -> bool:
        del client_secret
        return False

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        del endpoint
        return method == "none"

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in GRANT_TYPES


def join_scopes(scopes: frozenset[str] | set[str]) -> str:
    return " ".join(scope for scope in ALL_SCOPES if scope in scopes)


def find_client(connection: sa.Connection, client_id: str) -> Client | None:
    row = connection.execute(
        sa.text(
            "select client_id, name, redirect_uris, post_logout_redirect_uris, scopes, native "
            "from provider.clients where client_id = :client_id"
        ),
        {"client_id": client_id},
    ).one_or_none()
    if row is None:
        return None
    return Client(
        row.client_id,
        row.name,
        tuple(row.redirect_uris),
        tuple(row.post_logout_redirect_uris),
        frozenset(row.scopes),
        row.native,
    )


def check_registrable(uri: str) -> None:
    """Raises ValueError for what no client may register: RFC 6749, 3.1.2 and RFC 9700, 2.6."""
    parts = urlsplit(uri)
    loopback = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost")
    if not (parts.scheme == "https" and parts.hostname) and not loopback:
        raise ValueError("a redirect address is https, or http on this machine")
    if (
        "#" in uri
        or "*" in uri
        or parts.username is not None
        or not uri.isascii()
        or re.search(r"[\s\\]|/\.\.?(/|$)", uri)
    ):
        raise ValueError("a redirect address has no fragment, wildcard, user, blank, backslash or dot segment")


async def register_client(
    connection: Any,
    client_id: str,
    redirect_uris: Sequence[str],
    *,
    name: str | None = None,
    post_logout_redirect_uris: Sequence[str] = (),
    scopes: Sequence[str] = ALL_SCOPES,
    native: bool = False,
) -> None:
    """Make the (public) client, or give it these addresses instead of those it had. `connection` is asyncpg's."""
    for uri in (*redirect_uris, *post_logout_redirect_uris):
        check_registrable(uri)
    if unknown := set(scopes) - set(ALL_SCOPES):
        raise ValueError(f"there is no scope {sorted(unknown)[0]}")
    await connection.execute(
        "insert into provider.clients (client_id, name, redirect_uris, post_logout_redirect_uris, scopes, native) "
        "values ($1, $2, $3, $4, $5, $6) on conflict (client_id) do update set name = excluded.name, "
        "redirect_uris = excluded.redirect_uris, post_logout_redirect_uris = excluded.post_logout_redirect_uris, "
        "scopes = excluded.scopes, native = excluded.native, updated_at = now()",
        client_id,
        name or client_id,
        list(redirect_uris),
        list(post_logout_redirect_uris),
        list(scopes),
        native,
    )


async def register_playground(database_url: str, client_id: str, *urls: str) -> None:
    """The playground's addresses, exact, under which browsers find it now."""
    import asyncpg

    connection = await asyncpg.connect(database_url)
    try:
        await register_client(
            connection,
            client_id,
            [f"{url}/playground/callback" for url in urls],
            name="Isthmus playground",
            post_logout_redirect_uris=[f"{url}/playground/signed-out" for url in urls],
        )
    finally:
        await connection.close()
