"""Other BLAS libraries than NumPy's, in the same process but apart from it.

A library is found in the PyPI package that ships it, or given as a path, and loaded by ctypes so
that it sees its own symbols first: MKL and BLIS export the same names, and whichever was loaded
globally would else compute for the other.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from ctypes import CDLL
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property, partial
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np

from gemmbench.backend import Array
from gemmbench.errors import GemmbenchError, did_you_mean
from gemmbench.problem import Problem
from gemmbench_backends.im2col import Bind, Multiply
from gemmbench_backends.native_blas.calls import Calls, bind_each, find_calls, multiply_vector
from gemmbench_backends.native_blas.vendors import Vendor, identify

APART = os.RTLD_NOW | os.RTLD_LOCAL | os.RTLD_DEEPBIND


@dataclass(frozen=True, slots=True)
class Package:
    """The PyPI distribution that ships a library, and the name of the library's file."""

    distribution: str
    pattern: str


PACKAGES = {
    "openblas": Package("scipy-openblas32", "libscipy_openblas*.so*"),
    "mkl": Package("mkl", "libmkl_rt.so*"),
    # A Python module with all of BLIS in it: only its typed interface is exported.
    "blis": Package("blis", "cy.*.so"),
}


class MissingLibraryError(GemmbenchError):
    """There is no such library here, or it does not load; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A library that is ready to be called."""

    label: str  # the distribution with its version, or the path
    calls: Calls
    vendor: Vendor


class NativeBlas:
    """The library named 'openblas', 'mkl' or 'blis', or at a path. Loaded when first asked.

    Raises GemmbenchError for an option that is neither.
    """

    def __init__(self, option: str) -> None:
        if option not in PACKAGES and "/" not in option and ".so" not in option:
            raise GemmbenchError(
                f"backend 'blas:{option}': got option {option!r}, expected a library's name or the "
                "path of a shared library (blas:/usr/lib/libblis.so)."
                f"{did_you_mean(option, PACKAGES)}"
            )
        self._option = option

    @cached_property
    def _loaded(self) -> Loaded | str:
        """The library, or why it is not here."""
        try:
            return _load(self._option)
        except MissingLibraryError as error:
            return str(error)

    def _library(self) -> Loaded:
        if isinstance(self._loaded, str):
            raise MissingLibraryError(self._loaded)
        return self._loaded

    def unavailable(self) -> str | None:
        """What is missing, and the command that installs it."""
        return self._loaded if isinstance(self._loaded, str) else None

    def algorithms(self, problem: Problem) -> Sequence[str]:
        """A product with a vector can be had from two functions of a BLAS."""
        shape = problem.gemm()
        return ("gemm", "gemv") if 1 in (shape.m, shape.n) else ("gemm",)

    def declined(self, problem: Problem) -> Mapping[str, str]:
        """gemv, where no side is a vector."""
        shape = problem.gemm()
        if 1 in (shape.m, shape.n):
            return {}
        return {"gemv": f"gemv takes a vector, m or n of 1, got {shape.m}×{shape.k}×{shape.n}"}

    def set_threads(self, threads: int) -> None:
        """By the library's own function, where it has one that is known."""
        self._library().vendor.set_threads(threads)

    def bind(self, algorithm: str) -> Bind:
        """Calls of gemm, or of gemv."""
        calls = self._library().calls
        multiply: Callable[[Array, Array, Array], Multiply] = calls.gemm
        if algorithm == "gemv":
            multiply = partial(multiply_vector, calls)
        return partial(bind_each, multiply)

    def describe(self) -> str:
        """'mkl 2026.2.0, MKL 2026.2 (avx512, 1 thread)', after one product: MKL loads lazily."""
        library = self._library()
        one = np.ones((1, 1), np.float32)
        library.calls.gemm(one, one, np.empty_like(one))()
        count = library.vendor.threads()
        threads = "" if count is None else f"{count} thread{'s' if count > 1 else ''}"
        kernel = ", ".join(filter(None, (library.vendor.kernel(), threads)))
        found = f"{library.label}, {library.vendor.version()}"
        return f"{found} ({kernel})" if kernel else found


def find_library(name: str) -> tuple[Path, str]:
    """The file of a library in PACKAGES, and the distribution and version that it comes from.

    Raises MissingLibraryError, which says what to install.
    """
    package = PACKAGES[name]
    install = f"pip install 'gemmbench[{name}]'"
    try:
        found = distribution(package.distribution)
    except PackageNotFoundError:
        raise MissingLibraryError(
            f"{package.distribution} is not installed. Install it with: {install}"
        ) from None
    files = [Path(str(f.locate())) for f in found.files or () if fnmatch(f.name, package.pattern)]
    files += sorted(Path(sys.prefix, "lib").glob(package.pattern))  # conda lists no files
    for file in files:
        if file.is_file():
            return file, f"{package.distribution} {found.version}"
    raise MissingLibraryError(
        f"{package.distribution} {found.version} is installed without {package.pattern}. "
        f"Reinstall it: {install}"
    )


def _load(option: str) -> Loaded:
    if option in PACKAGES:
        path, label = find_library(option)
    else:
        path, label = Path(option).expanduser().absolute(), option
    if not path.is_file():
        raise MissingLibraryError(f"there is no file {path}")
    try:
        library = CDLL(str(path), mode=APART)
    except OSError as error:
        reason = " ".join(str(error).split())
        raise MissingLibraryError(f"{path} does not load: {reason}") from error
    calls = find_calls(library)
    if calls is None:
        raise MissingLibraryError(
            f"{path} exports neither cblas_sgemm nor bli_sgemm: it is no BLAS library"
        )
    return Loaded(label, calls, identify(library))
