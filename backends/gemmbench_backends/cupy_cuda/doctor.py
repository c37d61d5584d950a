"""The first thing to run on a machine with a GPU: it says if the kernels are right, and how fast.

Repeats on the device what was checked without one, compares what the device's compiler made with
what NVRTC said, and times the kernels' defaults beside cuBLAS. The report is Markdown, to paste.
"""

from collections.abc import Callable, Iterable
from math import prod
from typing import Any

import numpy as np

from gemmbench.operands import fill_operands, guarded_output
from gemmbench.problem import Conv2d, Gemm, Linear, Problem
from gemmbench.reference import product as answer_of
from gemmbench.space import Config
from gemmbench_backends.cupy_cuda import CupyCuda
from gemmbench_backends.cupy_cuda.architecture import resident_blocks
from gemmbench_backends.cupy_cuda.compile import compile_source, gemm_source, line
from gemmbench_backends.cupy_cuda.device import (
    current_architecture,
    describe_device,
    device_state,
    unavailable,
)
from gemmbench_backends.cupy_cuda.kernels import gemm_function
from gemmbench_backends.cupy_cuda.libraries import cublas_math
from gemmbench_backends.cupy_cuda.space import menu
from gemmbench_backends.cupy_cuda.tiles import Layout, Tiles, layout, macros

CHECKED: tuple[Problem, ...] = (
    Gemm(1, 1, 1), Gemm(63, 15, 65), Gemm(64, 16, 64), Gemm(65, 17, 33), Gemm(4, 20, 132),
    Gemm(129, 301, 67), Gemm(128, 5000, 128), Linear(10, 520, 72),
    Conv2d(2, 3, 27, 23, 7, (11, 5), stride=(4, 2)), Conv2d(3, 4, 9, 8, 6, (3, 3), pad=(1, 2),
    groups=2), Conv2d(1, 2, 12, 11, 3, (3, 2), pad=(2, 1), dilation=(2, 3)),
)  # fmt: skip
TIMED: tuple[Gemm, ...] = (
    Gemm(256, 1152, 192), Gemm(128, 32768, 128), Gemm(1024, 1024, 1024), Gemm(2048, 2048, 2048),
    Gemm(4096, 4096, 4096), Gemm(10, 4096, 4096), Gemm(96, 363, 30250),
)  # fmt: skip
ROUNDS = 15  # each times both, in turn
CALLS = 20


def diagnose() -> str:
    """The report. Raises nothing: what fails is a line of it."""
    reason = unavailable()
    if reason is not None:
        return f"No GPU was used: {reason}."
    lines = ["### gemmbench doctor --gpu", "", _told(lambda: f"`{describe_device()}`"), ""]
    lines += [_told(_state)]
    lines += ["", "| config | registers compiled / on the device | blocks an SM |", "|---|---|---|"]
    lines += _rows(_registers)
    lines += ["", "| problem | algorithm | result |", "|---|---|---|", *_rows(_checks)]
    lines += ["", "| m×k×n | kernel µs | cuBLAS µs | of cuBLAS |", "|---|---|---|---|"]
    lines += _rows(_times)
    lines += ["", f"Defaults, not tuned; cuBLAS in {cublas_math()}; median of "
              f"{ROUNDS} blocks of {CALLS} launches, caches warm."]  # fmt: skip
    return "\n".join(lines)


def _registers() -> Iterable[str]:
    arch = current_architecture()
    product = layout(Gemm(256, 256, 256), "gemm")
    for tiles in menu(product, arch):
        yield _row(tiles, lambda t=tiles: _compared(t, product, arch.name))


def _state() -> str:
    return "\n".join(f"- {name}: {value}" for name, value in device_state().items())


def _compared(tiles: Tiles, product: Layout, arch_name: str) -> str:
    compiled = compile_source(gemm_source(False), macros(tiles, product), arch_name)
    told = compiled.kernels["gemm"]
    real = int(gemm_function(tiles, product).num_regs)
    blocks = resident_blocks(current_architecture(), tiles.threads, real, tiles.shared_bytes)
    verdict = "" if real == told.registers else " **differ**"
    return f"{told.registers} / {real}{verdict} | {blocks}"


def _checks() -> Iterable[str]:
    backend = CupyCuda()
    for problem in CHECKED:
        for algorithm in backend.algorithms(problem):
            yield _row(
                f"{problem} | {algorithm}", lambda p=problem, a=algorithm: _checked(backend, p, a)
            )


def _checked(backend: CupyCuda, problem: Problem, algorithm: str) -> str:
    """'right' where the default config gives the exact answer on small integers."""
    prepared = _prepared(backend, problem, algorithm)
    prepared.run()
    prepared.synchronize()
    operands = fill_operands(problem, "integers", 0)
    wrong = int((prepared.output() != answer_of(problem, operands)).sum())
    return "right" if wrong == 0 else f"**WRONG**: {wrong} of {prod(problem.output_shape())}"


def _prepared(backend: CupyCuda, problem: Problem, algorithm: str) -> Any:
    choice: Config = {"algorithm": algorithm, "weights": "plain", "threads": 1}
    space = backend._way.search_space(problem, choice)
    config = {**(space.default if space is not None else {}), **choice}
    operands = fill_operands(problem, "integers", 0)
    return backend.prepare(problem, config, {**operands, "out": guarded_output(problem).array})


def _times() -> Iterable[str]:
    for problem in TIMED:
        yield _row(str(problem.gemm()), lambda p=problem: _raced(p))


def _raced(problem: Gemm) -> str:
    """Median microseconds of both, measured in turn, and their ratio."""
    both = [_prepared(CupyCuda(option), problem, "gemm") for option in ("", "cublas")]
    seconds: list[list[float]] = [[], []]
    for round_ in range(ROUNDS + 1):
        for at, prepared in enumerate(both):
            prepared.clock.start(CALLS * prepared.launches)
            for _ in range(CALLS):
                prepared.run()
            taken = prepared.clock.stop() / CALLS
            if round_:  # the first one warms up
                seconds[at].append(taken)
    own, other = (float(np.median(each)) for each in seconds)
    return f"{own * 1e6:.1f} | {other * 1e6:.1f} | {other / own:.0%}"


def _row(name: object, measure: Any) -> str:
    """A row of a table; what goes wrong stands in it."""
    label = f"{name.bm}×{name.bn}×{name.bk}" if isinstance(name, Tiles) else str(name)
    return f"| {label} | {_told(measure)} |"


def _rows(table: Callable[[], Iterable[str]]) -> list[str]:
    """The rows of a table, as far as they go; the last one says why there are no more."""
    rows: list[str] = []

    def fill() -> str:
        rows.extend(table())
        return ""

    last = _told(fill)
    return [*rows, f"| {last} |"] if last else rows


def _told(measure: Callable[[], str]) -> str:
    """What `measure` gives, or that it failed and how."""
    try:
        return measure()
    except Exception as error:  # the report is for the case that something is broken
        return f"**failed**: {line(error)}"
