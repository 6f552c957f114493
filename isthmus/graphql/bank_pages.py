"""/bank-links: find a bank, go there, come back. Static pages of plain scripts, which ask the API as any client does.

`/bank-links/callback` is where banks send people back to: it must not need a sign-in, since whoever began elsewhere is shown what came
back. The addresses of both pages end up in no log: queries are not logged (edge.py), and the page clears its own.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
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
    ]


async def _page(request: Request) -> Response:
    return await page_for_the_signed_in(request, "bank-links", FILES / "index.html", _HEADERS)


async def _callback(_: Request) -> Response:
    return FileResponse(FILES / "callback.html", headers=_HEADERS)
