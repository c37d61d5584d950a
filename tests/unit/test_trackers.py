"""What trackers are told is read back by their own programs where PyPI has them."""

import json
import shutil
import subprocess
from dataclasses import replace
from math import isfinite
from pathlib import Path
from xml.etree import ElementTree

import pytest
from example_trials import MACHINE, example_trials

from gemmbench.stats import process_medians
from gemmbench.trial import RaceProtocol, TrialState
from gemmbench_results.export import trackers
from gemmbench_results.export.entries import entries
from gemmbench_results.export.junit import junit
from gemmbench_results.export.otava import otava_config, otava_csv, otava_table
from gemmbench_results.history import read_history
from gemmbench_results.runs import Run
from gemmbench_results.store import open_store

STARTED = "2026-01-02T03:04:05.678901+00:00"
RUN = Run(7, "gemmbench run alexnet", MACHINE, RaceProtocol(), 0, "0.1.0", STARTED, None, None)
ENTRIES = entries(example_trials())
NAMES = [entry.name for entry in ENTRIES]


def test_each_contender_is_one_entry_its_fastest_config_under_a_name_of_its_own():
    assert len(set(NAMES)) == len(NAMES)
    assert NAMES[:3] == ["alexnet/conv1/blas im2col", "alexnet/conv1/numba im2col",
                         "alexnet/conv1/fft fft"]  # fmt: skip
    assert ENTRIES[1].trial.contender.tuned
    assert "alexnet/conv2/numba im2col prepared" in NAMES
    assert "alexnet/fc6/blas gemm (OMP=2)" in NAMES
    assert all(entry.trial.state is TrialState.COMPLETE for entry in ENTRIES)


def test_who_is_too_inexact_to_win_is_tracked_all_the_same():
    limited = [replace(one, error_limit=1e-9, relative_error=1e-3) for one in example_trials()]
    assert [entry.name for entry in entries(limited)] == NAMES


def test_pyperf_reads_every_value_of_every_process_back(tmp_path: Path):
    pyperf = pytest.importorskip("pyperf", reason="pyperf is not installed")
    path = tmp_path / "run.json"
    path.write_text(json.dumps(trackers.pyperf(RUN, ENTRIES)))
    suite = pyperf.BenchmarkSuite.load(str(path))
    assert suite.get_benchmark_names() == NAMES
    for benchmark, entry in zip(suite.get_benchmarks(), ENTRIES, strict=True):
        calls = [float(x) for x in entry.trial.measurement.seconds_per_call()]
        assert list(benchmark.get_values()) == calls
        assert len(benchmark.get_runs()) == len(entry.processes)
        assert benchmark.get_metadata()["cpu_model_name"] == MACHINE.cpu
        assert benchmark.get_dates()[0].isoformat(" ") == "2026-01-02 03:04:05.678901"


def test_google_benchmark_gets_one_repetition_a_process():
    data = json.loads(json.dumps(trackers.google_benchmark(RUN, ENTRIES), allow_nan=False))
    assert data["context"]["json_schema_version"] == 1
    first = [row for row in data["benchmarks"] if row["name"] == NAMES[0]]
    medians = process_medians(ENTRIES[0].trial.measurement)
    assert [row["real_time"] for row in first] == pytest.approx([1e9 * x for x in medians])
    assert [row["repetition_index"] for row in first] == [0, 1, 2]
    required = {"name", "run_name", "run_type", "repetitions", "repetition_index", "threads",
                "iterations", "real_time", "cpu_time", "time_unit"}  # fmt: skip
    assert all(required <= set(row) for row in data["benchmarks"])
    assert "host_name" in data["context"]
    assert not data["context"]["host_name"]


def test_bmf_has_latency_in_nanoseconds_within_its_interval():
    data = json.loads(json.dumps(trackers.bmf(ENTRIES), allow_nan=False))
    assert list(data) == NAMES
    for name, metrics in data.items():
        latency = metrics["latency"]
        assert latency["lower_value"] <= latency["value"] <= latency["upper_value"]
        assert len(name) <= 1024
        assert set(metrics) <= {"latency", "fraction-of-peak"}
    assert data[NAMES[0]]["latency"]["value"] == pytest.approx(0.0187e9, rel=1e-3)


def test_github_action_benchmark_gets_names_units_and_numbers():
    rows = json.loads(json.dumps(trackers.github_action_benchmark(RUN, ENTRIES), allow_nan=False))
    assert [row["name"] for row in rows] == NAMES
    assert all(isfinite(row["value"]) and row["unit"] == "ns" for row in rows)
    assert all(row["range"].startswith("± ") for row in rows)


def test_junit_says_which_answers_were_wrong_which_broke_and_who_declined():
    root = ElementTree.fromstring(junit(example_trials()).encode())  # noqa: S314  our own text
    (suite,) = root
    counts = [suite.get(name) for name in ("tests", "failures", "errors", "skipped")]
    assert counts == ["13", "1", "1", "1"]
    kinds = {child.tag: case.get("name") for case in suite for child in case}
    assert kinds == {
        "failure": "conv1 ./k.py:Quick direct",
        "error": "conv2 aborts direct",
        "skipped": "fc6 fft fft",
    }


def test_apache_otava_finds_the_step_in_the_csv(tmp_path: Path):
    """Otava pins NumPy, so it is no dependency: put `otava` on the PATH to run this."""
    otava = shutil.which("otava")
    if otava is None:
        pytest.skip("otava is not on the PATH: python -m venv o && o/bin/pip install apache-otava")
    from contract.test_history import drifting

    with open_store(tmp_path / "results.db") as store:
        drifting(store, 10)
        drifting(store, 10, step_at=0)
        table = otava_table(read_history(store))
    (tmp_path / "gemmbench.csv").write_text(otava_csv(table))
    (tmp_path / "otava.yaml").write_text(otava_config(table))
    done = subprocess.run(
        [otava, "analyze", "--config-file", "otava.yaml", "--output", "json", "gemmbench"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout[done.stdout.index("{") :])["gemmbench"]
    assert [(change["metric"], one["attributes"]["run"]) for one in found for change in
            one["changes"]] == [("tiny/fc/numba gemm", "11")]  # fmt: skip
