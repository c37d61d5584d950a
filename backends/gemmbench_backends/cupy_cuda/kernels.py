"""Gemmbench's own CUDA kernels: which launches compute a problem."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import ceil
from typing import Any

import numpy as np

from gemmbench.errors import GemmbenchError
from gemmbench.problem import Conv2d, Problem
from gemmbench.space import Config, SearchSpace
from gemmbench_backends.cupy_cuda.architecture import STATIC_SHARED, resident_blocks
from gemmbench_backends.cupy_cuda.compile import gemm_source, options, source
from gemmbench_backends.cupy_cuda.contender import DeviceArray, Launch, Work
from gemmbench_backends.cupy_cuda.device import (
    current_architecture,
    describe_device,
    too_little_memory,
)
from gemmbench_backends.cupy_cuda.space import product_space
from gemmbench_backends.cupy_cuda.tiles import (
    FLOAT,
    Layout,
    Tiles,
    image_macros,
    layout,
    macros,
    tiles_of,
    uncountable,
)

COLUMN_BYTES = 2**30  # of im2col columns at most; a larger batch is lowered part by part
MOST_IN_GRID = 65_535  # blocks along y and z
THREADS = 256  # of a block that lowers or adds up
BLOCKS = 1024  # of those, at most


class Kernels:
    """Products, fully connected layers and convolutions, in float32."""

    def missing(self) -> str | None:
        """None: what CuPy needs is all they need."""
        return None

    def supports(self, problem: Problem) -> str | None:
        """None, or why not: the type, the counts, the device's memory."""
        if problem.dtype != "float32":
            return f"the CUDA kernels compute float32, not {problem.dtype}"
        product = layout(problem, "implicit-gemm" if isinstance(problem, Conv2d) else "gemm")
        if ceil(product.m / 32) > MOST_IN_GRID or product.batches > MOST_IN_GRID:
            return "more rows or groups than a launch can count"
        images = images_at_once(problem, 1) if isinstance(problem, Conv2d) else 0
        needed_bytes = problem.minimal_bytes() + images * problem.im2col_bytes()
        return uncountable(problem, product) or too_little_memory(needed_bytes)

    def algorithms(self, problem: Problem) -> Mapping[str, Sequence[str]]:
        """A convolution's columns are written out, or looked up as they are needed."""
        if isinstance(problem, Conv2d):
            return {"im2col": ("plain",), "implicit-gemm": ("plain",)}
        return {"gemm": ("plain",)}

    def search_space(self, problem: Problem, choice: Config) -> SearchSpace | None:
        """Tiles, stages, copies and the split along k, for the current device."""
        product = layout(problem, str(choice["algorithm"]))
        return product_space(product, current_architecture())

    def build(self, problem: Problem, config: Config, arrays: Mapping[str, DeviceArray]) -> Work:
        """The launches of one call. Raises GemmbenchError for a config not worth launching."""
        product = layout(problem, str(config["algorithm"]))
        tiles, split = tiles_of(config), int(config["split"])
        gemm = gemm_function(tiles, product)
        if isinstance(problem, Conv2d):
            if config["algorithm"] == "im2col" and problem.im2col_bytes():
                return _lowered(problem, product, tiles, split, gemm, arrays)
            left, right = arrays["w"], arrays["x"]
        else:
            left, right = (arrays[name] for name in problem.operand_shapes())
        steps, nbytes = multiply(product, tiles, split, gemm, left, right, arrays["out"])
        return Work(tuple(("multiply", step) for step in steps), nbytes, problem.flops())

    def library(self) -> str:
        """CuPy, the compiler, the device and its driver."""
        return describe_device()


def gemm_function(tiles: Tiles, product: Layout) -> Any:
    """The compiled kernel, ready for as much shared memory as it takes.

    Raises GemmbenchError if it spills registers or does not fit on an SM: it would only be slow.
    """
    code = gemm_source(product.image is not None)
    defined = tuple(macros(tiles, product).items())
    function = _function(code, defined, "gemm")
    spilled = int(function.local_size_bytes)
    if spilled:
        raise GemmbenchError(f"not launched: a thread spills {spilled} bytes of registers.")
    registers, shared = int(function.num_regs), tiles.shared_bytes
    if resident_blocks(current_architecture(), tiles.threads, registers, shared) == 0:
        raise GemmbenchError(
            f"not launched: {tiles.threads} threads of {registers} registers with {shared} bytes "
            "of shared memory do not fit on an SM."
        )
    if dynamic_bytes(tiles):
        function.max_dynamic_shared_size_bytes = shared
    return function


def dynamic_bytes(tiles: Tiles) -> int:
    """Shared memory that a launch must ask for: all of it, where it is too much to be static."""
    return tiles.shared_bytes if tiles.shared_bytes > STATIC_SHARED else 0


@lru_cache(maxsize=64)
def _function(code: str, defined: tuple[tuple[str, int], ...], name: str) -> Any:
    import cupy

    return cupy.RawModule(code=code, options=options(dict(defined))).get_function(name)


def multiply(
    product: Layout, tiles: Tiles, split: int, gemm: Any,
    a: DeviceArray, b: DeviceArray, c: DeviceArray,
) -> tuple[list[Launch], int]:  # fmt: skip
    """The launches of C = A · B, and the bytes of partial products between them."""
    import cupy

    if split == 1:
        return [gemm_launch(product, tiles, 1, gemm, a, b, c, 0)], 0
    floats = product.c_floats
    partial = cupy.empty((split * floats,), "float32")
    adds = _function(source("add_splits"), (), "add_splits")
    add = Launch(
        adds, (min(BLOCKS, ceil(floats / THREADS)), 1, 1), (THREADS, 1, 1),
        (np.int64(floats), np.int32(split), np.float32(1), partial, np.float32(0), c),
    )  # fmt: skip
    first = gemm_launch(product, tiles, split, gemm, a, b, partial, floats)
    return [first, add], FLOAT * split * floats


def gemm_launch(
    product: Layout, tiles: Tiles, split: int, gemm: Any,
    a: DeviceArray, b: DeviceArray, c: DeviceArray, split_stride: int,
    alpha: float = 1.0, beta: float = 0.0,
) -> Launch:  # fmt: skip
    """One launch of `gemm`, its arguments in the order and the types of gemm.cu."""
    grid = (
        ceil(product.n / tiles.bn),
        ceil(product.m / tiles.bm),
        product.batches * split,
    )
    if max(grid[1:]) > MOST_IN_GRID:
        raise GemmbenchError(f"not launched: a grid of {grid} blocks, {MOST_IN_GRID} at most.")
    span = ceil(ceil(product.k / tiles.bk) / split) * tiles.bk
    i, f, long = np.int32, np.float32, np.int64
    args = (
        i(product.m), i(product.n), i(product.k), f(alpha),
        a, i(product.lda), long(product.a_stride), i(product.a_count),
        b, i(product.ldb), long(product.b_stride),
        f(beta), c, i(product.ldc), long(product.c_stride),
        i(product.batches), i(span), long(split_stride),
    )  # fmt: skip
    return Launch(gemm, grid, (tiles.threads, 1, 1), args, dynamic_bytes(tiles))


def images_at_once(problem: Conv2d, split: int) -> int:
    """Images whose columns are written out together."""
    fit = COLUMN_BYTES // max(1, problem.im2col_bytes())
    return max(1, min(problem.batch, fit, MOST_IN_GRID // (problem.groups * split)))


def im2col_launch(problem: Conv2d, x: DeviceArray, columns: DeviceArray, images: int) -> Launch:
    """The launch that writes out the columns of `images` images, (images, groups, k, pixels)."""
    shape = problem.gemm()
    lower = _function(source("image"), tuple(image_macros(problem).items()), "im2col")
    grid = (min(BLOCKS, ceil(shape.k * shape.n / THREADS)), images * problem.groups, 1)
    return Launch(lower, grid, (THREADS, 1, 1), (x, columns, np.int32(problem.groups)))


def _lowered(
    problem: Conv2d, product: Layout, tiles: Tiles, split: int, gemm: Any,
    arrays: Mapping[str, DeviceArray],
) -> Work:  # fmt: skip
    """im2col and multiply, for as many images at once as their columns have room for."""
    from dataclasses import replace

    import cupy

    count = images_at_once(problem, split)
    floats = product.k * product.n
    columns = cupy.empty((count * problem.groups * floats,), "float32")
    steps: list[tuple[str, Launch]] = []
    partial_bytes = 0
    for first in range(0, problem.batch, count):
        images = min(count, problem.batch - first)
        part = replace(product, batches=images * problem.groups)
        x = arrays["x"][first : first + images]
        steps.append(("im2col", im2col_launch(problem, x, columns, images)))
        out = arrays["out"][first : first + images]
        launches, nbytes = multiply(part, tiles, split, gemm, arrays["w"], columns, out)
        steps += [("multiply", launch) for launch in launches]
        partial_bytes += nbytes  # each part keeps its own, so that they are not in each other's way
    return Work(tuple(steps), columns.nbytes + partial_bytes, problem.flops())
