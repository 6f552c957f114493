"""`isthmus rebuild` and `isthmus parked`: what is done to derived data, and asked about it, by hand."""

from __future__ import annotations

import asyncio
import json as json_module
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from isthmus.read_models.projections.parked import ParkedEvent
    from isthmus.read_models.rebuild import Rebuilt
    from isthmus.read_models.refused_records import RefusedRecord

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


def parked(json: JSON = False) -> None:
    """List the records that this release could not project (NEEDS_ATTENTION), and what was refused of the bus. Exit 1 where
    anything needs attention; what was refused of the bus changed nothing, and does not count.

    Balances stay right meanwhile, as they are read from the ledger; the account's history and live messages are refused
    (UNAVAILABLE). A release that understands the events projects them when its `work` starts; `isthmus rebuild` does too.

    Example: isthmus parked --json
    """
    from isthmus.runtime.endpoints import DATABASE, resolve
    from isthmus.settings import load_settings

    events, refused = asyncio.run(_parked(resolve(load_settings(), need=DATABASE).database_url))
    if json:
        told = {"parked": [asdict(one) for one in events], "refused": [asdict(one) for one in refused]}
        typer.echo(json_module.dumps(told, default=str))
    else:
        for one in events:
            typer.echo(
                f"{one.state}  position {one.position}  {one.event_type} v{one.schema_version}  account {one.account_id}  "
                f"tried {one.tries} times, last {one.last_tried:%Y-%m-%d %H:%M:%S} UTC: {one.reason}"
            )
        for record in refused:
            typer.echo(
                f"refused  partition {record.partition} offset {record.broker_offset}  {record.bytes} bytes  "
                f"sha256 {record.digest[:16]}  {record.times} times: {record.reason}"
            )
        typer.echo(f"set aside: {len(events)}; refused of the bus: {len(refused)}")
    if events:
        raise typer.Exit(1)


async def _parked(url: str) -> tuple[list[ParkedEvent], list[RefusedRecord]]:
    import asyncpg

    from isthmus.read_models.projections.parked import parked_events
    from isthmus.read_models.refused_records import refused_records

    connection = await asyncpg.connect(url, timeout=10)
    try:
        return await parked_events(connection), await refused_records(connection)
    finally:
        await connection.close()


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
