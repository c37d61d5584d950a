"""Stages of the convolutions by blocks: in order they are a call, and each goes through it all."""

import ctypes

import numpy as np
import pytest

from gemmbench.operands import fill_operands, guarded_output
from gemmbench.problem import Conv2d
from gemmbench_backends.numba_cpu.convolution.plan import ALL_STAGES

from .reference import BACKEND, HERE, answer

ONE_BLOCK = Conv2d(1, 12, 13, 11, 20, (3, 3), pad=(1, 1))
BLOCKS = Conv2d(3, 8, 40, 40, 24, (3, 3), pad=(1, 1), groups=2)
STEPS = ["input transform", "multiply", "output transform"]
CALLED = {
    "filter transform": {"to_lanes", "spread_weights"},
    "input transform": {"to_lanes", "to_few_lanes", "spread"},
    "multiply": {"kernels"},
    "output transform": {"gather", "to_planes"},
}
COUNTER = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 6)


def ready(problem, algorithm, weights, threads=1, **changes):
    choice = {"algorithm": algorithm, "weights": weights, "threads": threads}
    config = {**BACKEND.search_space(problem, HERE, choice).default, **choice, **changes}
    operands, output = fill_operands(problem, "uniform", 1), guarded_output(problem)
    return BACKEND.prepare(problem, config, {**operands, "out": output.array}), operands, output


def assert_close(problem, operands, output):
    """Sums of a few dozen products of numbers below 1."""
    np.testing.assert_allclose(output.array, answer(problem, operands), rtol=0, atol=1e-4)


def smallest_block(problem, algorithm, weights):
    """Rows of the smallest block that goes with the default's other choices."""
    choice = {"algorithm": algorithm, "weights": weights, "threads": 1}
    space = BACKEND.search_space(problem, HERE, choice)
    (axis,) = [axis for axis in space.axes if axis.name == "block"]
    return next(
        rows for rows in axis.values if space.rejected_by({**space.default, "block": rows}) is None
    )


def count_calls(prepared):
    """Put counters in the place of the kernels of a plan: calls by field, and what must live."""
    calls, alive = {}, []

    def counter(name):
        calls[name] = 0

        def called(*_arguments):
            calls[name] += 1

        alive.append(COUNTER(called))
        return ctypes.cast(alive[-1], ctypes.c_void_p).value

    record = prepared.plan.record
    for name in sorted(set().union(*CALLED.values())):
        record[name] = counter(name)
    return calls, alive


@pytest.mark.parametrize("weights", ["plain", "prepared"])
@pytest.mark.parametrize("algorithm", ["winograd", "fft", "direct"])
def test_stages_in_order_compute_what_fits_one_block(algorithm, weights):
    prepared, operands, output = ready(ONE_BLOCK, algorithm, weights)
    assert int(prepared.plan.record["blocks"][0]) == 1
    packs = [] if weights == "prepared" else ["filter transform"]
    assert list(prepared.stages) == [*packs, *STEPS]
    for stage in prepared.stages.values():
        stage()
    assert_close(ONE_BLOCK, operands, output)
    assert not output.overrun()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("algorithm", ["winograd", "fft", "direct"])
def test_each_stage_calls_its_own_kernels_as_often_as_a_call_does(algorithm, threads):
    block = smallest_block(BLOCKS, algorithm, "plain")
    prepared, _, _ = ready(BLOCKS, algorithm, "plain", block=block)
    assert int(prepared.plan.record["blocks"][0]) > 1
    calls, _alive = count_calls(prepared)
    prepared.run()
    whole, parts = dict(calls), dict.fromkeys(calls, 0)
    for name, stage in prepared.stages.items():
        calls.update(dict.fromkeys(calls, 0))
        stage()
        used = {kernel for kernel, count in calls.items() if count}
        assert used
        assert used <= CALLED[name]
        parts = {kernel: parts[kernel] + calls[kernel] for kernel in parts}
    assert parts == whole
    assert int(prepared.plan.record["stages"][0]) == ALL_STAGES


@pytest.mark.parametrize("algorithm", ["winograd", "fft", "direct"])
def test_the_output_stage_writes_every_block_and_a_run_after_it_is_right(algorithm):
    block = smallest_block(BLOCKS, algorithm, "prepared")
    prepared, operands, output = ready(BLOCKS, algorithm, "prepared", block=block)
    for name in ("input transform", "multiply"):
        output.array.fill(np.nan)
        prepared.stages[name]()
        assert np.isnan(output.array).all(), name
    prepared.stages["output transform"]()
    assert not np.isnan(output.array).any()
    assert not output.overrun()
    prepared.run()
    assert_close(BLOCKS, operands, output)


def test_a_kernel_that_packs_while_it_multiplies_has_no_stages():
    prepared, operands, output = ready(ONE_BLOCK, "implicit-gemm", "plain")
    assert not prepared.stages
    prepared.run()
    assert_close(ONE_BLOCK, operands, output)
