"""Whether what a prepared contender answers in its worker counts, and if not, why.

The bounds are `reference`'s; here is what a contender may do wrong beside being inexact: leave its
output unwritten, write outside of it, or change its inputs.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gemmbench.operands import Array, map_operands
from gemmbench.problem import Problem
from gemmbench.reference import Check, check
from gemmbench.timing import Copy, Slot, synchronize

NO_ERROR = Check(0.0, 0.0, 0.0, 0.0)

Case = Mapping[str, Any]  # one of `reference`'s, as files that are mapped


@dataclass(slots=True)
class Verified:
    """What came of a slot's copies: the largest errors, and the first objection to any of them."""

    worst: Check = NO_ERROR
    wrong: str | None = None
    inputs_changed: bool = False  # the buffers no longer hold the case

    def reply(self) -> dict[str, Any]:
        """As it crosses the pipe."""
        return {
            "max_error": _finite(self.worst.max_error),
            "bound": self.worst.bound,
            "relative_error": _finite(self.worst.relative_error),
            "rms_error": _finite(self.worst.rms_error),
            "wrong": self.wrong,
        }


def verify(problem: Problem, entry: Slot, case: Case, how: str, found: Verified) -> None:
    """Compare every copy's answer on the operands of `case` with the right one, into `found`.

    `how`: "poisoned" clears the output first and runs; "stale" runs over the output of the calls
    before, so that doing nothing is wrong on changed operands; "timed" looks at what the last
    timed call left and runs nothing. Where a contender raises, `found` has what came before.
    """
    right = np.load(case["answer"], mmap_mode="r")
    magnitude = np.load(case["magnitude"], mmap_mode="r") if case["magnitude"] else None
    for copy in entry.copies if how != "timed" else [entry.copies[entry.turn]]:
        output = answer(copy, how)
        if output.dtype != problem.dtype:
            found.wrong = found.wrong or f"its output is {output.dtype}, not {problem.dtype}"
            continue
        scale = float(case["scale"])
        growth = float(getattr(copy.prepared, "error_growth", 1.0))
        result = check(problem, entry.algorithm, output, right, magnitude, scale, growth)
        found.worst = max(found.worst, result, key=lambda one: one.max_error)
        if found.wrong is None:
            changed = None if copy.out.overrun() else _changed_input(copy, case)
            found.inputs_changed = changed is not None
            found.wrong = _objection(problem, result, output.shape, copy, changed)


def answer(copy: Copy, how: str) -> Array:
    """What the contender answers; where `run()` left NaN in `out`, it keeps its own output."""
    if how == "poisoned":
        copy.out.poison()
    if how != "timed":
        copy.prepared.run()
        synchronize(copy.prepared)
    if how == "poisoned" and np.isnan(copy.out.array).any():
        own = np.asarray(copy.prepared.output())
        copy.own_output = not np.may_share_memory(own, copy.out.array)
        if not copy.own_output:
            copy.out.poison()  # written by `output()`, which is not timed: it does not count
    return copy.fetch()


def _changed_input(copy: Copy, case: Case) -> str | None:
    """The name of an operand that no longer is the case's; None if all are."""
    for name, array in map_operands(case["operands"]).items():
        if not np.array_equal(copy.operands[name], array):
            return name
    return None


def _objection(
    problem: Problem, result: Check, shape: tuple[int, ...], copy: Copy, changed: str | None
) -> str | None:
    """Why the output does not count, in one line; None if it is right."""
    if copy.out.overrun():
        return "wrote outside its output"
    if changed is not None:
        return f"changed its input {changed!r}"
    if result.right:
        return None
    if shape != problem.output_shape():
        return f"its output has the shape {shape}, not {problem.output_shape()}"
    if not math.isfinite(result.max_error):
        return "left elements of its output unwritten, or wrote NaN or infinity"
    if result.bound == 0:
        return f"is off by {result.max_error:.3g} on small integers, where the answer is exact"
    return f"error {result.max_error:.3g} exceeds the bound {result.bound:.3g}"


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
