"""Revision 0004: a run's software and fingerprint, and the view `series` for change-point tools.

`series` has one row a run and contender, the fastest of its configs, with its fastest block in
units of what was raced beside it, the machine's roof and NumPy's BLAS: what `gemmbench history`
shows, for a reader of SQL such as Apache Otava. Runs of different fingerprints are not comparable.
Only SQL that SQLite and PostgreSQL both read.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SERIES = """
CREATE VIEW series AS
SELECT trial, run, started_at, fingerprint, suite, layer, shape, dtype, contender, seconds,
    fastest, times_roof, times_blas, backend, algorithm, weights, tuned, config, environment,
    source_hash, library
FROM (
    SELECT t.id AS trial, r.id AS run, r.started_at, r.fingerprint, t.suite, t.layer, p.shape,
        p.dtype,
        t.backend || ' ' || t.algorithm
            || CASE WHEN t.weights = 'prepared' THEN ' prepared' ELSE '' END AS contender,
        t.seconds_median AS seconds,
        t.seconds_min AS fastest,
        t.seconds_min * t.peak_flops / p.flops AS times_roof,
        t.seconds_min / MIN(
            CASE WHEN t.backend = 'blas' AND t.weights = 'plain' THEN t.seconds_min END
        ) OVER (PARTITION BY r.id, t.suite, t.layer) AS times_blas,
        t.backend, t.algorithm, t.weights, t.tuned, t.config_text AS config,
        CAST(t.environment AS VARCHAR) AS environment, t.source_hash, t.library,
        row_number() OVER (
            PARTITION BY r.id, t.suite, t.layer, t.problem_id, t.backend, t.algorithm, t.weights,
                CAST(t.environment AS VARCHAR)
            ORDER BY t.seconds_median, t.id
        ) AS place
    FROM trial t
    JOIN run r ON r.id = t.run_id
    JOIN problem p ON p.id = t.problem_id
    WHERE t.state = 'COMPLETE' AND t.purpose = 'race' AND t.seconds_min > 0
) placed
WHERE place = 1
"""


def upgrade() -> None:
    """Add the columns, empty for runs that are there, and the view."""
    op.add_column("run", sa.Column("software", sa.JSON))
    op.add_column("run", sa.Column("fingerprint", sa.String(12)))
    op.execute(SERIES)


def downgrade() -> None:
    """Drop the view and what was kept of each run's software."""
    op.execute("DROP VIEW series")
    op.drop_column("run", "fingerprint")
    op.drop_column("run", "software")
