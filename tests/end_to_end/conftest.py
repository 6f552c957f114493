from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from isthmus.auth.provider.users import DEMO_PASSWORD
from isthmus.auth.sign_in import sign_in
from tests.end_to_end.client import Client
from tests.end_to_end.product import Product


@pytest.fixture(scope="package")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """One `isthmus up` for all tests that do not break it; it ends with the last of them."""
    running = Product(tmp_path_factory.mktemp("up") / "data")
    running.start()
    yield running
    assert running.stop() == 0
    assert running.family() == [], "Ctrl-C leaves nothing running"


@pytest.fixture(scope="package")
def token_of(product: Product) -> Callable[[str], str]:
    """Access tokens by name, each signed in for once."""
    tokens: dict[str, str] = {}

    def token(name: str) -> str:
        if name not in tokens:
            signed_in = asyncio.run(sign_in(product.base, f"{name}@example.com", DEMO_PASSWORD))
            tokens[name] = signed_in.access_token
        return tokens[name]

    for name in ("ada", "grace", "olga", "alan"):
        token(name)
    return token


async def _client(product: Product, token: str) -> AsyncIterator[Client]:
    client = Client(product.url, token)
    yield client
    await client.http.aclose()


@pytest.fixture
async def ada(product: Product, token_of: Callable[[str], str]) -> AsyncIterator[Client]:
    async for client in _client(product, token_of("ada")):
        yield client


@pytest.fixture
async def grace(product: Product, token_of: Callable[[str], str]) -> AsyncIterator[Client]:
    async for client in _client(product, token_of("grace")):
        yield client


@pytest.fixture
async def olga(product: Product, token_of: Callable[[str], str]) -> AsyncIterator[Client]:
    async for client in _client(product, token_of("olga")):
        yield client


@pytest.fixture
async def alan(product: Product, token_of: Callable[[str], str]) -> AsyncIterator[Client]:
    async for client in _client(product, token_of("alan")):
        yield client
