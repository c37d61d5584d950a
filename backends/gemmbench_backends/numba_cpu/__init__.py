"""Gemmbench's own kernels: micro-kernels emitted as LLVM IR, the loops around them by Numba.

This module is what a worker sees; it imports Numba and LLVM only when something is prepared.
"""

from collections.abc import Iterable
from pathlib import Path

from gemmbench.backend import PER_IMAGE, WHOLE, Operands, Prepared
from gemmbench.machine import Machine, detect_machine
from gemmbench.problem import Conv2d, Gemm, Linear, Problem
from gemmbench.space import Config, SearchSpace

_INSTALL = "Install it with: pip install numba"


class NumbaCpu:
    """GEMM, fully connected layers and convolutions by BLIS-style blocking."""

    name = "numba"

    def unavailable(self) -> str | None:
        """Why Numba cannot be used here; None if it can."""
        from importlib.util import find_spec

        missing = [name for name in ("numba", "llvmlite") if find_spec(name) is None]
        return f"{' and '.join(missing)} not found. {_INSTALL}" if missing else None

    def supports(self, problem: Problem) -> str | None:
        """None: every problem, in float32 and float64."""
        del problem
        return None

    def algorithms(self, problem: Problem) -> dict[str, tuple[str, ...]]:
        """Each algorithm with the weights it takes."""
        if isinstance(problem, Conv2d):
            from gemmbench_backends.numba_cpu.convolution import BOTH, algorithms

            found = {"im2col": ("plain",), "implicit-gemm": ("plain",)}
            offered = algorithms().items()
            return found | {name: BOTH for name, one in offered if not one.unsupported(problem)}
        if isinstance(problem, Linear):
            return {"gemm": ("plain", "prepared")}
        return {"gemm": ("plain",)}

    def lowerings(self, problem: Problem) -> dict[str, tuple[str, ...]]:
        """Columns are made of an image, or of the whole batch; implicit GEMM has none."""
        several = isinstance(problem, Conv2d) and problem.batch > 1
        return {"im2col": (PER_IMAGE, WHOLE)} if several else {}

    def declined(self, problem: Problem) -> dict[str, str]:
        """The ways of computing a convolution that do not apply to `problem`, each with why."""
        if not isinstance(problem, Conv2d):
            return {}
        from gemmbench_backends.numba_cpu.convolution import algorithms

        reasons = {name: one.unsupported(problem) for name, one in algorithms().items()}
        return {name: why for name, why in reasons.items() if why is not None}

    def search_space(self, problem: Problem, machine: Machine, choice: Config) -> SearchSpace:
        """Register block, cache blocks, loop order, packing and how threads share the work."""
        from gemmbench_backends.numba_cpu.space import problem_space

        if isinstance(problem, Conv2d):
            from gemmbench_backends.numba_cpu.convolution import algorithms

            blocked = algorithms().get(str(choice["algorithm"]))
            if blocked:
                return blocked.space(problem, machine, choice)
        return problem_space(problem, machine, choice)

    def prepare(self, problem: Problem, config: Config, operands: Operands) -> Prepared:
        """Compile the kernels of `config`, allocate its buffers, plan its loops."""
        from gemmbench_backends.numba_cpu import conv, layers
        from gemmbench_backends.numba_cpu.convolution import algorithms
        from gemmbench_backends.numba_cpu.model import registers

        vector = registers(detect_machine(), problem.dtype).vector
        if isinstance(problem, Gemm):
            return layers.prepare_gemm(problem, config, operands, vector)
        if isinstance(problem, Linear):
            return layers.prepare_linear(problem, config, operands, vector)
        blocked = algorithms().get(str(config["algorithm"]))
        if blocked:
            return blocked.prepare(problem, config, operands, vector)
        return conv.prepare_conv(problem, config, operands, vector)

    def library(self) -> str:
        """Versions, and the vector registers that the kernels use: 'avx512 16×f32'."""
        import llvmlite.binding
        import numba

        machine = detect_machine()
        width = machine.vector_bytes()
        names = {64: "avx512", 32: "avx2"}
        kind = names.get(width, "neon" if "neon" in machine.features else "sse")
        llvm = llvmlite.binding.llvm_version_info[0]
        return f"numba {numba.__version__}, LLVM {llvm}, {kind} {width // 4}×f32"

    def sources(self) -> Iterable[Path]:
        """The files whose change makes stored winners stale."""
        return sorted(Path(__file__).parent.rglob("*.py"))
