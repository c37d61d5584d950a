"""Convolutions by blocks: every algorithm that takes a problem is right, on any shape."""

import contextlib
import dataclasses
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from gemmbench.operands import fill_operands, guarded_output
from gemmbench.problem import Conv2d, ProblemError
from gemmbench_backends.numba_cpu.convolution import algorithms, cooktoom, winograd
from gemmbench_backends.numba_cpu.convolution.layout import phases, weight_bytes
from gemmbench_backends.numba_cpu.convolution.planes import prepare_planes
from gemmbench_backends.numba_cpu.emit import Vector
from gemmbench_backends.numba_cpu.model import registers

from .reference import BACKEND, HERE, answer, assert_exact, assert_within_bound, compared

BOUNDED = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
KERNELS = st.one_of(st.integers(1, 11).map(lambda r: (r, r)), st.tuples(*[st.integers(1, 11)] * 2))
PADS = st.tuples(st.integers(0, 6), st.integers(0, 6))
STRIDES = st.one_of(st.just((1, 1)), st.tuples(st.integers(1, 4), st.integers(1, 4)))
DILATIONS = st.one_of(st.just((1, 1)), st.tuples(st.integers(1, 3), st.integers(1, 3)))
BLOCKED = sorted(algorithms())
STRIDED = Conv2d(4, 256, 28, 28, 128, (5, 5), (4, 4), (2, 2))  # one sum of 256 · 16 products


@st.composite
def convolutions(draw):
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    channels, filters = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    try:
        return Conv2d(
            draw(st.integers(1, 3)), -(-channels // groups) * groups, draw(st.integers(1, 24)),
            draw(st.integers(1, 24)), -(-filters // groups) * groups, draw(KERNELS),
            draw(STRIDES), draw(PADS), draw(DILATIONS), groups,
            draw(st.sampled_from(["float32", "float32", "float64"])),
        )  # fmt: skip
    except ProblemError:
        assume(False)


@st.composite
def depthwise(draw):
    problem = draw(convolutions())
    channels = problem.channels
    return dataclasses.replace(problem, filters=channels, groups=channels)


def some_configs(space, seed, count=2):
    """The default, and a few points drawn from the space."""
    rng, drawn = np.random.default_rng(seed), [dict(space.default)]
    for _ in range(300):
        config = {axis.name: axis.values[rng.integers(len(axis.values))] for axis in space.axes}
        if space.rejected_by(config) is None:
            drawn.append(config)
        if len(drawn) > count:
            break
    return drawn


def assert_right(problem, name, weights, threads, seed):
    choice = {"algorithm": name, "weights": weights, "threads": threads}
    space = algorithms()[name].space(problem, HERE, choice)
    for config in some_configs(space, seed):
        assert_exact(problem, {**config, **choice})


@pytest.mark.parametrize("name", BLOCKED)
@BOUNDED
@given(
    problem=st.one_of(convolutions(), convolutions(), depthwise()),
    weights=st.sampled_from(["plain", "prepared"]),
    threads=st.sampled_from([1, 2, 3]), seed=st.integers(0, 2**30),
)  # fmt: skip
def test_what_is_supported_is_right_for_configs_of_its_space(name, problem, weights, threads, seed):
    reason = algorithms()[name].unsupported(problem)
    if reason is None:
        assert_right(problem, name, weights, threads, seed)
    else:
        assert "\n" not in reason


SHAPES = [
    Conv2d(2, 16, 13, 13, 24, (3, 3), pad=(1, 1)),
    Conv2d(3, 13, 11, 17, 29, (3, 3), pad=(1, 1)),
    Conv2d(2, 12, 9, 14, 20, (5, 5), pad=(2, 2), groups=2),
    Conv2d(1, 3, 31, 29, 16, (11, 11), (4, 4)),
    Conv2d(2, 3, 30, 31, 17, (7, 7), (2, 2), (3, 3)),
    Conv2d(2, 9, 12, 13, 10, (1, 7), pad=(0, 3)),
    Conv2d(2, 9, 9, 10, 16, (3, 2), (4, 3), (6, 3)),
    Conv2d(2, 20, 8, 9, 40, (1, 1)),
    Conv2d(2, 20, 9, 8, 40, (1, 1), (2, 2)),
    Conv2d(1, 6, 14, 15, 9, (3, 3), pad=(2, 2), dilation=(2, 2)),
    Conv2d(2, 19, 14, 13, 19, (3, 3), pad=(1, 1), groups=19),
    Conv2d(1, 8, 15, 14, 8, (3, 3), (2, 2), (1, 1), groups=8),
]  # fmt: skip


@pytest.mark.parametrize("problem", SHAPES, ids=str)
@pytest.mark.parametrize("nbytes", [64, 32, 16])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_registers_of_any_width_give_the_right_answer(problem, nbytes, dtype):
    problem = dataclasses.replace(problem, dtype=dtype)
    vector = Vector(dtype, nbytes // np.dtype(dtype).itemsize)
    for name, one in algorithms().items():
        if one.unsupported(problem) is not None:
            continue
        choice = {"algorithm": name, "weights": "prepared", "threads": 1}
        machine = dataclasses.replace(HERE, features=_features(nbytes))
        config = {**one.space(problem, machine, choice).default, **choice}
        output = guarded_output(problem)
        transforms = name in ("winograd", "fft")
        fill = "uniform" if transforms else "integers"
        operands = {**fill_operands(problem, fill, 1), "out": output.array}
        prepared = one.prepare(problem, config, operands, vector)
        output.poison()
        prepared.run()
        if transforms:
            assert_within_bound(problem, config, operands, prepared)
        else:
            np.testing.assert_array_equal(prepared.output(), answer(problem, operands), name)
        assert not output.overrun()


@pytest.mark.parametrize("problem", SHAPES, ids=str)
@pytest.mark.parametrize(("threads", "grid"), [(2, "1x2"), (3, "1x3"), (4, "2x2")])
def test_threads_that_share_filters_make_the_tiles_of_a_block_together(problem, threads, grid):
    for name in ("winograd", "fft"):
        if algorithms()[name].unsupported(problem) is not None:
            continue
        choice = {"algorithm": name, "weights": "prepared", "threads": threads}
        space = algorithms()[name].space(problem, HERE, choice)
        smallest = min(next(axis.values for axis in space.axes if axis.name == "block"))
        for block in (smallest, space.default["block"]):
            config = {**space.default, "block": block, "grid": grid}
            if space.rejected_by(config) is None:
                assert_exact(problem, {**config, **choice})


def _features(nbytes):
    return {64: ("avx512f", "avx2", "fma"), 32: ("avx2", "fma"), 16: ()}[nbytes]


def test_every_algorithm_is_offered_or_declined_with_its_reason():
    for problem in SHAPES:
        offered, reasons = BACKEND.algorithms(problem), BACKEND.declined(problem)
        assert set(offered) | set(reasons) >= set(BLOCKED)
        assert not set(offered) & set(reasons)
    (depthwise_,) = [problem for problem in SHAPES if problem.groups == 19]
    assert set(BACKEND.declined(depthwise_)) == {"direct", "fft", "winograd"}
    (dilated,) = [problem for problem in SHAPES if problem.dilation == (2, 2)]
    assert BACKEND.declined(dilated)["winograd"] == "winograd takes no dilation, got 2×2"


def test_weights_that_would_fill_the_memory_are_declined():
    whole = Conv2d(1, 512, 7, 7, 4096, (7, 7))  # VGG-16's first fully connected layer
    assert {"winograd", "fft"} <= set(BACKEND.algorithms(whole))
    larger = dataclasses.replace(whole, filters=16384)
    for name in ("winograd", "fft"):
        why = f"{name}: the transformed weights would need more than 1 GiB"
        assert BACKEND.declined(larger)[name] == why
    large_kernel = Conv2d(1, 8, 60, 60, 8, (40, 40))
    assert "at most 17 taps" in BACKEND.declined(large_kernel)["fft"]
    fills_the_tile = Conv2d(1, 8, 8, 8, 8, (32, 32), pad=(12, 12))
    assert "at most 17 taps" in BACKEND.declined(fills_the_tile)["fft"]


@pytest.mark.parametrize("nbytes", [64, 32, 16])
def test_transformed_weights_need_no_more_memory_than_was_counted(nbytes):
    for problem in (Conv2d(1, 6, 9, 9, 6, (3, 3), groups=3), STRIDED):
        cut = winograd.tiling(problem, 4, Vector("float32", nbytes // 4))
        needed = problem.groups * cut.planes * cut.weight_plane
        assert needed <= weight_bytes(problem, cut.planes)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_transform_of_a_strided_layer_stays_well_within_its_bound(seed):
    choice = {"algorithm": "winograd", "weights": "plain", "threads": 1}
    config = {**algorithms()["winograd"].space(STRIDED, HERE, choice).default, **choice, "m": 4}
    operands = {**fill_operands(STRIDED, "uniform", seed), "out": guarded_output(STRIDED).array}
    prepared = BACKEND.prepare(STRIDED, config, operands)
    prepared.run()
    result = compared(STRIDED, config, operands, prepared)
    assert result.max_error < result.bound / 2


@pytest.mark.parametrize("m", [2, 3, 4])
@pytest.mark.parametrize("side", ["inputs", "weights", "output"])
@pytest.mark.parametrize("problem", [Conv2d(1, 16, 13, 13, 16, (3, 3), pad=(1, 1)), STRIDED])
def test_a_transform_made_with_a_wrong_point_is_wrong_and_not_merely_inexact(problem, m, side):
    taps = phases(problem).taps[0]
    choice = {"algorithm": "winograd", "weights": "plain", "threads": 1}
    config = {**algorithms()["winograd"].space(problem, HERE, choice).default, **choice, "m": m}
    right, points = cooktoom.cook_toom(m, taps), list(cooktoom.default_points(m + taps - 1))
    points[1] += Fraction(1, 64)
    wrong = getattr(cooktoom.cook_toom(m, taps, points), side)
    vector, growth = registers(HERE, "float32").vector, cooktoom.growth(right) ** 2
    for label, matrix, passes in (("right", getattr(right, side), True), ("wrong", wrong, False)):
        mixed = dataclasses.replace(right, **{side: matrix})
        kernels = winograd.WinogradKernels(f"{label}_{side}_{m}_{taps}", mixed, mixed, vector)
        output = guarded_output(problem)
        operands = {**fill_operands(problem, "uniform", 1), "out": output.array}
        tiling = winograd.tiling(problem, m, vector)
        prepared = prepare_planes(tiling, kernels, config, operands, growth)
        prepared.run()
        with contextlib.nullcontext() if passes else pytest.raises(AssertionError, match="max_err"):
            assert_within_bound(problem, config, operands, prepared)


@pytest.mark.parametrize("problem", SHAPES, ids=str)
@pytest.mark.parametrize("threads", [1, 2, 16])
def test_spaces_are_small_enough_to_enumerate_and_hold_their_default(problem, threads):
    for name, one in algorithms().items():
        if one.unsupported(problem) is None:
            choice = {"algorithm": name, "weights": "prepared", "threads": threads}
            space = one.space(problem, HERE, choice)
            assert 1 <= space.size() <= 20_000
            assert space.default in space
