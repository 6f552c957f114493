"""`isthmus clock` and `isthmus clock advance`: what time it is in the `up` that runs here, and later (docs/operating.md)."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from isthmus.runtime.endpoints import Endpoints
    from isthmus.settings import Settings

#: Whoever wants to go further does it in steps, and sees what each of them brings.
STEP_MAX = timedelta(days=366)
_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_DURATION = re.compile("".join(rf"(?:(?P<{name}>[0-9]{{1,9}}){unit})?" for unit, name in _UNITS.items()))
#: Two who move it at once would be moved once.
_LOCK = 0x1574_0C10
_SANDBOX_S = 60.0

clock = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    invoke_without_command=True,
    help="""Show what time it is in the `up` that runs here, or move it on, to see what is over by then. In development mode only.

\b
Example:
  isthmus clock
  isthmus clock advance 6m
""",
)


@clock.callback()
def show(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        settings, _ = _running()
        _tell(settings.data_dir)


@clock.command(
    # So that a time that is to go back, as -6m, is answered with a sentence.
    context_settings={"ignore_unknown_options": True},
    help="""Move the clock of the running product on, and that of its sandbox, at once. It never goes back.

What is over by then ends within seconds, by the same work that ends it otherwise. Sessions and tokens, too: sign in again.

\b
Example:
  isthmus clock advance 6m
  isthmus clock advance 1d12h30m5s
""",
)
def advance(
    by: Annotated[str, typer.Argument(metavar="TIME", help="How much later, as in 90s, 6m, 2h or 1d12h.")],
) -> None:
    later = _duration(by)
    settings, endpoints = _running()
    asyncio.run(_advance(settings.data_dir, endpoints, later))
    _tell(settings.data_dir)


def _duration(text: str) -> timedelta:
    if text.startswith("-"):
        _fail("the clock goes forward only: what happened has its time. A fresh --data-dir begins at the real one")
    found = _DURATION.fullmatch(text)
    by = timedelta(**{name: int(told) for name, told in found.groupdict().items() if told}) if found else timedelta()
    if not timedelta() < by <= STEP_MAX:
        raise typer.BadParameter(f"a time as in 90s, 6m, 2h or 1d12h, {STEP_MAX.days} days at most", param_hint="TIME")
    return by


def _running() -> tuple[Settings, Endpoints]:
    """Raises SettingsError where no `up` runs whose clock can be moved."""
    from isthmus.runtime.data_directory import DataDirectory
    from isthmus.runtime.endpoints import Endpoints
    from isthmus.settings import SettingsError, load_settings

    settings = load_settings()
    running = DataDirectory(settings.data_dir).running()
    if running is None:
        raise SettingsError(f"no `isthmus up` runs on {settings.data_dir}: start one, or name its ISTHMUS_DATA_DIR")
    if not running.get("development"):
        raise SettingsError(
            f"the `isthmus up` on {settings.data_dir} runs in production mode, which lives by the real time"
        )
    # Its own, and no other that a setting of this shell may name.
    return settings, Endpoints(**running["endpoints"])


async def _advance(data_dir: Path, endpoints: Endpoints, by: timedelta) -> None:
    """The product first, so that what falls due at the banks is told to one that is as late; then what waits in the database."""
    import asyncpg

    from isthmus.runtime.moved_clock import LOOK_S, ahead_in, clock_file, write_ahead
    from isthmus.write_models.timers import bring_forward

    file = clock_file(data_dir)
    connection = await asyncpg.connect(endpoints.database_url, timeout=5)
    try:
        await connection.execute("select pg_advisory_lock($1)", _LOCK)
        write_ahead(file, ahead_in(file) + by)
        await asyncio.sleep(2 * LOOK_S)
        # What is begun from here on is due by the time that it is now.
        if endpoints.sandbox_url:
            await _move_sandbox(endpoints.sandbox_url, by)
        async with connection.transaction():
            await bring_forward(connection, by)
    finally:
        await connection.close()


async def _move_sandbox(url: str, by: timedelta) -> None:
    import httpx

    try:
        async with httpx.AsyncClient(timeout=_SANDBOX_S, trust_env=False) as http:
            answer = await http.post(f"{url}/sandbox/clock", json={"advance_s": by.total_seconds()})
            answer.raise_for_status()
    except httpx.HTTPError as error:
        typer.echo(
            f"the sandbox did not follow ({type(error).__name__}); once it answers: "
            f"curl {url}/sandbox/clock -d '{{\"advance_s\": {by.total_seconds():.0f}}}'",
            err=True,
        )


def _tell(data_dir: Path) -> None:
    from isthmus.runtime.moved_clock import MovedClock, clock_file

    moved = MovedClock(clock_file(data_dir))
    now, ahead = moved.now().isoformat(timespec="seconds").replace("+00:00", "Z"), moved.ahead()
    typer.echo(f"{now}  {f'{ahead} ahead' if ahead else 'the real time'}")


def _fail(sentence: str) -> NoReturn:
    typer.echo(f"isthmus: {sentence}", err=True)
    raise typer.Exit(2)
