"""Where everything lies: strips and blocks, and the tables that the moving kernels follow.

Values only: nothing here allocates, compiles or runs.
"""

from dataclasses import dataclass

import numpy as np

from gemmbench.problem import ITEMSIZE, Conv2d, Pair
from gemmbench_backends.numba_cpu.product import Array, split

MOST_WEIGHT_BYTES = 2**30  # of transformed weights: a layer that needs more is declined
WIDEST_BYTES = 64  # of a register: AVX-512's


@dataclass(frozen=True, slots=True)
class Blocks:
    """Rows of tiles cut into strips, and strips into blocks."""

    strip_rows: int
    strips_per_image: int
    strips: int
    block_strips: int

    @property
    def count(self) -> int:
        """Blocks of one group."""
        return -(-self.strips // self.block_strips)

    def rows(self, tile_rows: int) -> set[int]:
        """How many rows of tiles a strip may have."""
        last = tile_rows - (self.strips_per_image - 1) * self.strip_rows
        return {last} | ({self.strip_rows} if self.strips_per_image > 1 else set())

    def block_rows(self, tile_rows: int) -> set[int]:
        """How many rows of tiles a block may have, all its strips together."""
        if self.block_strips == 1:
            return self.rows(tile_rows)
        left = self.strips % self.block_strips
        return {tile_rows * self.block_strips} | ({tile_rows * left} if left else set())

    @property
    def most_rows(self) -> int:
        """Rows of tiles of the largest block."""
        return self.strip_rows * self.block_strips


def cut_blocks(batch: int, tile_rows: int, rows: int, groups: int = 1, threads: int = 1) -> Blocks:
    """Blocks of at most about `rows` rows of tiles: parts of an image, or some whole images.

    Strips of an image are even, and there are as many blocks as `threads` share evenly, where
    that is possible.
    """
    if rows < 2 * tile_rows or batch == 1:
        strips = -(-tile_rows // min(rows, tile_rows))
        strips = _shared(strips, tile_rows, batch * groups, threads)
        height = -(-tile_rows // strips)
        per_image = -(-tile_rows // height)
        return Blocks(height, per_image, batch * per_image, 1)
    blocks = -(-batch // min(batch, rows // tile_rows))
    blocks = _shared(blocks, batch, groups, threads)
    return Blocks(tile_rows, 1, batch, -(-batch // blocks))


def _shared(parts: int, most: int, times: int, threads: int) -> int:
    """At least `parts`, so that `times` as many divide evenly among `threads`, if so few can."""
    for more in range(parts, min(most, parts + threads) + 1):
        if times * more % threads == 0:
            return more
    return parts


@dataclass(frozen=True, slots=True)
class Phases:
    """A strided convolution as one of stride 1 over s·s times the channels (polyphase).

    Pixel (y, x) of the padded image is pixel (y // s, x // s) of phase (y % s, x % s); a tap
    likewise. Phases that no tap reads are left out. With stride 1 there is one, the image itself.
    Source: Huang et al. 2020, "DWM: A Decomposable Winograd Method for Convolution Acceleration",
    arXiv:2002.00552, which splits strided kernels alike and adds the parts' results.
    """

    stride: Pair
    used: tuple[Pair, ...]
    taps: Pair  # of the stride-1 convolution: ceil(kernel / stride)

    def index(self, y: int, x: int) -> int:
        """The place of the phase of pixel or tap (y, x); -1 where it is left out."""
        phase = (y % self.stride[0], x % self.stride[1])
        return self.used.index(phase) if phase in self.used else -1


def weight_bytes(problem: Conv2d, planes: int) -> int:
    """Bytes of transformed weights: for every plane a row of filters for each channel.

    Rows are whole registers of the widest kind, so that no machine needs more.
    """
    depth = problem.channels // problem.groups * len(phases(problem).used)
    row = problem.filters // problem.groups * ITEMSIZE[problem.dtype]
    return problem.groups * planes * depth * (-(-row // WIDEST_BYTES) * WIDEST_BYTES)


def phases(problem: Conv2d) -> Phases:
    """The phases of a convolution without dilation."""
    rows = range(min(problem.kernel[0], problem.stride[0]))
    columns = range(min(problem.kernel[1], problem.stride[1]))
    used = tuple((y, x) for y in rows for x in columns)
    (r, s), (sy, sx) = problem.kernel, problem.stride
    return Phases(problem.stride, used, (-(-r // sy), -(-s // sx)))


@dataclass(frozen=True, slots=True)
class PixelBuffer:
    """A strip of the padded image in lanes: rows × width pixels, `pixel_bytes` apart."""

    rows: int
    width: int
    pixel_bytes: int

    @property
    def row_bytes(self) -> int:
        """Bytes of a row of pixels."""
        return self.width * self.pixel_bytes

    @property
    def nbytes(self) -> int:
        """Bytes of the strip."""
        return self.rows * self.row_bytes


def phase_table(
    problem: Conv2d, split_up: Phases, buffer: PixelBuffer, rows: int, itemsize: int, pad: int
) -> Array:
    """Where each pixel of `rows` rows of the image goes in `buffer`, as byte offsets.

    The first of them is the first row of a strip, whose phase is 0; `pad` zeros are left of the
    first column. A pixel that no tap reads goes behind the buffer's end.
    """
    channels = problem.channels // problem.groups
    (sy, sx), width, unread = split_up.stride, problem.width, buffer.nbytes
    table = np.full((rows, width), unread, dtype=np.int64)
    for at, (py, px) in enumerate(split_up.used):
        ys = np.arange(py, rows, sy)
        first = (px - pad) % sx
        xs = np.arange(first, width, sx)
        columns = (xs + pad) // sx
        inside = columns < buffer.width
        offsets = (ys[:, None] // sy) * buffer.row_bytes + columns[inside] * buffer.pixel_bytes
        table[np.ix_(ys, xs[inside])] = offsets + at * channels * itemsize
    return table.ravel()


def grid_table(rows: int, columns: int, down: int, across: int) -> Array:
    """Byte offsets of rows × columns places, `down` and `across` bytes apart, by rows."""
    offsets = np.arange(rows, dtype=np.int64)[:, None] * down + np.arange(columns) * across
    return np.ascontiguousarray(offsets).ravel()


def heights(counts: set[int], tile: int) -> set[int]:
    """The heights of register blocks that even splits of `counts` pixels have."""
    found = set()
    for count in counts:
        size, taller, _ = split(count, tile)
        found |= {size, size + 1} if taller else {size}
    return found
