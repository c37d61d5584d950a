"""The config that a model of a machine's registers and caches picks: no search, no measuring.

Source of the model: Low, Igual, Smith & Quintana-Ortí 2016, "Analytical Modeling Is Enough for
High-Performance BLIS": the register block from the registers, kc from L1, nc from L2.
"""

import itertools
import math
from collections import Counter
from dataclasses import dataclass

from gemmbench.machine import Machine
from gemmbench.space import Config, Value
from gemmbench_backends.numba_cpu.emit import Vector
from gemmbench_backends.numba_cpu.plan import LINE_BYTES
from gemmbench_backends.numba_cpu.product import Shape, k_block, split, whole_vectors

L1_BYTES, L2_BYTES = 32 * 1024, 512 * 1024  # assumed where a machine does not tell: the smallest
WAY_BYTES = 4096  # of an L1 indexed by virtual address, whose ways cannot exceed the smallest page
TINY_FLOPS = 1_000_000  # below, starting a second thread costs more than it saves
FEW_COLUMNS = 16  # up to here dot products along k may win: C is too narrow for whole registers
FEW_TILES = 5  # of A, to be met by a panel of B: of fewer, the first, which packs it, is too many
FEW_ROWS = 64  # up to here a B that L2 holds is used too seldom to be worth packing
PANEL_ROWS, PANEL_DEPTH = 208, 128  # up to here a panel of B is multiplied by all of A at once
STREAM_ROWS, STREAM_L2S = 128, 4  # up to here a B of so many L2s is best read in its own order
WIDE = 512  # columns
# Registers without masks (AVX2) take twice as long over a line of B, so that where it comes from
# matters less, and updating C more: measured on Zen 3.
SLIM = 256  # columns up to which B is multiplied over all of k at once, its panels from L3
C_L2S = 2  # a C of more is met again, block by block along k, in memory
LONG_PANEL, LEAST_PANEL = 512, 128  # steps along k of a panel that is used once
STREAMING_VECTORS = 3  # of a register block past which A streams
VERY_FEW_ROWS, STREAMS = 4, 8  # then B, from memory, is best read a few whole rows at a time
HARDLY_ROWS = 2  # up to here without tiles: their factors of many rows of B fit in the registers
DEPTHS = (4, 8, 12, 16, 24)  # rows of B that are then read side by side
ROW_VECTORS = 16  # a shorter row does not hide how a call starts: its splats, a chain of latencies
BUSY_STREAMS = 12  # as many keep Zen 4's memory busiest
ROWS_HIDE_L2 = 5.5  # a vector of B comes from L2 no faster than that many FMAs take
MIN_ACCUMULATORS = 8  # FMA latency 4, two a cycle: fewer chains cannot keep the units busy


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
    vectors = whole_vectors(shape.n, regs.vector.lanes)
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


def default_config(
    shape: Shape, regs: Registers, machine: Machine, threads: int,
    pack_a: tuple[str, ...], pack_b: tuple[str, ...],
) -> dict[str, Value]:  # fmt: skip
    """The config of the analytical model."""
    lanes, size = regs.vector.lanes, regs.vector.itemsize
    candidates = tile_blocks(shape, regs)
    l1, l2 = machine.l1d_bytes or L1_BYTES, machine.l2_bytes or L2_BYTES
    few = shape.m <= FEW_ROWS

    def cost(block: tuple[int, int], grid: tuple[int, int, int]) -> float:
        missing = rows_collide(block[0], shape.k * size, l1) and not (few and "on" in pack_a)
        return -(-shape.items // grid[0]) * _tile_cost(shape, lanes, *block, missing, grid[1:])

    pairs = [(block, grid) for grid in grids(threads, shape) for block in candidates]
    (mr, nv), grid = min(pairs, key=lambda pair: cost(*pair))
    # Packing A anew for every block of columns would cost more than the collisions it avoids.
    packed = few and "on" in pack_a and rows_collide(mr, shape.k * size, l1)
    config: dict[str, Value] = {
        "mr": mr, "nv": nv, "ku": 2, "mc": shape.m, "grid": grid_name(grid),
        "pack_a": "on" if packed else pack_a[0],
        "pack_b": "fused" if "fused" in pack_b else pack_b[0],
    }  # fmt: skip
    config |= _cache_blocks(shape, regs, (l1, l2), (mr, nv), grid, pack_b, packed)
    if not regs.vector.masks and "ready" not in pack_b:
        caches = (l2, block_of_l3(machine))
        config |= _long_blocks(shape, regs, caches, (mr, nv), grid, pack_a, pack_b)
    streams = pack_b[0] == "off" and _long_rows(shape, regs) and shape.k * shape.n * size > l2
    if shape.m <= VERY_FEW_ROWS and streams:
        mr, nv = min(candidates, key=lambda block: abs(block[1] - 4))
        config |= {"mr": mr, "nv": nv, "kc": min(shape.k, STREAMS), "nc": shape.n}
        config |= {"order": "panels", "pack_b": "off"}
    return config


def _cache_blocks(
    shape: Shape, regs: Registers, caches: tuple[int, int], block: tuple[int, int],
    grid: tuple[int, int, int], pack_b: tuple[str, ...], packed: bool,
) -> dict[str, Value]:  # fmt: skip
    """kc, nc and the order of the loops, by where B comes from and whether C stays in cache.

    `caches`: bytes of L1 and L2. `packed`: A is, so each block of columns would pack it anew.
    """
    lanes, size = regs.vector.lanes, regs.vector.itemsize
    (l1, l2), (mr, nv) = caches, block
    rows, columns = shape.m // grid[1], shape.n // grid[2]
    b_bytes = shape.k * columns * size
    fusable, few = "fused" in pack_b, rows <= FEW_ROWS
    large, c_stays = b_bytes > STREAM_L2S * l2, rows * columns * size <= l2
    if fusable and rows <= STREAM_ROWS and large and c_stays:
        # B comes from memory: a few whole rows of it at a time, in the order in which it lies. All
        # of C is updated for each few, so it has to stay.
        kc = max(2 * lanes, min(4 * lanes, l2 // 4 // (shape.n * size)))
        return {"kc": k_block(shape.k, kc, lanes), "nc": shape.n, "order": "rows"}
    if few and b_bytes <= l2 // 2 and shape.n % lanes == 0 and pack_b[0] == "off":
        # B is used too seldom to be worth packing, unless each of its vectors spans two lines.
        kc = min(4 * PANEL_DEPTH, l1 * 5 // 8 // (mr * size), l2 // 4 // (shape.m * size))
        kc = k_block(shape.k, max(lanes, kc), lanes)
        return {"kc": kc, "nc": shape.n, "order": "panels", "pack_b": "off"}
    if fusable and (few or (rows <= PANEL_ROWS and b_bytes > l2)):
        # All of A stays in L2, and each panel of B is done with before the next is met.
        kc = PANEL_DEPTH if few or shape.k > 4 * PANEL_DEPTH else shape.k
        kc = max(lanes, min(kc, l2 // 4 // (shape.m * size)))
        nc = min(shape.n, max(nv * lanes, l2 // 4 // (shape.m * size)))
        return {"kc": k_block(shape.k, kc, lanes), "nc": nc, "order": "panels"}
    # Five eighths of L1 for the tile of A that stays while panels of B stream past it; half of L2
    # for the block of B, which every row of tiles reads again, and which is not to be made narrower
    # than what is worth reading in one go.
    kc = min(l1 * 5 // 8 // (mr * size), l2 // 2 // (min(shape.n, WIDE) * size))
    kc = k_block(shape.k, max(lanes, kc), lanes)
    nc = min(shape.n, max(nv * lanes, l2 // 2 // (kc * size)))
    order = "panels" if shape.m <= FEW_ROWS else "rows"
    return {"kc": kc, "nc": shape.n if packed else nc, "order": order}


def block_of_l3(machine: Machine) -> int:
    """Bytes of the last cache that a block of B may take: other cores want their share."""
    return (machine.l3_bytes or 0) // 4


def _long_blocks(
    shape: Shape, regs: Registers, caches: tuple[int, int], block: tuple[int, int],
    grid: tuple[int, int, int], pack_a: tuple[str, ...], pack_b: tuple[str, ...],
) -> dict[str, Value]:  # fmt: skip
    """What to change where long blocks along k pay: as few updates of C as B's panels allow.

    `caches`: bytes of L2, and of L3 that a block may take. B that is hardly reused stays as it was.
    """
    lanes, size = regs.vector.lanes, regs.vector.itemsize
    l2, l3 = caches
    rows, columns = shape.m // grid[1], shape.n // grid[2]
    a_bytes, b_bytes = rows * shape.k * size, shape.k * columns * size
    if rows <= FEW_ROWS and b_bytes <= l2 // 2:
        return {}
    c_stays = rows * columns * size <= C_L2S * l2
    if rows > FEW_ROWS and l2 // 2 < a_bytes <= l3 and c_stays and "fused" in pack_b:
        return {**_streaming_block(shape, regs), "kc": shape.k, "nc": shape.n, "order": "panels"}
    if columns <= SLIM and rows > FEW_ROWS and b_bytes <= l3:
        return {"kc": shape.k, "nc": shape.n, "order": "rows"}
    if "on" not in pack_a:  # a convolution: many columns, and C, of several images, in memory
        side = math.isqrt(l2 // 2 // size)
        nc = min(shape.n, side // lanes * lanes)
        return {"kc": k_block(shape.k, side, lanes), "nc": nc, "order": "rows"}
    equal = [
        mr for mr, nv in sorted(tile_blocks(shape, regs), reverse=True)
        if nv == block[1] and mr >= block[0] - 1 and shape.m % mr == 0
    ]  # fmt: skip
    if FEW_TILES * block[0] <= rows == shape.m <= FEW_ROWS and equal:
        # A is soon packed, and a panel of B stays in L1 until all of it has met it.
        kc = k_block(shape.k, LONG_PANEL // 2, lanes)
        even: dict[str, Value] = {"mr": equal[0], "kc": kc, "nc": shape.n, "order": "panels"}
        return even | {"pack_a": "on", "ku": 4}
    if rows <= PANEL_ROWS:
        kc = max(LEAST_PANEL, min(LONG_PANEL, l2 // 2 // (rows * size)))
        kc = k_block(shape.k, kc, lanes)
        mc = min(shape.m, max(1, l2 * 3 // 8 // (kc * size)))
        return {"kc": kc, "mc": mc, "nc": shape.n, "order": "panels"}
    kc = k_block(shape.k, LONG_PANEL, lanes)
    if not c_stays:
        # C leaves L2: Goto's order, a block of A packed in L2 and each panel of B met in turn.
        mc = min(shape.m, max(1, l2 * 3 // 8 // (kc * size)))
        return {"kc": kc, "mc": mc, "nc": shape.n, "order": "panels", "pack_a": "on", "ku": 4}
    return {}


def _streaming_block(shape: Shape, regs: Registers) -> dict[str, Value]:
    """The register block where all of A streams from L3 past each panel of B, over all of k.

    Few rows and many vectors: less of A for each FMA, and fewer panels for which it streams. Its
    rows are read from end to end, which the prefetcher of a core keeps up with.
    """
    blocks = tile_blocks(shape, regs)
    widest = max(nv for _, nv in blocks if nv <= STREAMING_VECTORS)
    mr, nv = max(block for block in blocks if block[1] == widest)
    return {"mr": mr, "nv": nv, "mc": shape.m, "pack_a": "off"}


@dataclass(frozen=True, slots=True)
class Path:
    """A way around the tiles, for a C so narrow or flat that they would be mostly edge."""

    name: str
    blocks: frozenset[tuple[int, int]]  # its (mr, nv)
    kcs: frozenset[int] | None  # its blocks along k; None: any
    fixed: tuple[str, ...]  # axes that mean nothing to it
    default: Config
    preferred: bool


def dots_path(shape: Shape, regs: Registers) -> Path | None:
    """Dot products along k, where C is narrow: A is read in its own order, as whole registers."""
    if shape.n > FEW_COLUMNS:
        return None
    blocks = dot_blocks(shape, regs)
    mr, nv = min(blocks, key=lambda block: _dot_cost(shape, *block))
    fixed = ("mc", "nc", "order", "pack_a", "pack_b")
    default: Config = {
        "mr": mr, "nv": nv, "ku": 1, "kc": shape.k, "mc": shape.m, "order": "rows",
        "pack_a": "off",
    }  # fmt: skip
    return Path("dots", frozenset(blocks), None, fixed, default, True)


def rows_path(shape: Shape, regs: Registers, machine: Machine) -> Path | None:
    """Whole rows of B, some side by side, where C is flat: all its factors fit in the registers."""
    if shape.m > VERY_FEW_ROWS:
        return None
    # A splat for every pair of rows, a sum for each of C's, and beta, a mask and a load.
    most = (regs.count - 3 - shape.m) // shape.m
    depths = sorted({min(shape.k, depth) for depth in DEPTHS if depth <= most} or {1})
    l1, l2 = machine.l1d_bytes or L1_BYTES, machine.l2_bytes or L2_BYTES
    size = regs.vector.itemsize
    from_memory = shape.k * shape.n * size > (machine.l3_bytes or l2)
    good = [
        depth for depth in depths
        if depth <= BUSY_STREAMS and (from_memory or not rows_collide(depth, shape.n * size, l1))
    ]  # fmt: skip
    # C is read and written for every few rows of B, so it has to stay: half of L2.
    nc = min(shape.n, max(regs.vector.lanes, l2 // 2 // (shape.m * size)))
    default: Config = {
        "mr": shape.m, "nv": 1, "ku": 1, "kc": max(good or depths[:1]), "nc": nc,
        "order": "panels", "pack_a": "off", "pack_b": "off",
    }  # fmt: skip
    fixed = ("ku", "mc", "nc", "order", "pack_a", "pack_b")
    blocks = frozenset({(shape.m, 1)})
    preferred = shape.m <= HARDLY_ROWS and _long_rows(shape, regs)
    return Path("rows", blocks, frozenset(depths), fixed, default, preferred)


def rows_collide(mr: int, ld: int, l1: int) -> bool:
    """Whether mr rows `ld` bytes apart, read side by side, want more of an L1 set than it has.

    A line of A is used by as many steps along k as it has elements. Rows that are (nearly) a
    multiple of a page apart share their sets; past the ways of one, every use is a miss.
    """
    lines = {row * ld // LINE_BYTES for row in range(mr)}
    sets = Counter(line % (WAY_BYTES // LINE_BYTES) for line in lines)
    return max(sets.values()) > max(1, l1 // WAY_BYTES)


def _long_rows(shape: Shape, regs: Registers) -> bool:
    return -(-shape.n // regs.vector.lanes) >= ROW_VECTORS


def _height(count: int, tile: int) -> int:
    """The larger tile of an even split: the name of all the tile sizes that split alike."""
    size, larger, _ = split(count, tile)
    return size + (larger > 0)


def _tile_cost(
    shape: Shape, lanes: int, mr: int, nv: int, missing: bool, parts: tuple[int, int]
) -> float:
    """Cycles along k of the busiest of `parts` threads by rows and columns, in FMAs.

    Each tile pays for its block, at least latency, A, B and C; each thread packs its part of B,
    at a load and a store a vector. `missing`: each element of A comes from L2, which costs half
    the time of an FMA more. The weights fit Zen 4 and Sapphire Rapids; they order blocks that
    are all nearly full.
    """
    rows, m = _largest_share(shape.m, mr, parts[0])
    columns, vectors = _largest_share(whole_vectors(shape.n, lanes), nv, parts[1])
    fmas = max(max(m / rows, ROWS_HIDE_L2) * vectors / columns, MIN_ACCUMULATORS)
    edges = (0.85 if missing else 0.35) * m / rows + 0.35 * vectors / columns + 2.5
    return rows * columns * (fmas + edges) + 2 * vectors


def _largest_share(count: int, tile: int, parts: int) -> tuple[int, int]:
    """Tiles, and rows or vectors in them, of the thread that has most of them."""
    size, larger, tiles = split(count, tile, parts)
    edges = [tiles * part // parts for part in range(parts + 1)]
    return max(
        (stop - start, (stop - start) * size + min(stop, larger) - min(start, larger))
        for start, stop in itertools.pairwise(edges)
    )


def _dot_cost(shape: Shape, mr: int, nv: int) -> float:
    """FMAs along k, and the loads from L2 that limit them: both operands are whole registers."""
    tiles = split(shape.m, mr)[2] * split(shape.n, nv)[2]
    return tiles * (max(mr * nv, MIN_ACCUMULATORS) + 0.5 * (mr + nv))
