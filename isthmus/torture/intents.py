"""What clients wanted, written down before it is sent, and what they were told.

The file is the clients' memory: one JSON line per step, so that a run that dies leaves evidence. A key is made once, here, and kept
for as often as the wish is sent; each sending has a correlation id of its own, by which the oracle finds in the log what it did.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol


class Kind(StrEnum):
    OK = "ok"
    REFUSED = "refused"
    """Definitely not done, for a reason that the answer names."""
    UNKNOWN = "unknown"
    """Perhaps done: to be sent again with the same key until the answer is definite."""


@dataclass(frozen=True)
class Outcome:
    """`answer`: the mutation's payload as it came. `code`: of the refusal, or of what made the outcome unknown."""

    kind: Kind
    answer: Mapping[str, Any] | None = None
    code: str | None = None

    @property
    def replayed(self) -> bool:
        return bool(self.answer and self.answer.get("replayed"))


@dataclass
class Intent:
    """One wish. `probe`: it has the key of an earlier one and another body, so that it must be refused for that."""

    number: int
    client: str
    mutation: str
    key: str
    input: Mapping[str, Any]
    probe: bool = False
    sent: list[str] = field(default_factory=list)
    """The correlation id of each sending."""
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def definite(self) -> Outcome | None:
        """The first definite outcome: what the client may rely on from then on."""
        return next((one for one in self.outcomes if one.kind is not Kind.UNKNOWN), None)

    @property
    def was_unknown(self) -> bool:
        return any(one.kind is Kind.UNKNOWN for one in self.outcomes)


class Door(Protocol):
    """Whatever takes commands: the API over HTTP, or a command bus in the test's own process. Never raises for a fault."""

    async def send(self, intent: Intent, correlation_id: str) -> Outcome: ...


class IntentLog:
    """`path` is made anew. Use it as a context manager, or `close` it."""

    def __init__(self, path: Path, name: str) -> None:
        """`name` begins every key and correlation id, so that two logs on one ledger are told apart."""
        self.path = path
        self.intents: list[Intent] = []
        self._name = name
        self._file = path.open("w", encoding="utf-8", buffering=1)

    def __enter__(self) -> IntentLog:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def intend(self, client: str, mutation: str, input: Mapping[str, Any]) -> Intent:
        number = len(self.intents)
        return self._keep(Intent(number, client, mutation, f"{self._name}-{number}", dict(input)))

    def probe(self, earlier: Intent, input: Mapping[str, Any]) -> Intent:
        """The earlier one's key with another body."""
        number = len(self.intents)
        return self._keep(Intent(number, earlier.client, earlier.mutation, earlier.key, dict(input), probe=True))

    async def send(self, intent: Intent, door: Door) -> Outcome:
        """Written before it is sent, and after."""
        correlation_id = f"{self._name}.{intent.number}.{len(intent.sent)}"
        intent.sent.append(correlation_id)
        self._write({"sending": intent.number, "correlation_id": correlation_id})
        outcome = await door.send(intent, correlation_id)
        intent.outcomes.append(outcome)
        self._write({"came": intent.number, "kind": outcome.kind, "code": outcome.code, "answer": outcome.answer})
        return outcome

    def unresolved(self) -> Iterator[Intent]:
        """Sent, and still without a definite answer."""
        return (intent for intent in self.intents if intent.sent and intent.definite is None)

    def _keep(self, intent: Intent) -> Intent:
        self.intents.append(intent)
        self._write(
            {"intent": intent.number, "client": intent.client, "mutation": intent.mutation, "key": intent.key,
             "input": intent.input, "probe": intent.probe}
        )  # fmt: skip
        return intent

    def _write(self, line: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(line, default=str) + "\n")
