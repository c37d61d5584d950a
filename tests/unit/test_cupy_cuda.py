import importlib
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace

import pytest

from gemmbench.backend import load_backend, locate_backend
from gemmbench.errors import GemmbenchError
from gemmbench.problem import Conv2d, Gemm, Linear
from gemmbench_backends import cupy_cuda
from gemmbench_backends.cupy_cuda import UNWRITTEN, CupyCuda


class CUDARuntimeError(RuntimeError):
    """Stands in for CuPy's own."""


def install_fake_cupy(monkeypatch: pytest.MonkeyPatch, count_devices: Callable[[], int]) -> None:
    runtime = SimpleNamespace(getDeviceCount=count_devices, CUDARuntimeError=CUDARuntimeError)
    cupy = ModuleType("cupy")
    cupy.__dict__["cuda"] = SimpleNamespace(runtime=runtime)
    monkeypatch.setitem(sys.modules, "cupy", cupy)


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


def test_without_a_driver_the_reason_is_cudas_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> int:
        raise CUDARuntimeError("cudaErrorInsufficientDriver: the driver is too old")

    install_fake_cupy(monkeypatch, fail)
    reason = CupyCuda().unavailable()
    assert reason is not None
    assert "cudaErrorInsufficientDriver: the driver is too old. Check" in reason


def test_without_a_device_the_reason_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    install_fake_cupy(monkeypatch, lambda: 0)
    assert CupyCuda().unavailable() == "CuPy finds no CUDA device. Check: nvidia-smi"


def test_with_a_device_the_reason_is_that_the_kernel_is_not_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install_fake_cupy(monkeypatch, lambda: 1)
    assert CupyCuda().unavailable() == UNWRITTEN


def test_it_claims_no_problem_and_prepares_none() -> None:
    for problem in (Gemm(2, 3, 4), Linear(2, 3, 4), Conv2d(1, 1, 3, 3, 1, (1, 1))):
        assert CupyCuda().supports(problem) == UNWRITTEN
        with pytest.raises(GemmbenchError, match="backend 'cupy' is unavailable: "):
            CupyCuda().prepare(problem, {}, {})


def test_importing_the_backend_does_not_import_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)  # an import of it would raise
    importlib.reload(cupy_cuda)


def test_an_option_is_refused() -> None:
    with pytest.raises(GemmbenchError, match=r"'cupy:1'.*takes none.*Name it 'cupy'"):
        load_backend(locate_backend("cupy:1"))
