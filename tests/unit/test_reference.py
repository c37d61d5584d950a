from dataclasses import replace
from itertools import product as each
from math import log2, sqrt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemmbench.operands import Array, fill_operands, map_operands
from gemmbench.problem import Conv2d, Gemm, Linear, Problem
from gemmbench.reference import (
    LAMBDA,
    MOST_GROWTH,
    Cases,
    Float64,
    check,
    error_bound,
    needed_bytes,
    product,
    typical_magnitude,
)

FC6_TERMS = 9216  # of the longest sum in AlexNet
SMALL = st.integers(1, 4)


@st.composite
def convolutions(draw: st.DrawFn) -> Conv2d:
    groups = draw(SMALL)
    kernel, dilation = draw(st.tuples(SMALL, SMALL)), draw(st.tuples(SMALL, SMALL))
    pad = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    extent = [dilation[i] * (kernel[i] - 1) + 1 for i in range(2)]
    least = [max(1, extent[i] - 2 * pad[i]) for i in range(2)]
    height, width = (draw(st.integers(least[i], least[i] + 5)) for i in range(2))
    return Conv2d(
        batch=draw(st.integers(1, 2)),
        channels=groups * draw(st.integers(1, 2)),
        height=height,
        width=width,
        filters=groups * draw(st.integers(1, 2)),
        kernel=kernel,
        stride=draw(st.tuples(SMALL, SMALL)),
        pad=pad,
        dilation=dilation,
        groups=groups,
    )


def naive_convolution(problem: Conv2d, x: Array, w: Array) -> Float64:
    out = np.zeros(problem.output_shape())
    per_group, filters = problem.channels // problem.groups, problem.filters // problem.groups
    for n, k, p, q in each(*map(range, out.shape)):
        for c, r, s in each(*map(range, w.shape[1:])):
            row = p * problem.stride[0] + r * problem.dilation[0] - problem.pad[0]
            column = q * problem.stride[1] + s * problem.dilation[1] - problem.pad[1]
            if 0 <= row < problem.height and 0 <= column < problem.width:
                pixel = x[n, k // filters * per_group + c, row, column]
                out[n, k, p, q] += float(pixel) * float(w[k, c, r, s])
    return out


def answer_and_magnitude(problem: Problem, operands: dict[str, Array]) -> tuple[Float64, Float64]:
    sizes = {name: np.abs(array) for name, array in operands.items()}
    return product(problem, operands), product(problem, sizes)


@settings(deadline=None, max_examples=60)
@given(problem=convolutions())
def test_the_reference_convolution_equals_seven_loops(problem: Conv2d) -> None:
    operands = fill_operands(problem, "integers", seed=0)
    expected = naive_convolution(problem, operands["x"], operands["w"])
    np.testing.assert_array_equal(product(problem, operands), expected)


def test_the_reference_convolution_is_the_same_in_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = Conv2d(2, 4, 9, 8, 6, (3, 2), pad=(1, 1), groups=2)
    operands = fill_operands(problem, "integers", seed=0)
    whole = product(problem, operands)
    monkeypatch.setattr("gemmbench.reference.COLUMN_BYTES", 1)
    np.testing.assert_array_equal(product(problem, operands), whole)


@settings(deadline=None, max_examples=30)
@given(m=st.integers(1, 6), k=st.integers(1, 6), n=st.integers(1, 6))
def test_the_reference_product_equals_three_loops(m: int, k: int, n: int) -> None:
    gemm, linear = Gemm(m, k, n), Linear(m, k, n)
    operands = fill_operands(gemm, "integers", seed=0)
    a, b = operands["a"], operands["b"]
    expected = [
        [sum(float(a[i, t] * b[t, j]) for t in range(k)) for j in range(n)] for i in range(m)
    ]
    np.testing.assert_array_equal(product(gemm, operands), expected)
    np.testing.assert_array_equal(product(linear, {"x": a, "w": b.T}), expected)


def test_the_reference_is_float64_whatever_the_operands_are() -> None:
    operands = fill_operands(Gemm(2, 3, 4), "uniform", seed=0)
    assert product(Gemm(2, 3, 4), operands).dtype == np.float64


@pytest.mark.parametrize("terms", [1, 2, 31, FC6_TERMS])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_correct_answer_in_the_problems_own_precision_passes(dtype: str, terms: int) -> None:
    problem = Linear(3, terms, 16, dtype)
    operands = fill_operands(problem, "uniform", seed=0)
    result = check(
        problem,
        "gemm",
        operands["x"] @ operands["w"].T,
        *answer_and_magnitude(problem, operands),
    )
    assert result.right
    assert 0 <= result.max_error <= result.bound


def test_a_sum_in_plain_order_passes() -> None:
    problem = Gemm(8, FC6_TERMS, 1)
    operands = fill_operands(problem, "uniform", seed=0)
    in_order = np.cumsum(operands["a"] * operands["b"][:, 0], axis=1)[:, -1:]
    assert check(problem, "gemm", in_order, *answer_and_magnitude(problem, operands)).right


@pytest.mark.parametrize("seed", range(5))
def test_dropping_the_last_of_9216_terms_is_caught_on_uniform_operands(seed: int) -> None:
    problem = Linear(10, FC6_TERMS, 16)
    operands = fill_operands(problem, "uniform", seed)
    dropped = operands["x"][:, :-1] @ operands["w"][:, :-1].T
    result = check(problem, "gemm", dropped, *answer_and_magnitude(problem, operands))
    assert not result.right


def test_dropping_the_last_of_9216_terms_is_caught_on_integers() -> None:
    problem = Linear(10, FC6_TERMS, 16)
    operands = fill_operands(problem, "integers", seed=0)
    answer = product(problem, operands)
    assert check(problem, "gemm", operands["x"] @ operands["w"].T, answer, None).right
    dropped = operands["x"][:, :-1] @ operands["w"][:, :-1].T
    assert not check(problem, "gemm", dropped, answer, None).right


def test_integers_must_be_equal_bit_for_bit() -> None:
    problem = Gemm(4, 5, 6)
    answer = product(problem, fill_operands(problem, "integers", seed=0))
    output = answer.astype(np.float32)
    output[3, 5] = np.nextafter(output[3, 5], np.float32(np.inf))
    result = check(problem, "gemm", output, answer, None)
    assert not result.right
    assert result.bound == 0


@pytest.mark.parametrize("algorithm", ["gemm", "im2col", "fft", "winograd"])
@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_element_that_is_not_finite_never_passes(
    algorithm: str, exact: bool, value: float
) -> None:
    problem = Conv2d(1, 2, 5, 5, 3, (3, 3))
    operands = fill_operands(problem, "integers", seed=0)
    answer, magnitude = answer_and_magnitude(problem, operands)
    output = answer.astype(np.float32)
    output[0, 2, 1, 1] = value
    result = check(problem, algorithm, output, answer, None if exact else magnitude)
    assert not result.right
    assert result.max_error == np.inf


@pytest.mark.parametrize("algorithm", ["gemm", "fft"])
@pytest.mark.parametrize("shape", [(3, 3), (12,), (1, 3, 4), (4, 3)])
def test_an_output_of_another_shape_never_passes(algorithm: str, shape: tuple[int, ...]) -> None:
    problem = Gemm(3, 2, 4)
    operands = fill_operands(problem, "zeros", seed=0)
    answer, magnitude = answer_and_magnitude(problem, operands)
    assert not check(problem, algorithm, np.zeros(shape, np.float32), answer, magnitude).right


def test_a_transform_may_spread_its_error_but_not_exceed_the_normwise_bound() -> None:
    problem = Conv2d(1, 8, 16, 16, 4, (3, 3), pad=(1, 1))
    operands = fill_operands(problem, "uniform", seed=0)
    answer, magnitude = answer_and_magnitude(problem, operands)
    scale = typical_magnitude(problem, operands)
    corner = np.zeros(answer.shape)
    corner[0, 0, 0, 0] = error_bound(problem, "fft") * scale
    assert corner.max() > error_bound(problem, "gemm") * magnitude[0, 0, 0, 0] / 10
    assert check(problem, "fft", answer + 0.9 * corner, answer, None, scale).right
    assert not check(problem, "fft", answer + 1.1 * corner, answer, None, scale).right


def test_a_transform_that_drops_one_product_is_caught() -> None:
    problem = Conv2d(1, 512, 14, 14, 2, (3, 3), pad=(1, 1))
    operands = fill_operands(problem, "uniform", seed=0)
    answer = product(problem, operands)
    dropped = {**operands, "w": operands["w"].copy()}
    dropped["w"][:, -1, -1, -1] = 0
    scale = typical_magnitude(problem, operands)
    assert check(problem, "fft", answer.astype(np.float32), answer, None, scale).right
    assert not check(problem, "fft", product(problem, dropped), answer, None, scale).right


def test_an_error_where_nothing_was_added_up_is_infinite() -> None:
    problem = Gemm(3, 4, 5)
    answer, magnitude = answer_and_magnitude(problem, fill_operands(problem, "zeros", seed=0))
    output = np.full((3, 5), 1e-7, np.float32)
    assert check(problem, "gemm", output, answer, magnitude).max_error == np.inf
    assert check(problem, "fft", output, answer, None, 0.0).max_error == np.inf


def test_outputs_that_see_mostly_padding_do_not_tighten_a_transforms_bound() -> None:
    problem = Conv2d(1, 1, 1, 1, 1, (11, 11), stride=(4, 4), pad=(6, 6))
    operands = fill_operands(problem, "uniform", seed=0)
    answer = product(problem, operands)
    noisy = answer + 1e-8
    assert check(problem, "fft", noisy, answer, None, typical_magnitude(problem, operands)).right


def test_an_output_of_zeros_passes_only_where_the_answer_is_zero() -> None:
    problem = Gemm(3, 4, 5)
    zeros = np.zeros((3, 5), np.float32)
    for fill, right in (("zeros", True), ("uniform", False)):
        operands = fill_operands(problem, fill, seed=0)
        result = check(problem, "gemm", zeros, *answer_and_magnitude(problem, operands))
        assert result.right is right


@pytest.mark.parametrize(("dtype", "unit"), [("float32", 2.0**-24), ("float64", 2.0**-53)])
def test_the_bound_of_a_product_grows_with_the_root_of_its_terms(dtype: str, unit: float) -> None:
    assert error_bound(Gemm(1, 1, 1, dtype), "gemm") == 8 * unit
    assert error_bound(Gemm(9, FC6_TERMS, 9, dtype), "gemm") == 8 * 96 * unit
    conv = Conv2d(1, 4, 9, 9, 4, (3, 3), groups=2, dtype=dtype)
    assert error_bound(conv, "im2col") == 8 * sqrt(18) * unit


def test_the_bound_of_a_transform_is_below_one_term_of_its_sum() -> None:
    problem = Conv2d(1, 64, 16, 16, 8, (3, 3), pad=(1, 1))
    bound = error_bound(problem, "fft")
    assert bound >= LAMBDA * log2(18 * 18) * 2.0**-24 / sqrt(problem.reduction_length())
    assert bound < 0.01 / problem.reduction_length()


def test_the_bound_of_a_transform_grows_with_the_phases_that_have_a_tap() -> None:
    plain = Conv2d(1, 16, 16, 16, 8, (3, 5), pad=(1, 1))
    for stride, phases in [((1, 1), 1), ((2, 1), 2), ((2, 2), 4), ((4, 4), 12), ((9, 9), 15)]:
        strided = replace(plain, stride=stride)
        sums = LAMBDA * sqrt(16 * phases) * 2.0**-24 / sqrt(plain.reduction_length())
        transforms = LAMBDA * log2(18 * 18) * 2.0**-24 / sqrt(plain.reduction_length())
        assert error_bound(strided, "winograd") == pytest.approx(transforms + sums)


def test_needed_bytes_of_an_absurd_size_are_counted_not_wrapped() -> None:
    assert needed_bytes(Gemm(2**40, 2**40, 1)) > 2**80


def test_needed_bytes_grow_with_every_size() -> None:
    small = Conv2d(2, 4, 9, 9, 4, (3, 3))
    for larger in (
        Conv2d(3, 4, 9, 9, 4, (3, 3)),
        Conv2d(2, 5, 9, 9, 4, (3, 3)),
        Conv2d(2, 4, 10, 9, 4, (3, 3)),
        Conv2d(2, 4, 9, 9, 5, (3, 3)),
        Conv2d(2, 4, 9, 9, 4, (3, 3), dtype="float64"),
    ):
        assert needed_bytes(larger) > needed_bytes(small)
    for problem in (small, Gemm(3, 4, 5), Linear(3, 4, 5)):
        assert needed_bytes(problem) >= 3 * problem.minimal_bytes()


def test_cases_are_made_once_and_answer_their_own_operands(tmp_path: Path) -> None:
    cases = Cases(Linear(3, 5, 4), tmp_path)
    assert cases.uniform is cases.timed
    for case in (cases.integers, cases.uniform, cases.changed, cases.changed_x):
        operands = map_operands(case.operands)
        np.testing.assert_array_equal(np.load(case.answer), product(cases.problem, operands))
        assert (case.magnitude is None) == (case is cases.integers)
        if case.magnitude is not None:
            sizes = {name: np.abs(array) for name, array in operands.items()}
            np.testing.assert_array_equal(np.load(case.magnitude), product(cases.problem, sizes))


def test_changed_cases_change_what_a_contender_may_not_remember(tmp_path: Path) -> None:
    cases = Cases(Linear(3, 5, 4), tmp_path)
    timed, changed, changed_x = (
        map_operands(case.operands) for case in (cases.timed, cases.changed, cases.changed_x)
    )
    for name, array in timed.items():
        assert not np.array_equal(array, changed[name])
    assert not np.array_equal(timed["x"], changed_x["x"])
    np.testing.assert_array_equal(timed["w"], changed_x["w"])


@pytest.mark.parametrize("fill", ["uniform", "integers", "zeros", "denormal"])
def test_the_timed_case_has_the_fill_that_was_asked_for(tmp_path: Path, fill: str) -> None:
    problem = Gemm(3, 4, 5)
    operands = map_operands(Cases(problem, tmp_path, fill).timed.operands)
    for name, array in fill_operands(problem, fill, seed=0).items():
        np.testing.assert_array_equal(operands[name], array)


def test_another_fill_shares_the_checks_and_times_its_own_operands(tmp_path: Path) -> None:
    uniform = Cases(Gemm(3, 4, 5), tmp_path)
    zeros = uniform.filled("zeros")
    assert zeros.integers is uniform.integers
    assert zeros.uniform is uniform.uniform
    assert not map_operands(zeros.timed.operands)["a"].any()
    assert uniform.timed.label == "uniform"
    integers = uniform.filled("integers")
    assert integers.changed.operands != uniform.changed.operands  # files of their own
    assert (map_operands(integers.changed.operands)["a"] % 1 == 0).all()
    assert (map_operands(uniform.changed.operands)["a"] % 1 != 0).any()


def test_errors_are_told_over_the_rms_of_the_answer() -> None:
    problem, answer = Gemm(2, 3, 2), np.array([[3.0, -3.0], [3.0, 3.0]])
    output = answer + np.array([[0.3, 0.0], [0.0, 0.0]])
    for algorithm, magnitude in (("gemm", np.full((2, 2), 9.0)), ("fft", None), ("gemm", None)):
        result = check(problem, algorithm, output, answer, magnitude, 9.0)
        assert result.relative_error == pytest.approx(0.1)
        assert result.rms_error == pytest.approx(0.05)


def test_growth_widens_a_transforms_bound_up_to_a_limit_and_no_other() -> None:
    problem = Conv2d(1, 8, 9, 9, 8, (3, 3))
    plain = error_bound(problem, "winograd")
    assert error_bound(problem, "winograd", 8.0) == pytest.approx(8 * plain)
    assert error_bound(problem, "winograd", 1e9) == pytest.approx(MOST_GROWTH * plain)
    assert error_bound(problem, "winograd", 0.1) == plain
    assert error_bound(problem, "direct", 8.0) == error_bound(problem, "direct")
