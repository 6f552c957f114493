"""PostgreSQL is away under a running `work`: an outage, and no bug that somebody is told of."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import asyncpg
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from isthmus.domain.holds import ReserveFunds
from isthmus.runtime.servers import EmbeddedServers
from isthmus.runtime.wiring import WriteSide, write_side
from isthmus.settings import Settings
from tests.conftest import Database
from tests.read_models.rig import until
from tests.runtime.test_work import an_up_on, working
from tests.write_models.driver import Driver
from tests.write_models.test_two_phase import move

ADA, GRACE = uuid4(), uuid4()
AWAY_S = 1.0


def crashes() -> dict[str, float]:
    metrics = (metric for metric in REGISTRY.collect() if metric.name == "isthmus_task_crashes")
    return {
        one.labels["task"]: one.value for metric in metrics for one in metric.samples if one.name.endswith("_total")
    }


async def everything_runs(ledger: Driver, side: WriteSide, source: UUID, target: UUID) -> None:
    """A hold ends by itself (timers), and all until then is published, projected and verified."""
    hold = move(source, target, "1")
    await ledger.done(ReserveFunds(hold, expires_at=side.clock.now() + timedelta(seconds=0.5)))

    async def through() -> bool:
        try:
            row = await side.pool.fetchrow(
                "select h.position as head, (select min(position) from read_models.projection_positions) as projected, "
                "(select position from relay_state where name = 'relay') as published, "
                "(select checked from verifier_state) as checked, "
                "exists (select from event_store where aggregate_id = $1 and type = 'HoldVoided') as ended from log_head h",
                hold.journal_id,
            )
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        assert row is not None
        return bool(row["ended"] and row["head"] == row["projected"] == row["published"] == row["checked"])

    await until(through, 60)


async def test_f6_a_database_that_goes_away_crashes_no_task_of_work_and_all_run_again_afterwards(
    servers: EmbeddedServers, database: Database, settings: Settings
) -> None:
    async with write_side(settings, database.url) as side:
        ledger = Driver(side.commands)
        source, target = await ledger.funded(ADA, "10"), await ledger.open(GRACE)
        with an_up_on(settings, servers, database), capture_logs() as lines:
            async with working(settings):
                await everything_runs(ledger, side, source, target)
                before = crashes()
                assert {"relay", "projector", "timers", "verifier", "lag", "positions"} <= before.keys()

                admin = await asyncpg.connect(database.admin_url)
                await admin.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'isthmus work'"
                )
                await admin.close()
                await everything_runs(ledger, side, source, target)

                servers.stop_server("postgres")
                await asyncio.sleep(AWAY_S)
                servers.start_server("postgres")
                await everything_runs(ledger, side, source, target)
                after = crashes()
    assert after == before
    assert [line for line in lines if line["event"] == "task crashed; starting it again"] == []
    assert {line["task"] for line in lines if line["event"].startswith("what a task stands on is away")}, "it was seen"
