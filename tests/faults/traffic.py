"""Money going to and fro while something is away, and what may be said about it meanwhile."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from tests.end_to_end.client import Client

STEP = Decimal("0.01")
#: What a client is told to try again with.
RETRYABLE = frozenset({"UNAVAILABLE", "NOT_YET_VISIBLE"})
_BALANCE = "query($id: ID!) { node(id: $id) { ... on Account { balance { posted { amount } available { amount } version } } } }"


def resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.split("\n") if line.startswith("VmRSS")).split()[1]) / 1_024


@dataclass
class Told:
    """One answer: `code` is None where it was a good one."""

    code: str | None
    seconds: float


@dataclass
class Traffic:
    """Transfers of a cent from one account, which began with `start` at `version`: so its balance is known at every version.

    `acknowledged` are keys and journals. `wrong` is what must be empty: a balance that was never true, one older than the read
    had a right to, an error that says neither "try again" nor what to do.
    """

    client: Client
    source: str
    target: str
    start: Decimal
    version: int
    acknowledged: dict[str, str] = field(default_factory=dict)
    positions: list[int] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    commands: list[Told] = field(default_factory=list)
    reads: list[Told] = field(default_factory=list)
    wrong: list[object] = field(default_factory=list)

    @classmethod
    async def on(cls, client: Client, source: str, target: str) -> Traffic:
        balance = await client.balance(source)
        return cls(client, source, target, Decimal(balance["posted"]["amount"]), int(balance["version"]))

    async def write(self, stop: asyncio.Event, *, clients: int = 4, pause_s: float = 0.02) -> None:
        """Each client follows a transfer with a reading that must show it."""
        await asyncio.gather(*(self._one(stop, pause_s) for _ in range(clients)))

    async def _one(self, stop: asyncio.Event, pause_s: float) -> None:
        while not stop.is_set():
            position = await self.transfer(str(uuid4()))
            await self.read(position)
            await asyncio.sleep(pause_s)

    async def transfer(self, key: str) -> str | None:
        """The position, once it is acknowledged. An unknown outcome is kept for `resolve`."""
        began = time.monotonic()
        try:
            payload = await self._ask_transfer(key)
        except (httpx.HTTPError, _Refused) as error:
            code = error.code if isinstance(error, _Refused) else type(error).__name__
            self.commands.append(Told(code, time.monotonic() - began))
            self.unknown.append(key)
            if code not in RETRYABLE:
                self.wrong.append(("a command", code))
            return None
        self.commands.append(Told(None, time.monotonic() - began))
        if payload["errors"]:
            self.wrong.append(("a command", payload["errors"]))
            return None
        self.acknowledged[key] = payload["journal"]["id"]
        self.positions.append(int(payload["position"]))
        return str(payload["position"])

    async def _ask_transfer(self, key: str) -> dict[str, Any]:
        document = (
            "mutation($input: TransferInternallyInput!) { transferInternally(input: $input) "
            "{ journal { id } position replayed errors { code message } } }"
        )
        wish = {
            "fromAccountId": self.source,
            "toAccountId": self.target,
            "amount": {"amount": str(STEP), "asset": "EUR"},
            "idempotencyKey": key,
        }
        answer = await self.client.ask(document, {"input": wish})
        if answer.body.get("errors"):
            raise _Refused(answer.code)
        payload: dict[str, Any] = answer.body["data"]["transferInternally"]
        return payload

    async def read(self, position: str | None = None) -> dict[str, Any] | None:
        """The balance, which must be one that was true, and no older than what was acknowledged up to that position: of what others were
        acknowledged behind it, a moment ago, nothing is promised."""
        at_least = self.version + sum(one <= int(position) for one in self.positions) if position else self.version
        began = time.monotonic()
        headers = {"x-isthmus-position": position} if position else {}
        try:
            answer = await self.client.ask(_BALANCE, {"id": self.source}, headers=headers)
        except httpx.HTTPError as error:
            self.reads.append(Told(type(error).__name__, time.monotonic() - began))
            return None
        took = time.monotonic() - began
        if answer.body.get("errors"):
            self.reads.append(Told(answer.code, took))
            if answer.code not in RETRYABLE:
                self.wrong.append(("a reading", answer.body))
            return None
        self.reads.append(Told(None, took))
        balance: dict[str, Any] = answer.body["data"]["node"]["balance"]
        self.judge(balance["posted"]["amount"], int(balance["version"]), at_least if position else 0)
        return balance

    def judge(self, posted: str, version: int, at_least: int = 0) -> None:
        true = self.start - STEP * (version - self.version)
        if Decimal(posted) != true:
            self.wrong.append(("never true", posted, version))
        if version < at_least:
            self.wrong.append(("too old", version, at_least))

    async def resolve(self, within_s: float = 60.0) -> None:
        """Whatever is unknown is sent again with its key until the answer is definite."""
        unknown, self.unknown = self.unknown, []
        async with asyncio.timeout(within_s):
            for key in unknown:
                while key not in self.acknowledged:
                    with suppress(httpx.HTTPError, _Refused):
                        payload = await self._ask_transfer(key)
                        assert payload["errors"] == [], payload
                        self.acknowledged[key] = payload["journal"]["id"]
                        break
                    await asyncio.sleep(0.05)

    async def settled(self) -> None:
        """Acknowledged is stored, once; nothing else is; and nobody was ever told anything wrong."""
        await self.resolve()
        assert self.wrong == []
        assert len(set(self.acknowledged.values())) == len(self.acknowledged) > 0
        done = await self._ask_transfer(key := str(uuid4()))
        self.acknowledged[key] = done["journal"]["id"]
        async with asyncio.timeout(60):
            while (balance := await self.read(str(done["position"]))) is None:  # noqa: ASYNC110  # in other processes
                await asyncio.sleep(0.05)
        assert self.wrong == []
        assert int(balance["version"]) == self.version + len(self.acknowledged)
        for key, journal in list(self.acknowledged.items())[-8:]:
            again = await self._ask_transfer(key)
            assert (again["journal"]["id"], again["replayed"]) == (journal, True)


class _Refused(Exception):
    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code
