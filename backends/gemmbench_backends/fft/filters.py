"""How filters become spectra: by a library, or where their taps are few by definition.

A filter is nearly all zeros once it is as large as the transform. A library transforms the zeros
too; a matrix of the taps' Fourier factors, points by taps, does not, and a BLAS multiplies by it
ten times as fast as a library transforms.
"""

from collections.abc import Iterator
from math import log2, pi, prod
from typing import Protocol

import numpy as np

from gemmbench.backend import Array
from gemmbench.operands import aligned_empty
from gemmbench.problem import Conv2d
from gemmbench_backends.fft.buffers import Multiplier, Placed, by_image, by_phase, depth_of
from gemmbench_backends.fft.geometry import COMPLEX_MULTIPLY_ADD_FLOPS, Geometry
from gemmbench_backends.fft.libraries import COMPLEX_TYPES, Library, Transform

FASTER_FLOPS = 10.0  # of a product, for one of a transform: 70 GFLOP/s to 7 on a Zen 3 core


class FilterTransforms(Protocol):
    """Transforms the filters of one block after another with the same buffers."""

    def bind(self, filters: Array, spectra: Array) -> Transform:
        """From `filters` (groups, size, C/groups, R, S) to (frequencies, groups, depth, size)."""

    def clear(self) -> None:
        """Called once all are bound, which may leave anything in the buffers."""

    def held(self) -> list[Array]:
        """The buffers."""


def filter_transforms(
    problem: Conv2d, geometry: Geometry, library: Library, size: int, multiply: Multiplier,
    threads: int,
) -> FilterTransforms:  # fmt: skip
    """Whichever way executes in less time, for blocks of `size` filters a group."""
    if _prefers_definition(geometry):
        return ByDefinition(problem, geometry, multiply)
    taps = (problem.groups, size, depth_of(problem, geometry), *geometry.points)
    return ByLibrary(geometry, library, aligned_empty(taps, problem.dtype), threads)


def _prefers_definition(geometry: Geometry) -> bool:
    points, taps = prod(geometry.points), prod(map(len, _places(geometry)))
    product = COMPLEX_MULTIPLY_ADD_FLOPS * taps * prod(geometry.frequencies)
    return product < FASTER_FLOPS * 2.5 * points * max(log2(points), 1.0)


class ByLibrary:
    """Filters put among zeros, (groups, size, depth, *points), and transformed like an image."""

    def __init__(self, geometry: Geometry, library: Library, taps: Array, threads: int) -> None:
        self._geometry = geometry
        self._library = library
        self._taps = taps
        self._threads = threads

    def bind(self, filters: Array, spectra: Array) -> Transform:
        """One transform for each filter, channel and phase."""
        taps = self._taps[:, : filters.shape[1]]
        placed = tuple(self._place(filters, taps))
        view = by_image(spectra, self._geometry).transpose(2, 4, 3, 0, 1)
        forward = self._library.forward(taps, view, self._threads)

        def run() -> None:
            for one in placed:
                one.copy()
            forward.run()

        return Transform(run, forward.held_bytes, forward.call_bytes)

    def clear(self) -> None:
        """Zeros, where no tap will be."""
        self._taps.fill(0)

    def held(self) -> list[Array]:
        """The taps among their zeros."""
        return [self._taps]

    def _place(self, filters: Array, taps: Array) -> Iterator[Placed]:
        split = by_phase(taps, self._geometry)
        for i, j, down, along in self._geometry.each_phase():
            rows, to_rows = self._geometry.rows.filters(down)
            columns, to_columns = self._geometry.columns.filters(along)
            taken, at = (rows[:, None], columns), (to_rows[:, None], to_columns)
            yield Placed(filters, taken, split[:, :, :, i, j], at)


class ByDefinition:
    """The taps of all filters, (taps, groups · depth · size), times their Fourier factors."""

    def __init__(self, problem: Conv2d, geometry: Geometry, multiply: Multiplier) -> None:
        self._geometry = geometry
        self._multiply = multiply
        self._places = _places(geometry)
        self._factors = _factors(geometry, self._places).astype(COMPLEX_TYPES[problem.dtype])
        self._taps: dict[int, Array] = {}  # by filters of a block: of the others, and of the last

    def bind(self, filters: Array, spectra: Array) -> Transform:
        """One product."""
        groups, size, channels = filters.shape[:3]
        counts = tuple(map(len, self._places))
        shape = (*counts, groups, channels, *self._geometry.phases, size)
        if size not in self._taps:
            self._taps[size] = aligned_empty(shape, str(spectra.dtype))
            self._taps[size].fill(0)
        taps = self._taps[size]
        placed = tuple(self._place(filters, taps))
        left, right = self._factors, taps.reshape(prod(counts), -1)
        product = spectra.reshape(len(spectra), -1)

        def run() -> None:
            for one in placed:
                one.copy()
            self._multiply.rows(left, right, product)

        return Transform(run)

    def clear(self) -> None:
        """Nothing: zeros stay where a phase has no tap."""

    def held(self) -> list[Array]:
        """The taps, and their factors."""
        return [self._factors, *self._taps.values()]

    def _place(self, filters: Array, taps: Array) -> Iterator[Placed]:
        # (groups, size, channels, taps down, taps along), as the filters are
        source, target = filters, taps.transpose(2, 6, 3, 4, 5, 0, 1)
        for i, j, down, along in self._geometry.each_phase():
            rows, to_rows = self._geometry.rows.filters(down)
            columns, to_columns = self._geometry.columns.filters(along)
            at = (
                np.searchsorted(self._places[0], to_rows)[:, None],
                np.searchsorted(self._places[1], to_columns),
            )
            yield Placed(source, (rows[:, None], columns), target[:, :, :, i, j], at)


def _places(geometry: Geometry) -> tuple[Array, Array]:
    """Rows and columns of the transform where a tap of some phase goes, ascending."""
    rows, columns = (
        np.unique(np.concatenate([axis.filters(phase)[1] for phase in axis.phases]))
        for axis in (geometry.rows, geometry.columns)
    )
    return rows, columns


def _factors(geometry: Geometry, places: tuple[Array, Array]) -> Array:
    """exp(-2πi·(f·y/P + g·x/Q)) of every frequency (f, g) and place (y, x), as a matrix.

    Whole turns are taken off first: an angle of many would be rounded by as many times more.
    """
    down, along = (
        np.exp(-2j * pi / points * (np.outer(np.arange(count), place) % points))
        for points, count, place in zip(geometry.points, geometry.frequencies, places, strict=True)
    )
    matrix: Array = np.kron(down, along)
    return matrix
