"""What goes over the feed's channel: hints of what moved, and a heartbeat. All of it may be lost, doubled or late."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import msgspec

from isthmus.domain.accounts import AccountOpened
from isthmus.read_models.projections import Advanced

FEED = "isthmus:feed"
CHANGES_MAX = 1_000


class Change(msgspec.Struct, frozen=True, array_like=True):
    """One account after one movement."""

    account_id: UUID
    owner: UUID | None
    asset: str
    version: int
    position: int
    posted: Decimal
    pending_in: Decimal
    pending_out: Decimal
    as_of: datetime
    event_id: UUID
    event_type: str
    correlation_id: str


class Opened(msgspec.Struct, frozen=True, array_like=True):
    account_id: UUID
    owner: UUID | None


class Move(msgspec.Struct, frozen=True, omit_defaults=True):
    """A partition went from `start` to `end`; these are all its changes in between."""

    partition: int
    start: int = msgspec.field(name="from")
    end: int = msgspec.field(name="to")
    changes: tuple[Change, ...] = ()
    opened: tuple[Opened, ...] = ()
    #: Traces that these changes belong to, with their correlation ids.
    traces: tuple[tuple[str, str], ...] = ()
    #: Accounts whose changes end before `end`: what came then was set aside.
    parked: tuple[UUID, ...] = ()

    @property
    def mends(self) -> bool:
        """Nothing moved: these changes had been set aside, and the partition has long passed them."""
        return self.start == self.end


class Hint(msgspec.Struct, frozen=True, omit_defaults=True):
    """`heads`: where the partitions are, once a second."""

    log: str
    moves: tuple[Move, ...] = ()
    heads: dict[int, int] = {}


@dataclass(frozen=True, slots=True)
class Cause:
    event_id: UUID
    event_type: str
    correlation_id: str


@dataclass(frozen=True, slots=True)
class BalanceMessage:
    """`cause` None: the balance as it is, at the beginning of a subscription or, with `lagged_from`, in the place of what was left
    out: the account's messages after that position, up to this one. To a subscriber `position` says that it has everything up
    to there."""

    account_id: UUID
    asset: str
    version: int
    position: int
    posted: Decimal
    pending_in: Decimal
    pending_out: Decimal
    as_of: datetime
    cause: Cause | None
    lagged_from: int | None = None

    @property
    def is_first(self) -> bool:
        return self.cause is None and self.lagged_from is None


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Hint)


def move_of(advanced: Advanced) -> Move:
    facts = advanced.facts
    changes = tuple(
        Change(
            fact.key,
            fact.own.owner,
            fact.own.asset,
            fact.own.version,
            fact.position,
            fact.own.posted,
            fact.own.pending_in,
            fact.own.pending_out,
            fact.row.committed_at,
            fact.row.event_id,
            fact.row.type,
            fact.written.correlation_id,
        )
        for fact in facts
        if fact.own is not None
    )
    opened = tuple(Opened(fact.key, fact.event.owner) for fact in facts if isinstance(fact.event, AccountOpened))
    written = (fact.written for fact in facts)
    traces = dict.fromkeys((one.traceparent, one.correlation_id) for one in written if one.traceparent is not None)
    return Move(
        advanced.partition, advanced.start, advanced.end, changes, opened, tuple(traces), tuple(sorted(advanced.parked))
    )


def hints(log: str, moves: Iterable[Move], heads: Mapping[int, int]) -> list[bytes]:
    """Cut into messages of a bounded size (a single move may be larger)."""
    encoded: list[bytes] = []
    batch: list[Move] = []
    size = 0
    for move in moves:
        if batch and size + len(move.changes) > CHANGES_MAX:
            encoded.append(_ENCODER.encode(Hint(log, tuple(batch))))
            batch, size = [], 0
        batch.append(move)
        size += len(move.changes)
    if batch or heads:
        encoded.append(_ENCODER.encode(Hint(log, tuple(batch), dict(heads))))
    return encoded


def read_hint(log: str, payload: bytes | str) -> Hint | None:
    """None where it is of another log, or no hint at all."""
    try:
        hint = _DECODER.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return hint if hint.log == log else None


def message_of(change: Change) -> BalanceMessage:
    return BalanceMessage(
        change.account_id,
        change.asset,
        change.version,
        change.position,
        change.posted,
        change.pending_in,
        change.pending_out,
        change.as_of,
        Cause(change.event_id, change.event_type, change.correlation_id),
    )
