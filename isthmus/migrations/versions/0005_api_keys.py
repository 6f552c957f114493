"""API keys: whose each is and whether it works, beside its events; and, roughly, when it was last used."""

import sqlalchemy as sa
from alembic import context, op

revision = "0005"
down_revision = "0004"

_STATEMENTS = (
    """
    create table api_keys (
        id uuid primary key,
        owner uuid not null,
        expires_at timestamptz not null,
        revoked boolean not null default false,
        stored_at timestamptz not null default now()
    )
    """,
    "create index api_keys_owner on api_keys (owner)",
    """
    create table api_key_uses (
        api_key_id uuid primary key references api_keys,
        used_at timestamptz not null
    )
    """,
)
_GRANTS = (
    "grant select, insert, update (revoked) on api_keys to {role}",
    "grant select, insert, update on api_key_uses to {role}",
)


def upgrade() -> None:
    role = context.config.attributes.get("app_role")
    for statement in (*_STATEMENTS, *((grant.format(role=role) for grant in _GRANTS) if role else ())):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    raise sa.exc.NotSupportedError("what was done with keys is not forgotten; restore a backup", None, Exception())
