"""What carries sagas on, as a port: who has a saga take its next step, now, later, and in place of a worker that died.

A saga is an aggregate: what it did and what it waits for are events of its stream, and one run takes one step. So a runner keeps no
state of a saga; all that it must hold is

- a wish to look is part of the caller's transaction: a rollback leaves none;
- whoever asked for a look gets at least one that begins after the commit, by whichever worker comes to it, also when one dies (here
  within ten seconds); several at once do each other no harm;
- of looks of one kind at one saga one is ahead at most, however often they are asked for; days ahead cost nothing.

Here it is PgQueuer, in the database that the events are in. Where one PostgreSQL is outgrown another takes its place behind this: in
Temporal a look is a signal to the saga's workflow, sent by the relay from the outbox, and one that is for later is the workflow's timer.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol
from uuid import UUID

from isthmus.write_models.connection import Connection
from isthmus.write_models.timers import enqueue, take_again


class SagaRunner(Protocol):
    async def look(
        self,
        connection: Connection,
        saga: str,
        subject: UUID,
        after: timedelta | None = None,
        *,
        kind: str = "",
        told: str = "",
    ) -> None:
        """Have `saga` take a step with `subject`. `kind`: looks for different reasons do not stand for one another. `told`: what the
        step is to be told besides."""
        ...

    async def again(self, connection: Connection, saga: str, such: str, *args: object) -> int:
        """Looks that failed are taken once more where `such` holds: SQL over `q.subject`, with its `args`. Returns how many."""
        ...

    def unlooked(self, saga: str, subject: str, besides: str = "") -> str:
        """SQL that holds where no look is ahead, but for those of the kind `besides`: for the sweep that finds what a job that failed has
        left. `subject`: a column."""
        ...


class QueuedLooks:
    """Implements `SagaRunner` by jobs of PgQueuer (`timers.py`)."""

    async def look(
        self,
        connection: Connection,
        saga: str,
        subject: UUID,
        after: timedelta | None = None,
        *,
        kind: str = "",
        told: str = "",
    ) -> None:
        key = f"{saga}:{subject}:{kind}" if kind else f"{saga}:{subject}"
        payload = f"{subject} {told}" if told else str(subject)
        await enqueue(connection, saga, payload.encode(), after, key)

    async def again(self, connection: Connection, saga: str, such: str, *args: object) -> int:
        failed = (
            "select id, split_part(convert_from(payload, 'UTF8'), ' ', 1)::uuid as subject from pgqueuer "
            f"where entrypoint = '{saga}' and status = 'failed'"
        )
        rows = await connection.fetch(f"select q.id from ({failed}) q where {such}", *args)
        await take_again(connection, [row["id"] for row in rows])
        return len(rows)

    def unlooked(self, saga: str, subject: str, besides: str = "") -> str:
        other = f" and q.dedupe_key is distinct from '{saga}:' || {subject}::text || ':{besides}'" if besides else ""
        return (
            f"not exists (select from pgqueuer q where q.entrypoint = '{saga}' "
            f"and q.payload = convert_to({subject}::text, 'UTF8') and q.status in ('queued', 'picked'){other})"
        )


RUNNER: SagaRunner = QueuedLooks()
