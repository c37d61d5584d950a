"""The GEMM kernel: what NVRTC makes of it for real architectures, run in the simulator."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gemmbench.errors import GemmbenchError
from gemmbench.problem import Conv2d, Problem
from gemmbench.reference import product as answer_of
from gemmbench_backends.cupy_cuda.architecture import (
    ARCHITECTURES,
    STATIC_SHARED,
    resident_blocks,
)
from gemmbench_backends.cupy_cuda.compile import compile_source, gemm_source, options, source
from gemmbench_backends.cupy_cuda.kernels import gemm_launch
from gemmbench_backends.cupy_cuda.space import menu
from gemmbench_backends.cupy_cuda.tiles import Layout, Tiles, image_macros, layout, macros

from .products import (
    PTX_ONLY,
    SMOKE,
    aligned,
    integers,
    plain_layout,
    run_product,
    run_shapes,
    with_vec,
)
from .simulator import PtxError
from .stand_in import compiled, kernel
from .test_space import PROBLEMS

pytestmark = pytest.mark.cuda

CONVOLUTIONS = {
    "stride": Conv2d(2, 3, 23, 19, 5, (5, 3), stride=(4, 2)),
    "pad and groups": Conv2d(2, 4, 9, 8, 6, (3, 3), pad=(1, 2), groups=2),
    "dilated": Conv2d(1, 2, 12, 11, 3, (3, 2), pad=(2, 1), dilation=(2, 3)),
    "pixels by four": Conv2d(3, 4, 8, 6, 8, (3, 3), pad=(1, 1)),
}


def named(tiles: Tiles) -> str:
    return f"{tiles.bm}x{tiles.bn}x{tiles.bk}-{tiles.copy}{tiles.stages}-vec{tiles.vec}"


@pytest.mark.parametrize("tiles", SMOKE, ids=named)
def test_every_shape_is_right_bit_for_bit(tiles: Tiles) -> None:
    run_shapes(tiles)


@pytest.mark.parametrize("tiles", SMOKE, ids=named)
def test_it_compiles_for_both_architectures_without_spills(tiles: Tiles) -> None:
    for arch in ("sm_80", "sm_90"):
        defined = macros(tiles, plain_layout(256, 256, 256))
        found = compile_source(gemm_source(False), defined, arch).kernels["gemm"]
        assert (found.spill_bytes, found.stack_bytes) == (0, 0)
        static = tiles.shared_bytes if tiles.shared_bytes <= STATIC_SHARED else 0
        assert found.shared_bytes == static
        limits = ARCHITECTURES[arch]
        fit = resident_blocks(limits, tiles.threads, found.registers, tiles.shared_bytes)
        assert fit >= tiles.blocks


@pytest.mark.parametrize("implicit", [False, True], ids=["gemm", "implicit"])
def test_what_is_simulated_is_what_a_device_is_given(implicit: bool) -> None:
    """Stopping before machine code changes nothing in the PTX that it would be made of."""
    problem = CONVOLUTIONS["stride"]
    product = layout(problem, "implicit-gemm") if implicit else plain_layout(64, 64, 64)
    chosen = options(macros(SMOKE[4], product))
    (stopped, _), (whole, _) = (
        compiled(gemm_source(implicit), chosen, arch) for arch in (PTX_ONLY, "sm_90")
    )
    assert stopped == whole


@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
def test_the_menu_as_it_is_launched_keeps_what_it_claims(arch: str) -> None:
    assert_menu_fits(*PROBLEMS[0], arch)


@pytest.mark.cuda_whole
@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
@pytest.mark.parametrize(("problem", "algorithm"), PROBLEMS, ids=str)
def test_so_does_the_menu_of_every_kind_of_problem(
    problem: Problem, algorithm: str, arch: str
) -> None:
    assert_menu_fits(problem, algorithm, arch)


def assert_menu_fits(problem: Problem, algorithm: str, arch: str) -> None:
    """No spills, and at least one block on an SM, for each entry as this problem launches it."""
    product, limits = layout(problem, algorithm), ARCHITECTURES[arch]
    entries = menu(product, limits)
    assert entries
    for tiles in entries:
        code = gemm_source(product.image is not None)
        compiled = compile_source(code, macros(tiles, product), arch)
        found = compiled.kernels["gemm"]
        assert (found.spill_bytes, found.stack_bytes) == (0, 0), named(tiles)
        fit = resident_blocks(limits, tiles.threads, found.registers, tiles.shared_bytes)
        assert fit >= tiles.blocks, named(tiles)


def test_without_cp_async_it_compiles_for_the_oldest_architecture() -> None:
    run_product(SMOKE[2], plain_layout(68, 36, 20), arch="compute_75")
    with pytest.raises(GemmbenchError, match=r"does not compile for sm_75"):
        compile_source(gemm_source(False), macros(SMOKE[3], plain_layout(4, 4, 4)), "sm_75")


@pytest.mark.parametrize("vec", [2, 4])
@pytest.mark.parametrize(("a_k", "b_k"), [(True, True), (False, False), (False, True)])
@pytest.mark.parametrize("tiles", [SMOKE[2], SMOKE[4]], ids=named)
def test_transposed_operands(tiles: Tiles, a_k: bool, b_k: bool, vec: int) -> None:
    for m, n, k in ((vec, vec, vec), (64 + vec, 68 + vec, 32 + vec)):
        run_product(with_vec(tiles, vec), plain_layout(m, n, k, a_k, b_k))


def test_what_lies_between_rows_is_neither_read_nor_written() -> None:
    """Leading dimensions longer than the rows, as of a part of a matrix."""
    m, n, k = 68, 36, 20
    wide = Layout(m, n, k, True, False, k + 4, n + 8, n + 12)
    a, b = integers((m, k), 0), integers((k, n), 1)
    left, right, out = (
        aligned(np.full(shape, np.nan, np.float32))
        for shape in ((m, wide.lda), (k, wide.ldb), (m, wide.ldc))
    )
    left[:, :k], right[:, :n] = a, b
    built = kernel(gemm_source(False), options(macros(SMOKE[4], wide)), PTX_ONLY, "gemm")
    launch = gemm_launch(wide, SMOKE[4], 1, None, left, right, out, 0)
    built.launch(launch.grid, launch.block, launch.args, launch.shared_bytes)
    np.testing.assert_array_equal(out[:, :n], a @ b)
    assert np.isnan(out[:, n:]).all()


@pytest.mark.parametrize("split", [2, 3, 16])
def test_k_is_cut_into_shares_also_into_more_than_there_are_steps(split: int) -> None:
    for k in (8, 132, 200):
        run_product(SMOKE[4], plain_layout(68, 72, k), split=split)


def test_partial_products_are_added_in_order() -> None:
    parts = integers((3, 500), 0)
    parts.flags.writeable = False
    adds = kernel(source("add_splits"), options({}), PTX_ONLY, "add_splits")
    for beta in (0.0, 3.0):
        c = integers((500,), 1) if beta else aligned(np.full(500, np.nan, np.float32))
        expected = 2 * parts.sum(axis=0) + (beta * c if beta else 0)
        args = (np.int64(500), np.int32(3), np.float32(2), parts, np.float32(beta), c)
        adds.launch((1, 1, 1), (256, 1, 1), args)
        np.testing.assert_array_equal(c, expected)


def test_misaligned_vectors_are_found() -> None:
    product = plain_layout(8, 67, 8)  # 67 floats a row: not a multiple of four
    tiles = SMOKE[2]
    forced = {**macros(tiles, product), "VEC_B": 4}
    built = kernel(gemm_source(False), options(forced), PTX_ONLY, "gemm")
    operands = integers((8, 8), 0), integers((8, 67), 1), integers((8, 67), 2)
    wrong = gemm_launch(product, tiles, 1, None, *operands, 0)
    with pytest.raises(PtxError, match="misaligned"):
        built.launch(wrong.grid, wrong.block, wrong.args, wrong.shared_bytes)


def run_convolution(tiles: Tiles, problem: Conv2d, split: int = 1) -> None:
    product = layout(problem, "implicit-gemm")
    x, w = (integers(shape, i) for i, shape in enumerate(problem.operand_shapes().values()))
    expected = answer_of(problem, {"x": x, "w": w})
    x.flags.writeable = w.flags.writeable = False
    floats = product.c_floats
    out = aligned(np.full((split, *problem.output_shape()), np.nan, np.float32))
    defined = macros(tiles, product)
    built = kernel(gemm_source(True), options(defined), PTX_ONLY, "gemm")
    launch = gemm_launch(product, tiles, split, None, w, x, out, floats if split > 1 else 0)
    built.launch(launch.grid, launch.block, launch.args, launch.shared_bytes)
    np.testing.assert_array_equal(out.sum(axis=0), expected)


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("tiles", [SMOKE[2], SMOKE[5]], ids=named)
def test_implicit_gemm_is_right_bit_for_bit(tiles: Tiles, name: str) -> None:
    run_convolution(tiles, CONVOLUTIONS[name])


def test_implicit_gemm_with_k_cut_into_shares() -> None:
    run_convolution(SMOKE[3], CONVOLUTIONS["pad and groups"], split=2)


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_im2col_writes_out_every_column(name: str) -> None:
    problem = CONVOLUTIONS[name]
    product = layout(problem, "im2col")
    x = integers(problem.operand_shapes()["x"], 0)
    x.flags.writeable = False
    columns = aligned(np.full((product.batches, product.k, product.n), np.nan, np.float32))
    built = kernel(source("image"), options(image_macros(problem)), PTX_ONLY, "im2col")
    grid = (2, product.batches, 1)
    built.launch(grid, (64, 1, 1), (x, columns, np.int32(problem.groups)))
    w = integers(problem.operand_shapes()["w"], 1)
    filters = w.reshape(problem.groups, product.m, product.k)
    per_image = columns.reshape(problem.batch, problem.groups, product.k, product.n)
    out = np.matmul(filters, per_image).reshape(problem.output_shape())
    np.testing.assert_array_equal(out, answer_of(problem, {"x": x, "w": w}))


def test_im2col_counts_beyond_32_bits() -> None:
    """64 channels of 2048², 3 × 3: the first columns are padding, so that no image is needed."""
    problem = Conv2d(1, 64, 2048, 2048, 64, (3, 3), pad=(1, 1))
    columns = aligned(np.full(64, np.nan, np.float32))
    built = kernel(source("image"), options(image_macros(problem)), PTX_ONLY, "im2col")
    with pytest.raises(PtxError, match="element 64 of 64"):  # it goes on, where there is no room
        built.launch((1, 1, 1), (64, 1, 1), (aligned(columns), columns, np.int32(1)))
    assert (columns == 0).all()


def test_products_in_one_launch_share_their_filters() -> None:
    product = Layout(8, 12, 20, True, False, 20, 12, 12, 6, 2, 160, 240, 96)
    a, b = integers((2, 8, 20), 0), integers((6, 20, 12), 1)
    c = aligned(np.full((6, 8, 12), np.nan, np.float32))
    defined = macros(SMOKE[4], product)
    built = kernel(gemm_source(False), options(defined), PTX_ONLY, "gemm")
    launch = gemm_launch(product, SMOKE[4], 1, None, a, b, c, 0)
    built.launch(launch.grid, launch.block, launch.args, launch.shared_bytes)
    np.testing.assert_array_equal(c, np.tile(a, (3, 1, 1)) @ b)


def test_padding_spares_bank_conflicts() -> None:
    """The reason for the axis: the transposed stores of A collide without it."""
    conflicts: dict[int, Any] = {}
    for pad in (0, 4):
        tiles = replace(SMOKE[2], pad=pad)
        conflicts[pad] = run_product(tiles, plain_layout(64, 32, 64)).store_conflicts
    assert conflicts[4] < conflicts[0]
