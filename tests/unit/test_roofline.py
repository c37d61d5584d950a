from dataclasses import replace

import pytest
from example_trials import CONV1, blas, trial

from gemmbench.problem import Conv2d, Gemm
from gemmbench.roofline import (
    above_roof,
    attainable_flops,
    executed_flops,
    intensity,
    moved_bytes,
    ridge,
    roofline,
)
from gemmbench.trial import Contender, TrialState

SQUARE = Gemm(100, 100, 100)  # 2e6 FLOP, 120 kB
PEAKS = {"peak_flops": 1e9, "peak_bytes": 1e9}


def timed(seconds, problem=SQUARE, contender=None, **fields):
    return trial("l", problem, contender or blas("gemm"), seconds, **{**PEAKS, **fields})


def test_intensity_is_operations_over_every_byte_moved_once():
    assert intensity(SQUARE) == 2e6 / (4 * 3e4)


def test_the_roof_is_the_lower_of_both():
    assert attainable_flops(2.0, 100.0, 10.0) == 20.0
    assert attainable_flops(20.0, 100.0, 10.0) == 100.0
    assert ridge(100.0, 10.0) == 10.0


@pytest.mark.parametrize(
    ("bandwidth", "bound", "seconds"), [(1e9, "compute", 2e-3), (1e7, "memory", 12e-3)]
)
def test_the_bound_is_what_takes_longer(bandwidth, bound, seconds):
    found = roofline(timed(0.024, peak_bytes=bandwidth))
    assert found.bound == bound
    assert found.seconds == pytest.approx(seconds)
    assert found.share == pytest.approx(seconds / 0.024, rel=1e-3)


def test_a_transform_is_bound_by_its_own_operations():
    own = timed(0.01, CONV1, Contender("fft", "fft"), own_flops=10**7, peak_bytes=1e12)
    assert executed_flops(own) == 10**7
    assert roofline(own).seconds == pytest.approx(0.01)
    silent = replace(own, own_flops=None)
    assert executed_flops(silent) is None
    assert roofline(silent).bound == "memory"


def test_without_both_roofs_there_is_no_roofline():
    assert roofline(timed(0.01, peak_bytes=None)) is None
    assert roofline(timed(0.01, peak_flops=None)) is None
    assert not above_roof(timed(1e-9, peak_bytes=None))


def test_what_was_not_timed_has_a_roof_and_no_share():
    failed = timed(None, state=TrialState.FAILED)
    assert roofline(failed).share is None
    assert not above_roof(failed)


@pytest.mark.parametrize(("seconds", "above"), [(1.9e-3, False), (1.7e-3, True)])
def test_only_what_beats_a_roof_by_more_than_ten_percent_is_above_it(seconds, above):
    assert above_roof(timed(seconds)) is above


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "rows"),
    [((1, 1), (2, 2), (1, 1), 4), ((3, 3), (2, 2), (1, 1), 7), ((2, 2), (4, 4), (2, 2), 4)],
)
def test_rows_of_an_image_that_no_tap_reads_need_not_be_moved(kernel, stride, dilation, rows):
    problem = Conv2d(2, 3, 8, 8, 5, kernel, stride, dilation=dilation)
    assert problem.minimal_bytes() - moved_bytes(problem) == 4 * 2 * 3 * 8 * (8 - rows)


def test_a_pointwise_layer_with_a_stride_is_not_above_the_roof_for_skipping_rows():
    problem = Conv2d(1, 64, 32, 32, 1, (1, 1), (2, 2))
    assert not above_roof(timed(0.6 * problem.minimal_bytes() / 1e9, problem, peak_flops=1e15))
