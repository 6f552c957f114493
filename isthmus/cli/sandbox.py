"""`isthmus sandbox`: the banks and providers that the product speaks with where the real ones cannot be reached."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from isthmus.settings import LOOPBACK, load_settings


def sandbox(
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 0,
    book: Annotated[
        Path | None,
        typer.Option("--book", help="The banks' own file; sandbox/book.sqlite in the data directory by default."),
    ] = None,
) -> None:
    """Serve three banks and, in their own wire formats, Plaid (under /plaid), TrueLayer (/truelayer/auth and /truelayer/api) and Yapily.

    It goes on with the book that it finds. What happens in an account, what time it is and how a route misbehaves is told it under
    /sandbox/ (docs/sandbox.md). Everybody's password is `sandbox`. Prints `ready <url>` once it answers.

    Example:
      isthmus sandbox --port 8400
    """
    from isthmus.runtime.endpoints import base_url
    from isthmus.runtime.serving import listening_socket, serve_application
    from isthmus.runtime.telemetry import configure_logging
    from isthmus.sandbox.app import create_sandbox_app

    settings = load_settings()
    configure_logging(settings, "sandbox")
    file = book or settings.data_dir / "sandbox" / "book.sqlite"
    file.parent.mkdir(parents=True, exist_ok=True)
    listener = listening_socket(LOOPBACK, port)
    url = base_url(LOOPBACK, listener.getsockname()[1])
    serve_application(
        lambda: create_sandbox_app(
            file,
            seed=settings.sandbox.seed,
            public_url=url,
            redirect_uris=frozenset(settings.sandbox.redirect_uris),
            webhook_url=settings.sandbox.webhook_url or "",
        ),
        listener,
        shutdown_s=2.0,
        started=lambda: print(f"ready {url}", file=sys.stdout, flush=True),
        websockets=False,
    )
