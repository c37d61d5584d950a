"""The comparison of made-up trials is compared with tests/golden/side_by_side.txt and .md."""

from dataclasses import replace

import pytest
from example_trials import CONV1, CONV2, FC6, MACHINE, blas, measured, numba, trial
from test_report_table import check_golden

from gemmbench.compare.settings import Ratio
from gemmbench.stats import Effect
from gemmbench.trial import Contender, TrialState
from gemmbench_results.report.ratios import ratios_data, ratios_text
from gemmbench_results.report.side_by_side import (
    im2col_expansion,
    peak_bytes,
    side_by_side_data,
    side_by_side_text,
)

STAGES = {"im2col": 0.004, "multiply": 0.0147}


def trials():
    return [
        trial("conv1", CONV1, blas("im2col"), 0.0187, stages=STAGES, workspace_bytes=4_392_300,
              call_bytes=8192),
        trial("conv1", CONV1, numba("im2col"), 0.0151, stages=STAGES, workspace_bytes=4_392_300,
              call_bytes=0),
        trial("conv1", CONV1, Contender("fft", "fft"), 0.0052, workspace_bytes=12_345_678),
        trial("conv1", CONV1, Contender("x", "winograd"), state=TrialState.WRONG, reason="bad"),
        trial("conv2", CONV2, numba("im2col"), 0.0331),
        trial("conv2", CONV2, numba("direct"), 0.0328),
    ]  # fmt: skip


@pytest.mark.parametrize(("style", "ending"), [("table", "txt"), ("markdown", "md")])
@pytest.mark.parametrize("by", ["algorithm", "backend"])
def test_the_table_is_as_golden(by, style, ending):
    check_golden(f"side_by_side_{by}.{ending}", side_by_side_text(trials(), by, style) + "\n")


def test_stages_that_do_not_add_up_are_flagged():
    (conv1, _) = side_by_side_data(trials(), "backend", {})
    rows = {row["backend"]: row for row in conv1["rows"]}
    assert rows["blas"]["stages_fit"] is True
    assert rows["numba"]["stages_fit"] is False
    assert rows["numba"]["stage_sum_over_total"] == pytest.approx(0.0187 / 0.0151, rel=1e-3)
    assert rows["fft"]["stages_fit"] is None


def test_a_reused_layer_names_its_run():
    data = side_by_side_data(trials(), "algorithm", {"conv2": 7})
    assert [layer["reused_from_run"] for layer in data] == [None, 7]


def test_expansion_counts_the_columns_of_the_whole_batch():
    assert im2col_expansion(CONV1) == pytest.approx(363 * 3025 / (3 * 227 * 227))
    assert im2col_expansion(replace(CONV1, kernel=(1, 1), stride=(1, 1))) is None
    assert im2col_expansion(FC6) is None


def test_peak_memory_counts_what_a_call_takes_once():
    one, *_, silent = trials()
    assert peak_bytes(one) == CONV1.minimal_bytes() + 4_392_300
    assert peak_bytes(replace(one, call_bytes=10**7)) == CONV1.minimal_bytes() + 10**7
    assert peak_bytes(replace(one, workspace_bytes=None)) == CONV1.minimal_bytes() + 8192
    assert peak_bytes(silent) is None


def ratio(cold_ratio=3.0, effect=None):
    base = trial("conv1", CONV1, blas("im2col"), 0.01)
    other = replace(base, measurement=measured(0.02), cold_ratio=cold_ratio)
    return Ratio("conv1", base, other, "cold", effect or Effect(0.6931, 0.6, 0.8, 3))


def test_a_ratio_has_its_interval_and_whether_cold_was_cold():
    text = ratios_text([ratio()], "cache", MACHINE)
    assert "2.000  [1.822, 2.226]  cold (3.0)" in text
    assert "not proven (1.0)" in ratios_text([ratio(1.0)], "cache", MACHINE)
    assert "~[" in ratios_text([ratio(effect=Effect(0.7, 0.6, 0.8, 1))], "cache", MACHINE)


def test_a_setting_that_was_not_timed_has_no_ratio():
    failed = replace(ratio(), effect=None)
    (row,) = ratios_data([failed], MACHINE)
    assert (row["ratio"], row["low"], row["high"]) == (None, None, None)


def test_a_layer_in_which_nobody_took_part_says_why():
    refused = trial("conv1", CONV1, Contender("x", ""), state=TrialState.SKIPPED, reason="no way")
    (layer,) = side_by_side_data([refused], "algorithm", {})
    assert [(row["backend"], row["state"]) for row in layer["rows"]] == [("x", "SKIPPED")]
    assert "skipped: x on conv1: no way" in side_by_side_text([refused], "algorithm")
