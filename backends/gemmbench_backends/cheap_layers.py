"""The cheap layers of a network by Numba: simple loops over whole planes, shared by the threads.

Each works on rows or planes that lie in one piece, so that LLVM makes vectors of the inner loops.
They are right first; what they cost is what is left of a pass once its products are fast.
"""

# Numba types what it compiles itself.
# mypy: disable-error-code="untyped-decorator, attr-defined"

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import sqrt
from typing import Any

import numpy as np
from numba import config, njit, prange, set_num_threads

from gemmbench.backend import Array
from gemmbench.cheap import AVERAGE, Add, BatchNorm, Cheap, Concat, Dropout, Lrn, Pool, Relu
from gemmbench_backends.numba_cpu.threads import start_pool

CHUNK = 2**14  # elements a thread takes at once: 64 KiB, well within a private cache
Run = Callable[[], None]


class CheapLayers:
    """Every cheap layer that gemmbench knows. `prepare` compiles, so that a pass does not."""

    name = "numba"

    def prepare(
        self, layer: Cheap, inputs: Sequence[Array], out: Array, learnt: Mapping[str, Array]
    ) -> Run:
        """A call that computes `out` from `inputs`, which it may share its memory with.

        Arrays are row-major, (N, C, …); `learnt` has the constants of a batchnorm, (C,) each.
        """
        start_pool()
        run = _bind(layer, inputs, out, learnt)
        if run is _nothing:
            return run
        threads = int(config.NUMBA_NUM_THREADS)

        def on_all_threads() -> None:
            set_num_threads(threads)  # a product may have left Numba with fewer
            run()

        on_all_threads()
        return on_all_threads


def _bind(layer: Cheap, inputs: Sequence[Array], out: Array, learnt: Mapping[str, Array]) -> Run:
    x = inputs[0]
    if isinstance(layer, Dropout):
        return _nothing if np.may_share_memory(x, out) else lambda: np.copyto(out, x)
    if isinstance(layer, Pool):
        return _bind_pool(layer, x, out)
    if isinstance(layer, Add):
        return _bind_add([one.reshape(-1) for one in inputs], out.reshape(-1))
    if isinstance(layer, Concat):
        return _bind_concat(inputs, out)
    if isinstance(layer, Relu):
        return partial(_relu, x.reshape(-1), out.reshape(-1))
    planes = _planes(x), _planes(out)
    if isinstance(layer, Lrn):
        mean = layer.alpha / layer.size
        return partial(_lrn, *planes, layer.size // 2, mean, layer.beta, layer.k)
    if isinstance(layer, BatchNorm):
        factor = learnt["scale"] / np.sqrt(learnt["variance"] + x.dtype.type(layer.epsilon))
        return partial(_scale, *planes, factor, learnt["shift"] - learnt["mean"] * factor)
    return partial(_softmax, *planes)


def _nothing() -> None:
    """Dropout at inference, where it may write over what it reads."""


def _planes(array: Array) -> Array:
    """(N, C, pixels): a view of (N, C, H, W) or (N, C)."""
    return array.reshape(array.shape[0], array.shape[1], -1)


def _bind_pool(layer: Pool, x: Array, out: Array) -> Run:
    height, width = x.shape[2:]
    planes, target = x.reshape(-1, height, width), out.reshape(-1, *out.shape[2:])
    sizes = (*layer.kernel, *layer.stride, *layer.pad)
    pool = _average_pool if layer.method == AVERAGE else _max_pool
    return partial(pool, planes, target, *sizes)


def _bind_concat(inputs: Sequence[Array], out: Array) -> Run:
    rows = [one.reshape(one.shape[0], -1) for one in inputs]
    begins = np.cumsum([0, *(row.shape[1] for row in rows)])[:-1]
    target = out.reshape(out.shape[0], -1)
    pieces = list(zip(rows, begins.tolist(), strict=True))

    def run() -> None:
        for row, begin in pieces:
            _copy(row, target, begin)

    return run


def _bind_add(inputs: Sequence[Array], out: Array) -> Run:
    first, second, *others = inputs

    def run() -> None:
        _add(first, second, out)
        for one in others:
            _add(out, one, out)

    return run


@njit(parallel=True, cache=True, error_model="numpy")
def _relu(x: Any, out: Any) -> None:
    for chunk in prange((x.size + CHUNK - 1) // CHUNK):
        for i in range(chunk * CHUNK, min(x.size, (chunk + 1) * CHUNK)):
            value = x[i]
            out[i] = x.dtype.type(0) if value < 0 else value  # NaN stays NaN


@njit(parallel=True, cache=True, error_model="numpy")
def _add(a: Any, b: Any, out: Any) -> None:
    for chunk in prange((a.size + CHUNK - 1) // CHUNK):
        here = slice(chunk * CHUNK, min(a.size, (chunk + 1) * CHUNK))
        one, other, to = a[here], b[here], out[here]
        for i in range(to.size):
            to[i] = one[i] + other[i]


@njit(parallel=True, cache=True, error_model="numpy")
def _copy(x: Any, out: Any, to: int) -> None:
    """The rows of `x` into those of `out`, from column `to` on."""
    rows, columns = x.shape
    pieces = (columns + CHUNK - 1) // CHUNK
    for piece in prange(rows * pieces):
        row, begin = piece // pieces, piece % pieces * CHUNK
        end = min(columns, begin + CHUNK)
        out[row, to + begin : to + end] = x[row, begin:end]


@njit(parallel=True, cache=True, error_model="numpy")
def _scale(x: Any, out: Any, factor: Any, offset: Any) -> None:
    images, channels, pixels = x.shape
    for plane in prange(images * channels):
        n, c = plane // channels, plane % channels
        a, b = factor[c], offset[c]
        for i in range(pixels):
            out[n, c, i] = a * x[n, c, i] + b


@njit(parallel=True, cache=True, error_model="numpy")
def _lrn(x: Any, out: Any, reach: int, mean: float, beta: float, k: float) -> None:
    """x · (k + mean · Σx²)^-beta; for the usual beta = 3/4 by square roots, which vectorise."""
    images, channels, pixels = x.shape
    for plane in prange(images * channels):
        of = x.dtype.type
        n, c = plane // channels, plane % channels
        total = np.zeros(pixels, x.dtype)
        for near in range(max(0, c - reach), min(channels, c + reach + 1)):
            for i in range(pixels):
                total[i] += x[n, near, i] * x[n, near, i]
        if beta == 0.75:
            for i in range(pixels):
                root = sqrt(of(k) + of(mean) * total[i])
                out[n, c, i] = x[n, c, i] / (root * sqrt(root))
        else:
            for i in range(pixels):
                out[n, c, i] = x[n, c, i] * (of(k) + of(mean) * total[i]) ** of(-beta)


@njit(parallel=True, cache=True, error_model="numpy")
def _max_pool(x: Any, out: Any, kh: int, kw: int, sh: int, sw: int, ph: int, pw: int) -> None:
    """The largest of the rows of each window, then of its columns: each a pass over the plane.

    A pass runs across the ends of rows, which are often shorter than what a vector loop takes at
    once, and at stride 1: to leave out every other row costs more than it saves. What it spoils
    so, windows that reach over the left or right border, is computed apart.
    """
    planes, height, width = x.shape
    high, wide = out.shape[1:]
    left, right = _inside(width, wide, kw, sw, pw)
    begins = (high - 1) * sh + 1  # windows along the height, at stride 1
    count = max(0, begins * width - kw + 1)
    together = max(1, CHUNK // (height * width))
    for group in prange((planes + together - 1) // together):
        tall = np.empty(begins * width, x.dtype)
        largest = np.empty(begins * width, x.dtype)
        for plane in range(group * together, min(planes, (group + 1) * together)):
            _largest_of_rows(x[plane], kh, ph, tall)
            if sh == 1 and sw == 1 and wide == width:
                _slide(tall, kw, 1, out[plane].reshape(-1)[pw : pw + count])
            else:
                _slide(tall, kw, 1, largest[:count])
                _pick(largest.reshape(-1, width), sh, sw, pw, left, right, out[plane])
            _pool_borders(tall.reshape(-1, width), sh, sw, pw, kw, left, right, out[plane])


@njit(cache=True)
def _inside(size: int, outputs: int, kernel: int, stride: int, pad: int) -> tuple[int, int]:
    """The outputs from … to … whose windows lie within the image."""
    begin = min(outputs, (pad + stride - 1) // stride)
    return begin, max(begin, min(outputs, (size - kernel + pad) // stride + 1))


@njit(cache=True)
def _largest_of_rows(x: Any, size: int, pad: int, out: Any) -> None:
    """The largest of `size` rows of `x`, from each on, beginning `pad` rows above the first."""
    height, width = x.shape
    rows, begins = x.reshape(-1), out.size // width
    top, bottom = _inside(height, begins, size, 1, pad)
    if top < bottom:
        _slide(rows[(top - pad) * width :], size, width, out[top * width : bottom * width])
    for border in range(begins - (bottom - top)):
        p = border if border < top else border + bottom - top
        begin, end = max(0, p - pad), min(height, p - pad + size)
        _slide(rows[begin * width :], end - begin, width, out[p * width : (p + 1) * width])


@njit(cache=True)
def _slide(x: Any, size: int, step: int, out: Any) -> None:
    """out[i] = the largest of x[i], x[i + step], …, `size` of them.

    Three at once, the usual window: a pass for each would be bound by loads and stores.
    """
    second, third = x[min(1, size - 1) * step :], x[min(2, size - 1) * step :]
    for i in range(out.size):
        out[i] = _larger(_larger(x[i], second[i]), third[i])
    for term in range(3, size):
        more = x[term * step :]
        for i in range(out.size):
            out[i] = _larger(out[i], more[i])


@njit(cache=True)
def _pick(x: Any, sh: int, sw: int, pw: int, left: int, right: int, out: Any) -> None:
    """Every `sh`-th row and `sw`-th column of `x`, where windows lie within the image."""
    for p in range(out.shape[0]):
        row, to = x[p * sh, left * sw - pw :], out[p, left:right]
        for i in range(to.size):
            to[i] = row[i * sw]


@njit(cache=True)
def _pool_borders(
    x: Any, sh: int, sw: int, pw: int, kw: int, left: int, right: int, out: Any
) -> None:
    """The columns before `left` and from `right` on: windows that reach over a border."""
    for p in range(out.shape[0]):
        row, to = x[p * sh], out[p]
        for border in range(to.size - (right - left)):
            q = border if border < left else border + right - left
            begin, end = max(0, q * sw - pw), min(row.size, q * sw - pw + kw)
            best = row[begin]
            for i in range(begin + 1, end):
                best = _larger(best, row[i])
            to[q] = best


@njit(cache=True)
def _larger(a: Any, b: Any) -> Any:
    return a if a > b or a != a else b  # NaN wins, whichever of the two it is


@njit(parallel=True, cache=True, error_model="numpy")
def _average_pool(x: Any, out: Any, kh: int, kw: int, sh: int, sw: int, ph: int, pw: int) -> None:
    """The sum over a window by its size, padding included, what lies beyond it not."""
    planes, height, width = x.shape
    for plane in prange(planes):
        total = np.empty(width, x.dtype)
        for p in range(out.shape[1]):
            top, bottom = max(0, p * sh - ph), min(height, p * sh - ph + kh)
            rows = min(p * sh - ph + kh, height + ph) - (p * sh - ph)
            total[:] = 0
            for row in range(top, bottom):
                for i in range(width):
                    total[i] += x[plane, row, i]
            for q in range(out.shape[2]):
                left, right = max(0, q * sw - pw), min(width, q * sw - pw + kw)
                columns = min(q * sw - pw + kw, width + pw) - (q * sw - pw)
                found = x.dtype.type(0)
                for i in range(left, right):
                    found += total[i]
                out[plane, p, q] = found / x.dtype.type(rows * columns)


@njit(parallel=True, cache=True, error_model="numpy")
def _softmax(x: Any, out: Any) -> None:
    images, channels, pixels = x.shape
    for n in prange(images):
        for i in range(pixels):
            largest = x[n, 0, i]
            for c in range(channels):
                largest = max(largest, x[n, c, i])
            total = x.dtype.type(0)
            for c in range(channels):
                out[n, c, i] = np.exp(x[n, c, i] - largest)
                total += out[n, c, i]
            for c in range(channels):
                out[n, c, i] /= total
