"""What can be tuned for a product on a machine, and the config that a model of its caches picks.

Source of the model: Low, Igual, Smith & Quintana-Ortí 2016, "Analytical Modeling Is Enough for
High-Performance BLIS": the register block from the registers, kc from L1, mc from L2.
"""

from collections import Counter
from dataclasses import dataclass

from gemmbench.machine import Machine
from gemmbench.problem import Conv2d, Gemm, Problem
from gemmbench.space import Axis, Config, Constraint, SearchSpace, Value
from gemmbench_backends.numba_cpu.emit import Vector
from gemmbench_backends.numba_cpu.product import Shape, k_block, split

L1_BYTES, L2_BYTES = 32 * 1024, 512 * 1024  # assumed where a machine does not tell: the smallest
LINE_BYTES = 64
WAY_BYTES = 4096  # of an L1 indexed by virtual address, whose ways cannot exceed the smallest page
TINY_FLOPS = 1_000_000  # below, starting a second thread costs more than it saves
FEW_COLUMNS = 16  # up to here dot products along k may win: C is too narrow for whole registers
FEW_ROWS = 48  # up to here B, used so seldom, costs what memory costs and packing never pays
VERY_FEW_ROWS, STREAMS = 4, 8  # then B, from memory, is best read a few whole rows at a time
MIN_ACCUMULATORS = 8  # FMA latency 4, two a cycle: fewer chains cannot keep the units busy
KC_VALUES = (128, 256, 512, 1024, 2048)
MC_VALUES = (96, 384)
NC_VECTORS = (16, 64)


@dataclass(frozen=True, slots=True)
class Registers:
    """The vector registers a kernel may use."""

    count: int
    vector: Vector


def registers(machine: Machine, dtype: str) -> Registers:
    """The vector registers of `machine`: 32 with AVX-512 and on ARM, otherwise 16."""
    nbytes = machine.vector_bytes()
    few = nbytes < 64 and not machine.system.endswith(("aarch64", "arm64"))
    vector = Vector(dtype, nbytes // (4 if dtype == "float32" else 8))
    return Registers(16 if few else 32, vector)


def fits(mr: int, nv: int, count: int) -> bool:
    """Whether a block's accumulators, a row of B and one broadcast of A fit in the registers."""
    return mr * nv + nv + 1 <= count


def tile_blocks(shape: Shape, regs: Registers) -> list[tuple[int, int]]:
    """Register blocks worth trying: nearly full, and each a different even split of m and n."""
    vectors = -(-shape.n // regs.vector.lanes)
    found = set()
    for nv in range(1, 6):
        tallest = (regs.count - 1 - nv) // nv
        for mr in range(max(1, tallest - 1), tallest + 1):
            found.add((_height(shape.m, mr), _height(vectors, nv)))
    return sorted(block for block in found if fits(*block, regs.count))


def dot_blocks(shape: Shape, regs: Registers) -> list[tuple[int, int]]:
    """Blocks of dot products worth trying: enough chains to hide latency, few rows to stream."""
    found = {
        (_height(shape.m, mr), _height(shape.n, nv))
        for nv in range(1, 13)
        for mr in range(1, 9)
        if fits(mr, nv, regs.count)
    }
    enough = min(MIN_ACCUMULATORS // 2, shape.m)
    return sorted((mr, nv) for mr, nv in found if mr * nv >= enough)


def grids(threads: int, shape: Shape) -> list[tuple[int, int, int]]:
    """Ways to lay the threads over (items, rows, columns): one of the three, or a square."""
    if threads == 1 or 2 * shape.m * shape.k * shape.n * shape.items < TINY_FLOPS:
        return [(1, 1, 1)]
    side = max(d for d in range(1, threads + 1) if threads % d == 0 and d * d <= threads)
    found = {(threads, 1, 1), (1, threads, 1), (1, 1, threads), (1, threads // side, side)}
    usable = [
        g for g in sorted(found) if g[0] <= shape.items and g[1] <= shape.m and g[2] <= shape.n
    ]
    return usable or [(1, 1, 1)]


def grid_name(grid: tuple[int, int, int]) -> str:
    """A grid as an axis value: '1x2x1'."""
    return "x".join(str(size) for size in grid)


def problem_space(problem: Problem, machine: Machine, choice: Config) -> SearchSpace:
    """The space of `problem` for the algorithm, weights and threads in `choice`."""
    regs, threads = registers(machine, problem.dtype), int(choice["threads"])
    if isinstance(problem, Conv2d):
        gemm = problem.gemm()
        shape = Shape(gemm.m, gemm.k, gemm.n, gemm.count, problem.groups)
        gathered = choice["algorithm"] == "implicit-gemm" and problem.im2col_bytes() > 0
        packs = ("on",) if gathered else ("off", "on", "fused")
        return _space(shape, regs, machine, threads, ("off",), packs)
    if isinstance(problem, Gemm):
        shape = Shape(problem.m, problem.k, problem.n)
        return _space(shape, regs, machine, threads, ("off", "on"), ("off", "on", "fused"))
    batch, k, n = problem.batch, problem.in_features, problem.out_features
    if choice["weights"] == "prepared":
        return _space(Shape(batch, k, n), regs, machine, threads, ("off", "on"), ("ready",))
    return _space(Shape(n, k, batch), regs, machine, threads, ("off", "on"), ("on",))


def _space(
    shape: Shape, regs: Registers, machine: Machine, threads: int,
    pack_a: tuple[str, ...], pack_b: tuple[str, ...],
) -> SearchSpace:  # fmt: skip
    """Tiles, and dot products along k where C is narrow and B not packed ahead."""
    lanes = regs.vector.lanes
    tiles, dots = tile_blocks(shape, regs), dot_blocks(shape, regs)
    narrow = shape.n <= FEW_COLUMNS and shape.items == 1 and pack_b != ("ready",)
    default = default_config(shape, regs, machine, threads, pack_a, pack_b)
    if narrow:
        default |= _dot_default(shape, dots)
    kcs = {k_block(shape.k, kc, lanes) for kc in KC_VALUES} | {int(default["kc"]), shape.k}
    if shape.m <= FEW_ROWS and pack_b[0] == "off":
        kcs |= {min(shape.k, STREAMS), min(shape.k, 2 * STREAMS)}
    axes = [
        _axis("mr", {mr for mr, _ in tiles + dots * narrow}),
        _axis("nv", {nv for _, nv in tiles + dots * narrow}),
        _axis("ku", {1, 2, 4}),
        _axis("kc", kcs),
        _axis("mc", {min(shape.m, mc) for mc in MC_VALUES} | {shape.m, int(default["mc"])}),
        _axis("nc", {min(shape.n, vectors * lanes) for vectors in NC_VECTORS}
              | {shape.n, int(default["nc"])}),
        Axis("order", ("panels", "rows"), "categorical"),
        Axis("pack_a", pack_a, "categorical"),
        Axis("pack_b", pack_b, "categorical"),
        Axis("grid", tuple(map(grid_name, grids(threads, shape))), "categorical"),
    ]  # fmt: skip
    if narrow:
        axes.insert(0, Axis("path", ("tiles", "dots"), "categorical"))
    rules = _constraints(shape, regs, machine, default)
    if narrow:
        rules += _path_constraints(set(tiles), set(dots), default)
    else:
        rules += (Constraint("register block", ("mr", "nv"), lambda mr, nv: (mr, nv) in tiles),)
    return SearchSpace(tuple(axes), default, rules)


def default_config(
    shape: Shape, regs: Registers, machine: Machine, threads: int,
    pack_a: tuple[str, ...], pack_b: tuple[str, ...],
) -> dict[str, Value]:  # fmt: skip
    """The config of the analytical model."""
    lanes, size = regs.vector.lanes, regs.vector.itemsize
    candidates = tile_blocks(shape, regs)
    l1, l2 = machine.l1d_bytes or L1_BYTES, machine.l2_bytes or L2_BYTES
    few = shape.m <= FEW_ROWS

    def cost(block: tuple[int, int]) -> float:
        missing = rows_collide(block[0], shape.k * size, l1) and not (few and "on" in pack_a)
        return _tile_cost(shape, lanes, *block, missing)

    mr, nv = min(candidates, key=cost)
    # Five eighths of L1 for the tile of A that stays while panels of B stream past it.
    kc = k_block(shape.k, max(lanes, l1 * 5 // 8 // (mr * size)), lanes)
    # Half of L2 for the packed block of B, which every row of tiles reads again; through the other
    # half stream C, A, and the lines of B that the block is copied from.
    nc = min(shape.n, max(nv * lanes, l2 // 2 // (kc * size)))
    # Packing A anew for every block of columns would cost more than the collisions it avoids.
    packed = few and "on" in pack_a and rows_collide(mr, shape.k * size, l1)
    config: dict[str, Value] = {
        "mr": mr, "nv": nv, "ku": 2, "kc": kc, "mc": shape.m, "nc": shape.n if packed else nc,
        "order": "panels" if few else "rows", "pack_a": "on" if packed else pack_a[0],
        "pack_b": "fused" if "fused" in pack_b and not few else pack_b[0],
        "grid": grid_name(_default_grid(grids(threads, shape), shape)),
    }  # fmt: skip
    if shape.m <= VERY_FEW_ROWS and pack_b[0] == "off" and shape.k * shape.n * size > l2:
        mr, nv = min(candidates, key=lambda block: abs(block[1] - 4))
        config |= {"mr": mr, "nv": nv, "kc": min(shape.k, STREAMS), "nc": shape.n}  # fmt: skip
    return config


def _dot_default(shape: Shape, pairs: list[tuple[int, int]]) -> dict[str, Value]:
    mr, nv = min(pairs, key=lambda pair: _dot_cost(shape, *pair))
    return {"path": "dots", "mr": mr, "nv": nv, "ku": 1, "kc": shape.k, "pack_a": "off"}


def _constraints(
    shape: Shape, regs: Registers, machine: Machine, default: Config
) -> tuple[Constraint, ...]:
    """Rules of the tiled path; the default is exempt where a cache is smaller than any block."""
    l2, size = machine.l2_bytes or L2_BYTES, regs.vector.itemsize
    smallest_mc = min(shape.m, min(MC_VALUES))
    smallest_nc = min(shape.n, min(NC_VECTORS) * regs.vector.lanes)
    chosen = (default["kc"], default["nc"])

    def unroll_helps(ku: int, pack_a: str) -> bool:
        """By four was only seen to help packed panels, not at all only A in place."""
        return ku == 2 or (ku == 4) == (pack_a == "on")

    def a_fits(kc: int, mc: int, order: str) -> bool:
        """With panels outermost, all of a block of A is read once a panel, so it has to stay."""
        if order == "rows":
            return bool(mc == shape.m)
        return mc * kc * size <= l2 or mc == smallest_mc

    def b_fits(kc: int, nc: int, order: str) -> bool:
        """With rows outermost, all of a block of B is read once a row of tiles."""
        fits_l2 = nc * kc * size <= l2 or nc == smallest_nc
        return order == "panels" or fits_l2 or (kc, nc) == chosen

    return (
        Constraint("unrolling that helps", ("ku", "pack_a"), unroll_helps),
        Constraint("block of A in L2", ("kc", "mc", "order"), a_fits),
        Constraint("block of B in L2", ("kc", "nc", "order"), b_fits),
    )


def _path_constraints(
    tiles: set[tuple[int, int]], dots: set[tuple[int, int]], default: Config
) -> tuple[Constraint, ...]:
    """Each path has blocks of its own, and dot products no blocking but kc."""
    fixed = ("mc", "nc", "order", "pack_a", "pack_b")

    def block_known(path: str, mr: int, nv: int) -> bool:
        return (mr, nv) in (dots if path == "dots" else tiles)

    def only_default(name: str) -> Constraint:
        return Constraint(
            "dot products have no such choice",
            ("path", name),
            lambda path, value: path != "dots" or value == default[name],
        )

    return (
        Constraint("register block", ("path", "mr", "nv"), block_known),
        *(only_default(name) for name in fixed),
    )


def _axis(name: str, values: set[int]) -> Axis:
    return Axis(name, tuple(sorted(values)))


def _height(count: int, tile: int) -> int:
    """The larger tile of an even split: the name of all the tile sizes that split alike."""
    size, larger, _ = split(count, tile)
    return size + (larger > 0)


def rows_collide(mr: int, ld: int, l1: int) -> bool:
    """Whether mr rows `ld` bytes apart, read side by side, want more of an L1 set than it has.

    A line of A is used by as many steps along k as it has elements. Rows that are (nearly) a
    multiple of a page apart share their sets; past the ways of one, every use is a miss.
    """
    lines = {row * ld // LINE_BYTES for row in range(mr)}
    sets = Counter(line % (WAY_BYTES // LINE_BYTES) for line in lines)
    return max(sets.values()) > max(1, l1 // WAY_BYTES)


def _tile_cost(shape: Shape, lanes: int, mr: int, nv: int, missing: bool) -> float:
    """Cycles along k, in FMAs: each tile pays for its block, at least latency, A, B and C.

    `missing`: each element of A comes from L2, which costs half the time of an FMA more. The
    weights were fitted on Zen 4; they only order blocks that are all nearly full.
    """
    vectors = -(-shape.n // lanes)
    rows, columns = split(shape.m, mr)[2], split(vectors, nv)[2]
    height, width = shape.m / rows, vectors / columns
    b_cost = 1.0 if shape.m <= FEW_ROWS else 0.35
    fmas = max(height * width, MIN_ACCUMULATORS)
    return rows * columns * (fmas + (0.65 if missing else 0.15) * height + b_cost * width + 2.5)


def _dot_cost(shape: Shape, mr: int, nv: int) -> float:
    """FMAs along k, and the loads from L2 that limit them: both operands are whole registers."""
    tiles = split(shape.m, mr)[2] * split(shape.n, nv)[2]
    return tiles * (max(mr * nv, MIN_ACCUMULATORS) + 0.5 * (mr + nv))


def _default_grid(found: list[tuple[int, int, int]], shape: Shape) -> tuple[int, int, int]:
    """Items apart where there are enough, else the longer side of C cut."""
    return max(found, key=lambda g: (g[0] if shape.items >= 2 * g[0] else 0,
                                     g[1] if shape.m >= shape.n else g[2]))  # fmt: skip
