"""What the API is built on, as ports: `app` gives the real ones, tests give small fakes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID

from isthmus.auth.caller import Caller
from isthmus.domain.clock import Clock
from isthmus.domain.identifiers import IdSource
from isthmus.read_models.accounts import AccountReader
from isthmus.read_models.assets import AssetRegistry
from isthmus.read_models.audit import AuditReader
from isthmus.read_models.balances import BalanceReader
from isthmus.read_models.journals import JournalReader
from isthmus.read_models.log import LogReader
from isthmus.read_models.texts import TextReader
from isthmus.read_models.transactions import TransactionReader
from isthmus.write_models.envelope import Envelope, Outcome


class Verifier(Protocol):
    async def verify(self, token: str) -> Caller:
        """Raises isthmus.auth.tokens.TokenRefused."""
        ...


class Commands(Protocol):
    async def run(self, command: Any, envelope: Envelope) -> Outcome: ...


class Positions(Protocol):
    async def wait_for(self, position: int, timeout_s: float) -> bool: ...

    def known(self) -> Mapping[int, int]:
        """Per partition what is committed."""
        ...


class Figures(Protocol):
    """A balance as the cache and the feed have it."""

    @property
    def posted(self) -> Decimal: ...

    @property
    def pending_in(self) -> Decimal: ...

    @property
    def pending_out(self) -> Decimal: ...

    @property
    def version(self) -> int: ...

    @property
    def as_of(self) -> datetime: ...


class BalanceCache(Protocol):
    async def get_many(self, account_ids: Sequence[UUID], at_least: Mapping[int, int]) -> Mapping[UUID, Figures]: ...


class Cause(Protocol):
    @property
    def event_id(self) -> UUID: ...

    @property
    def event_type(self) -> str: ...

    @property
    def correlation_id(self) -> str: ...


class BalanceMessage(Figures, Protocol):
    @property
    def account_id(self) -> UUID: ...

    @property
    def asset(self) -> str: ...

    @property
    def position(self) -> int: ...

    @property
    def cause(self) -> Cause | None: ...


class Feed(Protocol):
    def subscribe(self, account_ids: frozenset[UUID] | None, owner: UUID) -> AsyncIterator[BalanceMessage]: ...


@dataclass(frozen=True)
class Readers:
    accounts: AccountReader
    balances: BalanceReader
    transactions: TransactionReader
    journals: JournalReader
    audit: AuditReader
    assets: AssetRegistry
    texts: TextReader
    log: LogReader


@dataclass(frozen=True)
class Services:
    clock: Clock
    ids: IdSource
    verifier: Verifier
    commands: Commands
    positions: Positions
    cache: BalanceCache
    feed: Feed
    read: Readers
