import tracemalloc
from dataclasses import replace
from math import log2, sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemmbench.backend import load_backend, locate_backend
from gemmbench.errors import GemmbenchError
from gemmbench.operands import fill_operands, guarded_output
from gemmbench.problem import Conv2d, Gemm, Linear
from gemmbench.reference import LAMBDA, UNIT_ROUNDOFF, product
from gemmbench_backends.fft import Fft, convolution, filters
from gemmbench_backends.fft.geometry import transform_flops, transform_geometry
from gemmbench_backends.fft.libraries import OPTIONS, library

CONV = Conv2d(2, 6, 9, 8, 8, (3, 3), pad=(1, 1), groups=2)
STRIDED = Conv2d(2, 6, 23, 20, 8, (5, 4), stride=(3, 2), pad=(2, 1), groups=2)
CONV1 = Conv2d(1, 3, 227, 227, 96, (11, 11), stride=(4, 4))
SMALL = st.integers(1, 4)


@st.composite
def convolutions(draw: st.DrawFn) -> Conv2d:
    groups = draw(st.integers(1, 3))
    kernel, dilation = draw(st.tuples(SMALL, SMALL)), draw(st.tuples(SMALL, SMALL))
    pad = draw(st.tuples(st.integers(0, 7), st.integers(0, 7)))
    extent = [dilation[i] * (kernel[i] - 1) + 1 for i in range(2)]
    least = [max(1, extent[i] - 2 * pad[i]) for i in range(2)]
    height, width = (draw(st.integers(least[i], least[i] + 9)) for i in range(2))
    return Conv2d(
        batch=draw(st.integers(1, 2)),
        channels=groups * draw(SMALL),
        height=height,
        width=width,
        filters=groups * draw(SMALL),
        kernel=kernel,
        stride=draw(st.tuples(st.integers(1, 9), SMALL)),
        pad=pad,
        dilation=dilation,
        groups=groups,
        dtype=draw(st.sampled_from(["float32", "float64"])),
    )


def prepare(
    problem: Conv2d, weights: str = "plain", threads: int = 1, algorithm: str = "fft",
    option: str = "",
) -> Any:  # fmt: skip
    operands = fill_operands(problem, "uniform", seed=0)
    config = {"algorithm": algorithm, "weights": weights, "threads": threads}
    return Fft(option).prepare(problem, config, {**operands, "out": guarded_output(problem).array})


def assert_right(problem: Conv2d, prepared: Any) -> None:
    """Within the transform bound of the largest |A||B| that the shape allows.

    `check` scales by the largest one there is, which is nothing where only padding is kept.
    """
    points = log2(max(2, np.prod(prepared.geometry.points)))
    terms = points + sqrt(problem.channels // problem.groups)
    largest = sqrt(problem.reduction_length())  # k terms of at most 1, over √k
    np.testing.assert_allclose(
        prepared.output(),
        product(problem, fill_operands(problem, "uniform", seed=0)),
        rtol=0,
        atol=LAMBDA * terms * UNIT_ROUNDOFF[problem.dtype] * largest,
    )


@settings(deadline=None, max_examples=100)
@given(
    problem=convolutions(),
    weights=st.sampled_from(["plain", "prepared"]),
    threads=st.sampled_from([1, 2]),
    algorithm=st.sampled_from(["fft", "fft-full"]),
)
def test_fft_equals_direct_within_the_bound_for_any_legal_shape(
    problem: Conv2d, weights: str, threads: int, algorithm: str
) -> None:
    prepared = prepare(problem, weights, threads, algorithm)
    prepared.run()
    assert_right(problem, prepared)


@pytest.mark.parametrize("weights", ["plain", "prepared"])
@pytest.mark.parametrize("block_bytes", [1, 30_000])
def test_blocks_of_filters_give_the_same_answer(
    monkeypatch: pytest.MonkeyPatch, weights: str, block_bytes: int
) -> None:
    whole = prepare(CONV, weights)
    monkeypatch.setattr(convolution, "BLOCK_BYTES", block_bytes)
    parts = prepare(CONV, weights)
    assert len(whole.blocks) == 1
    assert len(parts.blocks) == (4 if block_bytes == 1 else 2)
    parts.run()
    assert_right(CONV, parts)


def test_blocks_bound_the_memory_of_plain_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = (Conv2d(1, 8, 16, 16, filters, (3, 3)) for filters in (32, 1024))
    monkeypatch.setattr(convolution, "BLOCK_BYTES", 2**19)
    # The last block's taps may lie in a buffer of their own.
    assert prepare(many).workspace_bytes < 1.1 * prepare(few).workspace_bytes


@pytest.mark.parametrize("weights", ["plain", "prepared"])
@pytest.mark.parametrize(
    "problem",
    [
        Conv2d(1, 24, 27, 27, 64, (5, 5), pad=(2, 2), groups=2),
        Conv2d(4, 32, 56, 56, 4, (3, 3)),
        Conv2d(4, 3, 32, 32, 64, (3, 3), dtype="float64"),
    ],
    ids=str,
)
def test_the_workspace_covers_what_is_allocated_and_little_more(
    problem: Conv2d, weights: str
) -> None:
    tracemalloc.start()
    prepared = prepare(problem, weights)
    given_bytes = sum(a.nbytes for a in fill_operands(problem, "zeros", 0).values())
    given_bytes += prepared.out.nbytes
    tracemalloc.reset_peak()
    prepared.run()
    used = tracemalloc.get_traced_memory()[1] - given_bytes
    tracemalloc.stop()
    # pocketfft's own buffer for the inverse transform is counted, but tracemalloc misses it.
    assert 0.7 * prepared.workspace_bytes < used < 1.1 * prepared.workspace_bytes


def available(option: str) -> Any:
    found = library(option)
    reason = found.unavailable()
    if reason is not None:
        pytest.skip(reason)
    return found


@pytest.mark.parametrize("option", ["", *OPTIONS])
@pytest.mark.parametrize(("dtype", "spectrum"), [("float32", "c8"), ("float64", "c16")])
def test_a_library_transforms_in_the_precision_it_is_given(
    option: str, dtype: str, spectrum: str
) -> None:
    found = available(option)
    pixels, back = np.empty((3, 8, 6), dtype), np.empty((3, 4, 3), dtype)
    spectra = np.empty((8, 4, 3), spectrum).transpose(2, 0, 1)  # frequencies outside, as in use
    forward = found.forward(pixels, spectra, 1)
    backward = found.backward(spectra, (8, 6), back, (2, 2), 1)
    pixels[...] = np.random.default_rng(0).random(pixels.shape)
    kept = pixels.copy()
    forward.run()
    np.testing.assert_allclose(spectra, np.fft.rfft2(kept), atol=1e-5)
    np.testing.assert_array_equal(pixels, kept)
    backward.run()
    np.testing.assert_allclose(back, kept[:, ::2, ::2], atol=1e-6)


def test_spectra_transformed_in_place_again_and_again_do_not_become_denormal() -> None:
    spectra, pixels = np.ones((2, 8, 4), "complex64"), np.empty((2, 8, 6), "float32")
    backward = library("").backward(spectra, (8, 6), pixels, (1, 1), 1)
    for _ in range(100):
        backward.run()
    np.testing.assert_allclose(np.linalg.norm(spectra), 8, rtol=1e-4)


def test_a_library_that_changes_the_precision_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import scipy.fft

    right = scipy.fft.rfft2
    monkeypatch.setattr(scipy.fft, "rfft2", lambda *a, **k: right(*a, **k).astype("complex128"))
    with pytest.raises(TypeError, match="complex128"):
        prepare(CONV).run()


@pytest.mark.parametrize("weights", ["plain", "prepared"])
@pytest.mark.parametrize("algorithm", ["fft", "fft-full"])
@pytest.mark.parametrize("option", OPTIONS)
def test_other_libraries_are_right_too(option: str, algorithm: str, weights: str) -> None:
    available(option)
    prepared = prepare(STRIDED, weights, 2, algorithm, option)
    prepared.run()
    assert_right(STRIDED, prepared)


def test_a_strided_convolution_is_transformed_phase_by_phase() -> None:
    phases, full = transform_geometry(CONV1), transform_geometry(CONV1, full=True)
    assert (phases.points, phases.phases, phases.step) == ((60, 60), (4, 4), (1, 1))
    assert (full.points, full.phases, full.step) == ((231, 240), (1, 1), (4, 4))
    assert transform_flops(CONV1, phases, True) < transform_flops(CONV1, full, True) / 3


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("problem", [CONV, STRIDED, replace(STRIDED, dilation=(2, 3))], ids=str)
@pytest.mark.parametrize("way", ["definition", "library"])
def test_filters_are_transformed_alike_by_definition_and_by_a_library(
    monkeypatch: pytest.MonkeyPatch, way: str, problem: Conv2d, threads: int
) -> None:
    faster = {"definition": float("inf"), "library": 0.0}[way]
    monkeypatch.setattr(filters, "FASTER_FLOPS", faster)
    monkeypatch.setattr(convolution, "BLOCK_BYTES", 30_000)
    prepared = prepare(problem, "plain", threads)
    assert len(prepared.blocks) > 1
    prepared.run()
    assert_right(problem, prepared)


def test_few_taps_are_transformed_by_definition_and_many_by_a_library() -> None:
    assert filters._prefers_definition(transform_geometry(CONV1))
    assert not filters._prefers_definition(transform_geometry(CONV1, full=True))
    assert filters._prefers_definition(transform_geometry(CONV))


def test_phases_that_no_tap_reads_are_left_out() -> None:
    geometry = transform_geometry(Conv2d(1, 2, 20, 20, 3, (1, 3), stride=(3, 4), dilation=(1, 2)))
    assert geometry.rows.phases == (0,)
    assert geometry.columns.phases == (0, 2)


def test_full_resolution_is_offered_for_strides_only() -> None:
    assert set(Fft().algorithms(STRIDED)) == {"fft", "fft-full"}
    assert not Fft().declined(STRIDED)
    assert set(Fft().algorithms(CONV)) == set(Fft().algorithms(CONV)) - set(Fft().declined(CONV))
    assert set(Fft().declined(CONV)) == {"fft-full"}


def test_the_padding_is_shared_by_both_ends_of_the_transform() -> None:
    geometry = transform_geometry(Conv2d(1, 1, 13, 13, 1, (3, 3), pad=(1, 1)))
    assert geometry.points == (14, 15)  # 14 points do; 15 = 3·5 is the next fast real length


def test_pixels_that_no_output_reads_are_left_out() -> None:
    problem = Conv2d(1, 1, 30, 31, 1, (3, 3), stride=(7, 8))
    geometry = transform_geometry(problem, full=True)
    assert geometry.rows.pixels(0)[0] == slice(0, 24, 1)
    assert geometry.columns.pixels(0)[0] == slice(0, 27, 1)


def test_prepared_weights_have_no_filter_transform_and_fewer_operations() -> None:
    plain, prepared = (prepare(CONV, weights) for weights in ("plain", "prepared"))
    assert list(plain.stages) == [
        "input transform",
        "filter transform",
        "multiply",
        "output transform",
    ]
    assert list(prepared.stages) == ["input transform", "multiply", "output transform"]
    assert prepared.flops < plain.flops


def test_operations_count_transforms_and_complex_products() -> None:
    problem = Conv2d(2, 4, 16, 16, 6, (1, 1), groups=2)
    geometry = transform_geometry(problem)
    assert geometry.points == (16, 16)
    transform = 2.5 * 256 * 8
    products = 8 * (16 * 9) * 2 * 4 * 3
    assert transform_flops(problem, geometry, prepared=True) == (8 + 12) * transform + products
    plain = transform_flops(problem, geometry, prepared=False)
    assert plain == (8 + 12 + 12) * transform + products


@pytest.mark.parametrize("problem", [Gemm(2, 3, 4), Linear(2, 3, 4)], ids=str)
def test_a_product_is_unsupported_and_not_prepared(problem: Gemm | Linear) -> None:
    reason = Fft().supports(problem)
    assert reason is not None
    assert problem.kind in reason
    with pytest.raises(GemmbenchError, match=problem.kind):
        Fft().prepare(problem, {"threads": 1}, {})


def test_an_option_is_refused_and_the_line_says_what_is_allowed() -> None:
    with pytest.raises(GemmbenchError, match=r"'fft:cufft'.*one of mkl, fftw"):
        load_backend(locate_backend("fft:cufft"))


@pytest.mark.parametrize(("option", "module"), [("mkl", "mkl_fft"), ("fftw", "pyfftw")])
def test_what_is_missing_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, option: str, module: str
) -> None:
    libraries = "gemmbench_backends.fft.libraries"
    monkeypatch.setattr(f"{libraries}.find_spec", lambda _name: None)
    reason = Fft(option).unavailable()
    assert reason == (
        f"{module} is not installed. Install it with: pip install 'gemmbench[fft-{option}]'"
    )


def test_a_library_that_does_not_load_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_name: str) -> None:
        raise ImportError("libmkl_rt.so: cannot open\nshared object file")

    libraries = "gemmbench_backends.fft.libraries"
    monkeypatch.setattr(f"{libraries}.find_spec", lambda _name: True)
    monkeypatch.setattr(f"{libraries}.import_module", broken)
    reason = Fft("mkl").unavailable()
    assert reason is not None
    assert "does not load: libmkl_rt.so: cannot open shared object file. Reinstall" in reason


def test_the_library_is_scipys_pocketfft() -> None:
    import scipy

    assert Fft().library() == f"scipy {scipy.__version__} pocketfft"
