"""Keys per bank link and the tokens of providers, under the keys per person; and under which master key everything is wrapped."""

import sqlalchemy as sa
from alembic import context, op

from isthmus.migrations.statements import statements

revision = "0009"
down_revision = "0008"

_GRANTS = (
    "grant select, insert, update, delete on link_keys, provider_tokens to {role}",
    # A version is retired by the owner of the tables.
    "grant select, insert on master_key_versions to {role}",
    "grant select, insert, update on root_secret to {role}",
)


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for statement in statements("0009_secrets.sql"):
        run(statement)
    role = context.config.attributes.get("app_role")
    for grant in _GRANTS if role else ():
        run(grant.format(role=role))


def downgrade() -> None:
    raise sa.exc.NotSupportedError("what keys opened is not given up; restore a backup", None, Exception())
