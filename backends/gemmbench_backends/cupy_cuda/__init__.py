"""NVIDIA GPUs through CuPy: for now only the reason why it cannot run.

It claims nothing before its kernel exists, and importing it never imports CuPy.
"""

from gemmbench.backend import Operands, Prepared
from gemmbench.errors import GemmbenchError
from gemmbench.machine import Machine
from gemmbench.problem import Problem
from gemmbench.space import Config, SearchSpace

INSTALL = "pip install 'gemmbench[cuda12]', or 'gemmbench[cuda13]' for a CUDA 13 driver"
UNWRITTEN = "gemmbench's CUDA kernel is not written yet. Nothing to install: use another backend"


class CupyCuda:
    """CUDA kernels compiled by CuPy. Raises GemmbenchError for an option: none exists yet."""

    name = "cupy"

    def __init__(self, option: str = "") -> None:
        if option:
            raise GemmbenchError(
                f"backend 'cupy:{option}': got option {option!r}, 'cupy' takes none. "
                "Name it 'cupy'."
            )

    def unavailable(self) -> str | None:
        """What is missing first: CuPy, a device, or the kernel itself."""
        try:
            import cupy
        except ImportError as error:
            if isinstance(error, ModuleNotFoundError) and error.name == "cupy":
                return f"CuPy is not installed. Install it with: {INSTALL}"
            return (
                f"CuPy is installed but does not import: {_one_line(error)}. Reinstall: {INSTALL}"
            )
        try:
            devices = int(cupy.cuda.runtime.getDeviceCount())
        except cupy.cuda.runtime.CUDARuntimeError as error:
            return f"CuPy reaches no CUDA driver or device: {_one_line(error)}. Check: nvidia-smi"
        if devices == 0:
            return "CuPy finds no CUDA device. Check: nvidia-smi"
        return UNWRITTEN

    def supports(self, problem: Problem) -> str | None:
        """Why not: there is no kernel for any problem yet."""
        return UNWRITTEN

    def search_space(
        self, problem: Problem, machine: Machine, choice: Config
    ) -> SearchSpace | None:
        """None: no kernel, nothing to tune."""
        return None

    def prepare(self, problem: Problem, config: Config, operands: Operands) -> Prepared:
        """Raises GemmbenchError with the reason of `unavailable()`."""
        raise GemmbenchError(f"backend 'cupy' is unavailable: {self.unavailable()}.")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
