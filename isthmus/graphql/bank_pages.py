"""/bank-links: find a bank, go there, come back; /payments: pay. Static pages of plain scripts, which ask the API as any client does.

`/bank-links/callback` is where banks send people back to: it must not need a sign-in, since whoever began elsewhere is shown what came
back. The addresses of both pages end up in no log: queries are not logged (edge.py), and the page clears its own.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from isthmus.graphql.playground import HEADERS, page_for_the_signed_in

FILES = Path(str(files("isthmus.graphql"))) / "static" / "bank-links"
_HEADERS = {
    **HEADERS,
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}


class _Files(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update({**_HEADERS, "Cache-Control": "no-cache"})
        return response


def routes() -> list[BaseRoute]:
    return [
        Route("/bank-links", _page),
        Route("/bank-links/callback", _callback),
        Mount("/bank-links/files", _Files(directory=FILES)),
        Route("/payments", _payments),
        Route("/payments/callback", _payments),
        Route("/payments/inbox", _inbox),
    ]


async def _page(request: Request) -> Response:
    return await page_for_the_signed_in(request, "bank-links", FILES / "index.html", _HEADERS)


async def _payments(request: Request) -> Response:
    """Whoever comes back from a bank signed out of here loses nothing: the payment goes on by itself."""
    return await page_for_the_signed_in(request, "payments", FILES / "payments.html", _HEADERS)


async def _inbox(request: Request) -> Response:
    """Everybody's telephones, where the sandbox stands for them: codes are read there."""
    url: str | None = request.app.state.running.inbox_url
    if url is None:
        raise HTTPException(404)
    return RedirectResponse(url, 303, headers=_HEADERS)


async def _callback(_: Request) -> Response:
    return FileResponse(FILES / "callback.html", headers=_HEADERS)
