from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemmbench.operands import (
    ALIGNMENT,
    DENORMAL,
    FILLS,
    GUARD_BYTES,
    INTEGER_LIMIT,
    MANTISSA_BITS,
    aligned_empty,
    fill_operands,
    guarded_output,
    largest_integer,
    map_operands,
    nudged_operands,
    save_operands,
    selection_operands,
)
from gemmbench.problem import Conv2d, Gemm, Linear, Problem
from gemmbench.reference import product

GEMM = Gemm(5, 7, 3)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "uint8"])
@pytest.mark.parametrize("shape", [(1,), (3, 5), (2, 3, 4, 5)])
def test_an_aligned_array_starts_on_a_cache_line(shape: tuple[int, ...], dtype: str) -> None:
    for _ in range(8):
        array = aligned_empty(shape, dtype)
        assert array.ctypes.data % ALIGNMENT == 0
        assert array.shape == shape
        assert array.dtype == dtype
        assert array.flags.c_contiguous
        assert array.flags.writeable


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_operands_have_the_shape_dtype_and_alignment_of_the_problem(fill: str, dtype: str) -> None:
    problem = Conv2d(2, 4, 5, 6, 6, (3, 2), groups=2, dtype=dtype)
    operands = fill_operands(problem, fill, seed=0)
    assert {name: array.shape for name, array in operands.items()} == problem.operand_shapes()
    for array in operands.values():
        assert array.dtype == dtype
        assert array.ctypes.data % ALIGNMENT == 0


@pytest.mark.parametrize("fill", ["uniform", "integers", "denormal"])
def test_the_same_seed_gives_the_same_operands(fill: str) -> None:
    first, second = (fill_operands(GEMM, fill, seed=3) for _ in range(2))
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])


@pytest.mark.parametrize("fill", ["uniform", "integers"])
def test_another_seed_gives_other_operands(fill: str) -> None:
    first, second = (fill_operands(Gemm(20, 20, 20), fill, seed) for seed in (0, 1))
    assert not np.array_equal(first["a"], second["a"])


def test_two_operands_of_one_shape_differ() -> None:
    operands = fill_operands(Gemm(20, 20, 20), "uniform", seed=0)
    assert not np.array_equal(operands["a"], operands["b"])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniform_operands_cover_minus_one_to_one(dtype: str) -> None:
    a = fill_operands(Gemm(100, 100, 1, dtype), "uniform", seed=0)["a"]
    assert -1 <= a.min() < -0.99
    assert 0.99 < a.max() < 1
    assert abs(a.mean()) < 0.05


def test_integer_operands_are_whole_and_reach_the_limit_on_both_sides() -> None:
    a = fill_operands(Gemm(100, 100, 1), "integers", seed=0)["a"]
    np.testing.assert_array_equal(a, np.round(a))
    assert (a.min(), a.max()) == (-INTEGER_LIMIT, INTEGER_LIMIT)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_denormal_operands_are_below_the_smallest_normal_number(dtype: str) -> None:
    a = fill_operands(Gemm(10, 10, 1, dtype), "denormal", seed=0)["a"]
    assert 0 < np.abs(a).max() <= DENORMAL[dtype] * 1.01
    assert np.abs(a).max() < np.finfo(dtype).smallest_normal


def test_zeros_are_zeros() -> None:
    assert not any(a.any() for a in fill_operands(Linear(2, 3, 4), "zeros", seed=0).values())


@given(k=st.integers(1, 2**22), dtype=st.sampled_from(["float32", "float64"]))
def test_sums_of_the_largest_integers_are_exact(k: int, dtype: str) -> None:
    limit = largest_integer(k, dtype)
    assert 1 <= limit <= INTEGER_LIMIT
    assert k * limit**2 <= 2 ** MANTISSA_BITS[dtype]
    larger_would_do = k * (limit + 1) ** 2 <= 2 ** MANTISSA_BITS[dtype]
    assert limit == INTEGER_LIMIT or not larger_would_do


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32), k=st.integers(1, 5000))
def test_an_integer_product_is_the_same_in_any_order(seed: int, k: int) -> None:
    operands = fill_operands(Gemm(1, k, 1), "integers", seed)
    terms = operands["a"][0] * operands["b"][:, 0]
    forward, backward = np.cumsum(terms)[-1], np.cumsum(terms[::-1])[-1]
    assert forward == backward == terms.astype(np.int64).sum()


def test_saved_operands_come_back_read_only(tmp_path: Path) -> None:
    operands = fill_operands(GEMM, "uniform", seed=0)
    mapped = map_operands(save_operands(operands, tmp_path, "case"))
    for name, array in operands.items():
        np.testing.assert_array_equal(mapped[name], array)
        assert not mapped[name].flags.writeable


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_output_is_aligned_poisoned_and_whole_at_first(dtype: str) -> None:
    output = guarded_output(Conv2d(3, 1, 3, 3, 5, (1, 1), dtype=dtype))
    assert output.array.shape == (3, 5, 3, 3)
    assert output.array.dtype == dtype
    assert output.array.ctypes.data % ALIGNMENT == 0
    assert np.isnan(output.array).all()
    assert not output.overrun()


def test_filling_the_whole_output_is_no_overrun_and_poison_erases_it() -> None:
    output = guarded_output(GEMM)
    output.array.fill(1)
    assert not output.overrun()
    output.poison()
    assert np.isnan(output.array).all()
    assert not output.overrun()


@pytest.mark.parametrize("offset", [-GUARD_BYTES, -1, 0, 1, GUARD_BYTES - 1])
def test_a_byte_written_on_either_side_is_an_overrun(offset: int) -> None:
    output = guarded_output(GEMM)
    at = output.start + offset + (output.array.nbytes if offset >= 0 else 0)
    output.bands[at] ^= 1
    assert output.overrun()


SHAPES = [
    Gemm(5, 300, 7),
    Linear(4, 200, 9),
    Conv2d(2, 6, 9, 11, 4, (3, 2), stride=(2, 3), pad=(1, 0), dilation=(2, 1), groups=2),
    Conv2d(1, 3, 5, 5, 2, (1, 1), stride=(4, 4)),
]


@pytest.mark.parametrize("problem", SHAPES, ids=lambda p: p.kind)
@pytest.mark.parametrize("position", [0, 1])
def test_a_selection_is_exact_in_any_order_and_shows_lost_precision(
    problem: Problem, position: int
) -> None:
    name = list(problem.operand_shapes())[position]
    operands = selection_operands(problem, name, seed=3)
    answer = product(problem, operands)
    np.testing.assert_array_equal(answer, answer.astype(problem.dtype))
    assert np.any(answer != 0)
    half = {key: array.astype(np.float16) for key, array in operands.items()}
    assert np.any(product(problem, half) != answer)


@pytest.mark.parametrize("problem", SHAPES, ids=lambda p: p.kind)
def test_nudged_operands_differ_in_some_elements_and_change_the_answer(problem: Problem) -> None:
    before = fill_operands(problem, "uniform", seed=0)
    names = list(before)
    after = nudged_operands(before, names[:1], seed=0)
    np.testing.assert_array_equal(after[names[1]], before[names[1]])
    changed = after[names[0]] != before[names[0]]
    assert 0 < changed.sum() <= changed.size / 50 + 1
    assert np.abs(after[names[0]]).max() <= 1
    assert np.any(product(problem, after) != product(problem, before))
