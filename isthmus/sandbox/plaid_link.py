"""Plaid's Link in its hosted form: choose a bank, sign in there, and come back with a public token."""

from __future__ import annotations

from html import escape
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from isthmus.sandbox.answers import World
from isthmus.sandbox.bank_pages import BankPages
from isthmus.sandbox.book import Customer
from isthmus.sandbox.plaid import Plaid
from isthmus.sandbox.plaid_errors import PlaidError
from isthmus.sandbox.seeding import BANKS


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
        except PlaidError as error:
            return HTMLResponse(f"<p>{escape(error.message)}</p>", 400)
        bank = request.query_params.get("institution_id", "").removeprefix("ins_")
        if bank not in BANKS:
            some = [one for one in BANKS.values() if one.country in kept["country_codes"]]
            links = "".join(f'<li><a href="?institution_id=ins_{one.id}">{escape(one.name)}</a></li>' for one in some)
            head = '<!doctype html><title>Link</title><link rel="icon" href="data:,">'
            return HTMLResponse(f"{head}<h1>Choose your bank</h1><ul>{links}</ul>")
        lines = ["see your accounts and balances", "see your transactions"]
        return RedirectResponse(self._pages.ask("plaid.link", bank, "Plaid, for an app", lines, token=token), 303)

    def _answered(self, ask: dict[str, object], customer: Customer | None) -> str:
        token = str(ask["token"])
        kept = self._plaid.link_token(token)
        back = kept.get("redirect_uri") or f"{self._world.public_url}/livez"
        if customer is None:
            return f"{back}?{urlencode({'error': 'USER_DECLINED', 'link_token': token})}"
        public = self._plaid.linked(token, customer.bank, customer.id)
        return f"{back}?{urlencode({'link_token': token} | ({'public_token': public} if public else {}))}"
