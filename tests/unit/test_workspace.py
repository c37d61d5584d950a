"""`workspace_bytes` is the memory that a contender holds, as NumPy tells tracemalloc of it."""

import gc
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from gemmbench.backend import algorithms, lowerings
from gemmbench.machine import detect_machine
from gemmbench.operands import fill_operands, guarded_output
from gemmbench.problem import Conv2d, ProblemError
from gemmbench_backends.blas import Blas
from gemmbench_backends.fft import Fft
from gemmbench_backends.numba_cpu import NumbaCpu

BACKENDS: list[Any] = [Blas(), NumbaCpu()]
SLACK_BYTES = 16 * 1024  # records, and what aligns an array: 64 bytes each
HERE = detect_machine()


@st.composite
def convolutions(draw: st.DrawFn) -> Conv2d:
    groups = draw(st.sampled_from([1, 1, 2]))
    try:
        return Conv2d(
            draw(st.integers(1, 4)), groups * draw(st.integers(1, 20)), draw(st.integers(5, 30)),
            draw(st.integers(5, 30)), groups * draw(st.integers(1, 40)),
            (draw(st.integers(1, 5)),) * 2, (draw(st.integers(1, 3)),) * 2,
            (draw(st.integers(0, 2)),) * 2, (1, 1), groups,
        )  # fmt: skip
    except ProblemError:
        assume(False)
        raise


def held_bytes() -> int:
    gc.collect()
    numpy_only = tracemalloc.DomainFilter(inclusive=True, domain=np.lib.tracemalloc_domain)
    found = tracemalloc.take_snapshot().filter_traces([numpy_only])
    return sum(trace.size for trace in found.traces)


def choices(backend: Any, problem: Conv2d, threads: int) -> list[dict[str, Any]]:
    found = []
    for algorithm, kinds in algorithms(backend, problem).items():
        for weights in kinds:
            choice = {"algorithm": algorithm, "weights": weights, "threads": threads}
            found.append(choice)
            if lowerings(backend, problem).get(algorithm):
                found.append({**choice, "lowering": "whole"})
    return found


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(problem=convolutions(), threads=st.sampled_from([1, 2]))
@pytest.mark.parametrize("backend", BACKENDS, ids=lambda b: b.name)
def test_the_workspace_is_what_is_held(backend: Any, problem: Conv2d, threads: int) -> None:
    operands = fill_operands(problem, "zeros", seed=0)
    operands["out"] = guarded_output(problem).array
    for choice in choices(backend, problem, threads):
        space = backend.search_space(problem, HERE, choice)
        config = {**(dict(space.default) if space else {}), **choice}
        backend.prepare(problem, config, operands)  # compiles, and fills caches
        tracemalloc.start()
        before = held_bytes()
        prepared = backend.prepare(problem, config, operands)
        held = held_bytes() - before
        tracemalloc.stop()
        assert abs(held - prepared.workspace_bytes) <= SLACK_BYTES, f"{problem} {config}"


@pytest.mark.parametrize("weights", ["plain", "prepared"])
@pytest.mark.parametrize("option", ["", "fftw"])
def test_the_spectra_that_are_held_are_in_the_workspace(option: str, weights: str) -> None:
    """A library may take as much again during a call, which is counted too."""
    backend, problem = Fft(option), Conv2d(2, 16, 40, 40, 32, (7, 7), stride=(2, 2), pad=(3, 3))
    if backend.unavailable():
        pytest.skip(str(backend.unavailable()))
    operands = fill_operands(problem, "zeros", seed=0)
    operands["out"] = guarded_output(problem).array
    config = {"algorithm": "fft", "weights": weights, "threads": 1}
    tracemalloc.start()
    before = held_bytes()
    prepared = backend.prepare(problem, config, operands)
    held = held_bytes() - before
    tracemalloc.stop()
    called = max(transform.call_bytes for transform in transforms(prepared))
    assert abs(held + called - prepared.workspace_bytes) <= SLACK_BYTES


def transforms(prepared: Any) -> list[Any]:
    found = [prepared.input_transform]
    for block in prepared.blocks:
        found += [block.output_transform, *filter(None, [block.filter_transform])]
    return found
