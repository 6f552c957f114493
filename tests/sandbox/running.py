"""A sandbox behind a real socket, for tests of it and for tests of what links banks there."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from isthmus.runtime.serving import listening_socket
from isthmus.sandbox.app import create_sandbox_app

SEED = 7
REDIRECT = "https://app.example/linked"
KID = "ours"


@contextmanager
def serving(make: Any) -> Iterator[str]:
    """An application behind uvicorn, in a thread of its own; `make` gets its address. Yields that."""
    listener = listening_socket("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    running: list[uvicorn.Server] = []

    def run() -> None:
        # What is opened is made, used and closed in one thread.
        running.append(uvicorn.Server(uvicorn.Config(make(url), log_config=None, lifespan="on")))
        asyncio.run(running[0].serve(sockets=[listener]))

    thread = threading.Thread(target=run)
    thread.start()
    until = time.monotonic() + 30
    while not running or not running[0].started:
        assert thread.is_alive(), "it did not start"
        assert time.monotonic() < until, "it did not start in time"
        time.sleep(0.01)
    try:
        yield url
    finally:
        running[0].should_exit = True
        running[0].force_exit = True  # what was told to hang would hang on
        thread.join(20)
        listener.close()


@dataclass
class Sandbox:
    url: str
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=20, trust_env=False))

    def tell(self, path: str, **body: Any) -> Any:
        answer = self.http.post(f"{self.url}/sandbox/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def accounts(self, bank: str, username: str = "jo") -> list[dict[str, Any]]:
        some = self.http.get(f"{self.url}/sandbox/accounts").json()
        return [one for one in some if one["bank"] == bank and one["username"] == username]

    def paid_to(self, name: str, bank: str, username: str = "jo") -> Decimal:
        """What has left for somebody of that name, by the bank's own book: whatever else happens in the accounts."""
        total = 0
        for account in self.accounts(bank, username):
            told = self.http.get(f"{self.url}/sandbox/movements", params={"account": account["id"]}).json()
            total -= sum(one["amount"] for one in told if one["name"] == name)
        return Decimal(total) / 100

    def approve(
        self, page: str, username: str = "jo", password: str = "sandbox", *, answer: str = "approve"
    ) -> httpx.Response:
        """What a person does at the bank's page. The answer is not followed further."""
        return self.http.post(page, data={"username": username, "password": password, "answer": answer})


@contextmanager
def sandbox_running(history_days: int = 20) -> Iterator[Sandbox]:
    with serving(
        lambda url: create_sandbox_app(
            ":memory:", seed=SEED, public_url=url, redirect_uris=frozenset({REDIRECT}), history_days=history_days
        )
    ) as url:
        yield Sandbox(url)


def at_sandbox(sandbox: Sandbox, **more: Any) -> dict[str, Any]:
    """The settings of banking that lead there."""
    url = sandbox.url
    return {
        "redirect_uris": (REDIRECT,),
        "plaid_url": f"{url}/plaid",
        "plaid_client_id": "sandbox-client",
        "plaid_secret": "sandbox-secret",
        "truelayer_auth_url": f"{url}/truelayer/auth",
        "truelayer_data_url": f"{url}/truelayer/api",
        "truelayer_client_id": "sandbox-truelayer",
        "truelayer_secret": "sandbox-truelayer-secret",
        "truelayer_jku": f"{url}/truelayer/.well-known/jwks",
        "yapily_url": f"{url}/yapily",
        "yapily_application": "sandbox-yapily",
        "yapily_secret": "sandbox-yapily-secret",
        "yapily_webhook_secrets": "sandbox-yapily-webhook-secret",
        "providers": ("truelayer", "yapily", "plaid", "gocardless"),
        "credentials": {
            "gocardless": {
                "id": "sandbox-gocardless",
                "secret": "sandbox-gocardless-secret",
                "url": f"{url}/gocardless",
            }
        },
        **more,
    }


def signing_key(sandbox: Sandbox, folder: Path) -> Path:
    """A key that signs payments, whose public half the sandbox's TrueLayer knows as `KID`."""
    key = ec.generate_private_key(ec.SECP521R1())
    file = folder / "truelayer.key"
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    sandbox.tell("actions", action="truelayer.signing_key", kid=KID, public_key=public)
    return file


@dataclass
class Inbox:
    """Takes webhooks at any path. `statuses` are answered first, one each."""

    url: str = ""
    paths: list[str] = field(default_factory=list)
    taken: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)

    async def take(self, request: Request) -> Response:
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 200:
            self.paths.append(request.url.path)
            self.taken.append((dict(request.headers), await request.body()))
        return Response(status_code=status)

    def bodies(self, count: int) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.wait(count)]

    def wait(self, count: int) -> list[tuple[dict[str, str], bytes]]:
        until = time.monotonic() + 20
        while len(self.taken) < count:
            assert time.monotonic() < until, f"{len(self.taken)} of {count} webhooks came"
            time.sleep(0.02)
        return self.taken


@contextmanager
def inbox_running() -> Iterator[Inbox]:
    made = Inbox()
    with serving(lambda _: Starlette(routes=[Route("/{path:path}", made.take, methods=["POST"])])) as url:
        made.url = url
        yield made
