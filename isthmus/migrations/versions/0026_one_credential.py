"""A device's credential is enrolled once."""

from alembic import op

from isthmus.migrations.statements import statements

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for statement in statements("0026_one_credential.sql"):
        run(statement)


def downgrade() -> None:
    run = op.get_bind().exec_driver_sql
    run("drop index sca_devices_credential")
    run("create index sca_devices_credential on sca_devices (credential_id) where credential_id is not null")
