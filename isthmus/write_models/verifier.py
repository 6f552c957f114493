"""Proves the ledger's invariants on a live database, by SQL of its own: nothing here calls the code that wrote the rows.

All checks see one snapshot. Each says how many things it looked at and names what violates it (docs/ledger.md lists them).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from isthmus.write_models.connection import Connection
from isthmus.write_models.invariants import CHECKS, Check

VIOLATIONS_SHOWN_MAX = 20


@dataclass(frozen=True)
class Finding:
    check: Check
    checked: int
    violations: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    position: int
    findings: tuple[Finding, ...]

    @property
    def sound(self) -> bool:
        return not any(finding.violations for finding in self.findings)


async def verify(
    connection: Connection,
    checks: Sequence[Check] = CHECKS,
    progress: Callable[[Check], None] | None = None,
) -> Report:
    """At most VIOLATIONS_SHOWN_MAX violations are named per check. Raises asyncpg's errors where the database cannot be read."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        # A whole ledger takes longer than a request may.
        await connection.execute("set local statement_timeout = 0")
        await connection.execute("set local work_mem = '64MB'")
        # First of all: a rebuild that swapped its tables in after the snapshot would show them empty, and empty is sound.
        await connection.execute("lock table read_models.projection_positions in access share mode")
        position: int = await connection.fetchval("select position from log_head")
        findings = []
        for check in checks:
            if progress is not None:
                progress(check)
            rows = await connection.fetch(f"{check.violations}\nlimit {VIOLATIONS_SHOWN_MAX}", timeout=3_600)
            checked: int = await connection.fetchval(check.counted, timeout=3_600)
            findings.append(Finding(check, checked, tuple(row[0] for row in rows)))
    return Report(position, tuple(findings))
