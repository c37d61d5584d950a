"""The stand-in has no name that CuPy lacks, and packs arguments as CuPy does."""

import ast
import inspect
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gemmbench_backends.cupy_cuda as backend
from gemmbench_backends.cupy_cuda.compile import options, source

from . import stand_in
from .products import integers
from .stand_in import NAMES, CompileException, CUDADriverError, State, installed, make_cupy

pytestmark = pytest.mark.cuda
SOURCES = sorted(Path(backend.__file__).parent.glob("*.py"))
NOT_PLAYED = {"cudnn", "cublas", "cufft", "nvrtc", "__version__"}  # reached in other ways


def find(root: Any, path: str) -> Any:
    for name in path.removesuffix("()").split("."):
        root = getattr(root, name)
    return root


@pytest.mark.parametrize("name", [n for n in NAMES if n != "cuda.Device.cublas_handle"])
def test_every_name_of_the_stand_in_is_cupys(name: str) -> None:
    import cupy

    found = find(cupy, name)
    assert callable(found) or not name.endswith("()")


def test_every_name_that_the_backend_uses_is_listed() -> None:
    """What is written as `cupy.…` in the sources, in its longest form."""
    listed = {name.removesuffix("()") for name in NAMES}
    used = {chain for path in SOURCES for chain in chains(path.read_text())}
    unknown = set()
    for chain in used:
        parts = chain.split(".")
        prefixes = {".".join(parts[: n + 1]) for n in range(len(parts))}
        if not prefixes & listed and not NOT_PLAYED & set(parts):
            unknown.add(chain)
    assert unknown == set()


def chains(text: str) -> set[str]:
    """Dotted names that begin with `cupy` or `runtime`, without it."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        parts = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if isinstance(node, ast.Name) and parts:
            if node.id in ("cupy", "real"):
                found.add(".".join(reversed(parts)))
            if node.id == "runtime":
                found.add(".".join(["cuda", "runtime", *reversed(parts)]))
    return {c for c in found if not any(other.startswith(f"{c}.") for other in found)}


@pytest.mark.parametrize(
    ("path", "needed"),
    [
        ("empty", ("shape", "dtype")), ("zeros", ("shape", "dtype")), ("matmul", ("out",)),
        ("copyto", ("dst", "src")), ("fft.rfft2", ("a", "s")), ("fft.irfft2", ("a", "s")),
        ("cuda.Event.record", ("stream",)),
    ],
)  # fmt: skip
def test_signatures_have_the_arguments_that_are_passed(path: str, needed: tuple[str, ...]) -> None:
    import cupy

    parameters = inspect.signature(find(cupy, path)).parameters
    assert set(needed) <= set(parameters), parameters


def test_the_compiled_signatures_have_the_arguments_that_are_passed() -> None:
    import cupy

    assert "shared_mem=0" in (cupy.RawKernel.__call__.__doc__ or "")
    assert all(word in (cupy.RawModule.__doc__ or "") for word in ("code=", "tuple options"))
    assert "milliseconds" in (cupy.cuda.get_elapsed_time.__doc__ or "")


def test_the_errors_of_the_stand_in_descend_as_cupys_do() -> None:
    import cupy

    assert issubclass(cupy.cuda.runtime.CUDARuntimeError, RuntimeError)
    assert issubclass(cupy.cuda.memory.OutOfMemoryError, MemoryError)


def test_without_a_device_the_real_cupy_gives_a_reason() -> None:
    import cupy

    if cupy.cuda.runtime.driverGetVersion() != 0:
        pytest.skip("there is an NVIDIA driver")
    assert backend.CupyCuda().unavailable() == (
        "there is no NVIDIA driver. Install it, or check it with: nvidia-smi"
    )


def add_splits(alpha: Any) -> Any:
    """What adding one partial product gives with this alpha, on the stand-in."""
    cupy = sys.modules["cupy"]
    code = source("add_splits")
    function = cupy.RawModule(code=code, options=options({})).get_function("add_splits")
    partial, c = cupy.empty((32,), "float32"), cupy.empty((32,), "float32")
    partial.set(integers((32,), 0))
    args = (np.int64(32), np.int32(1), alpha, partial, np.float32(0), c)
    function((1, 1, 1), (32, 1, 1), args)
    return c.get() / partial.get()[0]


def test_a_python_float_is_a_double_and_gives_nonsense(device: State) -> None:
    right = add_splits(np.float32(1.5))
    assert not np.array_equal(add_splits(1.5), right)


def test_a_compile_error_a_launch_too_large_and_an_implicit_copy_are_refused(device: State) -> None:
    cupy: Any = sys.modules["cupy"]
    with pytest.raises(CompileException, match="error"):
        _ = cupy.RawModule(code="int x = ;").get_function("x").num_regs
    function = cupy.RawModule(code=source("hold")).get_function("hold")
    with pytest.raises(CUDADriverError):
        function((1, 1, 1), (2048, 1, 1), (np.uint64(1),))
    with pytest.raises(TypeError, match="Implicit conversion"):
        np.asarray(cupy.empty((2,), "float32"))
    with pytest.raises(TypeError, match="tuple"):
        cupy.RawModule(code="", options=["-x"])


def test_memory_that_is_not_there_is_refused() -> None:
    with installed(State(free_bytes=100)), pytest.raises(MemoryError, match="Out of memory"):
        sys.modules["cupy"].empty((26,), "float32")


def test_memory_holds_nothing_before_it_is_written() -> None:
    array = make_cupy(State()).empty((3,), "float32")
    assert np.isnan(array.get()).all()
    assert array._memory.ctypes.data % stand_in.ALIGNMENT == 0
