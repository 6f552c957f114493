"""What `up` will run: which servers are ours, at which ports, and each of our own processes as a child."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from isthmus.runtime.child import Spec
from isthmus.runtime.data_directory import DataDirectory, port_is_free
from isthmus.runtime.device_wiring import device_origin, runs_in_development, wired_to_devices
from isthmus.runtime.endpoints import Endpoints, base_url
from isthmus.runtime.probes import http_status
from isthmus.runtime.sandbox_wiring import sandbox_environment, signing_key, wired_to_the_sandbox
from isthmus.runtime.servers import kafka, postgres, valkey
from isthmus.settings import LOOPBACK, Settings, SettingsError

ISSUER, SERVE, WORK, SANDBOX = "issuer", "serve", "work", "sandbox"
#: The processes of ours drain their clients first, and may take most of the ten seconds that a stop may last.
_DRAIN_S_MAX = 6.0
_APP_START_S = 45.0


@dataclass(frozen=True)
class Plan:
    settings: Settings
    data: DataDirectory
    endpoints: Endpoints
    database_port: int | None
    """None where the database is not ours."""
    servers: tuple[Spec, ...]
    apps: tuple[Spec, ...]
    sandbox: Spec | None
    """None where the banks are the real ones. It needs none of the others."""
    signing_key: Path | None = None
    """Where the key is that signs payments at the sandbox; None where no sandbox has to know one of ours."""

    @property
    def playground_url(self) -> str | None:
        """None where `serve` has none."""
        enabled = self.settings.playground.enabled
        if enabled is None:
            enabled = runs_in_development(self.settings)
        return f"{self.settings.playground.url or self.endpoints.api_url}/playground" if enabled else None

    @property
    def page_urls(self) -> tuple[str, ...]:
        """Under which names browsers find our own pages; the last is the one that devices may be asked at."""
        by_name = device_origin(self.settings, self.endpoints)
        return (self.settings.playground.url or self.endpoints.api_url, *([by_name] if by_name else []))

    @property
    def issuer_is_ours(self) -> bool:
        return self.settings.issuer.url is None


def make_plan(settings: Settings, data: DataDirectory, *, fsync: bool = True) -> Plan:
    """Takes ports, so the lock must be held. Raises SettingsError where the API's port is taken."""
    database, redis, bus, issuer = (
        settings.database.url,
        settings.redis.url,
        settings.kafka.url,
        settings.issuer.url,
    )
    api_port = _api_port(settings, data)
    servers: list[Spec] = []
    database_port: int | None = None
    if database is None:
        database_port = data.port(postgres.NAME)
        servers.append(postgres.spec(data, database_port, fsync=fsync))
        database_url, admin_url = postgres.app_url(data, database_port), postgres.admin_url(data, database_port)
    else:
        database_url = database.get_secret_value()
        admin_url = (settings.database.admin_url or database).get_secret_value()
    if redis is None:
        port = data.port(valkey.NAME)
        servers.append(valkey.spec(data, port))
        redis_url = valkey.url(data, port)
    else:
        redis_url = redis.get_secret_value()
    if bus is None:
        port = data.port(kafka.NAME)
        servers.append(kafka.spec(port))
        kafka_url = kafka.url(port)
    else:
        kafka_url = bus
    endpoints = Endpoints(
        database_url=database_url,
        admin_url=admin_url,
        redis_url=redis_url,
        kafka_url=kafka_url,
        kafka_embedded=bus is None,
        issuer_url=issuer or base_url(LOOPBACK, data.port(ISSUER)),
        api_url=base_url(settings.api.host, api_port),
        sandbox_url=base_url(LOOPBACK, data.port(SANDBOX)) if settings.sandbox.enabled else "",
    )
    return Plan(
        settings,
        data,
        endpoints,
        database_port,
        tuple(servers),
        _apps(settings, data, endpoints, api_port),
        _sandbox(settings, data, endpoints) if settings.sandbox.enabled else None,
        signing_key(settings, data),
    )


def _apps(settings: Settings, data: DataDirectory, endpoints: Endpoints, api_port: int) -> tuple[Spec, ...]:
    health_port = settings.work.health_port or data.port(WORK)
    drain_s = min(settings.api.shutdown_s, _DRAIN_S_MAX - 0.5)
    environment = {
        **os.environ,
        "ISTHMUS_DATA_DIR": str(data.path),
        "ISTHMUS_API__SHUTDOWN_S": str(drain_s),
        "ISTHMUS_WORK__HEALTH_PORT": str(health_port),
    }
    if runs_in_development(settings):
        environment["ISTHMUS_API__MODE"] = "development"
    environment |= wired_to_devices(settings, endpoints)
    environment |= wired_to_the_sandbox(settings, data, endpoints)

    def app(name: str, *arguments: str, answers: Callable[[], bool]) -> Spec:
        return _ours(name, *arguments, answers=answers, environment=environment)

    serve = app(
        SERVE,
        *("--host", settings.api.host, "--port", str(api_port)),
        answers=lambda: http_status(f"{endpoints.api_url}/readyz", timeout_s=5.0) == 200,
    )
    # Whether `work` keeps up is seen by the API's readiness; here it is enough that it answers.
    work = app(WORK, answers=lambda: http_status(f"http://{LOOPBACK}:{health_port}/livez") == 200)
    if settings.issuer.url is not None:
        return (serve, work)
    discovery = f"{endpoints.issuer_url}/.well-known/openid-configuration"
    return (app(ISSUER, answers=lambda: http_status(discovery) == 200), serve, work)


def _sandbox(settings: Settings, data: DataDirectory, endpoints: Endpoints) -> Spec:
    environment = sandbox_environment(settings, data, endpoints)
    port = str(urlsplit(endpoints.sandbox_url).port)
    alive = f"{endpoints.sandbox_url}/livez"
    return _ours(SANDBOX, "--port", port, answers=lambda: http_status(alive) == 200, environment=environment)


def _ours(name: str, *arguments: str, answers: Callable[[], bool], environment: Mapping[str, str]) -> Spec:
    # -P: a module of the same name in the folder we were started from is none of ours.
    command = (sys.executable, "-P", "-m", "isthmus", name, *arguments)
    return Spec(name, command, answers, environment, start_s=_APP_START_S, stop_s=_DRAIN_S_MAX)


def _api_port(settings: Settings, data: DataDirectory) -> int:
    port = settings.api.port
    if not port:
        return data.port("api", settings.api.host)
    if not port_is_free(port, settings.api.host):
        raise SettingsError(f"--port (ISTHMUS_API__PORT): {port} is taken; name another, or 0 for a free one")
    return port


def is_app(name: str) -> bool:
    return name in (ISSUER, SERVE, WORK, SANDBOX)
