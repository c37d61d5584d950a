"""Operands: seeded contents, 64-byte aligned memory, and an output with guard bands around it.

numpy aligns to 16 bytes; a kernel then reads 12-19 % slower or faster by accident of layout, so
every array a contender touches is made here.
"""

import hashlib
import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gemmbench.problem import Conv2d, Pair, Problem

Array = NDArray[Any]

ALIGNMENT = 64  # bytes: one cache line, and the widest vector register
LAYOUT_BYTES = 4 * 4096  # arrays begin anywhere in four pages, so that their pages differ too
GUARD_BYTES = 4096  # on each side of the output: a page catches a whole stray tile row
GUARD_BYTE = 0xA5
INTEGER_LIMIT = 8  # |operand| of the exact check, reduced where sums could exceed the mantissa
MANTISSA_BITS = {"float32": 24, "float64": 53}
DENORMAL = {"float32": 1e-41, "float64": 1e-310}
NUDGE_EVERY = 100  # one element in a hundred: every row of a layer of the suites has some
FILLS = ("uniform", "integers", "zeros", "denormal")


class Layout:
    """Where arrays begin, reproducible from a seed: whole cache lines after where they would.

    Where a big array begins within a page is the same in every process of one program, and moves
    times by per cents; varied from process to process it averages out instead. No seed, no shift.
    """

    def __init__(self, seed: int | None = None) -> None:
        self._rng = None if seed is None else random.Random(seed)

    def shift(self) -> int:
        """Bytes to leave before the next array, a multiple of 64 below `LAYOUT_BYTES`."""
        if self._rng is None:
            return 0
        return ALIGNMENT * self._rng.randrange(LAYOUT_BYTES // ALIGNMENT)


def aligned_empty(shape: tuple[int, ...], dtype: str, shift: int = 0) -> Array:
    """An uninitialised row-major array whose first element lies on a 64-byte boundary.

    `shift`: bytes by which it begins later than it would, a multiple of 64.
    """
    nbytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    raw = np.empty(nbytes + shift + ALIGNMENT, dtype=np.uint8)
    start = -raw.ctypes.data % ALIGNMENT + shift
    return raw[start : start + nbytes].view(dtype).reshape(shape)


def largest_integer(reduction_length: int, dtype: str) -> int:
    """Largest r <= 8 so that sums of `reduction_length` products of integers in ±r are exact."""
    room = 2 ** MANTISSA_BITS[dtype] // reduction_length
    return max(1, min(INTEGER_LIMIT, int(room**0.5)))


def fill_operands(problem: Problem, fill: str, seed: int) -> dict[str, Array]:
    """Inputs of `problem` by name, reproducible from (fill, seed, name).

    uniform: in [-1, 1). integers: in ±`largest_integer`, so every partial sum is exact.
    zeros. denormal: uniform times a number below the smallest normal one.
    """
    return {
        name: _fill(shape, problem, fill, _rng(name, fill, seed))
        for name, shape in problem.operand_shapes().items()
    }


def selection_operands(problem: Problem, one_hot: str, seed: int) -> dict[str, Array]:
    """Inputs of which `one_hot` picks single elements of the other, which has full significands.

    Each output is then one product by 1, exact in any order; a kernel that computes in less than
    the problem's precision (half, bfloat16, TF32) cannot hide its rounding behind a long sum.
    """
    operands = fill_operands(problem, "uniform", seed)
    rng = _rng(one_hot, "selection", seed)
    chosen = np.zeros_like(operands[one_hot])
    if isinstance(problem, Conv2d) and one_hot == "x":
        for image in chosen:
            image[(rng.integers(problem.channels), *_pixel_in_use(problem, rng))] = 1
    else:
        rows = chosen.T if one_hot == "b" else chosen.reshape(len(chosen), -1)
        rows[np.arange(len(rows)), rng.integers(rows.shape[1], size=len(rows))] = 1
    operands[one_hot] = chosen
    return operands


def nudged_operands(
    operands: Mapping[str, Array], names: Collection[str], seed: int
) -> dict[str, Array]:
    """`operands` with every hundredth element of those in `names`, picked at random, changed.

    What is remembered from before is wrong, also where only a few elements were looked at to
    tell whether the inputs are still the same.
    """
    nudged = {name: np.array(array) for name, array in operands.items()}
    for name in names:
        flat = nudged[name].reshape(-1)
        places = _rng(name, "nudge", seed).integers(flat.size, size=-(-flat.size // NUDGE_EVERY))
        flat[places] = np.where(flat[places] > 0, flat[places] - 1, flat[places] + 1)
    return nudged


def save_operands(operands: Mapping[str, Array], folder: Path, label: str) -> dict[str, str]:
    """Paths of .npy files that workers map read-only, by operand name."""
    paths = {}
    for name, array in operands.items():
        path = folder / f"{label}-{name}.npy"
        np.save(path, array)
        paths[name] = str(path)
    return paths


def map_operands(paths: Mapping[str, str]) -> dict[str, Array]:
    """The arrays that `save_operands` wrote, mapped read-only."""
    return {name: np.load(path, mmap_mode="r") for name, path in paths.items()}


@dataclass(frozen=True, slots=True)
class GuardedOutput:
    """An aligned output between two guard bands. `array` is NaN until a contender writes it."""

    array: Array
    bands: Array  # the whole allocation as bytes
    start: int  # offset of `array` in `bands`

    def poison(self) -> None:
        """Fill with NaN, so that an element nobody wrote cannot pass as an answer."""
        self.array.fill(np.nan)

    def overrun(self) -> bool:
        """Whether anything outside the output was written."""
        stop = self.start + self.array.nbytes
        return bool(
            np.any(self.bands[: self.start] != GUARD_BYTE)
            or np.any(self.bands[stop:] != GUARD_BYTE)
        )


def guarded_output(problem: Problem, shift: int = 0) -> GuardedOutput:
    """The output array of `problem`, poisoned and guarded; `shift` as in `aligned_empty`."""
    shape, dtype = problem.output_shape(), np.dtype(problem.dtype)
    nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    bands = aligned_empty((nbytes + 2 * GUARD_BYTES + ALIGNMENT,), "uint8", shift)
    bands.fill(GUARD_BYTE)
    output = GuardedOutput(
        bands[GUARD_BYTES : GUARD_BYTES + nbytes].view(dtype).reshape(shape), bands, GUARD_BYTES
    )
    output.poison()
    return output


def _rng(name: str, fill: str, seed: int) -> np.random.Generator:
    digest = hashlib.sha256(f"{name}/{fill}/{seed}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def _pixel_in_use(problem: Conv2d, rng: np.random.Generator) -> Pair:
    """A pixel of the image that some output reads, (row, column); strides leave others unread."""
    found = []
    sizes = (problem.height, problem.width)
    for axis, outputs in enumerate(problem.output_size()):
        taps = np.arange(problem.kernel[axis]) * problem.dilation[axis]
        reads = np.arange(outputs)[:, None] * problem.stride[axis] + taps - problem.pad[axis]
        inside = reads[(reads >= 0) & (reads < sizes[axis])]
        found.append(int(rng.choice(inside)) if inside.size else 0)
    return found[0], found[1]


def _fill(shape: tuple[int, ...], problem: Problem, fill: str, rng: np.random.Generator) -> Array:
    array = aligned_empty(shape, problem.dtype)
    if fill == "zeros":
        array.fill(0)
    elif fill == "integers":
        limit = largest_integer(problem.reduction_length(), problem.dtype)
        array[...] = rng.integers(-limit, limit + 1, size=shape, dtype=np.int8)
    else:
        rng.random(dtype=array.dtype, out=array)
        array *= 2
        array -= 1
        if fill == "denormal":
            array *= np.array(DENORMAL[problem.dtype], dtype=array.dtype)
    return array
