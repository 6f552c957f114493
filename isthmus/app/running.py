"""What a lifespan of the API brings up, and what its readiness is told by."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from isthmus.graphql.services import Services
from isthmus.settings import Settings

CHECK_TIMEOUT_S = 2.0
METADATA = "/.well-known/oauth-protected-resource"

Check = Callable[[], Awaitable[dict[str, Any]]]
Door = Callable[[Request], Awaitable[Response]]


class NotReady(Exception):
    """A part is there but not fit to serve; the message says why."""


@dataclass(frozen=True)
class Running:
    """What a lifespan brings up."""

    services: Services
    checks: dict[str, Check]
    metadata: dict[str, Any]
    metadata_url: str | None = None
    webhooks: Door | None = None
    inbox_url: str | None = None
    """Where the sandbox shows what people were sent; None where there is none."""


Wiring = Callable[[Settings], AbstractAsyncContextManager[Running]]
