"""Sign-in for our own pages: the browser holds a cookie that no script can read, and the tokens stay on this side.

The authorization code flow with PKCE, in the shape of a backend for frontend (OAuth 2.0 for Browser-Based Applications, 6.1; ASVS
10.1.1). A sign-in under way is bound to a cookie of its own, so that nobody can finish another browser's (CVE-2025-68158). Sessions
are kept under the digest of their cookie and sealed by a key derived from the master key: what is read out of the store signs
nobody in.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit

import httpx
import msgspec
import structlog

from isthmus.auth import pkce
from isthmus.auth.activity import IDLE_LIFE_S
from isthmus.auth.caller import Caller
from isthmus.auth.claims import TokenRefused
from isthmus.auth.issuer_keys import IssuerUnavailable
from isthmus.auth.relying_party import (
    GrantRefused,
    SignInFailed,
    Tokens,
    ask_for_tokens,
    check_id_token,
    code_of,
    issuer_metadata,
)
from isthmus.auth.session_vault import SessionStore, SessionVault
from isthmus.auth.sites import Site
from isthmus.domain.clock import Clock
from isthmus.integrations.secrets.master_key import MasterKey

SESSION_LIFE_S = 8 * 3_600
SIGN_IN_LIFE_S = 600
#: An access token that ends sooner is exchanged before it is used.
MARGIN = timedelta(seconds=60)
#: How soon a connection ends whose session is over, in seconds.
RECHECK_S = 2.0
_METADATA_S = 300.0
_REFRESH_S = 10.0
_SCOPE = "openid offline_access read write operate audit schema:read"

log = structlog.get_logger(__name__)


class Verifier(Protocol):
    async def verify(self, token: str) -> Caller: ...


class _Begun(msgspec.Struct, frozen=True):
    state: str
    nonce: str
    verifier: str


class _Kept(msgspec.Struct, frozen=True):
    access_token: str
    refresh_token: str | None
    ends_at: datetime


@dataclass(frozen=True)
class Begun:
    """`cookie` goes to the browser with the redirect to `location`."""

    cookie: str = field(repr=False)
    location: str = field(repr=False)


class BrowserSessions:
    def __init__(
        self,
        site: Site,
        store: SessionStore,
        master: MasterKey,
        clock: Clock,
        verifier: Verifier,
        http: httpx.AsyncClient,
    ) -> None:
        self.site = site
        self.for_devices = self
        self._store = store
        self._vault = SessionVault(store, master)
        self._clock = clock
        self._verifier = verifier
        self._http = http
        self._metadata: dict[str, Any] = {}
        self._metadata_until = 0.0

    def also_at(self, site: Site) -> BrowserSessions:
        """These sessions, with another way in: `for_devices`, where devices may be asked. A cookie is of one host all the same."""
        other = copy(self)
        other.site = site
        other.for_devices = other
        self.for_devices = other
        return self

    def at(self, host: str | None) -> BrowserSessions:
        """As who came by that name reaches them."""
        known = self.for_devices
        return known if host == urlsplit(known.site.url).netloc else self

    async def begin(self) -> Begun:
        """Raises SignInFailed, or IssuerUnavailable."""
        metadata = await self._issuer()
        begun = _Begun(secrets.token_urlsafe(32), secrets.token_urlsafe(32), pkce.new_verifier())
        cookie = secrets.token_urlsafe(32)
        await self._vault.put(_key("sign-in", cookie), begun, SIGN_IN_LIFE_S)
        query = {
            "response_type": "code",
            "client_id": self.site.client_id,
            "redirect_uri": self.site.redirect_uri,
            "scope": _SCOPE,
            "state": begun.state,
            "nonce": begun.nonce,
            "code_challenge": pkce.challenge_of(begun.verifier),
            "code_challenge_method": pkce.METHOD,
            # Otherwise the issuer's own session would begin anew at once what ended here.
            "max_age": str(IDLE_LIFE_S),
        }
        endpoint = metadata["authorization_endpoint"]
        return Begun(cookie, f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}")

    async def finish(self, cookie: str | None, answer: Mapping[str, str]) -> str:
        """The new session's cookie: never one that was there before. Raises SignInFailed, or IssuerUnavailable."""
        key = _key("sign-in", cookie or "")
        begun = await self._vault.take(key, _Begun)
        if begun is None:
            raise SignInFailed("this sign-in was not begun in this browser, was finished before, or took too long")
        metadata = await self._issuer()
        form = {
            "grant_type": "authorization_code",
            "code": code_of(answer, metadata, begun.state),
            "redirect_uri": self.site.redirect_uri,
            "client_id": self.site.client_id,
            "code_verifier": begun.verifier,
        }
        tokens = await self._tokens(metadata, form)
        check_id_token(
            tokens, issuer=metadata["issuer"], client_id=self.site.client_id, nonce=begun.nonce, required=True
        )
        try:
            await self._verifier.verify(tokens.access_token)
        except TokenRefused:
            raise SignInFailed("the issuer gave an access token that this API does not take") from None
        made = secrets.token_urlsafe(32)
        await self._store.put(_used(_key("session", made)), b"1", IDLE_LIFE_S)
        await self._vault.put(_key("session", made), self._kept(tokens), SESSION_LIFE_S)
        return made

    async def caller(self, cookie: str, *, looks_on: bool = False) -> Caller | None:
        """None where the session is over. `looks_on`: nobody did anything, and the session lasts no longer for it. Raises IssuerUnavailable
        where nobody can tell."""
        key = _key("session", cookie)
        kept = await self._vault.find(key, _Kept)
        if kept is not None and not await self._used_lately(key, looks_on=looks_on):
            await self._store.delete(key)
            return None
        if kept is not None and self._stale(kept):
            kept = await self._refreshed(key)
        if kept is None:
            return None
        try:
            caller = await self._verifier.verify(kept.access_token)
        except TokenRefused:
            return None
        return replace(caller, session=key, signed_in=None)

    async def _used_lately(self, key: str, *, looks_on: bool) -> bool:
        if looks_on:
            return await self._store.get(_used(key)) is not None
        return await self._store.extend(_used(key), IDLE_LIFE_S)

    async def use(self, session: str) -> bool:
        """Its person did something; False where it is over. Raises IssuerUnavailable where nobody can tell."""
        return await self._used_lately(session, looks_on=False) and await self._vault.find(session, _Kept) is not None

    async def lasts(self, session: str) -> bool:
        """Whether a caller's `session` is still there. Raises IssuerUnavailable where nobody can tell."""
        return await self._store.get(_used(session)) is not None and await self._vault.find(session, _Kept) is not None

    async def until_over(self, session: str) -> None:
        """Returns within RECHECK_S after it has ended, in whichever process."""
        while True:
            await asyncio.sleep(RECHECK_S)
            try:
                if not await self.lasts(session):
                    return
            except IssuerUnavailable:
                continue  # what the connection then asks for is refused, and its token ends it

    async def end(self, cookie: str) -> str:
        """Forget the session here, and its tokens at the issuer. Returns where the browser ends the issuer's own session."""
        key = _key("session", cookie)
        kept = await self._vault.find(key, _Kept)
        await self._store.delete(key)
        await self._store.delete(_used(key))
        try:
            metadata = await self._issuer()
            if kept is not None and kept.refresh_token and "revocation_endpoint" in metadata:
                form = {"token": kept.refresh_token, "client_id": self.site.client_id}
                await self._http.post(metadata["revocation_endpoint"], data=form)
        except (SignInFailed, IssuerUnavailable, httpx.HTTPError) as error:
            log.warning("the issuer was not told of a sign-out", error=type(error).__name__)
            return self.site.signed_out_uri
        query = {"client_id": self.site.client_id, "post_logout_redirect_uri": self.site.signed_out_uri}
        endpoint = metadata.get("end_session_endpoint")
        return f"{endpoint}?{urlencode(query)}" if isinstance(endpoint, str) else self.site.signed_out_uri

    async def _refreshed(self, key: str) -> _Kept | None:
        """One at a time, whichever process it is: a refresh token that is used twice ends the sign-in (RFC 9700, 4.14)."""
        holder = secrets.token_hex(8)
        give_up = time.monotonic() + _REFRESH_S
        while not await self._store.lock(f"{key}:lock", holder, _REFRESH_S):
            if time.monotonic() > give_up:
                raise IssuerUnavailable("the session cannot be renewed right now")
            await asyncio.sleep(0.05)
        try:
            found = await self._vault.find(key, _Kept)
            if found is None or not self._stale(found):
                return found
            return await self._renew(key, found)
        finally:
            await self._store.unlock(f"{key}:lock", holder)

    async def _renew(self, key: str, kept: _Kept) -> _Kept | None:
        over = kept.ends_at <= self._clock.now()
        if kept.refresh_token is None:
            return None if over else kept
        form = {
            "grant_type": "refresh_token",
            "refresh_token": kept.refresh_token,
            "client_id": self.site.client_id,
        }
        try:
            tokens = await self._tokens(await self._issuer(), form)
        except GrantRefused:
            await self._store.delete(key)
            return None
        except (SignInFailed, IssuerUnavailable) as error:
            if not over:
                return kept  # still good for a moment; the next one asks again
            raise IssuerUnavailable("the session cannot be renewed right now") from error
        renewed = self._kept(tokens, kept.refresh_token)
        await self._vault.replace(key, renewed)
        return renewed

    async def _tokens(self, metadata: Mapping[str, Any], form: Mapping[str, str]) -> Tokens:
        try:
            return await ask_for_tokens(self._http, metadata["token_endpoint"], form, _SCOPE)
        except httpx.HTTPError as error:
            raise IssuerUnavailable("the sign-in issuer cannot be reached") from error

    async def _issuer(self) -> dict[str, Any]:
        if time.monotonic() >= self._metadata_until:
            try:
                self._metadata = await issuer_metadata(self._http, self.site.issuer_url, self.site.url)
            except httpx.HTTPError as error:
                raise IssuerUnavailable("the sign-in issuer cannot be reached") from error
            self._metadata_until = time.monotonic() + _METADATA_S
        return self._metadata

    def _kept(self, tokens: Tokens, refresh_token: str | None = None) -> _Kept:
        ends_at = self._clock.now() + timedelta(seconds=tokens.expires_in or 60)
        return _Kept(tokens.access_token, tokens.refresh_token or refresh_token, ends_at)

    def _stale(self, kept: _Kept) -> bool:
        return kept.ends_at - MARGIN <= self._clock.now()


def _key(kind: str, cookie: str) -> str:
    return f"isthmus:{kind}:{hashlib.sha256(cookie.encode(errors='surrogatepass')).hexdigest()}"


def _used(session: str) -> str:
    """What is there as long as the session was used lately."""
    return session.replace(":session:", ":session-used:", 1)
