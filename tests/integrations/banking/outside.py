"""What adapters are tested with: calls without patience, and a transport that counts what is sent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx

from isthmus.domain.banking import Link
from isthmus.domain.clock import Clock, SystemClock
from isthmus.integrations.banking.calls import Calls, Manners
from isthmus.integrations.banking.outside import Outside
from isthmus.settings import load_settings
from tests.sandbox.running import REDIRECT, Sandbox, at_sandbox


class Counted(httpx.AsyncBaseTransport):
    """Passes everything on, or gives what `instead` answers, and keeps `METHOD /path` of each."""

    def __init__(self, instead: Callable[[httpx.Request], httpx.Response | None] | None = None) -> None:
        self.sent: list[str] = []
        self.instead = instead
        self._real = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(f"{request.method} {request.url.path}")
        answer = self.instead(request) if self.instead is not None else None
        return answer if answer is not None else await self._real.handle_async_request(request)

    async def aclose(self) -> None:
        await self._real.aclose()


@asynccontextmanager
async def outside(
    sandbox: Sandbox, provider: str, transport: httpx.AsyncBaseTransport | None = None, clock: Clock | None = None
) -> AsyncIterator[Outside]:
    told: Any = load_settings(banking=at_sandbox(sandbox)).banking
    async with httpx.AsyncClient(timeout=5, trust_env=False, transport=transport or Counted()) as http:
        yield Outside(told, http, Calls(provider, Manners(deadline_s=5.0)), clock or SystemClock())


def link(institution: str, state: str, country: str = "DE", **more: Any) -> Link:
    return Link(UUID(int=1), UUID(int=2), institution, country, REDIRECT, state, "verifier-" * 6, **more)
