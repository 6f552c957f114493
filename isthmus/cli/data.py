"""`isthmus rebuild`: what is done to derived data by hand."""

from __future__ import annotations

import asyncio
import json as json_module
import time
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from isthmus.read_models.rebuild import Rebuilt

JSON = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]


def rebuild(json: JSON = False) -> None:
    """Make the read models anew from the event store, while the product serves. Readers see the old ones until all is there.

    Progress goes to standard error. Only one rebuild runs at a time: a second is refused.

    Example: isthmus rebuild --json
    """
    from isthmus.runtime.endpoints import DATABASE, resolve
    from isthmus.settings import load_settings

    began = time.monotonic()
    endpoints = resolve(load_settings(), need=DATABASE)
    done = asyncio.run(_rebuild(endpoints.database_url))
    seconds = round(time.monotonic() - began, 3)
    if json:
        typer.echo(json_module.dumps({"position": done.position, "events": done.events, "seconds": seconds}))
    else:
        typer.echo(
            f"the read models were made anew from {done.events} events in {seconds} s, up to position {done.position}"
        )


async def _rebuild(url: str) -> Rebuilt:
    import asyncpg

    from isthmus.read_models.rebuild import rebuild as run

    connection = await asyncpg.connect(url, timeout=10)
    try:
        return await run(connection, _progress)
    finally:
        await connection.close()


def _progress(at: int, of: int) -> None:
    typer.echo(f"event {at} of {of} ({100 * at // max(of, 1)} %)", err=True)
