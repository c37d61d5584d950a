"""The JSON is compared with tests/golden/run.json.

GEMMBENCH_UPDATE_GOLDEN=1 pytest writes it anew: look at the difference before it is committed.
"""

import json
from dataclasses import replace
from math import inf, nan

from example_trials import CONV1, MACHINE, blas, example_trials, numba, trial
from test_report_table import check_golden

from gemmbench.trial import RaceProtocol, TrialState
from gemmbench_results.report.as_json import run_json, run_to_data
from gemmbench_results.runs import Run

PROTOCOL = RaceProtocol(threads=2, notes=("operands rotated",))
RUN = Run(
    7, "gemmbench run alexnet", MACHINE, PROTOCOL, 0, "0.1.0", "2026-01-01T00:00:00+00:00", None, 0
)
TRIAL_KEYS = [
    "suite", "layer", "problem", "backend", "library", "algorithm", "weights", "config", "state",
    "reason", "max_error", "error_bound", "relative_error", "rms_error", "error_limit",
    "seconds", "gflops", "fraction_of_peak", "roofline", "stages",
    "workspace_bytes", "call_bytes", "cold_ratio", "threads", "tuned", "speed", "result",
]  # fmt: skip


def example_json(trials):
    return run_json(run_to_data(RUN), MACHINE, PROTOCOL, trials)


def test_json_is_as_golden():
    text = json.dumps(example_json(example_trials()), indent=1, allow_nan=False)
    check_golden("run.json", text + "\n")


def test_every_trial_has_exactly_the_promised_keys():
    for data in example_json(example_trials())["trials"]:
        assert list(data) == TRIAL_KEYS


def test_evaluations_of_a_search_are_left_to_the_store():
    races = [t for t in example_trials() if t.purpose == "race"]
    assert len(example_json(example_trials())["trials"]) == len(races)


def test_numbers_that_are_not_finite_become_null():
    odd = trial("conv1", CONV1, blas("im2col"), 0.01, max_error=inf, stages={"a": nan})
    data = example_json([odd])["trials"][0]
    assert data["max_error"] is None
    assert data["stages"] == {"a": None}


def test_a_wrong_result_has_no_seconds():
    wrong = trial("conv1", CONV1, blas("im2col"), 0.01, state=TrialState.WRONG)
    data = example_json([wrong])["trials"][0]
    assert data["seconds"] is data["gflops"] is data["fraction_of_peak"] is None


def test_a_trial_tells_its_speed_and_how_it_ended_as_the_table_does():
    given = [
        trial("conv1", CONV1, blas("im2col"), 0.02),
        trial("conv1", CONV1, numba("im2col"), 0.025),
        trial("conv1", CONV1, numba("im2col", tuned=True), 0.01),
        trial("conv1", CONV1, numba("im2col", weights="prepared"), 0.005),
        trial("conv1", CONV1, blas("gemm"), 0.01, state=TrialState.WRONG),
        trial("conv1", CONV1, blas("other"), 0.001, error_limit=1e-6, relative_error=1e-3),
        replace(trial("conv1", CONV1, blas("im2col"), 0.03), suite="vgg16"),
        replace(trial("conv1", CONV1, numba("im2col"), 0.015), suite="vgg16"),
    ]
    found = example_json(given)["trials"]
    speeds = [None if d["speed"] is None else round(d["speed"], 2) for d in found]
    assert speeds == [0.5, 0.4, 1.0, 1.0, None, 10.0, 0.5, 1.0]
    assert [data["result"] for data in found] == [
        "", "", "winner", "", "WRONG", "inexact", "", "winner",
    ]  # fmt: skip


def test_each_layer_has_its_verdict_and_who_raced_alone_has_not_won():
    found = {(v["layer"], v["weights"]): v for v in example_json(example_trials())["verdicts"]}
    assert found["conv1", "plain"]["kind"] == "winner"
    assert found["conv1", "plain"]["leaders"] == ["fft fft"]
    assert found["conv1", "plain"]["lead"] > 1
    assert found["conv2", "prepared"]["kind"] == "alone"
    assert found["conv2", "plain"]["kind"] in ("tie", "undecided", "winner")
