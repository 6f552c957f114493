"""Money that people bring here from their own bank."""

import sqlalchemy as sa
from alembic import op

from isthmus.migrations.statements import statements

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for statement in statements("0023_top_ups.sql"):
        run(statement)


def downgrade() -> None:
    raise sa.exc.NotSupportedError(
        "what tops up which account is not made up again; restore a backup", None, Exception()
    )
