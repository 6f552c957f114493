"""Trusted documents: what clients were published with, and who published or retired what. The serving role only reads them."""

import sqlalchemy as sa
from alembic import context, op

revision = "0007"
down_revision = "0006"

_STATEMENTS = (
    """
    create table trusted_documents (
        client text not null check (client ~ '^[A-Za-z0-9._-]{1,64}$'),
        digest bytea not null check (digest = sha256(convert_to(text, 'UTF8'))),
        text text not null,
        operations text[] not null check (cardinality(operations) > 0),
        published_at timestamptz not null default now(),
        published_by text not null check (length(published_by) between 1 and 100),
        retired_at timestamptz,
        retired_by text check (length(retired_by) between 1 and 100),
        primary key (client, digest),
        check ((retired_at is null) = (retired_by is null))
    )
    """,
    """
    create table trusted_document_changes (
        number bigint generated always as identity primary key,
        at timestamptz not null default now(),
        action text not null check (action in ('published', 'retired')),
        actor text not null,
        client text not null,
        digest bytea not null
    )
    """,
    "select guard_append_only('trusted_document_changes')",
)


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for statement in _STATEMENTS:
        run(statement)
    role = context.config.attributes.get("app_role")
    if role:
        run(f"grant select on trusted_documents, trusted_document_changes to {role}")


def downgrade() -> None:
    raise sa.exc.NotSupportedError("an append-only store is not taken back; restore a backup", None, Exception())
