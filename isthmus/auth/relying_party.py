"""What every app of ours that signs people in does with an issuer: find it, check what it answers, ask it for tokens.

OpenID Connect Discovery 1.0; RFC 6749 and RFC 9207 (answers); RFC 7636 (PKCE); OpenID Connect Core 3.1.3.7 (ID tokens).
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx

from isthmus.auth import pkce
from isthmus.auth.claims import decode_base64url
from isthmus.auth.issuer_keys import LOOPBACK


class SignInFailed(Exception):
    """One sentence for whoever typed the command; never holds the password, a code or a token."""


@dataclass(frozen=True)
class Tokens:
    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_in: int | None
    scope: str
    id_token: str | None = field(repr=False)


class GrantRefused(SignInFailed):
    """The issuer takes this code or refresh token no more: only signing in again helps."""


async def issuer_metadata(http: httpx.AsyncClient, issuer: str, base: str) -> dict[str, Any]:
    """Discovery 1.0, 4.3. `base` is where the app lives: http is safe only where both are on this machine. Raises SignInFailed."""
    check_safe(issuer, base)
    metadata = await json_of(http, f"{issuer.rstrip('/')}/.well-known/openid-configuration", "the issuer")
    if metadata.get("issuer") not in (issuer, f"{issuer}/"):
        raise SignInFailed(f"{issuer} describes another issuer, not itself")
    for name in ("authorization_endpoint", "token_endpoint"):
        if not isinstance(metadata.get(name), str):
            raise SignInFailed(f"{issuer} has no {name}")
        check_safe(metadata[name], base)
    if pkce.METHOD not in metadata.get("code_challenge_methods_supported", [pkce.METHOD]):
        raise SignInFailed(f"{issuer} does not support PKCE with S256")
    return metadata


def code_of(answer: Mapping[str, str], metadata: Mapping[str, Any], state: str) -> str:
    """RFC 6749, 4.1.2, and RFC 9207: the answer belongs to this request, and to this issuer. Raises SignInFailed."""
    if not hmac.compare_digest(answer.get("state", "").encode(errors="surrogatepass"), state.encode()):
        raise SignInFailed("the issuer's answer belongs to another sign-in (state)")
    issuer = answer.get("iss")
    required = metadata.get("authorization_response_iss_parameter_supported") is True
    if issuer != metadata["issuer"] and (issuer is not None or required):
        raise SignInFailed("the answer comes from another issuer (iss)")
    if "code" not in answer:
        raise SignInFailed(f"the issuer refused: {told(answer, 'no code')}")
    return answer["code"]


async def ask_for_tokens(http: httpx.AsyncClient, url: str, form: Mapping[str, str], scope: str) -> Tokens:
    """RFC 6749, 5. `scope` is what was asked for. Raises SignInFailed, GrantRefused, or httpx's errors."""
    response = await http.post(url, data=dict(form), headers={"accept": "application/json"}, follow_redirects=False)
    answer = object_of(response, "the token endpoint")
    if response.status_code != 200:
        kind = GrantRefused if answer.get("error") == "invalid_grant" else SignInFailed
        raise kind(f"the issuer refused: {told(answer, f'status {response.status_code}')}")
    access, expires = answer.get("access_token"), answer.get("expires_in")
    if not isinstance(access, str) or not access or str(answer.get("token_type", "")).lower() != "bearer":
        raise SignInFailed("the issuer gave no bearer token")
    refresh, id_token = answer.get("refresh_token"), answer.get("id_token")
    return Tokens(
        access_token=access,
        refresh_token=refresh if isinstance(refresh, str) else None,
        expires_in=expires if isinstance(expires, int) else None,
        scope=str(answer.get("scope", scope)),
        id_token=id_token if isinstance(id_token, str) else None,
    )


def check_id_token(tokens: Tokens, *, issuer: str, client_id: str, nonce: str, required: bool) -> None:
    """OpenID Connect Core, 3.1.3.7: straight from the token endpoint, so TLS stands in for the signature. Raises SignInFailed."""
    if tokens.id_token is None:
        if required:
            raise SignInFailed("the issuer gave no ID token")
        return
    segments = tokens.id_token.split(".")
    raw = decode_base64url(segments[1]) if len(segments) == 3 else None
    try:
        claims = json.loads(raw or b"")
    except ValueError:
        claims = None
    if not isinstance(claims, dict):
        raise SignInFailed("the issuer gave an ID token that cannot be read")
    audience = claims.get("aud")
    if (
        claims.get("iss") != issuer
        or claims.get("nonce") != nonce
        or client_id not in (audience if isinstance(audience, list) else [audience])
    ):
        raise SignInFailed("the issuer gave an ID token of another sign-in")


async def json_of(http: httpx.AsyncClient, url: str, who: str) -> dict[str, Any]:
    response = await http.get(url, headers={"accept": "application/json"}, follow_redirects=False)
    if response.status_code != 200:
        raise SignInFailed(f"{who} at {origin_of(url)} does not say how to sign in (status {response.status_code})")
    return object_of(response, f"{who} at {origin_of(url)}")


def object_of(response: httpx.Response, who: str) -> dict[str, Any]:
    try:
        value = response.json()
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise SignInFailed(f"{who} answered something that is not JSON (status {response.status_code})")
    return value


def told(answer: Mapping[str, Any], otherwise: str) -> str:
    """RFC 6749, 4.1.2.1 and 5.2: one line of what the issuer says, without anything that a terminal would obey."""
    text = str(answer.get("error_description") or answer.get("error") or otherwise)
    return "".join(character for character in text if character.isprintable())[:200]


def check_safe(url: str, base: str) -> None:
    """https; or http on this machine, where the API is on this machine too."""
    try:
        parts, port = urlsplit(url), urlsplit(url).port
    except ValueError:
        raise SignInFailed(f"{url[:200]!r} is not a URL") from None
    del port
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and parts.hostname in LOOPBACK and host_of(base) in LOOPBACK:
        return
    raise SignInFailed(f"{url[:200]!r} is neither https nor http on this machine, and a password goes nowhere else")


def same_place(named: str, base: str) -> bool:
    """RFC 9728, 3.3. On this machine the port is free: two processes may serve one API."""
    if host_of(named) in LOOPBACK and host_of(base) in LOOPBACK:
        return True
    return origin_of(named) == origin_of(base)


def host_of(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}".lower()


def has_request(error: httpx.HTTPError) -> bool:
    try:
        return error.request is not None
    except RuntimeError:
        return False
