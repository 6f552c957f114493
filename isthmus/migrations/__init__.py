"""The database's shape, by Alembic; `migrate` is what `up` and `isthmus migrate` run."""

from isthmus.migrations.run import migrate

__all__ = ["migrate"]
