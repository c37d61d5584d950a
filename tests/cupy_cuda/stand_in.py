"""A stand-in for the few CuPy names that the backend uses: kernels really run, without a GPU.

`RawModule` compiles with the real NVRTC, with the options that CuPy adds, and its kernels run in
the PTX simulator. Arguments are packed as CuPy packs them: a Python float is a C double. Everything
runs at once where a device would run it later, so an error that a device reports at the next
synchronisation is raised by the launch. `NAMES` lists every name that exists here; a test compares
them with the real package.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from .simulator import Kernel

NAMES = (  # as the backend spells them; "()" marks what is called
    "RawModule()", "RawModule.get_function", "RawKernel.num_regs", "RawKernel.local_size_bytes",
    "RawKernel.max_dynamic_shared_size_bytes", "RawKernel.__call__", "empty()", "zeros()",
    "asarray()",
    "matmul()", "copyto()", "fft.rfft2()", "fft.irfft2()", "ndarray.set", "ndarray.get",
    "ndarray.fill", "ndarray.reshape", "ndarray.transpose", "ndarray.T", "ndarray.nbytes",
    "ndarray.size", "ndarray.shape", "ndarray.dtype", "ndarray.__getitem__", "ndarray.__setitem__",
    "cuda.Event()", "cuda.Event.record", "cuda.Event.synchronize", "cuda.get_elapsed_time()",
    "cuda.Stream.null", "cuda.Stream.synchronize", "cuda.Device()", "cuda.Device.id",
    "cuda.Device.compute_capability", "cuda.Device.attributes", "cuda.Device.pci_bus_id",
    "cuda.Device.cublas_handle", "cuda.runtime.driverGetVersion()",
    "cuda.runtime.runtimeGetVersion()", "cuda.runtime.getDeviceCount()",
    "cuda.runtime.memGetInfo()", "cuda.runtime.getDeviceProperties()",
    "cuda.runtime.deviceSynchronize()", "cuda.runtime.CUDARuntimeError",
    "cuda.driver.CUDADriverError", "cuda.memory.OutOfMemoryError", "cuda.compiler.CompileException",
)  # fmt: skip
STATIC_SHARED = 48 * 1024
ALIGNMENT = 256  # of device memory


@dataclass(slots=True)
class State:
    """The device that is played, and what happens on it."""

    arch: str = "sm_90"
    name: str = "Stand-in"
    devices: int = 1
    driver: int = 13020
    runtime: int = 13020
    free_bytes: int = 2**40
    l2_bytes: int = 1 << 20
    libraries: tuple[str, ...] = ("cublas", "cufft")
    poisoned: str = ""  # the error that every later call gives
    launches: int = 0


class CUDARuntimeError(RuntimeError):
    """Stands in for CuPy's own."""


class CUDADriverError(RuntimeError):
    """Stands in for CuPy's own."""


class CompileException(Exception):  # noqa: N818
    """Stands in for CuPy's own."""


class OutOfMemoryError(MemoryError):
    """Stands in for CuPy's own."""


class ndarray:  # noqa: N801 - CuPy's name
    """Device memory, which NumPy must not touch unasked."""

    def __init__(self, memory: Any) -> None:
        self._memory = memory
        self.shape, self.dtype, self.size = memory.shape, memory.dtype, memory.size
        self.nbytes = memory.nbytes

    @property
    def T(self) -> "ndarray":  # noqa: N802 - CuPy's name
        return ndarray(self._memory.T)

    def set(self, host: Any) -> None:
        if not isinstance(host, np.ndarray) or host.shape != self.shape:
            raise ValueError(f"cannot set {self.shape} from {getattr(host, 'shape', host)}")
        if host.dtype != self.dtype:
            raise TypeError(f"cannot set {self.dtype} from {host.dtype}")
        self._memory[...] = host

    def get(self) -> Any:
        return self._memory.copy()

    def fill(self, value: float) -> None:
        self._memory.fill(value)

    def reshape(self, *shape: Any) -> "ndarray":
        return ndarray(self._memory.reshape(*shape))

    def transpose(self, *axes: int) -> "ndarray":
        return ndarray(self._memory.transpose(*axes))

    def __getitem__(self, index: Any) -> "ndarray":
        return ndarray(self._memory[index])

    def __setitem__(self, index: Any, value: "ndarray") -> None:
        places = index if isinstance(index, tuple) else (index,)
        places = tuple(p._memory if isinstance(p, ndarray) else p for p in places)
        self._memory[places] = value._memory

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")


@lru_cache(maxsize=512)
def compiled(code: str, options: tuple[str, ...], arch: str) -> tuple[str, Any]:
    """PTX and resources of each kernel, by the real NVRTC."""
    from cupy.cuda import nvrtc

    from gemmbench_backends.cupy_cuda.compile import CUPY_ADDS, read_log

    program = nvrtc.createProgram(code, "kernel.cu", (), ())
    try:
        nvrtc.compileProgram(program, (*options, f"-arch={arch}", *CUPY_ADDS, "--ptxas-options=-v"))
    except nvrtc.NVRTCError:
        raise CompileException(nvrtc.getProgramLog(program)) from None
    ptx = nvrtc.getPTX(program)
    return ptx if isinstance(ptx, str) else ptx.decode(), read_log(nvrtc.getProgramLog(program))


@lru_cache(maxsize=512)
def kernel(code: str, options: tuple[str, ...], arch: str, name: str) -> Kernel:
    """The entry `name`, ready to be simulated."""
    return Kernel(compiled(code, options, arch)[0], name)


class RawKernel:
    """A kernel; attributes compile it."""

    def __init__(self, state: State, code: str, options: tuple[str, ...], name: str) -> None:
        self._state, self._key = state, (code, options, state.arch)
        self._name = name
        self.max_dynamic_shared_size_bytes = STATIC_SHARED

    @property
    def _resources(self) -> Any:
        return compiled(*self._key)[1][self._name]

    @property
    def num_regs(self) -> int:
        return int(self._resources.registers)

    @property
    def local_size_bytes(self) -> int:
        return int(self._resources.stack_bytes)

    def __call__(
        self, grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...], *,
        shared_mem: int = 0,
    ) -> None:  # fmt: skip
        check(self._state)
        if not isinstance(grid, tuple) or not isinstance(block, tuple):
            raise TypeError("grid and block must be tuples")
        if max(grid[1:], default=1) > 65_535 or int(np.prod(block)) > 1024:
            raise CUDADriverError("CUDA_ERROR_INVALID_VALUE: invalid argument")
        if shared_mem > self.max_dynamic_shared_size_bytes:
            raise CUDADriverError("CUDA_ERROR_INVALID_VALUE: invalid argument")
        if int(np.prod(block)) * self.num_regs > 65_536:
            raise CUDADriverError("CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES: too many resources")
        self._state.launches += 1
        given = [arg._memory if isinstance(arg, ndarray) else arg for arg in args]
        dims = [(*size, 1, 1)[:3] for size in (grid, block)]
        kernel(*self._key, self._name).launch(dims[0], dims[1], given, shared_mem)


class Event:
    """The moment at which everything queued before it is done: here, when it is recorded."""

    def __init__(self, state: State) -> None:
        self._state, self.moment, self.waited = state, 0.0, False

    def record(self, stream: Any = None) -> None:
        check(self._state)
        self.moment, self.waited = time.perf_counter(), False

    def synchronize(self) -> None:
        check(self._state)
        if not self.moment:
            raise CUDARuntimeError("cudaErrorInvalidResourceHandle: never recorded")
        self.waited = True


def elapsed(start: Event, end: Event) -> float:
    """Milliseconds, once the end was waited for."""
    if not start.moment or not end.waited:
        raise CUDARuntimeError("cudaErrorNotReady: device not ready")
    return (end.moment - start.moment) * 1e3


def check(state: State) -> None:
    """What every call does on a device whose context is lost."""
    if state.poisoned:
        raise CUDARuntimeError(state.poisoned)


def make_cupy(state: State) -> ModuleType:
    """The module, playing the device in `state`."""
    cupy = ModuleType("cupy")
    cupy.__dict__.update(
        __version__="0.stand-in", __path__=[], ndarray=ndarray, state=state,
        RawModule=_raw_module(state), RawKernel=RawKernel, empty=_empty(state), asarray=_asarray,
        zeros=_zeros(state), matmul=_matmul, copyto=_copyto,
        fft=SimpleNamespace(rfft2=_rfft2, irfft2=_irfft2),
        cuda=_cuda(state),
    )  # fmt: skip
    return cupy


@lru_cache(maxsize=1)
def real_cupy() -> Any:
    """CuPy itself, its compiler loaded while the package is still to be found."""
    import cupy

    cupy.cuda.nvrtc.getVersion()
    return cupy


@contextmanager
def installed(state: State) -> Iterator[State]:
    """`import cupy` gives the stand-in, while this lasts."""
    real_cupy()  # before it is hidden
    from gemmbench_backends.cupy_cuda import kernels

    kernels._function.cache_clear()  # what it holds belongs to another device
    before = sys.modules["cupy"]
    sys.modules["cupy"] = make_cupy(state)
    try:
        yield state
    finally:
        sys.modules["cupy"] = before
        kernels._function.cache_clear()


def _raw_module(state: State) -> Callable[..., Any]:
    def make(*, code: str, options: tuple[str, ...] = ()) -> Any:
        if type(options) is not tuple:
            raise TypeError("options must be a tuple")
        return SimpleNamespace(get_function=lambda name: RawKernel(state, code, options, name))

    return make


def _memory(shape: Any, dtype: Any, state: State) -> Any:
    shape, dtype = (shape if isinstance(shape, tuple) else (shape,)), np.dtype(dtype)
    nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if nbytes > state.free_bytes:
        raise OutOfMemoryError(f"Out of memory allocating {nbytes} bytes")
    raw = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    memory = raw[start : start + nbytes].view(dtype).reshape(shape)
    memory.fill(np.nan)  # whoever reads what was not written finds out
    return memory


def _empty(state: State) -> Callable[..., ndarray]:
    def empty(shape: Any, dtype: Any = float) -> ndarray:
        check(state)
        return ndarray(_memory(shape, dtype, state))

    return empty


def _zeros(state: State) -> Callable[..., ndarray]:
    def zeros(shape: Any, dtype: Any = float) -> ndarray:
        array = ndarray(_memory(shape, dtype, state))
        array.fill(0)
        return array

    return zeros


def _asarray(host: Any) -> ndarray:
    return ndarray(np.array(host))


def _matmul(left: ndarray, right: ndarray, out: ndarray | None = None) -> ndarray:
    product = np.matmul(left._memory, right._memory)
    if out is None:
        return ndarray(product)
    out._memory[...] = product
    return out


def _copyto(dst: ndarray, src: ndarray) -> None:
    dst._memory[...] = src._memory


def _rfft2(a: ndarray, s: tuple[int, int]) -> ndarray:
    from scipy.fft import rfft2  # single precision stays single, as in cuFFT

    return ndarray(rfft2(a._memory, s=s))


def _irfft2(a: ndarray, s: tuple[int, int]) -> ndarray:
    from scipy.fft import irfft2

    return ndarray(irfft2(a._memory, s=s))


def _cuda(state: State) -> SimpleNamespace:
    def count() -> int:
        if not state.devices:
            raise CUDARuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")
        return state.devices

    def free() -> tuple[int, int]:
        check(state)
        return state.free_bytes, 2**40

    runtime = SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError, driverGetVersion=lambda: state.driver,
        runtimeGetVersion=lambda: state.runtime, getDeviceCount=count, memGetInfo=free,
        getDeviceProperties=lambda device: {"name": state.name.encode()},
        deviceSynchronize=lambda: check(state),
    )  # fmt: skip
    attributes = {
        "MultiProcessorCount": 4, "L2CacheSize": state.l2_bytes, "ClockRate": 1_000_000,
    }  # fmt: skip

    def device() -> SimpleNamespace:
        return SimpleNamespace(
            id=0, compute_capability=state.arch.removeprefix("sm_"), attributes=attributes,
            pci_bus_id="0000:00:00.0", cublas_handle=1,
        )  # fmt: skip

    libraries = {
        name: SimpleNamespace(getVersion=lambda *handle: 130000) for name in state.libraries
    }
    return SimpleNamespace(
        runtime=runtime, driver=SimpleNamespace(CUDADriverError=CUDADriverError),
        memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
        compiler=SimpleNamespace(CompileException=CompileException),
        Event=lambda: Event(state), get_elapsed_time=elapsed, Device=device,
        Stream=SimpleNamespace(null=SimpleNamespace(synchronize=lambda: check(state))),
        **libraries,
    )  # fmt: skip
