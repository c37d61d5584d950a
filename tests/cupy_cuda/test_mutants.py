"""The test of the tests: every planted defect is found by the shapes of the smoke set."""

import pytest

from gemmbench_backends.cupy_cuda.compile import gemm_source, source

from . import test_kernels
from .mutants import IMAGE_MUTANTS, MUTANTS, REFUSED
from .products import run_shapes
from .simulator import PtxError
from .stand_in import CompileException
from .test_kernels import CONVOLUTIONS, SMOKE, run_convolution

pytestmark = pytest.mark.cuda
FOUND = (PtxError, AssertionError)  # what does not compile or is not launched would find nothing


@pytest.mark.parametrize("defect", MUTANTS)
def test_a_planted_defect_is_found(defect: str) -> None:
    tiles, text, replacement = MUTANTS[defect]
    code = gemm_source(False)
    assert code.count(text) == 1, "the kernel no longer reads like that: plant it anew"
    with pytest.raises(FOUND):
        run_shapes(tiles, code=code.replace(text, replacement))


@pytest.mark.parametrize("defect", REFUSED)
def test_a_defect_that_the_compiler_sees_is_refused(defect: str) -> None:
    tiles, text, replacement = REFUSED[defect]
    code = gemm_source(False)
    assert code.count(text) == 1, "the kernel no longer reads like that: plant it anew"
    with pytest.raises(CompileException):
        run_shapes(tiles, code=code.replace(text, replacement))


@pytest.mark.parametrize("tiles", {tiles for tiles, _, _ in MUTANTS.values()}, ids=str)
def test_without_a_defect_the_same_tiles_pass(tiles: test_kernels.Tiles) -> None:
    run_shapes(tiles)


@pytest.mark.parametrize("defect", IMAGE_MUTANTS)
def test_a_defect_in_the_lookup_of_pixels_is_found(
    defect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, replacement = IMAGE_MUTANTS[defect]
    image = source("image")
    assert image.count(text) == 1, "the kernel no longer reads like that: plant it anew"
    code = image.replace(text, replacement) + source("gemm")
    monkeypatch.setattr(test_kernels, "gemm_source", lambda implicit: code)
    with pytest.raises(FOUND):
        run_convolutions()


def run_convolutions() -> None:
    for problem in CONVOLUTIONS.values():
        run_convolution(SMOKE[2], problem)
