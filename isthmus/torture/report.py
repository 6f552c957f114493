"""What a run of the torture tells in the end, and what it must have met to tell anything."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from isthmus.torture.intents import Intent, Kind
from isthmus.torture.rails import RAILS


@dataclass
class Report:
    """What `--json` prints last."""

    seed: int
    rounds: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    refused: int = 0
    unknown: int = 0
    resolved: int = 0
    committed_unknown: int = 0
    """Of the unknown: those that had been done."""
    replayed: int = 0
    lost: int = 0
    doubled: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    checked: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0
    evidence: str | None = None

    @property
    def passed(self) -> bool:
        return not self.violations and self.lost == 0 and self.doubled == 0

    def as_json(self) -> str:
        facts = {**vars(self), "faults": dict(sorted(self.faults.items())), "passed": self.passed}
        return json.dumps(facts)

    def count(self, intents: list[Intent]) -> None:
        for intent in intents:
            outcome = intent.definite
            self.unknown += intent.was_unknown
            self.replayed += any(one.replayed for one in intent.outcomes)
            if outcome is None:
                continue
            self.resolved += intent.was_unknown
            self.acknowledged += outcome.kind is Kind.OK
            self.refused += outcome.kind is Kind.REFUSED
            self.committed_unknown += intent.outcomes[0].kind is Kind.UNKNOWN and outcome.replayed

    def goals(self, faults: Iterable[str]) -> dict[str, int]:
        """What a run must have met, and how often it has."""
        return {
            **{f"fault {name}": self.faults[name] for name in faults},
            "an unknown outcome": self.unknown,
            "an unknown outcome that had been committed": self.committed_unknown,
            "an answer given again": self.replayed,
            "a refusal": self.refused,
            "a bank read": self.seen["bank reads"],
            "an own write read": self.seen["own writes read"],
            "a live message": self.seen["live messages"],
            "a subscription resumed": self.seen["subscriptions resumed"],
            "a payment executed": self.checked["payments EXECUTED"],
            "a payment taken back": sum(n for what, n in self.checked.items() if what.endswith("CANCELLED")),
            **{
                f"a payment from a bank by {rail.name}": self.checked[f"payments from banks by {rail.name} executed"]
                for rail in RAILS
            },
            **{
                f"money brought here by {rail.name}": self.checked[f"top-ups by {rail.name} SETTLED"]
                for rail in RAILS
                if rail.tops_up
            },
        }
