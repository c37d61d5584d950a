import re
from functools import partial
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gemmbench.errors import GemmbenchError
from gemmbench.operands import fill_operands, guarded_output
from gemmbench.problem import Conv2d, Gemm, Linear
from gemmbench_backends import native_blas
from gemmbench_backends.blas import Blas
from gemmbench_backends.native_blas import PACKAGES, MissingLibraryError, find_library
from gemmbench_backends.native_blas.calls import bind_each
from gemmbench_backends.native_blas.vendors import Unknown

NUMPYS = sorted(Path(np.__file__).parent.with_name("numpy.libs").glob("*openblas*.so*"))


@pytest.fixture
def by_path() -> Blas:
    """The library in NumPy's wheel, which spells its symbols in its own way."""
    if not NUMPYS:
        pytest.skip("NumPy is linked to a system BLAS here")
    return Blas(str(NUMPYS[0]))


def distribution_with(*files: Path) -> Any:
    listed = [SimpleNamespace(name=file.name, locate=partial(Path, file)) for file in files]
    return lambda name: SimpleNamespace(version="1.2", files=listed)


@pytest.mark.parametrize("name", PACKAGES)
def test_a_missing_library_names_the_extra_that_brings_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(distribution: str) -> None:
        raise PackageNotFoundError(distribution)

    monkeypatch.setattr(native_blas, "distribution", nothing)
    reason = Blas(name).unavailable()
    assert reason is not None
    assert reason.endswith(f"pip install 'gemmbench[{name}]'")


def test_a_library_is_found_among_the_files_of_its_distribution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("libmkl_core.so.3", "libmkl_rt.so.3"):
        (tmp_path / name).touch()
    monkeypatch.setattr(native_blas, "distribution", distribution_with(*tmp_path.iterdir()))
    assert find_library("mkl") == (tmp_path / "libmkl_rt.so.3", "mkl 1.2")


def test_a_distribution_that_lists_no_files_is_searched_beside_the_interpreter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libmkl_rt.so.3").touch()
    monkeypatch.setattr(native_blas, "distribution", distribution_with())
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    assert find_library("mkl")[0] == tmp_path / "lib" / "libmkl_rt.so.3"


def test_a_distribution_without_the_library_is_to_be_reinstalled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native_blas, "distribution", distribution_with(tmp_path / "libmkl_rt.so.3"))
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    with pytest.raises(MissingLibraryError, match=r"without libmkl_rt\.so\*.*gemmbench\[mkl\]"):
        find_library("mkl")


def test_a_path_to_nothing_says_so() -> None:
    assert "there is no file /nowhere/lib.so" in str(Blas("/nowhere/lib.so").unavailable())


def test_a_file_that_is_no_library_says_why_it_does_not_load(tmp_path: Path) -> None:
    (tmp_path / "text.so").write_text("not a library")
    assert "text.so does not load: " in str(Blas(str(tmp_path / "text.so")).unavailable())


def test_a_library_without_products_is_no_blas() -> None:
    maps = Path("/proc/self/maps").read_text()
    found = re.search(r"/\S*/libc\.so\.6", maps)
    if found is None:
        pytest.skip("no glibc here")
    assert "exports neither cblas_sgemm nor bli_sgemm" in str(Blas(found[0]).unavailable())


def test_preparing_without_the_library_is_one_line() -> None:
    operands = {**fill_operands(Gemm(1, 1, 1), "zeros", 0)}
    with pytest.raises(GemmbenchError, match=r"^backend 'blas:/nowhere' is unavailable: .*\.$"):
        Blas("/nowhere").prepare(Gemm(1, 1, 1), {"algorithm": "gemm", "threads": 1}, operands)


def test_a_library_at_a_path_says_what_it_is(by_path: Blas) -> None:
    assert by_path.unavailable() is None
    assert re.fullmatch(
        rf"{re.escape(str(NUMPYS[0]))}, OpenBLAS \d+\.\d+\S* \(\w+, \d+ threads?\)",
        by_path.library(),
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("algorithm", ["gemm", "gemv"])
@pytest.mark.parametrize("shape", [Gemm(5, 7, 1), Gemm(1, 7, 5), Gemm(1, 1, 1)])
def test_a_product_with_a_vector_is_had_either_way(
    by_path: Blas, shape: Gemm, algorithm: str, dtype: str
) -> None:
    problem = Gemm(shape.m, shape.k, shape.n, dtype)
    assert by_path.algorithms(problem) == {"gemm": ("plain",), "gemv": ("plain",)}
    operands = fill_operands(problem, "integers", seed=0)
    out = guarded_output(problem)
    config = {"algorithm": algorithm, "threads": 1}
    by_path.prepare(problem, config, {**operands, "out": out.array}).run()
    np.testing.assert_array_equal(out.array, operands["a"] @ operands["b"])
    assert not out.overrun()


def test_only_a_product_with_a_vector_has_two_ways(by_path: Blas) -> None:
    assert list(by_path.algorithms(Gemm(2, 3, 4))) == ["gemm"]
    assert list(by_path.declined(Gemm(2, 3, 4))) == ["gemv"]
    assert by_path.declined(Gemm(2, 3, 1)) == by_path.declined(Conv2d(1, 1, 3, 3, 1, (3, 3))) == {}
    assert list(by_path.algorithms(Linear(1, 3, 4))) == ["gemm", "gemv"]
    assert list(by_path.algorithms(Conv2d(1, 1, 3, 3, 1, (3, 3)))) == ["im2col"]


def test_preparing_sets_the_threads_of_that_library(by_path: Blas) -> None:
    problem = Gemm(2, 3, 4)
    operands = {**fill_operands(problem, "zeros", 0), "out": guarded_output(problem).array}
    for threads, words in ((2, "2 threads)"), (1, "1 thread)")):
        by_path.prepare(problem, {"algorithm": "gemm", "threads": threads}, operands)
        assert by_path.library().endswith(words)


def test_the_call_keeps_its_operands_alive(by_path: Blas) -> None:
    problem = Gemm(64, 64, 64)
    operands = fill_operands(problem, "integers", seed=0)
    expected = operands["a"] @ operands["b"]
    out = guarded_output(problem).array
    config = {"algorithm": "gemm", "threads": 1}
    prepared = by_path.prepare(problem, config, {**operands, "out": out})
    operands.clear()
    for seed in range(3):
        fill_operands(problem, "integers", seed)  # takes the memory, were it free
    prepared.run()
    np.testing.assert_array_equal(out, expected)


def test_leading_axes_are_products_of_their_own() -> None:
    rng = np.random.default_rng(0)
    left, right = rng.random((2, 3, 4)), rng.random((5, 2, 4, 6))
    product = np.empty((5, 2, 3, 6))
    bind_each(lambda a, b, c: partial(np.matmul, a, b, out=c), left, right, product)()
    np.testing.assert_allclose(product, left @ right)


def test_a_library_of_nobody_still_has_a_line() -> None:
    unknown = Unknown()
    unknown.set_threads(2)
    assert unknown.threads() is None
    assert unknown.version()
    assert unknown.kernel() == ""


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("openblas", r"scipy-openblas32 \S+, OpenBLAS \S+ \(\w+, 1 thread\)"),
        ("mkl", r"mkl \S+, MKL \d+\.\d+ \(\w+, 1 thread\)"),
        ("blis", r"blis \S+, BLIS \S+ \(\w+, 1 thread\)"),
    ],
)
def test_an_installed_library_says_which_kernel_runs(name: str, line: str) -> None:
    backend = Blas(name)
    reason = backend.unavailable()
    if reason is not None:
        pytest.skip(reason)
    problem = Gemm(2, 3, 4)
    operands = {**fill_operands(problem, "zeros", 0), "out": guarded_output(problem).array}
    backend.prepare(problem, {"algorithm": "gemm", "threads": 1}, operands)
    assert re.fullmatch(line, backend.library())
