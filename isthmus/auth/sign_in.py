"""Sign in the way an app does, over HTTP: authorization code with PKCE (RFC 6749, RFC 7636) and a loopback redirect (RFC 8252).

Nothing listens at the redirect address: whoever walks the redirects by hand sees the code in the last of them. The password goes
only to the issuer that the API itself names (RFC 9728), only to that issuer's own origin, and only over https or on this machine.
"""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import httpx

from isthmus.auth import pkce
from isthmus.auth.claims import decode_base64url
from isthmus.auth.issuer_keys import LOOPBACK
from isthmus.auth.pages import Form, forms_of

DEFAULT_SCOPE = "openid offline_access read write operate audit schema:read"
_STEPS_MAX = 12
_TIMEOUT_S = 10.0
_REDIRECTS = (301, 302, 303, 307, 308)


class SignInFailed(Exception):
    """One sentence for whoever typed the command; never holds the password, a code or a token."""


@dataclass(frozen=True)
class Tokens:
    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_in: int | None
    scope: str
    id_token: str | None = field(repr=False)


async def sign_in(
    base_url: str,
    email: str,
    password: str,
    *,
    scope: str = DEFAULT_SCOPE,
    client_id: str = "isthmus-cli",
    http: httpx.AsyncClient | None = None,
) -> Tokens:
    """`base_url` is the API's address, with or without /graphql. Raises SignInFailed. `http` stays the caller's to close."""
    base = base_url.rstrip("/").removesuffix("/graphql").rstrip("/")
    _check_safe(base, base)
    own = http is None
    http = http or httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=_host(base) not in LOOPBACK)
    try:
        metadata = await _discover(http, base)
        return await _Walk(http, metadata, email, password, scope, client_id).tokens()
    except httpx.HTTPError as error:
        where = _origin(str(error.request.url)) if _has_request(error) else base
        raise SignInFailed(f"{where} cannot be reached ({type(error).__name__})") from None
    except httpx.InvalidURL:
        raise SignInFailed(f"an address on the way from {base} is not a URL") from None
    finally:
        if own:
            await http.aclose()


async def _discover(http: httpx.AsyncClient, base: str) -> dict[str, Any]:
    """From the API to its issuer (RFC 9728, 3.3), and from there to the issuer's endpoints (Discovery 1.0, 4.3)."""
    resource = await _json(http, f"{base}/.well-known/oauth-protected-resource", "the API")
    named = resource.get("resource")
    if not isinstance(named, str) or not _same_place(named, base):
        raise SignInFailed(f"{base} describes another API, not itself")
    servers = resource.get("authorization_servers")
    issuer = servers[0] if isinstance(servers, list) and servers else None
    if not isinstance(issuer, str):
        raise SignInFailed(f"{base} does not say where to sign in")
    _check_safe(issuer, base)
    metadata = await _json(http, f"{issuer.rstrip('/')}/.well-known/openid-configuration", "the issuer")
    if metadata.get("issuer") not in (issuer, f"{issuer}/"):
        raise SignInFailed(f"{issuer} describes another issuer, not itself")
    for name in ("authorization_endpoint", "token_endpoint"):
        if not isinstance(metadata.get(name), str):
            raise SignInFailed(f"{issuer} has no {name}")
        _check_safe(metadata[name], base)
    if pkce.METHOD not in metadata.get("code_challenge_methods_supported", [pkce.METHOD]):
        raise SignInFailed(f"{issuer} does not support PKCE with S256")
    return metadata


class _Walk:
    """One sign-in, from the authorization request to the tokens."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        metadata: Mapping[str, Any],
        email: str,
        password: str,
        scope: str,
        client_id: str,
    ) -> None:
        self._http = http
        self._metadata = metadata
        self._email = email
        self._password = password
        self._scope = scope
        self._client_id = client_id
        self._verifier = pkce.new_verifier()
        self._state = secrets.token_urlsafe(16)
        self._nonce = secrets.token_urlsafe(16)
        self._redirect_uri = f"http://127.0.0.1:{49_152 + secrets.randbelow(16_384)}/callback"
        self._origin = _origin(metadata["authorization_endpoint"])
        self._cookies: dict[str, str] = {}
        self._typed = False

    async def tokens(self) -> Tokens:
        return await self._exchange(self._code(await self._redirected()))

    async def _redirected(self) -> str:
        """Follow the issuer until it sends the browser back to the app; returns where it sends it."""
        query = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": self._redirect_uri,
            "scope": self._scope,
            "state": self._state,
            "nonce": self._nonce,
            "prompt": "login",
            "code_challenge": pkce.challenge_of(self._verifier),
            "code_challenge_method": pkce.METHOD,
        }
        endpoint = self._metadata["authorization_endpoint"]
        response = await self._send("GET", f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}")
        for _ in range(_STEPS_MAX):
            if response.status_code in _REDIRECTS:
                location: str = urljoin(str(response.url), response.headers.get("location", ""))
                if location.startswith(f"{self._redirect_uri}?"):
                    return location
                response = await self._send("GET", location)
            elif response.status_code == 429:
                after = response.headers.get("retry-after", "")
                raise SignInFailed(
                    f"too many attempts to sign in; try again {f'in {after} seconds' if after.isdigit() else 'later'}"
                )
            else:
                response = await self._submit(response)
        raise SignInFailed(f"{self._origin} redirects without end")

    async def _submit(self, response: httpx.Response) -> httpx.Response:
        """Fill the page's form: the sign-in form once, a page that only asks to go on (consent) as it is."""
        forms = forms_of(response.text) if "html" in response.headers.get("content-type", "") else []
        form = next((form for form in forms if form.password_field), next((f for f in forms if not f.typed), None))
        if form is None or form.method != "post":
            raise SignInFailed(f"{self._origin} refused the request to sign in (status {response.status_code})")
        return await self._send("POST", urljoin(str(response.url), form.action), self._filled(form))

    def _filled(self, form: Form) -> dict[str, str]:
        values = dict(form.hidden)
        if form.password_field is None:
            return values
        if self._typed:
            raise SignInFailed("the e-mail address or the password is wrong")
        self._typed = True
        if form.user_field is not None:
            values[form.user_field] = self._email
        values[form.password_field] = self._password
        return values

    async def _send(self, method: str, url: str, form: Mapping[str, str] | None = None) -> httpx.Response:
        """Cookies by hand: nobody's session from before takes part, and those marked Secure go over http on this machine, as in
        browsers. Hence a request that the client did not build: it would add its jar."""
        if _origin(url) != self._origin:
            raise SignInFailed(f"{self._origin} leads elsewhere, to {_origin(url)}, where no password is sent")
        headers = {"accept": "text/html", "origin": self._origin}
        if self._cookies:
            headers["cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        patience = {"timeout": httpx.Timeout(_TIMEOUT_S).as_dict()}
        request = httpx.Request(method, url, data=form, headers=headers, extensions=patience)
        response = await self._http.send(request, follow_redirects=False)
        for line in response.headers.get_list("set-cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            self._cookies[name.strip()] = value.strip()
            if not value.strip():
                del self._cookies[name.strip()]
        return response

    def _code(self, location: str) -> str:
        """RFC 6749, 4.1.2, and RFC 9207: the answer belongs to this request, and to this issuer."""
        answer = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items() if len(values) == 1}
        if not hmac.compare_digest(answer.get("state", "").encode(), self._state.encode()):
            raise SignInFailed("the issuer's answer belongs to another sign-in (state)")
        told = answer.get("iss")
        required = self._metadata.get("authorization_response_iss_parameter_supported") is True
        if told != self._metadata["issuer"] and (told is not None or required):
            raise SignInFailed("the answer comes from another issuer (iss)")
        if "code" not in answer:
            raise SignInFailed(f"the issuer refused: {_told(answer, 'no code')}")
        if not self._typed:
            raise SignInFailed("the issuer signed somebody in without asking for a password")
        return answer["code"]

    async def _exchange(self, code: str) -> Tokens:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "client_id": self._client_id,
            "code_verifier": self._verifier,
        }
        headers = {"accept": "application/json"}
        url = self._metadata["token_endpoint"]
        response = await self._http.post(url, data=form, headers=headers, follow_redirects=False)
        answer = _object(response, "the token endpoint")
        if response.status_code != 200:
            raise SignInFailed(f"the issuer refused: {_told(answer, f'status {response.status_code}')}")
        access, expires = answer.get("access_token"), answer.get("expires_in")
        if not isinstance(access, str) or not access or str(answer.get("token_type", "")).lower() != "bearer":
            raise SignInFailed("the issuer gave no bearer token")
        self._check_id_token(answer.get("id_token"))
        refresh, id_token = answer.get("refresh_token"), answer.get("id_token")
        return Tokens(
            access_token=access,
            refresh_token=refresh if isinstance(refresh, str) else None,
            expires_in=expires if isinstance(expires, int) else None,
            scope=str(answer.get("scope", self._scope)),
            id_token=id_token if isinstance(id_token, str) else None,
        )

    def _check_id_token(self, id_token: object) -> None:
        """OpenID Connect Core, 3.1.3.7: straight from the token endpoint, so TLS stands in for the signature."""
        if not isinstance(id_token, str):
            if "openid" in self._scope.split():
                raise SignInFailed("the issuer gave no ID token")
            return
        segments = id_token.split(".")
        raw = decode_base64url(segments[1]) if len(segments) == 3 else None
        try:
            claims = json.loads(raw or b"")
        except ValueError:
            claims = None
        if not isinstance(claims, dict):
            raise SignInFailed("the issuer gave an ID token that cannot be read")
        audience = claims.get("aud")
        if (
            claims.get("iss") != self._metadata["issuer"]
            or claims.get("nonce") != self._nonce
            or self._client_id not in (audience if isinstance(audience, list) else [audience])
        ):
            raise SignInFailed("the issuer gave an ID token of another sign-in")


async def _json(http: httpx.AsyncClient, url: str, who: str) -> dict[str, Any]:
    response = await http.get(url, headers={"accept": "application/json"}, follow_redirects=False)
    if response.status_code != 200:
        raise SignInFailed(f"{who} at {_origin(url)} does not say how to sign in (status {response.status_code})")
    return _object(response, f"{who} at {_origin(url)}")


def _object(response: httpx.Response, who: str) -> dict[str, Any]:
    try:
        value = response.json()
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise SignInFailed(f"{who} answered something that is not JSON (status {response.status_code})")
    return value


def _told(answer: Mapping[str, Any], otherwise: str) -> str:
    """RFC 6749, 4.1.2.1 and 5.2: one line of what the issuer says, without anything that a terminal would obey."""
    text = str(answer.get("error_description") or answer.get("error") or otherwise)
    return "".join(character for character in text if character.isprintable())[:200]


def _check_safe(url: str, base: str) -> None:
    """https; or http on this machine, where the API is on this machine too."""
    try:
        parts, port = urlsplit(url), urlsplit(url).port
    except ValueError:
        raise SignInFailed(f"{url[:200]!r} is not a URL") from None
    del port
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and parts.hostname in LOOPBACK and _host(base) in LOOPBACK:
        return
    raise SignInFailed(f"{url[:200]!r} is neither https nor http on this machine, and a password goes nowhere else")


def _same_place(named: str, base: str) -> bool:
    """RFC 9728, 3.3. On this machine the port is free: two processes may serve one API."""
    if _host(named) in LOOPBACK and _host(base) in LOOPBACK:
        return True
    return _origin(named) == _origin(base)


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}".lower()


def _has_request(error: httpx.HTTPError) -> bool:
    try:
        return error.request is not None
    except RuntimeError:
        return False
