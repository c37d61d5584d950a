"""A BLAS library: a product is one call of it, a convolution im2col and one call a group.

`blas` is whatever NumPy is linked to, the yardstick of every race: what a user gets without
installing anything. `blas:mkl` and the like are libraries that NumPy is not linked to.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from gemmbench.backend import PER_IMAGE, Operands, Prepared
from gemmbench.errors import GemmbenchError
from gemmbench.machine import Machine
from gemmbench.problem import Conv2d, Problem
from gemmbench.space import Config, SearchSpace
from gemmbench_backends.im2col import Bind, lowerings, only_lowering, prepare_layer

KINDS = ("gemm", "linear", "conv2d")
LIBRARY_NAMES = {"openblas": "OpenBLAS", "mkl": "MKL", "blis": "BLIS", "flexiblas": "FlexiBLAS"}


class Library(Protocol):
    """Something that multiplies. The keys of `algorithms` are the calls that `bind` knows."""

    def unavailable(self) -> str | None:
        """Why it can't run here, and the command that mends it; None if it can."""

    def algorithms(self, problem: Problem) -> Sequence[str]:
        """The ways in which it can be called for a product that is no convolution."""

    def declined(self, problem: Problem) -> Mapping[str, str]:
        """The ways that this product does not allow, each with why."""

    def set_threads(self, threads: int) -> None:
        """Use that many threads from now on."""

    def bind(self, algorithm: str) -> Bind:
        """Its products by that way of calling it."""

    def describe(self) -> str:
        """Which library, version and kernel really runs, and its threads."""


class Blas:
    """NumPy's BLAS; with an option 'openblas', 'mkl', 'blis' or the path of a shared library.

    Raises GemmbenchError for another option.
    """

    def __init__(self, option: str = "") -> None:
        from gemmbench_backends.native_blas import NativeBlas

        self.name = f"blas:{option}" if option else "blas"
        self.exclusive = bool(option)  # libraries and their OpenMP bind each other's symbols
        self._library: Library = NativeBlas(option) if option else NumpyBlas()

    def unavailable(self) -> str | None:
        """None: NumPy always has a BLAS. Of a named library, what is missing."""
        return self._library.unavailable()

    def supports(self, problem: Problem) -> str | None:
        """None for products and convolutions."""
        if problem.kind in KINDS:
            return None
        return f"{self.name} computes {', '.join(KINDS)}, not {problem.kind}"

    def algorithms(self, problem: Problem) -> Mapping[str, Sequence[str]]:
        """A convolution is lowered by im2col; BLAS has no interface for weights packed ahead."""
        if isinstance(problem, Conv2d):
            return {"im2col": ("plain",)}
        return dict.fromkeys(self._library.algorithms(problem), ("plain",))

    def declined(self, problem: Problem) -> Mapping[str, str]:
        """The library's calls that do not apply to `problem`, each with why."""
        return {} if isinstance(problem, Conv2d) else self._library.declined(problem)

    def lowerings(self, problem: Problem) -> Mapping[str, Sequence[str]]:
        """A convolution of several images is one product for each, or one for the batch."""
        return {"im2col": lowerings(problem)}

    def search_space(
        self, problem: Problem, machine: Machine, choice: Config
    ) -> SearchSpace | None:
        """None: BLAS chooses its own tiles. Of a lowering that was asked for, that one."""
        return only_lowering(choice)

    def library(self) -> str:
        """Which BLAS really runs, its kernel and threads."""
        return self._library.describe()

    def sources(self) -> Iterable[Path]:
        """This module, and those that lower and call."""
        here = Path(__file__)
        native = here.with_name("native_blas")
        return [here, here.with_name("im2col.py"), *sorted(native.glob("*.py"))]

    def prepare(self, problem: Problem, config: Config, operands: Operands) -> Prepared:
        """The calls, and for a convolution the column buffer and the padded image.

        Raises GemmbenchError where the library is not available.
        """
        reason = self.unavailable()
        if reason is not None:
            raise GemmbenchError(f"backend {self.name!r} is unavailable: {reason}.")
        self._library.set_threads(int(config["threads"]))
        lowering = str(config.get("lowering", PER_IMAGE))
        multiply = self._library.bind(str(config["algorithm"]))
        return prepare_layer(problem, operands, multiply, lowering)


class NumpyBlas:
    """The BLAS that NumPy is linked to, by np.matmul, which knows itself when a vector is meant."""

    def unavailable(self) -> str | None:
        """None: NumPy always has a BLAS."""
        return None

    def algorithms(self, problem: Problem) -> Sequence[str]:
        """np.matmul."""
        return ("gemm",)

    def declined(self, problem: Problem) -> Mapping[str, str]:
        """Nothing."""
        return {}

    def set_threads(self, threads: int) -> None:
        """Use that many threads from now on."""
        limit_blas_threads(threads)

    def bind(self, algorithm: str) -> Bind:
        """np.matmul, whatever the algorithm."""
        return lambda left, right, product: partial(np.matmul, left, right, out=product)

    def describe(self) -> str:
        """NumPy's version, and of its BLAS the version, kernel and threads."""
        from threadpoolctl import threadpool_info

        pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
        # SciPy's wheel brings a BLAS of its own; np.matmul calls the one in NumPy's.
        pools.sort(key=lambda pool: "numpy" not in pool["filepath"])
        if not pools:
            linked = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
            return f"numpy {np.__version__}, {linked['name']} {linked['version']}"
        pool = pools[0]
        name = LIBRARY_NAMES.get(pool["internal_api"], pool["internal_api"])
        version = ".".join(str(pool["version"]).split(".")[:3])
        threads = f"{pool['num_threads']} thread{'s' if pool['num_threads'] > 1 else ''}"
        kernel = ", ".join(filter(None, (pool.get("architecture"), threads)))
        return f"numpy {np.__version__}, {name} {version} ({kernel})"


def limit_blas_threads(threads: int) -> None:
    """Let every BLAS in this process use `threads` threads from now on.

    The environment says so too when a worker starts; a library loaded before that is told here.
    """
    from threadpoolctl import threadpool_limits

    threadpool_limits(limits=threads, user_api="blas")
