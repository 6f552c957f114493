"""Cases of reconciliation, what its runs found, and the accounts that transfers to us are for."""

import sqlalchemy as sa
from alembic import context, op

from isthmus.migrations.statements import statements

revision = "0020"
down_revision = "0019"

_TABLES = {
    "reconciliation_cases": "select, insert, update",
    "reconciliation_runs": "select, insert",
}


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for statement in statements("0020_reconciliation.sql"):
        run(statement)
    role = context.config.attributes.get("app_role")
    if role:
        for table, may in _TABLES.items():
            run(f"grant {may} on {table} to {role}")


def downgrade() -> None:
    raise sa.exc.NotSupportedError("cases are not made up again; restore a backup", None, Exception())
