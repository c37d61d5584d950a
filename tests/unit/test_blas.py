import re
import tracemalloc
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from gemmbench.backend import Prepared, load_backend, locate_backend
from gemmbench.errors import GemmbenchError
from gemmbench.operands import fill_operands, guarded_output
from gemmbench.problem import Conv2d, Gemm, Problem
from gemmbench.reference import product
from gemmbench_backends.blas import Blas, limit_blas_threads


def prepare(problem: Problem) -> Any:
    operands = fill_operands(problem, "integers", seed=0)
    config = {"algorithm": "im2col", "weights": "plain", "threads": 1}
    return Blas().prepare(problem, config, {**operands, "out": guarded_output(problem).array})


def allocated_by(prepared: Prepared) -> int:
    """Most bytes held at one time during a call, beyond those held before it."""
    prepared.run()
    tracemalloc.start()
    prepared.run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_an_option_is_refused_and_the_line_says_what_is_allowed() -> None:
    with pytest.raises(GemmbenchError, match=r"'blas:mlk'.*path of a shared.*mean 'mkl'"):
        load_backend(locate_backend("blas:mlk"))


def test_the_library_names_numpy_its_blas_and_its_threads() -> None:
    limit_blas_threads(1)
    line = Blas().library()
    assert line.startswith(f"numpy {np.__version__}, ")
    if threadpool_info():
        assert re.search(r"\d+\.\d+.* \(.*1 thread\)$", line)


def test_the_library_is_numpys_even_when_scipy_brought_another() -> None:
    import scipy.linalg  # noqa: F401 - loads SciPy's own BLAS

    pools = {pool["filepath"]: pool for pool in threadpool_info() if pool["user_api"] == "blas"}
    numpys = [pool for path, pool in pools.items() if "numpy" in path]
    if not numpys:
        pytest.skip("NumPy and SciPy share a system BLAS here")
    assert ".".join(numpys[0]["version"].split(".")[:3]) in Blas().library()


def test_without_a_known_pool_the_library_is_what_numpy_was_built_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("threadpoolctl.threadpool_info", list)
    linked = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    assert Blas().library() == f"numpy {np.__version__}, {linked['name']} {linked['version']}"


def test_preparing_sets_the_threads_and_keeps_them() -> None:
    problem = Gemm(2, 3, 4)
    operands = {**fill_operands(problem, "zeros", 0), "out": guarded_output(problem).array}
    for threads in (2, 1):
        Blas().prepare(problem, {"algorithm": "gemm", "threads": threads}, operands)
        pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
        assert {pool["num_threads"] for pool in pools} <= {threads}


def test_the_workspace_is_the_columns_of_one_image_and_the_padded_image() -> None:
    problem = Conv2d(3, 4, 9, 8, 6, (3, 3), pad=(1, 2), groups=2)
    padded_bytes = 4 * 11 * 12 * 4
    assert prepare(problem).workspace_bytes == problem.im2col_bytes() + padded_bytes


def test_an_unpadded_image_is_not_copied_before_its_columns() -> None:
    problem = Conv2d(3, 4, 9, 8, 6, (3, 3))
    assert prepare(problem).workspace_bytes == problem.im2col_bytes()


@pytest.mark.parametrize("pad", [(0, 0), (2, 2)])
def test_a_run_allocates_no_arrays(pad: tuple[int, int]) -> None:
    prepared = prepare(Conv2d(2, 16, 40, 40, 16, (5, 5), pad=pad, groups=2))
    assert allocated_by(prepared) < 4096


def test_a_pointwise_convolution_multiplies_the_image_itself() -> None:
    prepared = prepare(Conv2d(2, 64, 40, 40, 8, (1, 1)))
    assert prepared.workspace_bytes == 0
    assert not hasattr(prepared, "stages")
    assert allocated_by(prepared) < 4096


def test_the_borders_stay_zero_when_the_image_changes() -> None:
    problem = Conv2d(2, 2, 5, 5, 3, (3, 3), pad=(1, 1))
    operands = fill_operands(problem, "integers", seed=0)
    out = guarded_output(problem).array
    config = {"algorithm": "im2col", "weights": "plain", "threads": 1}
    prepared = Blas().prepare(problem, config, {**operands, "out": out})
    for seed in range(3):
        for name, array in fill_operands(problem, "integers", seed).items():
            np.copyto(operands[name], array)
        prepared.run()
        np.testing.assert_array_equal(out, product(problem, operands))


def test_the_stages_of_a_convolution_are_im2col_and_multiply() -> None:
    prepared = prepare(Conv2d(2, 2, 5, 5, 3, (3, 3)))
    assert list(prepared.stages) == ["im2col", "multiply"]
    prepared.out.fill(np.nan)
    prepared.stages["im2col"]()
    assert np.isnan(prepared.out).all()
    prepared.stages["multiply"]()
    assert not np.isnan(prepared.out).any()
