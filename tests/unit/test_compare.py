"""What compare decides, on made-up trials; tests/cli/test_compare_command.py runs the race."""

from dataclasses import replace

import pytest
from example_trials import CONV1, MACHINE, blas, measured, numba, trial

from gemmbench.compare.reuse import reusable
from gemmbench.compare.settings import Ratio, coldness, settings_of
from gemmbench.compare.side_by_side import convolutions, standing_for
from gemmbench.compare.sweeping import ways_of, winning
from gemmbench.errors import GemmbenchError
from gemmbench.problem import Gemm
from gemmbench.run_options import RunOptions
from gemmbench.suite import Layer, Suite
from gemmbench.sweep import Axis, make_grid
from gemmbench.trial import Contender, Environment, RaceProtocol, TrialState


def timed(contender, seconds, **fields):
    return trial("conv1", CONV1, contender, seconds, source_hash="h", **fields)


SLOW = timed(blas("im2col"), 0.02)
FAST = timed(numba("im2col"), 0.01)
FFT = timed(Contender("fft", "fft"), 0.005)
BROKEN = trial("conv1", CONV1, Contender("x", "winograd"), state=TrialState.FAILED, reason="no")


def test_the_fastest_stands_for_its_algorithm_and_for_its_backend():
    both = timed(numba("direct"), 0.03)
    trials = [SLOW, FAST, FFT, both]
    assert standing_for(trials, "algorithm") == [FAST, FFT, both]
    assert standing_for(trials, "backend") == [SLOW, FAST, FFT]
    assert standing_for(trials, "contender") == trials


def test_a_declined_algorithm_is_told_only_where_nobody_has_it_with_any_weights():
    prepared = timed(numba("direct", weights="prepared"), 0.001)
    declined = trial("conv1", CONV1, numba("fft"), state=TrialState.SKIPPED, reason="no")
    assert standing_for([prepared, declined], "algorithm") == [prepared, declined]
    assert standing_for([prepared, declined], "backend") == [prepared]
    elsewhere = timed(Contender("fft", "fft", "prepared"), 0.002)
    assert standing_for([prepared, declined, elsewhere], "algorithm") == [prepared, elsewhere]


def test_plain_and_prepared_weights_stand_apart():
    prepared = timed(numba("im2col", weights="prepared"), 0.001)
    assert standing_for([FAST, prepared], "algorithm") == [FAST, prepared]


def test_a_broken_algorithm_stands_only_where_no_other_backend_has_it():
    assert standing_for([FAST, BROKEN], "algorithm") == [FAST, BROKEN]
    working = timed(numba("winograd"), 0.01)
    assert standing_for([working, BROKEN], "algorithm") == [working]


def test_who_took_no_part_stands_where_nobody_else_did():
    refused = trial("conv1", CONV1, Contender("x", ""), state=TrialState.SKIPPED, reason="no")
    assert standing_for([refused], "algorithm") == [refused]
    assert standing_for([FAST, refused], "algorithm") == [FAST]


def test_one_that_may_win_stands_before_a_faster_one_that_may_not():
    inexact = timed(blas("im2col"), 0.001, error_limit=1e-6, relative_error=1e-3)
    exact = timed(numba("im2col"), 0.01, error_limit=1e-6, relative_error=1e-7)
    assert standing_for([inexact, exact], "algorithm") == [exact]


def test_two_backends_of_one_algorithm_that_tie_make_it_win():
    level = timed(blas("im2col"), 0.01)
    assert winning([FAST, level, timed(Contender("fft", "fft"), 0.1)], ["plain"]) == "im2col"


def test_where_algorithms_tie_or_nothing_was_timed_none_wins():
    assert winning([FAST, timed(Contender("fft", "fft"), 0.01)], ["plain"]) == ""
    assert winning([BROKEN], ["plain"]) == ""


def test_each_kind_of_weights_has_its_own_winner():
    prepared = timed(Contender("fft", "fft", "prepared"), 0.001)
    assert winning([FAST, SLOW, prepared], ["plain", "prepared"]) == "im2col/fft"
    assert winning([FAST, SLOW], ["plain", "prepared"]) == "im2col/none"


OFFERED = frozenset({("numba", "im2col", "plain", "h"), ("fft", "fft", "plain", "h")})


def test_a_race_of_all_that_is_offered_from_the_same_sources_is_reused():
    assert reusable([(7, [FAST, FFT, SLOW])], OFFERED, {}) == (7, [FAST, FFT])


@pytest.mark.parametrize(
    "race",
    [[FAST], [FAST, replace(FFT, source_hash="changed")], [FAST, replace(FFT, state=BROKEN.state)]],
)
def test_a_race_that_lacks_something_is_not_reused(race):
    assert reusable([(7, race)], OFFERED, {}) is None
    assert reusable([(7, race), (3, [FAST, FFT])], OFFERED, {}) == (3, [FAST, FFT])


WINNER = timed(Contender("numba", "im2col", config={"mr": 6}, tuned=True), 0.008)
IM2COL = ("numba", "im2col", "plain", "h")


def test_a_race_without_the_stored_winner_is_not_reused_once_a_search_has_found_one():
    found = {IM2COL: {"mr": 6}}
    assert reusable([(7, [FAST, FFT])], OFFERED, found) is None
    assert reusable([(7, [FAST, WINNER, FFT])], OFFERED, found) == (7, [FAST, WINNER, FFT])


def test_where_defaults_alone_are_asked_for_tuned_configs_are_not_taken():
    assert reusable([(7, [FAST, WINNER, FFT])], OFFERED, None) == (7, [FAST, FFT])
    assert reusable([(7, [WINNER, FFT])], OFFERED, None) is None


def test_a_batch_lowered_as_a_whole_or_another_environment_is_another_race():
    whole = timed(Contender("numba", "im2col", config={"lowering": "whole"}), 0.01)
    elsewhere = timed(
        replace(numba("im2col"), environment=Environment(variables=(("A", "1"),))), 0.01
    )
    for other in (whole, elsewhere):
        assert reusable([(7, [other, FFT])], OFFERED, {}) is None


def test_nothing_offered_reuses_nothing():
    assert reusable([(7, [FAST])], frozenset(), {}) is None


def test_what_can_be_raced_is_asked_of_every_point():
    grid = make_grid(CONV1, [Axis("stride", (1, 2))])
    options = RunOptions(backends=("fft", "blas"), algorithms=("fft", "fft-full"))
    assert ways_of(grid, options, RaceProtocol(threads=1)) == {
        (1,): {"fft fft"},
        (2,): {"fft fft", "fft fft-full"},
    }


def test_a_suite_without_convolutions_is_refused():
    layers = (Layer("g", Gemm(2, 3, 4), "s"), Layer("c", CONV1, "s"))
    suite = Suite("mixed", "d", "s", layers, "mixed.yaml")
    assert [layer.name for layer in convolutions(suite).layers] == ["c"]
    with pytest.raises(GemmbenchError, match="no convolution"):
        convolutions(replace(suite, layers=layers[:1]))


def test_settings_differ_from_the_protocol_in_one_thing_only():
    protocol = RaceProtocol(threads=2)
    fills = settings_of("fill", protocol, 100)
    assert list(fills) == ["uniform", "zeros", "integers", "denormal"]
    assert fills["zeros"] == replace(protocol, fill="zeros")
    caches = settings_of("cache", protocol, 100)
    assert caches["hot"] == protocol
    assert caches["cold"] == replace(protocol, cache="cold", cold_bytes=100)


@pytest.mark.parametrize(
    ("ratio", "l3", "found"),
    [
        (3.0, 2**25, "cold"), (1.0, 2**25, "not proven"), (1.0, 0, "larger than the caches"),
        (None, 2**25, "unknown"),
    ],
)  # fmt: skip
def test_cold_is_only_called_cold_where_reading_was_slower(ratio, l3, found):
    cold = replace(FAST, cold_ratio=ratio, measurement=measured(0.02))
    machine = replace(MACHINE, l3_bytes=l3)
    assert coldness(Ratio("conv1", FAST, cold, "cold", None), machine, 1.5) == found
