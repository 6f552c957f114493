"""GoCardless Bank Account Data: agreements, requisitions, and what the bank shows of the accounts behind one. Account information only.

The worked example of another provider: what `BankProvider` asks for, and nothing else (docs/banking.md walks through it). Tokens are the
application's own, renewed here; a link has none: what is kept for it is the requisition's id. People come back with `ref`, our state.
Sources: developer.gocardless.com/bank-account-data (quick start, statuses, overview); what an expired agreement answers is from issues
that people wrote about it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec
import structlog

from isthmus.domain.banking import (
    AccessEnded,
    BankProvider,
    Begun,
    ConsentNews,
    Credential,
    Granted,
    Link,
    ProviderAccount,
    ProviderConsent,
    ProviderFault,
    ProviderInstitution,
    ProviderRefused,
    ProviderUnavailable,
    RedirectTo,
    SyncPage,
)
from isthmus.domain.secrets import ProviderTokens
from isthmus.integrations.banking import gocardless_transactions
from isthmus.integrations.banking.gocardless_answers import (
    Agreement,
    BalancesAnswer,
    DetailsAnswer,
    Institution,
    Requisition,
    account_of,
    refusal,
)
from isthmus.integrations.banking.gocardless_token import ApplicationToken, TokenRefused
from isthmus.integrations.banking.json_http import JsonHttp
from isthmus.integrations.banking.outside import Outside
from isthmus.integrations.banking.statuses import consent_state
from isthmus.integrations.banking.windows import Walk

NAME = "gocardless"
URL = "https://bankaccountdata.gocardless.com"
_API = "/api/v2"
_ACCESS_DAYS = 90
#: As far back as any bank goes; each has a limit of its own.
_HISTORY_DAYS_MAX = 730
_SCOPE = ("balances", "details", "transactions")
_REST_HEADERS = ("http_x_ratelimit_account_success_reset", "http_x_ratelimit_reset")

Shape = TypeVar("Shape")

log = structlog.get_logger(__name__)


def made(out: Outside) -> BankProvider | None:
    """None without credentials. The registry's line names this."""
    given = out.told.credentials.get(NAME)
    return GoCardless(given.url or URL, given.id, given.secret.get_secret_value(), out) if given else None


class GoCardless:
    """Implements `isthmus.domain.banking.BankProvider`. In tokens `access` and `reference` are the requisition's id."""

    name = NAME

    def __init__(self, url: str, secret_id: str, secret_key: str, out: Outside) -> None:
        self._http = JsonHttp(out.http, out.calls, url, refusal, _REST_HEADERS)
        self._token = ApplicationToken(self._http, secret_id, secret_key, out.clock)
        self._clock = out.clock

    async def begin(self, link: Link) -> Begun:
        """A requisition whose answer is lost is never gone to, and ends by itself; its reference, our state, is taken once."""
        bank = await self._ask("institution", "GET", f"/institutions/{link.institution}/", Institution)
        wish: dict[str, Any] = {
            "institution_id": link.institution,
            "max_historical_days": min(bank.history_days, _HISTORY_DAYS_MAX),
            "access_valid_for_days": _ACCESS_DAYS,
            "access_scope": _SCOPE,
        }
        agreement = await self._ask("agreement", "POST", "/agreements/enduser/", Agreement, json=wish)
        wish = {
            "redirect": link.redirect_uri,
            "institution_id": link.institution,
            "agreement": agreement.id,
            "reference": link.state,
        }
        requisition = await self._ask("begin", "POST", "/requisitions/", Requisition, safe=False, json=wish)
        return Begun(RedirectTo(requisition.link), reference=requisition.id)

    async def renew(self, link: Link, tokens: ProviderTokens) -> Begun | Granted:  # noqa: ARG002 - as the port has it
        return await self.begin(link)

    async def complete(self, link: Link, credential: Credential, tokens: ProviderTokens | None) -> Granted:
        """What comes back is no secret, so that nothing is exchanged: the requisition itself says whether it is linked."""
        if link.begun_as is None or credential.code is None:
            raise ProviderRefused("GoCardless' links come back with a reference", "NO_REFERENCE")
        requisition = await self._requisition(link.begun_as)
        if requisition.reference != link.state:
            raise ProviderRefused("the requisition is not of this link", "FOREIGN_REFERENCE")
        state = consent_state(NAME, requisition.status)
        if state in (ProviderConsent.AWAITING, ProviderConsent.UNKNOWN):
            raise ProviderUnavailable(f"the bank has not answered yet ({requisition.status})", 1.0)
        if state is not ProviderConsent.AUTHORISED:
            raise ProviderRefused("the bank was not signed in to", requisition.status)
        agreement = await self._ask("agreement", "GET", f"/agreements/enduser/{requisition.agreement}/", Agreement)
        if tokens is not None and tokens.access and tokens.access != requisition.id:
            await self._forget(tokens)
        return Granted(ProviderTokens(requisition.id, reference=requisition.id), _end_of(agreement))

    async def refresh(self, tokens: ProviderTokens) -> ProviderTokens:
        return tokens

    async def news(self, tokens: ProviderTokens) -> ConsentNews:
        try:
            requisition = await self._requisition(tokens.access)
        except AccessEnded as gone:
            return ConsentNews(ProviderConsent.REVOKED, gone.code)
        return ConsentNews(consent_state(NAME, requisition.status), requisition.status)

    async def accounts(self, tokens: ProviderTokens) -> Sequence[ProviderAccount]:
        requisition = await self._requisition(tokens.access)
        if consent_state(NAME, requisition.status) is not ProviderConsent.AUTHORISED:
            raise AccessEnded("the bank shows nothing any more", requisition.status)
        return [await self._account(one) for one in requisition.accounts]

    async def sync(self, tokens: ProviderTokens, cursor: str | None) -> SyncPage:
        """At first all that the agreement lets us see; from then on what was booked since a few days before the last update."""
        accounts, changed = await self.accounts(tokens), []
        walk = Walk.begin(cursor, self._clock.now(), accounts)
        span, booked_since = ({"date_from": walk.since.date().isoformat()}, walk.booked_since) if cursor else ({}, None)
        for account in accounts:
            path = f"/accounts/{account.reference}/transactions/"
            told = await self._ask("transactions", "GET", path, msgspec.Raw, params=span)
            part = gocardless_transactions.read(told, account.reference, account.asset)
            changed += part
            walk = walk.on(part, account_done=True)
        whole = frozenset(one.reference for one in accounts)
        return SyncPage(
            tuple(accounts), tuple(changed), whole_pending=whole, booked_since=booked_since, cursor=walk.text()
        )

    async def revoke(self, tokens: ProviderTokens) -> None:
        try:
            await self._ask("revoke", "DELETE", f"/requisitions/{tokens.access}/", dict[str, Any])
        except ProviderRefused as refused:
            if refused.code != "404":
                raise

    async def institutions(self, country: str) -> AsyncIterator[ProviderInstitution]:
        found = await self._ask("institutions", "GET", "/institutions/", list[Institution], params={"country": country})
        for one in found:
            logo = one.logo or None
            yield ProviderInstitution(one.id, one.name, tuple(one.countries), logo, ("ACCOUNTS", "TRANSACTIONS"))

    async def _account(self, reference: str) -> ProviderAccount:
        details = await self._ask("details", "GET", f"/accounts/{reference}/details/", DetailsAnswer)
        balances = await self._ask("balances", "GET", f"/accounts/{reference}/balances/", BalancesAnswer)
        return account_of(reference, details.account, balances.balances)

    async def _requisition(self, requisition_id: str) -> Requisition:
        try:
            return await self._ask("requisition", "GET", f"/requisitions/{requisition_id}/", Requisition)
        except ProviderRefused as refused:
            if refused.code != "404":
                raise
            raise AccessEnded("the requisition was taken back", "NOT_FOUND") from None

    async def _forget(self, tokens: ProviderTokens) -> None:
        """What was renewed has another in its place; where the provider is not told, it ends by itself."""
        try:
            await self.revoke(tokens)
        except ProviderFault as fault:
            log.warning("a requisition that was replaced stays until it ends", why=str(fault))

    async def _ask(
        self, name: str, method: str, path: str, shape: type[Shape], *, safe: bool = True, **more: Any
    ) -> Shape:
        token = await self._token.now()
        try:
            return await self._http.ask(
                name, method, f"{_API}{path}", shape, safe=safe, headers={"Authorization": f"Bearer {token}"}, **more
            )
        except TokenRefused:  # nothing was done: it may be asked for once more, whatever it is
            headers = {"Authorization": f"Bearer {await self._token.instead_of(token)}"}
        return await self._http.ask(name, method, f"{_API}{path}", shape, safe=safe, headers=headers, **more)


def _end_of(agreement: Agreement) -> datetime | None:
    begun = agreement.accepted or agreement.created
    return begun + timedelta(days=agreement.access_valid_for_days) if begun is not None else None
