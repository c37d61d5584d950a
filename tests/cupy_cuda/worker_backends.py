"""Backends for worker processes, as a user names them by file: the real ones, on the stand-in."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from cupy_cuda.stand_in import CUDARuntimeError, State, installed
from gemmbench_backends.cupy_cuda import CupyCuda

STATE = State(l2_bytes=4096)
HOLD = installed(STATE)
HOLD.__enter__()  # for good: the process is the test's


def kernels() -> CupyCuda:
    """The kernels."""
    return CupyCuda()


def cublas() -> CupyCuda:
    """The library, in the same process as the kernels."""
    return CupyCuda("cublas")


class Poisoning(CupyCuda):
    """A kernel whose config with `bk` 8 writes to an illegal address."""

    def prepare(self, problem: Any, config: Mapping[str, Any], operands: Any) -> Any:
        """The contender; one config loses the context in its first call."""
        prepared = super().prepare(problem, config, operands)
        if config["bk"] == 8:
            STATE.poisoned = "cudaErrorIllegalAddress: an illegal memory access was encountered"
            raise CUDARuntimeError(STATE.poisoned)
        return prepared


class Namesake(CupyCuda):
    """Calls itself 'cupy' as the kernels do, and computes nothing but zeros."""

    def prepare(self, problem: Any, config: Mapping[str, Any], operands: Any) -> Any:
        """A contender whose answer is wrong."""
        prepared = super().prepare(problem, config, operands)
        prepared._steps = [lambda: prepared.arrays["out"].fill(0)]
        return prepared
