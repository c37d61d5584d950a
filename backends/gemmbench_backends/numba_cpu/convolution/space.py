"""What can be tuned for a convolution by blocks, and the default that the model picks."""

from collections.abc import Iterable, Mapping
from math import log2

from gemmbench.machine import Machine
from gemmbench.problem import Conv2d
from gemmbench.space import Axis, Config, Constraint, SearchSpace, Value
from gemmbench_backends.numba_cpu.convolution import direct, fourier, winograd
from gemmbench_backends.numba_cpu.convolution.layout import cut_blocks
from gemmbench_backends.numba_cpu.convolution.model import (
    AHEAD_VALUES,
    FOURIER_CYCLES,
    JOIN_CYCLES,
    LAYOUT_CYCLES,
    SHARED_BYTES_A_CYCLE,
    TRANSFORM_CYCLES,
    Caches,
    caches,
    grids,
    product_cycles,
    register_blocks,
)
from gemmbench_backends.numba_cpu.convolution.planes import Tiling
from gemmbench_backends.numba_cpu.model import Registers, registers

BLOCK_BYTES = tuple(96 * 1024 * 2**i for i in range(10))  # of a block's intermediates: to 48 MiB
UNROLLS = (1, 2, 4)
CHUNKS = (128, 256, 512, 1024, 1 << 20)  # steps along k added up at a time; the last: all


def winograd_space(problem: Conv2d, machine: Machine, choice: Config) -> SearchSpace:
    """Output tile, register block, unrolling, prefetch, cache block and threads."""
    regs = registers(machine, problem.dtype)
    tilings = {m: winograd.tiling(problem, m, regs.vector) for m in winograd.tiles(problem)}
    return _planes_space("m", tilings, regs, machine, choice)


def fft_space(problem: Conv2d, machine: Machine, choice: Config) -> SearchSpace:
    """Points of a tile, register block, prefetch, cache block and threads."""
    regs = registers(machine, problem.dtype)
    found = fourier.lengths(problem)
    tilings = {length: fourier.tiling(problem, length, regs.vector) for length in found}
    return _planes_space("points", tilings, regs, machine, choice)


def _planes_space(
    name: str, tilings: Mapping[int, Tiling], regs: Registers, machine: Machine, choice: Config
) -> SearchSpace:
    """The space of one tiling or another, whose axis is `name`."""
    threads, plain = int(choice["threads"]), choice["weights"] == "plain"
    cut = {size: _plane_blocks(tiling) for size, tiling in tilings.items()}
    tiling = next(iter(tilings.values()))
    problem, parts = tiling.problem, tiling.parts
    blocks = register_blocks(regs, tiling.filters, parts)
    memory, ways = caches(machine, threads), _grids(problem, regs, threads)

    def cycles(one: tuple[int, int, tuple[int, int], tuple[int, int]]) -> float:
        size, rows, block, grid = one
        products = plane_cycles(tilings[size], rows, block, memory, grid)
        return products + (weight_cycles(tilings[size], memory) if plain else 0.0)

    size, rows, block, grid = min(
        (
            (size, rows, block, grid)
            for size in tilings for rows in cut[size] for block in blocks for grid in ways
        ),
        key=cycles,
    )  # fmt: skip
    unrolls = UNROLLS if parts == 1 else (1,)
    default: dict[str, Value] = {
        name: size, "mr": block[0], "nv": block[1], "ku": unrolls[-1], "ahead": AHEAD_VALUES[-1],
        "block": rows, "grid": f"{grid[0]}x{grid[1]}",
    }  # fmt: skip
    axes = (
        _axis(name, tilings),
        *_product_axes(blocks, unrolls),
        _axis("block", {rows for each in cut.values() for rows in each}),
        _grid_axis(ways),
    )
    known = {(size, rows) for size, each in cut.items() for rows in each}
    rules = (
        Constraint("register block", ("mr", "nv"), lambda mr, nv: (mr, nv) in blocks),
        Constraint("rows of tiles", (name, "block"), lambda size, rows: (size, rows) in known),
    )
    return SearchSpace(axes, default, rules)


def plane_cycles(
    tiling: Tiling, rows: int, block: tuple[int, int], memory: Caches, grid: tuple[int, int]
) -> float:
    """What the model says that `rows` rows of tiles a block cost the busiest thread of `grid`."""
    problem, (down, across) = tiling.problem, tiling.tiles
    cut = cut_blocks(problem.batch, down, rows, problem.groups, grid[0])
    pixels, units = cut.most_rows * across, cut.count * problem.groups
    panels = -(-tiling.filters // tiling.vector.lanes // block[1])
    some, filters = _share(units, grid[0]), _share(panels, grid[1])
    products = units * tiling.planes * product_cycles(
        pixels, tiling.depth, tiling.filters, block, tiling.vector, tiling.parts
    )  # fmt: skip
    planes = tiling.planes * tiling.parts
    weights = planes * tiling.weight_plane
    # Threads that share a unit make its tiles together; each then has filters of its own.
    made = _share(tiling.lines, grid[1]) if tiling.divisible else 1.0
    tiles = problem.batch * down * across * problem.groups
    channel_bytes, filter_bytes = planes * tiling.channel_bytes, planes * tiling.filter_bytes
    moved = tiles * (channel_bytes * made + filter_bytes * filters)
    transforms = _transform_cycles(tiling) * moved / tiling.vector.nbytes
    block_bytes = pixels * (channel_bytes + filter_bytes * filters)
    spilled = memory.cycles(
        2 * tiles * (channel_bytes * (made + 1) + 2 * filter_bytes * filters), 2 * block_bytes
    )
    reloaded = memory.cycles(weights * filters * units, block_bytes, weights * problem.groups)
    layout = layout_cycles(problem, tiling.vector.lanes, filters, made)
    shared = 0.0
    if grid[1] > 1:
        shared = tiles * channel_bytes * (1 - made) / SHARED_BYTES_A_CYCLE + 2 * JOIN_CYCLES * units
    return some * (products * filters + transforms + layout + spilled + reloaded / 2 + shared)


def layout_cycles(problem: Conv2d, lanes: int, filters: float, channels: float = 1.0) -> float:
    """Cycles to bring this part of the channels into lanes, and of the filters' results out."""
    (p, q), batch = problem.output_size(), problem.batch
    pixels = problem.channels * problem.height * problem.width * channels
    return LAYOUT_CYCLES * batch * (pixels + problem.filters * p * q * filters) / lanes


def _share(count: int, parts: int) -> float:
    """What part of `count` things the busiest of `parts` has."""
    return -(-count // parts) / count


def weight_cycles(tiling: Tiling, memory: Caches) -> float:
    """What the model says that transforming the weights in every call costs."""
    nbytes = tiling.problem.groups * tiling.planes * tiling.parts * tiling.weight_plane
    cycles = 2 * _transform_cycles(tiling) * nbytes / tiling.vector.nbytes
    return (cycles + memory.cycles(2 * nbytes, nbytes / memory.threads)) / memory.threads


def _transform_cycles(tiling: Tiling) -> float:
    """Cycles for each register that a transform makes.

    Of a Fourier transform, those of its halvings and of the odd length that is left, by definition.
    """
    if tiling.parts == 1:
        return TRANSFORM_CYCLES
    length = tiling.inputs[0]
    even = length & -length
    return FOURIER_CYCLES * (log2(even) + length / even / 2)


def _plane_blocks(tiling: Tiling) -> list[int]:
    tile_bytes = tiling.planes * tiling.parts * (tiling.channel_bytes + tiling.filter_bytes)
    return block_rows(tiling.problem.batch, tiling.tiles[0], tiling.tiles[1] * tile_bytes)


def direct_space(problem: Conv2d, machine: Machine, choice: Config) -> SearchSpace:
    """Register block, unrolling, prefetch, chunks along k, cache block and threads."""
    regs, threads = registers(machine, problem.dtype), int(choice["threads"])
    shape = direct.Shape(problem, regs.vector)
    blocks = register_blocks(regs, shape.filters)
    cut = _direct_blocks(shape)
    memory, ways = caches(machine, threads), _grids(problem, regs, threads)
    rows, block, grid = min(
        ((rows, block, grid) for rows in cut for block in blocks for grid in ways),
        key=lambda one: direct_cycles(shape, one[0], one[1], memory, one[2]),
    )
    default: dict[str, Value] = {
        "mr": block[0], "nv": block[1], "ku": 2, "ahead": AHEAD_VALUES[-1], "chunk": CHUNKS[1],
        "block": rows, "grid": f"{grid[0]}x{grid[1]}",
    }  # fmt: skip
    axes = (
        *_product_axes(blocks),
        Axis("chunk", CHUNKS),
        _axis("block", cut),
        _grid_axis(ways),
    )
    rule = Constraint("register block", ("mr", "nv"), lambda mr, nv: (mr, nv) in blocks)
    return SearchSpace(axes, default, (rule,))


def direct_cycles(
    shape: direct.Shape, rows: int, block: tuple[int, int], memory: Caches, grid: tuple[int, int]
) -> float:
    """What the model says that `rows` rows of output a block cost the busiest thread of `grid`."""
    problem, (height, width) = shape.problem, shape.problem.output_size()
    cut = cut_blocks(problem.batch, height, rows, problem.groups, grid[0])
    depth, units = problem.reduction_length(), cut.count * problem.groups
    pixels, strips = cut.strip_rows * width, cut.strips * problem.groups
    panels = -(-shape.filter_vectors // block[1])
    some, filters = _share(units, grid[0]), _share(panels, grid[1])
    products = strips * product_cycles(pixels, depth, shape.filters, block, shape.vector)
    weights = depth * shape.filter_vectors * shape.vector.nbytes
    strip = shape.pixels(cut.strip_rows).nbytes + pixels * shape.ld_results()
    reloaded = memory.cycles(weights * filters * units, 0.0, weights * problem.groups)
    # All of a block's pixels are read again for every panel.
    spilled = memory.cycles(panels * strip * strips, cut.block_strips * strip)
    layout = layout_cycles(problem, shape.vector.lanes, filters)
    return some * (products * filters + layout + reloaded / 2 + spilled * filters / 2)


def _direct_blocks(shape: direct.Shape) -> list[int]:
    height, width = shape.problem.output_size()
    buffer = shape.pixels(2)
    rows = shape.stride[0] * buffer.row_bytes + width * shape.ld_results()
    return block_rows(shape.problem.batch, height, rows)


def block_rows(batch: int, tile_rows: int, row_bytes: int) -> list[int]:
    """Rows of tiles a block, one for each different way that sizes in BLOCK_BYTES cut."""
    found: dict[tuple[int, int], int] = {}
    for nbytes in BLOCK_BYTES:
        rows = max(1, min(batch * tile_rows, nbytes // row_bytes))
        cut = cut_blocks(batch, tile_rows, rows)
        found.setdefault((cut.strip_rows, cut.block_strips), cut.most_rows)
    return sorted(set(found.values()))


def _product_axes(
    blocks: Iterable[tuple[int, int]], unrolls: tuple[int, ...] = UNROLLS
) -> tuple[Axis, ...]:
    return (
        _axis("mr", {mr for mr, _ in blocks}),
        _axis("nv", {nv for _, nv in blocks}),
        Axis("ku", unrolls),
        Axis("ahead", AHEAD_VALUES),
    )


def _grids(problem: Conv2d, regs: Registers, threads: int) -> list[tuple[int, int]]:
    vectors = -(-(problem.filters // problem.groups) // regs.vector.lanes)
    units = problem.batch * problem.groups * problem.output_size()[0]
    return grids(threads, units, vectors)


def _grid_axis(ways: Iterable[tuple[int, int]]) -> Axis:
    return Axis("grid", tuple(f"{a}x{b}" for a, b in ways), "categorical")


def _axis(name: str, values: Iterable[int]) -> Axis:
    return Axis(name, tuple(sorted(values)))
