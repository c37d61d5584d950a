"""Revision 0007: the memory roof beside a trial, the memory of a call, how cold cold was."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

COLUMNS = {"peak_bytes": sa.Double, "call_bytes": sa.BigInteger, "cold_ratio": sa.Double}


def upgrade() -> None:
    """Add the columns, unknown for what was recorded before."""
    for name, kind in COLUMNS.items():
        op.add_column("trial", sa.Column(name, kind))


def downgrade() -> None:
    """Drop the columns, around which the views have to stand aside."""
    views = _views()
    for name, _ in views:
        op.execute(f"DROP VIEW {name}")
    with op.batch_alter_table("trial") as table:
        for name in COLUMNS:
            table.drop_column(name)
    for _, definition in views:
        op.execute(definition)


def _views() -> list[tuple[str, str]]:
    """The views of a SQLite database with their SQL; elsewhere none: a column can just go."""
    connection = op.get_bind()
    if connection.dialect.name != "sqlite":
        return []
    query = sa.text("SELECT name, sql FROM sqlite_master WHERE type = 'view' ORDER BY name")
    return [(name, definition) for name, definition in connection.execute(query)]
