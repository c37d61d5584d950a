"""A few configs for many layers."""

import itertools
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemmbench.problem import Gemm
from gemmbench.trial import Evaluation
from gemmbench.tune import portfolio
from gemmbench.tune.portfolio import choose, leaders

PROBLEMS = [Gemm(8, 8, n) for n in (1, 2, 3)]


def evaluations(table):
    """One row a config, one column a problem; None failed, 0 was not measured."""
    return [
        Evaluation(PROBLEMS[at], {"mr": mr}, seconds, "x", "m", here=True)
        for mr, row in enumerate(table)
        for at, seconds in enumerate(row)
        if seconds != 0
    ]


TABLE = [[1.0, 4.0, 9.0], [3.0, 2.0, 9.0], [2.0, 3.0, 3.0], [None, 0, 3.3]]


def test_one_config_is_the_best_compromise_and_three_are_each_layers_own() -> None:
    one = choose(evaluations(TABLE), PROBLEMS, 1)
    assert one is not None
    assert one.configs == ({"mr": 2},)
    assert one.slowdowns == pytest.approx((2.0, 1.5, 1.0))
    assert one.mean_slowdown() == pytest.approx(3 ** (1 / 3))
    three = choose(evaluations(TABLE), PROBLEMS, 3)
    assert three is not None
    assert three.slowdowns == pytest.approx((1.0, 1.0, 1.0))
    assert [three.configs[i]["mr"] for i in three.serves] == [0, 1, 2]


def test_a_config_serves_only_where_it_was_measured_and_right() -> None:
    found = choose(evaluations([[1.0, 0, 0], [None, 2.0, 2.0]]), PROBLEMS, 1)
    assert found is not None
    assert found.configs == ({"mr": 1},), "it serves two layers, the other one"
    assert found.slowdowns[0] == inf


def test_a_layer_never_measured_makes_no_portfolio() -> None:
    assert choose(evaluations([[1.0, 2.0, 0]]), PROBLEMS, 1) is None
    assert choose([], PROBLEMS, 2) is None


def test_the_leaders_are_each_layers_fastest_few() -> None:
    assert leaders(evaluations(TABLE), PROBLEMS[:1]) == [{"mr": 0}, {"mr": 2}, {"mr": 1}]
    assert len(leaders(evaluations(TABLE), PROBLEMS)) == 4


@given(
    st.lists(st.lists(st.floats(0.1, 10), min_size=3, max_size=3), min_size=1, max_size=7),
    st.integers(1, 3),
)
def test_no_other_choice_is_better_and_more_configs_are_never_worse(table, count) -> None:
    found = choose(evaluations(table), PROBLEMS, count)
    assert found is not None
    for rows in itertools.combinations(table, min(count, len(table))):
        best = [min(column) for column in zip(*table, strict=True)]
        product = 1.0
        for column, least in zip(zip(*rows, strict=True), best, strict=True):
            product *= min(column) / least
        assert found.mean_slowdown() <= product ** (1 / 3) * (1 + 1e-9)


def test_many_configs_are_added_one_by_one(monkeypatch) -> None:
    monkeypatch.setattr(portfolio, "EXACT", 1)
    found = choose(evaluations(TABLE), PROBLEMS, 3)
    assert found is not None
    assert found.slowdowns == pytest.approx((1.0, 1.0, 1.0))


def test_times_of_two_days_are_brought_to_one_pace_before_they_are_compared() -> None:
    """The machine was ten times as slow when config 1 was measured beside config 0."""
    slow = [
        Evaluation(PROBLEMS[0], {"mr": mr}, seconds, "x", "m", here=True, moment="slow")
        for mr, seconds in ((0, 20.0), (1, 10.0))
    ]
    quick = Evaluation(PROBLEMS[0], {"mr": 0}, 2.0, "x", "m", here=True, moment="quick")
    for order in ([*slow, quick], [quick, *slow]):
        found = choose(order, PROBLEMS[:1], 1)
        assert found is not None
        assert found.configs == ({"mr": 1},)
        assert leaders(order, PROBLEMS[:1]) == [{"mr": 1}, {"mr": 0}]


def test_of_two_that_serve_as_many_layers_the_faster_is_taken_and_the_rest_is_not_served() -> None:
    found = choose(evaluations([[1.0, 0, 1.0], [3.0, 2.0, 0]]), PROBLEMS, 1)
    assert found is not None
    assert found.configs == ({"mr": 0},)
    assert found.slowdowns == (1.0, inf, 1.0)
    assert found.mean_slowdown() == 1.0, "over the layers that are served"
