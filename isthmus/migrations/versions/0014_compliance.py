"""What compliance decided of payments, and what it counts them by."""

import sqlalchemy as sa
from alembic import op

from isthmus.migrations.statements import statements

revision = "0014"
down_revision = "0012"


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for statement in statements("0014_compliance.sql"):
        run(statement)


def downgrade() -> None:
    raise sa.exc.NotSupportedError("what was screened is not made up again; restore a backup", None, Exception())
