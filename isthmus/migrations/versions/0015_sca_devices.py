"""Devices that sign for a person."""

import sqlalchemy as sa
from alembic import context, op

from isthmus.migrations.statements import statements

revision = "0015"
down_revision = "0014"

_TABLES = {
    "sca_devices": "select, insert, update",
    "signing_devices": "select",
}


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for statement in statements("0015_sca_devices.sql"):
        run(statement)
    role = context.config.attributes.get("app_role")
    if role:
        for table, may in _TABLES.items():
            run(f"grant {may} on {table} to {role}")


def downgrade() -> None:
    raise sa.exc.NotSupportedError("devices are not made up again; restore a backup", None, Exception())
