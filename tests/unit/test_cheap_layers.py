"""The cheap layers in Numba against float64, and the float64 answers against plain loops."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from gemmbench.cheap import (
    Add,
    BatchNorm,
    Concat,
    Dropout,
    Lrn,
    Pool,
    Relu,
    Softmax,
    parameter_shapes,
)
from gemmbench.cheap_reference import answer, rounding, spread
from gemmbench_backends.cheap_layers import CheapLayers

UNIT = {"float32": 2.0**-24, "float64": 2.0**-53}
SETTINGS = settings(deadline=None, max_examples=40)


@st.composite
def pools(draw):
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    pad = tuple(draw(st.integers(0, size - 1)) for size in kernel)
    stride = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    method, rounded = (
        draw(st.sampled_from(["max", "average"])),
        draw(st.sampled_from(["up", "down"])),
    )
    return Pool(method, kernel, stride, pad, rounded)


layers = st.one_of(
    st.just(Relu()),
    st.builds(
        Lrn,
        size=st.sampled_from([1, 3, 5]),
        alpha=st.sampled_from([1e-4, 1.0]),
        beta=st.sampled_from([0.75, 0.5]),
        k=st.sampled_from([1.0, 2.0]),
    ),
    pools(),
    st.just(Dropout()),
    st.just(Softmax()),
    st.builds(BatchNorm, epsilon=st.sampled_from([1e-5, 0.1])),
    st.just(Add()),
    st.just(Concat()),
)
shapes = st.tuples(st.integers(1, 3), st.integers(1, 7), st.integers(4, 9), st.integers(4, 11))


def given_to(layer, shape, dtype, seed):
    """Inputs, and what a batchnorm has learnt."""
    rng = np.random.default_rng(seed)
    count = 3 if isinstance(layer, Add | Concat) else 1
    inputs = [rng.uniform(-4, 4, shape).astype(dtype) for _ in range(count)]
    learnt = {
        name: rng.uniform(0.5, 1.5, size).astype(dtype)
        for name, size in parameter_shapes(layer, [shape]).items()
    }
    return inputs, learnt


def run_on(layer, inputs, learnt):
    out = np.full(layer.output_shape([one.shape for one in inputs]), np.nan, inputs[0].dtype)
    CheapLayers().prepare(layer, inputs, out, learnt)()
    return out


@SETTINGS
@given(layer=layers, shape=shapes, dtype=st.sampled_from(sorted(UNIT)), seed=st.integers(0, 99))
def test_every_cheap_layer_is_within_its_bound_of_float64(layer, shape, dtype, seed):
    inputs, learnt = given_to(layer, shape, dtype, seed)
    exact = [one.astype(np.float64) for one in inputs]
    right = answer(layer, exact, learnt)
    allowed = rounding(layer, exact, right, learnt, UNIT[dtype])
    out = run_on(layer, inputs, learnt)
    assert out.shape == right.shape
    # float64 has no more exact reference here: twice the bound covers the reference's own errors
    assert np.all(np.abs(out - right) <= (1 if dtype == "float32" else 2) * allowed)


@pytest.mark.parametrize("layer", [Relu(), BatchNorm(), Dropout()], ids=lambda one: one.kind)
def test_an_elementwise_layer_may_write_over_what_it_reads(layer):
    inputs, learnt = given_to(layer, (2, 3, 5, 4), "float32", 1)
    apart = run_on(layer, inputs, learnt)
    over = inputs[0].copy()
    made = CheapLayers().prepare(layer, [over], over, learnt)
    np.copyto(over, inputs[0])
    made()
    assert np.array_equal(over, apart)


def test_relu_keeps_what_is_not_a_number():
    x = np.array([[np.nan, -1.0, 2.0]], dtype=np.float32)
    assert_allclose(run_on(Relu(), [x], {}), [[np.nan, 0.0, 2.0]])


@pytest.mark.parametrize("pad", [0, 1])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_max_pool_keeps_what_is_not_a_number_wherever_it_lies_in_the_window(stride, pad):
    layer = Pool("max", (3, 3), (stride, stride), (pad, pad), "up")
    x = np.arange(9 * 81, dtype=np.float32).reshape(1, 9, 9, 9) % 7
    x[0, np.arange(9), np.arange(9), 8 - np.arange(9)] = np.nan  # one a plane
    assert np.array_equal(run_on(layer, [x], {}), answer(layer, [x], {}), equal_nan=True)


@pytest.mark.parametrize("layer", [Pool("max", (3, 3), (2, 2)), Pool("average", (3, 3)), Concat()])
def test_layers_larger_than_what_a_thread_takes_at_once_are_whole(layer):
    inputs, learnt = given_to(layer, (2, 9, 61, 67), "float32", 2)
    exact = [one.astype(np.float64) for one in inputs]
    right = answer(layer, exact, learnt)
    allowed = rounding(layer, exact, right, learnt, UNIT["float32"])
    assert np.all(np.abs(run_on(layer, inputs, learnt) - right) <= allowed)


def naive_pool(layer, x):
    out = np.empty(layer.output_shape([x.shape]))
    height, width = x.shape[2:]
    for p in range(out.shape[2]):
        for q in range(out.shape[3]):
            top, left = (p * layer.stride[0] - layer.pad[0], q * layer.stride[1] - layer.pad[1])
            bottom = min(top + layer.kernel[0], height + layer.pad[0])
            right = min(left + layer.kernel[1], width + layer.pad[1])
            window = x[:, :, max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
            if layer.method == "max":
                out[:, :, p, q] = window.max(axis=(2, 3))
            else:
                out[:, :, p, q] = window.sum(axis=(2, 3)) / ((bottom - top) * (right - left))
    return out


@SETTINGS
@given(layer=pools(), shape=shapes, seed=st.integers(0, 99))
def test_the_reference_pool_is_what_caffe_loops_over(layer, shape, seed):
    x = np.random.default_rng(seed).normal(size=shape)
    assert_allclose(answer(layer, [x], {}), naive_pool(layer, x), atol=1e-12)


def test_the_reference_lrn_sums_over_the_channels_around_each():
    layer, x = Lrn(3, 0.6, 0.75, 2.0), np.random.default_rng(0).normal(size=(1, 4, 1, 1))
    values = x[0, :, 0, 0]
    expected = [
        values[c] / (2 + 0.2 * sum(v * v for v in values[max(0, c - 1) : c + 2])) ** 0.75
        for c in range(4)
    ]
    assert_allclose(answer(layer, [x], {})[0, :, 0, 0], expected)


def test_the_reference_softmax_and_batchnorm_are_the_textbooks():
    x = np.array([[1.0, 2.0, 3.0]])
    weights = [math.exp(v) for v in (1, 2, 3)]
    assert_allclose(answer(Softmax(), [x], {})[0], [w / sum(weights) for w in weights])
    learnt = {"mean": [1, 0, 0], "variance": [4, 1, 1], "scale": [3, 1, 1], "shift": [5, 0, 1]}
    assert_allclose(answer(BatchNorm(0.0), [x + 1], learnt), [[3 / 2 + 5, 3, 5]])


# Average pools need no separate case: they are linear, and so exact here like batchnorm and add.
@SETTINGS
@given(layer=layers, seed=st.integers(0, 99))
def test_the_spread_of_errors_is_what_random_errors_show(layer, seed):
    shape = (1, 5, 6, 6)
    inputs, learnt = given_to(layer, shape, "float64", seed)
    rng = np.random.default_rng(seed + 1)
    sizes = [1e-6 * rng.uniform(0.5, 1.5, shape) for _ in inputs]
    predicted = spread(layer, inputs, [size**2 for size in sizes], learnt)
    right = answer(layer, inputs, learnt)
    errors = []
    for _ in range(400):
        moved = [x + size * rng.normal(size=shape) for x, size in zip(inputs, sizes, strict=True)]
        errors.append(answer(layer, moved, learnt) - right)
    seen = np.mean(np.square(errors), axis=0)
    # A mean of 400 squares is within half of its value; a bound may be larger, by the window of
    # a maximum, and must never be smaller.
    assert np.all(seen <= 1.6 * predicted + 1e-30)
    if not isinstance(layer, Pool):
        assert np.all(seen[predicted > 1e-24] >= 0.4 * predicted[predicted > 1e-24])
