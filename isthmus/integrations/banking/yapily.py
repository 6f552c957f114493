"""Yapily: consents in all their states, and the financial data behind them.

What a person comes back with is a one-time token; the state that it belongs to comes back as `application-user-id`, since each link is
a user of its own there. A reconfirmation needs nobody at the bank (`extend`).
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import httpx
import msgspec
import structlog

from isthmus.domain.banking import (
    Begun,
    ChangedWhilePaging,
    ConsentNews,
    Credential,
    Granted,
    Link,
    Malformed,
    ProviderAccount,
    ProviderConsent,
    ProviderFault,
    ProviderInstitution,
    ProviderRefused,
    RedirectTo,
    SyncPage,
)
from isthmus.domain.clock import Clock
from isthmus.domain.consent_policy import Renewal, jurisdiction_of, policy_of
from isthmus.domain.secrets import ProviderTokens
from isthmus.integrations.banking import yapily_transactions
from isthmus.integrations.banking.calls import Calls
from isthmus.integrations.banking.json_http import JsonHttp, refusal_of
from isthmus.integrations.banking.statuses import consent_state
from isthmus.integrations.banking.windows import Walk

NAME = "yapily"
_PAGE = 1_000

log = structlog.get_logger(__name__)


class _Consent(msgspec.Struct, rename="camel"):
    id: str
    status: str
    institution_id: str = ""
    application_user_id: str = ""
    consent_token: str | None = None
    authorisation_url: str | None = None
    expires_at: datetime | None = None
    reconfirm_by: datetime | None = None


class _ConsentAnswer(msgspec.Struct):
    data: _Consent


class _Amount(msgspec.Struct):
    amount: Decimal
    currency: str


class _Balance(msgspec.Struct, rename="camel"):
    type: str
    balance_amount: _Amount


class _Identification(msgspec.Struct):
    type: str
    identification: str


class _Account(msgspec.Struct, rename="camel"):
    id: str
    currency: str
    account_type: str = ""
    nickname: str | None = None
    account_identifications: list[_Identification] = []
    account_balances: list[_Balance] = []


class _Accounts(msgspec.Struct):
    data: list[_Account]


class _Pagination(msgspec.Struct, rename="camel"):
    total_count: int | None = None


class _Meta(msgspec.Struct):
    pagination: _Pagination | None = None


class _Transactions(msgspec.Struct):
    data: list[msgspec.Raw]
    meta: _Meta | None = None


class _Country(msgspec.Struct, rename="camel"):
    country_code2: str


class _Media(msgspec.Struct):
    source: str
    type: str = ""


class _Institution(msgspec.Struct):
    id: str
    name: str
    countries: list[_Country] = []
    media: list[_Media] = []
    features: list[str] = []


class _Institutions(msgspec.Struct):
    data: list[_Institution]


class _ErrorBody(msgspec.Struct):
    status: str = ""


class _Error(msgspec.Struct):
    error: _ErrorBody | None = None


class Yapily:
    """Implements `isthmus.domain.banking.BankProvider`. In tokens `reference` is the consent's id, `access` its consent token."""

    name = NAME

    def __init__(
        self, url: str, application: str, secret: str, http: httpx.AsyncClient, calls: Calls, clock: Clock
    ) -> None:
        told = base64.b64encode(f"{application}:{secret}".encode()).decode()
        self._headers = {"Authorization": f"Basic {told}"}
        self._http = JsonHttp(http, calls, url, _refusal)
        self._clock = clock

    async def begin(self, link: Link) -> Begun:
        """Asking again makes another consent there; the one before it is never gone to, and ends by itself."""
        wish = {
            "applicationUserId": link.state,
            "institutionId": link.institution,
            "callback": link.redirect_uri,
            "oneTimeToken": True,
        }
        answer = await self._ask("begin", "POST", "/account-auth-requests", _ConsentAnswer, safe=True, json=wish)
        return _begun(answer.data)

    async def renew(self, link: Link, tokens: ProviderTokens) -> Begun | Granted:
        policy = policy_of(NAME, jurisdiction_of(link.country))
        if policy.renewal is Renewal.CONFIRM and (await self.news(tokens)).state is ProviderConsent.AUTHORISED:
            confirmed = {"lastConfirmedAt": self._clock.now().isoformat()}
            path = f"/consents/{tokens.reference}/extend"
            answer = await self._ask("extend", "POST", path, _ConsentAnswer, safe=True, json=confirmed)
            return Granted(tokens, answer.data.reconfirm_by)
        return await self.begin(link)

    async def complete(self, link: Link, credential: Credential, tokens: ProviderTokens | None) -> Granted:
        if credential.code is None:
            raise ProviderRefused("Yapily's links come back with a one-time token", "NO_CODE")
        once = {"oneTimeToken": credential.code}
        try:
            got = await self._ask("exchange", "POST", "/consent-one-time-token", _Consent, safe=False, json=once)
        except ProviderRefused:
            # It may have been exchanged, and the answer lost: a permission that nobody can use is taken back.
            if link.begun_as is not None:
                await self._forget(link.begun_as)
            raise
        if got.consent_token is None:
            raise Malformed("Yapily gave no consent token")
        granted = ProviderTokens(got.consent_token, reference=got.id)
        if got.application_user_id != link.state:
            await self.revoke(granted)
            raise ProviderRefused("the one-time token is not of this link", "FOREIGN_TOKEN")
        if tokens is not None and tokens.access and tokens.reference not in (None, got.id):
            await self._forget(str(tokens.reference))  # another has taken its place
        return Granted(granted, got.expires_at)

    async def refresh(self, tokens: ProviderTokens) -> ProviderTokens:
        return tokens

    async def news(self, tokens: ProviderTokens) -> ConsentNews:
        answer = await self._ask("consent", "GET", f"/consents/{tokens.reference}", _ConsentAnswer, safe=True)
        status = answer.data.status
        return ConsentNews(consent_state(NAME, status), status, answer.data.expires_at)

    async def accounts(self, tokens: ProviderTokens) -> Sequence[ProviderAccount]:
        answer = await self._ask("accounts", "GET", "/accounts", _Accounts, safe=True, tokens=tokens)
        return [_account(one) for one in answer.data]

    async def sync(self, tokens: ProviderTokens, cursor: str | None) -> SyncPage:
        walk, accounts = Walk.begun(cursor), list[ProviderAccount]()
        if walk is None:
            accounts = list(await self.accounts(tokens))
            walk = Walk.begin(cursor, self._clock.now(), accounts)
        if not walk.left:
            return SyncPage(tuple(accounts), cursor=walk.text())
        (account, asset), booked_since = walk.left[0], walk.booked_since
        span = {"from": walk.since.isoformat(), "limit": str(_PAGE), "offset": str(walk.at * _PAGE)}
        path = f"/accounts/{account}/transactions"
        page = await self._ask("transactions", "GET", path, _Transactions, safe=True, tokens=tokens, params=span)
        total = page.meta.pagination.total_count if page.meta and page.meta.pagination else None
        if walk.at and total != walk.total:
            raise ChangedWhilePaging("Yapily's pages changed while they were read")
        changed = [
            yapily_transactions.canonical(yapily_transactions.decode(raw), account, asset, bytes(raw))
            for raw in page.data
        ]
        walk = walk.on(changed, account_done=len(page.data) < _PAGE, total=total)
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
            await self._ask("revoke", "DELETE", f"/consents/{tokens.reference}", dict[str, Any], safe=True)
        except ProviderRefused as refusal:
            if refusal.code != "NOT_FOUND":
                raise

    async def _forget(self, consent_id: str) -> None:
        """Where Yapily is not told, it ends by itself."""
        try:
            await self.revoke(ProviderTokens("", reference=consent_id))
        except ProviderFault as fault:
            log.warning("a consent that is of no use stays until it ends", why=str(fault))

    async def institutions(self, country: str) -> AsyncIterator[ProviderInstitution]:
        answer = await self._ask("institutions", "GET", "/institutions", _Institutions, safe=True)
        for one in answer.data:
            countries = tuple(each.country_code2 for each in one.countries)
            if country in countries:
                logo = next((each.source for each in one.media if each.type in ("icon", "logo")), None)
                able = ["ACCOUNTS", "TRANSACTIONS"]
                able += ["PAYMENTS"] if any(each.startswith("INITIATE_DOMESTIC") for each in one.features) else []
                yield ProviderInstitution(one.id, one.name, countries, logo, tuple(able))

    async def _ask(
        self,
        name: str,
        method: str,
        path: str,
        shape: type[Any],
        *,
        safe: bool,
        tokens: ProviderTokens | None = None,
        **more: Any,
    ) -> Any:
        headers = self._headers | ({"consent": tokens.access} if tokens else {})
        return await self._http.ask(name, method, path, shape, safe=safe, headers=headers, **more)


def _begun(consent: _Consent) -> Begun:
    if consent.authorisation_url is None:
        raise Malformed("Yapily gave no address to send the person to")
    return Begun(RedirectTo(consent.authorisation_url), reference=consent.id)


def _account(account: _Account) -> ProviderAccount:
    ids = {one.type: one.identification for one in account.account_identifications}
    balances = {one.type: one.balance_amount for one in account.account_balances}
    if any(one.currency != account.currency for one in balances.values()):
        raise Malformed("Yapily told of a balance in another currency than the account's")
    booked, available = balances.get("CLOSING_BOOKED"), balances.get("INTERIM_AVAILABLE")
    number = ids.get("ACCOUNT_NUMBER", "")
    return ProviderAccount(
        account.id,
        account.nickname or "",
        account.currency,
        kind="SAVINGS" if account.account_type == "SAVINGS" else "CURRENT",
        iban=ids.get("IBAN"),
        number=(ids.get("SORT_CODE", "") + number) or None,
        last_digits=(number or ids.get("IBAN", ""))[-4:] or None,
        available=available.amount if available else None,
        booked=booked.amount if booked else None,
    )


def _refusal(status: int, body: bytes) -> ProviderRefused:
    try:
        error = msgspec.json.decode(body, type=_Error).error
    except msgspec.MsgspecError:
        error = None
    return refusal_of("Yapily", status, error.status if error else "")
