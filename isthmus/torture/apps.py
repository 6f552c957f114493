"""What its issuer, bank, serves and works are started with: each of ours behind proxies of its own, and one bank for all."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from urllib.parse import urlsplit, urlunsplit

from isthmus.runtime.child import Spec
from isthmus.runtime.data_directory import DataDirectory
from isthmus.runtime.endpoints import Endpoints, base_url
from isthmus.runtime.probes import http_status
from isthmus.runtime.sandbox_wiring import sandbox_environment, wired_to_the_sandbox
from isthmus.settings import LOOPBACK, Settings
from isthmus.torture.proxy import FaultProxy
from isthmus.torture.rails import routes_of
from isthmus.torture.sabotages import find

ISSUER, SANDBOX = "issuer", "sandbox"
READY_S = 90.0


@dataclass(frozen=True)
class Apps:
    data: DataDirectory
    settings: Settings
    endpoints: Endpoints
    ports: Mapping[str, int]
    proxies: Mapping[str, FaultProxy]
    serves: tuple[str, ...]
    works: tuple[str, ...]
    sabotage: str | None

    def specs(self) -> Iterator[Spec]:
        discovery = f"{base_url(LOOPBACK, self.ports[ISSUER])}/.well-known/openid-configuration"
        yield self._app(ISSUER, (ISSUER,), {}, partial(_is_ok, discovery))
        yield self._bank()
        for number, name in enumerate(self.serves):
            ready = f"{base_url(LOOPBACK, self.ports[name])}/readyz"
            command = ("serve", "--host", LOOPBACK, "--port", str(self.ports[name]))
            routes = {"ISTHMUS_BANKING__ROUTES": json.dumps(routes_of(number))}
            yield self._app(name, command, self._wired(name) | routes, partial(_is_ok, ready))
        for name in self.works:
            live = f"http://{LOOPBACK}:{self.ports[name]}/livez"
            health = {"ISTHMUS_WORK__HEALTH_PORT": str(self.ports[name])}
            yield self._app(name, ("work",), self._wired(name) | health, partial(_is_ok, live))

    def _bank(self) -> Spec:
        told = sandbox_environment(self.settings, self.data, self.endpoints)
        mine = {name: value for name, value in told.items() if name.startswith("ISTHMUS_SANDBOX__")}
        command = (SANDBOX, "--port", str(self.ports[SANDBOX]))
        return self._app(SANDBOX, command, mine, partial(_is_ok, f"{self.endpoints.sandbox_url}/livez"))

    def _app(self, name: str, command: tuple[str, ...], more: dict[str, str], answers: Callable[[], bool]) -> Spec:
        module = "isthmus.torture.sabotaged" if self.sabotage and name not in (ISSUER, SANDBOX) else "isthmus"
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("ISTHMUS_")},
            "ISTHMUS_DATA_DIR": str(self.data.path),
            "ISTHMUS_API__MODE": "development",
            "ISTHMUS_SCA__TRANSFER_ABOVE": '{"EUR": "1000000"}',  # what moves here moves between people
            "ISTHMUS_ISSUER__LOGIN_ATTEMPTS_PER_MINUTE": "1000",
            "ISTHMUS_LOG__LEVEL": "WARNING",
            **self._sabotage(),
            **more,
        }
        return Spec(
            name, (sys.executable, "-P", "-m", module, *command), answers, environment, start_s=READY_S, stop_s=6.0
        )

    def _sabotage(self) -> dict[str, str]:
        if self.sabotage is None:
            return {}
        fail = find(self.sabotage).fail
        return {"SABOTAGE": self.sabotage, **({"ISTHMUS_FAIL": fail} if fail else {})}

    def _wired(self, app: str) -> dict[str, str]:
        banks = base_url(LOOPBACK, self.proxies[f"all>{SANDBOX}"].port)
        return {
            **wired_to_the_sandbox(self.settings, self.data, replace(self.endpoints, sandbox_url=banks)),
            # What signs its webhooks it names by its own address.
            "ISTHMUS_BANKING__TRUELAYER_JKU": f"{self.endpoints.sandbox_url}/truelayer/.well-known/jwks",
            "ISTHMUS_DATABASE__URL": _through(self.endpoints.database_url, self.proxies[f"{app}>postgres"].port),
            "ISTHMUS_REDIS__URL": _through(self.endpoints.redis_url, self.proxies[f"{app}>valkey"].port),
        }


def _is_ok(url: str) -> bool:
    return http_status(url, timeout_s=5.0) == 200


def _through(url: str, port: int) -> str:
    parts = urlsplit(url)
    user = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{user}@{LOOPBACK}:{port}"))
