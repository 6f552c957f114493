"""The spine: event store, journals, entries by month, balances, outbox, keys, and the guards that keep them append-only."""

import logging

import sqlalchemy as sa
from alembic import context, op

from isthmus.migrations.statements import statements

revision = "0001"
down_revision = None

_INSERT_ONLY = ("event_store", "journal_entries", "entries", "pending_entries", "idempotency")
_GRANTS = (
    "grant usage on schema public to {role}",
    "grant select on all tables in schema public to {role}",
    *(f"grant insert on {table} to {{role}}" for table in _INSERT_ONLY),
    "grant insert, update on accounts, account_balances, relay_state, leases to {role}",
    "grant update on log_head to {role}",
    "grant insert, delete on outbox to {role}",
    "grant insert, update, delete on person_keys to {role}",
    "grant usage on all sequences in schema public to {role}",
)


def upgrade() -> None:
    role = context.config.attributes.get("app_role")
    for name in ("0001_spine.sql", "0001_read_models.sql"):
        for statement in statements(name):
            _run(statement)
    if role:
        _run(
            f"do $$ begin if not exists (select from pg_roles where rolname = '{role}') "
            f"then create role {role} nologin; end if; end $$"
        )
    _run("select create_read_models('read_models')")
    for grant in _GRANTS if role else ():
        _run(grant.format(role=role))
    _event_triggers()


def _event_triggers() -> None:
    """Some managed servers let no role of ours make these; the tables stay append-only, and `doctor` says what is missing."""
    if op.get_bind().exec_driver_sql("select rolsuper from pg_roles where rolname = current_user").scalar():
        for statement in statements("0001_event_triggers.sql"):
            _run(statement)
    else:
        logging.getLogger("isthmus.migrations").warning("no superuser: dropping a partition is not refused")


def _run(statement: str) -> None:
    op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    raise sa.exc.NotSupportedError("an append-only store is not taken back; restore a backup", None, Exception())
