"""A direct float64 answer, and the comparison every test makes: bit for bit, and in bounds."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gemmbench.algorithm import TRANSFORM_ALGORITHMS
from gemmbench.backend import Operands
from gemmbench.machine import Machine, detect_machine
from gemmbench.operands import Array, fill_operands, guarded_output
from gemmbench.problem import Conv2d, Gemm, Linear, Problem
from gemmbench.reference import Check, check, typical_magnitude
from gemmbench.space import Config
from gemmbench_backends.numba_cpu import NumbaCpu

BACKEND = NumbaCpu()
HERE: Machine = detect_machine()


def answer(problem: Problem, operands: Mapping[str, Array]) -> Array:
    """The output of `problem`, every sum in float64."""
    wide = {name: array.astype(np.float64) for name, array in operands.items() if name != "out"}
    if isinstance(problem, Gemm):
        return wide["a"] @ wide["b"]
    if isinstance(problem, Linear):
        return wide["x"] @ wide["w"].T
    return _convolution(problem, wide["x"], wide["w"])


def choices(problem: Problem, threads: int) -> list[dict[str, int | str]]:
    """Every algorithm and weights that the backend offers for `problem`."""
    return [
        {"algorithm": algorithm, "weights": weights, "threads": threads}
        for algorithm, kinds in BACKEND.algorithms(problem).items()
        for weights in kinds
    ]


def assert_exact(problem: Problem, config: Config) -> None:
    """Integer operands give the exact answer, twice with different operands, and in bounds.

    A transform's answer is within its error bound: its matrices are no whole numbers.
    """
    output = guarded_output(problem)
    operands = {**fill_operands(problem, "integers", 1), "out": output.array}
    prepared = BACKEND.prepare(problem, config, operands)
    for seed in (1, 2):
        for name, array in fill_operands(problem, "integers", seed).items():
            if config["weights"] == "plain" or name != "w":
                operands[name][...] = array
        output.poison()
        prepared.run()
        right, got = answer(problem, operands), prepared.output()
        if config["algorithm"] in TRANSFORM_ALGORITHMS:
            assert_within_bound(problem, config, operands, prepared)
        else:
            np.testing.assert_array_equal(got, right, str(config))
        assert not output.overrun(), config


def assert_within_bound(
    problem: Problem, config: Config, operands: Operands, prepared: Any
) -> None:
    """A transform's error is at most what the harness allows it."""
    result = compared(problem, config, operands, prepared)
    assert result.right, f"{problem} with {dict(config)}: {result}"


def compared(problem: Problem, config: Config, operands: Operands, prepared: Any) -> Check:
    """A transform's error and what the harness allows it."""
    inputs = {name: array for name, array in operands.items() if name != "out"}
    return check(
        problem,
        str(config["algorithm"]),
        prepared.output(),
        answer(problem, operands),
        None,
        typical_magnitude(problem, inputs),
        getattr(prepared, "error_growth", 1.0),
    )


def _convolution(problem: Conv2d, x: Array, w: Array) -> Array:
    (ph, pw), (sh, sw), (dh, dw) = problem.pad, problem.stride, problem.dilation
    (p, q), groups = problem.output_size(), problem.groups
    padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    batch, filters = problem.batch, problem.filters
    weights = w.reshape(groups, filters // groups, *w.shape[1:])
    out = np.zeros((batch, groups, filters // groups, p, q))
    for r, s in np.ndindex(*problem.kernel):
        pixels = padded[:, :, r * dh : r * dh + sh * p : sh, s * dw : s * dw + sw * q : sw]
        pixels = pixels[:, :, :p, :q].reshape(batch, groups, -1, p, q)
        out += np.einsum("gkc,ngcpq->ngkpq", weights[:, :, :, r, s], pixels)
    return out.reshape(batch, filters, p, q)
