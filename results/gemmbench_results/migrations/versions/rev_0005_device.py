"""Revision 0005: how a trial's device was doing: driver, clocks, power limit, throttling.

JSON, because each vendor says different things; empty where the processor is the machine's own.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, empty for trials that are there."""
    op.add_column("trial", sa.Column("device", sa.JSON))


def downgrade() -> None:
    """Drop what was kept of devices."""
    op.drop_column("trial", "device")
