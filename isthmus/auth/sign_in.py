"""Sign in the way an app does, over HTTP: authorization code with PKCE (RFC 6749, RFC 7636) and a loopback redirect (RFC 8252).

Nothing listens at the redirect address: whoever walks the redirects by hand sees the code in the last of them. The password goes
only to the issuer that the API itself names (RFC 9728), only to that issuer's own origin, and only over https or on this machine.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import httpx

from isthmus.auth import pkce
from isthmus.auth.issuer_keys import LOOPBACK
from isthmus.auth.pages import Form, forms_of
from isthmus.auth.relying_party import (
    SignInFailed,
    Tokens,
    ask_for_tokens,
    check_id_token,
    check_safe,
    code_of,
    has_request,
    host_of,
    issuer_metadata,
    json_of,
    origin_of,
    same_place,
)

__all__ = ["DEFAULT_SCOPE", "SignInFailed", "Tokens", "sign_in"]

DEFAULT_SCOPE = "openid offline_access read write operate audit schema:read"
_STEPS_MAX = 12
_TIMEOUT_S = 10.0
_REDIRECTS = (301, 302, 303, 307, 308)


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
    check_safe(base, base)
    own = http is None
    http = http or httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=host_of(base) not in LOOPBACK)
    try:
        metadata = await _discover(http, base)
        return await _Walk(http, metadata, email, password, scope, client_id).tokens()
    except httpx.HTTPError as error:
        where = origin_of(str(error.request.url)) if has_request(error) else base
        raise SignInFailed(f"{where} cannot be reached ({type(error).__name__})") from None
    except httpx.InvalidURL:
        raise SignInFailed(f"an address on the way from {base} is not a URL") from None
    finally:
        if own:
            await http.aclose()


async def _discover(http: httpx.AsyncClient, base: str) -> dict[str, Any]:
    """From the API to its issuer (RFC 9728, 3.3), and from there to the issuer's endpoints (Discovery 1.0, 4.3)."""
    resource = await json_of(http, f"{base}/.well-known/oauth-protected-resource", "the API")
    named = resource.get("resource")
    if not isinstance(named, str) or not same_place(named, base):
        raise SignInFailed(f"{base} describes another API, not itself")
    servers = resource.get("authorization_servers")
    issuer = servers[0] if isinstance(servers, list) and servers else None
    if not isinstance(issuer, str):
        raise SignInFailed(f"{base} does not say where to sign in")
    return await issuer_metadata(http, issuer, base)


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
        self._origin = origin_of(metadata["authorization_endpoint"])
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
            elif response.status_code in (429, 503):
                after = response.headers.get("retry-after", "")
                why = "too many attempts to sign in" if response.status_code == 429 else "nobody can sign in right now"
                raise SignInFailed(f"{why}; try again {f'in {after} seconds' if after.isdigit() else 'later'}")
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
        if origin_of(url) != self._origin:
            raise SignInFailed(f"{self._origin} leads elsewhere, to {origin_of(url)}, where no password is sent")
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
        answer = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items() if len(values) == 1}
        code = code_of(answer, self._metadata, self._state)
        if not self._typed:
            raise SignInFailed("the issuer signed somebody in without asking for a password")
        return code

    async def _exchange(self, code: str) -> Tokens:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "client_id": self._client_id,
            "code_verifier": self._verifier,
        }
        tokens = await ask_for_tokens(self._http, self._metadata["token_endpoint"], form, self._scope)
        check_id_token(
            tokens,
            issuer=self._metadata["issuer"],
            client_id=self._client_id,
            nonce=self._nonce,
            required="openid" in self._scope.split(),
        )
        return tokens
