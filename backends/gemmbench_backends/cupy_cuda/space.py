"""What can be tuned in gemm.cu for a product on an architecture, and the config to begin with."""

from collections.abc import Callable
from dataclasses import replace
from math import ceil

from gemmbench.space import Axis, Config, Constraint, SearchSpace
from gemmbench_backends.cupy_cuda.architecture import (
    MOST_REGISTERS,
    REGISTERS,
    Architecture,
    resident_blocks,
)
from gemmbench_backends.cupy_cuda.tiles import Layout, Tiles, estimated_registers, tiles_of

BLOCK_SIDES = (32, 64, 128)
DEPTHS = (8, 16, 32)
LANES = (4, 8)  # of a warp along rows and columns, 8 × 4 or 4 × 8
FEWEST_THREADS, MOST_THREADS = 64, 1024
SPLITS = (1, 2, 4, 8, 16)
WAVES = 2  # blocks beyond so many per SM gain nothing by splitting k
INDEPENDENT_MULTIPLY_ADDS = 16 * 32 * 16  # on an SM at which latency is hidden: 4 warps a scheduler
LANES_PER_REUSE = 10  # how often a float from L2 must be used; from bytes a clock of H100's L2
SPLIT_STEPS = 4  # what writing and adding up partial products costs, in steps along k
UNKNOWN_SHARE = 0.05  # of the registers: what the estimate may be off
TILE_AXES = ("bm", "bn", "bk", "tm", "tn", "wm", "wn", "stages", "copy", "pad", "vec", "blocks")

# What a search begins with, large tiles first: each was compiled for sm_80 and sm_90 without a
# spill, which a test repeats. The best for a problem is the one whose blocks waste least.
MENU = (
    Tiles(128, 128, 16, 8, 8, 64, 32, 3, "async", 4, 4, 1),
    Tiles(128, 64, 16, 8, 8, 64, 32, 3, "async", 4, 4, 2),
    Tiles(64, 128, 16, 8, 8, 32, 64, 3, "async", 4, 4, 2),
    Tiles(64, 64, 16, 8, 4, 32, 32, 3, "async", 4, 4, 2),
    Tiles(32, 128, 16, 4, 8, 16, 64, 3, "async", 4, 4, 2),
    Tiles(64, 32, 16, 4, 4, 32, 16, 3, "async", 4, 4, 2),
    Tiles(32, 64, 16, 4, 4, 16, 32, 3, "async", 4, 4, 2),
    Tiles(128, 32, 16, 8, 4, 64, 16, 3, "async", 4, 4, 2),
    Tiles(32, 32, 16, 4, 4, 16, 32, 3, "async", 4, 4, 2),
)


def product_space(product: Layout, arch: Architecture) -> SearchSpace:
    """All configs worth compiling for `product` on `arch`."""
    default = default_config(product, arch)
    widest = max(product.widest_a, product.widest_b)
    axes = (
        Axis("bm", BLOCK_SIDES, "pow2"),
        Axis("bn", BLOCK_SIDES, "pow2"),
        Axis("bk", DEPTHS, "pow2"),
        Axis("tm", (4, 8), "pow2"),
        Axis("tn", (4, 8), "pow2"),
        Axis("wm", (16, 32, 64), "pow2"),
        Axis("wn", (16, 32, 64), "pow2"),
        Axis("stages", (1, 2, 3, 4)),
        Axis("copy", ("registers", "async") if arch.copies_async else ("registers",),
             "categorical"),
        Axis("pad", (0, 4)),
        Axis("vec", tuple(sorted({1, widest})), "pow2"),
        Axis("blocks", (1, 2)),
        Axis("split", splits(product, arch)),
    )  # fmt: skip
    return SearchSpace(axes, default, constraints(product, arch))


def constraints(product: Layout, arch: Architecture) -> tuple[Constraint, ...]:
    """What rules configs out before the compiler is asked."""

    def of_tiles(name: str, holds: Callable[[Tiles], bool]) -> Constraint:
        def check(*values: int | str) -> bool:
            return holds(tiles_of(dict(zip(TILE_AXES, values, strict=True))))

        return Constraint(name, TILE_AXES, check)

    def thread_count(bm: int, bn: int, tm: int, tn: int) -> bool:
        return FEWEST_THREADS <= bm * bn // (tm * tn) <= MOST_THREADS

    def warp_tile(tm: int, tn: int, wm: int, wn: int) -> bool:
        return wm * wn == 32 * tm * tn and wm // tm in LANES and wn // tn in LANES

    def stage_count(stages: int, copy: str) -> bool:
        return stages >= 2 if copy == "async" else stages <= 2

    def padding(pad: int) -> bool:
        return pad > 0 if product.a_k_major or product.b_k_major else pad == 0

    def split_depth(bk: int, split: int) -> bool:
        return split == 1 or split * bk <= product.k

    return (
        Constraint("rows of the problem", ("bm",), lambda bm: _fits_extent(bm, product.m)),
        Constraint("columns of the problem", ("bn",), lambda bn: _fits_extent(bn, product.n)),
        Constraint("64 to 1024 threads", ("bm", "bn", "tm", "tn"), thread_count),
        Constraint("32 lanes share a warp tile", ("tm", "tn", "wm", "wn"), warp_tile),
        Constraint("whole warp tiles", ("bm", "wm"), lambda bm, wm: bm % wm == 0),
        Constraint("whole warp tiles", ("bn", "wn"), lambda bn, wn: bn % wn == 0),
        Constraint("stages that the copy needs", ("stages", "copy"), stage_count),
        Constraint("padding where rows are transposed", ("pad",), padding),
        of_tiles("whole vectors a thread", lambda tiles: whole_vectors(tiles, product)),
        of_tiles("shared memory", lambda tiles: tiles.shared_bytes <= arch.block_shared_bytes),
        of_tiles("registers", lambda tiles: registers_suffice(tiles, product, arch)),
        Constraint("depth to split", ("bk", "split"), split_depth),
    )


def _fits_extent(block: int, extent: int) -> bool:
    """A block is at most twice as long as what it covers, or the smallest."""
    return block == min(BLOCK_SIDES) or block < 2 * extent


def whole_vectors(tiles: Tiles, product: Layout) -> bool:
    """Whether each thread brings as many whole vectors of each operand as every other.

    Narrower vectors than there could be only count where the wide ones would not come out even.
    """
    widest = max(product.widest_a, product.widest_b)
    even = _even(tiles, product)
    return even and (tiles.vec == widest or not _even(replace(tiles, vec=widest), product))


def _even(tiles: Tiles, product: Layout) -> bool:
    a, b = min(tiles.vec, product.widest_a), min(tiles.vec, product.widest_b)
    floats_a, floats_b = tiles.bm * tiles.bk, tiles.bn * tiles.bk
    return floats_a % (a * tiles.threads) == 0 and floats_b % (b * tiles.threads) == 0


def registers_suffice(tiles: Tiles, product: Layout, arch: Architecture) -> bool:
    """Whether the estimate fits, and `blocks` asks for no more than shared memory allows."""
    estimate = estimated_registers(tiles, product) * (1 - UNKNOWN_SHARE)
    if estimate > MOST_REGISTERS or estimate * tiles.threads * tiles.blocks > REGISTERS:
        return False
    if tiles.blocks == 1:
        return True
    by_shared = resident_blocks(arch, tiles.threads, 0, tiles.shared_bytes)
    unlimited = estimate * tiles.threads * (tiles.blocks + 1) <= REGISTERS
    return by_shared >= tiles.blocks and not unlimited  # a limit that binds


def splits(product: Layout, arch: Architecture) -> tuple[int, ...]:
    """Into how many shares k may be cut: more only where there are blocks too few for the SMs."""
    smallest = ceil(product.m / max(BLOCK_SIDES)) * ceil(product.n / max(BLOCK_SIDES))
    room = WAVES * arch.multiprocessors // (smallest * product.batches)
    return tuple(s for s in SPLITS if s == 1 or (s <= room and s * min(DEPTHS) <= product.k))


def default_config(product: Layout, arch: Architecture) -> Config:
    """The entry of the menu, with the split, that keeps most of the device usefully busy."""
    best = max(
        ((tiles, split) for tiles in menu(product, arch) for split in splits(product, arch)),
        key=lambda choice: busy_share(choice[0], choice[1], product, arch),
    )
    return config_of(*best)


def menu(product: Layout, arch: Architecture) -> list[Tiles]:
    """The menu's entries that keep all rules, as this architecture can run them."""
    widest = max(product.widest_a, product.widest_b)
    found = []
    for entry in MENU:
        tiles = replace(entry, vec=widest, blocks=1)
        if not arch.copies_async:
            tiles = replace(tiles, copy="registers", stages=2)
        for copy in (tiles, replace(tiles, vec=1), replace(tiles, vec=1, bk=32)):
            rules = constraints(product, arch)
            if all(rule.holds(*_values(rule, copy)) for rule in rules):
                found.append(copy)
                break
    return found


def _values(rule: Constraint, tiles: Tiles) -> tuple[int | str, ...]:
    config = config_of(tiles, 1)
    return tuple(config[name] for name in rule.axes)


def config_of(tiles: Tiles, split: int) -> dict[str, int | str]:
    """The config of `tiles` and `split`."""
    return {**{name: getattr(tiles, name) for name in TILE_AXES}, "split": split}


def busy_share(tiles: Tiles, split: int, product: Layout, arch: Architecture) -> float:
    """About which share of the device's multiply-adds is useful work, in (0, 1].

    The product of these shares: what the problem fills of the blocks' tiles; what the blocks fill
    of their last wave over the SMs; multiply-adds among a thread's instructions; what resident
    threads hide of latency; what L2 leaves when each float brought is used that often; and the
    steps along k that are not spent filling the buffers. It orders configs, it predicts no time.
    """
    rows, columns = ceil(product.m / tiles.bm), ceil(product.n / tiles.bn)
    filled = product.m * product.n / (rows * tiles.bm * columns * tiles.bn)
    blocks = rows * columns * product.batches * split
    registers = min(MOST_REGISTERS, estimated_registers(tiles, product))
    resident = resident_blocks(arch, tiles.threads, registers, tiles.shared_bytes)
    wave = blocks / (ceil(blocks / arch.multiprocessors) * arch.multiprocessors)
    multiply_adds = tiles.tm * tiles.tn
    issued = multiply_adds + (tiles.tm + tiles.tn) / 2 + 2 * (tiles.bm + tiles.bn) / tiles.threads
    independent = resident * tiles.threads * multiply_adds
    hidden = min(1.0, independent / INDEPENDENT_MULTIPLY_ADDS)
    reuse = tiles.bm * tiles.bn / (tiles.bm + tiles.bn)
    traffic = reuse / (reuse + arch.lanes / LANES_PER_REUSE)
    steps = product.k / split / tiles.bk
    walking = steps / (steps + tiles.stages + (SPLIT_STEPS if split > 1 else 0))
    return filled * wave * multiply_adds / issued * hidden * traffic * walking
