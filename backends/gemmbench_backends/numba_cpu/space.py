"""What can be tuned for a product on a machine: axes, and constraints from registers and caches."""

from gemmbench.machine import Machine
from gemmbench.problem import Conv2d, Gemm, Problem
from gemmbench.space import Axis, Config, Constraint, SearchSpace
from gemmbench_backends.numba_cpu.model import (
    L2_BYTES,
    STREAM_ROWS,
    Path,
    Registers,
    block_of_l3,
    default_config,
    dots_path,
    grid_name,
    grids,
    registers,
    rows_path,
    tile_blocks,
)
from gemmbench_backends.numba_cpu.product import Shape, k_block

KC_VALUES = (128, 256, 512, 1024, 2048)
FEW_ROWS_OF_B = (8, 16, 32, 64)  # blocks along k where B is read in its own order
MC_VALUES = (96, 384)
NC_VECTORS = (16, 32, 64)


def problem_space(problem: Problem, machine: Machine, choice: Config) -> SearchSpace:
    """The space of `problem` for the algorithm, weights and threads in `choice`."""
    regs, threads = registers(machine, problem.dtype), int(choice["threads"])
    if isinstance(problem, Conv2d):
        gemm = problem.gemm()
        if choice.get("lowering") == "whole":
            shape = Shape(gemm.m, gemm.k, problem.batch * gemm.n, problem.groups, problem.groups)
            space = _space(shape, regs, machine, threads, ("off",), ("off", "on", "fused"))
            only = Axis("lowering", ("whole",), "categorical")
            default = {**space.default, "lowering": "whole"}
            return SearchSpace((*space.axes, only), default, space.constraints)
        shape = Shape(gemm.m, gemm.k, gemm.n, gemm.count, problem.groups)
        gathered = choice["algorithm"] == "implicit-gemm" and problem.im2col_bytes() > 0
        packs = ("on",) if gathered else ("off", "on", "fused")
        return _space(shape, regs, machine, threads, ("off",), packs)
    if isinstance(problem, Gemm):
        shape = Shape(problem.m, problem.k, problem.n)
        path = dots_path(shape, regs) or rows_path(shape, regs, machine)
        packs = ("off", "on", "fused")
        return _space(shape, regs, machine, threads, ("off", "on"), packs, path)
    batch, k, n = problem.batch, problem.in_features, problem.out_features
    if choice["weights"] == "prepared":
        return _space(Shape(batch, k, n), regs, machine, threads, ("off", "on"), ("ready",))
    shape, packs = Shape(n, k, batch), ("on",)
    return _space(shape, regs, machine, threads, ("off", "on"), packs, dots_path(shape, regs))


def _space(
    shape: Shape, regs: Registers, machine: Machine, threads: int,
    pack_a: tuple[str, ...], pack_b: tuple[str, ...], path: Path | None = None,
) -> SearchSpace:  # fmt: skip
    """Tiles, and the other path if there is one."""
    lanes = regs.vector.lanes
    tiles = tile_blocks(shape, regs)
    default = default_config(shape, regs, machine, threads, pack_a, pack_b)
    kcs = {k_block(shape.k, kc, lanes) for kc in KC_VALUES} | {shape.k}
    blocks = set(tiles)
    if path:
        blocks |= path.blocks
        kcs |= path.kcs or set()
        default |= {**path.default, "path": path.name} if path.preferred else {"path": "tiles"}
    if shape.m <= STREAM_ROWS and pack_b[0] == "off":
        kcs |= {min(shape.k, rows) for rows in FEW_ROWS_OF_B}
    axes = [
        _axis("mr", {mr for mr, _ in blocks}),
        _axis("nv", {nv for _, nv in blocks}),
        _axis("ku", {1, 2, 4}),
        _axis("kc", kcs | {int(default["kc"])}),
        _axis("mc", {min(shape.m, mc) for mc in MC_VALUES} | {shape.m, int(default["mc"])}),
        _axis("nc", {min(shape.n, vectors * lanes) for vectors in NC_VECTORS}
              | {shape.n, int(default["nc"])}),
        Axis("order", ("panels", "rows"), "categorical"),
        Axis("pack_a", pack_a, "categorical"),
        Axis("pack_b", pack_b, "categorical"),
        Axis("grid", tuple(map(grid_name, grids(threads, shape))), "categorical"),
    ]  # fmt: skip
    rules = _constraints(shape, regs, machine, default)
    if path:
        axes.insert(0, Axis("path", ("tiles", path.name), "categorical"))
        rules += _path_constraints(set(tiles), path, default)
    else:
        rules += (Constraint("register block", ("mr", "nv"), lambda mr, nv: (mr, nv) in tiles),)
    return SearchSpace(tuple(axes), default, rules)


def _constraints(
    shape: Shape, regs: Registers, machine: Machine, default: Config
) -> tuple[Constraint, ...]:
    """Rules of the tiled path; the default is exempt where a cache is smaller than any block."""
    l2, size = machine.l2_bytes or L2_BYTES, regs.vector.itemsize
    cache = l2 if regs.vector.masks else max(l2, block_of_l3(machine))
    smallest_mc = min(shape.m, min(MC_VALUES))
    smallest_nc = min(shape.n, min(NC_VECTORS) * regs.vector.lanes)
    chosen = (default["kc"], default["nc"])

    def unroll_helps(ku: int, pack_a: str) -> bool:
        """By four was only seen to help packed panels."""
        return ku <= 2 or pack_a == "on"

    def a_fits(kc: int, mc: int, order: str) -> bool:
        """With panels outermost, all of a block of A is read once a panel, so it has to stay."""
        if order == "rows":
            return bool(mc == shape.m)
        stays = mc * kc * size <= cache or mc == smallest_mc
        return stays or (kc, mc) == (default["kc"], default["mc"])

    def b_fits(kc: int, nc: int, order: str) -> bool:
        """With rows outermost, all of a block of B is read once a row of tiles."""
        stays = nc * kc * size <= cache or nc == smallest_nc
        return order == "panels" or stays or (kc, nc) == chosen

    return (
        Constraint("unrolling that helps", ("ku", "pack_a"), unroll_helps),
        Constraint("block of A in cache", ("kc", "mc", "order"), a_fits),
        Constraint("block of B in cache", ("kc", "nc", "order"), b_fits),
    )


def _path_constraints(
    tiles: set[tuple[int, int]], path: Path, default: Config
) -> tuple[Constraint, ...]:
    """Each path has blocks of its own, and the other one fewer choices than tiles."""

    def block_known(name: str, mr: int, nv: int) -> bool:
        return (mr, nv) in (path.blocks if name == path.name else tiles)

    def kc_known(name: str, kc: int) -> bool:
        return name != path.name or path.kcs is None or kc in path.kcs

    def only_default(axis: str) -> Constraint:
        return Constraint(
            f"{path.name} have no such choice",
            ("path", axis),
            lambda name, value: name != path.name or value == default[axis],
        )

    return (
        Constraint("register block", ("path", "mr", "nv"), block_known),
        Constraint("block along k", ("path", "kc"), kc_known),
        *(only_default(axis) for axis in path.fixed),
    )


def _axis(name: str, values: set[int]) -> Axis:
    return Axis(name, tuple(sorted(values)))
