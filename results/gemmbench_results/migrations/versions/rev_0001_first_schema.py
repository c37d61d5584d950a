"""Revision 0001: machines, runs, problems, trials and samples."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the five tables."""
    _create_machine()
    _create_run()
    _create_problem()
    _create_trial()
    _create_sample()


def downgrade() -> None:
    """Drop the five tables and all they hold."""
    for table in ("sample", "trial", "problem", "run", "machine"):
        op.drop_table(table)


def _create_machine() -> None:
    op.create_table(
        "machine",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("key", sa.String(12), nullable=False),
        sa.Column("cpu", sa.Text, nullable=False),
        sa.Column("microarchitecture", sa.Text, nullable=False),
        sa.Column("features", sa.JSON, nullable=False),
        sa.Column("cores", sa.Integer, nullable=False),
        sa.Column("l1d_bytes", sa.BigInteger, nullable=False),
        sa.Column("l2_bytes", sa.BigInteger, nullable=False),
        sa.Column("l3_bytes", sa.BigInteger, nullable=False),
        sa.Column("memory_bytes", sa.BigInteger, nullable=False),
        sa.Column("system", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_machine"),
        sa.UniqueConstraint("key", name="uq_machine_key"),
    )


def _create_run() -> None:
    op.create_table(
        "run",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("machine_id", sa.Integer, nullable=False),
        sa.Column("command", sa.Text, nullable=False),
        sa.Column("started_at", sa.String(32), nullable=False),
        sa.Column("ended_at", sa.String(32)),
        sa.Column("exit_code", sa.Integer),
        sa.Column("gemmbench_version", sa.String(32), nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("protocol", sa.JSON, nullable=False),
        sa.Column("protocol_key", sa.String(12), nullable=False),
        sa.Column("fill", sa.String(32), nullable=False),
        sa.Column("cache", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_run"),
        sa.ForeignKeyConstraint(["machine_id"], ["machine.id"], name="fk_run_machine_id"),
    )
    op.create_index("ix_run_machine_id_protocol_key", "run", ["machine_id", "protocol_key"])


def _create_problem() -> None:
    op.create_table(
        "problem",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("canonical", sa.String(500), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("dtype", sa.String(16), nullable=False),
        sa.Column("shape", sa.String(64), nullable=False),
        sa.Column("flops", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_problem"),
        sa.UniqueConstraint("canonical", name="uq_problem_canonical"),
    )


def _create_trial() -> None:
    op.create_table(
        "trial",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("run_id", sa.Integer, nullable=False),
        sa.Column("problem_id", sa.Integer, nullable=False),
        sa.Column("suite", sa.Text, nullable=False),
        sa.Column("layer", sa.Text, nullable=False),
        sa.Column("backend", sa.Text, nullable=False),
        sa.Column("algorithm", sa.Text, nullable=False),
        sa.Column("weights", sa.String(16), nullable=False),
        sa.Column("config", sa.JSON, nullable=False),
        sa.Column("config_text", sa.Text, nullable=False),
        sa.Column("environment", sa.JSON, nullable=False),
        sa.Column("purpose", sa.String(16), nullable=False),
        sa.Column("tuned", sa.Boolean, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("threads", sa.Integer, nullable=False),
        sa.Column("library", sa.Text, nullable=False),
        sa.Column("source_hash", sa.String(128), nullable=False),
        sa.Column("max_error", sa.Double),
        sa.Column("error_bound", sa.Double),
        sa.Column("stages", sa.JSON, nullable=False),
        sa.Column("workspace_bytes", sa.BigInteger),
        sa.Column("own_flops", sa.BigInteger),
        sa.Column("peak_flops", sa.Double),
        sa.Column("seconds_median", sa.Double),
        sa.Column("seconds_low", sa.Double),
        sa.Column("seconds_high", sa.Double),
        sa.Column("seconds_min", sa.Double),
        sa.Column("recorded_at", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_trial"),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_trial_run_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["problem_id"], ["problem.id"], name="fk_trial_problem_id"),
    )
    op.create_index("ix_trial_run_id", "trial", ["run_id"])
    op.create_index("ix_trial_problem_id", "trial", ["problem_id"])


def _create_sample() -> None:
    op.create_table(
        "sample",
        sa.Column("trial_id", sa.Integer, nullable=False),
        sa.Column("position", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("loops", sa.Integer, nullable=False),
        sa.Column("process", sa.Integer, nullable=False),
        sa.Column("round", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("trial_id", "position", name="pk_sample"),
        sa.ForeignKeyConstraint(
            ["trial_id"], ["trial.id"], name="fk_sample_trial_id", ondelete="CASCADE"
        ),
        sqlite_with_rowid=False,
    )
