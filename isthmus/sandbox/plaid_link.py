"""Plaid's Link in its hosted form: choose a bank, sign in there, and come back with a public token."""

from __future__ import annotations

from datetime import timedelta
from html import escape
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from isthmus.sandbox.answers import World
from isthmus.sandbox.bank_pages import BankPages
from isthmus.sandbox.book import Customer
from isthmus.sandbox.clock import read_iso
from isthmus.sandbox.plaid import Plaid
from isthmus.sandbox.plaid_errors import Body, PlaidError
from isthmus.sandbox.seeding import BANKS, Bank


class PlaidLink:
    """The page of a link token, and what becomes of the bank's answer."""

    def __init__(self, world: World, plaid: Plaid, pages: BankPages) -> None:
        self._world = world
        self._plaid = plaid
        self._pages = pages
        pages.answered["plaid.link"] = self._answered
        self.routes = [Route("/plaid/link/{token}", self._page, methods=["GET"])]

    async def _page(self, request: Request) -> Response:
        token = request.path_params["token"]
        try:
            kept = self._plaid.link_token(token)
            lines, banks = self._asked(token, kept)
        except PlaidError as error:
            return HTMLResponse(f"<p>{escape(error.message)}</p>", 400)
        chosen = kept.get("institution_id") or request.query_params.get("institution_id") or ""
        bank = chosen.removeprefix("ins_")
        if bank not in [one.id for one in banks]:
            some = [one for one in banks if one.country in kept["country_codes"]]
            links = "".join(f'<li><a href="?institution_id=ins_{one.id}">{escape(one.name)}</a></li>' for one in some)
            head = '<!doctype html><title>Link</title><link rel="icon" href="data:,">'
            return HTMLResponse(f"{head}<h1>Choose your bank</h1><ul>{links}</ul>")
        return RedirectResponse(self._pages.ask("plaid.link", bank, "Plaid, for an app", lines, token=token), 303)

    def _asked(self, token: str, kept: Body) -> tuple[list[str], list[Bank]]:
        """What the person is asked for, and the banks that have it. Raises PlaidError, also where the page's own time is over."""
        lasts = (kept.get("hosted_link") or {}).get("url_lifetime_seconds")
        if lasts is not None and read_iso(kept["created"]) + timedelta(seconds=lasts) <= self._world.clock.now():
            raise PlaidError("INVALID_INPUT", "INVALID_LINK_TOKEN", f"the page of {token} is over")
        if kept.get("payment_id"):
            return self._plaid.payments.asked(kept["payment_id"])
        return ["see your accounts and balances", "see your transactions"], list(BANKS.values())

    def _answered(self, ask: dict[str, object], customer: Customer | None) -> str:
        token = str(ask["token"])
        kept = self._plaid.link_token(token)
        hosted = (kept.get("hosted_link") or {}).get("completion_redirect_uri")
        back = kept.get("redirect_uri") or f"{self._world.public_url}/livez"
        if kept.get("payment_id"):
            done = self._plaid.payments.answered(kept["payment_id"], customer)
            # A hosted session comes back with nothing of its own.
            return hosted or f"{back}?{urlencode({'link_token': token} | ({} if done else {'error': 'USER_DECLINED'}))}"
        if customer is None:
            return f"{back}?{urlencode({'error': 'USER_DECLINED', 'link_token': token})}"
        public = self._plaid.linked(token, customer.bank, customer.id)
        return f"{back}?{urlencode({'link_token': token} | ({'public_token': public} if public else {}))}"
