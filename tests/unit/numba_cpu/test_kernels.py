"""The generated code itself: every vector width assembled for its own instruction set."""

import platform
import re
from ctypes import CFUNCTYPE, c_int64

import numpy as np
import pytest

from gemmbench_backends.numba_cpu.columnkernel import column_ir, column_name
from gemmbench_backends.numba_cpu.compile import assembly, host_cpu, kernel_address
from gemmbench_backends.numba_cpu.dotkernel import DotKernel, dotkernel_ir
from gemmbench_backends.numba_cpu.edge import edge_ir, edge_name
from gemmbench_backends.numba_cpu.emit import Vector
from gemmbench_backends.numba_cpu.microkernel import MicroKernel, microkernel_ir
from gemmbench_backends.numba_cpu.movement import gather_ir, pad_ir, transpose_ir
from gemmbench_backends.numba_cpu.rowkernel import RowKernel, rowkernel_ir

AVX512 = ("x86_64-linux-gnu", "skylake-avx512", "+avx512f,+avx512vl,+fma,-prefer-256-bit", 64)
AVX2 = ("x86_64-linux-gnu", "haswell", "+avx2,+fma", 32)
NEON = ("aarch64-linux-gnu", "neoverse-n1", "+neon", 16)
TARGETS = pytest.mark.parametrize("target", [AVX512, AVX2, NEON], ids=["avx512", "avx2", "neon"])
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
BLOCKS = {64: (9, 3), 32: (4, 3), 16: (8, 3)}  # nearly all of 32, 16 and 32 registers
MULTIPLY_ADD = re.compile(r"\b(vfmadd|fmla)")
SPILL = re.compile(r"[xyz]mm\d+.*\(%[re]sp\)|\(%[re]sp\).*[xyz]mm\d+|\bq\d+,.*\[sp")


def assemble(ir: str, target: tuple[str, str, str, int]) -> str:
    triple, cpu, features, _ = target
    try:
        return assembly(ir, triple, cpu, features)
    except RuntimeError as error:
        pytest.skip(f"llvmlite was built without {triple}: {error}")


def loops(text: str) -> list[str]:
    """The bodies of innermost loops: from a label to the branch that goes back to it."""
    bodies = re.findall(r"^(\.L\w+):((?:(?!^\.L).*\n)*?.*\b(?:j|b\.)\w+\s+\1\b)", text, re.M)
    return [body for _, body in bodies]


@TARGETS
@DTYPES
@pytest.mark.parametrize("by_columns", [False, True])
def test_loop_of_a_full_register_block_multiplies_without_spills(target, dtype, by_columns):
    rows, vectors = BLOCKS[target[3]]
    vector = Vector(dtype, target[3] // np.dtype(dtype).itemsize)
    text = assemble(microkernel_ir(MicroKernel(rows, vectors, vector, 2, by_columns)), target)
    bodies = loops(text)
    counts = [len(MULTIPLY_ADD.findall(body)) for body in bodies]
    assert sorted(counts) == [rows * vectors, 2 * rows * vectors]
    assert not [line for body in bodies for line in body.splitlines() if SPILL.search(line)]


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="needs registers of AVX2")
@DTYPES
@pytest.mark.parametrize("beta", [0, 1, -3])
@pytest.mark.parametrize("registers", [0, 1, 2])
@pytest.mark.parametrize("tail", [1, 3])
def test_edge_kernel_writes_the_valid_lanes_and_reads_c_only_if_beta_says_so(
    dtype, beta, registers, tail
):
    vector = Vector(dtype, 32 // np.dtype(dtype).itemsize)  # also where this machine has AVX-512
    call = CFUNCTYPE(None, *[c_int64] * 8)(kernel_address(edge_name(vector), edge_ir(vector)))
    width = registers * vector.lanes + tail
    rng = np.random.default_rng(0)
    block = rng.integers(-3, 4, (5, (registers + 1) * vector.lanes)).astype(dtype)
    c = rng.integers(-3, 4, (5, width + 4)).astype(dtype)
    right = c.copy()
    right[:, :width] = block[:, :width] + beta * c[:, :width]
    if beta == 0:
        c[:, :width] = np.nan
    scale = np.array([7, beta], dtype)
    call(5, registers, tail, block.ctypes.data, block.strides[0], c.ctypes.data, c.strides[0],
         scale.ctypes.data)  # fmt: skip
    np.testing.assert_array_equal(c, right)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="needs registers of AVX2")
@DTYPES
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 7, 12])
@pytest.mark.parametrize("k", [1, 8, 63, 200])
@pytest.mark.parametrize("beta", [0, -3])
def test_column_kernel_adds_every_element_of_every_row_once(dtype, rows, k, beta):
    vector = Vector(dtype, 32 // np.dtype(dtype).itemsize)
    call = CFUNCTYPE(None, *[c_int64] * 8)(kernel_address(column_name(vector), column_ir(vector)))
    rng = np.random.default_rng(0)
    a = rng.integers(-3, 4, (rows, k + 3)).astype(dtype)
    b = rng.integers(-3, 4, k).astype(dtype)
    c = rng.integers(-3, 4, (rows + 1, 2)).astype(dtype)
    right, scale = c.copy(), np.array([2, beta], dtype)
    right[:rows, 0] = 2 * (a[:, :k] @ b) + beta * c[:rows, 0]
    if beta == 0:
        c[:rows, 0] = np.nan
    call(rows, k, a.ctypes.data, a.strides[0], b.ctypes.data, c.ctypes.data, c.strides[0],
         scale.ctypes.data)  # fmt: skip
    np.testing.assert_array_equal(c, right)


@TARGETS
@DTYPES
def test_dot_kernel_multiplies_whole_registers_in_its_loop(target, dtype):
    vector = Vector(dtype, target[3] // np.dtype(dtype).itemsize)
    text = assemble(dotkernel_ir(DotKernel(4, 2, vector, 2)), target)
    assert any(len(MULTIPLY_ADD.findall(body)) == 16 for body in loops(text))


@TARGETS
@DTYPES
def test_row_kernel_keeps_its_factors_in_registers(target, dtype):
    depth = 4 if target[3] == 32 else 12
    vector = Vector(dtype, target[3] // np.dtype(dtype).itemsize)
    bodies = loops(assemble(rowkernel_ir(RowKernel(2, depth, vector)), target))
    assert any(len(MULTIPLY_ADD.findall(body)) == 2 * depth for body in bodies)
    assert not [line for body in bodies for line in body.splitlines() if SPILL.search(line)]


@TARGETS
@DTYPES
def test_every_kind_of_kernel_assembles(target, dtype):
    vector = Vector(dtype, target[3] // np.dtype(dtype).itemsize)
    for ir in (
        microkernel_ir(MicroKernel(3, 2, vector, 4)),
        microkernel_ir(MicroKernel(3, 2, vector, 1, True, stores_panel=True)),
        microkernel_ir(MicroKernel(0, 3, vector, 1, b_tail=True, stores_panel=True)),
        transpose_ir(vector, spills=False),
        transpose_ir(vector, spills=True),
        gather_ir(vector, spills=False),
        gather_ir(vector, spills=True),
        pad_ir(vector),
        edge_ir(vector),
        column_ir(vector),
    ):
        assert "ret" in assemble(ir, target)


def test_variants_have_names_of_their_own():
    vector = Vector("float32", 16)
    kernels = [
        MicroKernel(rows, vectors, vector, unroll, *flags)
        for rows, vectors, unroll in ((1, 2, 1), (2, 1, 1), (2, 1, 2))
        for flags in np.ndindex(2, 2, 2, 2, 2, 2)
        if unroll > 1 or flags[-1]
    ]
    assert len({kernel.name() for kernel in kernels}) == len(kernels)


def test_cache_entry_that_is_damaged_is_rebuilt(tmp_path, monkeypatch):
    from gemmbench_backends.numba_cpu import compile as compiling

    monkeypatch.setenv("GEMMBENCH_CACHE", str(tmp_path))
    compiling._entry_folder.cache_clear()
    ir = "define void @{}() {{ ret void }}"
    try:
        kernel_address("nothing_first", ir.format("nothing_first"))
        (entry,) = tmp_path.rglob("*.o")
        whole = entry.read_bytes()
        entry.write_bytes(whole[:-1])
        monkeypatch.setattr(compiling, "_loaded", {})
        assert kernel_address("nothing_first", ir.format("nothing_first"))
        assert entry.read_bytes() == whole
    finally:
        compiling._entry_folder.cache_clear()


def test_cache_entry_is_read_instead_of_compiling(tmp_path, monkeypatch):
    from gemmbench_backends.numba_cpu import compile as compiling

    monkeypatch.setenv("GEMMBENCH_CACHE", str(tmp_path))
    compiling._entry_folder.cache_clear()
    ir = "define void @nothing_second() { ret void }"
    try:
        kernel_address("nothing_second", ir)
        monkeypatch.setattr(compiling, "_loaded", {})
        monkeypatch.setattr(compiling, "_compile", lambda ir: pytest.fail("compiled again"))
        assert kernel_address("nothing_second", ir)
    finally:
        compiling._entry_folder.cache_clear()


def test_code_is_limited_to_features_that_the_cpu_reports():
    _, features = host_cpu()
    assert "-prefer-256-bit" in features.split(",")


def test_a_kernel_that_asks_ahead_does_so_once_a_trip_and_leaves_the_panel_to_others():
    vector = Vector("float32", 16)
    block = {"rows": 3, "vectors": 2, "vector": vector, "any_k": False}

    def asked(**flags):
        return microkernel_ir(MicroKernel(**block, **flags)).count("call void @llvm.prefetch")

    assert asked() == 0
    assert asked(asks_ahead=True, unroll=4) == 1
    assert asked(stores_panel=True) == 2
    assert asked(stores_panel=True, asks_ahead=True) == 1
