"""The Gaussian process against the textbook formulas, and what makes configs near."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import check_grad
from threadpoolctl import threadpool_info, threadpool_limits

from gemmbench.space import Axis, SearchSpace
from gemmbench.tune.bayesian import BayesianSearch, expected_improvement
from gemmbench.tune.features import coordinates, trailing_zero_bits
from gemmbench.tune.surrogate import JITTER, Array, Array32, Surrogate
from gemmbench.tune.values import standardised

AXES = (
    Axis("width", (16, 32, 48, 64, 96, 112)),
    Axis("tile", (1, 2, 4, 8), "pow2"),
    Axis("order", ("rows", "panels", "blocks"), "categorical"),
    Axis("pack", (False, True), "boolean"),
    Axis("cut", (3, 4, 5, 6, 7)),
)
SPACE = SearchSpace(AXES, {axis.name: axis.values[0] for axis in AXES})
ROWS = SPACE.rows()
RNG = np.random.default_rng(5)
NUMBERS = [int(i) for i in RNG.choice(len(ROWS), 30, replace=False)]
VALUES = RNG.normal(size=30)
TREND = RNG.normal(size=len(ROWS))


def fitted(trend: bool = False) -> Surrogate:
    surrogate = Surrogate(ROWS, coordinates(AXES), TREND if trend else None)
    surrogate.fit(NUMBERS[:20], VALUES[:20], np.arange(20))
    return surrogate


def textbook(surrogate: Surrogate, trend: bool) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation by eqs. 2.25 and 2.26 of Rasmussen & Williams, kernel value by value."""
    found = coordinates(AXES)
    weights = np.exp(-2 * surrogate._theta[:-2])
    squared = sum(
        w * c.squared[np.ix_(ROWS[:, c.axis], ROWS[:, c.axis])]
        for w, c in zip(weights, found, strict=True)
    )
    r = np.sqrt(5 * squared)
    kernel = np.exp(surrogate._theta[-2]) * (1 + r + r**2 / 3) * np.exp(-r)
    if trend:
        kernel = kernel + np.outer(TREND, TREND)
    noise = np.exp(surrogate._theta[-1]) + JITTER
    inside = kernel[np.ix_(NUMBERS, NUMBERS)] + noise * np.eye(30)
    across = kernel[NUMBERS]
    mean = across.T @ np.linalg.solve(inside, VALUES)
    variance = np.diag(kernel) - np.sum(across * np.linalg.solve(inside, across), axis=0)
    return mean, np.sqrt(variance)


@pytest.mark.parametrize("trend", [False, True])
def test_measurements_added_one_by_one_give_the_exact_posterior(trend: bool) -> None:
    surrogate = fitted(trend)
    for number in NUMBERS[20:]:
        surrogate.add(number)
    mean, deviation = surrogate.predict(VALUES)
    exact_mean, exact_deviation = textbook(surrogate, trend)
    np.testing.assert_allclose(mean, exact_mean, atol=2e-3)
    np.testing.assert_allclose(deviation, exact_deviation, atol=2e-3)


@pytest.mark.parametrize("trend", [False, True])
def test_the_gradient_of_the_objective_is_right(trend: bool) -> None:
    surrogate = Surrogate(ROWS, coordinates(AXES), TREND if trend else None)
    rows = np.array(NUMBERS)
    at = surrogate._prior + RNG.normal(size=len(surrogate._prior)) * 0.3
    error = check_grad(
        lambda theta: surrogate._objective(theta, rows, VALUES)[0],
        lambda theta: surrogate._objective(theta, rows, VALUES)[1],
        at,
    )
    assert error < 1e-3


def test_learning_makes_the_measurements_more_probable() -> None:
    surrogate = fitted()
    rows = np.array(NUMBERS[:20])
    before = surrogate._objective(surrogate._prior, rows, VALUES[:20])[0]
    assert surrogate._objective(surrogate._theta, rows, VALUES[:20])[0] < before


def test_room_for_measurements_grows() -> None:
    surrogate = Surrogate(ROWS, coordinates(AXES))
    surrogate.fit([0, 1], np.array([0.0, 1.0]), np.arange(2))
    for number in range(2, 150):
        surrogate.add(number)
    assert surrogate.count == 150
    assert np.isfinite(surrogate.predict(np.sin(np.arange(150.0)))[0]).all()


def test_each_axis_gets_the_coordinates_that_suit_it() -> None:
    kinds = [(AXES[c.axis].name, c.kind) for c in coordinates(AXES)]
    assert kinds == [
        ("width", "size"),
        ("width", "alignment"),
        ("tile", "size"),
        ("order", "sameness"),
        ("pack", "sameness"),
        ("cut", "size"),
        ("cut", "alignment"),
    ]


@pytest.mark.parametrize(
    ("axis", "kinds"),
    [
        (Axis("one", (3,)), []),
        (Axis("text", ("a", "b")), ["sameness"]),
        (Axis("fraction", (0.5, 1.0, 2.5)), ["size"]),
        (Axis("from_zero", (0, 1, 3)), ["size"]),
        (Axis("powers", (1, 2, 8)), ["size"]),
        (Axis("whole", (5, 10, 20)), ["size", "alignment"]),
    ],
)
def test_an_axis_has_no_coordinate_that_says_nothing(axis: Axis, kinds: list[str]) -> None:
    assert [c.kind for c in coordinates((axis,))] == kinds


def test_an_aligned_size_is_nearer_to_an_aligned_one() -> None:
    (alignment,) = [c for c in coordinates(AXES[:1]) if c.kind == "alignment"]
    width = AXES[0].values
    at = {value: i for i, value in enumerate(width)}
    assert alignment.squared[at[96], at[32]] == 0
    assert alignment.squared[at[96], at[64]] < alignment.squared[at[112], at[64]]
    np.testing.assert_array_equal(trailing_zero_bits(np.array([1.0, 2, 3, 96])), [0, 1, 0, 5])


@given(st.lists(st.floats(0.01, 100) | st.just(float("nan")), min_size=1, max_size=20))
def test_standardised_times_keep_the_best_and_put_failures_among_the_slow(
    seconds: list[float],
) -> None:
    given_seconds = np.array(seconds)
    values = standardised(given_seconds)
    if values is None:
        known = given_seconds[~np.isnan(given_seconds)]
        assert len(known) == 0 or np.ptp(np.log(known)) < 1e-6
        return
    assert np.isfinite(values).all()
    np.testing.assert_allclose([values.mean(), values.std()], [0, 1], atol=1e-6)
    assert values[np.nanargmin(given_seconds)] == values.min()
    failed = values[np.isnan(given_seconds)]
    assert (failed >= np.median(values[~np.isnan(given_seconds)]) - 1e-9).all()


def test_expected_improvement_is_the_mean_of_what_is_gained() -> None:
    draws = RNG.normal(size=400_000)
    for mean, deviation, best in [(0.0, 1.0, 0.0), (1.0, 0.5, 0.2), (-1.0, 0.3, 0.5)]:
        exact = np.maximum(best - (mean + deviation * draws), 0).mean()
        found = expected_improvement(
            np.array([mean], np.float32), np.array([deviation], np.float32), best
        )
        np.testing.assert_allclose(found, exact, rtol=0.02, atol=2e-3)


def test_the_model_computes_on_one_thread_and_leaves_blas_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[int] = []
    predict = Surrogate.predict

    def watched(self: Surrogate, values: Array) -> tuple[Array32, Array32]:
        seen.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        return predict(self, values)

    monkeypatch.setattr(Surrogate, "predict", watched)
    space = SearchSpace((Axis("x", tuple(range(40))),), {"x": 3})
    search = BayesianSearch(space, seed=0)
    with threadpool_limits(2, user_api="blas"):
        for _ in range(14):
            config = search.ask()
            assert config is not None
            search.tell(config, 1.0 + int(config["x"]))
        after = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    assert seen
    assert set(seen) == {1}
    assert set(after) == {2}
