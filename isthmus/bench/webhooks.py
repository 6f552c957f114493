"""`bench webhooks`: genuine webhooks through HTTP until they are answered, against the processes that `isthmus up` starts.

At a steady pace, as fast as 32 connections go, and 5,000 at once. Beside it the usual handler's database work alone, without HTTP and
signatures: a transaction to keep the body, another to accept it and begin its work. While the product is measured, `work` carries out
what it accepted, on the same processors.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from isthmus.bench.api import up
from isthmus.bench.load import closed_loop
from isthmus.bench.report import Options, Report, percentile, table
from isthmus.runtime.endpoints import resolve
from isthmus.settings import load_settings
from isthmus.write_models.timers import enqueue

#: What the sandbox's Yapily signs with in `up`.
_SECRET = b"sandbox-yapily-webhook-secret"
_STEADY = (50, 200)
_CONNECTIONS, _BURST, _BURST_CONNECTIONS = 32, 5_000, 250
_AIM_S = 0.05
_RATE = "webhooks/s"


def run(options: Options, data_dir: Path) -> Report:
    report = Report("webhooks")
    options.say("starting the product …")
    with up(data_dir) as base:
        database_url = resolve(load_settings(data_dir=data_dir / "data")).database_url
        asyncio.run(_measured(report, options, base, database_url))
    report.ratio("taken_vs_each", "taken", "each")
    report.tables.append(_table(report))
    return report


@dataclass
class _Sender:
    """`accepted`: bodies that were answered with 202."""

    base: str
    accepted: list[bytes] = field(default_factory=list)
    answers: Counter[int] = field(default_factory=Counter)
    _made: int = 0

    def body(self) -> bytes:
        self._made += 1
        event = {"id": f"nobody's {self._made}", "status": "AUTHORIZED"}
        return json.dumps({"id": "w", "type": "consent.status.updated", "event": event}).encode()

    async def send(self, connection: _Connection, body: bytes) -> float:
        """Seconds until it was answered."""
        begun = time.perf_counter()
        status = await connection.post("/webhooks/yapily", body)
        took = time.perf_counter() - begun
        self.answers[status] += 1
        if status == 202:
            self.accepted.append(body)
        return took


class _Connection:
    """HTTP as plain as it may be: the client shares the processors with what it measures."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        self._reader, self._writer, self._host = reader, writer, host

    @classmethod
    async def to(cls, base: str) -> _Connection:
        where = urlsplit(base)
        return cls(*await asyncio.open_connection(where.hostname, where.port), where.netloc)

    async def post(self, path: str, body: bytes) -> int:
        signature = hmac.new(_SECRET, body, hashlib.sha256).hexdigest()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Length: {len(body)}\r\n"
            f"X-Yapily-Signature: sha256={signature}\r\n\r\n"
        )
        self._writer.write(head.encode() + body)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        if b"content-length: 0\r\n" not in answer.lower():
            raise RuntimeError(f"an answer with a body: {answer!r}")
        return int(answer.split(b" ", 2)[1])

    def close(self) -> None:
        self._writer.close()


async def _measured(report: Report, options: Options, base: str, database_url: str) -> None:
    sender = _Sender(base)
    for pace in _STEADY:
        await _steady(report, options, sender, pace)
    await _capacity(report, options, sender)
    await _burst(report, options, sender)
    await _each(report, options, database_url)
    await _verify(report, options, sender, database_url)


async def _steady(report: Report, options: Options, sender: _Sender, pace: int) -> None:
    """Sent when their time has come, whether those before are answered or not; the wait for a connection counts."""
    idle: asyncio.Queue[_Connection] = asyncio.Queue()
    for _ in range(_CONNECTIONS):
        idle.put_nowait(await _Connection.to(sender.base))
    latencies: list[float] = []

    async def one(due: float) -> None:
        connection = await idle.get()
        await sender.send(connection, sender.body())
        latencies.append(time.perf_counter() - due)
        idle.put_nowait(connection)

    begun = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for n in range(int(pace * options.seconds)):
            due = begun + n / pace
            await asyncio.sleep(max(due - time.perf_counter(), 0))
            group.create_task(one(due))
    while not idle.empty():
        idle.get_nowait().close()
    report.add(f"steady_{pace}_p50", percentile(latencies, 50) * 1e3, "ms")
    report.add(f"steady_{pace}_p99", percentile(latencies, 99) * 1e3, "ms")
    options.say(f"{pace} a second: p99 {report.value(f'steady_{pace}_p99'):.1f} ms")


async def _capacity(report: Report, options: Options, sender: _Sender) -> None:
    connections = [await _Connection.to(sender.base) for _ in range(_CONNECTIONS)]
    found = await closed_loop(_CONNECTIONS, options.seconds, lambda n: sender.send(connections[n], sender.body()))
    for connection in connections:
        connection.close()
    report.add("taken", found.per_second, _RATE)
    report.add("taken_p50", found.p50_ms, "ms")
    report.add("taken_p99", found.p99_ms, "ms")
    options.say(f"{_CONNECTIONS} connections: {found.per_second:,.0f} {_RATE}, p99 {found.p99_ms:.1f} ms")


async def _burst(report: Report, options: Options, sender: _Sender) -> None:
    """As providers send: what is answered with 503 comes again until it is taken."""
    waiting = deque(sender.body() for _ in range(_BURST))
    latencies: list[float] = []
    before = Counter(sender.answers)

    async def one() -> None:
        connection = await _Connection.to(sender.base)
        while waiting:
            body = waiting.popleft()
            accepted = len(sender.accepted)
            latencies.append(await sender.send(connection, body))
            if len(sender.accepted) == accepted:
                waiting.append(body)
        connection.close()

    begun = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(_BURST_CONNECTIONS)))
    report.add("burst", _BURST / (time.perf_counter() - begun), _RATE)
    report.add("burst_p50", percentile(latencies, 50) * 1e3, "ms")
    report.add("burst_p99", percentile(latencies, 99) * 1e3, "ms")
    report.add("burst_within_50_ms", 100 * sum(one <= _AIM_S for one in latencies) / len(latencies), "%")
    later = sender.answers - before
    report.add("burst_sent_again", sum(later.values()) - later[202], "requests")
    options.say(f"{_BURST} at once: {report.value('burst'):,.0f} {_RATE}, p99 {report.value('burst_p99'):.0f} ms")


async def _each(report: Report, options: Options, database_url: str) -> None:
    pool = await asyncpg.create_pool(database_url, min_size=_CONNECTIONS, max_size=_CONNECTIONS)
    made = 0

    async def one(_: int) -> None:
        nonlocal made
        made += 1
        digest = hashlib.sha256(f"each {made}".encode()).digest()
        async with pool.acquire() as connection:
            key = await connection.fetchval(
                "insert into webhooks (provider, headers, sealed, verified, digest, state) "
                "values ('bench', '{}', $1, false, $2, 'RECEIVED') returning id",
                b"x" * 150,
                digest,
            )
            async with connection.transaction():
                await connection.execute(
                    "update webhooks set verified = true, digest = $2, state = 'WAITING' where id = $1", key, digest
                )
                await enqueue(connection, "bench", str(key).encode())

    try:
        found = await closed_loop(_CONNECTIONS, options.seconds, one)
    finally:
        await pool.close()
    report.add("each", found.per_second, _RATE)
    options.say(f"a transaction each: {found.per_second:,.0f} {_RATE}")


async def _verify(report: Report, options: Options, sender: _Sender, database_url: str) -> None:
    """What was answered with 202 is there once, and is worked off in the end; nothing else is."""
    options.say("waiting for what was accepted to be worked off …")
    connection = await asyncpg.connect(database_url)
    try:
        until = time.monotonic() + 300
        while await connection.fetchval(
            "select exists (select from webhooks where provider = 'yapily' and state = 'WAITING')"
        ):
            if time.monotonic() > until:
                report.violations.append("what was accepted is not worked off after five minutes")
                break
            await asyncio.sleep(0.5)
        rows: Sequence[asyncpg.Record] = await connection.fetch(
            "select digest, count(*) as n from webhooks where provider = 'yapily' and verified group by digest"
        )
    finally:
        await connection.close()
    # Yapily's are told apart by the SHA-256 of their bodies.
    wanted = {hashlib.sha256(hashlib.sha256(body).hexdigest().encode()).digest() for body in sender.accepted}
    found = {row["digest"] for row in rows}
    if found != wanted:
        report.violations.append(f"{len(wanted - found)} accepted ones are not there, {len(found - wanted)} too many")
    if twice := sum(row["n"] > 1 for row in rows):
        report.violations.append(f"{twice} are there more than once")


def _table(report: Report) -> str:
    names = [*(f"steady_{pace}" for pace in _STEADY), "taken", "burst"]
    rows = []
    for name in names:
        rate = next((f"{one.value:,.0f}" for one in report.results if one.name == name), "")
        rows.append((name, rate, *(f"{report.value(f'{name}_{end}'):.1f}" for end in ("p50", "p99"))))
    return table(("", _RATE, "p50 ms", "p99 ms"), rows)
