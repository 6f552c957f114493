"""What became of each command is counted, the failures that nobody foresaw too: an alert hears of nothing else."""

from __future__ import annotations

from uuid import uuid4

import asyncpg
import pytest
from prometheus_client import REGISTRY

from isthmus.failpoints import InjectedFault, armed
from isthmus.runtime.wiring import WriteSide
from tests.write_models.driver import Driver

ADA, GRACE = uuid4(), uuid4()


def counted(outcome: str) -> float:
    labels = {"command": "TransferInternally", "outcome": outcome}
    value = REGISTRY.get_sample_value("isthmus_commands_total", labels)
    assert value is not None, "zero from the start: no rate can be taken of a series that begins at its first"
    return value


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("53100", asyncpg.DiskFullError),
        ("53200", asyncpg.OutOfMemoryError),
        ("58030", asyncpg.PostgresIOError),
    ],
)
async def test_a_command_that_the_database_cannot_carry_out_has_failed(
    ledger: Driver, side: WriteSide, admin: asyncpg.Connection, code: str, error: type[Exception]
) -> None:
    source, target = await ledger.funded(ADA, "10"), await ledger.open(GRACE)
    await admin.execute(
        "create function out_of_means() returns trigger language plpgsql as "
        f"$$ begin raise exception 'no more' using errcode = '{code}'; end $$; "
        "create trigger out_of_means before insert on outbox for each row execute function out_of_means()"
    )
    before = counted("failed"), counted("unavailable")
    with pytest.raises(error):
        await ledger.transfer(ADA, source, target, "1")
    assert (counted("failed") - before[0], counted("unavailable") - before[1]) == (1, 0)


async def test_a_command_that_a_bug_ends_has_failed(ledger: Driver) -> None:
    source, target = await ledger.funded(ADA, "10"), await ledger.open(GRACE)
    before = counted("failed")
    with armed("unit.before_flush:raise"), pytest.raises(InjectedFault):
        await ledger.transfer(ADA, source, target, "1")
    assert counted("failed") - before == 1
