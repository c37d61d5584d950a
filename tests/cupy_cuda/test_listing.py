"""What `gemmbench tune --dry-run --arch` prints, on a machine without a GPU."""

import pytest
from click.testing import CliRunner

from gemmbench.cli import cli
from gemmbench.errors import GemmbenchError
from gemmbench.problem import Conv2d, Gemm
from gemmbench_backends.cupy_cuda import CupyCuda
from gemmbench_backends.cupy_cuda.compile import compile_all
from gemmbench_backends.cupy_cuda.listing import list_configs
from gemmbench_backends.cupy_cuda.space import product_space
from gemmbench_backends.cupy_cuda.tiles import layout


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory):
    """A cache of what was compiled that begins empty."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.mark.cuda
def test_every_config_is_listed_with_what_the_compiler_says_best_first(tmp_path):
    suite = tmp_path / "tiny.yaml"
    suite.write_text(
        "suite: tiny\ndescription: d\nsource: s\nlayers:\n  - {name: one, gemm: 3x5x1}\n"
    )
    arguments = ["tune", str(suite), "--backend", "cupy", "--dry-run", "--arch", "sm_75"]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    title, header, *rows = [line for line in result.stdout.splitlines() if line]
    assert title.startswith("tiny one: cupy gemm on sm_75: ")
    assert header.split()[:3] == ["bm", "bn", "bk"]
    assert all(word in header for word in ("registers", "spills", "shared", "occupancy", "share"))
    assert len(rows) == len(list_configs(Gemm(3, 5, 1), "sm_75", 1))
    shares = [float(row.split()[-1]) for row in rows]
    assert shares == sorted(shares, reverse=True)


@pytest.mark.cuda
def test_what_was_compiled_is_not_compiled_again(monkeypatch):
    first = list_configs(Gemm(3, 5, 1), "sm_75", 1)
    monkeypatch.setattr(
        "gemmbench_backends.cupy_cuda.compile.ProcessPoolExecutor",
        lambda *args: pytest.fail("compiled again"),
    )
    assert list_configs(Gemm(3, 5, 1), "sm_75", 1) == first


@pytest.mark.cuda_whole
@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
@pytest.mark.parametrize(
    "problem", [Gemm(256, 1152, 192), Conv2d(2, 96, 27, 27, 256, (5, 5), pad=(2, 2), groups=2)]
)
def test_the_whole_space_compiles_with_the_shared_memory_of_the_formula(problem, arch):
    rows = list_configs(problem, arch, 2)
    spilling = [row for row in rows if row["spill_bytes"]]
    assert len(rows) > 300
    assert len(spilling) < len(rows) / 10
    assert rows[: len(rows) - len(spilling)] == [row for row in rows if not row["spill_bytes"]]


@pytest.mark.cuda_whole
def test_a_sample_of_the_whole_space_is_right_bit_for_bit():
    import random

    from gemmbench_backends.cupy_cuda.architecture import ARCHITECTURES
    from gemmbench_backends.cupy_cuda.tiles import tiles_of

    from .products import run_shapes

    product = layout(Gemm(4096, 4096, 4096), "gemm")
    configs = list(product_space(product, ARCHITECTURES["sm_90"]))
    for config in random.Random(0).sample(configs, 60):
        run_shapes(tiles_of(config))


def test_an_architecture_needs_a_dry_run_and_a_backend():
    for arguments in (["--dry-run"], ["--backend", "cupy"]):
        result = CliRunner().invoke(cli, ["tune", "warden", "--arch", "sm_90", *arguments])
        assert result.exit_code == 2
        assert "--arch: got 'sm_90'" in result.output


def test_a_backend_without_a_compiler_says_so():
    arguments = ["tune", "warden", "--backend", "fft", "--dry-run", "--arch", "sm_75"]
    result = CliRunner().invoke(cli, arguments)
    assert isinstance(result.exception, GemmbenchError)
    assert "compiles for no --arch" in str(result.exception)


@pytest.mark.cuda
def test_an_unknown_architecture_is_refused():
    with pytest.raises(GemmbenchError, match="Did you mean 'sm_90'"):
        list_configs(Gemm(3, 5, 1), "sm_91", 1)


@pytest.mark.cuda
def test_a_kernel_that_does_not_compile_is_an_error_in_one_line():
    with pytest.raises(GemmbenchError, match="does not compile for sm_90: ") as raised:
        compile_all([(False, {"BM": 1})], "sm_90", 1)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("option", ["cublas", "cudnn", "cufft"])
def test_a_library_lists_no_kernels_of_gemmbenchs_own(option):
    with pytest.raises(GemmbenchError, match=f"cupy:{option} is a library .* --backend cupy"):
        CupyCuda(option).listing(Gemm(3, 5, 1), "sm_75", 1)
