"""What is said of a winner against the default: a figure, a tie, or that it is open."""

from dataclasses import replace

from gemmbench.measurement import Measurement, Sample
from gemmbench.problem import Gemm
from gemmbench.trial import Contender, Trial, TrialState
from gemmbench_results.report.gains import gain_sentences


def trial(pace: float, config: dict, tuned: bool, jitter: float = 0.001, **changes) -> Trial:
    samples = tuple(
        Sample(pace * (1 + jitter * (process + round_ % 3)), 1, process, round_)
        for process in range(3)
        for round_ in range(8)
    )
    return Trial(
        suite="s",
        layer=changes.pop("layer", "l"),
        problem=Gemm(8, 8, 8),
        contender=Contender("numba", "gemm", config=config, tuned=tuned),
        state=changes.pop("state", TrialState.COMPLETE),
        measurement=Measurement(samples),
    )


DEFAULT = trial(1.05, {"mr": 4}, tuned=False)


def test_a_winner_is_named_with_its_lead_and_how_sure_it_is() -> None:
    (sentence,) = gain_sentences([DEFAULT, trial(1.0, {"mr": 8}, tuned=True)], ())
    assert sentence == (
        "l: numba gemm: mr=8 beats the default mr=4 by 5.0 % ± 0.0 % (98 % confidence)."
    )


def test_level_configs_are_a_tie() -> None:
    (sentence,) = gain_sentences([DEFAULT, trial(1.05, {"mr": 8}, tuned=True, jitter=0.0015)], ())
    assert " and " in sentence
    assert "tie (" in sentence


def test_noise_is_undecided() -> None:
    (sentence,) = gain_sentences([DEFAULT, trial(1.0, {"mr": 8}, tuned=True, jitter=0.2)], ())
    assert "it is undecided" in sentence


def test_the_incumbent_is_compared_too() -> None:
    older = trial(1.03, {"mr": 6}, tuned=True)
    (sentence,) = gain_sentences([DEFAULT, older, trial(1.0, {"mr": 8}, tuned=True)], ())
    assert "mr=8 beats mr=6 by 3.0 %" in sentence
    assert "mr=8 beats the default mr=4 by 5.0 %" in sentence


def test_a_default_that_nothing_beat_is_said_to_be_the_best() -> None:
    searched = {("s", "l", "numba gemm")}
    (sentence,) = gain_sentences([trial(1.0, {"mr": 4}, tuned=False)], searched)
    assert sentence == "l: numba gemm: the default, mr=4, is the best that was found."


def test_what_was_not_tuned_or_not_right_is_not_mentioned() -> None:
    wrong = trial(0.5, {"mr": 2}, tuned=True, state=TrialState.WRONG)
    assert gain_sentences([DEFAULT], ()) == []
    assert gain_sentences([wrong, DEFAULT], ()) == []
    assert gain_sentences([], ()) == []


def test_a_config_less_exact_than_was_asked_for_gains_nothing() -> None:
    limits = {"error_limit": 1e-5}
    default = replace(DEFAULT, relative_error=1e-6, **limits)
    inexact = replace(trial(1.0, {"mr": 8}, tuned=True), relative_error=1e-3, **limits)
    searched = {("s", "l", "numba gemm")}
    (sentence,) = gain_sentences([default, inexact], searched)
    assert sentence == "l: numba gemm: the default, mr=4, is the best that was found."
    swapped = [replace(default, relative_error=1e-3), replace(inexact, relative_error=1e-6)]
    (sentence,) = gain_sentences(swapped, searched)
    assert sentence == "l: numba gemm: mr=8 is the best that was found."


def test_a_rival_that_left_early_is_no_measured_lead() -> None:
    few = Measurement(DEFAULT.measurement.samples[:2])
    slow = replace(DEFAULT, measurement=few)
    (sentence,) = gain_sentences([slow, trial(0.2, {"mr": 8}, tuned=True)], ())
    assert sentence.startswith("l: numba gemm: the default mr=4 left the race early, about ")
    assert sentence.endswith(" % slower than mr=8.")
    assert "inf" not in sentence


def test_where_the_find_left_early_the_default_is_said_to_stay() -> None:
    found = trial(2.0, {"mr": 8}, tuned=True)
    found = replace(found, measurement=Measurement(found.measurement.samples[:2]))
    (sentence,) = gain_sentences([DEFAULT, found], ())
    assert sentence.startswith("l: numba gemm: mr=8 left the race early, about ")
    assert sentence.endswith(" % slower than the default mr=4, which stays.")


def test_one_process_is_not_said_to_be_more() -> None:
    one = [
        replace(each, measurement=Measurement(each.measurement.samples[:8]))
        for each in (DEFAULT, trial(1.0, {"mr": 8}, tuned=True))
    ]
    (sentence,) = gain_sentences(one, ())
    assert "% confidence" not in sentence
