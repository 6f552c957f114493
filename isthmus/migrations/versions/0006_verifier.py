"""How far the verifier that runs all the time is, and what it found."""

import sqlalchemy as sa
from alembic import context, op

from isthmus.migrations.statements import statements

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for statement in statements("0006_verifier.sql"):
        run(statement)
    role = context.config.attributes.get("app_role")
    if role:
        run(f"grant select, update on verifier_state to {role}")
        run(f"grant select, insert, delete on verifier_findings to {role}")


def downgrade() -> None:
    raise sa.exc.NotSupportedError("an append-only store is not taken back; restore a backup", None, Exception())
