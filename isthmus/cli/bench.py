"""`isthmus bench`: figures beside their baseline, and whether what was written is right."""

from __future__ import annotations

from enum import StrEnum
from importlib import import_module
from typing import Annotated

import typer

from isthmus.bench import BENCHES

Bench = StrEnum("Bench", {name: name for name in BENCHES})  # type: ignore[misc]  # typer wants an enum of the names


def bench(
    name: Annotated[Bench, typer.Argument(help="What to measure.")],
    json: Annotated[
        bool, typer.Option("--json", help="The last line is one JSON object; the table goes to standard error.")
    ] = False,
    seconds: Annotated[float, typer.Option(min=0.2, max=3_600, help="Bounds each measurement.")] = 5.0,
    peers: Annotated[
        bool, typer.Option("--peers", help="Also measure other servers, where the bench knows some.")
    ] = False,
) -> None:
    """Measure, beside a baseline in the same run; exit 1 where what was written does not verify.

    Servers are started in a temporary directory, durable, and removed afterwards: nothing of yours is touched.

    Example:
      isthmus bench ledger --seconds 2
      isthmus bench ledger --json | tail -1
    """
    from isthmus.bench.place import temporary_place
    from isthmus.bench.report import Options, Report

    with temporary_place() as data_dir:
        options = Options(seconds, lambda line: typer.echo(line, err=True), peers)
        report: Report = import_module(f"isthmus.bench.{name}").run(options, data_dir)
    typer.echo(report.as_text(), err=json)
    if json:
        typer.echo(report.as_json())
    if not report.verified:
        raise typer.Exit(1)
