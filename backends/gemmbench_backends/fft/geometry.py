"""Which transform computes a convolution: phases, points, and where pixels and taps go.

A strided convolution is one of stride 1 over the phases of its image (polyphase): pixel (y, x) of
the padded image is pixel (y // s, x // s) of phase (y % s, x % s), a tap likewise, and phases are
further channels. So a transform has 1 / s² of the points, and no output is computed in vain.
Source: Vaidyanathan 1990, "Multirate digital filters, filter banks, polyphase networks, and
applications", Proceedings of the IEEE 78(1), section III.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import log2, prod

import numpy as np

from gemmbench.backend import Array
from gemmbench.problem import Conv2d, Pair

COMPLEX_MULTIPLY_ADD_FLOPS = 8  # real operations: 4 multiplies and 4 additions


@dataclass(frozen=True, slots=True)
class Axis:
    """One side of a transform: rows or columns.

    Pixels of phase φ are every `stride`-th of the image from some first one on; phases that no tap
    reads are left out. Output j, of those that are `step` apart, is at index j · step.
    """

    size: int  # of the image
    pad: int
    stride: int  # of the phases: 1 where the whole image is transformed
    step: int
    taps: tuple[int, ...]  # distance of each tap from the first, in pixels of the image
    outputs: int
    points: int

    @property
    def phases(self) -> tuple[int, ...]:
        """Those that have a tap, ascending."""
        return tuple(sorted({tap % self.stride for tap in self.taps}))

    @property
    def least_points(self) -> int:
        """The least length of a circular convolution whose wrap-around is harmless.

        Output j sums the indices from j - p on, p zeros being before the image. Those below 0 wrap
        to the end and share the zeros there with those past the image, so the padding is needed
        only once.
        """
        return max(self._used() + self._zeros(), self._stop(), self._last() + 1)

    def pixels(self, phase: int) -> tuple[slice, slice]:
        """Of the image, and of the transform: where the pixels of `phase` are, and where they go.

        Pixels that no output depends on are left out.
        """
        first = (phase - self.pad) % self.stride
        to = (first + self.pad) // self.stride - self._zeros()
        count = max(0, min(len(range(first, self.size, self.stride)), self._stop() - to))
        return slice(first, first + count * self.stride, self.stride), slice(to, to + count)

    def filters(self, phase: int) -> tuple[Array, Array]:
        """Which taps are of `phase`, and where they go so that output 0 is at index 0.

        A tap further away than the transform has points reads nothing but zeros, and is left out.
        """
        kept = [
            (at, (self._zeros() - tap // self.stride) % self.points)
            for at, tap in enumerate(self.taps)
            if tap % self.stride == phase and tap // self.stride < self.points
        ]
        places = np.array(kept, dtype=np.int64).reshape(-1, 2)
        return places[:, 0], places[:, 1]

    def _zeros(self) -> int:
        """Pixels before the image that every phase has."""
        return self.pad // self.stride

    def _last(self) -> int:
        return (self.outputs - 1) * self.step

    def _stop(self) -> int:
        """One past the last index that an output reads."""
        return self._last() + max(self.taps) // self.stride + 1 - self._zeros()

    def _used(self) -> int:
        """Pixels of a phase, at most, that the output depends on."""
        return max(1, *(int(self.pixels(phase)[1].stop) for phase in self.phases))


@dataclass(frozen=True, slots=True)
class Geometry:
    """The transform of one problem. Sizes are (rows, columns)."""

    rows: Axis
    columns: Axis

    @property
    def points(self) -> Pair:
        """Lengths of the transform: fast ones."""
        return (self.rows.points, self.columns.points)

    @property
    def frequencies(self) -> Pair:
        """The half of the spectrum that a real transform keeps."""
        return (self.points[0], self.points[1] // 2 + 1)

    @property
    def phases(self) -> Pair:
        """How many phases there are, each way."""
        return (len(self.rows.phases), len(self.columns.phases))

    @property
    def step(self) -> Pair:
        """From one output to the next, in what is transformed back."""
        return (self.rows.step, self.columns.step)

    def each_phase(self) -> Iterator[tuple[int, int, int, int]]:
        """(place down, place along, phase down, phase along) of every phase."""
        for i, down in enumerate(self.rows.phases):
            for j, along in enumerate(self.columns.phases):
                yield i, j, down, along


def transform_geometry(problem: Conv2d, *, full: bool = False) -> Geometry:
    """The smallest fast transform of the phases of `problem`, or with `full` of the whole image."""
    from scipy.fft import next_fast_len

    rows, columns = (_least_axis(problem, axis, full=full) for axis in (0, 1))
    return Geometry(
        _with_points(rows, int(next_fast_len(rows.least_points))),
        _with_points(columns, int(next_fast_len(columns.least_points, real=True))),
    )


def _least_axis(problem: Conv2d, axis: int, *, full: bool) -> Axis:
    stride, dilation = problem.stride[axis], problem.dilation[axis]
    return Axis(
        size=(problem.height, problem.width)[axis],
        pad=problem.pad[axis],
        stride=1 if full else stride,
        step=stride if full else 1,
        taps=tuple(dilation * tap for tap in range(problem.kernel[axis])),
        outputs=problem.output_size()[axis],
        points=1,
    )


def _with_points(axis: Axis, points: int) -> Axis:
    return Axis(axis.size, axis.pad, axis.stride, axis.step, axis.taps, axis.outputs, points)


def transform_flops(problem: Conv2d, geometry: Geometry, prepared: bool) -> int:
    """Operations of the algorithm itself, by convention: it rates plausibility, not speed.

    2.5 · P · log2(P) a real transform of P points, and 8 a complex multiply-add.
    Source: https://www.fftw.org/speed/, "5 N log2(N) … / 2 for real-data FFTs".
    """
    n, k = problem.batch, problem.filters
    c = problem.channels * prod(geometry.phases)
    transforms = n * c + n * k + (0 if prepared else k * (c // problem.groups))
    points, frequencies = prod(geometry.points), prod(geometry.frequencies)
    products = n * c * (k // problem.groups) * frequencies
    flops = transforms * 2.5 * points * max(log2(points), 1.0)
    return round(flops + COMPLEX_MULTIPLY_ADD_FLOPS * products)
