from pathlib import Path
from types import SimpleNamespace

import pytest

from gemmbench.backend import (
    Location,
    algorithms,
    installed_backends,
    load_backend,
    locate_backend,
    prepared_by,
)
from gemmbench.errors import GemmbenchError
from gemmbench.problem import Conv2d, Gemm

KERNEL = """
class MyGemm:
    name = "mine"

    def unavailable(self): return None
    def supports(self, problem): return None
    def search_space(self, problem, machine, choice): return None
    def prepare(self, problem, config, operands): raise NotImplementedError


class WithOption(MyGemm):
    def __init__(self, option):
        self.option = option


class Half:
    name = "half"

    def supports(self, problem): return None
    prepare = "not a method"
"""


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    path = tmp_path / "my_kernel_of_backend_tests.py"
    path.write_text(KERNEL, encoding="utf-8")
    return path


def error_line(spec: str, folder: Path | None = None) -> str:
    with pytest.raises(GemmbenchError) as raised:
        locate_backend(spec, folder)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_the_shipped_backends_are_installed() -> None:
    assert {"blas", "numba", "fft", "cupy", "torch"} <= set(installed_backends())


def test_a_name_is_located_by_its_entry_point() -> None:
    assert locate_backend("blas") == Location("gemmbench_backends.blas", "Blas")


def test_an_option_follows_the_name() -> None:
    assert locate_backend("blas:mkl") == Location("gemmbench_backends.blas", "Blas", "mkl")


def test_an_import_path_is_located_without_importing_it() -> None:
    assert locate_backend("no_such_pkg.kernels:MyGemm") == Location("no_such_pkg.kernels", "MyGemm")


def test_a_file_is_located_from_the_folder_it_is_relative_to(kernel: Path) -> None:
    location = Location(str(kernel.resolve()), "MyGemm")
    assert locate_backend(f"{kernel}:MyGemm") == location
    assert locate_backend(f"./{kernel.name}:MyGemm", kernel.parent) == location


def test_a_relative_file_is_looked_up_in_the_current_folder(
    kernel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(kernel.parent)
    assert locate_backend(f"{kernel.name}:MyGemm").module == str(kernel.resolve())


def test_an_unknown_name_names_the_nearest_and_the_other_forms() -> None:
    line = error_line("nunba")
    assert "'nunba'" in line
    assert "Did you mean 'numba'?" in line
    assert "./my_kernel.py:MyGemm" in line
    assert "my_pkg.kernels:MyGemm" in line


def test_a_name_like_no_other_lists_all() -> None:
    assert "blas, cupy, fft, numba" in error_line("zzzzzz")


def test_a_missing_file_is_named() -> None:
    line = error_line("./no_such_kernel.py:MyGemm", Path("/nowhere"))
    assert "/nowhere/no_such_kernel.py" in line


@pytest.mark.parametrize("suffix", ["", ":", ":not-a-name"])
def test_a_file_without_its_class_is_told_how_to_name_it(kernel: Path, suffix: str) -> None:
    assert f"{kernel}:MyGemm" in error_line(f"{kernel}{suffix}")


def test_a_class_that_is_not_there_names_the_nearest(kernel: Path) -> None:
    with pytest.raises(GemmbenchError, match=r"no 'MyGem'.*Did you mean 'MyGemm'\?"):
        load_backend(Location(str(kernel), "MyGem"))


def test_a_class_without_the_contracts_methods_says_which_it_lacks(kernel: Path) -> None:
    with pytest.raises(GemmbenchError, match="lacks unavailable, search_space, prepare"):
        load_backend(Location(str(kernel), "Half"))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (None, "returned nothing without run and output"),
        (SimpleNamespace(output=lambda: None), "returned a SimpleNamespace without run."),
    ],
)
def test_what_cannot_be_run_names_the_file_and_what_it_lacks(
    kernel: Path, given: object, told: str
) -> None:
    backend = load_backend(Location(str(kernel), "MyGemm"))
    backend.prepare = lambda *asked: given  # type: ignore[method-assign, assignment]
    with pytest.raises(GemmbenchError) as refused:
        prepared_by(backend, Gemm(2, 3, 4), {}, {})
    assert str(refused.value).startswith(f"{kernel.name}:MyGemm: prepare() {told}")


def test_a_backend_file_loads_and_gets_its_option(kernel: Path) -> None:
    assert load_backend(Location(str(kernel), "MyGemm")).name == "mine"
    loaded = load_backend(Location(str(kernel), "WithOption", "mkl"))
    assert vars(loaded) == {"option": "mkl"}


def test_a_backend_without_algorithms_has_one_with_plain_weights(kernel: Path) -> None:
    backend = load_backend(Location(str(kernel), "MyGemm"))
    assert algorithms(backend, Gemm(2, 3, 4)) == {"gemm": ("plain",)}
    assert algorithms(backend, Conv2d(1, 1, 3, 3, 1, (1, 1))) == {"conv": ("plain",)}
