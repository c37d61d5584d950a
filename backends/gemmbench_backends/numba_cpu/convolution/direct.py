"""Convolutions by the direct method: pixels in lanes, read in place by every tap of the filter.

The product's steps are a run of adjacent elements for each row of taps (for each tap, where the
filter is dilated), so nothing is copied. They are added up in chunks: the error of a sum grows
like the root of its longest chain, and a chunk's panel of weights stays in L1 meanwhile.
"""

from dataclasses import dataclass

import numpy as np

from gemmbench.backend import Operands
from gemmbench.problem import Conv2d, Pair
from gemmbench.space import Config
from gemmbench_backends.numba_cpu.convolution.block import (
    Block,
    Convolution,
    block_of,
    blocked,
    keep,
    new_plan,
    row_bytes,
    set_blocks,
    set_panels,
)
from gemmbench_backends.numba_cpu.convolution.layout import (
    Blocks,
    Phases,
    PixelBuffer,
    cut_blocks,
    grid_table,
    phase_table,
    phases,
)
from gemmbench_backends.numba_cpu.emit import Vector
from gemmbench_backends.numba_cpu.product import Array, Plan, per_thread
from gemmbench_backends.numba_cpu.threads import runner


def unsupported(problem: Conv2d) -> str | None:
    """Why the direct kernel does not apply; None if it does."""
    if problem.channels == problem.groups:
        return "direct multiplies matrices: one channel a group makes none"
    return None


@dataclass(frozen=True, slots=True)
class Steps:
    """The product's steps: `taps` runs of `inner` adjacent elements, at these offsets."""

    taps: int
    inner: int
    offsets: Array  # bytes


@dataclass(frozen=True, slots=True)
class Shape:
    """A problem as the direct method sees it.

    A filter no larger than its stride reads each pixel once: it is one of 1 × 1 over as many
    times the channels as it has taps.
    """

    problem: Conv2d
    vector: Vector

    @property
    def folds(self) -> bool:
        """Whether the filter's taps become channels."""
        (r, s), (sy, sx) = self.problem.kernel, self.problem.stride
        return r <= sy and s <= sx and self.problem.dilation == (1, 1)

    @property
    def phases(self) -> Phases:
        """The phases that are kept apart: the filter's taps, or the image as it is."""
        return phases(self.problem) if self.folds else Phases((1, 1), ((0, 0),), (1, 1))

    @property
    def extent(self) -> Pair:
        """Pixels of the buffer that a filter spans."""
        return (1, 1) if self.folds else self.problem.kernel_extent()

    @property
    def stride(self) -> Pair:
        """Pixels of the buffer from one output pixel to the next."""
        return (1, 1) if self.folds else self.problem.stride

    @property
    def channels(self) -> int:
        """Channels of a pixel of the buffer."""
        return self.problem.channels // self.problem.groups * len(self.phases.used)

    @property
    def filters(self) -> int:
        """Filters of a group."""
        return self.problem.filters // self.problem.groups

    @property
    def filter_vectors(self) -> int:
        """Registers that hold an output pixel of a group."""
        return -(-self.filters // self.vector.lanes)

    def pixels(self, rows: int) -> PixelBuffer:
        """The buffer for `rows` rows of output."""
        (ey, ex), (sy, sx) = self.extent, self.stride
        width = (self.problem.output_size()[1] - 1) * sx + ex
        nbytes = self.channels * self.vector.itemsize
        # Taps side by side have to follow each other without a gap.
        pixel_bytes = row_bytes(nbytes) if ex == 1 else nbytes
        return PixelBuffer((rows - 1) * sy + ey, width, pixel_bytes)

    def ld_results(self) -> int:
        """Bytes from one output pixel to the next."""
        return row_bytes(self.filter_vectors * self.vector.nbytes)

    def steps(self, buffer: PixelBuffer, longest: int) -> Steps:
        """The product's steps, runs of at most `longest` where an even split allows it."""
        (r, s), (dy, dx) = self.problem.kernel, self.problem.dilation
        size = self.vector.itemsize
        if self.folds:
            starts, inner = np.zeros(1, dtype=np.int64), self.channels
        elif dx == 1 and buffer.pixel_bytes == self.channels * size:
            starts, inner = grid_table(r, 1, dy * buffer.row_bytes, 0), s * self.channels
        else:
            starts = grid_table(r, s, dy * buffer.row_bytes, dx * buffer.pixel_bytes)
            inner = self.channels
        parts = next((n for n in range(-(-inner // longest), inner // 8 + 1) if inner % n == 0), 1)
        inner //= parts
        within = np.arange(parts, dtype=np.int64) * inner * size
        offsets = np.ascontiguousarray(starts[:, None] + within).ravel()
        return Steps(len(offsets), inner, offsets)


def prepare_direct(
    problem: Conv2d, config: Config, operands: Operands, vector: Vector
) -> Convolution:
    """The convolution ready to run; prepared weights are packed here and now."""
    from gemmbench_backends.numba_cpu.convolution import driver

    shape, block, chunk = Shape(problem, vector), block_of(config), int(config["chunk"])
    rows, columns = problem.output_size()
    blocks = cut_blocks(problem.batch, rows, int(config["block"]), problem.groups, block.grid[0])
    plan = new_plan(problem, operands, vector, block)
    set_blocks(plan, blocks, rows)
    buffer = shape.pixels(blocks.strip_rows)
    steps = shape.steps(buffer, chunk)
    chunk_taps = max(1, chunk // steps.inner)
    counts = {height * columns for height in blocks.rows(rows)}
    set_panels(plan, vector, block, counts, chunks=chunk_taps < steps.taps)
    plan.set(
        taps=steps.taps, inner=steps.inner, tap_offsets=keep(plan, steps.offsets),
        chunk_taps=chunk_taps, chunks=-(-steps.taps // chunk_taps),
    )  # fmt: skip
    _set_buffers(plan, shape, buffer, blocks, block)
    _set_weights(plan, shape)
    multiply = runner(driver.direct, plan.address, block.threads)
    pack = runner(driver.pack_weights, plan.address, block.threads)
    return blocked(plan, multiply, pack, config, operands, problem.flops())


def _set_buffers(
    plan: Plan, shape: Shape, buffer: PixelBuffer, blocks: Blocks, block: Block
) -> None:
    """Strip buffers for each thread, a slot for each strip of a block, and the tables to them."""
    problem, size = shape.problem, shape.vector.itemsize
    columns, ld = problem.output_size()[1], shape.ld_results()
    (sy, sx), input_rows = shape.stride, shape.phases.stride[0]
    step = problem.stride[0]
    extent = input_rows * shape.extent[0]
    # Behind the pixels is room for those that no tap reads.
    slot = -(-(buffer.nbytes + buffer.pixel_bytes + shape.vector.nbytes) // 64) * 64
    results = blocks.strip_rows * columns * ld
    pixels_step = per_thread(blocks.block_strips * slot)
    results_step = per_thread(blocks.block_strips * results)
    table = phase_table(
        problem, shape.phases, buffer, input_rows * buffer.rows, size, problem.pad[1]
    )
    plan.set(
        tile_height=1, tiles_per_row=columns, row_step=step, row_extent=extent,
        pixels=plan.workspace(block.threads * pixels_step), pixels_step=pixels_step,
        pixels_slot=slot, results=plan.workspace(block.threads * results_step),
        results_step=results_step, results_slot=results, ld_results=ld,
        to_table=keep(plan, table),
        from_table=keep(plan, grid_table(blocks.strip_rows, columns, columns * ld, ld)),
        rows=keep(plan, grid_table(blocks.strip_rows, columns, sy * buffer.row_bytes,
                                   sx * buffer.pixel_bytes)),
    )  # fmt: skip


def _set_weights(plan: Plan, shape: Shape) -> None:
    """Panels of filters, and for both of their widths the order of an element's steps."""
    problem, vector = shape.problem, shape.vector
    channels, (r, s) = problem.channels // problem.groups, problem.kernel
    depth = problem.reduction_length()
    tap = np.arange(r)[:, None] * s + np.arange(s)
    place = (tap * channels + np.arange(channels)[:, None, None]).ravel()
    size = int(plan.record["tile_vectors"][0])
    tables = np.concatenate([place * (size + 1), place * size]) * vector.nbytes
    group = depth * shape.filter_vectors * vector.nbytes
    plan.set(
        weights=plan.workspace(problem.groups * group), weights_group=group, weights_depth=depth,
        panel_tables=keep(plan, np.ascontiguousarray(tables, dtype=np.int64)),
    )  # fmt: skip
