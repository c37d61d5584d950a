"""The arrays of a convolution by transforms: how they lie, are filled and are multiplied."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from math import prod

import numpy as np

from gemmbench.backend import Array
from gemmbench.operands import aligned_empty
from gemmbench.problem import Conv2d
from gemmbench_backends.fft.geometry import Geometry
from gemmbench_backends.fft.libraries import COMPLEX_TYPES


@dataclass(frozen=True, slots=True)
class Placed:
    """Rows and columns of an array, and which of a zeroed one they are copied to."""

    source: Array
    taken: tuple[Array | slice, Array | slice]
    target: Array
    at: tuple[Array | slice, Array | slice]

    def copy(self) -> None:
        """Put what the source holds now where it belongs."""
        self.target[(..., *self.at)] = self.source[(..., *self.taken)]


class Multiplier:
    """Products of matrices, each thread on its share of the frequencies."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None

    def __call__(self, left: Array, right: Array, product: Array) -> None:
        """product = left @ right for every frequency, which is the first axis."""
        self._share(len(product), lambda at: np.matmul(left[at], right[at], out=product[at]))

    def rows(self, left: Array, right: Array, product: Array) -> None:
        """product = left @ right for matrices, whose rows are shared."""
        self._share(len(product), lambda at: np.matmul(left[at], right, out=product[at]))

    def _share(self, count: int, multiply: Callable[[slice], object]) -> None:
        if self._pool is None:
            multiply(slice(count))
            return
        edges = [count * part // self._threads for part in range(self._threads + 1)]
        list(self._pool.map(multiply, (slice(*pair) for pair in pairwise(edges))))


def depth_of(problem: Conv2d, geometry: Geometry) -> int:
    """Channels of a group, of all phases."""
    return problem.channels // problem.groups * prod(geometry.phases)


def by_phase(array: Array, geometry: Geometry) -> Array:
    """A view of (…, …, depth, rows, columns) with its third axis split into channel and phases."""
    return array.reshape(*array.shape[:2], -1, *geometry.phases, *array.shape[3:])


def empty_spectra(problem: Conv2d, geometry: Geometry, *shape: int) -> Array:
    """An unset (frequencies, *shape) array."""
    return aligned_empty((prod(geometry.frequencies), *shape), COMPLEX_TYPES[problem.dtype])


def head(buffer: Array, *shape: int) -> Array:
    """The beginning of `buffer` as a contiguous (frequencies, *shape) array."""
    whole = (buffer.shape[0], *shape)
    return buffer.reshape(-1)[: prod(whole)].reshape(whole)


def by_image(array: Array, geometry: Geometry) -> Array:
    """A view of `array` with its first axis split into rows and columns of the spectrum."""
    return array.reshape(*geometry.frequencies, *array.shape[1:])
