import resource
import sys
from typing import Any

import numpy as np
import pytest

from gemmbench.errors import GemmbenchError
from gemmbench.operands import fill_operands, guarded_output
from gemmbench.problem import Conv2d, Gemm, Linear, Problem
from gemmbench_backends.torch_cpu import TorchCpu

CONV = Conv2d(2, 8, 20, 20, 16, (3, 3), pad=(1, 1))
PAGE_BYTES = 4096


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason="PyTorch is not installed")


@pytest.fixture
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed


def prepare(problem: Problem, **config: Any) -> Any:
    operands = fill_operands(problem, "integers", seed=0)
    operands["out"] = guarded_output(problem).array
    return TorchCpu().prepare(problem, {"threads": 1, "weights": "plain", **config}, operands)


def test_an_option_is_refused() -> None:
    with pytest.raises(GemmbenchError, match=r"'torch:cuda'.*takes none.*Name it 'torch'"):
        TorchCpu("cuda")


def test_without_pytorch_it_names_the_extra(
    without_torch: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = TorchCpu()
    assert "pip install 'gemmbench[torch]'" in str(backend.unavailable())
    assert backend.algorithms(CONV) == {"library": ("plain",)}
    with pytest.raises(GemmbenchError, match="backend 'torch' is unavailable: "):
        prepare(Gemm(1, 1, 1), algorithm="gemm")


def test_the_library_names_what_pytorch_was_built_with(torch: Any) -> None:
    prepare(Gemm(1, 1, 1), algorithm="gemm")
    line = TorchCpu().library()
    assert line.startswith(f"torch {torch.__version__}")
    assert line.endswith("1 thread)")


def test_only_single_precision_has_more_than_the_plain_operator(torch: Any) -> None:
    backend = TorchCpu()
    assert backend.algorithms(Linear(2, 3, 4, "float64")) == {"gemm": ("plain",)}
    double = Conv2d(1, 1, 3, 3, 1, (3, 3), dtype="float64")
    assert backend.algorithms(double) == {"library": ("plain",)}
    assert all(kinds == ("plain",) for kinds in backend.algorithms(Gemm(2, 3, 4)).values())


def test_a_product_is_written_to_the_operand(torch: Any) -> None:
    prepared = prepare(Gemm(3, 4, 5), algorithm="gemm")
    prepared.run()
    assert prepared.output() is prepared.out


def test_prepared_weights_are_captured(torch: Any) -> None:
    if "prepared" not in TorchCpu().algorithms(CONV)["library"]:
        pytest.skip("this PyTorch has no oneDNN")
    operands = fill_operands(CONV, "integers", seed=0)
    operands["out"] = guarded_output(CONV).array
    for layout in ("blocked", "channels-last"):
        config = {"algorithm": "library", "weights": "prepared", "layout": layout, "threads": 1}
        prepared = TorchCpu().prepare(CONV, config, operands)
        prepared.run()
        before = np.array(prepared.output())
        kept = operands["w"].copy()
        operands["w"][...] = 0
        prepared.run()
        np.testing.assert_array_equal(prepared.output(), before)
        operands["w"][...] = kept


def test_an_output_that_pytorch_allocates_lies_in_memory_used_before(torch: Any) -> None:
    problem = Conv2d(4, 8, 64, 64, 64, (3, 3), pad=(1, 1))
    prepared = prepare(problem, algorithm="library")
    for _ in range(3):
        prepared.run()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        prepared.run()
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    assert faults < prepared.output().nbytes / PAGE_BYTES  # ten times that, were it new each time
