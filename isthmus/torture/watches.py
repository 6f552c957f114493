"""What clients notice while it happens: reads that do not add up, versions that go back, live messages that are missing.

Each watch keeps what it needs to tell right from wrong and nothing else, so that a long run does not grow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from isthmus.torture.verdict import Violation

#: Every `extensions.code` that docs/errors.md lists. INTERNAL is listed too, and is always a fault of ours.
KNOWN_CODES = frozenset(
    {"UNAUTHENTICATED", "FORBIDDEN", "BAD_USER_INPUT", "NOT_YET_VISIBLE", "QUERY_TOO_COMPLEX", "RATE_LIMITED", "UNAVAILABLE"}
)  # fmt: skip


@dataclass
class Watches:
    """O5, O8 and O11, as they are seen by all clients of a run."""

    violations: list[Violation] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    _sessions: dict[str, dict[str, int]] = field(default_factory=dict)

    def total(self, expected: Decimal, found: Decimal, how: str) -> None:
        """O5, the bank test: money that only moves between accounts of one owner is always the same in sum."""
        self.seen["bank reads"] += 1
        if found != expected:
            self._violated("O5", f"{how} summed to {found}, not to {expected}")

    def version(self, session: str, account: str, version: int) -> None:
        """O5: within a session no version goes backwards."""
        self.seen["versions read"] += 1
        versions = self._sessions.setdefault(session, {})
        if version < versions.get(account, 0):
            self._violated(
                "O5", f"session {session}: account {account} went back from version {versions[account]} to {version}"
            )
        versions[account] = max(version, versions.get(account, 0))

    def forget_session(self, session: str) -> None:
        """Its server died or it goes to another one: from here on only positions that it passes are promised."""
        self._sessions.pop(session, None)

    def own_write(self, session: str, what: str, *, visible: bool) -> None:
        """O5: at the position that its answer named, a write is seen by whoever passes that position."""
        self.seen["own writes read"] += 1
        if not visible:
            self._violated("O5", f"session {session} does not see its own {what} at the write's position")

    def code(self, code: str | None, where: str) -> None:
        """O11: every error says which it is, by a code that clients know."""
        self.codes[str(code)] += 1
        if code not in KNOWN_CODES:
            self._violated("O11", f"{where} was answered with code {code}")

    def feed(self, name: str) -> FeedWatch:
        return FeedWatch(name, self)

    def _violated(self, row: str, what: str) -> None:
        self.seen[f"{row} violated"] += 1
        if self.seen[f"{row} violated"] <= 20:
            self.violations.append(Violation(row, what))


@dataclass
class FeedWatch:
    """O8 for one subscriber, over all its connections: per account no version is missing, but where a message says `lagged`."""

    name: str
    watches: Watches
    versions: dict[str, int] = field(default_factory=dict)
    position: int = 0
    """The last message's: what to resume after."""
    _fresh: set[str] = field(default_factory=set)
    _resumed: bool = False

    def connected(self, *, resumed: bool) -> None:
        """`resumed`: the subscription was given `position`, so that what was missed must come."""
        self._fresh, self._resumed = set(), resumed
        self.watches.seen["subscriptions resumed" if resumed else "subscriptions begun"] += 1

    def message(self, change: Mapping[str, Any]) -> None:
        """A `BalanceChange` as it came."""
        account, version = str(change["account"]["id"]), int(change["version"])
        self.watches.seen["live messages"] += 1
        before = self.versions.get(account)
        first, lagged = account not in self._fresh, change.get("lagged") is not None
        self._fresh.add(account)
        self.versions[account] = max(version, before or 0)
        self.position = max(self.position, int(change["position"]))
        if lagged:
            self.watches.seen["lagged"] += 1
        if before is None or (first and not self._resumed and version >= before):
            return  # a first message carries what is there
        if lagged and version >= before:
            return
        if first and version == before:
            # One event in two accounts has one position: cut between its two messages, the first comes again.
            self.watches.seen["live messages repeated at a resume"] += 1
            return
        if version != before + 1:
            self.watches._violated(
                "O8", f"subscriber {self.name}: account {account} went from version {before} to {version}"
            )

    def ended_at(self, versions: Mapping[str, int]) -> list[str]:
        """Accounts whose last message is not what the ledger says in the end."""
        return [account for account, at in self.versions.items() if at != versions.get(account, at)]
