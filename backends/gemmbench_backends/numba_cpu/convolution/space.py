"""What can be tuned for a convolution by blocks, and the default that the model picks."""

from collections.abc import Iterable

from gemmbench.machine import Machine
from gemmbench.problem import Conv2d
from gemmbench.space import Axis, Config, Constraint, SearchSpace, Value
from gemmbench_backends.numba_cpu.convolution.layout import cut_blocks
from gemmbench_backends.numba_cpu.convolution.model import (
    AHEAD_VALUES,
    TRANSFORM_CYCLES,
    Caches,
    caches,
    grids,
    product_cycles,
    register_blocks,
)
from gemmbench_backends.numba_cpu.convolution.winograd import Shape, tiles
from gemmbench_backends.numba_cpu.model import Registers, registers

BLOCK_BYTES = tuple(96 * 1024 * 2**i for i in range(10))  # of a block's intermediates: to 48 MiB
UNROLLS = (1, 2, 4)


def winograd_space(problem: Conv2d, machine: Machine, choice: Config) -> SearchSpace:
    """Output tile, register block, unrolling, prefetch, cache block and threads."""
    regs, threads = registers(machine, problem.dtype), int(choice["threads"])
    shapes = {m: Shape(problem, m, regs.vector) for m in tiles(problem)}
    cut = {m: _winograd_blocks(shape) for m, shape in shapes.items()}
    blocks = register_blocks(regs, problem.filters // problem.groups)
    caches_ = caches(machine)
    m, rows, block = min(
        ((m, rows, block) for m in shapes for rows in cut[m] for block in blocks),
        key=lambda one: winograd_cycles(shapes[one[0]], one[1], one[2], caches_, threads),
    )
    grid = _best_grid(problem, shapes[m].tiles[0], rows, block, regs, threads)
    default: dict[str, Value] = {
        "m": m, "mr": block[0], "nv": block[1], "ku": 4, "ahead": AHEAD_VALUES[-1], "block": rows,
        "grid": f"{grid[0]}x{grid[1]}",
    }  # fmt: skip
    axes = (
        _axis("m", shapes),
        *_product_axes(blocks),
        _axis("block", {rows for each in cut.values() for rows in each}),
        _grid_axis(problem, regs, threads),
    )
    known = {(m, rows) for m, each in cut.items() for rows in each}
    rules = (
        Constraint("register block", ("mr", "nv"), lambda mr, nv: (mr, nv) in blocks),
        Constraint("rows of tiles", ("m", "block"), lambda m, rows: (m, rows) in known),
    )
    return SearchSpace(axes, default, rules)


def winograd_cycles(
    shape: Shape, rows: int, block: tuple[int, int], memory: Caches, threads: int
) -> float:
    """What the model says that `rows` rows of tiles a block cost, for one of `threads`."""
    problem, (down, across) = shape.problem, shape.tiles
    cut = cut_blocks(problem.batch, down, rows, problem.groups, threads)
    pixels = cut.most_rows * across
    size, groups, count = shape.vector.itemsize, problem.groups, problem.batch * down * across
    products = groups * product_cycles(
        [(pixels, shape.planes * cut.count)], shape.depth, shape.filters, block, shape.vector
    )
    weights = shape.planes * shape.depth * shape.filters * size
    vectors = shape.vectors(shape.depth) + shape.vectors(shape.filters)
    intermediates = shape.planes * pixels * vectors * shape.vector.nbytes
    moved = shape.planes * vectors * count * groups
    spilled = memory.cycles(4 * moved * shape.vector.nbytes, 2 * intermediates)
    reloaded = memory.cycles(weights * cut.count * groups, weights * groups + intermediates)
    shared = min(threads, cut.count * groups) if cut.count * groups > 1 else 1
    return (products + TRANSFORM_CYCLES * moved + spilled + reloaded / 2) / shared


def _winograd_blocks(shape: Shape) -> list[int]:
    vectors = shape.vectors(shape.depth) + shape.vectors(shape.filters)
    row = shape.tiles[1] * shape.planes * vectors * shape.vector.nbytes
    return block_rows(shape.problem.batch, shape.tiles[0], row)


def block_rows(batch: int, tile_rows: int, row_bytes: int) -> list[int]:
    """Rows of tiles a block, one for each different way that sizes in BLOCK_BYTES cut."""
    found: dict[tuple[int, int], int] = {}
    for nbytes in BLOCK_BYTES:
        rows = max(1, min(batch * tile_rows, nbytes // row_bytes))
        cut = cut_blocks(batch, tile_rows, rows)
        found.setdefault((cut.strip_rows, cut.block_strips), cut.most_rows)
    return sorted(set(found.values()))


def _product_axes(blocks: Iterable[tuple[int, int]]) -> tuple[Axis, ...]:
    return (
        _axis("mr", {mr for mr, _ in blocks}),
        _axis("nv", {nv for _, nv in blocks}),
        Axis("ku", UNROLLS),
        Axis("ahead", AHEAD_VALUES),
    )


def _grid_axis(problem: Conv2d, regs: Registers, threads: int) -> Axis:
    vectors = -(-(problem.filters // problem.groups) // regs.vector.lanes)
    units = problem.batch * problem.groups * problem.output_size()[0]
    found = grids(threads, units, vectors)
    return Axis("grid", tuple(f"{a}x{b}" for a, b in found), "categorical")


def _best_grid(
    problem: Conv2d, tile_rows: int, rows: int, block: tuple[int, int], regs: Registers,
    threads: int,
) -> tuple[int, int]:  # fmt: skip
    """Threads over units where these come out even, else over filters."""
    vectors = -(-(problem.filters // problem.groups) // regs.vector.lanes)
    units = problem.batch * problem.groups * problem.output_size()[0]

    def busiest(grid: tuple[int, int]) -> tuple[float, int]:
        cut = cut_blocks(problem.batch, tile_rows, rows, problem.groups, grid[0])
        units = cut.count * problem.groups
        share = -(-units // grid[0]) / units
        panels = -(-vectors // block[1])
        return share * (-(-panels // grid[1]) / panels), grid[1]

    return min(grids(threads, units, vectors), key=busiest)


def _axis(name: str, values: Iterable[int]) -> Axis:
    return Axis(name, tuple(sorted(values)))
