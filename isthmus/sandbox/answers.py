"""What every provider's part needs: JSON with exact amounts, requests read whole, tokens that follow from the seed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from isthmus.sandbox.book import Book, Clock
from isthmus.sandbox.seeding import Seeding
from isthmus.sandbox.webhooks import Webhooks


@dataclass
class World:
    """The book and what goes with it. `public_url`: where the sandbox itself is reached, for pages and key documents."""

    book: Book
    clock: Clock
    seeding: Seeding
    webhooks: Webhooks
    public_url: str = ""
    hooks: list[Callable[[Sequence[str]], None]] = field(default_factory=list)

    def token(self, prefix: str) -> str:
        """Not to be guessed from another one without the seed."""
        count = int(self.book.fact("tokens") or 0) + 1
        self.book.set_fact("tokens", str(count))
        return f"{prefix}{hashlib.sha256(f'{self.seeding.seed}|token|{count}'.encode()).hexdigest()[:36]}"

    def catch_up(self) -> None:
        """Let what was due by now have happened, and tell whoever wants to know of it."""
        if touched := self.seeding.grow(self.clock.now()):
            self.tell(touched)

    def tell(self, accounts: Sequence[str]) -> None:
        """Something happened in these accounts: providers send webhooks."""
        for hook in self.hooks:
            hook(accounts)


def number(minor: int) -> orjson.Fragment:
    """Minor units of a currency with two places, as a JSON number with both of them."""
    return orjson.Fragment(f"{Decimal(minor) / 100:.2f}")


def text(minor: int) -> str:
    return f"{Decimal(minor) / 100:.2f}"


def json_response(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(body), status, headers, "application/json")


async def json_body(request: Request) -> dict[str, Any] | None:
    """None where it is not a JSON object."""
    try:
        body = orjson.loads(await request.body() or b"{}")
    except orjson.JSONDecodeError:
        return None
    return body if isinstance(body, dict) else None
