"""Banks: institutions, consents, accounts and transactions that banks tell of, and the webhooks they came by."""

import sqlalchemy as sa
from alembic import context, op

from isthmus.migrations.statements import statements

revision = "0010"
down_revision = "0009"

_TABLES = {
    "institutions": "select, insert, update",
    "institution_providers": "select, insert, update, delete",
    "consents": "select, insert, update",
    "bank_authorisations": "select, insert, update, delete",
    "bank_accounts": "select, insert, update",
    "bank_account_mirrors": "select, insert, update, delete",
    "bank_transactions": "select, insert, update, delete",
    "bank_transaction_tags": "select, insert, update, delete",
    "bank_syncs": "select, insert, update, delete",
    "webhooks": "select, insert, update (state, why, verified, digest)",
}


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    run("create extension if not exists pg_trgm")
    for statement in statements("0010_banking.sql"):
        run(statement)
    run("create index institutions_nearest on institutions using gist (plain_name gist_trgm_ops (siglen = 32))")
    role = context.config.attributes.get("app_role")
    if role:
        for table, may in _TABLES.items():
            run(f"grant {may} on {table} to {role}")


def downgrade() -> None:
    raise sa.exc.NotSupportedError("what banks told is not asked for again; restore a backup", None, Exception())
