"""The tables: machines, runs, problems, trials, comparisons and every raw sample.

The newest revision in `migrations/versions` builds exactly these tables. Samples are the truth;
the `seconds_*` columns of a trial are derived from them and stored beside them, because SQL has
no portable median. Times of day are ISO 8601 text in UTC, which sorts and reads alike in every
database. JSON columns keep the order of keys, so tile sizes print as the backend named them.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

machine = Table(
    "machine",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("key", String(12), nullable=False, unique=True),
    Column("cpu", Text, nullable=False),
    Column("microarchitecture", Text, nullable=False),
    Column("features", JSON, nullable=False),
    Column("cores", Integer, nullable=False),
    Column("l1d_bytes", BigInteger, nullable=False),
    Column("l2_bytes", BigInteger, nullable=False),
    Column("l3_bytes", BigInteger, nullable=False),
    Column("memory_bytes", BigInteger, nullable=False),
    Column("system", Text, nullable=False),
)

run = Table(
    "run",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("machine_id", ForeignKey("machine.id"), nullable=False),
    Column("command", Text, nullable=False),
    Column("started_at", String(32), nullable=False),
    Column("ended_at", String(32)),
    Column("exit_code", Integer),
    Column("gemmbench_version", String(32), nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("protocol", JSON, nullable=False),
    Column("protocol_key", String(12), nullable=False),  # equal: timings may be compared
    Column("fill", String(32), nullable=False),  # of the protocol, for reading at a prompt
    Column("cache", String(32), nullable=False),
    Column("software", JSON(none_as_null=True)),  # NULL: stored before gemmbench kept it
    Column("fingerprint", String(12)),  # of machine, software and protocol; equal: comparable
    Index(None, "machine_id", "protocol_key"),
)

problem = Table(
    "problem",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("canonical", String(500), nullable=False, unique=True),  # JSON, its keys sorted
    Column("kind", String(16), nullable=False),
    Column("dtype", String(16), nullable=False),
    Column("shape", String(64), nullable=False),  # of the GEMM it amounts to, such as 96×363×3025
    Column("flops", BigInteger, nullable=False),
)

trial = Table(
    "trial",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run_id", ForeignKey("run.id", ondelete="CASCADE"), nullable=False),
    Column("problem_id", ForeignKey("problem.id"), nullable=False),
    Column("suite", Text, nullable=False),
    Column("layer", Text, nullable=False),
    Column("backend", Text, nullable=False),
    Column("algorithm", Text, nullable=False),
    Column("weights", String(16), nullable=False),
    Column("config", JSON, nullable=False),
    Column("config_text", Text, nullable=False),  # canonical: equal if the configs are
    Column("environment", JSON, nullable=False),
    Column("purpose", String(16), nullable=False),
    Column("tuned", Boolean, nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("threads", Integer, nullable=False),
    Column("library", Text, nullable=False),
    Column("source_hash", String(128), nullable=False),
    Column("max_error", Double),
    Column("error_bound", Double),
    Column("relative_error", Double),  # largest, over the rms of the answer
    Column("rms_error", Double),  # over the same
    Column("error_limit", Double),  # relative_error up to which it might win
    Column("stages", JSON, nullable=False),
    Column("workspace_bytes", BigInteger),
    Column("own_flops", BigInteger),
    Column("peak_flops", Double),  # FLOP/s
    Column("peak_bytes", Double),  # bytes/s of reading as much memory
    Column("call_bytes", BigInteger),  # of memory that one call takes above workspace
    Column("cold_ratio", Double),  # reading operands before a call, over again; NULL when hot
    Column("device", JSON),  # how a device was doing; NULL before revision 0005
    Column("seconds_median", Double),  # seconds_*: per call, derived from the samples
    Column("seconds_low", Double),
    Column("seconds_high", Double),
    Column("seconds_min", Double),
    Column("recorded_at", String(32), nullable=False),
    Index(None, "run_id"),
    Index(None, "problem_id"),
)

sample = Table(
    "sample",
    metadata,
    Column("trial_id", ForeignKey("trial.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("seconds", Double, nullable=False),  # of the whole block of `loops` calls
    Column("loops", Integer, nullable=False),
    Column("process", Integer, nullable=False),
    Column("round", Integer, nullable=False),
    sqlite_with_rowid=False,
)

comparison = Table(
    "comparison",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run_id", ForeignKey("run.id", ondelete="CASCADE"), nullable=False),
    Column("base_trial_id", ForeignKey("trial.id", ondelete="CASCADE"), nullable=False),
    Column("head_trial_id", ForeignKey("trial.id", ondelete="CASCADE"), nullable=False),
    Column("layer", Text, nullable=False),
    Column("backend", Text, nullable=False),
    Column("base", Text, nullable=False),  # what the sides are, for a reader
    Column("head", Text, nullable=False),
    Column("estimate", Double),  # fractions: 0.05 is 5 % slower; NULL where it is not finite
    Column("low", Double),
    Column("high", Double),
    Column("smallest_visible", Double),
    Column("verdict", String(16), nullable=False),
    Column("pairs", Integer, nullable=False),
    Column("seconds_measured", Double, nullable=False),
    Column("identity", String(12), nullable=False),  # equal: exactly the same was compared
    Column("recorded_at", String(32), nullable=False),
    Index(None, "run_id"),
    Index(None, "identity"),
)
