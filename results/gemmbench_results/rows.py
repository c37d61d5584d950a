"""Values to rows and back. What goes into the store comes out equal, every sample included.

The one exception is NaN in `max_error`, which SQL reads as "unknown" and comes back as None.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from gemmbench.comparison import Comparison, GateVerdict
from gemmbench.machine import Machine, machine_from_data, machine_to_data
from gemmbench.measurement import Measurement, Sample
from gemmbench.problem import Problem, problem_from_data, problem_to_data
from gemmbench.stats import summarize
from gemmbench.trial import (
    TIMED_OUT,
    Contender,
    Environment,
    Evaluation,
    RaceProtocol,
    Trial,
    TrialState,
)

# What a timing depends on. Not the seed, the notes or how many processes and rounds there were:
# those change how sure a result is, not what it is.
COMPARABLE = (
    "method",
    "fill",
    "cache",
    "cold_bytes",
    "threads",
    "block_seconds",
    "warmup_calls",
    "alignment",
    "forced",
)

EFFECTS = ("estimate", "low", "high", "smallest_visible")  # of a comparison

Row = dict[str, Any]


def canonical(data: Any) -> str:
    """JSON text that is equal if and only if the data are: sorted keys, no spaces."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def comparable_key(protocol: RaceProtocol) -> str:
    """Twelve hex digits, equal if and only if timings under the protocols may be compared."""
    same = [getattr(protocol, name) for name in COMPARABLE]
    if protocol.max_error is not None:
        same.append(protocol.max_error)  # a winner among exact ones is another one
    return hashlib.sha256(canonical(same).encode()).hexdigest()[:12]


def now() -> str:
    """The time in UTC as ISO 8601 text of constant width, which sorts as text."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def protocol_to_data(protocol: RaceProtocol) -> Row:
    """`protocol` as JSON-able data."""
    lists = {"notes": list(protocol.notes), "forced": list(protocol.forced)}
    return {**dataclasses.asdict(protocol), **lists}


def protocol_from_data(data: Mapping[str, Any]) -> RaceProtocol:
    """The protocol that `protocol_to_data` wrote, fields of other gemmbench versions left out."""
    known = {field.name for field in dataclasses.fields(RaceProtocol)} & set(data)
    fields = {name: data[name] for name in known}
    lists = {name: tuple(fields.get(name, ())) for name in ("notes", "forced")}
    return RaceProtocol(**{**fields, **lists})


def machine_to_row(machine: Machine) -> Row:
    """Columns of the machine table."""
    return machine_to_data(machine)


def machine_from_row(row: Mapping[str, Any]) -> Machine:
    """The machine in `row`, whose other columns are ignored."""
    return machine_from_data({f.name: row[f.name] for f in dataclasses.fields(Machine)})


def problem_to_row(problem: Problem) -> Row:
    """Columns of the problem table."""
    return {
        "canonical": canonical(problem_to_data(problem)),
        "kind": problem.kind,
        "dtype": problem.dtype,
        "shape": str(problem.gemm()),
        "flops": problem.flops(),
    }


def problem_from_row(row: Mapping[str, Any]) -> Problem:
    """The problem in `row`, whose other columns are ignored."""
    return problem_from_data(json.loads(row["canonical"]))


def trial_to_row(trial: Trial) -> Row:
    """Columns of the trial table but its keys; statistics are None without samples."""
    contender = trial.contender
    return {
        "suite": trial.suite,
        "layer": trial.layer,
        "backend": contender.backend,
        "algorithm": contender.algorithm,
        "weights": contender.weights,
        "config": dict(contender.config),
        "config_text": canonical(dict(contender.config)),
        "environment": environment_to_data(contender.environment),
        "purpose": trial.purpose,
        "tuned": contender.tuned,
        "state": str(trial.state),
        "reason": trial.reason,
        "threads": trial.threads,
        "library": trial.library,
        "source_hash": trial.source_hash,
        "max_error": trial.max_error,
        "error_bound": trial.error_bound,
        "relative_error": trial.relative_error,
        "rms_error": trial.rms_error,
        "error_limit": trial.error_limit,
        "stages": dict(trial.stages),
        "workspace_bytes": trial.workspace_bytes,
        "own_flops": trial.own_flops,
        "peak_flops": trial.peak_flops,
        "peak_bytes": trial.peak_bytes,
        "call_bytes": trial.call_bytes,
        "cold_ratio": trial.cold_ratio,
        "device": dict(trial.device),
        **_seconds(trial.measurement),
        "recorded_at": now(),
    }


def environment_to_data(environment: Environment) -> Row:
    """`environment` as JSON gives it back."""
    pairs = [list(pair) for pair in environment.variables]
    return {"python": environment.python, "variables": pairs}


def evaluation_from_row(row: Mapping[str, Any], *, here: bool) -> Evaluation:
    """The evaluation in `row` (columns of trial, problem and machine).

    Without seconds if it was not right, or not known to be as exact as its run asked for.
    """
    usable = row["state"] == TrialState.COMPLETE and _exact_enough(row)
    return Evaluation(
        problem=problem_from_row(row),
        config=row["config"],
        seconds=row["seconds_median"] if usable else None,
        source_hash=row["source_hash"],
        machine=row["key"],
        here=here,
        moment=f"{row['run_id']}/{row['suite']}/{row['layer']}/{row['purpose']}",
        timed_out=row["state"] == TrialState.FAILED and row["reason"].startswith(TIMED_OUT),
    )


def trial_from_row(row: Mapping[str, Any], measurement: Measurement) -> Trial:
    """The trial in `row` (columns of trial and problem) with its samples."""
    return Trial(
        suite=row["suite"],
        layer=row["layer"],
        problem=problem_from_row(row),
        contender=Contender(
            backend=row["backend"],
            algorithm=row["algorithm"],
            weights=row["weights"],
            config=row["config"],
            environment=_environment(row["environment"]),
            tuned=row["tuned"],
        ),
        state=TrialState(row["state"]),
        reason=row["reason"],
        purpose=row["purpose"],
        threads=row["threads"],
        library=row["library"],
        source_hash=row["source_hash"],
        max_error=row["max_error"],
        error_bound=row["error_bound"],
        relative_error=row["relative_error"],
        rms_error=row["rms_error"],
        error_limit=row["error_limit"],
        measurement=measurement,
        stages=row["stages"],
        workspace_bytes=row["workspace_bytes"],
        own_flops=row["own_flops"],
        peak_flops=row["peak_flops"],
        peak_bytes=row["peak_bytes"],
        call_bytes=row["call_bytes"],
        cold_ratio=row["cold_ratio"],
        device=row["device"] or {},
    )


def comparison_to_row(comparison: Comparison) -> Row:
    """Columns of the comparison table but its keys; what is not finite is None."""
    row = dataclasses.asdict(comparison)
    finite = {name: _finite(row[name]) for name in EFFECTS}
    return {**row, **finite, "verdict": str(comparison.verdict), "recorded_at": now()}


def comparison_from_row(row: Mapping[str, Any]) -> Comparison:
    """The comparison in `row`, whose other columns are ignored; NULL comes back as NaN."""
    fields = {field.name: row[field.name] for field in dataclasses.fields(Comparison)}
    effects = {name: math.nan if fields[name] is None else fields[name] for name in EFFECTS}
    return Comparison(**{**fields, **effects, "verdict": GateVerdict(row["verdict"])})


def sample_rows(trial_id: int, measurement: Measurement) -> list[Row]:
    """Columns of the sample table, one row a sample, in the order they were taken."""
    return [
        {"trial_id": trial_id, "position": position, **dataclasses.asdict(sample)}
        for position, sample in enumerate(measurement.samples)
    ]


def measurement_from_rows(rows: Iterable[Mapping[str, Any]]) -> Measurement:
    """The measurement whose samples are `rows`, in that order."""
    names = [field.name for field in dataclasses.fields(Sample)]
    return Measurement(tuple(Sample(**{name: row[name] for name in names}) for row in rows))


def _seconds(measurement: Measurement) -> Row:
    if not measurement:
        return dict.fromkeys(("seconds_median", "seconds_low", "seconds_high", "seconds_min"))
    summary = summarize(measurement)
    return {
        "seconds_median": summary.median,
        "seconds_low": summary.low,
        "seconds_high": summary.high,
        "seconds_min": summary.minimum,
    }


def _exact_enough(row: Mapping[str, Any]) -> bool:
    limit, error = row["error_limit"], row["relative_error"]
    return limit is None or (error is not None and error <= limit)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _environment(data: Mapping[str, Any]) -> Environment:
    variables = tuple((str(name), str(value)) for name, value in data["variables"])
    return Environment(data["python"], variables)
