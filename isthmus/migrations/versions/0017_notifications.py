"""What people are told of without asking, and what became of it."""

import sqlalchemy as sa
from alembic import context, op

from isthmus.migrations.statements import statements

revision = "0017"
down_revision = "0015"

_TABLES = {
    "notification_heads": "select, insert, update",
    "notifications": "select, insert, update (read_at)",
    "notification_deliveries": "select, insert, update",
    "notification_preferences": "select, insert, delete",
    "notification_cursor": "select, update",
    "listed_notifications": "select",
}


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for statement in statements("0017_notifications.sql"):
        run(statement)
    role = context.config.attributes.get("app_role")
    if role:
        for table, may in _TABLES.items():
            run(f"grant {may} on {table} to {role}")


def downgrade() -> None:
    raise sa.exc.NotSupportedError("whom we told of what is not made up again; restore a backup", None, Exception())
