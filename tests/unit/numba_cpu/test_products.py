"""Every variant of the blocked product against float64, with guard bands around the output."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gemmbench.operands import aligned_empty, fill_operands, guarded_output
from gemmbench.problem import Gemm
from gemmbench_backends.numba_cpu import driver
from gemmbench_backends.numba_cpu.emit import Vector
from gemmbench_backends.numba_cpu.plan import BY_COLUMNS, BY_ROWS
from gemmbench_backends.numba_cpu.product import (
    Blocking,
    Matrix,
    Shape,
    dots_plan,
    has_lone_column,
    k_block,
    rows_plan,
    split,
    tiled_plan,
    whole_vectors,
)
from gemmbench_backends.numba_cpu.threads import runner

SIZES = st.integers(1, 130)
# Few examples, each of another shape, block and width; registers of any width run on x86 and ARM.
BOUNDED = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
VECTORS = st.builds(
    lambda dtype, nbytes: Vector(dtype, nbytes // np.dtype(dtype).itemsize),
    st.sampled_from(["float32", "float64"]),
    st.sampled_from([64, 32, 16]),
)
GRIDS = st.sampled_from([(1, 1, 1), (1, 2, 1), (1, 1, 2), (1, 2, 2)])
SCALES = st.sampled_from([(1.0, 0.0), (1.0, 1.0), (2.0, 0.0), (2.0, 3.0), (-1.0, 0.5)])
BLOCKINGS = st.builds(
    Blocking,
    mr=st.integers(1, 9), nv=st.integers(1, 3), ku=st.sampled_from([1, 2, 4]),
    kc=st.integers(8, 140), mc=st.integers(1, 140), nc=st.integers(1, 140),
    order=st.sampled_from(["panels", "rows"]), pack_a=st.sampled_from(["off", "on"]),
    pack_b=st.sampled_from(["off", "on", "fused"]), grid=GRIDS,
)  # fmt: skip


def whole_numbers(shape, vector, seed, spare=0):
    """A matrix of small integers whose rows are `spare` elements longer in memory."""
    rows, columns = shape
    memory = aligned_empty((rows, columns + spare), vector.dtype)
    memory[...] = np.random.default_rng(seed).integers(-3, 4, memory.shape)
    return memory[:, :columns]


def place(array):
    return Matrix(array.ctypes.data, array.strides[0])


def assert_product(m, k, n, vector, cut, scale, spare, transposed):
    a = whole_numbers((m, k), vector, 1, spare)
    b = whole_numbers((n, k) if transposed else (k, n), vector, 2, spare)
    output = guarded_output(Gemm(m, k, n + spare, vector.dtype))
    alpha, beta = scale
    before = whole_numbers((m, n + spare), vector, 3)
    if beta:
        output.array[...] = before
    plan = tiled_plan(
        Shape(m, k, n), vector, cut, place(a), place(b), place(output.array),
        BY_COLUMNS if transposed else BY_ROWS, alpha, beta,
    )  # fmt: skip
    untouched = output.array[:, n:].copy()
    runner(driver.multiply, plan.address, cut.threads())()
    expected = alpha * (a @ (b.T if transposed else b)) + (beta * before[:, :n] if beta else 0)
    np.testing.assert_array_equal(output.array[:, :n], expected)
    np.testing.assert_array_equal(output.array[:, n:], untouched)
    assert not output.overrun()


@BOUNDED
@given(SIZES, SIZES, SIZES, VECTORS, BLOCKINGS, SCALES, st.integers(0, 5))
def test_any_blocking_gives_the_product_exactly(m, k, n, vector, cut, scale, spare):
    assert_product(m, k, n, vector, cut, scale, spare, transposed=False)


@settings(BOUNDED, max_examples=60)
@given(SIZES, SIZES, SIZES, VECTORS, BLOCKINGS.filter(lambda cut: cut.pack_b == "on"), SCALES)
def test_transposed_b_gives_the_product_exactly(m, k, n, vector, cut, scale):
    assert_product(m, k, n, vector, cut, scale, 0, transposed=True)


@pytest.mark.parametrize("order", ["panels", "rows"])
@pytest.mark.parametrize("pack_a", ["off", "on"])
@pytest.mark.parametrize("pack_b", ["off", "on", "fused"])
@pytest.mark.parametrize("grid", [(1, 1, 1), (1, 2, 1), (1, 1, 2)])
@pytest.mark.parametrize(("mc", "nc"), [(20, 60), (20, 200), (60, 200)])
def test_every_packing_and_order_meets_both_tile_sizes_and_the_edge(
    order, pack_a, pack_b, grid, mc, nc
):
    """57 rows are tiles of 8 and 9; 7 vectors tiles of 2 and 3, the last one ragged.

    At nc = 200 a block has several panels of B. At mc = 60 it has all rows: with panels outermost,
    one is overwritten by the next and, where it is fused, the next is asked for by all of its few
    tiles.
    """
    vector = Vector("float32", 16)
    cut = Blocking(9, 3, 2, 48, mc, nc, order, pack_a, pack_b, grid)
    assert_product(57, 101, 101, vector, cut, (1.0, 0.0), 3, transposed=False)


@pytest.mark.parametrize("mc", [20, 60])
def test_of_many_tiles_the_last_ask_for_the_next_panel(mc):
    """57 rows are 19 tiles, of which two ask; at mc = 20 those of the first block."""
    vector = Vector("float32", 16)
    cut = Blocking(3, 1, 1, 48, mc, 200, "panels", "off", "fused")
    assert_product(57, 101, 101, vector, cut, (1.0, 0.0), 3, transposed=False)


@settings(BOUNDED, max_examples=60)
@given(
    SIZES, SIZES, st.integers(1, 17), VECTORS, st.integers(1, 5), st.integers(1, 5),
    st.sampled_from([1, 2]), st.integers(8, 140), GRIDS, SCALES, st.booleans(),
)  # fmt: skip
def test_dot_products_write_either_orientation_exactly(
    m, k, n, vector, mr, nv, ku, kc, grid, scale, flipped
):
    a, bt = whole_numbers((m, k), vector, 1), whole_numbers((n, k), vector, 2)
    output = guarded_output(Gemm(n if flipped else m, 1, m if flipped else n, vector.dtype))
    before = whole_numbers(output.array.shape, vector, 3)
    alpha, beta = scale
    if beta:
        output.array[...] = before
    strides = output.array.strides[::-1] if flipped else output.array.strides
    cut = Blocking(mr, nv, ku, kc, 0, 0, grid=grid)
    plan = dots_plan(
        Shape(m, k, n), vector, cut, place(a), place(bt),
        Matrix(output.array.ctypes.data, *strides), alpha, beta,
    )  # fmt: skip
    runner(driver.multiply_dots, plan.address, cut.threads())()
    product = bt @ a.T if flipped else a @ bt.T
    expected = alpha * product + (beta * before if beta else 0)
    np.testing.assert_array_equal(output.array, expected)
    assert not output.overrun()


@settings(BOUNDED, max_examples=60)
@given(
    st.integers(1, 7), SIZES, SIZES, VECTORS, st.integers(1, 4), st.integers(1, 17),
    st.integers(1, 140), st.sampled_from([1, 2, 4]), SCALES, st.integers(0, 5),
)  # fmt: skip
def test_whole_rows_give_the_product_exactly(m, k, n, vector, mr, depth, nc, threads, scale, spare):
    a, b = whole_numbers((m, k), vector, 1, spare), whole_numbers((k, n), vector, 2, spare)
    output = guarded_output(Gemm(m, k, n + spare, vector.dtype))
    before = whole_numbers((m, n + spare), vector, 3)
    alpha, beta = scale
    if beta:
        output.array[...] = before
    untouched = output.array[:, n:].copy()
    plan = rows_plan(
        Shape(m, k, n), vector, Blocking(mr, 1, 1, depth, 0, nc, grid=(1, 1, threads)),
        place(a), place(b), place(output.array), alpha, beta,
    )  # fmt: skip
    runner(driver.multiply_rows, plan.address, threads)()
    expected = alpha * (a @ b) + (beta * before[:, :n] if beta else 0)
    np.testing.assert_array_equal(output.array[:, :n], expected)
    np.testing.assert_array_equal(output.array[:, n:], untouched)
    assert not output.overrun()


@pytest.mark.parametrize("order", ["panels", "rows"])
@pytest.mark.parametrize("pack_a", ["off", "on"])
@pytest.mark.parametrize("pack_b", ["off", "on", "fused"])
@pytest.mark.parametrize("grid", [(1, 1, 1), (1, 2, 1), (1, 1, 2)])
@pytest.mark.parametrize(("mc", "nc"), [(20, 60), (60, 200)])
@pytest.mark.parametrize("scale", [(1.0, 0.0), (2.0, 3.0)])
def test_every_packing_and_order_computes_the_lone_column(
    order, pack_a, pack_b, grid, mc, nc, scale
):
    """113 columns are 7 registers and one column; 101 steps along k are more than two blocks."""
    vector = Vector("float32", 16)
    cut = Blocking(9, 3, 2, 48, mc, nc, order, pack_a, pack_b, grid)
    assert_product(57, 101, 113, vector, cut, scale, 3, transposed=False)


@pytest.mark.parametrize(("n", "registers"), [(1, 1), (9, 1), (16, 2), (17, 2), (18, 3), (169, 21)])
def test_a_row_takes_no_register_for_a_lone_column(n, registers):
    assert whole_vectors(n, 8) == registers
    assert has_lone_column(n, 8) == (n > 1 and n % 8 == 1)


@pytest.mark.parametrize("nbytes", [64, 32, 16])
def test_ragged_fused_product_reaches_few_kernels(nbytes):
    """57 rows are tiles of 8 and 9; 7 vectors tiles of 2 and 3: only those of 9 need to pack."""
    vector = Vector("float32", nbytes // 4)
    n = 7 * vector.lanes - 2
    a, b = whole_numbers((57, 64), vector, 1), whole_numbers((64, n), vector, 2)
    c = whole_numbers((57, n), vector, 3)
    cut = Blocking(9, 3, 2, 64, 57, n, "rows", "off", "fused")
    plan = tiled_plan(Shape(57, 64, n), vector, cut, place(a), place(b), place(c))
    assert len(set(plan.record["kernels"].ravel()) - {0}) == 6


def test_uniform_operands_stay_within_the_error_bound():
    problem = Gemm(33, 1000, 47)
    operands, output = fill_operands(problem, "uniform", 5), guarded_output(problem)
    a, b = operands["a"], operands["b"]
    cut = Blocking(9, 2, 2, 256, 33, 47)
    plan = tiled_plan(
        Shape(33, 1000, 47), Vector("float32", 16), cut, place(a), place(b), place(output.array)
    )
    runner(driver.multiply, plan.address, 1)()
    error = np.abs(output.array - a.astype(np.float64) @ b.astype(np.float64))
    bound = 8 * 1000**0.5 * 2.0**-24 * (np.abs(a).astype(np.float64) @ np.abs(b))
    assert np.all(error <= bound)


@given(SIZES, st.integers(1, 20), st.integers(1, 5))
def test_tiles_of_an_even_split_cover_the_whole_and_fit_the_block(count, tile, parts):
    size, larger, tiles = split(count, tile, parts)
    assert size * tiles + larger == count
    assert size >= 1
    assert size + (larger > 0) <= tile
    assert tiles % parts == 0 or tiles == count


@given(st.integers(1, 10_000), st.integers(1, 2000), st.sampled_from([2, 4, 8, 16]))
def test_blocks_along_k_are_whole_vectors_where_there_is_room_for_one(k, kc, lanes):
    block = k_block(k, kc, lanes)
    assert block == min(k, kc) or block % lanes == 0
    assert 1 <= block <= kc + lanes - 1


@pytest.mark.parametrize("n", [169, 176])
def test_a_block_as_large_as_the_matrix_is_one_block(n):
    """35 rows are six tiles of six: five whole ones and a bit must not become two blocks."""
    cut = Blocking(6, 2, 1, 64, 35, n)
    place = Matrix(0, 4)
    plan = tiled_plan(Shape(35, 64, n), Vector("float32", 8), cut, place, place, place)
    assert int(plan.record["mc"][0]) >= int(plan.record["row_tiles"][0]) == 6
    assert int(plan.record["nc"][0]) >= int(plan.record["column_tiles"][0]) == 11
