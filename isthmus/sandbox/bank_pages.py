"""A bank's own sign-in: a person sees who asks for what, signs in, and approves or declines. Every provider sends people here."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from html import escape
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from isthmus.sandbox.answers import World
from isthmus.sandbox.book import Customer
from isthmus.sandbox.seeding import BANKS

#: Takes the ask and who approved (None: declined) and gives the address that the person goes to next.
Answered = Callable[[dict[str, object], Customer | None], str]

_KIND = "bank.ask"
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{bank}</title><link rel="icon" href="data:,">
<style>body{{font:16px/1.5 system-ui;max-width:26rem;margin:3rem auto;padding:0 1rem}}input{{display:block;width:100%;margin:.2rem 0 1rem;
padding:.5rem;box-sizing:border-box}}button{{padding:.5rem 1rem;margin-right:.5rem}}.error{{color:#a00}}</style>
<h1>{bank}</h1><p>{asks}</p><ul>{lines}</ul>{error}
<form method="post"><label>User name <input name="username" autocomplete="username" required></label>
<label>Password <input name="password" type="password" autocomplete="current-password" required></label>
<button name="answer" value="approve">Approve</button><button name="answer" value="decline" formnovalidate>Decline</button></form>"""


class BankPages:
    """`answered` says, per kind of ask, what an answer leads to."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.answered: dict[str, Answered] = {}
        self.routes = [Route("/bank/{ask}", self._page, methods=["GET", "POST"])]

    def ask(self, kind: str, bank: str, who: str, lines: list[str], **more: object) -> str:
        """Keeps what is asked. Returns the address of the page."""
        ask_id = self._world.token("ask-")
        self._world.book.put(
            _KIND, ask_id, {"id": ask_id, "kind": kind, "bank": bank, "who": who, "lines": lines, **more}
        )
        return f"{self._world.public_url}/bank/{ask_id}"

    async def _page(self, request: Request) -> Response:
        ask_id = request.path_params["ask"]
        ask = self._world.book.get(_KIND, ask_id)
        if ask is None:
            return HTMLResponse("<p>This was answered before, or never asked.</p>", 404)
        if request.method == "GET":
            return _shown(ask)
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        customer: Customer | None = None
        if form.get("answer") != "decline":
            customer = self._world.book.customer(ask["bank"], form.get("username", ""))
            given = form.get("password", "").encode()
            if customer is None or not hmac.compare_digest(customer.password.encode(), given):
                return _shown(ask, "That user name and password do not belong together.", 401)
        with self._world.book.writing():
            self._world.book.forget(_KIND, ask_id)
            where = self.answered[ask["kind"]](ask, customer)
        return RedirectResponse(where, 303)


def _shown(ask: dict[str, object], error: str = "", status: int = 200) -> Response:
    lines = ask["lines"]
    assert isinstance(lines, list)
    page = _PAGE.format(
        bank=escape(BANKS[str(ask["bank"])].name),
        asks=f"<b>{escape(str(ask['who']))}</b> asks for:",
        lines="".join(f"<li>{escape(str(line))}</li>" for line in lines),
        error=f'<p class="error" role="alert">{escape(error)}</p>' if error else "",
    )
    return HTMLResponse(page, status, {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})
