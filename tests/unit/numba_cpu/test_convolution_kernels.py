"""The convolutions' kernels: right on any widths of registers, and good code for all of them."""

import re

import numpy as np
import pytest

from gemmbench.problem import Conv2d
from gemmbench_backends.numba_cpu.convolution.complexkernel import ComplexKernel, complexkernel_ir
from gemmbench_backends.numba_cpu.convolution.layout import (
    Phases,
    PixelBuffer,
    cut_blocks,
    phase_table,
    phases,
)
from gemmbench_backends.numba_cpu.convolution.panelkernel import PanelKernel, panelkernel_ir
from gemmbench_backends.numba_cpu.emit import Vector

from .test_kernels import AVX2, AVX512, NEON, SPILL, assemble, loops

REAL = [(AVX512, 8, 3), (AVX512, 6, 4), (AVX2, 6, 2), (AVX2, 4, 3), (NEON, 8, 3), (NEON, 6, 4)]
COMPLEX = [(AVX512, 6, 2), (AVX2, 5, 1), (AVX2, 2, 2), (NEON, 6, 2)]
MULTIPLY_ADD = re.compile(r"fmadd|fnmadd|fmla|fmls")


def busiest_loop(ir, target):
    """The loop with most multiplications, assembled for `target`."""
    return max(loops(assemble(ir, target)), key=lambda body: len(MULTIPLY_ADD.findall(body)))


def spills(body):
    return [line for line in body.splitlines() if SPILL.search(line)]


@pytest.mark.parametrize(("target", "rows", "vectors"), REAL)
def test_a_full_register_block_multiplies_without_spills(target, rows, vectors):
    kernel = PanelKernel(rows, vectors, Vector("float32", target[3] // 4))
    body = busiest_loop(panelkernel_ir(kernel), target)
    assert len(MULTIPLY_ADD.findall(body)) == rows * vectors
    assert not spills(body)


@pytest.mark.parametrize(("target", "rows", "vectors"), COMPLEX)
def test_a_full_complex_block_multiplies_without_spills(target, rows, vectors):
    kernel = ComplexKernel(rows, vectors, Vector("float32", target[3] // 4))
    body = busiest_loop(complexkernel_ir(kernel), target)
    assert len(MULTIPLY_ADD.findall(body)) == 4 * rows * vectors
    assert not spills(body)


@pytest.mark.parametrize("batch", [1, 3, 10])
@pytest.mark.parametrize("tile_rows", [1, 4, 13])
@pytest.mark.parametrize("rows", [1, 3, 13, 30, 1000])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_blocks_cover_every_row_once(batch, tile_rows, rows, threads):
    cut = cut_blocks(batch, tile_rows, rows, 1, threads)
    assert cut.strips == batch * cut.strips_per_image
    assert (cut.strips_per_image - 1) * cut.strip_rows < tile_rows
    assert cut.strips_per_image * cut.strip_rows >= tile_rows
    assert cut.block_strips == 1 or cut.strips_per_image == 1
    assert (cut.count - 1) * cut.block_strips < cut.strips
    sizes = [
        min(tile_rows, (s % cut.strips_per_image + 1) * cut.strip_rows)
        - s % cut.strips_per_image * cut.strip_rows
        for s in range(cut.strips)
    ]
    assert sum(sizes) == batch * tile_rows
    assert set(sizes) == cut.rows(tile_rows)
    blocks = {sum(sizes[s : s + cut.block_strips]) for s in range(0, cut.strips, cut.block_strips)}
    assert blocks == cut.block_rows(tile_rows)
    assert max(blocks) <= cut.most_rows


def test_two_threads_get_the_same_number_of_blocks_where_that_is_possible():
    assert cut_blocks(10, 4, 24, 1, 2).count % 2 == 0
    assert cut_blocks(1, 56, 20, 1, 2).count % 2 == 0
    assert cut_blocks(1, 1, 20, 1, 2).count == 1


def test_phases_put_every_pixel_that_is_read_in_a_place_of_its_own():
    problem = Conv2d(1, 3, 11, 13, 4, (5, 3), (2, 3), (1, 2))
    split_up = phases(problem)
    assert split_up.taps == (3, 1)
    buffer = PixelBuffer(6, 6, len(split_up.used) * 3 * 4)
    table = phase_table(problem, split_up, buffer, 11, 4, 2)
    read = table[table < buffer.nbytes]
    assert len(set(read)) == len(read) == 11 * 13
    assert set(read % 12) == {0}


def test_pixels_that_no_tap_reads_go_behind_the_buffer():
    problem = Conv2d(1, 2, 8, 8, 4, (1, 1), (2, 2))
    buffer = PixelBuffer(4, 4, 8)
    table = phase_table(problem, phases(problem), buffer, 8, 4, 0).reshape(8, 8)
    assert (table[::2, ::2].ravel() == np.arange(16) * 8).all()
    assert (table[1::2] == buffer.nbytes).all()
    assert (table[:, 1::2] == buffer.nbytes).all()


def test_without_a_stride_the_only_phase_is_the_image():
    assert phases(Conv2d(1, 2, 8, 8, 4, (3, 3))) == Phases((1, 1), ((0, 0),), (3, 3))
