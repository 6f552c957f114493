"""What a handler is: what it needs to see, and the domain function that decides.

A handler is pure: the unit of work locks and loads what `needs` names, so that a batch of commands is decided in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from isthmus.domain import (
    accounts,
)
from isthmus.domain.events import Event
from isthmus.domain.ledger import AccountState, Hold, JournalPosted
from isthmus.domain.money import Asset
from isthmus.domain.refusals import Refusal
from isthmus.write_models.codes_sent import CodesSent
from isthmus.write_models.exempted import Exempted
from isthmus.write_models.spending import Spent


@dataclass(frozen=True)
class Needs:
    """`owned`: accounts with who must own them. Another person's is not even locked: nobody else's wish may hold up hers."""

    accounts: frozenset[UUID] = frozenset()
    owned: frozenset[tuple[UUID, UUID]] = frozenset()
    holds: frozenset[UUID] = frozenset()
    reversing: frozenset[UUID] = frozenset()
    #: Things without a row to lock: their streams are read, and whoever appends to one at the same time is a conflict.
    streams: frozenset[UUID] = frozenset()
    #: People whose API keys are counted: one at a time.
    key_owners: frozenset[UUID] = frozenset()
    #: People whom a one-time code may be sent: one at a time. Wants `time`, too.
    asked: frozenset[UUID] = frozenset()
    #: People whose payments are counted, those of today and those that they were not asked for: one at a time. Wants `time`, too.
    spenders: frozenset[UUID] = frozenset()
    #: Devices' credentials by their names: whether any was ever anybody's.
    credentials: frozenset[str] = frozenset()
    #: What is decided or begun ends at an instant: `Loaded.now` must be one that all processes agree on.
    time: bool = False


@dataclass
class Loaded:
    """What the unit of work locked and read; brought forward by each command of the batch that is accepted.

    `now` is the database's where a command's `Needs.time` says so; else this process's, and of use for metadata only.
    """

    assets: Mapping[str, Asset]
    now: datetime
    book: dict[UUID, AccountState] = field(default_factory=dict)
    holds: dict[UUID, Hold] = field(default_factory=dict)
    posted: dict[UUID, JournalPosted] = field(default_factory=dict)
    reversed: set[UUID] = field(default_factory=set)
    streams: dict[UUID, list[Event]] = field(default_factory=dict)
    live_keys: dict[UUID, set[UUID]] = field(default_factory=dict)
    credentials: set[str] = field(default_factory=set)
    spent: Spent = field(default_factory=Spent)
    exempted: Exempted = field(default_factory=Exempted)
    codes: CodesSent = field(default_factory=CodesSent)

    def account(self, account_id: UUID) -> accounts.Account | None:
        state = self.book.get(account_id)
        return state.account if state else None


Decision = Sequence[Event] | Refusal


@dataclass(frozen=True)
class Handler:
    needs: Callable[[Any], Needs]
    decide: Callable[[Loaded, Any], Decision]
