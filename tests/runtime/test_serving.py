"""Our own processes under uvicorn: they say when they answer, finish what was begun, and end in order."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from urllib.request import urlopen

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from isthmus.runtime.serving import listening_socket
from isthmus.settings import SettingsError

_APPLICATION = """
import asyncio, contextlib, sys
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from isthmus.runtime.serving import listening_socket, serve_application

@contextlib.asynccontextmanager
async def lifespan(app):
    print("starting", flush=True)
    await asyncio.sleep(float(sys.argv[1]))
    yield
    print("finished", flush=True)

async def slow(request):
    await asyncio.sleep(0.5)
    return PlainTextResponse("done")

async def live(socket):
    await socket.accept()
    await socket.send_text("first")
    await asyncio.sleep(60)

routes = [Route("/", slow), WebSocketRoute("/live", live)]
listener = listening_socket("127.0.0.1", 0)
serve_application(
    lambda: Starlette(routes=routes, lifespan=lifespan), listener, shutdown_s=2,
    started=lambda: print(listener.getsockname()[1], flush=True),
)
print("ended", flush=True)
"""


@contextmanager
def _serving(start_s: float = 0) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", _APPLICATION, str(start_s)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "starting\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_once_requests_are_answered(number: signal.Signals) -> None:
    with _serving() as process, ThreadPoolExecutor() as pool:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        answer = pool.submit(lambda: urlopen(f"http://127.0.0.1:{port}/").read())
        with connect(f"ws://127.0.0.1:{port}/live", proxy=None) as socket:
            assert socket.recv() == "first"
            time.sleep(0.1)
            process.send_signal(number)
            assert answer.result() == b"done"
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(timeout=20)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001, "going away: clients come back"
        assert process.wait(20) == 0
        assert process.stdout.read() == "finished\nended\n"


def test_a_signal_while_starting_ends_it_at_once() -> None:
    with _serving(start_s=30) as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0, "and not when it has started"


def test_a_taken_port_is_told_in_a_sentence() -> None:
    taken = listening_socket("127.0.0.1", 0)
    taken.listen()
    port = taken.getsockname()[1]
    with pytest.raises(SettingsError, match=rf"^cannot listen on 127\.0\.0\.1:{port} \(.*\); name another --port$"):
        listening_socket("127.0.0.1", port)
    taken.close()


def test_what_is_accepted_sends_small_writes_at_once_under_asyncios_own_loop_too() -> None:
    listener = listening_socket("127.0.0.1", 0)
    try:
        assert listener.proto == socket.IPPROTO_TCP, "asyncio sets TCP_NODELAY only where it reads this"
    finally:
        listener.close()
