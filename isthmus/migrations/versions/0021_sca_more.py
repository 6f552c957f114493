"""Exemptions from strong customer authentication, and step-ups for API keys and limits, authenticator apps."""

import sqlalchemy as sa
from alembic import context, op

from isthmus.migrations.statements import statements

revision = "0021"
down_revision = "0020"

_TABLES = {
    "unproven_payments": "select, insert, update, delete",
    "personal_limits": "select, insert, update",
    "sca_apps": "select, insert, update",
    "api_keys": "update (confirmed)",
}


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for statement in statements("0021_sca_more.sql"):
        run(statement)
    role = context.config.attributes.get("app_role")
    if role:
        for table, may in _TABLES.items():
            run(f"grant {may} on {table} to {role}")


def downgrade() -> None:
    raise sa.exc.NotSupportedError("what was counted is not made up again; restore a backup", None, Exception())
