"""What convolutions by blocks share when they are made ready: plan, kernels, panels, threads."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from gemmbench.backend import Operands
from gemmbench.problem import Conv2d
from gemmbench.space import Config
from gemmbench_backends.numba_cpu.compile import kernel_address
from gemmbench_backends.numba_cpu.convolution import lanes
from gemmbench_backends.numba_cpu.convolution.complexkernel import ComplexKernel, complexkernel_ir
from gemmbench_backends.numba_cpu.convolution.layout import Blocks, heights
from gemmbench_backends.numba_cpu.convolution.panelkernel import PanelKernel, panelkernel_ir
from gemmbench_backends.numba_cpu.convolution.plan import (
    ALL_STAGES,
    CONVOLUTION,
    INPUT,
    MULTIPLY,
    OUTPUT,
)
from gemmbench_backends.numba_cpu.emit import Vector
from gemmbench_backends.numba_cpu.product import Array, Plan, Runner, split

_LINE_BYTES = 64


@dataclass(slots=True)
class Convolution:
    """A convolution ready to run, with what it tells of itself beside its answer."""

    steps: tuple[Runner, ...]
    operands: Operands
    plan: Plan
    flops: int
    error_growth: float = 1.0
    stages: Mapping[str, Runner] = field(default_factory=dict)

    @property
    def workspace_bytes(self) -> int:
        """Memory beyond the operands, prepared weights included."""
        return self.plan.workspace_bytes()

    def run(self) -> None:
        """Compute once."""
        for step in self.steps:
            step()

    def output(self) -> Array:
        """The answer of the last run."""
        return self.operands["out"]


def blocked(
    plan: Plan, multiply: Runner, pack: Runner, config: Config, operands: Operands, flops: int,
    growth: float = 1.0,
) -> Convolution:  # fmt: skip
    """The convolution that `multiply` computes block by block; `pack` makes its weights.

    Prepared weights are made here and now. A stage goes through all blocks like a call, doing its
    part of each with the same buffers, so that it costs what it costs there; in order they give
    the answer of the last block.
    """
    prepared = config["weights"] == "prepared"
    if prepared:
        pack()
    stages = {
        **({} if prepared else {"filter transform": pack}),
        "input transform": _only(plan, multiply, INPUT),
        "multiply": _only(plan, multiply, MULTIPLY),
        "output transform": _only(plan, multiply, OUTPUT),
    }
    steps = (multiply,) if prepared else (pack, multiply)
    return Convolution(steps, operands, plan, flops, growth, stages)


def _only(plan: Plan, call: Runner, stage: int) -> Runner:
    """`call` doing one of its stages."""

    def run() -> None:
        plan.set(stages=stage)
        call()
        plan.set(stages=ALL_STAGES)

    return run


@dataclass(frozen=True, slots=True)
class Block:
    """The register block, and how the filters are cut into panels."""

    rows: int
    vectors: int
    unroll: int
    ahead_bytes: int
    grid: tuple[int, int]  # threads over units, over panels

    @property
    def threads(self) -> int:
        """How many threads the grid has."""
        return self.grid[0] * self.grid[1]


def block_of(config: Config) -> Block:
    """The part of a config that the register block and the threads are."""
    units, columns = (int(size) for size in str(config["grid"]).split("x"))
    return Block(
        int(config["mr"]), int(config["nv"]), int(config["ku"]), int(config["ahead"]),
        (units, columns),
    )  # fmt: skip


def new_plan(problem: Conv2d, operands: Operands, vector: Vector, block: Block) -> Plan:
    """A plan that knows the images, the threads and the kernels that move pixels."""
    plan = Plan(np.zeros(1, dtype=CONVOLUTION))
    size, groups = vector.itemsize, problem.groups
    channels, filters = problem.channels // groups, problem.filters // groups
    plane, (p, q) = problem.height * problem.width * size, problem.output_size()
    plan.set(itemsize=size, lanes=vector.lanes, groups=groups)
    plan.set(
        x=operands["x"].ctypes.data, x_step=problem.channels * plane, x_group=channels * plane,
        x_plane=plane, height=problem.height, width=problem.width, channels=channels,
        out=operands["out"].ctypes.data, out_step=problem.filters * p * q * size,
        out_group=filters * p * q * size, out_plane=p * q * size, out_height=p, out_width=q,
        filters=filters, pad_y=problem.pad[0],
    )  # fmt: skip
    taps = problem.reduction_length()
    plan.set(
        w=operands["w"].ctypes.data, w_group=filters * taps * size, w_filter=taps * size,
        w_elements=taps, grid_units=block.grid[0], grid_columns=block.grid[1], stages=ALL_STAGES,
    )  # fmt: skip
    few = channels % vector.lanes
    plan.set(
        to_lanes=kernel_address(lanes.to_lanes_name(vector), lanes.to_lanes_ir(vector)),
        to_planes=kernel_address(lanes.to_planes_name(vector), lanes.to_planes_ir(vector)),
    )
    if few:
        ir = lanes.to_few_lanes_ir(vector, few)
        plan.set(to_few_lanes=kernel_address(lanes.to_few_lanes_name(vector, few), ir))
    return plan


def set_blocks(plan: Plan, blocks: Blocks, tile_rows: int) -> None:
    """How the rows of tiles are cut."""
    plan.set(
        tile_rows=tile_rows, strip_rows=blocks.strip_rows, strips=blocks.strips,
        strips_per_image=blocks.strips_per_image, block_strips=blocks.block_strips,
        blocks=blocks.count, clears=int(blocks.strips_per_image > 1),
    )  # fmt: skip


def set_panels(
    plan: Plan, vector: Vector, block: Block, counts: set[int], *, chunks: bool = False,
    parts: int = 1,
) -> None:  # fmt: skip
    """Cut the filters into panels and compile the kernels for `counts` pixels at a time."""
    vectors = -(-int(plan.record["filters"][0]) // vector.lanes)
    size, wider, count = split(vectors, block.vectors, block.grid[1])
    plan.set(tile=block.rows, tile_vectors=size, extra_vectors=wider, column_tiles=count)
    for rows in heights(counts, block.rows):
        for narrow, width in [(1, size), *([(0, size + 1)] if wider else [])]:
            for adds in (False, True) if chunks else (False,):
                address = _kernel(block, vector, (rows, width), parts, adds=adds)
                plan.record["kernels"][0, int(adds), rows, narrow] = address


def _kernel(block: Block, vector: Vector, size: tuple[int, int], parts: int, *, adds: bool) -> int:
    """The address of the micro-kernel of a register block of `size`, of complex numbers or not."""
    if parts == 2:
        complex_ = ComplexKernel(*size, vector, block.ahead_bytes)
        return kernel_address(complex_.name(), complexkernel_ir(complex_))
    kernel = PanelKernel(*size, vector, block.unroll, adds, block.ahead_bytes)
    return kernel_address(kernel.name(), panelkernel_ir(kernel))


def keep(plan: Plan, table: Array) -> int:
    """The address of `table`, which lives as long as the plan."""
    plan.owned.append(table)
    return int(table.ctypes.data)


def odd_lines(nbytes: int) -> int:
    """At least `nbytes`, an odd number of cache lines: planes so far apart share no sets."""
    return (-(-nbytes // _LINE_BYTES) | 1) * _LINE_BYTES


def row_bytes(nbytes: int) -> int:
    """The distance of rows of `nbytes`: a line more where a few would share the sets of L1."""
    return nbytes + 64 if nbytes % 1024 == 0 else nbytes
