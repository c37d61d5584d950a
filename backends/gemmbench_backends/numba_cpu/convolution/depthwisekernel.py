"""The depthwise convolutions' kernel as LLVM IR: planes as they lie in memory, lanes are pixels.

              x, a row of the plane                 a block of `rows` rows of output
      … │ x x x x x x x x │ …   three loads, one    │ o o o o o o o o │   registers, one for
        └─ shifted by a tap ─┘  for each tap along  │ o o o o o o o o │   each row of the block
                                                    └ every input row feeds all it can reach

Nothing is padded: what lies beside the image is left out by masks, rows above and below it are read
from a row of zeros. Each input row of a block is loaded once, so a layer is as fast as its memory,
if that is asked in time: a block reads a few short rows at once, which no processor foresees,
so the pixels that come after it are prefetched in the order in which they lie.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gemmbench.problem import Conv2d
from gemmbench_backends.numba_cpu.emit import Function, Values, Vector
from gemmbench_backends.numba_cpu.plan import LINE_BYTES
from gemmbench_backends.numba_cpu.product import split


@dataclass(frozen=True, slots=True)
class DepthwiseKernel:
    """One variant: a shape, how many rows of output at a time, and how they come and go."""

    problem: Conv2d
    rows: int
    vector: Vector
    ahead_bytes: int = 0  # how far ahead of the block pixels are asked for; 0: they are not
    streams: bool = False  # writes past the caches

    def name(self) -> str:
        """A symbol that no other variant has."""
        p = self.problem
        parts = [p.height, p.width, *p.kernel, *p.stride, *p.pad, *p.dilation, self.rows]
        flags = f"ahead{self.ahead_bytes}{'_streams' if self.streams else ''}"
        return f"depthwise_{'_'.join(map(str, parts))}_{self.vector.suffix}_{flags}"

    @property
    def halves(self) -> bool:
        """Whether every other pixel is picked within halves of registers and put in order at last:
        AVX2's only shuffles of two registers do not cross halves, and a tap would take two.
        """
        return self.problem.stride[1] == 2 and self.vector.nbytes == 32

    @property
    def picks(self) -> list[int]:
        """Which lanes of two registers of adjacent pixels are every other pixel, as they come."""
        lanes, half = self.vector.lanes, self.vector.lanes // 2
        if not self.halves:
            return list(range(0, 2 * lanes, 2))
        firsts = [side + low for low in (0, half) for side in (0, lanes)]
        return [first + i for first in firsts for i in range(0, half, 2)]


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
    if kernel.streams:
        f.fence()
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
        coming = self._coming(y) if self.kernel.ahead_bytes else None
        q = problem.output_size()[1]
        blocks = -(-q // vector.lanes)
        inner = [b for b in range(blocks) if self._whole(b)]
        for block in (b for b in range(blocks) if b not in inner):
            self._columns(sources, out, block, "0", coming)
        if inner:

            def middle(at: Values) -> Values:
                offset = at["at"][1]
                self._columns(sources, out, inner[0], offset, coming)
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

    def _coming(self, y: str) -> str:
        """Pixels ahead of those that the block whose first row of output is `y` reads itself."""
        f, problem = self.f, self.kernel.problem
        row_bytes = problem.width * self.kernel.vector.itemsize
        down = problem.stride[0] * row_bytes
        begins = f.at(self.x, f.new(f"mul i64 {y}, {down}"))
        extent = (self.rows - 1) * down + problem.kernel_extent()[0] * row_bytes
        return f.at(begins, extent + self.kernel.ahead_bytes)

    def _ask(self, coming: str, block: int, offset: str) -> None:
        """Prefetch as many pixels as one register of every row uses up."""
        f, stride, vector = self.f, self.kernel.problem.stride, self.kernel.vector
        rate = self.rows * stride[0] * stride[1]  # bytes of input for each of a row of output
        moved = offset if rate == 1 else f.new(f"mul i64 {offset}, {rate}")
        where = f.at(f.at(coming, block * vector.nbytes * rate), moved)
        for line in range(0, vector.nbytes * rate, LINE_BYTES):
            f.prefetch(f.at(where, line))

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

    def _columns(
        self, sources: dict[int, str], out: str, block: int, offset: str, coming: str | None
    ) -> None:
        """One register of every row; `offset` is in bytes of output, from `block` on."""
        f, problem, vector = self.f, self.kernel.problem, self.kernel.vector
        s, q = problem.kernel[1], problem.output_size()[1]
        moved = offset if problem.stride[1] == 1 else f.new(f"mul i64 {offset}, 2")
        totals: list[str | None] = [None] * self.rows
        if coming is not None:
            self._ask(coming, block, offset)
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
            self._put(total or "zeroinitializer", f.at(where, offset), mask)

    def _put(self, total: str, where: str, mask: str | None) -> None:
        """Write a register of output, its lanes in order."""
        f, kernel = self.f, self.kernel
        if kernel.halves:
            pixels = [pick // 2 for pick in kernel.picks]
            total = f.shuffle(total, total, [pixels.index(i) for i in range(kernel.vector.lanes)])
        if kernel.streams:
            f.stream(total, where)
        else:
            f.store(total, where, mask)

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
        return f.shuffle(low, high, self.kernel.picks)

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
