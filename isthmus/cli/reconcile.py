"""`isthmus reconcile`: our book beside the banks' statements of a day, by hand. `work` does the same every morning."""

from __future__ import annotations

import asyncio
import json as json_module
import os
from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from isthmus.domain.reconciliation import Pair
    from isthmus.settings import Settings
    from isthmus.write_models.reconciliation_report import Report

_FIRST_DAY, _LAST_DAY = date(2000, 1, 1), date(9999, 1, 1)


def reconcile(
    day: Annotated[
        str | None, typer.Option("--date", metavar="YYYY-MM-DD", help="A day (UTC); yesterday unless told.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Compare what we booked at banks with their statements of a day: matched, missing, extra, differing.

    Exit 1 where not all matched, and where an account could not be compared: which, and why, is told on standard error, and with --json in
    `notCompared`. The others are compared all the same, and told as they come.

    What differs opens a case, as in the run of every morning, and a case whose difference is gone is closed. Of today only what is older
    than a minute is compared.

    Example:
      isthmus reconcile
      isthmus reconcile --date 2026-11-28 --json
    """
    from isthmus.runtime.telemetry import configure_logging
    from isthmus.settings import load_settings
    from isthmus.write_models.reconciliation import NotCompared, TooEarly

    try:
        asked = None if day is None else _day(day)
    except ValueError:
        raise typer.BadParameter("a day as in 2026-11-28", param_hint="--date") from None
    settings = _as_up(load_settings())
    configure_logging(settings, "cli")
    reports: list[Report] = []
    failed = NotCompared({})

    def each(one: Report) -> None:
        reports.append(one)
        if not json:
            typer.echo("\n".join(_lines(one)))

    try:
        asyncio.run(_run(settings, asked, each))
    except TooEarly as early:
        raise typer.BadParameter(str(early), param_hint="--date") from None
    except NotCompared as some:
        failed = some
    if json:
        missed = [{"provider": provider, "asset": asset, "why": why} for (provider, asset), why in failed.why.items()]
        typer.echo(json_module.dumps({"accounts": [told(one) for one in reports], "notCompared": missed}))
    if failed.why:
        typer.echo(f"isthmus: {failed}", err=True)
    if failed.why or not all(one.sound for one in reports):
        raise typer.Exit(1)


def _day(text: str) -> date:
    """Raises ValueError. Nothing was booked at a bank before, and there is no time to look in around the last of all days."""
    day = date.fromisoformat(text)
    if not _FIRST_DAY <= day <= _LAST_DAY:
        raise ValueError(text)
    return day


def _as_up(settings: Settings) -> Settings:
    """With the banks of the `up` that runs here, where one does and nothing else is set."""
    from isthmus.runtime.data_directory import DataDirectory
    from isthmus.runtime.endpoints import DATABASE, resolve
    from isthmus.runtime.sandbox_wiring import wired_to_the_sandbox
    from isthmus.settings import SettingsError, load_settings

    endpoints = resolve(settings, need=DATABASE)
    if endpoints.sandbox_url:
        os.environ.update(wired_to_the_sandbox(settings, DataDirectory(settings.data_dir), endpoints))
        settings = load_settings()
    if not settings.banking.truelayer_merchant_accounts:
        raise SettingsError("there is no account at a bank: set ISTHMUS_BANKING__TRUELAYER_MERCHANT_ACCOUNTS")
    return settings


async def _run(settings: Settings, day: date | None, each: Callable[[Report], None]) -> None:
    from isthmus.runtime.endpoints import DATABASE, resolve
    from isthmus.runtime.moved_clock import running_clock
    from isthmus.runtime.reconciliation import reconciling
    from isthmus.runtime.wiring import write_side

    url = resolve(settings, need=DATABASE).database_url
    clock = running_clock(settings.data_dir, url)
    async with write_side(settings, url, clock) as side, reconciling(settings, side) as books:
        await books.reconciler.run(books.reconciler.yesterday() if day is None else day, each)


def told(report: Report) -> dict[str, Any]:
    """As JSON has it: amounts are texts, plus is money in."""
    from isthmus.domain.money import text_of
    from isthmus.write_models.reconciliation_report import told_sums

    return {
        "provider": report.provider,
        "asset": report.asset,
        "from": report.since.isoformat(),
        "to": report.until.isoformat(),
        "matched": report.sound,
        "classes": told_sums(report.sums),
        "ledger": {"opening": text_of(report.opening), "closing": text_of(report.closing)},
        "bank": {"balance": None if report.balance is None else text_of(report.balance)},
        "differences": [_difference(pair) for pair in report.differences],
        "cases": {"opened": report.opened, "resolved": report.resolved},
    }


def _difference(pair: Pair) -> dict[str, Any]:
    from isthmus.domain.money import text_of

    return {
        "class": pair.found.value,
        "at": pair.at.isoformat(),
        "journal": pair.ours.key if pair.ours is not None else None,
        "entry": pair.theirs.key if pair.theirs is not None else None,
        "ours": text_of(pair.ours.amount) if pair.ours is not None else None,
        "theirs": text_of(pair.theirs.amount) if pair.theirs is not None else None,
    }


def _lines(report: Report) -> list[str]:
    one = told(report)
    lines = [
        f"{report.provider} {report.asset}, {report.since:%Y-%m-%d} from {report.since:%H:%M} to {_end(report)} UTC"
    ]
    for name, sums in one["classes"].items():
        ours, theirs = sums["ours"], sums["theirs"]
        lines.append(
            f"  {name:<10} ours {ours['entries']:>6} {ours['amount']:>16}   theirs {theirs['entries']:>6} {theirs['amount']:>16}"
        )
    balance = one["bank"]["balance"]
    says = "" if balance is None else f"; the bank says that {balance} lies there now"
    lines.append(f"  our book: {one['ledger']['opening']} to {one['ledger']['closing']}{says}")
    for each in one["differences"]:
        ours = f"journal {each['journal']} {each['ours']}" if each["journal"] else "nothing of ours"
        theirs = f"entry {each['entry']} {each['theirs']}" if each["entry"] else "nothing of theirs"
        lines.append(f"  {each['class']:<10} {each['at'][:19]}  {ours}, {theirs}")
    lines.append(f"  cases opened: {report.opened}; closed, since their difference is gone: {report.resolved}")
    return lines


def _end(report: Report) -> str:
    return f"{report.until:%H:%M}" if report.until.date() == report.since.date() else "24:00"
