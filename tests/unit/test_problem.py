import itertools
import json
import pickle

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gemmbench.problem import (
    ITEMSIZE,
    KINDS,
    Conv2d,
    Gemm,
    GemmShape,
    Linear,
    ProblemError,
    problem_from_data,
    problem_to_data,
)
from gemmbench.suite import load_suite

sizes = st.integers(1, 6)
dtypes = st.sampled_from(sorted(ITEMSIZE))
pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def convolutions(draw):
    groups = draw(st.integers(1, 3))
    kernel, dilation = draw(pairs), draw(pairs)
    pad = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    least = [max(1, dilation[i] * (kernel[i] - 1) + 1 - 2 * pad[i]) for i in (0, 1)]
    return Conv2d(
        batch=draw(st.integers(1, 2)),
        channels=groups * draw(st.integers(1, 2)),
        height=draw(st.integers(least[0], least[0] + 4)),
        width=draw(st.integers(least[1], least[1] + 4)),
        filters=groups * draw(st.integers(1, 2)),
        kernel=kernel,
        stride=draw(pairs),
        pad=pad,
        dilation=dilation,
        groups=groups,
        dtype=draw(dtypes),
    )


gemms = st.builds(Gemm, sizes, sizes, sizes, dtypes)
linears = st.builds(Linear, sizes, sizes, sizes, dtypes)
problems = st.one_of(gemms, linears, convolutions())


def output_positions(conv, axis):
    """Starts of the dilated kernel along one axis of the padded image, found by trying them all."""
    size = (conv.height, conv.width)[axis] + 2 * conv.pad[axis]
    taps = [tap * conv.dilation[axis] for tap in range(conv.kernel[axis])]
    return [
        start
        for start in range(size)
        if start % conv.stride[axis] == 0 and all(start + tap < size for tap in taps)
    ]


def multiply_adds(problem):
    """Multiply-adds, counted one at a time."""
    if isinstance(problem, Conv2d):
        loops = [
            range(problem.batch),
            range(problem.filters),
            output_positions(problem, 0),
            output_positions(problem, 1),
            range(problem.channels // problem.groups),
            range(problem.kernel[0]),
            range(problem.kernel[1]),
        ]
    elif isinstance(problem, Linear):
        loops = [range(problem.batch), range(problem.out_features), range(problem.in_features)]
    else:
        loops = [range(problem.m), range(problem.n), range(problem.k)]
    return sum(1 for _ in itertools.product(*loops))


@given(problems)
def test_flops_equal_a_counting_loop(problem):
    assert problem.flops() == 2 * multiply_adds(problem)


@given(convolutions())
def test_output_size_equals_the_positions_found_by_trying(conv):
    expected = (len(output_positions(conv, 0)), len(output_positions(conv, 1)))
    assert conv.output_size() == expected
    assert conv.output_shape() == (conv.batch, conv.filters, *expected)


@given(problems)
def test_the_gemm_has_the_work_and_the_output_of_the_problem(problem):
    gemm = problem.gemm()
    assert 2 * gemm.m * gemm.k * gemm.n * gemm.count == problem.flops()
    assert gemm.m * gemm.n * gemm.count == np.prod(problem.output_shape())
    assert gemm.k == problem.reduction_length()


@given(problems)
def test_minimal_bytes_are_the_bytes_of_the_operands_and_the_output(problem):
    shapes = [*problem.operand_shapes().values(), problem.output_shape()]
    nbytes = sum(np.empty(shape, problem.dtype).nbytes for shape in shapes)
    assert problem.minimal_bytes() == nbytes


@given(convolutions())
def test_im2col_bytes_are_those_of_one_image_lowered(conv):
    assume(conv.kernel != (1, 1))
    taps = conv.channels * conv.kernel[0] * conv.kernel[1]
    positions = len(output_positions(conv, 0)) * len(output_positions(conv, 1))
    assert conv.im2col_bytes() == np.empty((taps, positions), conv.dtype).nbytes


def test_an_image_that_is_its_own_im2col_matrix_takes_no_memory():
    assert Conv2d(1, 8, 5, 5, 4, (1, 1)).im2col_bytes() == 0
    assert Gemm(2, 3, 4).im2col_bytes() == 0
    assert Linear(2, 3, 4).im2col_bytes() == 0


@pytest.mark.parametrize("changed", [{"stride": (2, 2)}, {"pad": (1, 0)}])
def test_a_strided_or_padded_pointwise_convolution_has_to_be_lowered(changed):
    assert Conv2d(1, 8, 5, 5, 4, (1, 1), **changed).im2col_bytes() > 0


@given(problems)
def test_a_problem_survives_json(problem):
    data = json.loads(json.dumps(problem_to_data(problem)))
    assert problem_from_data(data) == problem


@given(problems)
def test_equal_problems_are_one_key(problem):
    again = problem_from_data(problem_to_data(problem))
    assert len({problem, again}) == 1


def test_every_kind_can_be_read_back_by_its_name():
    assert {name: kind.__name__ for name, kind in KINDS.items()} == {
        "gemm": "Gemm",
        "linear": "Linear",
        "conv2d": "Conv2d",
    }


@pytest.mark.parametrize(
    ("suite", "giga_multiply_adds"),
    [
        ("alexnet", 0.7244),
        ("googlenet", 1.5827),
        ("vgg16", 15.4703),
        ("resnet50", 4.0892),
        ("mobilenet_v1", 0.5687),
    ],
)
def test_a_network_has_its_published_multiply_adds_an_image(suite, giga_multiply_adds):
    total = load_suite(suite, batch=1).flops() // 2
    assert round(total / 1e9, 4) == giga_multiply_adds


def test_the_second_convolution_of_alexnet_is_lowered_as_caffe_does():
    conv2 = Conv2d(10, 96, 27, 27, 256, (5, 5), pad=(2, 2), groups=2)
    assert conv2.gemm() == GemmShape(m=128, k=1200, n=729, count=20)
    assert str(conv2.gemm()) == "128×1200×729 ×20"
    assert conv2.im2col_bytes() == 6_998_400


def conv(**changed):
    fields = {"batch": 1, "channels": 4, "height": 5, "width": 5, "filters": 4, "kernel": (3, 3)}
    return Conv2d(**{**fields, **changed})


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: Gemm(0, 1, 1), "m: got 0, expected an integer >= 1."),
        (lambda: Gemm(1, 1, -3), "n: got -3, expected an integer >= 1."),
        (lambda: Gemm(1, True, 1), "k: got True, expected an integer >= 1."),
        (lambda: Gemm(1, 2.0, 1), "k: got 2.0, expected an integer >= 1."),
        (lambda: Linear(1, 0, 1), "in_features: got 0, expected an integer >= 1."),
        (lambda: Gemm(1, 1, 1, "half"), "dtype: got 'half'. Choose from float32, float64."),
        (lambda: Gemm(1, 1, 1, "float16"), "dtype: got 'float16'. Did you mean 'float64'?"),
        (lambda: conv(stride=(1, 0)), "stride: got 0, expected an integer >= 1."),
        (lambda: conv(pad=(-1, 0)), "pad: got -1, expected an integer >= 0."),
        (lambda: conv(kernel=3), "kernel: got 3, expected (height, width)."),
        (lambda: conv(kernel=(3,)), "kernel: got (3,), expected (height, width)."),
        (lambda: conv(groups=3), "groups: got 3, which does not divide channels 4."),
        (
            lambda: conv(filters=6, groups=4),
            "groups: got 4, which does not divide filters 6.",
        ),
        (
            lambda: conv(kernel=(3, 6)),
            "kernel: got 3×6 (dilated), larger than the padded input 5×5. "
            "Use a smaller kernel or more padding.",
        ),
        (
            lambda: conv(dilation=(3, 1)),
            "kernel: got 7×3 (dilated), larger than the padded input 5×5. "
            "Use a smaller kernel or more padding.",
        ),
        (lambda: problem_from_data({"kind": "conv"}), "kind: got 'conv'. Did you mean 'conv2d'?"),
    ],
)
def test_an_impossible_problem_is_refused_with_its_field(make, line):
    with pytest.raises(ProblemError) as caught:
        make()
    assert str(caught.value) == line
    assert f"{caught.value.field}: {caught.value.message}" == line


def test_a_problem_error_survives_a_pipe():
    copy = pickle.loads(pickle.dumps(ProblemError("stride", "got 0.")))
    assert (copy.field, copy.message, str(copy)) == ("stride", "got 0.", "stride: got 0.")


def test_a_kernel_as_large_as_the_padded_input_is_accepted():
    assert conv(kernel=(7, 7), pad=(1, 1)).output_size() == (1, 1)
