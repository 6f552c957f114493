"""PgQueuer's tables: timers and scheduled work in our own transactions.

Its SQL is kept as it was in version 1.6.0, so that this revision makes the same tables for ever; a test says when a newer version of
the library wants others.
"""

import sqlalchemy as sa
from alembic import context, op

from isthmus.migrations.statements import statements

revision = "0003"
down_revision = "0002"

_TABLES = "pgqueuer, pgqueuer_log, pgqueuer_schedules, pgqueuer_statistics"


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for statement in statements("0003_pgqueuer.sql"):
        run(statement)
    role = context.config.attributes.get("app_role")
    if role:
        run(f"grant select, insert, update, delete on {_TABLES} to {role}")
        run(f"grant usage on all sequences in schema public to {role}")


def downgrade() -> None:
    raise sa.exc.NotSupportedError("an append-only store is not taken back; restore a backup", None, Exception())
