"""The negative control: a frozen kernel that the gate compares with itself in every check.

Both sides are this file in this interpreter, so any difference is the machine's. It must not
change: its readings are stored with every check, and say of different days which machine was calm.
"""

import numpy as np

from gemmbench.backend import Operands
from gemmbench.machine import Machine
from gemmbench.operands import Array
from gemmbench.problem import Gemm, Problem
from gemmbench.space import Config, SearchSpace

CONTROL = "gemmbench.control:Control"
CONTROL_PROBLEM = Gemm(256, 512, 192)  # float32, about half a millisecond on one core
CONTROL_LAYER = "(control)"


class Control:
    """NumPy's matrix product."""

    name = "control"

    def unavailable(self) -> str | None:
        """Never: the harness needs NumPy itself."""
        return None

    def supports(self, problem: Problem) -> str | None:
        """Matrix products only."""
        return None if isinstance(problem, Gemm) else f"computes gemm, not {problem.kind}"

    def search_space(
        self, problem: Problem, machine: Machine, choice: Config
    ) -> SearchSpace | None:
        """None: there is nothing to tune."""
        return None

    def prepare(self, problem: Problem, config: Config, operands: Operands) -> "Product":
        """The product of `a` and `b` into `out`."""
        return Product(operands["a"], operands["b"], operands["out"])


class Product:
    """One matrix product, ready to run."""

    def __init__(self, a: Array, b: Array, out: Array) -> None:
        self._a, self._b, self._out = a, b, out

    def run(self) -> None:
        """out = a · b."""
        np.matmul(self._a, self._b, out=self._out)

    def output(self) -> Array:
        """The array that `run` wrote."""
        return self._out
