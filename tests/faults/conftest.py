from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace

import pytest

from isthmus.runtime import child
from tests.end_to_end.client import Client
from tests.faults.system import System
from tests.forked_process import child_of_ours


@pytest.fixture(scope="package")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One for all; it ends with the last of them. A test leaves it whole: what it took away it brings back."""
    running = System(tmp_path_factory.mktemp("faults") / "data")
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture
def forked_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """What starts again and again in this process need not import everything each time."""
    if sys.platform == "linux":
        monkeypatch.setattr(child, "subprocess", SimpleNamespace(**{**vars(subprocess), "Popen": child_of_ours}))


@pytest.fixture(scope="package")
def tokens(system: System) -> dict[str, str]:
    """Signed in for once: attempts are limited."""
    import asyncio

    async def all_of_them() -> dict[str, str]:
        found = {}
        for name in ("ada", "grace", "olga"):
            client = await system.client(name)
            found[name] = client.token or ""
            await client.http.aclose()
        return found

    return asyncio.run(all_of_them())


async def _client(system: System, token: str) -> AsyncIterator[Client]:
    client = Client(f"{system.endpoints.api_url}/graphql", token)
    yield client
    await client.http.aclose()


@pytest.fixture
async def ada(system: System, tokens: dict[str, str]) -> AsyncIterator[Client]:
    async for client in _client(system, tokens["ada"]):
        yield client


@pytest.fixture
async def grace(system: System, tokens: dict[str, str]) -> AsyncIterator[Client]:
    async for client in _client(system, tokens["grace"]):
        yield client


@pytest.fixture
async def olga(system: System, tokens: dict[str, str]) -> AsyncIterator[Client]:
    async for client in _client(system, tokens["olga"]):
        yield client
