"""Revision 0003: comparisons, which are what `gemmbench check` says of base and head."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table of comparisons."""
    op.create_table(
        "comparison",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("run_id", sa.Integer, nullable=False),
        sa.Column("base_trial_id", sa.Integer, nullable=False),
        sa.Column("head_trial_id", sa.Integer, nullable=False),
        sa.Column("layer", sa.Text, nullable=False),
        sa.Column("backend", sa.Text, nullable=False),
        sa.Column("base", sa.Text, nullable=False),
        sa.Column("head", sa.Text, nullable=False),
        sa.Column("estimate", sa.Double),
        sa.Column("low", sa.Double),
        sa.Column("high", sa.Double),
        sa.Column("smallest_visible", sa.Double),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("pairs", sa.Integer, nullable=False),
        sa.Column("seconds_measured", sa.Double, nullable=False),
        sa.Column("identity", sa.String(12), nullable=False),
        sa.Column("recorded_at", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_comparison"),
        _key("run_id", "run"),
        _key("base_trial_id", "trial"),
        _key("head_trial_id", "trial"),
    )
    op.create_index("ix_comparison_run_id", "comparison", ["run_id"])
    op.create_index("ix_comparison_identity", "comparison", ["identity"])


def downgrade() -> None:
    """Drop it; the trials of its sides stay."""
    op.drop_table("comparison")


def _key(column: str, table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column], [f"{table}.id"], name=f"fk_comparison_{column}", ondelete="CASCADE"
    )
