"""`up` and the processes that it starts: `serve`, `work`, `issuer`. Each also runs by itself, beside an `up` or without one."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from isthmus.settings import LOOPBACK, LogSettings, Settings, SettingsError, load_settings

DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Data directory, instead of ISTHMUS_DATA_DIR.")]
Port = Annotated[int | None, typer.Option("--port", min=0, max=65535, help="Port of the API; 0 takes a free one.")]
Host = Annotated[str | None, typer.Option("--host", help="Address to listen on.")]


def up(
    data_dir: DataDir = None,
    port: Port = None,
    demo: Annotated[bool, typer.Option("--demo/--no-demo", help="The demo users' accounts and movements.")] = True,
) -> None:
    """Start everything on this machine and print where it is; the last line is `ready <url>`. Ctrl-C ends it all.

    What is printed: the database's URL, the sign-in issuer and the demo users, on standard output; progress on standard error.
    The next `up` on the same data directory continues with the same state. A URL in the settings replaces an embedded server.

    Example:
      isthmus up --port 8000
      isthmus up --data-dir try --no-demo
    """
    from isthmus.runtime.steps import Steps
    from isthmus.runtime.telemetry import configure_logging
    from isthmus.runtime.up import up as run

    overrides: dict[str, Any] = {}
    if data_dir is not None:
        overrides["data_dir"] = data_dir
    if port is not None:
        overrides["api"] = {"port": port}
    settings = load_settings(**overrides)
    # Steps tell how far it is; what the demo's commands log would only bury them.
    quiet = LogSettings(level="WARNING" if settings.log.level == "INFO" else settings.log.level)
    configure_logging(settings.model_copy(update={"log": quiet}), "up")
    steps = Steps()
    try:
        asyncio.run(run(settings, demo=demo, steps=steps, say=_say))
    finally:
        steps.close()


def serve(host: Host = None, port: Port = None) -> None:
    """Serve the GraphQL API, beside a running `up` or on servers from the settings. Prints `ready <url>` once it answers.

    Example:
      isthmus serve --port 8001
    """
    from isthmus.runtime.data_directory import DataDirectory
    from isthmus.runtime.endpoints import base_url, resolve
    from isthmus.runtime.moved_clock import clock_of
    from isthmus.runtime.serving import listening_socket, serve_application
    from isthmus.runtime.telemetry import configure_logging

    settings = load_settings()
    resolve(settings)  # a sentence now rather than a failed start
    clock_of(settings)  # so, too
    configure_logging(settings, "serve")
    _arm_fail_points(settings)
    host = settings.api.host if host is None else host
    if port is None:
        port = settings.api.port or _kept_port(DataDirectory(settings.data_dir), host)
    listener = listening_socket(host, port)
    url = base_url(host, listener.getsockname()[1])
    with _traced(settings, "serve"):
        serve_application(
            lambda: _application(settings),
            listener,
            shutdown_s=settings.api.shutdown_s,
            started=lambda: _say(f"ready {url}/graphql"),
        )


def work() -> None:
    """Run the relay, the projections, timers and checks. Several may run; they share the load.

    Example:
      isthmus work
    """
    from isthmus.runtime.endpoints import resolve
    from isthmus.runtime.serving import run_until_signalled
    from isthmus.runtime.telemetry import configure_logging
    from isthmus.runtime.work import run

    settings = load_settings()
    resolve(settings, need=("database", "redis", "kafka"))
    configure_logging(settings, "work")
    _arm_fail_points(settings)
    with _traced(settings, "work"):
        run_until_signalled(lambda: run(settings))


def issuer() -> None:
    """Serve the embedded sign-in (OpenID provider) at the address that `up` keeps for it. `up` runs one already.

    Example:
      isthmus issuer
    """
    from isthmus.auth.provider.asgi import create_provider_app
    from isthmus.runtime.endpoints import resolve
    from isthmus.runtime.moved_clock import clock_of
    from isthmus.runtime.serving import listening_socket, serve_application
    from isthmus.runtime.telemetry import configure_logging

    settings = load_settings()
    clock_of(settings)  # a sentence now rather than a failed start
    if settings.issuer.url is not None:
        raise SettingsError("ISTHMUS_ISSUER__URL names another issuer: unset it to run the embedded one")
    url = resolve(settings, need=("database", "redis", "issuer")).issuer_url
    configure_logging(settings, "issuer")
    parts = urlsplit(url)
    serve_application(
        lambda: create_provider_app(settings),
        listening_socket(parts.hostname or LOOPBACK, parts.port or 80),
        shutdown_s=settings.api.shutdown_s,
        started=lambda: _say(f"ready {url}"),
        websockets=False,
    )


def _arm_fail_points(settings: Settings) -> None:
    if settings.fail is not None:
        from isthmus.failpoints import arm

        arm(settings.fail)


def _traced(settings: Settings, service: str) -> AbstractContextManager[None]:
    """Libraries are instrumented before anything uses them, and not even imported where nobody is told."""
    if settings.telemetry.otlp_endpoint is None:
        return nullcontext()
    from isthmus.runtime.tracing import traced

    return traced(settings.telemetry, service)


def _application(settings: Settings) -> Any:
    from isthmus.app import create_app

    return create_app(settings)


def _kept_port(data: Any, host: str) -> int:
    """The kept one belongs to the `up` that runs, if one does."""
    if data.in_use() or not data.path.is_dir():
        return 0
    kept: int = data.port("api", host)
    return kept


def _say(line: str) -> None:
    print(line, file=sys.stdout, flush=True)
