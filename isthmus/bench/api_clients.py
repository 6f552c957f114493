"""The load of `bench api`, in a process of its own: `python -m isthmus.bench.api_clients < plan.json`; prints what it measured.

HTTP/1.1 by hand, on connections kept open: a general client would need more of the machine than the server that it measures.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import subprocess
import sys
from dataclasses import asdict, dataclass
from decimal import Decimal
from urllib.parse import urlsplit
from uuid import uuid4

import orjson
import uvloop

from isthmus.bench.load import closed_loop

DOCUMENT = (
    "mutation T($input: TransferInternallyInput!) { transferInternally(input: $input) { position errors { message } } }"
)

_PAUSE_S = 0.1


@dataclass(frozen=True)
class Plan:
    """`accounts` as (access token of the owner, global id)."""

    url: str
    clients: int
    seconds: float
    accounts: list[tuple[str, str]]


@dataclass(frozen=True)
class Answered:
    """What a process of clients measured; `refused` counts the requests that were sent again because the server was too busy."""

    per_second: float
    p50_ms: float
    p99_ms: float
    refused: int


def answered(plan: Plan) -> Answered:
    """What a process of clients measures, run to its end. Raises RuntimeError with what it said where it failed."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "isthmus.bench.api_clients"],
        input=json.dumps(asdict(plan)), capture_output=True, text=True, check=False, timeout=plan.seconds * 4 + 120,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"the clients of {plan.url} failed: {done.stderr[-2_000:]}")
    return Answered(**json.loads(done.stdout))


class _Connection:
    """One request at a time; opened with the first."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._address = (parts.hostname, parts.port)
        self._head = f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\naccept: application/json\r\n"
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, token: str, body: bytes) -> bytes | None:
        """None where the server is too busy (503). Raises RuntimeError on any other answer that is not 200."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address)
        reader, writer = self._streams
        head = f"{self._head}authorization: Bearer {token}\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(answer.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        content = await reader.readexactly(length)
        if b" 503 " in answer.split(b"\r\n", 1)[0]:
            return None
        if b" 200 " not in answer.split(b"\r\n", 1)[0]:
            raise RuntimeError(f"the server answered {answer[:40]!r} {content[:300]!r}")
        return content


async def _measure(plan: Plan) -> Answered:
    refused: list[int] = []
    connections = [_Connection(plan.url) for _ in range(plan.clients)]
    numbers, run, draw = itertools.count(), uuid4(), random.Random(7)

    async def transfer(client: int) -> None:
        (token, source), (_, target) = draw.sample(plan.accounts, 2)
        wish = {
            "fromAccountId": source,
            "toAccountId": target,
            "amount": {"amount": str(Decimal(draw.randint(1, 9_999)).scaleb(-2)), "asset": "EUR"},
            "reference": "rent for May, flat 12",
            "idempotencyKey": f"{run}-{next(numbers)}",
        }
        body = orjson.dumps({"query": DOCUMENT, "variables": {"input": wish}})
        while (answer := await connections[client].post(token, body)) is None:
            refused.append(client)
            # As it is told to: after a moment, with the same key. The wait is part of the latency.
            await asyncio.sleep(draw.uniform(0, _PAUSE_S))
        payload = orjson.loads(answer).get("data", {}).get("transferInternally")
        if not payload or payload["errors"] or int(payload["position"]) <= 0:
            raise RuntimeError(f"a transfer was refused: {answer[:300]!r}")

    measured = await closed_loop(plan.clients, plan.seconds, transfer)
    return Answered(measured.per_second, measured.p50_ms, measured.p99_ms, len(refused))


def main() -> None:
    """Reads a `Plan` as JSON from standard input, prints an `Answered` as JSON."""
    print(json.dumps(asdict(uvloop.run(_measure(Plan(**json.load(sys.stdin)))))))


if __name__ == "__main__":
    main()
