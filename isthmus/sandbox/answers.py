"""What every provider's part needs: JSON with exact amounts, requests read whole, tokens that follow from the seed."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
from starlette.requests import Request
from starlette.responses import Response

from isthmus.sandbox.book import Book
from isthmus.sandbox.clock import Clock, iso
from isthmus.sandbox.seeding import Seeding
from isthmus.sandbox.webhooks import Webhooks


@dataclass
class World:
    """The book and what goes with it.

    `public_url`: where the sandbox itself is reached, for pages and key documents. `webhook_url`: where each provider's webhooks go,
    under its name; "" for nowhere. `timers`: what is done when something falls due, by its kind.
    """

    book: Book
    clock: Clock
    seeding: Seeding
    webhooks: Webhooks
    public_url: str = ""
    webhook_url: str = ""
    timers: dict[str, Callable[[dict[str, Any]], None]] = field(default_factory=dict)
    hooks: list[Callable[[Sequence[str]], None]] = field(default_factory=list)

    def token(self, prefix: str) -> str:
        """Not to be guessed from another one without the seed."""
        count = int(self.book.fact("tokens") or 0) + 1
        self.book.set_fact("tokens", str(count))
        return f"{prefix}{hashlib.sha256(f'{self.seeding.seed}|token|{count}'.encode()).hexdigest()[:36]}"

    def uuid(self) -> str:
        return str(UUID(self.token("")[:32]))

    def webhook(self, provider: str) -> str | None:
        return f"{self.webhook_url}/{provider}" if self.webhook_url else None

    def later(self, kind: str, at: datetime, **about: Any) -> None:
        """Kept in the book, so that it happens although the sandbox was away."""
        self.book.put("due", self.token("due-"), {"kind": kind, "at": iso(at), **about})

    def run_due(self) -> None:
        now = iso(self.clock.now())
        waiting = sorted(self.book.all("due").items(), key=lambda item: item[1]["at"])
        for due_id, due in waiting:
            if due["at"] <= now:
                with self.book.writing():
                    self.book.forget("due", due_id)
                    self.timers[due["kind"]](due)

    def catch_up(self) -> None:
        """Let what was due by now have happened, and tell whoever wants to know of it."""
        self.run_due()
        if touched := self.seeding.grow(self.clock.now()):
            self.tell(touched)

    def tell(self, accounts: Sequence[str]) -> None:
        """Something happened in these accounts: providers send webhooks."""
        for hook in self.hooks:
            hook(accounts)


def base64url(value: int, length: int) -> str:
    """A number of a key, as a JWK has it."""
    return base64.urlsafe_b64encode(value.to_bytes(length, "big")).rstrip(b"=").decode()


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
