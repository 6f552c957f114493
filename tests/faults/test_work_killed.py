"""F3: `work` killed at each of its fail points, one after another on one log. The next one resumes, and every effect is there once."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from isthmus.domain.holds import ReserveFunds
from isthmus.read_models.positions import log_identity
from isthmus.runtime.servers import EmbeddedServers
from isthmus.runtime.wiring import write_side
from isthmus.settings import Settings
from isthmus.torture.bus import BusReader
from isthmus.torture.intents import Kind
from isthmus.torture.oracle import Oracle
from tests.conftest import Database
from tests.faults.direct import DirectDoor
from tests.faults.wishes import wishes
from tests.forked_process import Process, started
from tests.runtime.test_work import an_up_on
from tests.write_models.driver import Driver, assert_sound
from tests.write_models.test_two_phase import move

ADA = uuid4()
#: One of each part; FAULT_POINTS=all takes them all.
POINTS = ["relay.published", "projector.applied", "broadcaster.before_tell", "leases.renew"]
TIMER_POINTS = ["timers.done"]
if os.environ.get("FAULT_POINTS") == "all":
    POINTS += ["relay.read", "relay.kept", "projector.before_apply", "projector.committed", "leases.taken"]
    TIMER_POINTS += ["timers.job"]
LEASE_S = 10.0


@asynccontextmanager
async def work(settings: Settings, fail: str = "") -> AsyncIterator[Process]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ISTHMUS_")}
    process = started(
        "isthmus",
        ["work"],
        {
            **environment,
            "ISTHMUS_DATA_DIR": str(settings.data_dir),
            "ISTHMUS_API__MODE": "development",
            "ISTHMUS_FAIL": fail,
        },
        settings.data_dir / f"work-{fail.partition(':')[0]}.log",
    )
    try:
        yield process
    finally:
        process.kill()
        await asyncio.to_thread(process.wait)


async def _dies(process: Process) -> None:
    assert await asyncio.to_thread(process.wait, 60) == -signal.SIGKILL


async def test_f3_work_killed_in_each_of_its_parts_resumes_and_has_no_effect_twice(
    servers: EmbeddedServers, database: Database, settings: Settings, tmp_path: Path
) -> None:
    admin = await asyncpg.connect(database.admin_url)
    bus = BusReader(servers.kafka_url, await log_identity(admin))
    async with write_side(settings, database.url) as side:
        door = DirectDoor((side.commands,), ADA)
        with an_up_on(settings, servers, database), wishes(tmp_path, door) as clients:
            await clients.furnish()
            for point in POINTS:
                async with work(settings, f"{point}:kill") as process:
                    outcomes = await clients.send(clients.transfers(20), door)
                    assert {outcome.kind for outcome in outcomes} <= {Kind.OK, Kind.REFUSED}
                    await _dies(process)
                # What the dead one held runs out by itself after the last; between the others this is hurried.
                if point != POINTS[-1]:
                    await admin.execute("update leases set expires_at = now()")
            died = time.monotonic()
            epoch = await admin.fetchval("select epoch from leases where name = 'relay'")
            left = await admin.fetchval("select expires_at - clock_timestamp() from leases where name = 'relay'")
            assert left < timedelta(seconds=LEASE_S)
            async with work(settings):
                await clients.send(clients.transfers(20), door)
                verdict = await Oracle(database.admin_url, bus).judge(clients.log.intents)
                assert verdict.violations == []
                assert (verdict.lost, verdict.doubled) == (0, 0)
                assert await admin.fetchval("select epoch from leases where name = 'relay'") > epoch
    print(f"after {len(POINTS)} deaths: caught up {time.monotonic() - died:.1f} s after the last, {verdict.checked}")
    await admin.close()


@pytest.mark.parametrize("point", TIMER_POINTS)
async def test_f3_work_killed_around_a_timer_voids_the_hold_once(
    servers: EmbeddedServers, database: Database, settings: Settings, point: str
) -> None:
    admin = await asyncpg.connect(database.admin_url)
    async with write_side(settings, database.url) as side:
        ledger = Driver(side.commands)
        with an_up_on(settings, servers, database):
            source, target = await ledger.funded(ADA, "100"), await ledger.open(ADA)
            draft = move(source, target, "60")
            await ledger.done(ReserveFunds(draft, expires_at=datetime.now(UTC) + timedelta(seconds=1)))
            async with work(settings, f"{point}:kill") as process:
                await _dies(process)
            voided = "select count(*) from event_store where type = 'HoldVoided'"
            assert await admin.fetchval(voided) == (1 if point == "timers.done" else 0)
            async with work(settings), asyncio.timeout(60):
                while await admin.fetchval("select count(*) from pgqueuer"):  # noqa: ASYNC110 - the queue tells nobody
                    await asyncio.sleep(0.05)
            assert await admin.fetchval(voided) == 1
        row = await admin.fetchrow("select posted, pending_out from account_balances where account_id = $1", source)
        assert row is not None
        assert tuple(row) == (100, 0)
        await assert_sound(side.pool)
    await admin.close()
