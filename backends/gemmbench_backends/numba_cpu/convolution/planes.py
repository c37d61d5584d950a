"""Convolutions by tiles and planes: what Winograd's and Fourier's transforms have in common.

    x ─ to lanes ─→ pixels ─ spread ─→ V[planes][tiles][channels]   ┐
    w ─ to lanes ────────── spread ──→ U[planes][channels][filters] ┴ products ─→ M ─ gather ─→ out

A tile of pixels becomes one number in each of many planes; planes are multiplied apart from each
other, as matrices. Complex planes hold the real parts of a row and then its imaginary parts.
Strides are split into phases first, which costs nothing: they are other offsets in the table that
brings pixels into lanes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from gemmbench.backend import Operands
from gemmbench.problem import Conv2d, Pair
from gemmbench.space import Config
from gemmbench_backends.numba_cpu.compile import kernel_address
from gemmbench_backends.numba_cpu.convolution.block import (
    Block,
    Convolution,
    block_of,
    blocked,
    keep,
    new_plan,
    odd_lines,
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


@dataclass(frozen=True, slots=True)
class Tiling:
    """A problem in tiles: how large they are, and how many planes they spread over."""

    problem: Conv2d
    vector: Vector
    outputs: Pair  # of a tile, (rows, columns)
    inputs: Pair  # that it is made from, of one phase
    planes: int
    parts: int  # 1: real planes, 2: complex ones
    pad: Pair  # zeros before the first input; the problem's, unless a transform wraps around

    @property
    def phases(self) -> Phases:
        """Its phases: one if it is not strided."""
        return phases(self.problem)

    @property
    def tiles(self) -> Pair:
        """Rows of tiles, and tiles of a row."""
        p, q = self.problem.output_size()
        return -(-p // self.outputs[0]), -(-q // self.outputs[1])

    @property
    def depth(self) -> int:
        """Channels of a group, of all phases."""
        return self.problem.channels // self.problem.groups * len(self.phases.used)

    @property
    def filters(self) -> int:
        """Filters of a group."""
        return self.problem.filters // self.problem.groups

    @property
    def channel_bytes(self) -> int:
        """Bytes of a pixel, in whole registers."""
        return self._registers(self.depth) * self.vector.nbytes

    @property
    def filter_bytes(self) -> int:
        """Bytes of an output pixel, in whole registers."""
        return self._registers(self.filters) * self.vector.nbytes

    @property
    def weight_plane(self) -> int:
        """Bytes of one plane of weights, or of its real parts."""
        return self.depth * self.filter_bytes

    @property
    def pixels_width(self) -> int:
        """Columns of a strip of input."""
        return (self.tiles[1] - 1) * self.outputs[1] + self.inputs[1]

    def pixels(self, tile_rows: int) -> PixelBuffer:
        """A strip of input, for so many rows of tiles."""
        rows = (tile_rows - 1) * self.outputs[0] + self.inputs[0]
        return PixelBuffer(rows, self.pixels_width, self.channel_bytes)

    def results(self, tile_rows: int) -> PixelBuffer:
        """A strip of output, for so many rows of tiles."""
        width = self.tiles[1] * self.outputs[1]
        return PixelBuffer(tile_rows * self.outputs[0], width, self.filter_bytes)

    def flops(self) -> int:
        """Operations of the products; the transforms' are left out."""
        tiles = self.problem.batch * self.tiles[0] * self.tiles[1] * self.problem.groups
        return 2 * self.planes * self.parts**2 * tiles * self.depth * self.filters

    def _registers(self, count: int) -> int:
        return -(-count // self.vector.lanes)


class Kernels(Protocol):
    """The transforms of a tiling, each as (symbol, LLVM IR)."""

    def spread(self, pixels: PixelBuffer) -> tuple[str, str]:
        """From a tile of pixels to V."""

    def gather(self, results: PixelBuffer) -> tuple[str, str]:
        """From M to a tile of results."""

    def spread_weights(self, filters: PixelBuffer) -> tuple[str, str]:
        """From a filter's taps to U."""


def prepare_planes(
    tiling: Tiling, kernels: Kernels, config: Config, operands: Operands, growth: float
) -> Convolution:
    """The convolution ready to run; prepared weights are transformed here and now."""
    from gemmbench_backends.numba_cpu.convolution import driver

    problem, block = tiling.problem, block_of(config)
    blocks = cut_blocks(
        problem.batch, tiling.tiles[0], int(config["block"]), problem.groups, block.grid[0]
    )
    plan = new_plan(problem, operands, tiling.vector, block)
    plan.set(pad_y=tiling.pad[0], complex_parts=tiling.parts - 1)
    set_blocks(plan, blocks, tiling.tiles[0])
    counts = {rows * tiling.tiles[1] for rows in blocks.block_rows(tiling.tiles[0])}
    set_panels(plan, tiling.vector, block, counts, parts=tiling.parts)
    _set_buffers(plan, tiling, blocks, block)
    _set_planes(plan, tiling, blocks.most_rows * tiling.tiles[1], block)
    _set_weights(plan, tiling, block)
    _set_kernels(plan, tiling, kernels, blocks)
    multiply = runner(driver.by_planes, plan.address, block.threads)
    pack = runner(driver.transform_weights, plan.address, block.threads)
    return blocked(plan, multiply, pack, config, operands, tiling.flops(), growth)


def _set_buffers(plan: Plan, tiling: Tiling, blocks: Blocks, block: Block) -> None:
    """Strip buffers for each thread, and the tables that lead there."""
    problem, size = tiling.problem, tiling.vector.itemsize
    pixels, results = tiling.pixels(blocks.strip_rows), tiling.results(blocks.strip_rows)
    down, across = tiling.outputs
    stride = problem.stride[0]
    # Behind the pixels is room for those that no tap reads.
    pixels_step = per_thread(pixels.nbytes + pixels.pixel_bytes)
    results_step = per_thread(results.nbytes)
    plan.set(
        tile_height=down, tiles_per_row=tiling.tiles[1], row_step=stride * down,
        row_extent=stride * tiling.inputs[0],
        pixels=plan.workspace(block.threads * pixels_step), pixels_step=pixels_step,
        pixels_slot=pixels.nbytes, results=plan.workspace(block.threads * results_step),
        results_step=results_step, tile_down=down * pixels.row_bytes,
        tile_across=across * pixels.pixel_bytes, result_down=down * results.row_bytes,
        result_across=across * results.pixel_bytes,
    )  # fmt: skip
    table = phase_table(problem, tiling.phases, pixels, stride * pixels.rows, size, tiling.pad[1])
    q = problem.output_size()[1]
    back = grid_table(results.rows, q, results.row_bytes, results.pixel_bytes)
    plan.set(to_table=keep(plan, table), from_table=keep(plan, back))


def _set_planes(plan: Plan, tiling: Tiling, count: int, block: Block) -> None:
    """V and M: for every plane a matrix of `count` tiles by channels, or by filters."""
    ldv = row_bytes(tiling.parts * tiling.channel_bytes)
    ldm = row_bytes(tiling.parts * tiling.filter_bytes)
    v_plane, m_plane = odd_lines(count * ldv), odd_lines(count * ldm)
    v_step, m_step = (per_thread(tiling.planes * plane) for plane in (v_plane, m_plane))
    plan.set(
        planes=tiling.planes, v=plan.workspace(block.threads * v_step), v_step=v_step,
        v_plane=v_plane, ldv=ldv, m=plan.workspace(block.threads * m_step), m_step=m_step,
        m_plane=m_plane, ldm=ldm, vectors_in=tiling.channel_bytes // tiling.vector.nbytes,
        v_imaginary=tiling.channel_bytes, m_imaginary=tiling.filter_bytes, taps=1, chunks=1,
        chunk_taps=1, inner=tiling.depth, tap_offsets=keep(plan, np.zeros(1, dtype=np.int64)),
        rows=keep(plan, np.arange(count, dtype=np.int64) * ldv),
    )  # fmt: skip


def _set_weights(plan: Plan, tiling: Tiling, block: Block) -> None:
    """Memory for U, and for one vector of filters in lanes before it is transformed."""
    taps, vector = tiling.phases.taps, tiling.vector
    step, plane = taps[0] * taps[1] * vector.nbytes, tiling.weight_plane
    group = tiling.planes * tiling.parts * plane
    plan.set(
        weights=plan.workspace(tiling.problem.groups * group), weights_group=group,
        weights_plane=tiling.parts * plane, weights_imaginary=plane, weights_depth=tiling.depth,
        weight_step=step, scratch=plan.workspace(block.threads * tiling.depth * step),
        scratch_table=keep(plan, _tap_table(tiling)),
    )  # fmt: skip


def _set_kernels(plan: Plan, tiling: Tiling, kernels: Kernels, blocks: Blocks) -> None:
    taps = PixelBuffer(*tiling.phases.taps, tiling.vector.nbytes)
    made: Mapping[str, tuple[str, str]] = {
        "spread": kernels.spread(tiling.pixels(blocks.strip_rows)),
        "gather": kernels.gather(tiling.results(blocks.strip_rows)),
        "spread_weights": kernels.spread_weights(taps),
    }
    for field, (name, ir) in made.items():
        plan.record[field] = kernel_address(name, ir)


def _tap_table(tiling: Tiling) -> Array:
    """Where element (c, y, x) of a filter goes among [phase, c][tap down][tap along] vectors."""
    split_up, problem = tiling.phases, tiling.problem
    channels, (ry, rx) = problem.channels // problem.groups, split_up.taps
    (sy, sx), (r, s) = problem.stride, problem.kernel
    y, x = np.arange(r)[:, None], np.arange(s)[None, :]
    phase = np.array([[split_up.index(i, j) for j in range(s)] for i in range(r)])
    tap = y // sy * rx + x // sx
    c = np.arange(channels)[:, None, None]
    table = ((phase * channels + c) * (ry * rx) + tap) * tiling.vector.nbytes
    return np.ascontiguousarray(table, dtype=np.int64).ravel()
