"""Steps are found where levels change, seldom where they don't, and never in few values."""

import numpy as np
import pytest

from gemmbench.changepoints import FEWEST, FEWEST_AFTER, SMALLEST_STEP, find_steps


def noise(count: int, seed: int, spread: float = 0.01) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, spread, count)


def test_a_step_is_found_where_it_is_with_its_levels() -> None:
    values = noise(20, 1)
    values[12:] += 0.1
    (step,) = find_steps(values)
    assert step.index == 12
    assert step.before == pytest.approx(np.median(values[:12]))
    assert step.after == pytest.approx(np.median(values[12:]))
    assert step.p_value <= 0.01


def test_two_steps_are_found_in_order() -> None:
    values = noise(45, 2)
    values[15:30] += 0.1
    assert [step.index for step in find_steps(values)] == [15, 30]


def test_without_a_change_about_one_series_in_a_hundred_has_a_step() -> None:
    flagged = sum(bool(find_steps(noise(20, seed))) for seed in range(200))
    assert flagged <= 6  # 2 expected; 7 or more has odds of 1 in 200


def test_values_of_any_distribution_raise_no_more_alarms() -> None:
    heavy = (0.01 * np.random.default_rng(seed).standard_t(2, 20) for seed in range(200))
    assert sum(bool(find_steps(values)) for values in heavy) <= 6


@pytest.mark.parametrize("count", range(FEWEST))
def test_the_plainest_step_is_not_flagged_from_too_few_values(count: int) -> None:
    assert find_steps([0.0] * (count // 2) + [1.0] * (count - count // 2)) == []


def test_as_many_as_are_needed_are_enough() -> None:
    assert [step.index for step in find_steps([0.0] * 6 + [1.0] * (FEWEST - 6))] == [6]


def test_one_odd_run_at_the_end_is_no_step() -> None:
    assert find_steps(np.append(noise(30, 4), 1.0)) == []
    after = np.append(noise(30, 4), [1.0] * FEWEST_AFTER)
    assert [step.index for step in find_steps(after)] == [30]


def test_a_sure_step_that_is_too_small_to_matter_is_none() -> None:
    values = noise(40, 5, spread=1e-5)
    values[20:] += 0.9 * SMALLEST_STEP
    assert find_steps(values) == []
    values[20:] += 0.2 * SMALLEST_STEP
    assert [step.index for step in find_steps(values)] == [20]


def test_equal_values_have_no_steps() -> None:
    assert find_steps([0.5] * 30) == []


def test_the_same_values_give_the_same_steps() -> None:
    values = noise(20, 6)
    values[10:] += 0.02
    assert find_steps(values) == find_steps(list(values))
