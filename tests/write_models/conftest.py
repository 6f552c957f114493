from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest

from isthmus.runtime.servers import EmbeddedServers
from isthmus.runtime.wiring import WriteSide
from tests.conftest import Database, fresh_database
from tests.write_models.driver import Driver


@pytest.fixture
def ledger(side: WriteSide) -> Driver:
    return Driver(side.commands)


@pytest.fixture
def machine_database(servers: EmbeddedServers, template: str) -> Iterator[Database]:
    """A database for tests that drive a loop of their own."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        database = runner.run(stack.enter_async_context(fresh_database(servers, template)))
        yield database
        runner.run(stack.aclose())
