"""Formulas and rules that need neither a compiler nor a device."""

import ctypes
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from gemmbench.errors import GemmbenchError
from gemmbench.problem import Conv2d, Gemm, Linear, Problem
from gemmbench_backends.cupy_cuda.architecture import (
    ARCHITECTURES,
    architecture,
    occupancy,
    resident_blocks,
)
from gemmbench_backends.cupy_cuda.compile import read_log
from gemmbench_backends.cupy_cuda.space import (
    BLOCK_SIDES,
    DEPTHS,
    SPLITS,
    product_space,
    splits,
)
from gemmbench_backends.cupy_cuda.tiles import REACH, Tiles, layout, tiles_of

TOOLKITS = sorted(Path("/usr/local").glob("cuda*/include/cuda_occupancy.h"))
PROBLEMS: tuple[tuple[Problem, str], ...] = (
    (Gemm(256, 1152, 192), "gemm"), (Gemm(1, 1, 1), "gemm"), (Gemm(67, 301, 45), "gemm"),
    (Gemm(4096, 4096, 4096), "gemm"), (Gemm(128, 32768, 128), "gemm"),
    (Linear(10, 9216, 4096), "gemm"), (Linear(1, 19, 1), "gemm"),
    (Conv2d(10, 96, 27, 27, 256, (5, 5), pad=(2, 2), groups=2), "im2col"),
    (Conv2d(10, 96, 27, 27, 256, (5, 5), pad=(2, 2), groups=2), "implicit-gemm"),
)  # fmt: skip


@pytest.mark.parametrize("arch", ARCHITECTURES.values(), ids=lambda arch: arch.name)
@pytest.mark.parametrize(("problem", "algorithm"), PROBLEMS, ids=str)
def test_every_architecture_has_a_default_that_keeps_the_rules(problem, algorithm, arch):
    space = product_space(layout(problem, algorithm), arch)
    assert space.default in space
    assert space.size() >= 5


def test_every_config_keeps_threads_warps_memory_and_vectors():
    arch = ARCHITECTURES["sm_90"]
    product = layout(Gemm(256, 1152, 192), "gemm")
    for config in product_space(product, arch):
        tiles = tiles_of(config)
        assert 64 <= tiles.threads <= 1024
        assert tiles.threads % 32 == 0
        assert tiles.wm * tiles.wn == 32 * tiles.tm * tiles.tn
        assert tiles.shared_bytes <= arch.block_shared_bytes
        assert tiles.bm * tiles.bk % (tiles.vec * tiles.threads) == 0
        assert tiles.bn * tiles.bk % (tiles.vec * tiles.threads) == 0
        assert (tiles.stages >= 2) if tiles.copy == "async" else (tiles.stages <= 2)


def test_without_cp_async_nothing_is_copied_that_way():
    product = layout(Gemm(256, 1152, 192), "gemm")
    configs = list(product_space(product, ARCHITECTURES["sm_75"]))
    assert {config["copy"] for config in configs} == {"registers"}


def test_vectors_are_as_wide_as_rows_allow():
    assert layout(Gemm(8, 12, 20), "gemm").widest_a == 4
    assert layout(Gemm(8, 6, 20), "gemm").widest_a == 2
    assert layout(Gemm(8, 12, 7), "gemm").widest_b == 1
    assert layout(Linear(8, 12, 7), "gemm").widest_b == 4, "contiguous along k"
    conv = Conv2d(1, 4, 8, 8, 8, (1, 1))
    assert layout(conv, "implicit-gemm").widest_b == 1, "gathered"
    assert layout(conv, "implicit-gemm").widest_c == 4, "64 pixels an image"


def test_a_large_product_begins_with_large_tiles_and_a_deep_one_cuts_k():
    arch = ARCHITECTURES["sm_90"]
    large = product_space(layout(Gemm(4096, 4096, 4096), "gemm"), arch).default
    assert (large["bm"], large["bn"], large["split"]) == (128, 128, 1)
    deep = product_space(layout(Gemm(128, 32768, 128), "gemm"), arch).default
    assert int(deep["split"]) > 1


def test_k_is_not_cut_where_blocks_fill_the_device():
    assert splits(layout(Gemm(4096, 4096, 4096), "gemm"), ARCHITECTURES["sm_90"]) == (1,)
    assert max(splits(layout(Gemm(128, 32768, 128), "gemm"), ARCHITECTURES["sm_90"])) == 16


def test_shared_bytes_count_stages_both_operands_and_padding():
    tiles = Tiles(128, 64, 16, 8, 8, 64, 32, 3, "async", 4, 4, 1)
    assert tiles.shared_bytes == 4 * 3 * 16 * (128 + 4 + 64 + 4)


@pytest.mark.parametrize(
    ("arch", "threads", "registers", "shared", "blocks"),
    [
        ("sm_90", 256, 128, 0, 2),  # 65,536 / (128 · 256)
        ("sm_90", 256, 129, 0, 1),  # 136 after rounding up to portions of 8 a thread
        ("sm_90", 256, 32, 0, 8),  # 2,048 threads
        ("sm_90", 32, 16, 0, 32),  # blocks
        ("sm_80", 128, 32, 48 * 1024, 3),  # 164 KiB / (48 + 1) KiB
        ("sm_86", 128, 32, 48 * 1024, 2),
        ("sm_90", 128, 32, 228 * 1024, 0),  # more than a block may have
        ("sm_90", 1024, 65, 0, 0),  # 72 · 1,024 registers
    ],
)
def test_occupancy_by_hand(arch, threads, registers, shared, blocks):
    limits = ARCHITECTURES[arch]
    assert resident_blocks(limits, threads, registers, shared) == blocks
    assert occupancy(limits, threads, registers, shared) == blocks * threads / limits.threads


SHIM = """
#include <cuda_occupancy.h>
extern "C" int blocks(int major, int minor, int threads, int registers, int shared, int sm_threads,
                      int sm_shared, int optin, int reserved) {
    cudaOccDeviceProp device;
    device.computeMajor = major; device.computeMinor = minor;
    device.maxThreadsPerBlock = 1024; device.maxThreadsPerMultiprocessor = sm_threads;
    device.regsPerBlock = 65536; device.regsPerMultiprocessor = 65536; device.warpSize = 32;
    device.sharedMemPerBlock = 49152; device.sharedMemPerMultiprocessor = sm_shared;
    device.numSms = 1; device.sharedMemPerBlockOptin = optin;
    device.reservedSharedMemPerBlock = reserved;
    cudaOccFuncAttributes kernel;
    kernel.maxThreadsPerBlock = 1024; kernel.numRegs = registers; kernel.sharedSizeBytes = 0;
    kernel.partitionedGCConfig = PARTITIONED_GC_OFF;
    kernel.shmemLimitConfig = FUNC_SHMEM_LIMIT_OPTIN; kernel.maxDynamicSharedSizeBytes = optin;
    kernel.numBlockBarriers = 1;
    cudaOccDeviceState state;
    state.cacheConfig = CACHE_PREFER_NONE; state.carveoutConfig = SHAREDMEM_CARVEOUT_MAX_SHARED;
    cudaOccResult result;
    if (cudaOccMaxActiveBlocksPerMultiprocessor(&result, &device, &kernel, &state, threads, shared))
        return -1;
    return result.activeBlocksPerMultiprocessor;
}
"""


@pytest.mark.skipif(not TOOLKITS, reason="no CUDA toolkit, whose cuda_occupancy.h is compared with")
@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")
def test_occupancy_equals_nvidias_own_formula(tmp_path):
    (tmp_path / "shim.cpp").write_text(SHIM)
    include, library = TOOLKITS[-1].parent, tmp_path / "shim.so"
    command = ["g++", "-shared", "-fPIC", "-w", f"-I{include}", "shim.cpp", "-o", str(library)]
    subprocess.run(command, cwd=tmp_path, check=True)
    nvidia = ctypes.CDLL(str(library)).blocks
    rng = random.Random(0)
    for name in ("sm_80", "sm_86", "sm_89", "sm_90"):
        arch = ARCHITECTURES[name]
        for _ in range(500):
            threads, registers = 32 * rng.randint(1, 32), rng.randint(16, 255)
            shared = rng.choice((0, rng.randint(0, arch.block_shared_bytes)))
            expected = nvidia(
                int(name[3]), int(name[4]), threads, registers, shared, arch.threads,
                arch.shared_bytes, arch.block_shared_bytes, arch.reserved_shared_bytes,
            )  # fmt: skip
            found = resident_blocks(arch, threads, registers, shared)
            assert found == expected, (name, threads, registers, shared)


def test_what_is_kept_free_of_an_index_covers_the_last_tile_and_empty_shares_of_k():
    assert max(BLOCK_SIDES) <= REACH
    assert (max(SPLITS) + 1) * max(DEPTHS) <= REACH


def test_an_unknown_architecture_suggests_one():
    with pytest.raises(GemmbenchError, match=r"--arch: got 'sm_91'\. Did you mean 'sm_90'\?"):
        architecture("sm_91")


def test_the_compilers_report_is_read_kernel_by_kernel():
    log = (
        "ptxas info    : Compiling entry function 'a' for 'sm_90'\n"
        "ptxas info    : Function properties for a\n"
        "ptxas         .     8 bytes stack frame, 4 bytes spill stores, 12 bytes spill loads\n"
        "ptxas info    : Used 82 registers, used 1 barriers, 17408 bytes smem, 8 bytes cmem[0]\n"
        "ptxas info    : Compiling entry function 'b' for 'sm_90'\n"
        "ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
        "ptxas info    : Used 32 registers, used 0 barriers\n"
    )
    found = read_log(log)
    assert (found["a"].registers, found["a"].shared_bytes) == (82, 17408)
    assert (found["a"].stack_bytes, found["a"].spill_bytes) == (8, 16)
    assert (found["b"].registers, found["b"].shared_bytes, found["b"].spill_bytes) == (32, 0, 0)


def test_a_report_in_another_form_is_an_error_not_a_guess():
    with pytest.raises(GemmbenchError, match="not understood"):
        read_log("ptxas info    : Compiling entry function 'a' for 'sm_90'\nnothing more\n")
