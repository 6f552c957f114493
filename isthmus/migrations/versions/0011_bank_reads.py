"""Balances of which their bank says that they have changed are asked for anew, however young; institutions come in the order of names."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

_STATEMENTS = (
    "alter table bank_account_mirrors add column outdated boolean not null default false",
    "create index institutions_by_name on institutions (plain_name, id)",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    raise sa.exc.NotSupportedError("what banks told is not asked for again; restore a backup", None, Exception())
