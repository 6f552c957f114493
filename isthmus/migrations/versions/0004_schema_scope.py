"""Who may read the schema in production: the scope `schema:read`, and the role `developer`."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_STATEMENTS = (
    "alter table provider.users drop constraint users_roles_check",
    "alter table provider.users add constraint users_roles_check "
    "check (roles <@ array['customer', 'operator', 'auditor', 'developer', 'service'])",
    "update provider.clients set scopes = scopes || '{schema:read}'::text[] "
    "where client_id in ('isthmus-cli', 'isthmus-playground')",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    raise sa.exc.NotSupportedError("an append-only store is not taken back; restore a backup", None, Exception())
