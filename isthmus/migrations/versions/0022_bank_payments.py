"""Payments from a person's own bank."""

import sqlalchemy as sa
from alembic import op

from isthmus.migrations.statements import statements

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for statement in statements("0022_bank_payments.sql"):
        run(statement)


def downgrade() -> None:
    raise sa.exc.NotSupportedError("where banks ask is not made up again; restore a backup", None, Exception())
