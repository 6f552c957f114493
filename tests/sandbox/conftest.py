"""A sandbox of its own for every test, over HTTP, and somewhere for its webhooks to go."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from isthmus.sandbox.app import create_sandbox_app
from tests.sandbox.running import REDIRECT, SEED, Inbox, Sandbox, inbox_running, serving


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with serving(
        lambda url: create_sandbox_app(
            ":memory:", seed=SEED, public_url=url, redirect_uris=frozenset({REDIRECT}), history_days=20
        )
    ) as url:
        yield Sandbox(url)


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with inbox_running() as made:
        yield made


@pytest.fixture
def telling(inbox: Inbox) -> Iterator[Sandbox]:
    """A sandbox that sends every provider's webhooks to the inbox."""
    with serving(
        lambda url: create_sandbox_app(
            ":memory:",
            seed=SEED,
            public_url=url,
            redirect_uris=frozenset({REDIRECT}),
            webhook_url=f"{inbox.url}/webhooks",
            history_days=20,
        )
    ) as url:
        yield Sandbox(url)
