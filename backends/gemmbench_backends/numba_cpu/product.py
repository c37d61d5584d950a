"""A blocked product made ready: tiles split evenly, kernels compiled, buffers allocated."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gemmbench.operands import aligned_empty
from gemmbench_backends.numba_cpu import movement
from gemmbench_backends.numba_cpu.columnkernel import column_ir, column_name
from gemmbench_backends.numba_cpu.compile import kernel_address
from gemmbench_backends.numba_cpu.dotkernel import DotKernel, dotkernel_ir
from gemmbench_backends.numba_cpu.edge import edge_ir, edge_name
from gemmbench_backends.numba_cpu.emit import Vector
from gemmbench_backends.numba_cpu.microkernel import SCALE_ELEMENTS, MicroKernel, microkernel_ir
from gemmbench_backends.numba_cpu.plan import (
    BY_ROWS,
    FUSE,
    IN_PLACE,
    LINE_BYTES,
    PACK,
    PANELS_FIRST,
    PLAN,
    READY,
    ROWS_FIRST,
)
from gemmbench_backends.numba_cpu.rowkernel import RowKernel, rowkernel_ir

Array = NDArray[Any]
Runner = Callable[[], None]

_PAGE_BYTES = 4096
_SKEW_BYTES = 320  # five lines: buffers a multiple of a page apart would share cache sets

_ENOUGH_TILES = 5  # of fewer, the one that stores the panel may as well ask for all of the next

_PACK_A = {"off": IN_PLACE, "on": PACK}
_PACK_B = {"off": IN_PLACE, "on": PACK, "fused": FUSE, "ready": READY}
_ORDER = {"panels": PANELS_FIRST, "rows": ROWS_FIRST}


@dataclass(frozen=True, slots=True)
class Blocking:
    """How a product is cut: the tiled path's point of a search space."""

    mr: int  # rows of the register block
    nv: int  # vectors of the register block
    ku: int  # unrolled steps along k
    kc: int
    mc: int  # rows of A in a block
    nc: int  # columns of B in a block
    order: str = "panels"
    pack_a: str = "off"
    pack_b: str = "off"
    grid: tuple[int, int, int] = (1, 1, 1)  # threads over items, rows, columns

    def threads(self) -> int:
        """How many threads the grid has."""
        return self.grid[0] * self.grid[1] * self.grid[2]


@dataclass(frozen=True, slots=True)
class Matrix:
    """Where a matrix lies, in bytes: first element, row stride, distance to the next item's."""

    address: int
    ld: int
    step: int = 0


@dataclass(frozen=True, slots=True)
class Shape:
    """`items` products of (m, k) by (k, n); every `groups` items A starts over."""

    m: int
    k: int
    n: int
    items: int = 1
    groups: int = 1


@dataclass(slots=True)
class Plan:
    """A record for the driver, with the memory that it points to."""

    record: Array  # one element of plan.PLAN
    owned: list[Array] = field(default_factory=list)

    @property
    def address(self) -> int:
        """Where the record lies."""
        return int(self.record.ctypes.data)

    def workspace(self, nbytes: int) -> int:
        """The address of new memory, zeroed and cache-line aligned, that lives with the plan."""
        memory = zeroed(nbytes)
        self.owned.append(memory)
        return int(memory.ctypes.data)

    def workspace_bytes(self) -> int:
        """Memory allocated for the plan."""
        return sum(memory.nbytes for memory in self.owned)

    def set(self, **fields: int) -> None:
        """Assign fields of the record."""
        for name, value in fields.items():
            self.record[name] = value


def zeroed(nbytes: int) -> Array:
    """Cache-line aligned bytes, all zero: stray lanes of a panel must not read as denormals."""
    memory = aligned_empty((nbytes,), "uint8")
    memory.fill(0)
    return memory


def split(count: int, tile: int, parts: int = 1) -> tuple[int, int, int]:
    """`count` cut into tiles of s and s+1 (<= `tile`): (s, how many of s+1, how many in all).

    The number of tiles is a multiple of `parts` where `count` allows it, so threads share evenly.
    """
    tiles = -(-count // tile)
    tiles = min(count, -(-tiles // parts) * parts)
    return count // tiles, count % tiles, tiles


def whole_vectors(n: int, lanes: int) -> int:
    """Registers that hold a row of C, but for a lone column after them, if there is one.

    A register for a single column would waste lanes-1 of its lanes, and rows of odd images leave
    one: an odd square is 1 more than a multiple of 8.
    """
    return n // lanes if has_lone_column(n, lanes) else -(-n // lanes)


def has_lone_column(n: int, lanes: int) -> bool:
    """Whether whole registers leave a single column of C, which dot products compute."""
    return n > lanes and n % lanes == 1


def k_block(k: int, kc: int, lanes: int) -> int:
    """The block along k: `kc`, made as even as whole vectors allow where it is one or more."""
    if kc >= k or kc < lanes:
        return min(kc, k)
    blocks = -(-k // kc)
    return min(k, -(-k // (blocks * lanes)) * lanes)


def first_tiles(tiles: int, threads: int) -> set[int]:
    """The tile that each thread starts with, as `driver._share` divides them."""
    return {tiles * thread // threads for thread in range(threads)}


@cache
def shared_kernels(vector: Vector) -> dict[str, int]:
    """Addresses of the kernels that every block shares, by their field of the plan."""
    found = {
        "pad": kernel_address(movement.pad_name(vector), movement.pad_ir(vector)),
        "edge": kernel_address(edge_name(vector), edge_ir(vector)),
        "column": kernel_address(column_name(vector), column_ir(vector)),
    }
    for suffix, spills in (("", False), ("_spills", True)):
        name, ir = movement.transpose_name(vector, spills), movement.transpose_ir(vector, spills)
        found[f"transpose{suffix}"] = kernel_address(name, ir)
        name, ir = movement.gather_name(vector, spills), movement.gather_ir(vector, spills)
        found[f"gather{suffix}"] = kernel_address(name, ir)
    return found


def new_plan(vector: Vector, grid: tuple[int, int, int]) -> Plan:
    """A plan that knows its dtype and threads, and nothing else yet."""
    plan = Plan(np.zeros(1, dtype=PLAN))
    plan.set(itemsize=vector.itemsize, lanes=vector.lanes)
    plan.set(grid_items=grid[0], grid_rows=grid[1], grid_columns=grid[2])
    plan.set(**shared_kernels(vector))
    return plan


def tiled_plan(
    shape: Shape, vector: Vector, cut: Blocking, a: Matrix, b: Matrix, c: Matrix,
    b_source: int = BY_ROWS, alpha: float = 1.0, beta: float = 0.0,
) -> Plan:  # fmt: skip
    """The plan of C = alpha·A·B + beta·C by tiles, for `driver.multiply`."""
    plan = new_plan(vector, cut.grid)
    kc = k_block(shape.k, cut.kc, vector.lanes)
    _set_operands(plan, shape, vector, kc, a, b, c, (alpha, beta), cut.nv * vector.lanes)
    plan.set(
        mc=-(-cut.mc // cut.mr), nc=-(-cut.nc // (cut.nv * vector.lanes)),
        order=_ORDER[cut.order], pack_a=_PACK_A[cut.pack_a], pack_b=_PACK_B[cut.pack_b],
        b_source=b_source, unroll=cut.ku,
    )  # fmt: skip
    vectors, lone = whole_vectors(shape.n, vector.lanes), has_lone_column(shape.n, vector.lanes)
    rows = split(shape.m, cut.mr, cut.grid[1])
    columns = split(vectors, cut.nv, cut.grid[2])
    _set_tiles(plan, rows, columns)
    if _asks_ahead(cut, rows):
        lines = -(-cut.nv * vector.nbytes // LINE_BYTES) + 1  # a row may begin within one
        plan.set(ahead_tiles=cut.ku * lines)
    plan.set(tail=shape.n - lone - (vectors - 1) * vector.lanes, lone=int(lone))
    scales = alpha != 1.0 or beta not in (0.0, 1.0)
    plan.record["kernels"][0] = _kernel_table(plan, vector, cut, rows, columns, scales, b_source)
    if b_source == BY_ROWS and _is_ragged(plan, vector):
        plan.set(pack_edge=_packing_kernel(columns[0], vector, edge=True))
    _set_buffers(plan, vector, cut, kc)
    return plan


def dots_plan(
    shape: Shape, vector: Vector, cut: Blocking, a: Matrix, b: Matrix, c: Matrix,
    alpha: float = 1.0, beta: float = 0.0,
) -> Plan:  # fmt: skip
    """The plan of C = alpha·A·Bᵀ + beta·C by dot products, for `driver.multiply_dots`.

    b: (n, k) by rows; c.ld and c.step are the strides of C's rows and columns.
    """
    threads = cut.threads()
    plan = new_plan(vector, (1, threads, 1))
    kc = k_block(shape.k, cut.kc, vector.lanes)
    _set_operands(plan, shape, vector, kc, a, b, c, (alpha, beta))
    rows, columns = split(shape.m, cut.mr, threads), split(shape.n, cut.nv)
    _set_tiles(plan, rows, columns)
    for low, height in _sizes(rows):
        for narrow, width in _sizes(columns):
            kernel = DotKernel(height, width, vector, cut.ku)
            address = kernel_address(kernel.name(), dotkernel_ir(kernel))
            plan.record["kernels"][0, 0, low, narrow] = address
    return plan


def rows_plan(
    shape: Shape, vector: Vector, cut: Blocking, a: Matrix, b: Matrix, c: Matrix,
    alpha: float = 1.0, beta: float = 0.0,
) -> Plan:  # fmt: skip
    """The plan of C = alpha·A·B + beta·C by whole rows, for `driver.multiply_rows`."""
    threads = cut.threads()
    plan = new_plan(vector, (1, 1, threads))
    kc = min(cut.kc, shape.k)
    _set_operands(plan, shape, vector, kc, a, b, c, (alpha, beta))
    rows = split(shape.m, cut.mr)
    _set_tiles(plan, rows, (0, 0, 0))
    plan.set(nc=max(1, cut.nc // vector.lanes))
    for low, height in _sizes(rows):
        for last, depth in enumerate((kc, shape.k % kc)):
            if depth:
                kernel = RowKernel(height, depth, vector)
                address = kernel_address(kernel.name(), rowkernel_ir(kernel))
                plan.record["kernels"][0, last, low, 0] = address
    return plan


def _set_operands(
    plan: Plan, shape: Shape, vector: Vector, kc: int, a: Matrix, b: Matrix, c: Matrix,
    scale: tuple[float, float], zeros: int = 0,
) -> None:  # fmt: skip
    """Operands and their strides; alpha and beta, as SCALE_ELEMENTS tells whose.

    `zeros` elements follow them, which a kernel reads in place of a C that it must not read.
    """
    plan.set(m=shape.m, n=shape.n, k=shape.k, kc=kc)
    plan.set(a=a.address, lda=a.ld, a_step=a.step, b=b.address, ldb=b.ld, b_step=b.step)
    plan.set(c=c.address, ldc=c.ld, c_step=c.step)
    plan.set(groups=shape.groups, slots=shape.items, first_item=0, stop_item=shape.items)
    alpha, beta = scale
    # A later pair is read up to four elements on, so the zeros after it have to be four more.
    scales = np.zeros(SCALE_ELEMENTS + 4 + zeros, dtype=vector.dtype)
    scales[:SCALE_ELEMENTS] = (alpha, beta, alpha, 1.0, alpha, 0.0)
    plan.owned.append(scales)
    plan.set(scale=scales.ctypes.data)


def _set_tiles(plan: Plan, rows: tuple[int, int, int], columns: tuple[int, int, int]) -> None:
    plan.set(tile_rows=rows[0], extra_rows=rows[1], row_tiles=rows[2])
    plan.set(tile_vectors=columns[0], extra_vectors=columns[1], column_tiles=columns[2])


def _asks_ahead(cut: Blocking, rows: tuple[int, int, int]) -> bool:
    """Whether the last tiles of a panel of B ask for the next one: if there are enough of them."""
    tiles = min(-(-cut.mc // cut.mr), rows[2] // cut.grid[1])
    return cut.order == "panels" and cut.pack_b == "fused" and tiles >= _ENOUGH_TILES


def _sizes(tiles: tuple[int, int, int]) -> list[tuple[int, int]]:
    """Which tile sizes occur, each with its place in the kernel table: 0 larger, 1 smaller."""
    size, larger, _ = tiles
    return [(0, size + 1), (1, size)] if larger else [(1, size)]


def _kernel_table(
    plan: Plan, vector: Vector, cut: Blocking, rows: tuple[int, int, int],
    columns: tuple[int, int, int], scales: bool, b_source: int,
) -> Array:  # fmt: skip
    """Addresses of every kernel that the product can reach: at most 4, and as many to pack."""
    table = np.zeros((2, 2, 2), dtype=np.int64)
    ahead, fuses = _asks_ahead(cut, rows), cut.pack_b == "fused"
    any_k = any(int(plan.record[side][0]) % cut.ku for side in ("k", "kc"))
    # A thread packs B while it is at its first tile row, so only those heights need to fuse.
    starts = {int(i >= rows[1]) for i in first_tiles(rows[2], cut.grid[1])}
    for place, width in _sizes(columns):
        edge_only = place == 1 and columns[2] - columns[1] == 1 and _is_ragged(plan, vector)
        if cut.pack_b == "on" and b_source == BY_ROWS and not edge_only:
            table[1, 0, place] = _packing_kernel(width, vector)
        for low, height in _sizes(rows):
            kernel = MicroKernel(
                height, width, vector, cut.ku, cut.pack_a != "off", asks_ahead=ahead,
                scales=scales, any_k=any_k,
            )  # fmt: skip
            table[0, low, place] = kernel_address(kernel.name(), microkernel_ir(kernel))
            if fuses and low in starts and not edge_only:
                fused = replace(kernel, stores_panel=True)
                table[1, low, place] = kernel_address(fused.name(), microkernel_ir(fused))
    return table


def _is_ragged(plan: Plan, vector: Vector) -> bool:
    return int(plan.record["tail"][0]) < vector.lanes


def _packing_kernel(width: int, vector: Vector, edge: bool = False) -> int:
    """Packs a panel of `width` vectors; at an edge, not all lanes of the last one exist."""
    kernel = MicroKernel(0, width, vector, b_tail=edge, stores_panel=True)
    return kernel_address(kernel.name(), microkernel_ir(kernel))


def _set_buffers(plan: Plan, vector: Vector, cut: Blocking, kc: int) -> None:
    """What each thread has: packed A and B, as large as its blocks can be, and a scratch."""
    p, threads = plan.record[0], cut.threads()
    if cut.pack_a == "on":
        rows = min(int(p["mc"]) * (int(p["tile_rows"]) + 1), int(p["m"]))
        step = per_thread(rows * kc * vector.itemsize + vector.nbytes)  # the last panel spills
        plan.set(buffer_a=plan.workspace(threads * step), buffer_a_step=step)
    edge = _is_ragged(plan, vector)
    if cut.pack_b in ("on", "fused") or (edge and cut.pack_b == "off"):
        # Where all rows of a panel come one after the other, no two panels are needed at a time.
        keeps = cut.order == "rows" or int(p["mc"]) < -(-int(p["row_tiles"]) // cut.grid[1])
        keeps = keeps and cut.pack_b != "off"
        panels = int(p["nc"]) if keeps else 1
        vectors = min(panels * (int(p["tile_vectors"]) + 1), -(-int(p["n"]) // vector.lanes))
        plan.set(keeps_panels=int(keeps))
        step = per_thread((vectors * kc + 1) * vector.nbytes)
        plan.set(buffer_b=plan.workspace(threads * step), buffer_b_step=step)
    if edge or p["lone"]:
        tile = cut.mr * cut.nv * vector.nbytes
        step = per_thread(tile + kc * vector.itemsize + vector.nbytes)  # a gathered column spills
        plan.set(scratch=plan.workspace(threads * step), scratch_step=step, lone_at=tile)


def per_thread(nbytes: int) -> int:
    """Bytes from one thread's buffer of `nbytes` to the next one's."""
    return -(-nbytes // _PAGE_BYTES) * _PAGE_BYTES + _SKEW_BYTES
