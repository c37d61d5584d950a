"""Depthwise convolutions: what is prefetched, what is written past the caches, and when."""

import dataclasses
import re

import numpy as np
import pytest

from gemmbench.operands import fill_operands
from gemmbench.problem import Conv2d
from gemmbench_backends.numba_cpu.convolution.depthwise import depthwise_space
from gemmbench_backends.numba_cpu.convolution.depthwisekernel import DepthwiseKernel, depthwise_ir
from gemmbench_backends.numba_cpu.emit import Vector

from .reference import BACKEND, HERE, answer
from .test_kernels import AVX2, AVX512, NEON, TARGETS, assemble

CHOICE = {"algorithm": "depthwise", "weights": "prepared", "threads": 1}
PLANES = Conv2d(1, 6, 16, 32, 6, (3, 3), pad=(1, 1), groups=6)
BYTES = 4 * PLANES.filters * PLANES.height * PLANES.width  # of its output
STREAMED = {AVX512: r"vmovntps\s+%zmm", AVX2: r"vmovntps\s+%ymm", NEON: r"\bstnp\s+\w"}
ASKED = {AVX512: r"prefetcht0", AVX2: r"prefetcht0", NEON: r"prfm\s+pldl1keep"}


def code(target, problem=PLANES, rows=2, **ways):
    kernel = DepthwiseKernel(problem, rows, Vector("float32", target[3] // 4), **ways)
    return assemble(depthwise_ir(kernel), target)


@TARGETS
def test_only_a_kernel_that_is_told_to_writes_past_the_caches(target):
    written = len(re.findall(STREAMED[target], code(target, streams=True)))
    assert written >= 2  # one register of each of two rows, at least
    assert not re.search(STREAMED[target], code(target))


@TARGETS
@pytest.mark.parametrize("stride", [1, 2])
def test_a_kernel_asks_for_the_cache_lines_that_come_next(target, stride):
    problem = dataclasses.replace(PLANES, stride=(stride, stride))
    asks = re.findall(ASKED[target], code(target, problem, ahead_bytes=2048))
    # Two rows of registers of output use up that many lines of the image.
    assert len(asks) >= max(1, 2 * stride * stride * target[3] // 64)
    assert not re.search(ASKED[target], code(target, problem))


def test_picking_every_other_pixel_takes_one_shuffle_a_tap_on_avx2():
    problem = dataclasses.replace(PLANES, stride=(2, 2))
    text = code(AVX2, problem, rows=1)
    registers = -(-problem.output_size()[1] // 8)  # of a row, none of them in a loop
    assert len(re.findall(r"\bvshufps\b", text)) >= 9 * registers
    assert len(re.findall(r"\bvperm(?:pd|q|ps)\b", text)) == registers  # put in order once


def machine(l3_bytes):
    return dataclasses.replace(HERE, features=("avx2", "fma"), l3_bytes=l3_bytes)


def test_by_default_only_what_the_last_cache_cannot_hold_is_written_past_it():
    moved = 2 * 4 * PLANES.channels * PLANES.height * PLANES.width
    small = depthwise_space(PLANES, dataclasses.replace(machine(2 * moved), l2_bytes=1024), CHOICE)
    large = depthwise_space(
        PLANES, dataclasses.replace(machine(2 * moved - 1), l2_bytes=1024), CHOICE
    )
    assert (small.default["stores"], large.default["stores"]) == ("cached", "streaming")
    assert small.default["rows"] > large.default["rows"] == 2


def test_rows_that_are_no_whole_registers_are_never_written_past_the_caches():
    ragged = dataclasses.replace(PLANES, width=31)
    space = depthwise_space(ragged, machine(1024), CHOICE)
    assert next(axis.values for axis in space.axes if axis.name == "stores") == ("cached",)
    assert space.default["stores"] == "cached"


@pytest.mark.parametrize("shift", [0, 4])
@pytest.mark.parametrize("threads", [1, 2])
def test_an_output_that_is_not_aligned_is_written_right_all_the_same(shift, threads):
    out = np.zeros(BYTES + 128, dtype=np.uint8)
    start = -out.ctypes.data % 64 + shift
    shape = (PLANES.batch, PLANES.filters, *PLANES.output_size())
    target = out[start : start + BYTES].view("float32").reshape(shape)
    operands = {**fill_operands(PLANES, "integers", 1), "out": target}
    config = {"rows": 2, "ahead": 2048, "stores": "streaming", **CHOICE, "threads": threads}
    BACKEND.prepare(PLANES, config, operands).run()
    np.testing.assert_array_equal(target, answer(PLANES, operands))
    assert not out[:start].any()
    assert not out[start + BYTES :].any()
