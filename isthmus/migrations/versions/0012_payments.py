"""Payments, the challenges that authorise them, and the count of wrong answers."""

import sqlalchemy as sa
from alembic import context, op

from isthmus.migrations.statements import statements

revision = "0012"
down_revision = "0011"

_TABLES = {
    "payments": "select, insert, update",
    "sca_challenges": "select, insert, update",
    "sca_guards": "select, insert, update",
}


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for statement in statements("0012_payments.sql"):
        run(statement)
    role = context.config.attributes.get("app_role")
    if role:
        for table, may in _TABLES.items():
            run(f"grant {may} on {table} to {role}")


def downgrade() -> None:
    raise sa.exc.NotSupportedError("payments are not made up again; restore a backup", None, Exception())
