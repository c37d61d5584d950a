"""The right answer, and how far from it a contender may be.

Two checks, both against float64. Algorithms that only add products must equal the answer bit for
bit on small integers, whose partial sums are exact in any order. On uniform operands an element
may be off by λ·√k·u·(|A||B|), λ = 8: rounding errors of independent sign add up like a random
walk, so √k and not k; the looser k·u would accept a kernel that drops a term of k = 9216.
Source: Ipsen & Zhou, Probabilistic Error Analysis for Inner Products, arXiv:1906.10465.

Transform algorithms spread the error of one element over its whole tile, so their bound is
normwise, against a typical |A||B|: λ·(log2(points) + √chain)·u/√k, the logarithm for the
transforms, the root for the sum between them, over the channels of a group and, where strides
are split into phases, over the phases that have a tap. Source: Gentleman & Sande
1966, as summed up at https://www.fftw.org/accuracy/comments.html: the error of an FFT grows like
the log of its points in the worst case. An FFT's matrices are unitary; Winograd's are not, and
amplify the errors by a factor that follows from them, which the contender tells (`growth`), at
most MOST_GROWTH. Source: Barabasz, Anderson, Soodhalter & Gregg, arXiv:1803.10986, whose
bounds are products of the norms of the three matrices.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import inf, log2, prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gemmbench.algorithm import TRANSFORM_ALGORITHMS
from gemmbench.errors import GemmbenchError
from gemmbench.operands import (
    fill_operands,
    map_operands,
    nudged_operands,
    save_operands,
    selection_operands,
)
from gemmbench.problem import ITEMSIZE, Conv2d, Gemm, Linear, Problem

LAMBDA = 8.0
UNIT_ROUNDOFF = {"float32": 2.0**-24, "float64": 2.0**-53}
MOST_GROWTH = 64.0  # of the error of a transform: F(4×4, 5×5) needs 30; beyond, use another tile
COLUMN_BYTES = 2**27  # float64 columns of the reference convolution in one piece

Array = NDArray[Any]
Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Case:
    """Operands on disk with the answer they must give; `magnitude` is |A||B|, absent if exact."""

    label: str
    operands: Mapping[str, str]  # .npy paths
    answer: str
    magnitude: str | None
    scale: float = 0.0  # a typical |A||B|, away from padding: k · mean|A| · mean|B|


@dataclass(frozen=True, slots=True)
class Check:
    """How far an output is from the answer. It is right if `max_error` <= `bound`."""

    max_error: float
    bound: float
    relative_error: float | None = None  # max |error| over the rms of the answer
    rms_error: float | None = None  # rms of the error over that of the answer

    @property
    def right(self) -> bool:
        """Whether the output passes; NaN never does."""
        return self.max_error <= self.bound


def product(problem: Problem, operands: Mapping[str, Array]) -> Float64:
    """The float64 answer of `problem`, in the shape of its output."""
    if isinstance(problem, Gemm):
        return operands["a"].astype(np.float64) @ operands["b"].astype(np.float64)
    if isinstance(problem, Linear):
        return operands["x"].astype(np.float64) @ operands["w"].astype(np.float64).T
    return _convolve(problem, operands["x"], operands["w"])


def check(
    problem: Problem,
    algorithm: str,
    output: Array,
    answer: Float64,
    magnitude: Float64 | None,
    scale: float = 0.0,
    growth: float = 1.0,
) -> Check:
    """How `output` compares with `answer`; `magnitude` None asks for equality bit for bit.

    `max_error` is |error| over |A||B|: elementwise for algorithms that add products, the largest
    error over `scale` for transforms. An element nobody wrote counts as infinitely wrong, and so
    does any error where |A||B| is zero. `growth` widens a transform's bound, and no other.
    """
    bound = error_bound(problem, algorithm, growth)
    if output.shape != answer.shape:
        return Check(inf, bound)
    error = np.abs(output.astype(np.float64, copy=False) - answer)
    if np.isnan(error).any():
        return Check(inf, bound)
    size = _rms(answer)
    shown = (_ratio(float(error.max()), size), _ratio(_rms(error), size))
    if algorithm in TRANSFORM_ALGORITHMS:
        return Check(_ratio(float(error.max()), scale), bound, *shown)
    if magnitude is None:
        return Check(float(error.max()), 0.0, *shown)
    spurious = bool(np.any(error[magnitude == 0]))
    relative = np.divide(error, magnitude, out=error, where=magnitude > 0)
    return Check(inf if spurious else float(relative.max()), bound, *shown)


def typical_magnitude(problem: Problem, operands: Mapping[str, Array]) -> float:
    """|A||B| of an output that sees no padding, on average: k · mean|A| · mean|B|."""
    sizes = [float(np.mean(np.abs(array))) for array in operands.values()]
    return problem.reduction_length() * sizes[0] * sizes[1]


def error_bound(problem: Problem, algorithm: str, growth: float = 1.0) -> float:
    """Largest |error| over |A||B| that `algorithm` is allowed on uniform operands."""
    unit, k = UNIT_ROUNDOFF[problem.dtype], problem.reduction_length()
    if algorithm in TRANSFORM_ALGORITHMS and isinstance(problem, Conv2d):
        points = (problem.height + 2 * problem.pad[0]) * (problem.width + 2 * problem.pad[1])
        (r, s), (down, along) = problem.kernel, problem.stride
        chain = problem.channels // problem.groups * min(r, down) * min(s, along)
        grown = LAMBDA * min(max(growth, 1.0), MOST_GROWTH)
        return float(grown * (max(log2(points), 1.0) + chain**0.5) * unit / k**0.5)
    return float(LAMBDA * k**0.5 * unit)


class Cases:
    """The verification cases of one problem, made when first asked for and kept in `folder`.

    `timed` has the fill that is raced; `changed` follows after the last timed block, without
    clearing the output, so that an answer remembered from before is wrong; `changed_x` keeps the
    weights, for prepared ones.
    """

    def __init__(self, problem: Problem, folder: Path, fill: str = "uniform", seed: int = 0):
        self.problem = problem
        self._folder = folder
        self._fill = fill
        self._seed = seed

    @cached_property
    def integers(self) -> Case:
        """Small integers: the answer is exact."""
        return self._make(
            "integers", fill_operands(self.problem, "integers", self._seed), exact=True
        )

    @cached_property
    def uniform(self) -> Case:
        """Uniform in [-1, 1): the answer has an error bound."""
        return self._make("uniform", fill_operands(self.problem, "uniform", self._seed))

    @cached_property
    def timed(self) -> Case:
        """The operands that are timed, of the fill that was asked for."""
        if self._fill == "uniform":
            return self.uniform
        if self._fill == "integers":
            return self.integers
        return self._make(self._fill, fill_operands(self.problem, self._fill, self._seed))

    @cached_property
    def selections(self) -> tuple[Case, ...]:
        """Each operand in turn picks single elements of the other: exact, in full precision."""
        return tuple(
            self._make(
                f"selection-{name}", selection_operands(self.problem, name, self._seed), exact=True
            )
            for name in self.problem.operand_shapes()
        )

    @cached_property
    def changed(self) -> Case:
        """`base` with some elements of every operand changed."""
        return self._nudge("changed", tuple(self.problem.operand_shapes()))

    @cached_property
    def changed_x(self) -> Case:
        """`base` with some elements of the activations `x` changed and the weights kept."""
        return self._nudge("changed-x", ("x",))

    @property
    def base(self) -> Case:
        """What `changed` starts from: the timed operands, where their answers tell anything."""
        return self.integers if self._fill == "integers" else self.uniform

    def filled(self, fill: str) -> "Cases":
        """The same cases with another fill timed; they share what does not depend on it."""
        for shared in (self.integers, self.uniform, self.selections):
            assert shared  # noqa: S101 - made now, so that it is made once
        other = copy.copy(self)
        other._fill, other._folder = fill, self._folder / fill
        other._folder.mkdir(exist_ok=True)
        for name in ("timed", "changed", "changed_x"):
            other.__dict__.pop(name, None)
        return other

    def _nudge(self, label: str, names: tuple[str, ...]) -> Case:
        operands = map_operands(self.base.operands)
        return self._make(label, nudged_operands(operands, names, self._seed))

    def _make(self, label: str, operands: Mapping[str, Array], *, exact: bool = False) -> Case:
        answer = {"answer": product(self.problem, operands)}
        if not exact:
            sizes = {name: np.abs(array) for name, array in operands.items()}
            answer["magnitude"] = product(self.problem, sizes)
        try:
            paths = save_operands(operands, self._folder, label)
            saved = save_operands(answer, self._folder, label)
        except OSError as error:
            raise GemmbenchError(
                f"{self._folder}: cannot keep operands there: {error.strerror}. "
                "Set TMPDIR to a folder with more room."
            ) from error
        scale = typical_magnitude(self.problem, operands)
        return Case(label, paths, saved["answer"], saved.get("magnitude"), scale)


def needed_bytes(problem: Problem, workers: int = 1, contenders: int = 1) -> int:
    """Memory that racing `problem` takes at its peak, before any contender's own workspace.

    The reference holds float64 copies beside the operands, each worker private copies of the
    operands, each contender an output of its own.
    """
    item, float64 = ITEMSIZE[problem.dtype], ITEMSIZE["float64"]
    shapes = problem.operand_shapes().values()
    elements = sum(prod(shape) for shape in shapes)
    output = prod(problem.output_shape())
    parent = elements * (item + float64) + 3 * output * float64
    return parent + workers * (elements * item + 3 * output * float64) + contenders * output * item


def _rms(array: Float64) -> float:
    flat = array.reshape(-1)
    return float(np.sqrt(np.dot(flat, flat) / flat.size))


def _ratio(error: float, scale: float) -> float:
    if scale == 0:
        return 0.0 if error == 0 else inf
    return float(error / scale)


def _convolve(problem: Conv2d, x: Array, w: Array) -> Float64:
    """Direct convolution as one float64 product an image, group and band of output rows."""
    out = np.empty(problem.output_shape(), dtype=np.float64)
    padding = [(0, 0), (0, 0), *((p, p) for p in problem.pad)]
    groups, per_group = problem.groups, problem.channels // problem.groups
    filters = w.astype(np.float64).reshape(groups, problem.filters // groups, -1)
    p, q = problem.output_size()
    band = max(1, COLUMN_BYTES // (8 * problem.reduction_length() * q))
    for image in range(problem.batch):
        padded = np.pad(x[image : image + 1].astype(np.float64), padding)[0]
        for group in range(groups):
            channels = padded[group * per_group : (group + 1) * per_group]
            patches = _patches(problem, channels)
            rows = out[image].reshape(groups, -1, p, q)[group]
            for top in range(0, p, band):
                columns = patches[:, :, :, top : top + band].reshape(filters.shape[2], -1)
                rows[:, top : top + band] = (filters[group] @ columns).reshape(rows.shape[0], -1, q)
    return out


def _patches(problem: Conv2d, channels: Float64) -> Float64:
    """A view (C/groups, R, S, P, Q) of the input pixel under each filter tap and output pixel."""
    c, h, w = channels.strides
    (r, s), (p, q) = problem.kernel, problem.output_size()
    return np.lib.stride_tricks.as_strided(
        channels,
        (channels.shape[0], r, s, p, q),
        (c, h * problem.dilation[0], w * problem.dilation[1], h * problem.stride[0],
         w * problem.stride[1]),
        writeable=False,
    )  # fmt: skip
