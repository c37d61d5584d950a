"""The same checks on a device. Skipped, with the reason, where there is none."""

import numpy as np
import pytest

from gemmbench.operands import fill_operands, guarded_output
from gemmbench.problem import Problem
from gemmbench.reference import product as answer_of
from gemmbench_backends.cupy_cuda import CupyCuda
from gemmbench_backends.cupy_cuda.compile import compile_source, gemm_source
from gemmbench_backends.cupy_cuda.device import current_architecture
from gemmbench_backends.cupy_cuda.doctor import CHECKED, diagnose
from gemmbench_backends.cupy_cuda.kernels import Kernels, gemm_function, gemm_launch
from gemmbench_backends.cupy_cuda.space import menu
from gemmbench_backends.cupy_cuda.tiles import Tiles, macros

from .products import SMOKE, integers, plain_layout, shapes

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("tiles", SMOKE, ids=str)
def test_every_shape_is_right_bit_for_bit(tiles: Tiles) -> None:
    import cupy

    if tiles.copy == "async" and not current_architecture().copies_async:
        pytest.skip("this device has no cp.async")
    for m, n, k in shapes(tiles, tiles.vec):
        product = plain_layout(m, n, k)
        a, b, c = integers((m, k), 0), integers((k, n), 1), integers((m, n), 2)
        for beta in (0.0, 3.0):
            target = cupy.empty((m, n), "float32")
            target.set(c if beta else np.full_like(c, np.nan))
            left, right = cupy.asarray(a), cupy.asarray(b)
            function = gemm_function(tiles, product)
            gemm_launch(product, tiles, 1, function, left, right, target, 0, 2.0, beta)()
            np.testing.assert_array_equal(target.get(), 2 * (a @ b) + (beta * c if beta else 0))


@pytest.mark.parametrize("problem", CHECKED, ids=str)
def test_every_kind_of_problem_is_right(problem: Problem) -> None:
    kernels = Kernels()
    for algorithm in kernels.algorithms(problem):
        choice = {"algorithm": algorithm, "weights": "plain", "threads": 1}
        space = kernels.search_space(problem, choice)
        assert space is not None
        operands = fill_operands(problem, "integers", 0)
        given = {**operands, "out": guarded_output(problem).array}
        prepared = CupyCuda().prepare(problem, {**space.default, **choice}, given)
        prepared.run()
        np.testing.assert_array_equal(prepared.output(), answer_of(problem, operands))


def test_registers_on_the_device_are_those_that_were_compiled() -> None:
    arch, product = current_architecture(), plain_layout(256, 256, 256)
    for tiles in menu(product, arch):
        told = compile_source(gemm_source(False), macros(tiles, product), arch.name)
        assert gemm_function(tiles, product).num_regs == told.kernels["gemm"].registers


def test_the_report_has_no_failure() -> None:
    report = diagnose()
    assert "WRONG" not in report
    assert "failed" not in report
