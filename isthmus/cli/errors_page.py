"""`isthmus errors`: the error catalogue, from the enums."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def errors(
    check: Annotated[
        Path | None, typer.Option(help="Compare this file with the catalogue; exit 1 where they differ.")
    ] = None,
) -> None:
    """Print every error code, what it means and what to do, as Markdown.

    Example: isthmus errors > docs/errors.md
    """
    from isthmus.graphql.error_catalogue import page

    if check is None:
        typer.echo(page(), nl=False)
    elif not check.exists() or check.read_text(encoding="utf-8") != page():
        typer.echo(f"{check} is not what the code says; run: isthmus errors > {check}", err=True)
        raise typer.Exit(1)
