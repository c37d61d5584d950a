"""What alembic runs to migrate: the caller's connection, inside the caller's transaction.

The transaction covers every step (DDL included, which SQLite and PostgreSQL both roll back), so
an upgrade that fails or is killed leaves the database as it was.
"""

from alembic import context

from gemmbench_results.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
context.run_migrations()
