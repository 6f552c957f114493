"""Plaid through its official client, which waits for answers in threads: Link, Items, accounts and `/transactions/sync`.

Answers are read as the bytes that came, since the client's own models make floats of amounts. Its errors are of three kinds and all are
caught: its own, urllib3's, and an AttributeError where a certificate does not fit.
"""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

import anyio
import msgspec

from isthmus.domain.banking import (
    AccessEnded,
    Begun,
    ChangedWhilePaging,
    ConsentNews,
    Credential,
    Granted,
    Link,
    LinkToken,
    Malformed,
    OutcomeUnknown,
    ProviderAccount,
    ProviderInstitution,
    ProviderRefused,
    ProviderUnavailable,
    Removed,
    SyncPage,
)
from isthmus.domain.secrets import ProviderTokens
from isthmus.integrations.banking import plaid_transactions
from isthmus.integrations.banking.calls import Calls, silence
from isthmus.integrations.banking.json_http import ANSWER_BYTES_MAX, where
from isthmus.integrations.banking.statuses import consent_state

NAME = "plaid"
_PAGE = 500
_THREADS = 16
_SOCKET_S = (3.0, 8.0)
_INSTITUTIONS_PAGE = 500
NO_CURRENCY = "an account is left out: its currency is none of ISO 4217"


class _LinkToken(msgspec.Struct):
    link_token: str
    expiration: datetime
    hosted_link_url: str | None = None


class _AddResult(msgspec.Struct):
    public_token: str


class _LinkResults(msgspec.Struct):
    item_add_results: list[_AddResult] = []


class _LinkSession(msgspec.Struct):
    results: _LinkResults | None = None


class _LinkSessions(msgspec.Struct):
    link_sessions: list[_LinkSession] = []


class _Exchanged(msgspec.Struct):
    access_token: str
    item_id: str


class _Error(msgspec.Struct):
    error_code: str
    error_type: str = ""


class _Item(msgspec.Struct):
    item_id: str
    institution_id: str | None = None
    error: _Error | None = None
    consent_expiration_time: datetime | None = None


class _ItemAnswer(msgspec.Struct):
    item: _Item


class _Balances(msgspec.Struct):
    available: Decimal | None = None
    current: Decimal | None = None
    iso_currency_code: str | None = None


class _Account(msgspec.Struct):
    account_id: str
    balances: _Balances
    name: str
    mask: str | None = None
    subtype: str | None = None
    persistent_account_id: str | None = None


class _Accounts(msgspec.Struct):
    accounts: list[_Account]
    item: _Item | None = None


class _Removed(msgspec.Struct):
    transaction_id: str
    account_id: str


class _Sync(msgspec.Struct):
    accounts: list[_Account]
    added: list[msgspec.Raw]
    modified: list[msgspec.Raw]
    removed: list[_Removed]
    next_cursor: str
    has_more: bool


class _KeyAnswer(msgspec.Struct):
    key: dict[str, Any]


class _Institution(msgspec.Struct):
    institution_id: str
    name: str
    country_codes: list[str]
    products: list[str] = []


class _Institutions(msgspec.Struct):
    institutions: list[_Institution]
    total: int


Shape = TypeVar("Shape")


class Plaid:
    """Implements `isthmus.domain.banking.BankProvider`."""

    name = NAME

    def __init__(
        self, host: str, client_id: str, secret: str, calls: Calls, *, client_name: str, webhook: str | None = None
    ) -> None:
        self._host = host
        self._key = {"clientId": client_id, "secret": secret}
        self._calls = calls
        self._client_name = client_name
        self._webhook = webhook
        self._limiter: anyio.CapacityLimiter | None = None
        self._api: Any = None

    async def begin(self, link: Link) -> Begun:
        return await self._link_token(link, products=["transactions"])

    async def renew(self, link: Link, tokens: ProviderTokens) -> Begun | Granted:
        """Update mode: the Item stays, its owner signs in again."""
        return await self._link_token(link, access_token=tokens.access)

    async def complete(self, link: Link, credential: Credential, tokens: ProviderTokens | None) -> Granted:
        """A public token must come of the session that this link's own token began: another's is refused before it is used."""
        if tokens is not None and tokens.access:
            item = await self._item(tokens)  # update mode gives no public token
            if item.error is not None:
                raise ProviderRefused("the bank has not been signed in to", item.error.error_code)
            return Granted(tokens, item.consent_expiration_time)
        if credential.public_token is None:
            raise ProviderRefused("Plaid's links come back with a public token", "NO_PUBLIC_TOKEN")
        public, link_token = credential.public_token, tokens.reference if tokens else None
        sessions = await self._ask("link/token/get", "link_token_get", _LinkSessions, safe=True, link_token=link_token)
        given = [
            one.public_token
            for session in sessions.link_sessions
            if session.results is not None
            for one in session.results.item_add_results
        ]
        if not any(hmac.compare_digest(one.encode(), public.encode()) for one in given):
            raise ProviderRefused("the public token is not of this link", "FOREIGN_PUBLIC_TOKEN")
        got = await self._ask(
            "item/public_token/exchange", "item_public_token_exchange", _Exchanged, safe=False, public_token=public
        )
        granted = ProviderTokens(got.access_token, reference=got.item_id)
        item = await self._item(granted)
        if item.institution_id not in (None, link.institution):
            await self.revoke(granted)
            raise ProviderRefused("another bank was linked than the one that was chosen", "OTHER_INSTITUTION")
        return Granted(granted, item.consent_expiration_time)

    async def refresh(self, tokens: ProviderTokens) -> ProviderTokens:
        return tokens  # they do not end by themselves

    async def news(self, tokens: ProviderTokens) -> ConsentNews:
        item = await self._item(tokens)
        told = item.error.error_code if item.error is not None else "GOOD"
        return ConsentNews(consent_state(NAME, told), told, item.consent_expiration_time)

    async def accounts(self, tokens: ProviderTokens) -> Sequence[ProviderAccount]:
        answer = await self._ask(
            "accounts/balance/get", "accounts_balance_get", _Accounts, safe=True, access_token=tokens.access
        )
        return _accounts(answer.accounts)

    async def sync(self, tokens: ProviderTokens, cursor: str | None) -> SyncPage:
        more = {"cursor": cursor} if cursor else {}
        page = await self._ask(
            "transactions/sync",
            "transactions_sync",
            _Sync,
            safe=True,
            access_token=tokens.access,
            count=_PAGE,
            options={"include_original_description": True},
            **more,
        )
        if not page.next_cursor:
            return SyncPage(ready=False)
        accounts = _accounts(page.accounts)
        assets: dict[str, str | None] = {one.reference: one.asset for one in accounts}
        left_out = {one.account_id for one in page.accounts} - assets.keys()
        told = [(plaid_transactions.decode(raw), bytes(raw)) for raw in (*page.added, *page.modified)]
        return SyncPage(
            tuple(accounts),
            tuple(
                plaid_transactions.canonical(one, assets, raw) for one, raw in told if one.account_id not in left_out
            ),
            tuple(Removed(one.account_id, one.transaction_id) for one in page.removed),
            left_out=(NO_CURRENCY,) if left_out else (),
            cursor=page.next_cursor,
            more=page.has_more,
        )

    async def revoke(self, tokens: ProviderTokens) -> None:
        try:
            await self._ask("item/remove", "item_remove", dict[str, Any], safe=True, access_token=tokens.access)
        except ProviderRefused as refusal:
            if refusal.code not in ("INVALID_ACCESS_TOKEN", "ITEM_NOT_FOUND"):
                raise

    async def institutions(self, country: str) -> AsyncIterator[ProviderInstitution]:
        offset, total = 0, 1
        while offset < total:
            page = await self._ask(
                "institutions/get",
                "institutions_get",
                _Institutions,
                safe=True,
                count=_INSTITUTIONS_PAGE,
                offset=offset,
                country_codes=[country],
            )
            for one in page.institutions:
                yield ProviderInstitution(
                    one.institution_id, one.name, tuple(one.country_codes), capabilities=("ACCOUNTS", "TRANSACTIONS")
                )
            offset, total = offset + _INSTITUTIONS_PAGE, page.total

    async def webhook_key(self, key_id: str) -> dict[str, Any]:
        """A key that webhooks are signed with, as a JWK. Raises ProviderFault."""
        answer = await self._ask(
            "webhook_verification_key/get", "webhook_verification_key_get", _KeyAnswer, safe=True, key_id=key_id
        )
        return answer.key

    # -- how it is asked -------------------------------------------------------------------------------------------------

    async def _link_token(self, link: Link, **more: Any) -> Begun:
        answer = await self._ask(
            "link/token/create",
            "link_token_create",
            _LinkToken,
            safe=True,
            client_name=self._client_name,
            language="en",
            country_codes=[link.country],
            user={"client_user_id": str(link.person)},
            redirect_uri=link.redirect_uri,
            hosted_link={},
            **({"webhook": self._webhook} if self._webhook else {}),
            **more,
        )
        token = LinkToken(answer.link_token, answer.expiration, answer.hosted_link_url)
        return Begun(token, reference=answer.link_token)

    async def _item(self, tokens: ProviderTokens) -> _Item:
        answer = await self._ask("item/get", "item_get", _ItemAnswer, safe=True, access_token=tokens.access)
        return answer.item

    async def _ask(self, name: str, method: str, shape: type[Shape], *, safe: bool, **body: Any) -> Shape:
        def work() -> bytes:
            return self._sent(method, body, safe)

        async def once() -> Shape:
            if self._limiter is None:
                self._limiter = anyio.CapacityLimiter(_THREADS)
            # A thread that is given up waits for its socket by itself.
            answer = await anyio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=self._limiter)
            try:
                return msgspec.json.decode(answer, type=shape)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                raise Malformed(f"Plaid answered {name} with what is none: {where(error)}") from None

        return await self._calls.run(name, once, safe=safe)

    def _sent(self, method: str, body: dict[str, Any], safe: bool) -> bytes:
        import urllib3
        from plaid.exceptions import ApiException

        client = self._client()
        call: Callable[..., Any] = getattr(client, method)
        # Each method takes a model of its own; what is in it need not be one.
        (kind,) = getattr(client, f"{method}_endpoint").openapi_types[f"{method}_request"]
        try:
            answer = call(kind(_check_type=False, **body), _preload_content=False, _request_timeout=_SOCKET_S)
            data: bytes = answer.data
        except ApiException as error:
            raise _fault(error.status, error.body, safe=safe) from None
        except (urllib3.exceptions.ConnectTimeoutError, urllib3.exceptions.NewConnectionError):
            raise ProviderUnavailable("Plaid cannot be reached") from None
        except (urllib3.exceptions.HTTPError, AttributeError):
            raise silence("Plaid", safe=safe) from None
        if len(data) > ANSWER_BYTES_MAX:
            raise Malformed(f"Plaid answered with more than {ANSWER_BYTES_MAX} bytes")
        return data

    def _client(self) -> Any:
        if self._api is None:
            import plaid
            from plaid.api import plaid_api

            configuration = plaid.Configuration(host=self._host, api_key=self._key)
            configuration.retries = False  # else a redirect is followed, with the secret
            self._api = plaid_api.PlaidApi(plaid.ApiClient(configuration))
        return self._api


def _accounts(told: Sequence[_Account]) -> list[ProviderAccount]:
    """Those whose currency is one of ISO 4217: Plaid has others too (`unofficial_currency_code`), which nothing here can hold."""
    return [_account(one, one.balances.iso_currency_code) for one in told if one.balances.iso_currency_code]


def _account(account: _Account, currency: str) -> ProviderAccount:
    return ProviderAccount(
        account.account_id,
        account.name,
        currency,
        kind="SAVINGS" if account.subtype == "savings" else "CURRENT",
        last_digits=account.mask,
        lasting_reference=account.persistent_account_id,
        available=account.balances.available,
        booked=account.balances.current,
    )


def _fault(status: int | None, body: object, *, safe: bool) -> Exception:
    try:
        error = msgspec.json.decode(body if isinstance(body, (str, bytes)) else b"", type=_Error)
    except msgspec.MsgspecError:
        error = _Error("")
    if status == 429 or error.error_type == "RATE_LIMIT_EXCEEDED":
        return ProviderUnavailable("Plaid is asked too often", 60.0)
    if status is None or status >= 500 or error.error_type in ("API_ERROR", "INSTITUTION_ERROR"):
        return ProviderUnavailable(f"Plaid answered {status}") if safe else OutcomeUnknown(f"Plaid answered {status}")
    if error.error_code == "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION":
        return ChangedWhilePaging("Plaid's pages changed while they were read")
    if error.error_type == "ITEM_ERROR":
        return AccessEnded(f"the bank wants its customer to sign in ({error.error_code})", error.error_code)
    return ProviderRefused(f"Plaid refused ({error.error_code or status})", error.error_code)
