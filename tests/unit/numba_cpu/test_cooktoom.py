"""Winograd's matrices: exact for any tile and kernel, wrong where a point is wrong."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemmbench_backends.numba_cpu.convolution import cooktoom
from gemmbench_backends.numba_cpu.convolution.cooktoom import cook_toom, growth, identity

SIZES = [(m, r) for m in range(1, 7) for r in range(1, 8) if 2 <= m + r - 1 <= 8]
WHOLE = st.lists(st.integers(-9, 9), min_size=16, max_size=16)


def correlate(transform, inputs, taps):
    """Aᵀ·[(G·w) ⊙ (Bᵀ·x)] in exact fractions."""

    def times(matrix, values):
        return [sum(a * x for a, x in zip(row, values, strict=True)) for row in matrix]

    products = [
        g * b
        for g, b in zip(
            times(transform.weights, taps), times(transform.inputs, inputs), strict=True
        )
    ]
    return times(transform.output, products)


def direct(inputs, taps, outputs):
    return [sum(inputs[i + k] * tap for k, tap in enumerate(taps)) for i in range(outputs)]


@pytest.mark.parametrize(("m", "r"), SIZES)
@given(x=WHOLE, w=WHOLE)
def test_every_tile_and_kernel_correlates_exactly(m, r, x, w):
    x, w = x[: m + r - 1], w[:r]
    assert correlate(cook_toom(m, r), x, w) == direct(x, w, m)


@given(
    x=WHOLE, w=WHOLE,
    points=st.lists(st.fractions(-4, 4, max_denominator=8), min_size=5, max_size=5, unique=True),
)  # fmt: skip
def test_any_distinct_points_do(x, w, points):
    assert correlate(cook_toom(4, 3, points), x[:6], w[:3]) == direct(x[:6], w[:3], 4)


@pytest.mark.parametrize("side", ["output", "weights", "inputs"])
@pytest.mark.parametrize(("m", "r"), [(2, 3), (3, 3), (4, 3), (4, 5)])
def test_a_matrix_made_with_a_wrong_point_is_wrong(m, r, side):
    right = cook_toom(m, r)
    points = list(cooktoom.default_points(m + r - 1))
    points[1] += Fraction(1, 3)
    wrong = {name: getattr(right, name) for name in ("output", "weights", "inputs")}
    wrong[side] = getattr(cook_toom(m, r, points), side)
    x, w = list(range(1, m + r)), list(range(2, r + 2))
    assert correlate(cooktoom.Transform(**wrong), x, w) != direct(x, w, m)


def test_repeated_points_are_refused():
    with pytest.raises(ValueError, match="distinct"):
        cook_toom(2, 3, [Fraction(0), Fraction(1), Fraction(1)])


@given(x=WHOLE, w=WHOLE)
def test_one_tap_needs_no_transform(x, w):
    assert correlate(identity(4), x[:4], w[:1]) == direct(x[:4], w[:1], 4)


def test_chosen_points_lose_less_than_the_textbooks():
    textbook = [Fraction(point) for point in (0, 1, -1, 2, -2)]
    assert growth(cook_toom(4, 3)) ** 2 < 9
    assert growth(cook_toom(4, 3, textbook)) ** 2 > 17
    assert growth(identity(3)) == 1


@pytest.mark.parametrize(("m", "r"), [(2, 3), (4, 3), (4, 5)])
def test_growth_is_how_rounding_errors_really_grow(m, r):
    """Of random float32 operands, within a factor of three."""
    rng, transform = np.random.default_rng(0), cook_toom(m, r)
    a, g, b = (
        np.array([[float(x) for x in row] for row in matrix])
        for matrix in (transform.output, transform.weights, transform.inputs)
    )
    x, w = rng.standard_normal((4000, m + r - 1)), rng.standard_normal((4000, r))
    exact = ((w @ g.T) * (x @ b.T)) @ a.T
    half = ((w @ g.T).astype("f") * (x @ b.T).astype("f")).astype(np.float64) @ a.T
    unit = 2.0**-24 / np.sqrt(3)  # of one rounding, on average
    grown = np.sqrt(((half - exact) ** 2).mean()) / (unit * np.sqrt(3) * np.sqrt(r))
    assert growth(transform) / 3 < grown < growth(transform) * 3
