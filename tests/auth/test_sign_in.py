"""Signing in over HTTP against an issuer that follows the standards, and against ones that do not."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

import httpx
import pytest

from isthmus.auth import pkce
from isthmus.auth.pages import forms_of
from isthmus.auth.sign_in import DEFAULT_SCOPE, SignInFailed, Tokens, sign_in
from tests.auth.fake_issuer import b64

API = "https://api.example"
ISSUER = "https://issuer.example"
EMAIL, PASSWORD = "ada@example.com", "correct horse"


@dataclass
class Provider:
    """Right in everything; each field bends one thing."""

    resource: dict[str, Any] = field(default_factory=dict)
    document: dict[str, Any] = field(default_factory=dict)
    answer: dict[str, Any] = field(default_factory=dict)  # the redirect's query; None leaves a part out
    token: dict[str, Any] = field(default_factory=dict)
    id_claims: dict[str, Any] = field(default_factory=dict)
    form_action: str = "/sign-in?keep=a&amp;b=c"
    user_name: str = "email"
    consent: bool = False
    slow: bool = False
    loops: bool = False
    signed_in: bool = False
    seen: list[tuple[str, str]] = field(default_factory=list)
    asked: dict[str, str] = field(default_factory=dict)
    passwords: list[str] = field(default_factory=list)

    def http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.seen.append((request.method, f"{request.url.scheme}://{request.url.netloc.decode()}{request.url.path}"))
        form = dict(parse_qsl(request.content.decode())) if request.method == "POST" else {}
        cookie = request.headers.get("cookie", "")
        match request.url.path:
            case "/.well-known/oauth-protected-resource":
                told = {"resource": API, "authorization_servers": [ISSUER]}
                return httpx.Response(200, json={**told, **self.resource})
            case "/.well-known/openid-configuration":
                return httpx.Response(200, json=self._document())
            case "/authorize":
                assert not cookie
                self.asked = dict(request.url.params)
                if self.signed_in:
                    return self._back()
                return httpx.Response(302, headers={"location": "/page", "set-cookie": "__Host-s=1; Path=/; Secure"})
            case "/page":
                assert cookie == "__Host-s=1"
                if self.loops:
                    return httpx.Response(302, headers={"location": "/page"})
                return self._page(200)
            case "/sign-in":
                assert dict(request.url.params) == {"keep": "a", "b": "c"}
                assert (form["csrf"], cookie) == ("t&k", "__Host-s=1")
                assert "action" not in form, "no button was pressed, so Cancel was not"
                self.passwords.append(form["password"])
                if self.slow:
                    return httpx.Response(429, headers={"retry-after": "30"}, html=_SIGN_IN)
                if (form[self.user_name], form["password"]) != (EMAIL, PASSWORD):
                    return self._page(400)
                return httpx.Response(200, html=_CONSENT) if self.consent else self._back()
            case "/continue":
                assert form == {"csrf": "t&k"}
                return self._back()
            case "/token":
                return self._tokens(form)
            case _:
                return httpx.Response(404)

    def _document(self) -> dict[str, Any]:
        return {
            "issuer": ISSUER,
            "authorization_endpoint": f"{ISSUER}/authorize",
            "token_endpoint": f"{ISSUER}/token",
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
            **self.document,
        }

    def _page(self, status: int) -> httpx.Response:
        return httpx.Response(status, html=_SIGN_IN.format(action=self.form_action, user=self.user_name))

    def _back(self) -> httpx.Response:
        answer = {"code": "c0de", "state": self.asked["state"], "iss": ISSUER, **self.answer}
        query = urlencode({name: value for name, value in answer.items() if value is not None})
        return httpx.Response(303, headers={"location": f"{self.asked['redirect_uri']}?{query}"})

    def _tokens(self, form: dict[str, str]) -> httpx.Response:
        assert form["redirect_uri"] == self.asked["redirect_uri"]
        assert pkce.verify(form["code_verifier"], self.asked["code_challenge"])
        claims = {"iss": ISSUER, "aud": "isthmus-cli", "nonce": self.asked["nonce"], **self.id_claims}
        given = {
            "access_token": "the.access.token",
            "token_type": "Bearer",
            "expires_in": 600,
            "refresh_token": "refresh",
            "scope": "openid read write",
            "id_token": f"e30.{b64(json.dumps(claims).encode())}.c2ln",
            **self.token,
        }
        return httpx.Response(400 if "error" in given else 200, json=given)


_SIGN_IN = """<!doctype html><form action="/search"><input name="q"></form>
<form method="post" action="{action}"><input type="hidden" name="csrf" value="t&amp;k">
<input name="{user}" type="email"><input name="password" type="password"><input type="checkbox" name="stay">
<button type="submit" name="action" value="cancel">Cancel</button></form>"""
_CONSENT = (
    '<form method=POST action="/continue"><input type=hidden name=csrf value="t&amp;k"><button>Go on</button></form>'
)


async def _sign_in(provider: Provider, base: str = API, password: str = PASSWORD, **options: Any) -> Tokens:
    async with provider.http() as http:
        return await sign_in(base, EMAIL, password, http=http, **options)


@pytest.mark.parametrize("base", [API, f"{API}/", f"{API}/graphql", f"{API}/graphql/"])
async def test_from_a_base_address_to_tokens(base: str) -> None:
    provider = Provider()
    tokens = await _sign_in(provider, base)
    assert tokens.access_token == "the.access.token"
    assert (tokens.refresh_token, tokens.expires_in, tokens.scope) == ("refresh", 600, "openid read write")
    assert provider.asked["code_challenge_method"] == "S256"
    assert provider.asked["scope"] == DEFAULT_SCOPE
    assert provider.asked["prompt"] == "login"
    assert re.fullmatch(r"http://127\.0\.0\.1:\d{5}/callback", provider.asked["redirect_uri"])
    assert "refresh" not in repr(tokens)
    assert "access" not in repr(tokens).replace("access_token", "")


async def test_one_client_for_many_people_carries_no_session_over() -> None:
    first = Provider()
    async with first.http() as http:
        http.cookies.set("__Host-s", "somebody")
        for _ in range(2):
            assert (await sign_in(API, EMAIL, PASSWORD, http=http)).access_token


async def test_a_page_that_asks_to_go_on() -> None:
    assert (await _sign_in(Provider(consent=True))).access_token


async def test_another_providers_field_name() -> None:
    assert (await _sign_in(Provider(user_name="username"))).access_token


async def test_an_issuer_without_rfc_9207() -> None:
    provider = Provider(document={"authorization_response_iss_parameter_supported": False}, answer={"iss": None})
    assert (await _sign_in(provider)).access_token


async def test_everything_on_this_machine_over_http() -> None:
    """Two processes on two ports may serve one API; what they call it does not stop a sign-in."""
    issuer = "http://127.0.0.1:9"
    provider = Provider(
        resource={"resource": "http://127.0.0.1:8000", "authorization_servers": [issuer]},
        document={
            "issuer": issuer,
            "authorization_endpoint": f"{issuer}/authorize",
            "token_endpoint": f"{issuer}/token",
        },
        answer={"iss": issuer},
        id_claims={"iss": issuer},
    )
    assert (await _sign_in(provider, "http://localhost:8001/graphql")).access_token


async def test_a_wrong_password_is_sent_once() -> None:
    provider = Provider()
    with pytest.raises(SignInFailed, match="the e-mail address or the password is wrong") as caught:
        await _sign_in(provider, password="secret-typo")
    assert provider.passwords == ["secret-typo"]
    assert "secret-typo" not in str(caught.value)


@pytest.mark.parametrize(
    ("provider", "sentence"),
    [
        (Provider(slow=True), "too many attempts to sign in; try again in 30 seconds"),
        (Provider(signed_in=True), "without asking for a password"),
        (Provider(loops=True), "redirects without end"),
        (Provider(resource={"resource": "https://other.example"}), "describes another API"),
        (Provider(resource={"authorization_servers": []}), "does not say where to sign in"),
        (Provider(resource={"authorization_servers": ["http://issuer.example"]}), "neither https nor http on this"),
        (Provider(resource={"authorization_servers": ["http://127.0.0.1:1"]}), "neither https nor http on this"),
        (Provider(resource={"authorization_servers": ["https://[::"]}), "is not a URL"),
        (Provider(document={"issuer": "https://other.example"}), "describes another issuer"),
        (Provider(document={"token_endpoint": None}), "has no token_endpoint"),
        (Provider(document={"token_endpoint": "http://issuer.example/token"}), "neither https nor http on this"),
        (Provider(document={"code_challenge_methods_supported": ["plain"]}), "does not support PKCE"),
        (Provider(document={"authorization_endpoint": f"{ISSUER}/nowhere"}), "refused the request to sign in .*404"),
        (Provider(form_action="https://attacker.example/take"), "leads elsewhere, to https://attacker.example"),
        (Provider(form_action="http://issuer.example/sign-in"), "leads elsewhere, to http://issuer.example"),
        (Provider(answer={"state": "another"}), "another sign-in"),
        (Provider(answer={"state": None}), "another sign-in"),
        (Provider(answer={"iss": "https://other.example"}), "another issuer"),
        (Provider(answer={"iss": None}), "another issuer"),
        (Provider(answer={"code": None, "error": "access_denied"}), "the issuer refused: access_denied"),
        (
            Provider(token={"error": "invalid_grant", "error_description": "used\x1b[2J twice"}),
            r"refused: used\[2J twice",
        ),
        (Provider(token={"token_type": "DPoP"}), "no bearer token"),
        (Provider(token={"access_token": None}), "no bearer token"),
        (Provider(token={"id_token": None}), "no ID token"),
        (Provider(token={"id_token": "x"}), "cannot be read"),
        (Provider(id_claims={"nonce": "another"}), "ID token of another sign-in"),
        (Provider(id_claims={"aud": "another"}), "ID token of another sign-in"),
        (Provider(id_claims={"iss": "another"}), "ID token of another sign-in"),
    ],
)
async def test_what_ends_in_a_sentence(provider: Provider, sentence: str) -> None:
    with pytest.raises(SignInFailed, match=sentence):
        await _sign_in(provider)
    assert all(url.startswith((API, ISSUER)) for _, url in provider.seen), "nothing was ever sent anywhere else"


@pytest.mark.parametrize("base", ["http://api.example", "ftp://api.example", "api.example", "", "https://[::1"])
async def test_a_base_that_no_password_goes_to(base: str) -> None:
    provider = Provider()
    with pytest.raises(SignInFailed):
        await _sign_in(provider, base)
    assert not provider.seen


async def test_nobody_is_there() -> None:
    with pytest.raises(SignInFailed, match=r"http://127\.0\.0\.1:1 cannot be reached"):
        await sign_in("http://127.0.0.1:1/graphql", EMAIL, PASSWORD)


async def test_something_else_is_there() -> None:
    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, html="<p>hello"))) as http:
        with pytest.raises(SignInFailed, match="not JSON"):
            await sign_in(API, EMAIL, PASSWORD, http=http)


def test_forms_are_read_as_a_browser_reads_them() -> None:
    first, second = forms_of(
        '<form action="/a?x=1&amp;y=2"><input name=q><INPUT TYPE=HIDDEN NAME=h VALUE="&quot;v&quot;">'
        "<input type=hidden name=no disabled><input type=submit name=go></form><input name=outside>"
        '<form METHOD="Post"><input type="Password" name="p"><input name="u"></form>'
    )
    assert (first.action, first.method, first.hidden) == ("/a?x=1&y=2", "get", {"h": '"v"'})
    assert (first.password_field, first.user_field) == (None, "q")
    assert (second.action, second.method, second.password_field, second.user_field) == ("", "post", "p", "u")
