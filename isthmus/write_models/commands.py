"""The command bus: every wish to change something enters here, whoever makes it (API, CLI, timers, later sagas and webhooks)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import asyncpg
import structlog
from prometheus_client import Counter

from isthmus import tracing
from isthmus.domain.clock import Clock
from isthmus.domain.code_allowance import NO_LIMITS, CodeLimits
from isthmus.domain.identifiers import IdSource, uuid7_source
from isthmus.domain.money import Asset
from isthmus.domain.personal import PersonalTexts
from isthmus.supervised import Supervised
from isthmus.write_models.asks import Ask
from isthmus.write_models.committer import Committer
from isthmus.write_models.connection import Connection, Pool
from isthmus.write_models.envelope import PLATFORM, Done, Envelope, Outcome, Recorded, Refused, Unavailable
from isthmus.write_models.handlers import HANDLERS
from isthmus.write_models.idempotency import request_hash_of, scope_of
from isthmus.write_models.unit_of_work import load_assets

__all__ = ["PLATFORM", "CommandBus", "Done", "Envelope", "Outcome", "Recorded", "Refused", "Unavailable"]

log = structlog.get_logger(__name__)
_commands = Counter(
    "isthmus_commands_total",
    "Commands by name and outcome: done, replayed, a refusal's code, unavailable (no answer), failed (an error).",
    ["command", "outcome"],
)
_counted = cache(_commands.labels)  # looking a label up takes longer than counting

for _kind in HANDLERS:
    for _outcome in ("unavailable", "failed"):
        _counted(
            _kind.__name__, _outcome
        )  # zero from the start: no rate can be taken of a series that begins at its first

_SETTINGS = {
    # Every statement is planned once a connection. A plan made while the tables were empty would scan them for ever, but for the
    # second line: then each table is entered by an index, whatever its size.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "jit": "off",
    "application_name": "isthmus writer",
}


async def writer_pool(
    url: str, *, statement_timeout_ms: int, lock_timeout_ms: int, idle_timeout_ms: int, size: int = 4
) -> Pool:
    """The write side's own connections: their limits bound how long anyone can sit on `log_head`."""
    return await asyncpg.create_pool(
        url,
        min_size=1,
        max_size=size,
        reset=_keep,
        timeout=5,
        command_timeout=statement_timeout_ms / 1_000,
        server_settings={
            **_SETTINGS,
            "statement_timeout": str(statement_timeout_ms),
            "lock_timeout": str(lock_timeout_ms),
            "idle_in_transaction_session_timeout": str(idle_timeout_ms),
        },
    )


async def _keep(connection: Connection) -> None:
    """Nothing to reset: the writer leaves no session state, and a round trip saved on every commit is worth having."""


class CommandBus:
    def __init__(
        self,
        pool: Pool,
        texts: PersonalTexts,
        idempotency_key: bytes,
        clock: Clock,
        ids: IdSource | None = None,
        code_limits: CodeLimits = NO_LIMITS,
    ) -> None:
        """`idempotency_key`: the secret under which inputs are hashed, the same in every process. `code_limits`: how many one-time codes
        a person is sent."""
        self._pool = pool
        self._secret = idempotency_key
        self._committer = Committer(pool, clock, ids or uuid7_source(clock.now), texts, code_limits)

    async def start(self) -> None:
        async with self._pool.acquire() as connection:
            self._committer.assets = await load_assets(connection)
        await self._committer.start()

    async def aclose(self) -> None:
        await self._committer.aclose()

    @property
    def parts(self) -> Sequence[Supervised]:
        """What must run for commands to be answered."""
        return (self._committer.part,)

    @property
    def assets(self) -> dict[str, Asset]:
        return dict(self._committer.assets)

    async def run(self, command: Any, envelope: Envelope) -> Outcome:
        """Decide and record. The same envelope again gets the first answer. Raises Unavailable: retry with the same key."""
        name = type(command).__name__
        assert type(command) in HANDLERS, f"no handler for {name}"
        if tracing.on():
            with tracing.span(f"command {name}"):
                return await self._run(name, command, replace(envelope, trace=tracing.carrier()))
        return await self._run(name, command, envelope)

    async def _run(self, name: str, command: Any, envelope: Envelope) -> Outcome:
        try:
            ask = Ask(command, envelope, scope_of(envelope), request_hash_of(envelope, self._secret))
            outcome = await self._committer.commit(ask)
        except (OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError) as error:
            _counted(name, "unavailable").inc()
            raise Unavailable("the database does not answer") from error
        except Unavailable:
            _counted(name, "unavailable").inc()
            raise
        except Exception:
            # The database's disk or memory is full, or it is a bug: of ours in any case, and the service level's business.
            _counted(name, "failed").inc()
            raise
        if isinstance(outcome, Refused):
            _counted(name, outcome.refusal.code.value).inc()
            log.info("command refused", command=name, code=outcome.refusal.code, position=outcome.position)
        else:
            _counted(name, "replayed" if outcome.replayed else "done").inc()
            log.debug("command done", command=name, position=outcome.position, replayed=outcome.replayed)
        return outcome
