"""Intervals and verdicts, on constructed samples that bracket each edge."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemmbench.measurement import Measurement, Sample
from gemmbench.stats import (
    ONE_PROCESS_EFFECT,
    WINNER_EFFECT,
    compare,
    judge,
    median_interval,
    summarize,
)


def measured(*processes: list[float]) -> Measurement:
    """Seconds per call of each round, one list a process."""
    return Measurement(
        tuple(
            Sample(seconds, 1, process, round_)
            for process, rounds in enumerate(processes)
            for round_, seconds in enumerate(rounds)
        )
    )


def slower(base: Measurement, factors: list[float]) -> Measurement:
    """`base` with each process slower by its own factor."""
    return Measurement(
        tuple(
            Sample(s.seconds * factors[s.process], s.loops, s.process, s.round)
            for s in base.samples
        )
    )


BASE = measured([1.0, 1.1, 1.05, 1.2, 0.9], [1.3, 1.2, 1.25, 1.4, 1.1], [0.8, 0.9, 1.0, 0.7, 0.9])


def test_summary_of_no_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="without samples"):
        summarize(Measurement())


def test_loops_divide_the_seconds_of_a_block() -> None:
    block = Measurement((Sample(3.0, 3), Sample(6.0, 6), Sample(2.0, 2)))
    assert summarize(block).median == 1.0


def test_interval_of_one_process_is_labelled_so() -> None:
    assert summarize(measured([1.0, 1.0, 1.1])).within_process
    assert not summarize(BASE).within_process


def test_interval_over_processes_is_students_t_over_their_medians() -> None:
    summary = summarize(measured([1.0] * 5, [1.1] * 5, [1.2] * 5))
    logs = np.log([1.0, 1.1, 1.2])
    half = 4.302652729911275 * logs.std(ddof=1) / math.sqrt(3)  # t(0.975, 2 degrees of freedom)
    assert summary.median == pytest.approx(math.exp(logs.mean()))
    assert summary.low == pytest.approx(math.exp(logs.mean() - half))
    assert summary.high == pytest.approx(math.exp(logs.mean() + half))


def test_median_interval_of_ten_values_spans_the_second_to_the_ninth() -> None:
    values = np.arange(10.0)  # P(Binomial(10, 1/2) <= 1) = 1.07 % each side, <= 2 would be 5.5 %
    assert median_interval(values) == (1.0, 8.0)


def test_median_interval_of_few_values_is_all_of_them() -> None:
    assert median_interval(np.array([3.0, 1.0, 2.0])) == (1.0, 3.0)


@given(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=60))
def test_estimate_lies_within_its_interval(values: list[float]) -> None:
    summary = summarize(measured(values))
    assert summary.low <= summary.median <= summary.high
    assert summary.minimum <= summary.median


def test_rounds_pair_what_the_machine_did_to_both() -> None:
    effect = compare(BASE, slower(BASE, [1.05, 1.05, 1.05]))
    assert effect is not None
    assert effect.estimate == pytest.approx(math.log(1.05))
    assert effect.high - effect.low == pytest.approx(0, abs=1e-9)


def test_contenders_never_timed_in_one_round_are_not_compared() -> None:
    other = Measurement(tuple(Sample(1.0, 1, s.process, s.round + 100) for s in BASE.samples))
    assert compare(BASE, other) is None


def test_a_lead_just_above_one_percent_wins_and_just_below_ties() -> None:
    above, below = math.exp(WINNER_EFFECT + 1e-4), math.exp(WINNER_EFFECT - 1e-4)
    assert judge([BASE, slower(BASE, [above] * 3)]).kind == "winner"
    assert judge([BASE, slower(BASE, [below] * 3)]).kind == "tie"


def test_one_process_needs_three_percent() -> None:
    alone = measured([1.0, 1.1, 1.05, 1.2, 0.9, 1.0])
    above, below = (math.exp(ONE_PROCESS_EFFECT + d) for d in (1e-4, -1e-4))
    assert judge([alone, slower(alone, [above])]).kind == "winner"
    assert judge([alone, slower(alone, [below])]).kind == "tie"


def test_a_few_rounds_of_one_process_decide_nothing_close() -> None:
    few, enough = measured([1.0] * 5), measured([1.0] * 6)
    assert judge([few, slower(few, [1.5])]).kind == "undecided"
    assert judge([enough, slower(enough, [1.5])]).kind == "winner"
    assert judge([few, slower(few, [2.1])]).kind == "winner"


def test_the_winner_is_the_faster_wherever_it_stands() -> None:
    verdict = judge([slower(BASE, [1.1] * 3), BASE, slower(BASE, [1.2] * 3)])
    assert (verdict.kind, verdict.leaders) == ("winner", (1,))
    assert verdict.margin == pytest.approx(math.log(1.1))


def test_processes_that_disagree_widely_leave_it_undecided() -> None:
    assert judge([BASE, slower(BASE, [1.2, 0.9, 1.1])]).kind == "undecided"


def test_equal_contenders_with_process_noise_tie() -> None:
    verdict = judge([BASE, slower(BASE, [1.01, 0.99, 1.0])])
    assert (verdict.kind, set(verdict.leaders)) == ("tie", {0, 1})


def test_a_third_who_is_clearly_slower_is_no_part_of_a_tie() -> None:
    verdict = judge([BASE, slower(BASE, [1.01, 0.99, 1.0]), slower(BASE, [1.5] * 3)])
    assert (verdict.kind, set(verdict.leaders)) == ("tie", {0, 1})


def test_contenders_without_samples_take_no_part() -> None:
    assert judge([Measurement(), BASE]).leaders == (1,)
    assert judge([Measurement()]).kind == "none"


def test_equal_contenders_are_seldom_called_different() -> None:
    """Simulated races of identical contenders: drift, process effects of 0.7 %, block noise."""
    rng = np.random.default_rng(20)
    wins = 0
    for _ in range(200):
        drift = rng.normal(0, 0.05, (3, 12))
        pair = []
        for _contender in range(2):
            effect = rng.normal(0, 0.007, (3, 1))
            noise = np.abs(rng.normal(0, 0.02, (3, 12)))
            pair.append(measured(*np.exp(drift + effect + noise).tolist()))
        wins += judge(pair).kind == "winner"
    assert wins <= 10  # 95 % confidence promises 5 %
