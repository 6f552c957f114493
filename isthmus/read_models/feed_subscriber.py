"""One subscriber of the balance feed: its accounts' messages in log order, at most so many of them, each version once.

The log's partitions move each by itself, but a position is only worth going on from when all before it was delivered. So what
is beyond the slowest partition of the subscriber's is held until that has caught up. Of one account nothing ever waits.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from uuid import UUID

from prometheus_client import Counter

from isthmus.domain.log import PARTITIONS, partition_of
from isthmus.read_models.database import Sight
from isthmus.read_models.feed_wire import BalanceMessage

POSITION_MAX = 2**63 - 1
_ALL = tuple(range(PARTITIONS))

_lagged = Counter(
    "isthmus_feed_lagged_total",
    "Messages that stand for others left out: the subscriber was too slow, or came back after too long.",
)


class Subscriber:
    """`account_ids` None: all accounts of its person, those opened later too. `after`: a position it has everything up to.

    Take with `pop` whenever `ready` was called, or with `next`. Who is slower than its accounts by more than `most` messages gets,
    of each account, the newest balance in the place of what was left out.
    """

    def __init__(
        self,
        sight: Sight,
        account_ids: frozenset[UUID] | None,
        after: int | None,
        most: int,
        holding: Callable[[Subscriber], None],
        leave: Callable[[Subscriber], None],
    ) -> None:
        self.sight = sight
        self.account_ids = account_ids
        self.after = after
        self.most = most
        self.versions: dict[UUID, int] = {}  # per account the last one taken from the feed
        self.assets: dict[UUID, str] = {}
        self.level = False  # whether it was given all that the feed has passed on
        self.gone = False
        self.ready: Callable[[], None] = _nobody
        self._partitions = _ALL if account_ids is None else tuple({partition_of(account) for account in account_ids})
        self._alone = account_ids is not None and len(account_ids) == 1
        self._holding = holding
        self._leave = leave
        self._held: list[tuple[int, UUID, int, BalanceMessage]] = []
        self._queue: deque[BalanceMessage] = deque()
        self._taken = -1 if after is None else after  # everything up to this position was taken

    # -- for whoever delivers ----------------------------------------------------------------------------------------

    def pop(self) -> BalanceMessage | None:
        if not self._queue:
            return None
        message = self._queue.popleft()
        self._taken = message.position
        if message.lagged_from is not None:
            _lagged.inc()
        return message

    async def next(self) -> BalanceMessage:
        """Not together with a `ready` of one's own."""
        while (message := self.pop()) is None:
            arrived = asyncio.Event()
            self.ready = arrived.set
            await arrived.wait()
        return message

    def close(self) -> None:
        if not self.gone:
            self.gone = True
            self.ready = _nobody
            self._leave(self)

    # -- for the feed ------------------------------------------------------------------------------------------------

    def may_see(self, account: UUID, owner: UUID | None) -> bool:
        if self.account_ids is None:
            return owner == self.sight.person
        return account in self.account_ids and (self.sight.all_accounts or owner == self.sight.person)

    def begin(self, messages: Iterable[BalanceMessage], current: BalanceMessage) -> None:
        """An account that it does not have yet: what to say of it first, and the balance as it is after that."""
        self.versions[current.account_id] = current.version
        self.assets[current.account_id] = current.asset
        for message in messages:
            self._hold(message)

    def offer(self, message: BalanceMessage) -> None:
        account, version = message.account_id, message.version
        if version != self.versions.get(account, version) + 1:
            return
        self.versions[account] = version
        if self.after is not None and message.position <= self.after:
            return
        if self._alone and self.level and not self._held:
            self._put(message)
        else:
            self._hold(message)

    def release(self, at: Mapping[int, int]) -> bool:
        """Let go what is held up to where the partitions are. Whether nothing is held any more."""
        if self.level and self._held:
            safe = POSITION_MAX if self._alone else min(at[partition] for partition in self._partitions)
            due: list[BalanceMessage] = []
            while self._held and self._held[0][0] <= safe:
                due.append(heapq.heappop(self._held)[-1])
            for n, message in enumerate(due, 1):
                if n < len(due) and due[n].position == message.position:
                    # One event in two accounts: only with the second message is everything up to there delivered.
                    self._put(replace(message, position=message.position - 1))
                else:
                    self._put(message)
        return not self._held

    def _hold(self, message: BalanceMessage) -> None:
        heapq.heappush(self._held, _in_order(message))
        if len(self._held) > self._bound:
            folded = _fold((entry[-1] for entry in sorted(self._held)), self._last_put)
            self._held = [_in_order(one) for one in folded]
        self._holding(self)

    def _put(self, message: BalanceMessage) -> None:
        self._queue.append(message)
        if len(self._queue) > self.most and len(self._queue) > self._bound:
            self._queue = deque(_fold(self._queue, self._taken))
        self.ready()

    @property
    def _bound(self) -> int:
        return self.most + len(self.versions)

    @property
    def _last_put(self) -> int:
        return self._queue[-1].position if self._queue else self._taken


def _in_order(message: BalanceMessage) -> tuple[int, UUID, int, BalanceMessage]:
    return message.position, message.account_id, message.version, message


def _fold(messages: Iterable[BalanceMessage], since: int) -> list[BalanceMessage]:
    """Of each account one message, the newest, which says what was left out. In log order."""
    newest: dict[UUID, BalanceMessage] = {}
    for message in messages:
        before = newest.get(message.account_id)
        if before is None:
            newest[message.account_id] = message
        elif before.is_first:
            newest[message.account_id] = replace(message, cause=None, lagged_from=None)
        else:
            start = since if before.lagged_from is None else before.lagged_from
            newest[message.account_id] = replace(message, cause=None, lagged_from=start)
    return sorted(newest.values(), key=lambda message: message.position)


def _nobody() -> None:
    """Nobody waits."""
