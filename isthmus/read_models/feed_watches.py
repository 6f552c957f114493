"""Who of this process's subscribers watches which account, and how far each account has been passed on to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from uuid import UUID

from isthmus.domain.log import PARTITIONS, partition_of
from isthmus.read_models.feed_subscriber import Subscriber
from isthmus.read_models.feed_wire import BalanceMessage


@dataclass
class _Watch:
    """An account that someone subscribes to, and the last version passed on."""

    asset: str
    version: int
    subscribers: set[Subscriber] = field(default_factory=set)


class Watches:
    def __init__(self) -> None:
        self._accounts: dict[UUID, _Watch] = {}
        self._partitions: list[set[UUID]] = [set() for _ in range(PARTITIONS)]
        self._everything_of: dict[UUID, set[Subscriber]] = {}
        self._unopened: dict[UUID, set[Subscriber]] = {}

    def __contains__(self, account: UUID) -> bool:
        return account in self._accounts

    def __len__(self) -> int:
        return len(self._accounts)

    def join(self, subscriber: Subscriber) -> None:
        if subscriber.account_ids is None:
            self._everything_of.setdefault(subscriber.sight.person, set()).add(subscriber)
        else:
            for account in subscriber.account_ids:
                self._unopened.setdefault(account, set()).add(subscriber)

    def leave(self, subscriber: Subscriber) -> None:
        _remove(self._everything_of, [subscriber.sight.person], subscriber)
        _remove(self._unopened, subscriber.account_ids or (), subscriber)
        for account in subscriber.versions:
            watch = self._accounts[account]
            watch.subscribers.discard(subscriber)
            if not watch.subscribers:
                del self._accounts[account]
                self._partitions[partition_of(account)].discard(account)

    def add(self, subscriber: Subscriber, first: Iterable[BalanceMessage], current: BalanceMessage) -> None:
        account = current.account_id
        watch = self._accounts.setdefault(account, _Watch(current.asset, current.version))
        watch.subscribers.add(subscriber)
        self._partitions[partition_of(account)].add(account)
        _remove(self._unopened, [account], subscriber)
        subscriber.begin(first, current)

    def is_awaited(self, account: UUID, owner: UUID | None) -> bool:
        """Whether somebody may wait for the account; `awaiting` says who does."""
        return account in self._unopened or owner in self._everything_of

    def awaiting(self, account: UUID, owner: UUID | None) -> list[Subscriber]:
        """Those to whom the account, which they do not have yet, must be given."""
        some = {*self._unopened.get(account, ()), *(self._everything_of.get(owner, ()) if owner else ())}
        return [one for one in some if account not in one.versions and one.may_see(account, owner)]

    def waiting(self) -> set[Subscriber]:
        """Those to whom accounts may still have to be given."""
        return {one for some in (*self._everything_of.values(), *self._unopened.values()) for one in some}

    def deliver(self, message: BalanceMessage) -> bool:
        """To those who watch the account. False where versions are missing before it."""
        watch = self._accounts.get(message.account_id)
        if watch is None:
            return True
        if message.version == watch.version + 1:
            watch.version = message.version
            for subscriber in watch.subscribers:
                subscriber.offer(message)
        return message.version <= watch.version

    def of(self, account: UUID) -> Iterator[Subscriber]:
        watch = self._accounts.get(account)
        return iter(()) if watch is None else iter(tuple(watch.subscribers))

    def cursor(self, account: UUID) -> int:
        """The last version passed on; -1 where nobody watches it."""
        watch = self._accounts.get(account)
        return -1 if watch is None else watch.version

    def cursors(self, partitions: Iterable[int]) -> dict[UUID, int]:
        return {
            account: self._accounts[account].version
            for partition in partitions
            for account in self._partitions[partition]
        }

    def assets(self, accounts: Iterable[UUID]) -> dict[UUID, str]:
        return {account: self._accounts[account].asset for account in accounts}


def _remove(index: dict[UUID, set[Subscriber]], keys: Iterable[UUID], subscriber: Subscriber) -> None:
    for key in keys:
        if key in index:
            index[key].discard(subscriber)
            if not index[key]:
                del index[key]
