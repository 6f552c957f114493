"""`isthmus schema`: the contract as SDL."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def schema(
    check: Annotated[
        bool, typer.Option("--check", help="Compare with the snapshot in the package; exit 1 where they differ.")
    ] = False,
    against: Annotated[Path | None, typer.Option(help="Compare with this file instead of the snapshot.")] = None,
) -> None:
    """Print the GraphQL schema, or say how it differs from the snapshot and whether that breaks clients.

    Example: isthmus schema > isthmus/graphql/schema.graphql
    """
    from isthmus.graphql.sdl import difference, sdl, snapshot

    if not check and against is None:
        typer.echo(sdl(), nl=False)
        return
    if against is not None and not against.exists():
        typer.echo(f"{against}: there is no such file", err=True)
        raise typer.Exit(2)
    found = difference(against.read_text(encoding="utf-8") if against else snapshot(), sdl())
    if not found:
        typer.echo("The schema is what the snapshot says.")
        return
    for title, changes in (("Breaking, clients stop working", found.breaking), ("Dangerous", found.dangerous)):
        if changes:
            typer.echo(f"{title}:")
            for change in changes:
                typer.echo(f"  {change}")
    if not found.breaking:
        typer.echo("Nothing breaks: additions, or words.")
    typer.echo("\n".join(found.lines))
    typer.echo("Where that is meant: isthmus schema > isthmus/graphql/schema.graphql", err=True)
    raise typer.Exit(1)
