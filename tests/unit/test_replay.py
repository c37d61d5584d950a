"""Replayed searches: what an evaluation is, and what the figures mean."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from gemmbench.recorded import RecordedSpace, load_recorded, space_of
from gemmbench.replay import Trace, replay, score, score_to_data

CONFIGS = [(a, b) for a in (1, 2, 4, 8) for b in (1, 2, 3, 4, 5)]
SECONDS = np.array([np.nan if a == 8 else 1e-3 * (1 + abs(a - 4) + abs(b - 3)) for a, b in CONFIGS])
SMALL = RecordedSpace("small", space_of(["a", "b"], CONFIGS), SECONDS)
A4000 = Path(__file__).parents[1] / "data/convmilo_A4000.csv.gz"


def test_every_evaluation_is_another_config_and_the_whole_space_is_enough() -> None:
    trace = replay(SMALL, "random", 0, 1000)
    assert len(trace.seconds) == 20
    np.testing.assert_array_equal(np.sort(trace.seconds), np.sort(SECONDS))
    assert trace.fractions(SMALL.optimum(), 1000)[-1] == 1.0


def test_each_seed_starts_elsewhere() -> None:
    first = {replay(SMALL, "exhaustive", seed, 1).seconds[0] for seed in range(12)}
    assert len(first) > 3


def test_proposals_are_timed_by_the_clock_given() -> None:
    ticks = itertools.count(0.0, 1.0)
    trace = replay(SMALL, "random", 0, 3, clock=lambda: next(ticks))
    np.testing.assert_array_equal(trace.proposals, [2.0, 1.0, 1.0])  # setting up counts once


def test_fractions_hold_the_best_so_far_and_a_failure_finds_nothing() -> None:
    trace = Trace(np.array([np.nan, 4.0, 8.0, 2.0]), np.zeros(4))
    np.testing.assert_array_equal(trace.fractions(1.0, 6), [0, 0.25, 0.25, 0.5, 0.5, 0.5])
    np.testing.assert_array_equal(trace.fractions(1.0, 2), [0, 0.25])


def test_a_search_that_never_comes_close_counts_as_the_whole_budget() -> None:
    good = Trace(np.array([2.0, 1.0, 3.0]), np.full(3, 0.001))
    bad = Trace(np.array([2.0, 2.0, np.nan]), np.full(3, 0.003))
    row = score(RecordedSpace("s", SMALL.space, np.array([1.0])), "x", [good, bad], 30)
    assert row.at == {20: 0.75}
    assert row.mean_evaluations_to_95 == (2 + 30) / 2
    assert row.reached_95 == 0.5
    assert row.ms_per_proposal == pytest.approx(2.0)
    assert row.slowest_proposal_ms == pytest.approx(3.0)
    assert score_to_data(row)["at"] == {"20": 0.75, "50": None, "100": None, "200": None}


def test_the_model_needs_far_fewer_evaluations_than_chance_on_a_real_space() -> None:
    recorded = load_recorded(A4000)
    traces = {s: [replay(recorded, s, seed, 100) for seed in range(4)] for s in ("gp", "random")}
    rows = {name: score(recorded, name, found, 100) for name, found in traces.items()}
    assert rows["gp"].at[100] > 0.93
    assert rows["gp"].at[100] > rows["random"].at[100] + 0.05
