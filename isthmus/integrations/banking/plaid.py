"""Plaid: Link, Items, accounts and `/transactions/sync`. How its client is called is told in `plaid_client`."""

from __future__ import annotations

import hmac
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from isthmus.domain.banking import (
    AccessEnded,
    Begun,
    ConsentNews,
    Credential,
    Granted,
    Link,
    LinkToken,
    ProviderAccount,
    ProviderInstitution,
    ProviderRefused,
    Removed,
    SyncPage,
)
from isthmus.domain.secrets import ProviderTokens
from isthmus.integrations.banking import plaid_answers as answers
from isthmus.integrations.banking import plaid_transactions
from isthmus.integrations.banking.calls import Calls
from isthmus.integrations.banking.plaid_client import PlaidClient
from isthmus.integrations.banking.statuses import consent_state

NAME = "plaid"
_PAGE = 500
_INSTITUTIONS_PAGE = 500
NO_CURRENCY = "an account is left out: its currency is none of ISO 4217"


class Plaid:
    """Implements `isthmus.domain.banking.BankProvider`."""

    name = NAME

    def __init__(
        self,
        host: str,
        client_id: str,
        secret: str,
        calls: Calls,
        *,
        client_name: str,
        webhook: str | None = None,
        tls: Callable[[], ssl.SSLContext | None] | None = None,
    ) -> None:
        self._client = PlaidClient(host, client_id, secret, calls, tls)
        self._client_name = client_name
        self._webhook = webhook

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
        sessions = await self._client.ask(
            "link/token/get", "link_token_get", answers.LinkSessions, safe=True, link_token=link_token
        )
        given = [
            one.public_token
            for session in sessions.link_sessions
            if session.results is not None
            for one in session.results.item_add_results
        ]
        if not any(hmac.compare_digest(one.encode(), public.encode()) for one in given):
            raise ProviderRefused("the public token is not of this link", "FOREIGN_PUBLIC_TOKEN")
        got = await self._client.ask(
            "item/public_token/exchange",
            "item_public_token_exchange",
            answers.Exchanged,
            safe=False,
            public_token=public,
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
        try:
            item = await self._item(tokens)
        except AccessEnded as ended:  # the Item is gone, or its token is
            return ConsentNews(consent_state(NAME, ended.code), ended.code)
        told = item.error.error_code if item.error is not None else "GOOD"
        return ConsentNews(consent_state(NAME, told), told, item.consent_expiration_time)

    async def accounts(self, tokens: ProviderTokens) -> Sequence[ProviderAccount]:
        answer = await self._client.ask(
            "accounts/balance/get", "accounts_balance_get", answers.Accounts, safe=True, access_token=tokens.access
        )
        return _accounts(answer.accounts)

    async def sync(self, tokens: ProviderTokens, cursor: str | None) -> SyncPage:
        more = {"cursor": cursor} if cursor else {}
        page = await self._client.ask(
            "transactions/sync",
            "transactions_sync",
            answers.Sync,
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
            await self._client.ask("item/remove", "item_remove", dict[str, Any], safe=True, access_token=tokens.access)
        except ProviderRefused as refusal:
            if refusal.code not in ("INVALID_ACCESS_TOKEN", "ITEM_NOT_FOUND"):
                raise

    async def institutions(self, country: str) -> AsyncIterator[ProviderInstitution]:
        offset, total = 0, 1
        while offset < total:
            page = await self._client.ask(
                "institutions/get",
                "institutions_get",
                answers.Institutions,
                safe=True,
                count=_INSTITUTIONS_PAGE,
                offset=offset,
                country_codes=[country],
            )
            for one in page.institutions:
                able = ["ACCOUNTS", "TRANSACTIONS"]
                able += ["PAYMENTS"] if "payment_initiation" in one.products else []
                yield ProviderInstitution(
                    one.institution_id, one.name, tuple(one.country_codes), capabilities=tuple(able)
                )
            offset, total = offset + _INSTITUTIONS_PAGE, page.total

    async def webhook_key(self, key_id: str) -> dict[str, Any]:
        """A key that webhooks are signed with, as a JWK. Raises ProviderFault."""
        answer = await self._client.ask(
            "webhook_verification_key/get", "webhook_verification_key_get", answers.KeyAnswer, safe=True, key_id=key_id
        )
        return answer.key

    # -- how it is asked -------------------------------------------------------------------------------------------------

    async def _link_token(self, link: Link, **more: Any) -> Begun:
        answer = await self._client.ask(
            "link/token/create",
            "link_token_create",
            answers.LinkToken,
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

    async def _item(self, tokens: ProviderTokens) -> answers.Item:
        answer = await self._client.ask(
            "item/get", "item_get", answers.ItemAnswer, safe=True, access_token=tokens.access
        )
        return answer.item


def _accounts(told: Sequence[answers.Account]) -> list[ProviderAccount]:
    """Those whose currency is one of ISO 4217: Plaid has others too (`unofficial_currency_code`), which nothing here can hold."""
    return [_account(one, one.balances.iso_currency_code) for one in told if one.balances.iso_currency_code]


def _account(account: answers.Account, currency: str) -> ProviderAccount:
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
