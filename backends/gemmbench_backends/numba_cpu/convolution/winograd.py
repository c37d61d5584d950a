"""Convolutions by Winograd's minimal filtering: fewer products for more additions.

    x ─ to lanes ─→ pixels ─ Bᵀ·B ─→ V[n·n][tiles][channels] ┐
    w ─ to lanes ─→ ─────── G·Gᵀ ──→ U[n·n][channels][filters] ┴ n·n products ─→ M ─ Aᵀ·A ─→ out

Strides are split into phases first, which costs nothing: they are other offsets in the table that
brings pixels into lanes.
"""

from dataclasses import dataclass

import numpy as np

from gemmbench.backend import Operands
from gemmbench.problem import Conv2d, Pair
from gemmbench.space import Config
from gemmbench_backends.numba_cpu.compile import kernel_address
from gemmbench_backends.numba_cpu.convolution.block import (
    Block,
    Convolution,
    keep,
    new_plan,
    odd_lines,
    per_thread,
    set_blocks,
    set_panels,
)
from gemmbench_backends.numba_cpu.convolution.cooktoom import (
    MOST_POINTS,
    Matrix,
    Transform,
    cook_toom,
    growth,
    identity,
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
from gemmbench_backends.numba_cpu.convolution.transform import TileTransform, tile_transform_ir
from gemmbench_backends.numba_cpu.emit import Vector
from gemmbench_backends.numba_cpu.product import Plan
from gemmbench_backends.numba_cpu.threads import runner

TILES = (2, 3, 4)  # outputs of a tile, each way; 6 was never clearly faster and is less accurate


def unsupported(problem: Conv2d) -> str | None:
    """Why Winograd's method does not apply; None if it does."""
    if problem.dilation != (1, 1):
        return f"winograd takes no dilation, got {problem.dilation[0]}×{problem.dilation[1]}"
    taps = phases(problem).taps
    if max(taps) < 2:
        return "winograd needs at least 2 taps of a phase along one side: there is nothing to save"
    if max(taps) + min(TILES) - 1 > MOST_POINTS:
        return (
            f"winograd takes at most {MOST_POINTS + 1 - min(TILES)} taps of a phase, "
            f"got {taps[0]}×{taps[1]}"
        )
    if problem.channels == problem.groups:
        return "winograd multiplies matrices: one channel a group makes none"
    return None


def tiles(problem: Conv2d) -> tuple[int, ...]:
    """The output tiles there are for the taps of `problem`."""
    return tuple(m for m in TILES if m + max(phases(problem).taps) - 1 <= MOST_POINTS)


@dataclass(frozen=True, slots=True)
class Shape:
    """A problem in tiles of m × m outputs."""

    problem: Conv2d
    m: int
    vector: Vector

    @property
    def phases(self) -> Phases:
        """Its phases: one if it is not strided."""
        return phases(self.problem)

    @property
    def transforms(self) -> tuple[Transform, Transform]:
        """Down the rows, along the columns."""
        down, along = (
            cook_toom(self.m, r) if r > 1 else identity(self.m) for r in self.phases.taps
        )
        return down, along

    @property
    def tiles(self) -> Pair:
        """Rows of tiles, and tiles of a row."""
        p, q = self.problem.output_size()
        return -(-p // self.m), -(-q // self.m)

    @property
    def planes(self) -> int:
        """Products of a tile, for each channel and filter."""
        return self.transforms[0].points * self.transforms[1].points

    @property
    def depth(self) -> int:
        """Channels of a group, of all phases."""
        return self.problem.channels // self.problem.groups * len(self.phases.used)

    @property
    def filters(self) -> int:
        """Filters of a group."""
        return self.problem.filters // self.problem.groups

    def vectors(self, count: int) -> int:
        """Registers that hold `count` channels."""
        return -(-count // self.vector.lanes)

    def flops(self) -> int:
        """Operations of the products; the transforms' are left out."""
        tiles = self.problem.batch * self.tiles[0] * self.tiles[1] * self.problem.groups
        return 2 * self.planes * tiles * self.depth * self.filters


def prepare_winograd(
    problem: Conv2d, config: Config, operands: Operands, vector: Vector
) -> Convolution:
    """The convolution ready to run; prepared weights are transformed here and now."""
    from gemmbench_backends.numba_cpu.convolution import driver

    shape = Shape(problem, int(config["m"]), vector)
    block = block_of(config)
    blocks = cut_blocks(
        problem.batch, shape.tiles[0], int(config["block"]), problem.groups, block.grid[0]
    )
    plan = new_plan(problem, operands, vector, block)
    set_blocks(plan, blocks, shape.tiles[0])
    set_panels(
        plan, vector, block, {rows * shape.tiles[1] for rows in blocks.block_rows(shape.tiles[0])}
    )
    _set_transforms(plan, shape, _set_buffers(plan, shape, blocks, block))
    _set_weights(plan, shape, block)
    multiply = runner(driver.winograd, plan.address, block.threads)
    pack = runner(driver.transform_weights, plan.address, block.threads)
    if config["weights"] == "prepared":
        pack()
    steps = (multiply,) if config["weights"] == "prepared" else (pack, multiply)
    grown = growth(shape.transforms[0]) * growth(shape.transforms[1])
    return Convolution(steps, operands, plan, shape.flops(), grown)


def block_of(config: Config) -> Block:
    """The part of a config that the register block and the threads are."""
    units, columns = (int(size) for size in str(config["grid"]).split("x"))
    return Block(
        int(config["mr"]), int(config["nv"]), int(config["ku"]), int(config["ahead"]),
        (units, columns),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Strips:
    """The two strip buffers: pixels that come in, results that go out."""

    pixels: PixelBuffer
    results: PixelBuffer


def _set_buffers(plan: Plan, shape: Shape, blocks: Blocks, block: Block) -> _Strips:
    """Strip buffers, V and M for each thread, and the tables that lead there."""
    problem, vector, m = shape.problem, shape.vector, shape.m
    (sy, _), (ry, rx) = problem.stride, shape.phases.taps
    rows, across = blocks.strip_rows * m, shape.tiles[1] * m
    channels, filters = shape.vectors(shape.depth), shape.vectors(shape.filters)
    pixels = PixelBuffer(rows + ry - 1, across + rx - 1, channels * vector.nbytes)
    results = PixelBuffer(rows, across, filters * vector.nbytes)
    # Behind the pixels is room for those that no tap reads.
    pixels_step = per_thread(pixels.nbytes + pixels.pixel_bytes)
    results_step = per_thread(results.nbytes)
    plan.set(
        tile_height=m, tiles_per_row=shape.tiles[1], row_step=sy * m, row_extent=sy * (m + ry - 1),
        pixels=plan.workspace(block.threads * pixels_step), pixels_step=pixels_step,
        pixels_slot=pixels.nbytes, results=plan.workspace(block.threads * results_step),
        results_step=results_step, tile_down=m * pixels.row_bytes,
        tile_across=m * pixels.pixel_bytes, result_down=m * results.row_bytes,
        result_across=m * results.pixel_bytes,
    )  # fmt: skip
    table = phase_table(problem, shape.phases, pixels, sy * pixels.rows, vector.itemsize)
    q = problem.output_size()[1]
    back = grid_table(rows, q, results.row_bytes, results.pixel_bytes)
    plan.set(to_table=keep(plan, table), from_table=keep(plan, back))
    _set_planes(plan, shape, blocks.most_rows * shape.tiles[1], block)
    return _Strips(pixels, results)


def _set_planes(plan: Plan, shape: Shape, count: int, block: Block) -> None:
    """V and M: for every plane a matrix of `count` tiles by channels, or by filters."""
    channels, filters = shape.vectors(shape.depth), shape.vectors(shape.filters)
    ldv, ldm = (row_bytes(vectors * shape.vector.nbytes) for vectors in (channels, filters))
    v_plane, m_plane = odd_lines(count * ldv), odd_lines(count * ldm)
    v_step, m_step = (per_thread(shape.planes * plane) for plane in (v_plane, m_plane))
    plan.set(
        planes=shape.planes, v=plan.workspace(block.threads * v_step), v_step=v_step,
        v_plane=v_plane, ldv=ldv, m=plan.workspace(block.threads * m_step), m_step=m_step,
        m_plane=m_plane, ldm=ldm, vectors_in=channels, taps=1, chunks=1, chunk_taps=1,
        inner=shape.depth, tap_offsets=keep(plan, np.zeros(1, dtype=np.int64)),
        rows=keep(plan, np.arange(count, dtype=np.int64) * ldv),
    )  # fmt: skip


def row_bytes(nbytes: int) -> int:
    """The distance of rows of `nbytes`: a line more where a few would share the sets of L1."""
    return nbytes + 64 if nbytes % 1024 == 0 else nbytes


def _set_transforms(plan: Plan, shape: Shape, strips: _Strips) -> None:
    down, along = shape.transforms
    vector, label = shape.vector, f"f{shape.m}"
    taps = "x".join(str(r) for r in shape.phases.taps)

    def kernel(side: str, rows: Matrix, columns: Matrix, near: PixelBuffer) -> int:
        transform = TileTransform(
            f"{side}{label}_{taps}", rows, columns, near.row_bytes, near.pixel_bytes, vector,
            side != "output",
        )  # fmt: skip
        return kernel_address(transform.name(), tile_transform_ir(transform))

    ry, rx = shape.phases.taps
    filters = PixelBuffer(ry, rx, vector.nbytes)
    plan.set(
        spread=kernel("inputs", down.inputs, along.inputs, strips.pixels),
        gather=kernel("output", down.output, along.output, strips.results),
        spread_weights=kernel("weights", down.weights, along.weights, filters),
    )


def _set_weights(plan: Plan, shape: Shape, block: Block) -> None:
    """Memory for U, and for one vector of filters in lanes before it is transformed."""
    problem, vector = shape.problem, shape.vector
    step = shape.phases.taps[0] * shape.phases.taps[1] * vector.nbytes
    plane = shape.depth * shape.vectors(shape.filters) * vector.nbytes
    group = shape.planes * plane
    plan.set(
        weights=plan.workspace(problem.groups * group), weights_group=group, weights_plane=plane,
        weights_depth=shape.depth, weight_step=step,
        scratch=plan.workspace(block.threads * shape.depth * step),
        scratch_table=keep(plan, _tap_table(shape, vector.nbytes)),
    )  # fmt: skip


def _tap_table(shape: Shape, vector_bytes: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Where element (c, y, x) of a filter goes among [phase, c][tap down][tap along] vectors."""
    split_up, problem = shape.phases, shape.problem
    channels, (ry, rx) = problem.channels // problem.groups, split_up.taps
    (sy, sx), (r, s) = problem.stride, problem.kernel
    y, x = np.arange(r)[:, None], np.arange(s)[None, :]
    phase = np.array([[split_up.index(i, j) for j in range(s)] for i in range(r)])
    tap = y // sy * rx + x // sx
    c = np.arange(channels)[:, None, None]
    table = ((phase * channels + c) * (ry * rx) + tap) * vector_bytes
    return np.ascontiguousarray(table, dtype=np.int64).ravel()
