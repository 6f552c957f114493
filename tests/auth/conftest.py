"""One provider for a module, for tests that leave others' sign-ins alone. A module that wants another says so."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from isthmus.runtime.servers import EmbeddedServers
from tests.auth.provider_kit import Kit, on_its_own_database


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(
    servers: EmbeddedServers, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Kit]:
    async with on_its_own_database(servers, template, tmp_path_factory.mktemp("provider")) as kit:
        yield kit


@pytest.fixture
def kit(shared: Kit) -> Kit:
    """In a browser that nobody is signed in with."""
    shared.http.cookies.clear()
    return shared
