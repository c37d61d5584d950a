"""What the cheap layers must answer, in float64, how far off they may be, and how they pass errors.

`answer` is the layer itself. `rounding` bounds, element by element, what a float32 implementation
may be off on the very same inputs; whatever only picks or moves elements must be exact. `spread`
is the variance of the output's error, given that of the inputs' errors, which are taken to be
independent: its first-order propagation. A maximum passes on the largest variance of its window.
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from gemmbench.cheap import (
    AVERAGE,
    MAX,
    Add,
    BatchNorm,
    Cheap,
    Concat,
    Lrn,
    Pool,
    Relu,
    Softmax,
)

Float64 = NDArray[np.float64]
Learnt = Mapping[str, NDArray[Any]]

LAMBDA = 8.0  # as in reference.py: rounding errors of a sum of k terms stay under λ·√k·u
FEW = 8.0  # roundings of the few operations around a sum: exp, pow, √ and divisions included
SMALLEST = 2.0**-126  # below the smallest normal float32 nothing is promised


def answer(layer: Cheap, inputs: Sequence[Float64], learnt: Learnt) -> Float64:
    """The layer's output in float64."""
    x = inputs[0]
    if isinstance(layer, Relu):
        return np.maximum(x, 0)
    if isinstance(layer, Lrn):
        return np.asarray(x * _lrn_base(layer, x) ** -layer.beta)
    if isinstance(layer, Pool):
        return _pooled(layer, x)
    if isinstance(layer, Softmax):
        grown = np.exp(x - x.max(axis=1, keepdims=True))
        return np.asarray(grown / grown.sum(axis=1, keepdims=True))
    if isinstance(layer, BatchNorm):
        factor, offset = _affine(layer, learnt, x.ndim)
        return np.asarray(factor * x + offset)
    if isinstance(layer, Add):
        return np.asarray(np.sum(inputs, axis=0))
    return np.concatenate(inputs, axis=1) if isinstance(layer, Concat) else x


def rounding(
    layer: Cheap, inputs: Sequence[Float64], found: Float64, learnt: Learnt, unit: float
) -> Float64:
    """Most that each element may be off on these inputs; `found` is the answer to them."""
    x = inputs[0]
    if isinstance(layer, Lrn):
        terms = LAMBDA * layer.size**0.5
        return np.asarray((layer.beta * terms + FEW) * unit * np.abs(found))
    if isinstance(layer, Pool) and layer.method == AVERAGE:
        return np.asarray((LAMBDA * prod(layer.kernel) ** 0.5) * unit * _pooled(layer, np.abs(x)))
    if isinstance(layer, Softmax):
        depth = x.max(axis=1, keepdims=True) - x.min(axis=1, keepdims=True)
        terms = 2 * depth + LAMBDA * x.shape[1] ** 0.5 + FEW
        return np.asarray(terms * unit * found + SMALLEST)
    if isinstance(layer, BatchNorm):
        factor, offset = _affine(layer, learnt, x.ndim)
        size = np.abs(factor * x) + np.abs(offset) + 2 * np.abs(_mean(learnt, x.ndim) * factor)
        return np.asarray(FEW * unit * size)
    if isinstance(layer, Add):
        return np.asarray(len(inputs) * unit * np.sum(np.abs(inputs), axis=0))
    return np.zeros_like(found)


def spread(
    layer: Cheap, inputs: Sequence[Float64], variances: Sequence[Float64], learnt: Learnt
) -> Float64:
    """Variance of the output's error, from those of the inputs' errors, element by element."""
    x, v = inputs[0], variances[0]
    if isinstance(layer, Relu):  # an error below -x leaves 0, which is what is right
        return np.where(x < -np.sqrt(v), 0.0, v)
    if isinstance(layer, Lrn):
        return _lrn_spread(layer, x, v)
    if isinstance(layer, Pool) and layer.method == MAX:
        return _pooled(layer, v)
    if isinstance(layer, Pool):  # (Σv) / size² = (average of v) / size
        return _pooled(layer, v) / _window_sizes(layer, x.shape)
    if isinstance(layer, Softmax):
        y = answer(layer, inputs, learnt)
        shared = np.sum(y * y * v, axis=1, keepdims=True)
        return np.asarray(y * y * ((1 - 2 * y) * v + shared))
    if isinstance(layer, BatchNorm):
        return np.asarray(_affine(layer, learnt, x.ndim)[0] ** 2 * v)
    if isinstance(layer, Add):
        return np.asarray(np.sum(variances, axis=0))
    return np.concatenate(variances, axis=1) if isinstance(layer, Concat) else v


def _lrn_base(layer: Lrn, x: Float64) -> Float64:
    """k + alpha/size · the sum of x² over the channels around each."""
    return np.asarray(layer.k + layer.alpha / layer.size * _across(layer.size, x * x))


def _across(size: int, x: Float64) -> Float64:
    """The sum over `size` channels around each."""
    reach = size // 2
    padded = np.pad(x, [(0, 0), (reach, reach), *[(0, 0)] * (x.ndim - 2)])
    return np.asarray(sum(padded[:, at : at + x.shape[1]] for at in range(size)))


def _lrn_spread(layer: Lrn, x: Float64, v: Float64) -> Float64:
    """Σⱼ Jᵢⱼ² vⱼ with Jᵢⱼ = δᵢⱼ sᵢ^-β - 2 β α/n xᵢ xⱼ sᵢ^(-β-1), s the base of the power."""
    base = _lrn_base(layer, x)
    straight = base**-layer.beta
    coupling = 2 * layer.beta * layer.alpha / layer.size * x * base ** (-layer.beta - 1)
    others = _across(layer.size, x * x * v) - x * x * v
    return np.asarray((straight - coupling * x) ** 2 * v + coupling**2 * others)


def _pooled(layer: Pool, x: Float64) -> Float64:
    """Largest or average under each window; padding counts as zeros in an average."""
    windows = _windows(layer, x, -np.inf if layer.method == MAX else 0.0)
    if layer.method == MAX:
        return np.asarray(windows.max(axis=(-2, -1)))
    return np.asarray(windows.sum(axis=(-2, -1)) / _window_sizes(layer, x.shape))


def _windows(layer: Pool, x: Float64, fill: float) -> Float64:
    """(N, C, P, Q, R, S): a view of what each window covers, `fill` outside of the image."""
    p, q = layer.output_shape([x.shape])[2:]
    (kh, kw), (sh, sw), (ph, pw) = layer.kernel, layer.stride, layer.pad
    below = max(0, (p - 1) * sh + kh - ph - x.shape[2])
    right = max(0, (q - 1) * sw + kw - pw - x.shape[3])
    padded = np.pad(x, [(0, 0), (0, 0), (ph, below), (pw, right)], constant_values=fill)
    windows = sliding_window_view(padded, (kh, kw), axis=(2, 3))
    return windows[:, :, ::sh, ::sw][:, :, :p, :q]


def _window_sizes(layer: Pool, shape: Sequence[int]) -> Float64:
    """(P, Q): pixels of each window within the image and its padding. Source: Caffe's AVE pool."""
    outputs = layer.output_shape([tuple(shape)])[2:]
    sizes = []
    for axis, count in enumerate(outputs):
        begin = np.arange(count) * layer.stride[axis] - layer.pad[axis]
        end = np.minimum(begin + layer.kernel[axis], shape[2 + axis] + layer.pad[axis])
        sizes.append(end - begin)
    return np.multiply.outer(*sizes).astype(np.float64)


def _affine(layer: BatchNorm, learnt: Learnt, rank: int) -> tuple[Float64, Float64]:
    """Factor and offset of each channel, to be broadcast over an array of that rank."""
    values = {name: np.asarray(array, dtype=np.float64) for name, array in learnt.items()}
    factor = values["scale"] / np.sqrt(values["variance"] + layer.epsilon)
    offset = values["shift"] - values["mean"] * factor
    return _channels(factor, rank), _channels(offset, rank)


def _mean(learnt: Learnt, rank: int) -> Float64:
    return _channels(np.asarray(learnt["mean"], dtype=np.float64), rank)


def _channels(values: Float64, rank: int) -> Float64:
    return values.reshape(1, -1, *[1] * (rank - 2))
