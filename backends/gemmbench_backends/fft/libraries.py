"""The libraries that transform: SciPy's pocketfft, MKL by mkl_fft, FFTW by pyFFTW.

Each is asked for transforms between arrays that stay where they are. None may leave the precision
it is given: what a library returns is copied without a cast, which NumPy refuses where the types
differ.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from math import prod, sqrt
from typing import Any, Protocol

import numpy as np

from gemmbench.backend import Array
from gemmbench.operands import aligned_empty
from gemmbench.problem import Pair

AXES = (-2, -1)
PLANNING_SECONDS = 1.0  # FFTW measures ways of computing a transform for so long at most
COMPLEX_TYPES = {"float32": "complex64", "float64": "complex128"}
REAL_TYPES = {"complex64": "float32", "complex128": "float64"}


@dataclass(frozen=True, slots=True)
class Transform:
    """A transform of one array into another, and the memory that it takes beside them."""

    run: Callable[[], None]
    held_bytes: int = 0  # all the time
    call_bytes: int = 0  # at most, during a call


class Library(Protocol):
    """Something that transforms real images. Arrays are (..., rows, columns).

    A block of filters is so large that its products take `product_bytes`, but has
    `fewest_filters` at least. Fewer are more products, and each is smaller; more are spectra that
    lie further apart on the way back.
    """

    product_bytes: int
    fewest_filters: int

    def unavailable(self) -> str | None:
        """Why it can't run here, and the command that mends it; None if it can."""

    def describe(self) -> str:
        """Which library and version really runs."""

    def forward(self, pixels: Array, spectra: Array, threads: int) -> Transform:
        """`spectra`, (..., rows, columns // 2 + 1), of the contiguous `pixels`, which are kept.

        What `pixels` holds until this returns may be lost.
        """

    def backward(
        self, spectra: Array, points: Pair, pixels: Array, step: Pair, threads: int
    ) -> Transform:
        """The pixels of `spectra`, of `points` each way, from the first on and `step` apart.

        What `spectra` holds may be lost.
        """


def library(option: str) -> Library:
    """The library of an option of the backend. Raises KeyError for an unknown one."""
    makers: dict[str, Callable[[], Library]] = {"": Pocketfft, "mkl": Mkl, "fftw": Fftw}
    return makers[option]()


OPTIONS = ("mkl", "fftw")


class Pocketfft:
    """scipy.fft. Blocks of half or twice the size take longer on three channels: 1.06, 1.22."""

    product_bytes = 2**22
    fewest_filters = 32

    def unavailable(self) -> str | None:
        """None: SciPy is a dependency."""
        return None

    def describe(self) -> str:
        """SciPy's version; its FFT is pocketfft."""
        import scipy

        return f"scipy {scipy.__version__} pocketfft"

    def forward(self, pixels: Array, spectra: Array, threads: int) -> Transform:
        """By scipy.fft.rfft2."""
        from scipy.fft import rfft2

        def run() -> None:
            np.copyto(spectra, rfft2(pixels, axes=AXES, workers=threads), casting="no")

        return Transform(run, call_bytes=spectra.nbytes)

    def backward(
        self, spectra: Array, points: Pair, pixels: Array, step: Pair, threads: int
    ) -> Transform:
        """By scipy.fft: along the rows' axis in place, then of the rows that are kept to pixels.

        irfft2 would do so with a buffer of its own, and with rows that are cut off. pocketfft takes
        neighbours along the last axis together, so that is the one whose spectra are neighbours in
        memory too: the filters, where frequencies are outermost.
        """
        from scipy.fft import ifft, irfft

        dtype = REAL_TYPES[spectra.dtype.name]
        _, kept_rows, kept_columns = _kept(pixels, step)
        outermost = np.moveaxis(spectra, AXES, (0, 1))
        # Both ways orthonormal: a spectrum that is transformed in place again, as where a stage is
        # timed by itself, stays as large as it is, and never becomes denormal.
        scale = np.dtype(dtype).type(1 / sqrt(prod(points)))

        def run() -> None:
            rows = ifft(outermost, axis=0, norm="ortho", overwrite_x=True, workers=threads)
            kept = np.moveaxis(rows[kept_rows], 1, -1)
            full = irfft(kept, n=points[1], norm="ortho", workers=threads)
            found = np.moveaxis(full[..., kept_columns], 0, -2)
            np.multiply(found, scale, out=pixels, casting="no")

        return Transform(run, call_bytes=prod(pixels.shape[:-1]) * points[1] * pixels.itemsize)


class Mkl:
    """MKL's transforms, by mkl_fft. Blocks of twice the size take 1.08 times as long."""

    product_bytes = 2**21
    fewest_filters = 16

    def unavailable(self) -> str | None:
        """What is missing, or does not load; None if nothing."""
        return _missing("mkl_fft", "mkl")

    def describe(self) -> str:
        """The versions of mkl_fft and of MKL."""
        from importlib.metadata import version

        return f"mkl_fft {version('mkl_fft')}, MKL {version('mkl')}"

    def forward(self, pixels: Array, spectra: Array, threads: int) -> Transform:
        """By mkl_fft.rfft2."""
        mkl_fft = _mkl_fft(threads)

        def run() -> None:
            np.copyto(spectra, mkl_fft.rfft2(pixels, axes=AXES), casting="no")

        return Transform(run, call_bytes=spectra.nbytes)

    def backward(
        self, spectra: Array, points: Pair, pixels: Array, step: Pair, threads: int
    ) -> Transform:
        """By mkl_fft.irfft2."""
        mkl_fft = _mkl_fft(threads)

        kept = _kept(pixels, step)

        def run() -> None:
            full = mkl_fft.irfft2(spectra, s=points, axes=AXES)
            np.copyto(pixels, full[kept], casting="no")

        return Transform(run, call_bytes=_real_bytes(spectra, points) + spectra.nbytes)


def _mkl_fft(threads: int) -> Any:
    """The module, MKL being on `threads` threads from now on."""
    import mkl_fft
    from threadpoolctl import threadpool_limits

    threadpool_limits(limits={"libmkl_rt": threads})
    return mkl_fft


class Fftw:
    """FFTW, by pyFFTW. Plans are measured, each for PLANNING_SECONDS at most; no wisdom is kept.

    It sees its own symbols first: MKL exports FFTW's names too and would else compute for it.
    What it finds out while preparing holds for one process, so that no race depends on an earlier
    one. It writes and reads the rearranged spectra itself: a plan may have any strides.
    """

    product_bytes = 2**22
    fewest_filters = 32

    def unavailable(self) -> str | None:
        """What is missing, or does not load; None if nothing."""
        with _own_symbols_first():
            return _missing("pyfftw", "fftw")

    def describe(self) -> str:
        """The versions of pyFFTW and of FFTW."""
        pyfftw = _pyfftw()
        return f"pyfftw {pyfftw.__version__}, {pyfftw.fftw_version}"

    def forward(self, pixels: Array, spectra: Array, threads: int) -> Transform:
        """By a plan from real to complex."""
        plan = _fftw_plan(pixels, spectra, "FFTW_FORWARD", threads)
        return Transform(plan.execute)

    def backward(
        self, spectra: Array, points: Pair, pixels: Array, step: Pair, threads: int
    ) -> Transform:
        """By a plan from complex to real into an array of its own, scaled while it is copied."""
        dtype = REAL_TYPES[spectra.dtype.name]
        full = aligned_empty((*spectra.shape[:-2], *points), dtype)
        plan = _fftw_plan(spectra, full, "FFTW_BACKWARD", threads)
        found, scale = full[_kept(pixels, step)], np.dtype(dtype).type(1 / prod(points))

        def run() -> None:
            plan.execute()
            np.multiply(found, scale, out=pixels, casting="no")

        return Transform(run, held_bytes=full.nbytes)


def _fftw_plan(source: Array, target: Array, direction: str, threads: int) -> Any:
    return _pyfftw().FFTW(
        source,
        target,
        axes=AXES,
        direction=direction,
        flags=("FFTW_MEASURE",),
        threads=threads,
        planning_timelimit=PLANNING_SECONDS,
    )


def _pyfftw() -> Any:
    with _own_symbols_first():
        return import_module("pyfftw")


@contextmanager
def _own_symbols_first() -> Iterator[None]:
    flags = sys.getdlopenflags()
    sys.setdlopenflags(os.RTLD_NOW | os.RTLD_LOCAL | os.RTLD_DEEPBIND)
    try:
        yield
    finally:
        sys.setdlopenflags(flags)


def _missing(module: str, option: str) -> str | None:
    install = f"pip install 'gemmbench[fft-{option}]'"
    if find_spec(module) is None:
        return f"{module} is not installed. Install it with: {install}"
    try:
        import_module(module)
    except ImportError as error:
        reason = " ".join(str(error).split())
        return f"{module} does not load: {reason}. Reinstall it: {install}"
    return None


def _kept(pixels: Array, step: Pair) -> tuple[Any, ...]:
    """Which pixels of a transform are those of `pixels`."""
    (rows, columns), (down, along) = pixels.shape[-2:], step
    return (
        ...,
        slice(0, (rows - 1) * down + 1, down),
        slice(0, (columns - 1) * along + 1, along),
    )


def _real_bytes(spectra: Array, points: Pair) -> int:
    return prod(spectra.shape[:-2]) * prod(points) * spectra.itemsize // 2
