"""What the API is built on, as ports: `app` gives the real ones, tests give small fakes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID

from isthmus.auth.browser_sessions import BrowserSessions
from isthmus.auth.caller import Caller
from isthmus.domain.clock import Clock
from isthmus.domain.identifiers import IdSource
from isthmus.read_models.accounts import AccountReader
from isthmus.read_models.api_keys import ApiKeyReader
from isthmus.read_models.assets import AssetRegistry
from isthmus.read_models.audit import AuditReader
from isthmus.read_models.balances import BalanceReader, Figures
from isthmus.read_models.bank_accounts import BankAccountReader
from isthmus.read_models.bank_transactions import BankTransactionReader
from isthmus.read_models.consent_feed import ConsentFeed
from isthmus.read_models.consents import ConsentReader
from isthmus.read_models.database import Sight
from isthmus.read_models.institutions import InstitutionReader
from isthmus.read_models.journals import JournalReader
from isthmus.read_models.log import LogReader
from isthmus.read_models.notices import NoticeFeed, NoticeReader
from isthmus.read_models.parked import ParkedReader
from isthmus.read_models.payees import PayeeReader
from isthmus.read_models.payments import PaymentReader, PaymentRow
from isthmus.read_models.personal_limits import LimitReader
from isthmus.read_models.reconciliation import CaseReader
from isthmus.read_models.row_feed import RowFeed
from isthmus.read_models.sca import DeviceReader
from isthmus.read_models.sca_apps import AppReader
from isthmus.read_models.texts import TextReader
from isthmus.read_models.transactions import TransactionReader
from isthmus.runtime.rate_limits import Bucket
from isthmus.write_models.app_desk import AppDesk
from isthmus.write_models.bank_links import BankLinks
from isthmus.write_models.batch_desk import BatchDesk
from isthmus.write_models.device_desk import DeviceDesk
from isthmus.write_models.envelope import Envelope, Outcome
from isthmus.write_models.limit_desk import LimitDesk
from isthmus.write_models.notice_desk import NoticeDesk
from isthmus.write_models.parked_desk import ParkedDesk
from isthmus.write_models.payee_desk import PayeeDesk
from isthmus.write_models.payment_desk import PaymentDesk
from isthmus.write_models.sca_desk import ScaDesk


class Rates(Protocol):
    async def take(self, *buckets: Bucket) -> float:
        """0 where it is admitted, else how long to wait, in seconds."""
        ...

    async def give_back(self, *buckets: Bucket) -> None:
        """What was taken shall not count."""
        ...


class TrustedDocuments(Protocol):
    """What operators published for production to run."""

    async def find(self, digest: bytes) -> str | None:
        """The text with that SHA-256; None where it was never published, or was retired."""
        ...

    def knows(self, digest: bytes) -> bool:
        """As `find`, without asking anybody: false also for what was published just now."""
        ...


class Verifier(Protocol):
    async def verify(self, token: str, *, looks_on: bool = False) -> Caller:
        """`looks_on`: nobody does anything, and their session lasts no longer for it. Raises isthmus.auth.tokens.TokenRefused."""
        ...

    async def used(self, caller: Caller) -> None:
        """Whoever has a connection open does something by it. Raises TokenRefused, or IssuerUnavailable."""
        ...

    async def check(self, caller: Caller) -> None:
        """Before each operation of a connection that stays open. Raises TokenRefused, or IssuerUnavailable."""
        ...

    async def until_ended(self, caller: Caller) -> None:
        """Returns when a connection of theirs must end."""
        ...


class Commands(Protocol):
    async def run(self, command: Any, envelope: Envelope) -> Outcome: ...


class Positions(Protocol):
    async def wait_for(self, position: int, timeout_s: float) -> bool: ...


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

    @property
    def lagged_from(self) -> int | None: ...


class Subscriber(Protocol):
    """`ready` is called whenever there may be something to `pop`; or wait for the `next`. Ends by `close` only."""

    ready: Callable[[], None]

    def pop(self) -> BalanceMessage | None: ...

    async def next(self) -> BalanceMessage: ...

    def close(self) -> None: ...


class Feed(Protocol):
    async def subscribe(
        self, account_ids: frozenset[UUID] | None, sight: Sight, after: int | None = None
    ) -> Subscriber: ...


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
    api_keys: ApiKeyReader
    bank_accounts: BankAccountReader
    bank_transactions: BankTransactionReader
    consents: ConsentReader
    institutions: InstitutionReader
    payments: PaymentReader
    parked: ParkedReader
    devices: DeviceReader
    notices: NoticeReader
    apps: AppReader
    limits: LimitReader
    payees: PayeeReader
    cases: CaseReader


@dataclass(frozen=True)
class Services:
    clock: Clock
    ids: IdSource
    verifier: Verifier
    commands: Commands
    positions: Positions
    feed: Feed
    banking: BankLinks
    payments: PaymentDesk
    parked: ParkedDesk
    sca: ScaDesk
    devices: DeviceDesk
    apps: AppDesk
    limits: LimitDesk
    batches: BatchDesk
    payees: PayeeDesk
    consents: ConsentFeed
    payment_feed: RowFeed[PaymentRow]
    notices: NoticeDesk
    notice_feed: NoticeFeed
    documents: TrustedDocuments
    rates: Rates
    read: Readers
    #: Of our own pages; None where none is served, and no cookie signs in.
    sessions: BrowserSessions | None = None
    #: Most that one transfer moves to another person without a challenge, by asset.
    transfer_above: Mapping[str, Decimal] = field(default_factory=dict)
