"""AlexNet through the stand-in: real layers, with stride, padding and groups, one image."""

from typing import Any

import numpy as np
import pytest

from gemmbench.operands import fill_operands, guarded_output
from gemmbench.problem import Conv2d
from gemmbench.reference import product as answer_of
from gemmbench.suite import load_suite
from gemmbench_backends.cupy_cuda import CupyCuda

from .stand_in import State

LAYERS = {layer.name: layer.problem for layer in load_suite("alexnet", batch=1).layers}
CONVOLUTIONS = [name for name, problem in LAYERS.items() if isinstance(problem, Conv2d)]


def assert_right(name: str, algorithm: str, problem: Any = None) -> None:
    problem = problem or LAYERS[name]
    backend = CupyCuda()
    choice = {"algorithm": algorithm, "weights": "plain", "threads": 1}
    space = backend.search_space(problem, None, choice)  # type: ignore[arg-type]
    assert space is not None
    operands = fill_operands(problem, "integers", 0)
    given = {**operands, "out": guarded_output(problem).array}
    prepared = backend.prepare(problem, {**space.default, **choice}, given)
    prepared.run()
    np.testing.assert_array_equal(prepared.output(), answer_of(problem, operands))


@pytest.mark.cuda
@pytest.mark.parametrize(
    ("name", "algorithm"),
    [("conv1", "implicit-gemm"), ("conv5", "im2col")],  # stride; padding and groups
)  # fmt: skip
def test_a_convolution_of_alexnet_is_right(device: State, name: str, algorithm: str) -> None:
    assert_right(name, algorithm)


@pytest.mark.cuda_whole
@pytest.mark.parametrize("algorithm", ["im2col", "implicit-gemm"])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_both_algorithms_are_right_on_all_of_alexnets_convolutions(
    device: State, name: str, algorithm: str
) -> None:
    assert_right(name, algorithm)


@pytest.mark.cuda_whole
@pytest.mark.parametrize("name", sorted(LAYERS.keys() - set(CONVOLUTIONS)))
def test_alexnets_fully_connected_layers_are_right(device: State, name: str) -> None:
    assert_right(name, "gemm")
