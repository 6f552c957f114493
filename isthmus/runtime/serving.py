"""Our own long-running processes: an ASGI application under uvicorn, and `work`. Both end in order on SIGTERM and SIGINT."""

from __future__ import annotations

import asyncio
import gc
import math
import os
import resource
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import structlog
import uvicorn
import uvloop

from isthmus.settings import SettingsError

#: How long an idle connection is kept, in seconds: longer than clients and proxies keep theirs. Whoever ends one that the other side is
#: just using leaves it without an answer, and a mutation with an unknown outcome.
KEEP_ALIVE_S = 75
#: Ten times what a message may have: more than that is not even gathered (1009).
WEBSOCKET_FRAME_BYTES_MAX = 1_000_000
#: uvloop accepts one connection per listener in each turn of its loop. Under load turns are long, and with one listener the queue of
#: those who want to connect would overflow: their retries come after 1, 3, 7, 15 seconds. So the socket is listened to many times.
ACCEPTS_PER_TURN = 32
_LAST_TURNS = 5
#: Shells give 1024 or less, which is for programs that would not notice more; a subscriber costs one.
FILES_MAX = 65_536
#: Objects made, less those gone, after which the young ones are collected.
_YOUNG_MAX = 10_000
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

log = structlog.get_logger(__name__)


def settle_memory() -> None:
    """Once all is imported and built. A full collection would otherwise walk the modules and the schema again and again, hundreds of
    thousands of objects that never go, while everybody waits; and what a batch of commands makes is not worth a look every 700."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_MAX)


def listening_socket(host: str, port: int) -> socket.socket:
    """Ours rather than uvicorn's, to answer a taken port with a sentence and to learn a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named as TCP: asyncio lets small writes go at once only where it is, and else an answer in two parts waits 40 ms for its second.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"cannot listen on {host}:{port} ({error.strerror or error}); name another --port"
        ) from None
    return listener


def server_config(application: Any, shutdown_s: float, *, websockets: bool = True) -> uvicorn.Config:
    """How uvicorn runs an application of ours. No header says where a request comes from: whoever sends it could have written it.
    Without `websockets` the whole API, which their protocol counts for, is not imported: a second of every start."""
    return uvicorn.Config(
        application,
        loop="uvloop",
        http="isthmus.graphql.http_protocol:StreamingProtocol",
        ws="isthmus.graphql.ws_protocol:GoingAwayProtocol" if websockets else "none",
        lifespan="on",
        ws_max_size=WEBSOCKET_FRAME_BYTES_MAX,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, math.ceil(shutdown_s)),
    )


def raise_file_limit() -> None:
    """As many open files, which connections are, as the administrator allows, and not what the shell happened to give."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, FILES_MAX)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(ValueError, OSError):  # then it stays as it is, and who comes too many is turned away
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def serve_application(
    make: Callable[[], Any],
    listener: socket.socket,
    *,
    shutdown_s: float,
    started: Callable[[], None],
    websockets: bool = True,
) -> None:
    """Blocks until a signal ends it, and returns once connections are drained or `shutdown_s` are over.

    Raises RuntimeError where the application's own start fails.
    """
    raise_file_limit()
    # Made before signals are ours: while it imports, the loop would not hear them, and now they simply end the process.
    application = make()
    config = server_config(application, shutdown_s, websockets=websockets)
    server = _Server(config, started)
    uvloop.run(server.serve(sockets=[listener, *(listener.dup() for _ in range(ACCEPTS_PER_TURN - 1))]))
    if not server.was_started and not server.should_exit:
        raise RuntimeError("the application did not start; its log says why")


class _Server(uvicorn.Server):
    """Uvicorn raises a signal again once it has shut down, which would make an orderly end look like a death."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started
        self.was_started = False

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._signalled)
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.was_started = True
            settle_memory()
            self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for _ in range(_LAST_TURNS):
            await asyncio.sleep(0)  # whom the kernel has let in already is taken, not cut off
        await super().shutdown(sockets)

    def _signalled(self) -> None:
        if not self.was_started:
            os._exit(0)  # uvicorn would first finish starting; nobody was served yet, so there is nothing to finish
        self.force_exit = self.should_exit
        self.should_exit = True


def run_until_signalled(main: Callable[[], Awaitable[None]]) -> None:
    """Run `main` on uvloop; a signal cancels it, and it cleans up on its way out."""

    async def supervised() -> None:
        settle_memory()
        task = asyncio.ensure_future(main())
        loop = asyncio.get_running_loop()
        stopping = False

        def signalled() -> None:
            nonlocal stopping
            stopping = True
            task.cancel()

        for number in _SIGNALS:
            loop.add_signal_handler(number, signalled)
        with suppress(asyncio.CancelledError):
            await task
            return
        if not stopping:
            raise RuntimeError("the work was cancelled from within")

    uvloop.run(supervised())
