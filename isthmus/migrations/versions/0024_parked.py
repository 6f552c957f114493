"""Payments that are parked until operators decide on them."""

import sqlalchemy as sa
from alembic import op

from isthmus.migrations.statements import statements

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for statement in statements("0024_parked.sql"):
        run(statement)


def downgrade() -> None:
    raise sa.exc.NotSupportedError("what operators found is not made up again; restore a backup", None, Exception())
