"""Depthwise convolutions: one channel a group, planes as they lie in memory, lanes are pixels.

What no cache can hold is written past the caches: the output is not read before it is written, and
the images may stay.
"""

import numpy as np

from gemmbench.backend import Operands
from gemmbench.machine import Machine
from gemmbench.problem import ITEMSIZE, Conv2d
from gemmbench.space import Axis, Config, SearchSpace, Value
from gemmbench_backends.numba_cpu.compile import kernel_address
from gemmbench_backends.numba_cpu.convolution.block import Convolution, keep
from gemmbench_backends.numba_cpu.convolution.depthwisekernel import DepthwiseKernel, depthwise_ir
from gemmbench_backends.numba_cpu.convolution.model import caches
from gemmbench_backends.numba_cpu.convolution.plan import DEPTHWISE
from gemmbench_backends.numba_cpu.emit import Vector
from gemmbench_backends.numba_cpu.model import registers
from gemmbench_backends.numba_cpu.product import Plan
from gemmbench_backends.numba_cpu.threads import runner

ROWS = (1, 2, 3, 4, 6, 8)  # of output in a block
MOST_TAPS = 121  # 11 × 11: the code grows with them
STRIDES = (1, 2)
AHEAD_VALUES = (0, 2048)  # bytes beyond the rows that a block reads itself
STORES = ("cached", "streaming")
MEMORY_ROWS = 2  # of input that a block adds, from memory: few streams come faster than many


def unsupported(problem: Conv2d) -> str | None:
    """Why the depthwise kernel does not apply; None if it does."""
    if problem.channels != problem.groups:
        return f"depthwise takes one channel a group, got {problem.channels // problem.groups}"
    if problem.stride[1] not in STRIDES:
        return f"depthwise takes strides of 1 and 2 along a row, got {problem.stride[1]}"
    if problem.kernel[0] * problem.kernel[1] > MOST_TAPS:
        return f"depthwise takes at most {MOST_TAPS} taps, got {problem.kernel}"
    return None


def depthwise_space(problem: Conv2d, machine: Machine, choice: Config) -> SearchSpace:
    """How many rows of output are computed at a time, what is prefetched, and how it is written.

    By default as many rows as registers allow, but few of what comes from memory because it is more
    than the half of the last cache; that is then written past the caches, if registers are aligned.
    """
    del choice
    regs = registers(machine, problem.dtype)
    rows, taps = problem.output_size()[0], problem.kernel[0] * problem.kernel[1]
    sizes = tuple(sorted({min(rows, size) for size in ROWS}))
    # The taps stay in registers, if they can, and leave two for pixels on their way.
    most = max(regs.count - taps - 2, regs.count // 4)
    stores = STORES if _streamable(problem, regs.vector) else STORES[:1]
    large = _moved_bytes(problem) > caches(machine, 1).l3_bytes / 2
    most = min(most, max(1, MEMORY_ROWS // problem.stride[0])) if large else most
    default: dict[str, Value] = {
        "rows": max(size for size in sizes if size <= max(most, sizes[0])),
        "ahead": AHEAD_VALUES[-1],
        "stores": stores[-1] if large else stores[0],
    }
    axes = (Axis("rows", sizes), Axis("ahead", AHEAD_VALUES), Axis("stores", stores, "categorical"))
    return SearchSpace(axes, default)


def _moved_bytes(problem: Conv2d) -> int:
    """Bytes of the images and of the output."""
    (p, q), pixels = problem.output_size(), problem.height * problem.width
    elements = problem.batch * (problem.channels * pixels + problem.filters * p * q)
    return elements * ITEMSIZE[problem.dtype]


def _streamable(problem: Conv2d, vector: Vector) -> bool:
    """Whether every row of output is a number of whole registers."""
    return problem.output_size()[1] % vector.lanes == 0


def prepare_depthwise(
    problem: Conv2d, config: Config, operands: Operands, vector: Vector
) -> Convolution:
    """The convolution ready to run; "prepared" weights are a copy, there is nothing to prepare."""
    from gemmbench_backends.numba_cpu.convolution import driver

    plan, size = Plan(np.zeros(1, dtype=DEPTHWISE)), vector.itemsize
    aligned = operands["out"].ctypes.data % vector.nbytes == 0 and _streamable(problem, vector)
    kernel = DepthwiseKernel(
        problem, int(config["rows"]), vector, int(config["ahead"]),
        config["stores"] == "streaming" and aligned,
    )  # fmt: skip
    (h, w), (p, q), threads = (
        (problem.height, problem.width), problem.output_size(), int(config["threads"])
    )  # fmt: skip
    weights = operands["w"]
    address = weights.ctypes.data
    if config["weights"] == "prepared":
        address = keep(plan, weights.copy())
    beside = problem.pad[1] + problem.kernel_extent()[1] + 2 * vector.lanes
    zeros = plan.workspace((w + 2 * beside) * size)
    plan.set(
        x=operands["x"].ctypes.data, x_plane=h * w * size, w=address,
        w_filter=problem.kernel[0] * problem.kernel[1] * size, out=operands["out"].ctypes.data,
        out_plane=p * q * size, filters=problem.filters,
        multiplier=problem.filters // problem.groups, planes=problem.batch * problem.filters,
        threads=threads, zeros=zeros + beside * size,
        kernel=kernel_address(kernel.name(), depthwise_ir(kernel)),
    )  # fmt: skip
    run = runner(driver.depthwise, plan.address, threads)
    return Convolution((run,), operands, plan, problem.flops())
