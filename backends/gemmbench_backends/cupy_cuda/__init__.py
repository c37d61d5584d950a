"""NVIDIA GPUs through CuPy: gemmbench's own kernels, and NVIDIA's libraries beside them.

This module is what a worker sees. Importing it imports neither CuPy nor a driver.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from gemmbench.backend import Operands, Prepared
from gemmbench.errors import GemmbenchError, did_you_mean
from gemmbench.machine import Machine
from gemmbench.problem import Problem
from gemmbench.space import Config, SearchSpace


class Way(Protocol):
    """Who computes on the device: the kernels, or a library."""

    def missing(self) -> str | None:
        """What it needs beyond CuPy and is not there; None if nothing."""

    def supports(self, problem: Problem) -> str | None:
        """None, or why it can't compute this problem on this device."""

    def algorithms(self, problem: Problem) -> Mapping[str, Sequence[str]]:
        """Each algorithm with the weights it takes."""

    def search_space(self, problem: Problem, choice: Config) -> SearchSpace | None:
        """What can be tuned on this device; None if nothing."""

    def build(self, problem: Problem, config: Config, arrays: Mapping[str, Any]) -> Any:
        """A `Work`: the steps of one call on `arrays`, which are on the device."""

    def library(self) -> str:
        """Versions, device and driver."""


class CupyCuda:
    """CUDA by CuPy; with an option 'cublas', 'cudnn' or 'cufft', that library.

    Raises GemmbenchError for another option.
    """

    def __init__(self, option: str = "") -> None:
        self.name = f"cupy:{option}" if option else "cupy"
        self._way = _way(option)
        self._clock: Any = None  # one for all contenders: it holds a buffer of twice the L2 cache

    def unavailable(self) -> str | None:
        """What is missing first: CuPy, a driver, a device, a compiler, a library."""
        from gemmbench_backends.cupy_cuda import device

        return device.unavailable() or self._way.missing()

    def supports(self, problem: Problem) -> str | None:
        """None, or why not: what is computed, and whether it fits in the device's memory."""
        return self._ready("cannot be asked") or self._way.supports(problem)

    def algorithms(self, problem: Problem) -> Mapping[str, Sequence[str]]:
        """Each algorithm with the weights it takes."""
        return self._way.algorithms(problem)

    def search_space(
        self, problem: Problem, machine: Machine, choice: Config
    ) -> SearchSpace | None:
        """Of the kernels, for the current device; a library chooses for itself."""
        return self._way.search_space(problem, choice)

    def library(self) -> str:
        """Which library or compiler, device and driver."""
        return self._way.library()

    def sources(self) -> Iterable[Path]:
        """The files whose change makes stored winners stale."""
        here = Path(__file__).parent
        return sorted([*here.glob("*.py"), *here.glob("*.cu")])

    def prepare(self, problem: Problem, config: Config, operands: Operands) -> Prepared:
        """Copy the operands to the device, compile, allocate.

        Raises GemmbenchError without a device, and for a config that is not worth launching.
        """
        reason = self.unavailable()
        if reason is not None:
            raise GemmbenchError(f"backend {self.name!r} is unavailable: {reason}.")
        from gemmbench_backends.cupy_cuda.contender import DeviceClock, OnDevice, to_device

        arrays, guarded = to_device(operands)
        work = self._way.build(problem, config, arrays)
        self._clock = self._clock or DeviceClock()
        return OnDevice(operands, arrays, guarded, work, self._clock)

    def device(self) -> str:
        """The device that contenders of all `cupy` backends share."""
        import cupy

        return f"cuda:{cupy.cuda.Device().id}"

    def device_state(self) -> Mapping[str, Any]:
        """Driver, clocks, power limit and throttling, as they are now."""
        from gemmbench_backends.cupy_cuda import device

        return device.device_state()

    def device_peak(self, dtype: str) -> float | None:
        """Operations a second that the device cannot exceed, by its clock; None if not known."""
        from gemmbench_backends.cupy_cuda import device

        return device.peak_flops() if dtype == "float32" else None

    def lost(self) -> str | None:
        """Why nothing more can run in this process, after an illegal address say."""
        from gemmbench_backends.cupy_cuda import device

        return device.lost()

    def listing(self, problem: Problem, arch: str, processes: int) -> list[dict[str, Any]]:
        """All configs of the kernels with what the compiler says of each; needs no device.

        Raises GemmbenchError for a library, whose kernels are not compiled here.
        """
        if self.name != "cupy":
            raise GemmbenchError(
                f"--arch: {self.name} is a library that chooses its kernels itself, there is "
                "nothing to list. Use: --backend cupy"
            )
        from gemmbench_backends.cupy_cuda.listing import list_configs

        return list_configs(problem, arch, processes)

    def diagnose(self) -> str:
        """The checks on a device, in a form to paste into an issue."""
        from gemmbench_backends.cupy_cuda.doctor import diagnose

        return diagnose()

    def _ready(self, what: str) -> str | None:
        """Why the device `what`; None if it can."""
        reason = self.unavailable()
        return None if reason is None else f"the device {what}: {reason}"


def _kernels() -> Way:
    from gemmbench_backends.cupy_cuda.kernels import Kernels

    return Kernels()


def _cublas() -> Way:
    from gemmbench_backends.cupy_cuda.libraries import CuBlas

    return CuBlas()


def _cudnn() -> Way:
    from gemmbench_backends.cupy_cuda.libraries import CuDnn

    return CuDnn()


def _cufft() -> Way:
    from gemmbench_backends.cupy_cuda.libraries import CuFft

    return CuFft()


WAYS: Mapping[str, Callable[[], Way]] = {
    "": _kernels, "cublas": _cublas, "cudnn": _cudnn, "cufft": _cufft,
}  # fmt: skip


def _way(option: str) -> Way:
    if option not in WAYS:
        names = [f"cupy:{name}" if name else "cupy" for name in WAYS]
        raise GemmbenchError(
            f"backend 'cupy:{option}': got option {option!r}, expected one of "
            f"{', '.join(names)}.{did_you_mean(option, [n for n in WAYS if n])}"
        )
    return WAYS[option]()
