"""What verification found stays found: a violation is not over because the verifier looks elsewhere, or was started again.

Only a whole verification that no longer sees it takes it away.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import structlog

from isthmus.write_models.connection import Connection
from isthmus.write_models.slices import Violation
from isthmus.write_models.verifier import Report, verify

#: Of one invariant: enough to see what is wrong, and no table that a broken hot account fills.
KEPT_MAX = 100

_KEEP = """
insert into verifier_findings (invariant, violation, position)
select f.invariant, f.violation, $3 from unnest($1::text[], $2::text[]) as f (invariant, violation)
where (select count(*) from verifier_findings k where k.invariant = f.invariant) < $4
on conflict do nothing returning invariant, violation"""

log = structlog.get_logger(__name__)


async def keep(connection: Connection, found: Sequence[Violation], position: int) -> None:
    """Remember, and log at ERROR what was not known yet."""
    if not found:
        return
    rows = await connection.fetch(
        _KEEP, [one.invariant for one in found], [one.sentence for one in found], position, KEPT_MAX
    )
    for row in rows:
        log.error("the ledger violates an invariant", invariant=row["invariant"], violation=row["violation"])


async def counted(connection: Connection) -> dict[str, int]:
    """How many violations are known, by invariant."""
    rows = await connection.fetch("select invariant, count(*) from verifier_findings group by 1")
    return {row["invariant"]: row["count"] for row in rows}


async def verify_whole(connection: Connection) -> Report:
    """Everything, in one snapshot. What it no longer sees of what was found before it began is over."""
    began: datetime = await connection.fetchval("select clock_timestamp()")
    report = await verify(connection)
    found = [Violation(finding.check.name, one) for finding in report.findings for one in finding.violations]
    async with connection.transaction():
        await connection.execute("delete from verifier_findings where found_at < $1", began)
        await keep(connection, found, report.position)
        await connection.execute("update verifier_state set verified_at = $1", began)
    log.info("ledger verified", position=report.position, violations=len(found))
    return report
