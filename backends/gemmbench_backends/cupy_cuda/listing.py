"""What the compiler says of every config of a problem, on a machine without a device."""

from typing import Any

from gemmbench.errors import GemmbenchError
from gemmbench.problem import Conv2d, Problem
from gemmbench_backends.cupy_cuda.architecture import (
    STATIC_SHARED,
    Architecture,
    architecture,
    occupancy,
    resident_blocks,
)
from gemmbench_backends.cupy_cuda.compile import Resources, compile_all
from gemmbench_backends.cupy_cuda.space import TILE_AXES, busy_share, product_space
from gemmbench_backends.cupy_cuda.tiles import Layout, Tiles, layout, macros, tiles_of


def list_configs(problem: Problem, arch_name: str, processes: int) -> list[dict[str, Any]]:
    """A row for each config of each algorithm, best first: the config, and what it takes.

    Configs that differ in `split` alone are one kernel: the split that the model likes best is
    shown. `share` is the model's, see space.busy_share: it puts rows in order and is no forecast.
    """
    if problem.dtype != "float32":
        raise GemmbenchError(f"--arch: the CUDA kernels compute float32, not {problem.dtype}.")
    arch = architecture(arch_name)
    conv = isinstance(problem, Conv2d)
    rows = []
    for algorithm in ("im2col", "implicit-gemm") if conv else ("gemm",):
        rows += _rows(layout(problem, algorithm), algorithm, arch, processes)
    return rows


def _rows(
    product: Layout, algorithm: str, arch: Architecture, processes: int
) -> list[dict[str, Any]]:
    shares: dict[Tiles, tuple[float, int]] = {}
    for config in product_space(product, arch):
        tiles, split = tiles_of(config), int(config["split"])
        share = busy_share(tiles, split, product, arch)
        shares[tiles] = max(shares.get(tiles, (0.0, 1)), (share, split))
    wanted = [(product.image is not None, macros(tiles, product)) for tiles in shares]
    compiled = compile_all(wanted, arch.name, processes)
    rows = [
        _row(tiles, split, share, found, algorithm, arch)
        for (tiles, (share, split)), found in zip(shares.items(), compiled, strict=True)
    ]
    return sorted(rows, key=lambda row: (row["spill_bytes"] > 0 or not row["blocks_per_sm"],
                                         -row["share"]))  # fmt: skip


def _row(
    tiles: Tiles, split: int, share: float, found: Resources, algorithm: str, arch: Architecture
) -> dict[str, Any]:
    shared = tiles.shared_bytes
    if tiles.shared_bytes <= STATIC_SHARED and found.shared_bytes != shared:
        raise GemmbenchError(
            f"{tiles}: the compiler takes {found.shared_bytes} bytes of shared memory, "
            f"the formula says {shared}."
        )
    return {
        "algorithm": algorithm,
        "config": {**{name: getattr(tiles, name) for name in TILE_AXES}, "split": split},
        "threads": tiles.threads,
        "registers": found.registers,
        "spill_bytes": found.spill_bytes,
        "shared_bytes": shared,
        "blocks_per_sm": resident_blocks(arch, tiles.threads, found.registers, shared),
        "occupancy": occupancy(arch, tiles.threads, found.registers, shared),
        "share": share,
    }
