"""Revision 0002: the views `best` and `latest`, for a person at a SQL prompt.

`best` has the fastest complete race trial of each layer, `latest` the newest one of each way of
computing it. Machines, thread counts, dtypes and protocols are never mixed, and neither are plain
and prepared weights. Only SQL that SQLite and PostgreSQL both read.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Rounding needs NUMERIC in PostgreSQL; ms keeps nanoseconds.
COLUMNS = """
    t.suite, t.layer, p.shape, p.dtype, t.backend, t.algorithm, t.weights,
    round(CAST(t.seconds_median * 1e3 AS NUMERIC), 6) AS ms,
    round(CAST(p.flops / t.seconds_median / 1e9 AS NUMERIC), 2) AS gflops,
    round(CAST(100.0 * p.flops / t.seconds_median / t.peak_flops AS NUMERIC), 1) AS percent_of_peak,
    t.tuned, t.config_text AS config, t.threads, r.fill, r.cache,
    m.cpu || ' (' || m.key || ')' AS machine, t.recorded_at, r.id AS run, t.id AS trial
"""
NAMES = """
    suite, layer, shape, dtype, backend, algorithm, weights, ms, gflops, percent_of_peak, tuned,
    config, threads, fill, cache, machine, recorded_at, run, trial
"""
SAME_RACE = "r.machine_id, r.protocol_key, t.suite, t.layer, t.problem_id, t.threads, t.weights"


def upgrade() -> None:
    """Create both views."""
    op.execute(_view("best", SAME_RACE, "t.seconds_median, t.id DESC"))
    op.execute(_view("latest", f"{SAME_RACE}, t.backend, t.algorithm, t.tuned", "t.id DESC"))


def downgrade() -> None:
    """Drop both views."""
    op.execute("DROP VIEW latest")
    op.execute("DROP VIEW best")


def _view(name: str, group: str, order: str) -> str:
    """SQL of a view with the first trial, in `order`, of each `group`."""
    return f"""
CREATE VIEW {name} AS
SELECT {NAMES}
FROM (
    SELECT {COLUMNS},
        row_number() OVER (PARTITION BY {group} ORDER BY {order}) AS place
    FROM trial t
    JOIN run r ON r.id = t.run_id
    JOIN machine m ON m.id = r.machine_id
    JOIN problem p ON p.id = t.problem_id
    WHERE t.state = 'COMPLETE' AND t.purpose = 'race' AND t.seconds_median > 0
) placed
WHERE place = 1
"""  # noqa: S608  constants of this file, no input
