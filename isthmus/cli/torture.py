"""`isthmus torture`: the whole system under faults, judged by the oracle."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from isthmus.torture.report import Report

_SEEDS = 2**31


def torture(
    seconds: Annotated[
        float, typer.Option(min=1, help="No new round begins after so many; a round takes about 40.")
    ] = 60,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of clients and faults; without it, one is drawn and told.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object as the last line of standard output.")] = False,
) -> None:
    """Run random clients against real processes while killing, pausing and cutting them; then judge what is left.

    Starts a system of its own in a temporary directory (no `up` is needed) and leaves nothing behind. Exit 1 where something was
    lost, doubled or violated; logs and intents are then kept, and the last line says where. Progress goes to standard error.

    Example:
      isthmus torture --seconds 1800 --seed 7
    """
    from isthmus.torture.run import torture as run

    bug = os.environ.get("SABOTAGE")
    if bug is not None:
        from isthmus.torture.sabotages import find

        find(bug)  # a sentence now rather than a failed start
    drawn = random.randrange(_SEEDS) if seed is None else seed

    async def interruptible() -> Report:
        task = asyncio.current_task()
        assert task is not None, "this is a coroutine of asyncio.run"
        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        return await run(seconds, drawn, lambda line: typer.echo(line, err=True), sabotage=bug)

    try:
        report = asyncio.run(interruptible())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    typer.echo(report.as_json() if json else _as_text(report))
    if not report.passed:
        raise typer.Exit(1)


def _as_text(report: Report) -> str:
    lines = [
        f"{report.rounds} rounds in {report.seconds:.0f} s with seed {report.seed}",
        f"injected      {sum(report.faults.values())}: "
        + ", ".join(f"{n} {name}" for name, n in sorted(report.faults.items())),
        f"acknowledged  {report.acknowledged}",
        f"refused       {report.refused}",
        f"unknown       {report.unknown}, of which {report.committed_unknown} had been committed",
        f"resolved      {report.resolved}",
        f"lost          {report.lost}",
        f"doubled       {report.doubled}",
        *(f"violated      {violation}" for violation in report.violations),
        "passed" if report.passed else f"FAILED; evidence is in {report.evidence}",
    ]
    return "\n".join(lines)
