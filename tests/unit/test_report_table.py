"""The table is compared with files in tests/golden/.

GEMMBENCH_UPDATE_GOLDEN=1 pytest writes them anew: look at the difference before it is committed.
"""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from example_trials import CONV1, blas, example_trials, example_verdicts, numba, trial

from gemmbench.ranking import rank
from gemmbench.stats import Summary, Verdict
from gemmbench.trial import Contender, TrialState
from gemmbench_results.report.render import narrow_text
from gemmbench_results.report.sentences import plain_sentences
from gemmbench_results.report.table import (
    TILES,
    TUNED,
    config_text,
    seconds_text,
    time_text,
    trial_table,
)

GOLDEN = Path(__file__).parent.parent / "golden"


def check_golden(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("GEMMBENCH_UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def table_rows(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines()[2:]]


@pytest.mark.parametrize(("style", "ending"), [("table", "txt"), ("markdown", "md")])
def test_table_text_is_as_golden(style, ending):
    table = trial_table(example_trials(), example_verdicts(), format=style)
    check_golden(f"trial_table.{ending}", table + "\n")


def test_markdown_takes_no_name_for_markup_or_the_end_of_a_cell():
    text = trial_table([trial("a|*b*", CONV1, numba("im2col"), 0.01)], {}, format="markdown")
    assert r"a\|\*b\*" in text


def test_sentences_are_as_golden():
    sentences = plain_sentences(example_trials(), example_verdicts())
    check_golden("sentences.txt", "\n".join(sentences) + "\n")


def test_no_trials_give_no_text():
    assert trial_table([], {}) == ""
    assert plain_sentences([], {}) == []


def test_wrong_result_is_never_ranked():
    wrong = trial("conv1", CONV1, blas("im2col"), 0.001, state=TrialState.WRONG, reason="bad")
    right = trial("conv1", CONV1, numba("im2col"), 0.01)
    first, second = table_rows(trial_table([wrong, right], {}))[:2]
    assert "numba" in first
    assert "1.00" in first
    assert second.split()[-1] == "WRONG"
    assert "WRONG: blas im2col on conv1: bad" in trial_table([wrong, right], {})
    assert "GFLOP" not in second
    assert " ms" not in second


def test_only_the_faster_of_default_and_tuned_is_shown():
    default = trial("conv1", CONV1, numba("im2col"), 0.010)
    tuned = trial("conv1", CONV1, numba("im2col", tuned=True), 0.011)
    first, blank, *tiles = table_rows(trial_table([default, tuned], {}))
    assert ("numba im2col" in first, "*" in first, blank) == (True, False, "")
    assert tiles == [TILES, "conv1, numba im2col: mr=6 nv=2 kc=256 (default)"]


def test_the_tile_sizes_of_who_leads_stand_below_and_a_star_marks_what_was_found():
    tuned = trial("conv1", CONV1, numba("im2col", tuned=True), 0.01)
    slower = trial("conv1", CONV1, numba("direct"), 0.02)
    text = trial_table([tuned, slower], {"conv1": [Verdict("winner", (0,))]})
    assert " numba im2col * " in text
    assert f"{TUNED}\n\n{TILES}\nconv1, numba im2col: mr=8 nv=3 kc=320" in text
    assert "conv1, numba direct" not in text


def test_a_table_fits_into_a_terminal():
    widest = max(len(line) for line in trial_table(example_trials(), {}).splitlines()[:12])
    assert widest <= 130


@pytest.mark.parametrize("style", ["table", "markdown"])
def test_no_row_is_no_table(style):
    assert narrow_text({"a": "left"}, [], style) == ""


def test_a_wrong_tuned_config_is_shown_beside_its_default():
    default = trial("conv1", CONV1, numba("im2col"), 0.010)
    tuned = trial("conv1", CONV1, numba("im2col", tuned=True), state=TrialState.WRONG)
    rows = table_rows(trial_table([default, tuned], {}))
    assert ["numba" in row for row in rows[:2]] == [True, True]


def test_a_contender_that_ties_only_with_its_own_default_has_won():
    trials = [trial("conv1", CONV1, numba("im2col", tuned), 0.01) for tuned in (False, True)]
    trials.append(trial("conv1", CONV1, blas("im2col"), 0.02))
    rows = table_rows(trial_table(trials, {"conv1": [Verdict("tie", (0, 1))]}))
    assert rows[0].split()[-1] == "winner"
    assert "winner" not in rows[1]


def test_who_raced_alone_has_not_won():
    trials = [
        trial("conv1", CONV1, numba("im2col"), 0.01),
        trial("conv1", CONV1, numba("im2col", weights="prepared"), 0.01),
    ]
    verdicts = {"conv1": [Verdict("winner", (0,)), Verdict("winner", (1,))]}
    assert "winner" not in trial_table(trials, verdicts)
    assert "fastest" not in " ".join(plain_sentences(trials, verdicts))


def test_a_single_leader_that_is_no_winner_is_not_undecided_between_one():
    trials = [trial("conv1", CONV1, c("im2col"), s) for c, s in ((blas, 1e-6), (numba, 0.02))]
    assert plain_sentences(trials, {"conv1": rank(trials)})[0] == (
        "blas im2col leads on conv1, faster than the peak allows and so not believed."
    )


def test_each_kind_of_weights_has_its_winner():
    contenders = [
        c(algorithm, weights=weights)
        for weights in ("plain", "prepared")
        for c, algorithm in ((blas, "im2col"), (numba, "im2col"))
    ]
    trials = [trial("conv1", CONV1, c, 0.01 + i / 1000) for i, c in enumerate(contenders)]
    verdicts = {"conv1": [Verdict("winner", (0,)), Verdict("winner", (2,))]}
    assert plain_sentences(trials, verdicts)[0] == (
        "blas im2col is fastest on conv1; blas im2col prepared is fastest on conv1."
    )


def test_prepared_weights_are_ranked_only_against_prepared():
    plain = trial("conv1", CONV1, numba("im2col"), 0.02)
    prepared = trial("conv1", CONV1, numba("im2col", weights="prepared"), 0.01)
    rows = table_rows(trial_table([plain, prepared], {}))
    assert all(" 1.00 " in row for row in rows[:2])


@pytest.mark.parametrize(
    ("algorithm", "fields", "flagged"),
    [
        ("im2col", {}, True),
        ("im2col", {"peak_flops": None}, False),
        ("fft", {}, False),
        ("fft", {"own_flops": CONV1.flops()}, True),
        ("im2col", {"own_flops": CONV1.flops() // 10}, False),
    ],
)
def test_faster_than_the_peak_is_flagged(algorithm, fields, flagged):
    seconds = CONV1.flops() / (1.11 * 210e9)
    table = trial_table([trial("conv1", CONV1, blas(algorithm), seconds, **fields)], {})
    assert (" !" in table) is flagged
    assert ("do not believe it" in table) is flagged


def test_within_ten_percent_of_the_peak_is_believed():
    seconds = CONV1.flops() / (1.09 * 210e9)
    assert "!" not in trial_table([trial("conv1", CONV1, blas("im2col"), seconds)], {})


def test_columns_that_nothing_fills_are_left_out():
    bare = trial("conv1", CONV1, blas("im2col"), 0.01, peak_flops=None, max_error=None)
    header = trial_table([bare], {}).splitlines()[0]
    assert "time" in header
    assert not {"% of peak", "error/bound", "result", "tile sizes"} & set(header.split("  "))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (12.3456, "12.3 s"),
        (0.99951, "1.00 s"),
        (0.9994, "999 ms"),
        (0.0071249, "7.12 ms"),
        (0.0099996, "10.0 ms"),
        (0.00012345, "123 µs"),
        (4.56e-8, "45.6 ns"),
        (1e-12, "0.00 ns"),
        (12345.6, "12346 s"),
    ],
)
def test_seconds_have_three_digits_and_a_unit(seconds, text):
    assert seconds_text(seconds) == text


def test_an_interval_shows_its_larger_half_and_how_it_was_come_by():
    summary = Summary(0.010, 0.0099, 0.0102, 0.0098, 30, 3)
    assert time_text(summary) == "10.0 ms ±2.0 %"
    assert time_text(replace(summary, processes=1)) == "10.0 ms ~2.0 %"


def test_config_text_leaves_out_what_other_columns_say():
    config = {"algorithm": "im2col", "weights": "plain", "mr": 8, "pack": True}
    assert config_text(config, tuned=True) == "mr=8 pack=true"
    assert config_text({"algorithm": "im2col"}, tuned=False) == ""


def test_equal_gains_below_the_threshold_are_not_called_a_gain():
    trials = [
        trial("conv1", CONV1, numba("im2col"), 0.0101),
        trial("conv1", CONV1, numba("im2col", tuned=True), 0.0100),
    ]
    assert "Tuning gained numba less than 3 % on any layer." in plain_sentences(trials, {})


def test_suggested_command_names_the_suite_as_the_user_typed_it():
    trials = [trial("conv1", CONV1, c, 0.01) for c in (blas("im2col"), numba("im2col"))]
    verdicts = {"conv1": [Verdict("undecided", (0, 1))]}
    last = plain_sentences(trials, verdicts, suite="my suites/net.yaml")[-1]
    assert last.endswith("gemmbench run 'my suites/net.yaml' --only conv1 --budget 300")


def test_errors_stand_beside_the_time_where_they_are_limited():
    errors = {"relative_error": 1.24e-6, "rms_error": 2e-7}
    for limit, shown in ((1e-5, True), (None, False)):
        exact = trial("conv1", CONV1, blas("im2col"), 0.01, error_limit=limit, **errors)
        assert ("1.2e-06/2.0e-07" in trial_table([exact], {})) is shown


def test_who_is_too_inexact_is_fast_and_no_winner():
    limits = {"error_limit": 1e-5, "rms_error": 1e-6}
    fast = trial(
        "conv1", CONV1, Contender("numba", "winograd"), 0.005, relative_error=2e-5, **limits
    )
    exact = trial("conv1", CONV1, blas("im2col"), 0.01, relative_error=1e-6, **limits)
    slower = trial("conv1", CONV1, numba("im2col"), 0.02, relative_error=1e-6, **limits)
    trials = [fast, exact, slower]
    text = trial_table(trials, {"conv1": rank(trials)})
    first, second, third = table_rows(text)[:3]
    assert "inexact" in first
    assert "2.00" in first
    assert second.split()[-1] == "winner"
    assert "0.50" in third
    assert "--max-error" in text


def test_an_inexact_tuned_config_is_not_praised():
    limits = {"error_limit": 1e-5, "rms_error": 1e-6}
    default = trial("conv1", CONV1, numba("winograd"), 0.01, relative_error=1e-6, **limits)
    for error, praised in [(1e-6, True), (2e-5, False)]:
        tuned = trial(
            "conv1", CONV1, numba("winograd", True), 0.005, relative_error=error, **limits
        )
        assert ("Tuning made" in " ".join(plain_sentences([tuned, default], {}))) is praised


def test_the_exact_config_stands_for_a_contender_whose_faster_one_is_inexact():
    limits = {"error_limit": 1e-5, "rms_error": 1e-6}
    tuned = trial("conv1", CONV1, numba("winograd", True), 0.005, relative_error=2e-5, **limits)
    default = trial("conv1", CONV1, numba("winograd"), 0.01, relative_error=1e-6, **limits)
    text = trial_table([tuned, default], {})
    assert "(default)" in text
    assert "inexact" not in text


def test_the_command_that_is_suggested_races_the_same_again():
    trials, verdicts = example_trials(), example_verdicts()
    last = plain_sentences(trials, verdicts, options=" --weights both --backend ./k.py:Mine")[-1]
    assert " --weights both --backend ./k.py:Mine --only " in last
