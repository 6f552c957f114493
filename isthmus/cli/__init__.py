"""The `isthmus` command. A command's module is imported when it runs: otherwise `--help` would pay for every library there is.

What scripts may rely on: results on standard output, progress and errors on standard error; exit 0 done, 1 failed or a check
found something, 2 wrong usage or a wrong setting, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from inspect import getdoc
from typing import Annotated, Any, NamedTuple

import typer
import typer.core
import typer.main


class _Command(NamedTuple):
    """Where a command lives; its function is named like the command."""

    module: str
    summary: str


COMMANDS = {
    "up": _Command("run", "Start everything and print where it is; Ctrl-C ends it."),
    "serve": _Command("run", "Serve the GraphQL API."),
    "work": _Command("run", "Run relay, projections, timers and checks."),
    "issuer": _Command("run", "Serve the embedded sign-in (OpenID provider)."),
    "sandbox": _Command("sandbox", "Serve banks and their providers, to try things out with."),
    "migrate": _Command("database", "Bring the database to the newest revision."),
    "demo": _Command("database", "Make the demo users' accounts and movements."),
    "verify": _Command("database", "Check every invariant of the ledger and the hash chains."),
    "reconcile": _Command("reconcile", "Compare our book with the banks' statements of a day."),
    "rebuild": _Command("data", "Make the read models anew from the event store, while serving."),
    "parked": _Command("data", "List what could not be projected and needs attention."),
    "torture": _Command("torture", "Break a system of its own in every way, and judge what is left."),
    "token": _Command("people", "Sign in as a user and print the access token."),
    "credit": _Command("people", "Settle a fiat deposit into a user's account, as an operator."),
    "clock": _Command("clock", "Show the time in the running `up`, or move it on to try things."),
    "operations": _Command("operations", "Publish, list and retire the operations that production runs."),
    "secrets": _Command("secrets", "Rotate the master key that everything personal is under."),
    "schema": _Command("schema", "Print the GraphQL schema, or compare it with the snapshot."),
    "settings": _Command("settings_page", "List every setting, or check the page that lists them."),
    "errors": _Command("errors_page", "Print the error catalogue, or check the page that holds it."),
    "bench": _Command("bench", "Measure beside a baseline, and verify what was written."),
    "metrics": _Command("metrics_page", "List every metric, or check the page that lists them."),
    "doctor": _Command("doctor", "Say what is missing or wrong here, and what to do."),
}


def _paragraphs(docstring: str) -> Iterator[str]:
    """Paragraphs for the help text: wrapped, but for examples, whose lines are kept as written (`\\b` says so)."""
    for paragraph in docstring.split("\n\n"):
        keep = paragraph.lstrip().startswith(("Example", "$ ", "isthmus "))
        yield f"\b\n{paragraph}" if keep and "\b" not in paragraph else paragraph


def _load(name: str) -> Any:
    """The typer command made from `isthmus.cli.<module>.<name>`: a function, or a group of commands."""
    function: Callable[..., Any] | typer.Typer = getattr(import_module(f"{__name__}.{COMMANDS[name].module}"), name)
    if isinstance(function, typer.Typer):
        return typer.main.get_command(function)
    single = typer.Typer(add_completion=False, rich_markup_mode=None)
    single.command(name, help="\n\n".join(_paragraphs(getdoc(function) or COMMANDS[name].summary)))(function)
    return typer.main.get_command(single)


class _LazyGroup(typer.core.TyperGroup):
    """Knows names and summaries up front, and everything else once a command is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        if cmd_name in COMMANDS and cmd_name not in self.commands:
            self.commands[cmd_name] = _load(cmd_name)
        return self.commands.get(cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        if args[0] not in COMMANDS:  # typer's own suggestion looks at loaded commands only
            from difflib import get_close_matches

            close = get_close_matches(args[0], COMMANDS, n=1)
            ctx.fail(f"No such command '{args[0]}'." + (f" Did you mean '{close[0]}'?" if close else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.summary) for name, command in COMMANDS.items()])


app = typer.Typer(cls=_LazyGroup, add_completion=False, rich_markup_mode=None)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # 40 ms that only this option pays

        print(f"isthmus {version('isthmus')}")
        raise typer.Exit


_HELP = """GraphQL over crypto and open banking, on an event-sourced double-entry ledger.

\b
Example:
  isthmus up                                  everything, on embedded servers
  isthmus token --user ada@example.com --url http://127.0.0.1:8000
  isthmus verify && echo sound

Settings come from the environment (isthmus settings lists them); ISTHMUS_DATA_DIR names the data directory.
"""


@app.callback(help=_HELP)
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Only the options; each command is its own function."""


def main() -> None:
    """Run the command line and exit with its code; nothing ever ends in a traceback that nobody asked for."""
    try:
        app(prog_name="isthmus")
    except BrokenPipeError as error:
        if not _nobody_reads():
            sys.exit(_explain(error))  # another pipe or connection, as to a server that was killed
        # Whoever read us has gone (`isthmus schema | head`): nothing to say, and nobody to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # noqa: BLE001  # the last one who can turn it into a sentence
        sys.exit(_explain(error))


def _nobody_reads() -> bool:
    """Whether standard output, or standard error, is a pipe whose reader has gone."""
    from select import POLLERR, poll

    outputs = poll()
    for stream in (sys.stdout, sys.stderr):
        outputs.register(stream.fileno(), 0)
    return any(event & POLLERR for _, event in outputs.poll(0))


def _explain(error: BaseException) -> int:
    """Say on standard error what went wrong; return the exit code."""
    from isthmus.settings import SettingsError

    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]  # the first failure cancelled the others
    if isinstance(error, KeyboardInterrupt):
        return 130
    if isinstance(error, SettingsError):
        print(f"isthmus: {error}", file=sys.stderr)
        return 2
    from isthmus.runtime.telemetry import redact_text

    if os.environ.get("ISTHMUS_LOG__LEVEL", "").upper() == "DEBUG":
        import traceback

        print(redact_text("".join(traceback.format_exception(error))), file=sys.stderr)
    print(f"isthmus: {_sentence(error, redact_text)}", file=sys.stderr)
    return 1


def _sentence(error: BaseException, redact: Callable[[str], str]) -> str:
    message = " ".join(redact(str(error)).split())
    if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("isthmus"):
        return f"{message}; `make setup` installs what is needed"
    if type(error).__module__.startswith("isthmus.") and message:
        return message  # our own exceptions are written to be read
    told = f"{type(error).__name__}: {message}" if message else type(error).__name__
    if isinstance(error, OSError | TimeoutError):
        return f"{told}; `isthmus doctor` says what is missing"
    return f"{told} (unexpected; ISTHMUS_LOG__LEVEL=DEBUG shows where)"
