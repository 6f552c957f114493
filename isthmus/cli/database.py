"""`isthmus migrate`, `verify` and `demo`: what is done to the database by hand."""

from __future__ import annotations

import asyncio
import json as json_module
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from isthmus.write_models.verifier import Report

JSON = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]


def migrate() -> None:
    """Bring the database to the newest revision. Safe to repeat, and to run beside a serving product.

    Example: isthmus migrate
    """
    from isthmus.migrations import migrate as run
    from isthmus.runtime.endpoints import DATABASE, resolve
    from isthmus.settings import load_settings

    asyncio.run(run(resolve(load_settings(), need=DATABASE).admin_url))
    typer.echo("the database is at the newest revision", err=True)


def demo(json: JSON = False) -> None:
    """Make the demo users' accounts and movements. Safe to repeat: nothing is made twice.

    Example: isthmus demo
    """
    from isthmus.cli.demo_data import seed
    from isthmus.runtime.endpoints import DATABASE, resolve
    from isthmus.runtime.telemetry import configure_logging
    from isthmus.settings import load_settings

    settings = load_settings()
    configure_logging(settings, "cli")  # to standard error: the answer alone is on standard output
    position = asyncio.run(seed(settings, resolve(settings, need=DATABASE)))
    typer.echo(json_module.dumps({"position": position}) if json else f"demo data are there from position {position}")


def verify(json: JSON = False) -> None:
    """Check every invariant of the ledger and the hash chains, by SQL of its own. Exit 1 on any violation.

    Example: isthmus verify --json
    """
    from isthmus.runtime.endpoints import DATABASE, resolve
    from isthmus.settings import load_settings

    report = asyncio.run(_verify(resolve(load_settings(), need=DATABASE).database_url))
    typer.echo(_as_json(report) if json else _as_text(report))
    if not report.sound:
        raise typer.Exit(1)


async def _verify(url: str) -> Report:
    import asyncpg

    from isthmus.write_models.verifier import verify as run

    connection = await asyncpg.connect(url, timeout=10)
    try:
        return await run(connection, progress=lambda check: typer.echo(f"checking {check.name} …", err=True))
    finally:
        await connection.close()


def _as_json(report: Report) -> str:
    checks = [
        {
            "name": finding.check.name,
            "holds": finding.check.holds,
            "checked": finding.checked,
            "violations": list(finding.violations),
        }
        for finding in report.findings
    ]
    return json_module.dumps({"sound": report.sound, "position": report.position, "checks": checks})


def _as_text(report: Report) -> str:
    lines = []
    for finding in report.findings:
        mark = "violated" if finding.violations else "ok"
        lines.append(f"{mark:<9}{finding.check.name} ({finding.checked} checked): {finding.check.holds}")
        lines.extend(f"         {violation}" for violation in finding.violations)
    lines.append(f"{'sound' if report.sound else 'NOT SOUND'} at position {report.position}")
    return "\n".join(lines)
