"""The host code on the stand-in: the Backend contract's own tests, and what a device adds."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from contract.test_backend import (  # the contract's own tests, collected here for the stand-in
    PROBLEMS,
    machine,
    prepare,
    runnable,
    test_facts_about_a_contender_are_counts,
    test_random_configs_give_the_right_answer,
    test_stages_do_the_work_of_a_run,
    test_the_default_config_gives_the_right_answer,
    test_the_library_says_what_runs,
)
from gemmbench.backend import Backend
from gemmbench.errors import GemmbenchError
from gemmbench.operands import fill_operands, guarded_output
from gemmbench.problem import Conv2d, Gemm, Problem
from gemmbench.reference import product as answer_of
from gemmbench_backends.cupy_cuda import CupyCuda, contender, kernels, libraries
from gemmbench_backends.cupy_cuda.contender import OnDevice
from gemmbench_backends.cupy_cuda.tiles import MOST_COUNTED

from .stand_in import CUDARuntimeError, State, installed

pytestmark = pytest.mark.cuda

__all__ = [
    "machine", "prepare", "runnable", "test_facts_about_a_contender_are_counts",
    "test_random_configs_give_the_right_answer", "test_stages_do_the_work_of_a_run",
    "test_the_default_config_gives_the_right_answer", "test_the_library_says_what_runs",
]  # fmt: skip


@pytest.fixture(scope="module", params=["", "cublas", "cufft"])
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    with installed(State()):
        yield CupyCuda(request.param)


def on_device(problem: Problem, **changes: Any) -> tuple[OnDevice, dict[str, Any]]:
    """The default contender of `problem`, its config changed, and its operands."""
    algorithm = changes.pop("algorithm", "im2col" if isinstance(problem, Conv2d) else "gemm")
    choice = {"algorithm": algorithm, "weights": "plain", "threads": 1}
    made = CupyCuda()
    space = made.search_space(problem, None, choice)  # type: ignore[arg-type]
    assert space is not None
    operands = fill_operands(problem, "integers", 0)
    given = {**operands, "out": guarded_output(problem).array}
    prepared = made.prepare(problem, {**space.default, **choice, **changes}, given)
    assert isinstance(prepared, OnDevice)
    return prepared, operands


def test_k_cut_into_shares_gives_the_answer_and_says_what_it_needs(device: State) -> None:
    problem = Gemm(33, 400, 65)
    prepared, operands = on_device(problem, split=4)
    prepared.run()
    np.testing.assert_array_equal(prepared.output(), answer_of(problem, operands))
    assert prepared.workspace_bytes == 4 * 4 * 33 * 65


def test_a_batch_whose_columns_have_no_room_is_lowered_in_parts(
    device: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = Conv2d(5, 4, 9, 8, 6, (3, 3), pad=(1, 1), groups=2)
    monkeypatch.setattr(kernels, "COLUMN_BYTES", 2 * problem.im2col_bytes())
    for split in (1, 2):
        prepared, operands = on_device(problem, split=split)
        assert [name for name, _ in prepared.work.steps].count("im2col") == 3
        partial_products = 4 * split * answer_of(problem, operands).size if split > 1 else 0
        assert prepared.workspace_bytes == 2 * problem.im2col_bytes() + partial_products
        prepared.run()
        np.testing.assert_array_equal(prepared.output(), answer_of(problem, operands))


def test_operands_that_changed_count_once_they_are_loaded(device: State) -> None:
    problem = Gemm(8, 8, 8)
    prepared, operands = on_device(problem)
    operands["a"][...] = 1
    prepared.load()
    prepared.run()
    np.testing.assert_array_equal(prepared.output(), answer_of(problem, operands))


def test_a_stray_write_beside_the_output_is_told(device: State) -> None:
    prepared, _ = on_device(Gemm(8, 8, 8))
    prepared.run()
    beside = prepared.guarded._memory
    beside[contender.GUARD_FLOATS - 1] = 0
    with pytest.raises(GemmbenchError, match="outside its output"):
        prepared.output()


def test_a_config_that_spills_is_not_launched(
    device: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cupy_cuda.stand_in.RawKernel.local_size_bytes", 8)
    with pytest.raises(GemmbenchError, match="not launched: a thread spills 8 bytes"):
        on_device(Gemm(8, 8, 8))
    assert device.launches == 0


def test_a_config_that_does_not_fit_is_not_launched(
    device: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cupy_cuda.stand_in.RawKernel.num_regs", 256)
    with pytest.raises(GemmbenchError, match="do not fit on an SM"):
        on_device(Gemm(8, 8, 8))


def test_an_illegal_address_is_told_apart_from_a_refused_launch(device: State) -> None:
    backend = CupyCuda()
    prepared, _ = on_device(Gemm(8, 8, 8))
    assert backend.lost() is None
    device.poisoned = "cudaErrorIllegalAddress: an illegal memory access was encountered"
    with pytest.raises(CUDARuntimeError):
        prepared.run()
    assert backend.lost() == device.poisoned


def test_what_does_not_fit_in_memory_is_declined_with_both_sizes(device: State) -> None:
    device.free_bytes = 2**29
    reason = CupyCuda().supports(Gemm(20_000, 20_000, 20_000))
    assert reason is not None
    assert "needs 4.47 GiB on the device, 0.50 of 1024.00 GiB are free" in reason
    assert "--batch" in reason


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (Gemm(1, 1, 2**31), "2147483648 columns"),
        (Gemm(1, 2**31, 1), "2147483648 steps along k"),
        (Conv2d(2048, 1, 1024, 1024, 1, (1, 1)), "2147483648 output pixels of all images"),
        (
            Conv2d(1, 2, 32768, 32768, 1, (1, 1), stride=(64, 64)),
            "2147483648 floats of an image in a group",
        ),
    ],
    ids=["n", "k", "batch times pixels", "one image"],
)
def test_what_32_bits_do_not_count_is_declined_with_the_count(
    device: State, problem: Problem, words: str
) -> None:
    device.free_bytes = 2**60
    reason = CupyCuda().supports(problem)
    assert reason is not None
    assert words in reason
    assert "--batch" in reason


def test_what_32_bits_just_count_is_taken(device: State) -> None:
    device.free_bytes = 2**60
    assert CupyCuda().supports(Gemm(1, 1, MOST_COUNTED)) is None
    assert CupyCuda().supports(Conv2d(2047, 1, 1024, 1024, 1, (1, 1))) is None


def test_cublas_declines_an_image_that_im2col_cannot_count(device: State) -> None:
    device.free_bytes = 2**60
    large = Conv2d(1, 2, 32768, 32768, 1, (1, 1), stride=(64, 64))
    assert "floats of an image in a group" in (CupyCuda("cublas").supports(large) or "")
    assert CupyCuda("cublas").supports(replace(large, stride=(1, 1))) is None, "no im2col"


def test_double_precision_is_declined_by_the_kernels_only(device: State) -> None:
    problem = replace(PROBLEMS["gemm"], dtype="float64")
    assert "float32" in (CupyCuda().supports(problem) or "")
    assert CupyCuda("cublas").supports(problem) is None


def test_the_clock_holds_the_device_and_gives_seconds(device: State) -> None:
    prepared, _ = on_device(Gemm(8, 8, 8))
    before = device.launches
    prepared.clock.start(3)
    for _ in range(3):
        prepared.run()
    assert prepared.clock.stop() > 0
    assert device.launches == before + 4, "three calls, behind one that holds the device"


def test_a_call_of_several_launches_says_how_many(device: State) -> None:
    assert on_device(Gemm(8, 64, 8))[0].launches == 1
    assert on_device(Gemm(8, 64, 8), split=2)[0].launches == 2
    assert on_device(Conv2d(1, 2, 8, 8, 3, (3, 3)), split=2)[0].launches == 3
    problem = Conv2d(1, 2, 8, 8, 3, (3, 3))
    given = {**fill_operands(problem, "integers", 0), "out": guarded_output(problem).array}
    choice = {"algorithm": "fft", "weights": "plain", "threads": 1}
    spectral = CupyCuda("cufft").prepare(problem, choice, given)
    assert spectral.launches == libraries.SPECTRAL_LAUNCHES > 8  # type: ignore[attr-defined]


def test_flushing_writes_twice_the_cache(device: State) -> None:
    prepared, _ = on_device(Gemm(8, 8, 8))
    prepared.clock.flush()
    assert prepared.clock._flushed.nbytes == 2 * device.l2_bytes


def test_the_peak_is_the_clock_times_the_lanes(device: State) -> None:
    assert CupyCuda().device_peak("float32") == 2 * 128 * 4 * 1e9
    assert CupyCuda().device_peak("float64") is None


def test_cudnn_is_declined_where_cupy_has_none(device: State) -> None:
    assert "this CuPy has no cuDNN" in (CupyCuda("cudnn").unavailable() or "")


def test_a_missing_library_is_declined_with_the_command_that_brings_it() -> None:
    with installed(State(libraries=())):
        assert "cupy-cuda13x[ctk]" in (CupyCuda("cublas").unavailable() or "")


def test_the_library_that_is_missing_is_that_of_the_cuda_there_is() -> None:
    with installed(State(libraries=(), runtime=12090)):
        assert "cupy-cuda12x[ctk]" in (CupyCuda("cufft").unavailable() or "")


def test_more_images_and_groups_than_a_launch_counts_are_declined_by_cublas(device: State) -> None:
    problem = Conv2d(1024, 64, 4, 4, 64, (3, 3), groups=64)
    assert "a launch counts 65535" in (CupyCuda("cublas").supports(problem) or "")
    assert CupyCuda("cublas").supports(replace(problem, kernel=(1, 1))) is None, "no im2col"


def test_spectra_in_double_precision_take_twice_the_memory(device: State) -> None:
    single = Conv2d(1, 2, 12, 11, 3, (3, 2))
    double = replace(single, dtype="float64")
    assert libraries._spectra_bytes(double) == 2 * libraries._spectra_bytes(single)
