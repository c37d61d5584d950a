import importlib
import sys

import pytest

from gemmbench.backend import load_backend, locate_backend
from gemmbench.errors import GemmbenchError
from gemmbench.problem import Conv2d, Gemm, Linear
from gemmbench_backends import cupy_cuda
from gemmbench_backends.cupy_cuda import CupyCuda


class BrokenImport:
    """A finder for which CuPy is there but does not import."""

    def __init__(self, error: ImportError) -> None:
        self.error = error

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "cupy":
            raise self.error


def test_without_cupy_the_reason_is_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    reason = CupyCuda().unavailable()
    assert reason is not None
    assert reason.startswith("CuPy is not installed.")
    assert "pip install 'gemmbench[cuda12]'" in reason
    assert "cuda13" in reason


@pytest.mark.parametrize(
    "error",
    [
        ImportError("libnvrtc.so.12:\n cannot open"),
        ImportError("libnvrtc.so.12: cannot open", name="cupy"),
        ModuleNotFoundError("libnvrtc.so.12: cannot open", name="fastrlock"),
    ],
    ids=repr,
)
def test_a_broken_cupy_says_what_it_misses_in_one_line(
    monkeypatch: pytest.MonkeyPatch, error: ImportError
) -> None:
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.setattr(sys, "meta_path", [BrokenImport(error), *sys.meta_path])
    reason = CupyCuda().unavailable()
    assert reason is not None
    assert "libnvrtc.so.12: cannot open. Reinstall" in reason
    assert "not installed" not in reason


def test_without_cupy_nothing_is_computed_and_the_reason_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    for problem in (Gemm(2, 3, 4), Linear(2, 3, 4), Conv2d(1, 1, 3, 3, 1, (1, 1))):
        assert "CuPy" in (CupyCuda().supports(problem) or "")
        with pytest.raises(GemmbenchError, match="backend 'cupy' is unavailable: "):
            CupyCuda().prepare(problem, {}, {})


def test_importing_the_backend_does_not_import_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)  # an import of it would raise
    importlib.reload(cupy_cuda)


@pytest.mark.parametrize("option", ["", "cublas", "cudnn", "cufft"])
def test_each_library_is_named_by_an_option(option: str) -> None:
    spec = f"cupy:{option}" if option else "cupy"
    assert load_backend(locate_backend(spec)).name == spec


def test_another_option_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(GemmbenchError, match=r"'cupy:cubla'.*cupy:cufft.*Did you mean 'cublas'"):
        load_backend(locate_backend("cupy:cubla"))


def test_the_sources_of_the_kernels_are_shipped_and_hashed() -> None:
    names = {path.name for path in CupyCuda().sources()}
    assert {"gemm.cu", "image.cu", "add_splits.cu", "hold.cu", "kernels.py"} <= names
    assert {path.stem for path in CupyCuda().sources() if path.suffix == ".cu"} == {
        "gemm", "image", "add_splits", "hold",
    }  # fmt: skip
