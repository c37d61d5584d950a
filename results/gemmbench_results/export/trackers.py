"""A run in the JSON of other benchmark trackers. All of them are told times per call."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from gemmbench.measurement import Measurement
from gemmbench_results.export.entries import Entry
from gemmbench_results.report.escape import one_line
from gemmbench_results.runs import Run

NANOSECONDS = 1e9
GIGA = 1e9


def google_benchmark(run: Run, found: Sequence[Entry]) -> dict[str, Any]:
    """JSON of Google Benchmark, schema version 1: one repetition a fresh process.

    Not one a block: its compare.py tests repetitions against each other, and blocks of one
    process agree far too well for that. `cpu_time` is required and repeats `real_time`; clock
    rate and host name are not kept. Source: google/benchmark, src/json_reporter.cc.
    """
    machine = run.machine
    caches = [
        {"type": kind, "level": level, "size": size, "num_sharing": 1}
        for kind, level, size in (
            ("Data", 1, machine.l1d_bytes),
            ("Unified", 2, machine.l2_bytes),
            ("Unified", 3, machine.l3_bytes),
        )
        if size
    ]
    context = {
        "date": run.started_at,
        "host_name": "",
        "executable": run.command,
        "num_cpus": machine.cores,
        "mhz_per_cpu": 0,
        "cpu_scaling_enabled": False,
        "caches": caches,
        "load_avg": [],
        "library_version": f"gemmbench {run.gemmbench_version}",
        "library_build_type": "release",
        "json_schema_version": 1,
        "cpu_model": machine.cpu,
    }
    benchmarks = [row for family, entry in enumerate(found) for row in _repetitions(family, entry)]
    return {"context": context, "benchmarks": benchmarks}


def bmf(found: Sequence[Entry]) -> dict[str, Any]:
    """Bencher Metric Format: latency in nanoseconds with the ends of its interval.

    `fraction-of-peak` drifts less than the time, because the peak was raced in the same rounds.
    Source: bencher.dev/docs/reference/bencher-metric-format.
    """
    data: dict[str, Any] = {}
    for entry in found:
        summary = entry.summary
        metrics = {
            "latency": {
                "value": NANOSECONDS * summary.median,
                "lower_value": NANOSECONDS * summary.low,
                "upper_value": NANOSECONDS * summary.high,
            }
        }
        fraction = entry.fraction_of_peak()
        if fraction is not None:
            metrics["fraction-of-peak"] = {"value": fraction}
        data[entry.name] = metrics
    return data


def github_action_benchmark(run: Run, found: Sequence[Entry]) -> list[dict[str, Any]]:
    """What github-action-benchmark reads as `customSmallerIsBetter`.

    Source: benchmark-action/github-action-benchmark, BenchmarkResult in src/extract.ts.
    """
    rows = []
    for entry in found:
        summary = entry.summary
        half = NANOSECONDS * max(summary.high - summary.median, summary.median - summary.low)
        extra = {
            "library": entry.trial.library,
            "config": entry.config(),
            "processes": summary.processes,
            "machine": run.machine.key(),
        }
        rows.append(
            {
                "name": entry.name,
                "unit": "ns",
                "value": NANOSECONDS * summary.median,
                "range": f"± {half:.6g}",
                "extra": "\n".join(f"{name}: {value}" for name, value in extra.items()),
            }
        )
    return rows


def pyperf(run: Run, found: Sequence[Entry]) -> dict[str, Any]:
    """JSON of pyperf, format 1.0: a benchmark an entry, a run a fresh process, a value a block.

    Source: pyperf 2.11, `_JSON_VERSION` and `BenchmarkSuite._json_load` in _bench.py.
    """
    machine = run.machine
    metadata = {
        "unit": "second",
        "cpu_model_name": machine.cpu,
        "cpu_count": machine.cores,
        "platform": machine.system,
        "gemmbench_version": run.gemmbench_version,
        "gemmbench_run": run.number,
        "machine_key": machine.key(),
    }
    return {
        "version": "1.0",
        "metadata": _texts(metadata),
        "benchmarks": [_pyperf_benchmark(run, entry) for entry in found],
    }


def _repetitions(family: int, entry: Entry) -> list[dict[str, Any]]:
    trial, medians = entry.trial, entry.processes
    processes = trial.measurement.processes()
    return [
        {
            "name": entry.name,
            "family_index": family,
            "per_family_instance_index": 0,
            "run_name": entry.name,
            "run_type": "iteration",
            "repetitions": len(medians),
            "repetition_index": index,
            "threads": trial.threads,
            "iterations": _calls(trial.measurement, process),
            "real_time": NANOSECONDS * seconds,
            "cpu_time": NANOSECONDS * seconds,
            "time_unit": "ns",
            "GFLOP/s": trial.problem.flops() / seconds / GIGA,
            "label": f"{trial.library} {entry.config()}".strip(),
        }
        for index, (process, seconds) in enumerate(zip(processes, medians, strict=True))
    ]


def _calls(measurement: Measurement, process: int) -> int:
    return sum(sample.loops for sample in measurement.samples if sample.process == process)


def _pyperf_benchmark(run: Run, entry: Entry) -> dict[str, Any]:
    trial = entry.trial
    metadata = {
        "name": entry.name,
        "library": trial.library,
        "config": entry.config(),
        "shape": str(trial.problem.gemm()),
        "dtype": trial.problem.dtype,
        "threads": trial.threads,
        "source_hash": trial.source_hash,
    }
    started = datetime.fromisoformat(run.started_at).replace(tzinfo=None).isoformat(" ")
    runs = []
    for process in trial.measurement.processes():
        own = [sample for sample in trial.measurement.samples if sample.process == process]
        runs.append(
            {
                # The first block of a process may have fewer calls; the fewest understate how
                # long a block was, so that pyperf's advice errs on the safe side.
                "metadata": {"loops": min(sample.loops for sample in own), "date": started},
                "values": [sample.seconds / sample.loops for sample in own],
            }
        )
    return {"metadata": _texts(metadata), "runs": runs}


def _texts(metadata: dict[str, Any]) -> dict[str, Any]:
    """`metadata` as pyperf takes it: texts on one line, none of them empty."""
    clean = {k: one_line(v) if isinstance(v, str) else v for k, v in metadata.items()}
    return {name: value for name, value in clean.items() if value != ""}
