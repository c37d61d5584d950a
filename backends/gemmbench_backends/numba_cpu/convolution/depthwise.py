"""Depthwise convolutions: one channel a group, planes as they lie in memory, lanes are pixels.

              x, a row of the plane                 a block of `rows` rows of output
      … │ x x x x x x x x │ …   three loads, one    │ o o o o o o o o │   registers, one for
        └─ shifted by a tap ─┘  for each tap along  │ o o o o o o o o │   each row of the block
                                                    └ every input row feeds all it can reach

Nothing is padded: what lies beside the image is left out by masks, rows above and below it are read
from a row of zeros. Each input row of a block is loaded once, so a layer is as fast as its memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gemmbench.backend import Operands
from gemmbench.machine import Machine
from gemmbench.problem import Conv2d
from gemmbench.space import Axis, Config, SearchSpace
from gemmbench_backends.numba_cpu.compile import kernel_address
from gemmbench_backends.numba_cpu.convolution.block import Convolution, keep
from gemmbench_backends.numba_cpu.convolution.plan import DEPTHWISE
from gemmbench_backends.numba_cpu.emit import Function, Values, Vector
from gemmbench_backends.numba_cpu.model import registers
from gemmbench_backends.numba_cpu.product import Plan, split
from gemmbench_backends.numba_cpu.threads import runner

ROWS = (1, 2, 3, 4, 6, 8)  # of output in a block
MOST_TAPS = 121  # 11 × 11: the code grows with them
STRIDES = (1, 2)


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
    """How many rows of output are computed at a time; by default as registers allow."""
    del choice
    count = registers(machine, problem.dtype).count
    rows, taps = problem.output_size()[0], problem.kernel[0] * problem.kernel[1]
    sizes = tuple(sorted({min(rows, size) for size in ROWS}))
    # The taps stay in registers, if they can, and leave two for pixels on their way.
    room = count - taps - 2
    fit = [size for size in sizes if size <= max(room, count // 4)]
    return SearchSpace((Axis("rows", sizes),), {"rows": max(fit)})


def prepare_depthwise(
    problem: Conv2d, config: Config, operands: Operands, vector: Vector
) -> Convolution:
    """The convolution ready to run; "prepared" weights are a copy, there is nothing to prepare."""
    from gemmbench_backends.numba_cpu.convolution import driver

    plan, size = Plan(np.zeros(1, dtype=DEPTHWISE)), vector.itemsize
    kernel = DepthwiseKernel(problem, int(config["rows"]), vector)
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


@dataclass(frozen=True, slots=True)
class DepthwiseKernel:
    """One variant: a shape, how many rows of output at a time, and registers."""

    problem: Conv2d
    rows: int
    vector: Vector

    def name(self) -> str:
        """A symbol that no other variant has."""
        p = self.problem
        parts = [p.height, p.width, *p.kernel, *p.stride, *p.pad, *p.dilation, self.rows]
        return f"depthwise_{'_'.join(map(str, parts))}_{self.vector.suffix}"


def depthwise_ir(kernel: DepthwiseKernel) -> str:
    """The module of `void name(x, w, out, zeros, count)`: `count` planes, one after the other.

    `zeros` is the first element of a row of them, with room on both sides.
    """
    parameters = [("ptr noalias", "x"), ("ptr noalias", "w"), ("ptr noalias", "out"),
                  ("ptr noalias", "zeros"), ("i64", "count")]  # fmt: skip
    f, problem = Function(kernel.name(), parameters, kernel.vector), kernel.problem
    size, (p, q) = kernel.vector.itemsize, problem.output_size()
    taps = problem.kernel[0] * problem.kernel[1]

    def plane(state: Values) -> Values:
        x, w, out = (state[key][1] for key in ("x", "w", "out"))
        splats = [f.splat(f.load_scalar(f.at(w, i * size))) for i in range(taps)]
        height, taller, blocks = split(p, kernel.rows)
        rows: Values = {"y": ("i64", "0"), "out": ("ptr", out)}
        for count, tall in ((taller, height + 1), (blocks - taller, height)):
            if count:
                rows = f.loop(str(count), rows, _RowBlock(f, kernel, x, splats, tall).emit)
        return {
            "x": ("ptr", f.at(x, problem.height * problem.width * size)),
            "w": ("ptr", f.at(w, taps * size)),
            "out": ("ptr", f.at(out, p * q * size)),
        }

    start: Values = {"x": ("ptr", "%x"), "w": ("ptr", "%w"), "out": ("ptr", "%out")}
    f.loop("%count", start, plane)
    return f.text()


@dataclass(frozen=True, slots=True)
class _RowBlock:
    """`rows` rows of output, from one edge of the image to the other."""

    f: Function
    kernel: DepthwiseKernel
    x: str
    splats: Sequence[str]
    rows: int

    def emit(self, state: Values) -> Values:
        """The first row after them, and where it is to be written."""
        f, problem, vector = self.f, self.kernel.problem, self.kernel.vector
        y, out = state["y"][1], state["out"][1]
        sources = self._sources(y)
        q = problem.output_size()[1]
        blocks = -(-q // vector.lanes)
        inner = [b for b in range(blocks) if self._whole(b)]
        for block in (b for b in range(blocks) if b not in inner):
            self._columns(sources, out, block, "0")
        if inner:

            def middle(at: Values) -> Values:
                offset = at["at"][1]
                self._columns(sources, out, inner[0], offset)
                return {"at": ("i64", f.new(f"add i64 {offset}, {vector.nbytes}"))}

            f.loop(str(len(inner)), {"at": ("i64", "0")}, middle)
        return {
            "y": ("i64", f.new(f"add i64 {y}, {self.rows}")),
            "out": ("ptr", f.at(out, self.rows * q * vector.itemsize)),
        }

    def _sources(self, y: str) -> dict[int, str]:
        """The input row at each distance from the first one of the block that a tap reads."""
        f, problem = self.f, self.kernel.problem
        row_bytes = problem.width * self.kernel.vector.itemsize
        top = f.new(f"sub i64 {f.new(f'mul i64 {y}, {problem.stride[0]}')}, {problem.pad[0]}")
        found = {}
        for distance in sorted({d for row in self._reach() for d in row}):
            row = f.new(f"add i64 {top}, {distance}")
            inside = f.new(f"icmp ult i64 {row}, {problem.height}")
            there = f.at(self.x, f.new(f"mul i64 {row}, {row_bytes}"))
            found[distance] = f.new(f"select i1 {inside}, ptr {there}, ptr %zeros")
        return found

    def _reach(self) -> list[list[int]]:
        """For each row of output, the distance of the input row of each tap."""
        problem = self.kernel.problem
        taps = [r * problem.dilation[0] for r in range(problem.kernel[0])]
        return [[i * problem.stride[0] + tap for tap in taps] for i in range(self.rows)]

    def _first(self, block: int) -> int:
        """The first column of output of a block; the last one overlaps, if it can, and is whole."""
        lanes, q = self.kernel.vector.lanes, self.kernel.problem.output_size()[1]
        return min(block * lanes, max(0, q - lanes))

    def _start(self, block: int, tap: int) -> int:
        """The column that the first lane of a block reads for a tap along the row."""
        problem = self.kernel.problem
        first = self._first(block) * problem.stride[1]
        return first - problem.pad[1] + tap * problem.dilation[1]

    def _whole(self, block: int) -> bool:
        """Whether a block is one of those side by side that read inside of the image only."""
        problem, lanes = self.kernel.problem, self.kernel.vector.lanes
        last = self._start(block, problem.kernel[1] - 1) + problem.stride[1] * lanes
        full = self._first(block) == block * lanes and lanes <= problem.output_size()[1]
        return full and self._start(block, 0) >= 0 and last <= problem.width

    def _columns(self, sources: dict[int, str], out: str, block: int, offset: str) -> None:
        """One register of every row; `offset` is in bytes of output, from `block` on."""
        f, problem, vector = self.f, self.kernel.problem, self.kernel.vector
        s, q = problem.kernel[1], problem.output_size()[1]
        moved = offset if problem.stride[1] == 1 else f.new(f"mul i64 {offset}, 2")
        totals: list[str | None] = [None] * self.rows
        for distance, source in sources.items():
            uses = [
                (i, r) for i, row in enumerate(self._reach())
                for r, reach in enumerate(row) if reach == distance
            ]  # fmt: skip
            for tap in range(s):
                pixels = self._pixels(f.at(source, moved), block, tap)
                for i, r in uses:
                    totals[i] = self._add(totals[i], pixels, self.splats[r * s + tap])
        left = q - self._first(block)
        mask = (
            None if left >= vector.lanes else _mask([lane < left for lane in range(vector.lanes)])
        )
        for i, total in enumerate(totals):
            where = f.at(out, (i * q + self._first(block)) * vector.itemsize)
            f.store(total or "zeroinitializer", f.at(where, offset), mask)

    def _add(self, total: str | None, pixels: str, tap: str) -> str:
        if total is None:
            return self.f.new(f"fmul {self.f.vector.type} {pixels}, {tap}")
        return self.f.fma(pixels, tap, total)

    def _pixels(self, source: str, block: int, tap: int) -> str:
        """The pixels that the lanes of a block read for a tap along the row."""
        f, vector, start = self.f, self.kernel.vector, self._start(block, tap)
        if self.kernel.problem.stride[1] == 1:
            return self._load(source, start, block, 1)
        low = self._load(source, start, block, 2)
        high = self._load(source, start + vector.lanes, block, 2)
        return f.shuffle(low, high, range(0, 2 * vector.lanes, 2))

    def _load(self, source: str, start: int, block: int, stride: int) -> str:
        """Adjacent pixels from column `start` on, 0 beside the image."""
        f, vector, width = self.f, self.kernel.vector, self.kernel.problem.width
        where = f.at(source, start * vector.itemsize)
        left = min(vector.lanes, self.kernel.problem.output_size()[1] - self._first(block))
        # Past the last output of a row there is nothing to read: it may end the plane.
        stop = min(width, self._start(block, 0) + (left - 1) * stride + self._span() + 1)
        inside = [0 <= start + lane < stop for lane in range(vector.lanes)]
        if all(inside):
            return f.load(where)
        return f.load(where, _mask(inside)) if any(inside) else "zeroinitializer"

    def _span(self) -> int:
        """Columns from the first tap to the last."""
        return (self.kernel.problem.kernel[1] - 1) * self.kernel.problem.dilation[1]


def _mask(lanes: Sequence[bool]) -> str:
    return f"<{', '.join(f'i1 {str(lane).lower()}' for lane in lanes)}>"
