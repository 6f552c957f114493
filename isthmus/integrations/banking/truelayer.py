"""TrueLayer: its sign-in dialog with PKCE, tokens that are renewed before they end, and the data API v1.

There is no cursor: each update asks for what was booked since a few days before the last one, and for all that is pending, account by
account.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import httpx
import msgspec
import structlog

from isthmus.domain.banking import (
    AccessEnded,
    Begun,
    ConsentNews,
    Credential,
    Granted,
    Link,
    ProviderAccount,
    ProviderFault,
    ProviderInstitution,
    ProviderRefused,
    RedirectTo,
    SyncPage,
)
from isthmus.domain.clock import Clock
from isthmus.domain.secrets import ProviderTokens
from isthmus.integrations.banking import truelayer_transactions
from isthmus.integrations.banking.calls import Calls
from isthmus.integrations.banking.json_http import JsonHttp, refusal_of
from isthmus.integrations.banking.statuses import consent_state
from isthmus.integrations.banking.windows import Walk

NAME = "truelayer"
_SCOPES = "info accounts balance transactions offline_access"
#: A token that ends sooner than this is renewed first.
_LEEWAY = timedelta(minutes=2)
#: So much of an account's history is asked for at once: two years of a busy one are more than an answer may hold.
_SPAN = timedelta(days=183)

log = structlog.get_logger(__name__)


class _Tokens(msgspec.Struct):
    access_token: str
    expires_in: int
    refresh_token: str | None = None


class _Error(msgspec.Struct):
    error: str = ""


class _Me(msgspec.Struct):
    consent_status: str
    consent_expires_at: datetime | None = None


class _Number(msgspec.Struct):
    iban: str | None = None
    number: str | None = None
    sort_code: str | None = None


class _Account(msgspec.Struct):
    account_id: str
    currency: str
    display_name: str = ""
    account_type: str = "TRANSACTION"
    account_number: _Number | None = None


class _Balance(msgspec.Struct):
    currency: str
    available: Decimal | None = None
    current: Decimal | None = None


class _Provider(msgspec.Struct):
    provider_id: str
    display_name: str
    country: str = ""
    logo_url: str | None = None
    scopes: list[str] = []


class _Mes(msgspec.Struct):
    results: list[_Me]


class _Accounts(msgspec.Struct):
    results: list[_Account]


class _Balances(msgspec.Struct):
    results: list[_Balance]


class _Transactions(msgspec.Struct):
    results: list[msgspec.Raw]


class TrueLayer:
    """Implements `isthmus.domain.banking.BankProvider`."""

    name = NAME

    def __init__(
        self,
        auth_url: str,
        data_url: str,
        client_id: str,
        secret: str,
        http: httpx.AsyncClient,
        calls: Calls,
        clock: Clock,
    ) -> None:
        self._auth_url = auth_url.rstrip("/")
        self._client = {"client_id": client_id, "client_secret": secret}
        self._auth = JsonHttp(http, calls, auth_url, _refusal)
        self._data = JsonHttp(http, calls, data_url, _refusal)
        self._clock = clock

    async def begin(self, link: Link) -> Begun:
        digest = hashlib.sha256(link.verifier.encode()).digest()
        asked = {
            "response_type": "code",
            "client_id": self._client["client_id"],
            "redirect_uri": link.redirect_uri,
            "scope": _SCOPES,
            "state": link.state,
            "provider_id": link.institution,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        return Begun(RedirectTo(f"{self._auth_url}/?{urlencode(asked)}"))

    async def renew(self, link: Link, tokens: ProviderTokens) -> Begun | Granted:  # noqa: ARG002 - as the port has it
        return await self.begin(link)

    async def complete(self, link: Link, credential: Credential, tokens: ProviderTokens | None) -> Granted:
        """A code that is sent twice is refused, and takes back at TrueLayer what it gave: nothing is left of an answer that was lost."""
        if credential.code is None:
            raise ProviderRefused("TrueLayer's links come back with a code", "NO_CODE")
        got = await self._token(
            safe=False,
            grant_type="authorization_code",
            redirect_uri=link.redirect_uri,
            code=credential.code,
            code_verifier=link.verifier,
        )
        news = await self.news(got)
        if tokens is not None and tokens.access:
            await self._forget(tokens)
        return Granted(got, news.expires_at)

    async def refresh(self, tokens: ProviderTokens) -> ProviderTokens:
        if tokens.expires_at is None or tokens.expires_at - _LEEWAY > self._clock.now():
            return tokens
        if tokens.refresh is None:
            raise AccessEnded("TrueLayer gave nothing to renew the access with", "NO_REFRESH_TOKEN")
        try:
            got = await self._token(safe=True, grant_type="refresh_token", refresh_token=tokens.refresh)
        except ProviderRefused as refusal:
            if refusal.code == "invalid_grant":
                raise AccessEnded("TrueLayer wants its customer to sign in again", refusal.code) from None
            raise
        return ProviderTokens(got.access, got.refresh or tokens.refresh, got.expires_at, tokens.reference)

    async def news(self, tokens: ProviderTokens) -> ConsentNews:
        me = (await self._get("me", tokens, "/data/v1/me", _Mes)).results[0]
        return ConsentNews(consent_state(NAME, me.consent_status), me.consent_status, me.consent_expires_at)

    async def accounts(self, tokens: ProviderTokens) -> Sequence[ProviderAccount]:
        accounts = (await self._get("accounts", tokens, "/data/v1/accounts", _Accounts)).results
        return [await self._with_balance(tokens, one) for one in accounts]

    async def sync(self, tokens: ProviderTokens, cursor: str | None) -> SyncPage:
        walk, accounts = Walk.begun(cursor), list[ProviderAccount]()
        if walk is None:
            accounts = list(await self.accounts(tokens))
            walk = Walk.begin(cursor, self._clock.now(), accounts)
        if not walk.left:
            return SyncPage(tuple(accounts), cursor=walk.text())
        (account, asset), booked_since = walk.left[0], walk.booked_since
        path, start = f"/data/v1/accounts/{account}/transactions", walk.since + walk.at * _SPAN
        done = start + _SPAN >= walk.until
        span = {"from": start.isoformat(), "to": (walk.until if done else start + _SPAN).isoformat()}
        booked = await self._get("transactions", tokens, path, _Transactions, params=span)
        told = [(raw, False) for raw in booked.results]
        if done:  # after what is booked: what is booked in between comes with the next update
            pending = await self._get("transactions_pending", tokens, f"{path}/pending", _Transactions)
            told += [(raw, True) for raw in pending.results]
        changed = [
            truelayer_transactions.canonical(
                truelayer_transactions.decode(raw), account, asset, bytes(raw), pending=is_pending
            )
            for raw, is_pending in told
        ]
        walk = walk.on((), account_done=done)
        return SyncPage(
            tuple(accounts),
            tuple(changed),
            whole_pending=frozenset([account]),
            booked_since=booked_since,
            cursor=walk.text(),
            more=walk.more,
        )

    async def revoke(self, tokens: ProviderTokens) -> None:
        try:
            await self._auth.ask(
                "delete",
                "DELETE",
                "/api/delete",
                Any,
                safe=True,
                headers=_bearer(tokens),
            )
        except AccessEnded:
            return

    async def _forget(self, tokens: ProviderTokens) -> None:
        """Those in whose place others are; where TrueLayer is not told, their permission ends by itself."""
        try:
            await self.revoke(await self.refresh(tokens))
        except ProviderFault as fault:
            log.warning("a permission that was renewed stays until it ends", why=str(fault))

    async def institutions(self, country: str) -> AsyncIterator[ProviderInstitution]:
        providers = await self._auth.ask(
            "providers",
            "GET",
            "/api/providers",
            list[_Provider],
            safe=True,
            params={"clientId": self._client["client_id"]},
        )
        for one in providers:
            code = "GB" if one.country.upper() == "UK" else one.country.upper()
            if code == country:
                yield ProviderInstitution(
                    one.provider_id, one.display_name, (code,), one.logo_url, ("ACCOUNTS", "TRANSACTIONS")
                )

    async def _token(self, *, safe: bool, **form: str) -> ProviderTokens:
        got = await self._auth.ask("token", "POST", "/connect/token", _Tokens, safe=safe, data={**self._client, **form})
        ends = self._clock.now() + timedelta(seconds=got.expires_in)
        return ProviderTokens(got.access_token, got.refresh_token, ends)

    async def _with_balance(self, tokens: ProviderTokens, account: _Account) -> ProviderAccount:
        path = f"/data/v1/accounts/{account.account_id}/balance"
        balances = (await self._get("balance", tokens, path, _Balances)).results
        balance = next((one for one in balances if one.currency == account.currency), _Balance(account.currency))
        told = account.account_number or _Number()
        digits = "".join(filter(str.isdigit, (told.sort_code or "") + (told.number or "")))
        return ProviderAccount(
            account.account_id,
            account.display_name,
            account.currency,
            kind="SAVINGS" if "SAVINGS" in account.account_type else "CURRENT",
            iban=told.iban,
            number=digits or None,
            last_digits=(told.number or told.iban or "")[-4:] or None,
            available=balance.available,
            booked=balance.current,
        )

    async def _get(self, name: str, tokens: ProviderTokens, path: str, shape: type[Any], **more: Any) -> Any:
        return await self._data.ask(name, "GET", path, shape, safe=True, headers=_bearer(tokens), **more)


def _bearer(tokens: ProviderTokens) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens.access}"}


def _refusal(status: int, body: bytes) -> ProviderRefused:
    try:
        code = msgspec.json.decode(body, type=_Error).error
    except msgspec.MsgspecError:
        code = ""
    return refusal_of("TrueLayer", status, code)
