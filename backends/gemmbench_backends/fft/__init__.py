"""Convolution through the frequency domain by FFT libraries, in the precision of the problem.

Image and filter are transformed whole (no tiles), multiplied per frequency and summed over the
channels as a batched complex product, and transformed back. A strided convolution is split into
its phases; `fft-full` is what it costs without: the whole stride-1 output, most of it for nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from gemmbench.backend import Operands, Prepared
from gemmbench.errors import GemmbenchError
from gemmbench.machine import Machine
from gemmbench.problem import Conv2d, Problem
from gemmbench.space import Config, SearchSpace
from gemmbench_backends.fft.libraries import OPTIONS, library

WEIGHTS = ("plain", "prepared")


class Fft:
    """Convolutions by scipy.fft; with the option 'mkl' by mkl_fft, with 'fftw' by pyFFTW.

    Raises GemmbenchError for another option.
    """

    def __init__(self, option: str = "") -> None:
        if option not in ("", *OPTIONS):
            raise GemmbenchError(
                f"backend 'fft:{option}': got option {option!r}, expected one of "
                f"{', '.join(OPTIONS)}, or 'fft' without: the FFT that SciPy brings."
            )
        self.name = f"fft:{option}" if option else "fft"
        self._library = library(option)

    def unavailable(self) -> str | None:
        """What is missing of a library; SciPy's is always there."""
        return self._library.unavailable()

    def supports(self, problem: Problem) -> str | None:
        """None for a convolution."""
        if isinstance(problem, Conv2d):
            return None
        return f"{self.name} computes conv2d, not {problem.kind}: only a convolution has a spectrum"

    def algorithms(self, problem: Problem) -> Mapping[str, Sequence[str]]:
        """Filters are transformed in each call, or ahead: at inference they are constant."""
        names = ("fft", "fft-full") if _strided(problem) else ("fft",)
        return dict.fromkeys(names, WEIGHTS)

    def declined(self, problem: Problem) -> Mapping[str, str]:
        """What has no meaning without a stride."""
        if _strided(problem):
            return {}
        return {"fft-full": "fft-full computes what a stride leaves out: with stride 1 it is fft"}

    def search_space(
        self, problem: Problem, machine: Machine, choice: Config
    ) -> SearchSpace | None:
        """None: nothing to tune."""
        return None

    def library(self) -> str:
        """Which library transforms, and its version."""
        return self._library.describe()

    def sources(self) -> Iterable[Path]:
        """All files of this package."""
        return sorted(Path(__file__).parent.glob("*.py"))

    def prepare(self, problem: Problem, config: Config, operands: Operands) -> Prepared:
        """Buffers and plans, and with prepared weights the filter spectra.

        Raises GemmbenchError for products, and where the library is not available.
        """
        from gemmbench_backends.blas import limit_blas_threads
        from gemmbench_backends.fft.convolution import Chosen, prepare_convolution
        from gemmbench_backends.fft.geometry import transform_geometry

        reason = self.unavailable()
        if reason is not None:
            raise GemmbenchError(f"backend {self.name!r} is unavailable: {reason}.")
        if not isinstance(problem, Conv2d):
            raise GemmbenchError(f"backend {self.name!r}: {self.supports(problem)}.")
        chosen = Chosen(config["weights"] == "prepared", int(config["threads"]))
        geometry = transform_geometry(problem, full=config["algorithm"] == "fft-full")
        limit_blas_threads(1)  # each thread multiplies its own share of the frequencies
        return prepare_convolution(problem, operands, geometry, self._library, chosen)


def _strided(problem: Problem) -> bool:
    return isinstance(problem, Conv2d) and problem.stride != (1, 1)
