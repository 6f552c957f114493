"""An update of a link: pages that belong together. Of what is told twice the last counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from isthmus.domain.bank_transactions import BankTransaction, BankTransactionStatus, MalformedTransaction
from isthmus.domain.banking import ProviderAccount, Removed, SyncPage

_NO_DAY = "a pending transaction is left out: it has no day"


@dataclass
class Update:
    """`first`: nothing was read before, so that it tells all there is. `left_out`: what was not taken, a few words each."""

    first: bool
    accounts: dict[str, ProviderAccount] = field(default_factory=dict)
    cursor: str | None = None
    left_out: set[str] = field(default_factory=set)
    _changed: list[BankTransaction] = field(default_factory=list)
    _names: set[tuple[str, str | None]] = field(default_factory=set)
    _removed: dict[tuple[str, str | None], Removed] = field(default_factory=dict)
    _whole_pending: set[str] = field(default_factory=set)
    _booked_since: date | None = None

    def add(self, page: SyncPage) -> None:
        """Raises MalformedTransaction."""
        self.accounts |= {one.reference: one for one in page.accounts}
        self.left_out |= set(page.left_out)
        self._whole_pending |= page.whole_pending
        self._booked_since = max(filter(None, (self._booked_since, page.booked_since)), default=None)
        self.cursor = page.cursor
        gone: dict[tuple[str, str | None], Removed] = {(one.account, one.reference): one for one in page.removed}
        if not self._names.isdisjoint(gone):
            self._changed = [one for one in self._changed if (one.account, one.reference) not in gone]
        self._removed |= gone
        changed = [one for one in page.changed if self._has_day(one)]
        for one in changed:
            self._removed.pop((one.account, one.reference), None)
        self._names |= {(one.account, one.reference) for one in changed}
        self._changed += changed

    @property
    def changed(self) -> Sequence[BankTransaction]:
        return self._changed

    @property
    def removed(self) -> Sequence[Removed]:
        return list(self._removed.values())

    @property
    def whole_pending(self) -> set[str]:
        """Accounts of which everything that is pending is told."""
        return set(self.accounts) if self.first else self._whole_pending

    def booked_since(self, account: str) -> date | None:
        """The day after which everything booked is told; None where changes are."""
        if self._booked_since is not None or not self.first:
            return self._booked_since if account in self._whole_pending else None
        days = [one.booked_on for one in self._changed if one.account == account and one.booked_on is not None]
        return min(days) - timedelta(days=1) if days else None

    def _has_day(self, one: BankTransaction) -> bool:
        """Some banks tell one only when it is booked: until then there is no place for it."""
        if one.day is not None or one.at is not None:
            return True
        if one.status is BankTransactionStatus.POSTED:
            raise MalformedTransaction("a transaction has no day")
        self.left_out.add(_NO_DAY)
        return False
