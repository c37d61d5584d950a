"""One product for a whole batch: the same answer, its memory, and what is said of the gain."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from example_trials import CONV1, blas, measured, trial

from gemmbench.machine import detect_machine
from gemmbench.operands import fill_operands, guarded_output
from gemmbench.problem import Conv2d, Gemm
from gemmbench.reference import product
from gemmbench.trial import TrialState
from gemmbench_backends.blas import Blas
from gemmbench_backends.numba_cpu import NumbaCpu
from gemmbench_results.report.batching import batching_gains, batching_sentences

PROBLEMS = [
    Conv2d(3, 6, 9, 8, 8, (3, 3), pad=(1, 1), groups=2),
    Conv2d(2, 3, 23, 23, 7, (5, 4), stride=(2, 3), dilation=(1, 2)),
    Conv2d(4, 7, 6, 5, 4, (1, 1)),
    Conv2d(40, 4, 33, 33, 20, (3, 3), pad=(1, 1)),
]
BACKENDS: list[Any] = [Blas(), NumbaCpu()]


def prepare(backend: Any, problem: Conv2d, lowering: str, threads: int = 1) -> Any:
    choice = {"algorithm": "im2col", "weights": "plain", "threads": threads}
    asked = {**choice, "lowering": lowering}
    space = backend.search_space(problem, detect_machine(), asked)
    config = {**(space.default if space else {}), **choice}
    assert config.get("lowering", "per-image") == lowering
    operands = fill_operands(problem, "integers", seed=0)
    return backend.prepare(problem, config, {**operands, "out": guarded_output(problem).array})


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
@pytest.mark.parametrize("backend", BACKENDS, ids=lambda b: b.name)
def test_the_whole_batch_gives_the_same_answer(backend: Any, problem: Conv2d, threads: int) -> None:
    right = product(problem, fill_operands(problem, "integers", seed=0))
    for lowering in backend.lowerings(problem)["im2col"]:
        prepared = prepare(backend, problem, lowering, threads)
        prepared.run()
        np.testing.assert_array_equal(prepared.output(), right)
        prepared.output().fill(np.nan)
        if lowering == "whole":
            assert list(prepared.stages) == ["im2col", "multiply", "output transform"]
            for stage in prepared.stages.values():
                stage()
            np.testing.assert_array_equal(prepared.output(), right)


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda b: b.name)
def test_the_whole_batch_holds_the_columns_of_all_images_and_the_product(backend: Any) -> None:
    problem = PROBLEMS[3]
    whole, single = (
        prepare(backend, problem, way).workspace_bytes for way in ("whole", "per-image")
    )
    least = problem.batch * problem.im2col_bytes() + guarded_output(problem).array.nbytes
    assert least <= whole < 1.2 * least
    assert single < whole / 4


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda b: b.name)
def test_one_image_is_lowered_in_one_way(backend: Any) -> None:
    assert not backend.lowerings(replace(PROBLEMS[0], batch=1)).get("im2col")
    assert not backend.lowerings(Gemm(2, 3, 4)).get("im2col")


def test_the_gain_is_of_the_whole_batch_over_image_by_image() -> None:
    single = trial("conv1", CONV1, blas("im2col"), 0.02)
    whole = trial("conv1", CONV1, blas("im2col", config={"lowering": "whole"}), 0.016)
    (gain,) = batching_gains([single, whole])
    assert gain.times == pytest.approx(1.25)
    assert gain.low < 1.25 < gain.high
    (sentence,) = batching_sentences([whole, single])
    assert sentence.startswith(
        "conv1: blas im2col: one GEMM for all 10 images is 1.25 times as fast as one for each (1.2"
    )


def test_of_several_configs_the_fastest_stands_for_its_way() -> None:
    found = [
        trial("conv1", CONV1, blas("im2col", config={"lowering": way, "mr": mr}), seconds)
        for way, mr, seconds in [
            ("per-image", 4, 0.03), ("per-image", 8, 0.02), ("whole", 4, 0.02), ("whole", 8, 0.04)
        ]
    ]  # fmt: skip
    (gain,) = batching_gains(found)
    assert gain.times == pytest.approx(1.0)


def test_who_was_raced_one_way_or_failed_gains_nothing() -> None:
    whole = trial("conv1", CONV1, blas("im2col", config={"lowering": "whole"}), 0.016)
    failed = trial("conv1", CONV1, blas("im2col"), state=TrialState.FAILED)
    other = trial("conv2", CONV1, blas("im2col"), 0.02)
    assert not batching_gains([whole, failed, other])


def test_a_gain_without_common_rounds_has_no_interval() -> None:
    single = trial("conv1", CONV1, blas("im2col"), 0.02)
    early = replace(measured(0.01), samples=measured(0.01).samples[:0])
    late = trial("conv1", CONV1, blas("im2col", config={"lowering": "whole"}), 0.01)
    samples = tuple(replace(sample, round=99) for sample in late.measurement.samples)
    late = replace(late, measurement=replace(early, samples=samples))
    (gain,) = batching_gains([single, late])
    assert (gain.low, gain.high) == (0.0, float("inf"))
    assert gain.times == pytest.approx(2.0)
