"""When one-time codes were sent, so that they can be counted."""

import sqlalchemy as sa
from alembic import op

from isthmus.migrations.statements import statements

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for statement in statements("0025_codes_sent.sql"):
        run(statement)


def downgrade() -> None:
    raise sa.exc.NotSupportedError("who was sent how many codes is not forgotten; restore a backup", None, Exception())
