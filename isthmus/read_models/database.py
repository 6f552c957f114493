"""The connections that queries read through, and what counts as "the database does not answer"."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from uuid import UUID

import asyncpg
import orjson

from isthmus.domain.identifiers import NOWHERE
from isthmus.outages import DATABASE_AWAY

ACQUIRE_TIMEOUT_S = 2.0

_BROKEN: tuple[type[Exception], ...] = (
    *DATABASE_AWAY,
    asyncpg.InsufficientResourcesError,
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,  # with a migration that changes several tables
)


class Incomplete(Exception):
    """Something of the account is set aside until a release understands it: its history has a hole, and is not shown."""


@dataclass(frozen=True)
class Sight:
    """Whose data a reader may show: that person's, and everyone's where a role says so."""

    person: UUID
    all_accounts: bool = False
    all_trails: bool = False

    @property
    def shared(self) -> Sight:
        """The same for all who see the same: whoever sees every account does so whoever they are."""
        return replace(self, person=NOWHERE) if self.all_accounts else self


async def read_pool(url: str, *, size: int, statement_timeout_ms: int, lock_timeout_ms: int) -> asyncpg.Pool:
    """Statement and lock limits are the server's, so that a reader that hangs is ended even when we are not looking."""
    return await asyncpg.create_pool(
        url,
        min_size=1,
        max_size=size,
        timeout=5,
        command_timeout=statement_timeout_ms / 1_000 + 1,
        init=_prepare,
        server_settings={
            "application_name": "isthmus reader",
            "statement_timeout": str(statement_timeout_ms),
            "lock_timeout": str(lock_timeout_ms),
            "idle_in_transaction_session_timeout": str(statement_timeout_ms),
        },
    )


async def _prepare(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=lambda value: orjson.dumps(value).decode(), decoder=orjson.loads
    )


def is_unavailable(error: BaseException) -> bool:
    """Whether machinery failed, not the question: asyncpg hides the cause a few steps down."""
    return any(isinstance(step, _BROKEN) for step in _chain(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        step = waiting.pop()
        if step is not None and id(step) not in seen:
            seen.add(id(step))
            yield step
            waiting += [step.__cause__, step.__context__]
