"""Where records go that a release cannot project, and what was refused of the bus."""

import sqlalchemy as sa
from alembic import context, op

from isthmus.migrations.statements import statements

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for statement in statements("0008_parked.sql"):
        run(statement)
    role = context.config.attributes.get("app_role")
    if role:
        run(f"grant select, insert, update on refused_records to {role}")


def downgrade() -> None:
    raise sa.exc.NotSupportedError("an append-only store is not taken back; restore a backup", None, Exception())
