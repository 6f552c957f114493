"""Leases: something that one process at a time does, and another takes over within seconds when it is gone.

Time is the database's. Every taking has a greater epoch, so that what a former holder still writes can be told and refused; a holder
that cannot renew stops by itself before the lease runs out for the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID, uuid4

import anyio
import asyncpg
import structlog

from isthmus.ending import end_if_cancelled
from isthmus.failpoints import failpoint_async

TTL_S = 5.0
RENEW_EVERY_S = 1.0
#: Longest that ending may take before the lease is left to run out.
_END_S = 3.0

_TAKE = """
insert into leases (name, holder, epoch, expires_at) values ($1, $2, 1, clock_timestamp() + make_interval(secs => $3))
on conflict (name) do update set holder = excluded.holder, epoch = leases.epoch + 1, expires_at = excluded.expires_at
where leases.expires_at <= clock_timestamp()
returning epoch"""
_RENEW = """
update leases set expires_at = clock_timestamp() + make_interval(secs => $4)
where name = $1 and holder = $2 and epoch = $3 and expires_at > clock_timestamp()"""
_RELEASE = "update leases set expires_at = clock_timestamp() where name = $1 and holder = $2 and epoch = $3"
_AWAY = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)

log = structlog.get_logger(__name__)


class LeaseLost(Exception):
    """Somebody else has it, or may have it by now."""


@dataclass(frozen=True)
class Lease:
    name: str
    holder: UUID
    epoch: int


@dataclass
class Leases:
    """`ttl_s` is how long the others wait for a holder that says nothing."""

    pool: asyncpg.Pool[asyncpg.Record]
    ttl_s: float = TTL_S
    renew_every_s: float = RENEW_EVERY_S

    async def take(self, name: str) -> Lease | None:
        """The lease, or None where another holds it."""
        holder = uuid4()
        async with self.pool.acquire(timeout=self.ttl_s / 2) as connection:
            epoch = await connection.fetchval(_TAKE, name, holder, self.ttl_s, timeout=self.ttl_s / 2)
        return None if epoch is None else Lease(name, holder, epoch)

    async def renew(self, lease: Lease) -> bool:
        async with self.pool.acquire(timeout=self.ttl_s / 2) as connection:
            status = await connection.execute(
                _RENEW, lease.name, lease.holder, lease.epoch, self.ttl_s, timeout=self.ttl_s / 2
            )
        return bool(status == "UPDATE 1")

    async def release(self, lease: Lease) -> None:
        """So that the next holder need not wait. Failing is no matter."""
        with contextlib.suppress(*_AWAY):
            async with self.pool.acquire(timeout=1.0) as connection:
                await connection.execute(_RELEASE, lease.name, lease.holder, lease.epoch, timeout=1.0)

    async def while_held(self, name: str, work: Callable[[Lease], Awaitable[None]]) -> None:
        """Wait for the lease, then do `work` for as long as it is held. Returns when `work` does; raises what it raises, and
        LeaseLost (with `work` cancelled) when the lease is gone."""
        lease = await self._wait(name)
        log.info("lease taken", lease=name, epoch=lease.epoch)
        await failpoint_async("leases.taken")
        working = asyncio.ensure_future(work(lease))
        keeping = asyncio.create_task(self._keep(lease))
        try:
            await asyncio.wait({working, keeping}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            raise LeaseLost(name)
        finally:
            for task in (working, keeping):
                task.cancel()
            # Whoever cancelled this goes on cancelling what it waits for: without a shield nothing would be released.
            with anyio.move_on_after(_END_S, shield=True):
                await asyncio.gather(working, keeping, return_exceptions=True)
                await self.release(lease)

    async def _wait(self, name: str) -> Lease:
        while True:
            with contextlib.suppress(*_AWAY):
                if (lease := await self.take(name)) is not None:
                    return lease
            await asyncio.sleep(random.uniform(0.5, 1.0) * self.renew_every_s)

    async def _keep(self, lease: Lease) -> None:
        """Returns when the lease is lost: refused, or not confirmed for so long that it may have run out."""
        confirmed = time.monotonic()
        while time.monotonic() - confirmed < self.ttl_s - self.renew_every_s:
            await asyncio.sleep(self.renew_every_s)
            asked = time.monotonic()
            await failpoint_async("leases.renew")
            with contextlib.suppress(*_AWAY):
                if not await self.renew(lease):
                    return
                confirmed = asked
            end_if_cancelled()
