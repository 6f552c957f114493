"""What waits for somebody is counted without reading everything."""

from alembic import op

from isthmus.migrations.statements import statements

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for statement in statements("0027_waiting.sql"):
        run(statement)


def downgrade() -> None:
    run = op.get_bind().exec_driver_sql
    run("drop index accounts_house")
    run("alter table payments drop column unknown_since")
