"""Runs one config of gemm.cu in the simulator, as the host code would launch it."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from gemmbench_backends.cupy_cuda.compile import gemm_source, options
from gemmbench_backends.cupy_cuda.kernels import gemm_launch
from gemmbench_backends.cupy_cuda.tiles import Layout, Tiles, macros

from .simulator import Launch
from .stand_in import kernel

PTX_ONLY = "compute_90"  # what runs here is PTX: the compiler need not go on to machine code
SMOKE = (  # sizes, both copies, all stage counts, padding, vectors, dynamic memory
    Tiles(32, 32, 8, 4, 4, 16, 32, 1, "registers", 0, 4, 1),
    Tiles(64, 64, 8, 4, 4, 32, 16, 2, "registers", 4, 1, 1),
    Tiles(64, 32, 16, 8, 4, 32, 32, 2, "registers", 4, 4, 1),
    Tiles(32, 64, 16, 4, 8, 32, 32, 2, "async", 0, 4, 1),
    Tiles(64, 64, 16, 4, 4, 16, 32, 3, "async", 4, 4, 2),
    Tiles(64, 64, 8, 8, 8, 32, 64, 3, "async", 4, 1, 1),
    Tiles(128, 64, 32, 8, 8, 64, 32, 2, "registers", 4, 4, 1),
    Tiles(128, 128, 16, 8, 8, 64, 32, 4, "async", 4, 4, 1),  # 68 KiB: dynamic
)


def shapes(tiles: Tiles, vec: int) -> Iterator[tuple[int, int, int]]:
    """(m, n, k) that have caught defects; n and k are multiples of `vec`, so that it is one kernel.

    One element, one tile and one more and one less, a grid that is not square, k shorter than a
    step, k not a multiple of it, and k so long that every buffer is filled again.
    """
    yield 1, vec, vec
    yield tiles.bm - 1, tiles.bn - vec, tiles.bk
    yield tiles.bm, tiles.bn, 2 * tiles.bk
    yield tiles.bm + 1, tiles.bn + vec, tiles.bk + vec
    yield 1, 2 * tiles.bn + vec, 3 * tiles.bk - vec
    yield 2 * tiles.bm + 1, vec, max(vec, tiles.bk // 2 // vec * vec)
    yield tiles.bm, vec, (tiles.stages + 2) * tiles.bk - vec


def plain_layout(m: int, n: int, k: int, a_k: bool = True, b_k: bool = False) -> Layout:
    """A single product; an operand is contiguous along k or across."""
    return Layout(m, n, k, a_k, b_k, k if a_k else m, k if b_k else n, n)


def aligned(array: Any) -> Any:
    """A copy that begins at a multiple of 256 bytes, as device memory does."""
    raw = np.empty(array.nbytes + 256, np.uint8)
    start = -raw.ctypes.data % 256
    copy = raw[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def integers(shape: tuple[int, ...], seed: int) -> Any:
    """Small ones, so that every sum is exact in any order."""
    return aligned(np.random.default_rng(seed).integers(-4, 5, shape).astype(np.float32))


def run_product(
    tiles: Tiles, product: Layout, *, alpha: float = 2.0, beta: float = 0.0, split: int = 1,
    arch: str = PTX_ONLY, code: str | None = None,
) -> Launch:  # fmt: skip
    """Run one product on integers and compare bit for bit. With beta 0, C is NaN before.

    Operands are read-only and between NaNs; with `split`, partial products are added here.
    """
    m, n, k = product.m, product.n, product.k
    a, b, c = integers((m, k), 0), integers((k, n), 1), integers((m, n), 2)
    expected = alpha * (a @ b) + (beta * c if beta else 0)
    target = c if beta else np.full_like(c, np.nan)
    left = aligned(a if product.a_k_major else a.T)
    right = aligned(b.T if product.b_k_major else b)
    left.flags.writeable = right.flags.writeable = False
    if split > 1:
        target = aligned(np.full((split, m, n), np.nan, np.float32))
    target = aligned(target)
    defined = macros(tiles, product)
    built = kernel(code or gemm_source(False), options(defined), arch, "gemm")
    first = gemm_launch(
        product, tiles, split, None, left, right, target, m * n if split > 1 else 0,
        alpha=alpha, beta=beta,
    )  # fmt: skip
    done = built.launch(first.grid, first.block, first.args, first.shared_bytes)
    answer = target.sum(axis=0) if split > 1 else target
    np.testing.assert_array_equal(answer, expected)
    return done


def run_shapes(tiles: Tiles, *, arch: str = PTX_ONLY, code: str | None = None) -> None:
    """Every shape with beta 0 over NaN; those of one block or with a ragged one with another beta.

    Beta only matters where C is written, which is the same code whatever k is.
    """
    for m, n, k in shapes(tiles, tiles.vec):
        betas = (0.0, 3.0) if k <= tiles.bk + tiles.vec else (0.0,)
        for beta in betas:
            run_product(tiles, plain_layout(m, n, k), beta=beta, arch=arch, code=code)


def with_vec(tiles: Tiles, vec: int) -> Tiles:
    """The same tiles, loading `vec` floats at once."""
    return replace(tiles, vec=vec)
