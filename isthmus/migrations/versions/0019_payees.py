"""Saved payees, and what payers are told of a payee."""

import sqlalchemy as sa
from alembic import context, op

from isthmus.migrations.statements import statements

revision = "0019"
down_revision = "0017"

_TABLES = {
    "payee_checks": "select, insert",
    "payee_keys": "select, insert, update",
    "payees": "select, insert, update",
    "saved_payees": "select",
}


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for statement in statements("0019_payees.sql"):
        run(statement)
    role = context.config.attributes.get("app_role")
    if role:
        for table, may in _TABLES.items():
            run(f"grant {may} on {table} to {role}")


def downgrade() -> None:
    raise sa.exc.NotSupportedError("payees are not made up again; restore a backup", None, Exception())
