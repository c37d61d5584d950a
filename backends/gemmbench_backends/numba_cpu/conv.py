"""Convolutions as products: the column matrix made explicit (im2col) or never (implicit GEMM).

An item is one group of one image: m = filters of the group, k = channels · R · S, n = P · Q. Images
that need it are first padded and split by stride phase, so that for every tap (c, r, s) the pixels
of an output row lie side by side; a table of tap offsets and one of pieces of rows then say where
any part of the column matrix comes from.
"""

import itertools
from dataclasses import dataclass

import numpy as np

from gemmbench.backend import Operands
from gemmbench.operands import aligned_empty
from gemmbench.problem import Conv2d
from gemmbench.space import Config
from gemmbench_backends.numba_cpu import driver
from gemmbench_backends.numba_cpu.emit import Vector
from gemmbench_backends.numba_cpu.layers import Ready, blocking
from gemmbench_backends.numba_cpu.plan import BY_ROWS, IMAGE
from gemmbench_backends.numba_cpu.product import (
    Array,
    Blocking,
    Matrix,
    Plan,
    Runner,
    Shape,
    has_lone_column,
    new_plan,
    split,
    tiled_plan,
    whole_vectors,
)
from gemmbench_backends.numba_cpu.threads import runner

_SLOTS_BYTES = 512 * 1024  # padded images made at a time: less would be all fork and join


@dataclass(frozen=True, slots=True)
class Layout:
    """How the padded image of one item lies in memory: planes[channel][phase][height][width]."""

    channels: int
    phases: tuple[tuple[int, int], ...]
    height: int
    width: int

    def elements(self) -> int:
        """Elements of one item."""
        return self.channels * len(self.phases) * self.height * self.width


def image_layout(problem: Conv2d) -> Layout:
    """Only the phases and the pixels that some tap reads."""
    p, q = problem.output_size()
    ys = [r * problem.dilation[0] for r in range(problem.kernel[0])]
    xs = [s * problem.dilation[1] for s in range(problem.kernel[1])]
    phases = {(y % problem.stride[0], x % problem.stride[1]) for y in ys for x in xs}
    return Layout(
        problem.channels // problem.groups,
        tuple(sorted(phases)),
        p + ys[-1] // problem.stride[0],
        q + xs[-1] // problem.stride[1],
    )


def tap_offsets(problem: Conv2d, layout: Layout, itemsize: int) -> Array:
    """For every row (c, r, s) of the column matrix, where its first pixel lies, in bytes."""
    (sy, sx), (dy, dx) = problem.stride, problem.dilation
    plane = layout.height * layout.width
    offsets = [
        (c * len(layout.phases) + layout.phases.index((r * dy % sy, s * dx % sx))) * plane
        + (r * dy // sy) * layout.width + s * dx // sx
        for c in range(layout.channels)
        for r in range(problem.kernel[0])
        for s in range(problem.kernel[1])
    ]  # fmt: skip
    return np.array(offsets, dtype=np.int64) * itemsize


def row_pieces(
    columns: list[tuple[int, int]], row_pixels: int, layout: Layout, vector: Vector
) -> tuple[Array, Array]:
    """The registers of adjacent pixels that each range of columns is made of, and where it begins.

    A piece: where it comes from in the image, where it goes in the range (bytes), how many lanes.
    """
    pieces, first = [], [0]
    for start, stop in columns:
        at = start
        while at < stop:
            y, x = divmod(at, row_pixels)
            lanes = min(row_pixels - x, stop - at, vector.lanes)
            source = (y * layout.width + x) * vector.itemsize
            pieces.append((source, (at - start) * vector.itemsize, lanes))
            at += lanes
        first.append(len(pieces))
    return np.array(pieces, dtype=np.int64), np.array(first, dtype=np.int64)


def prepare_conv(problem: Conv2d, config: Config, operands: Operands, vector: Vector) -> Ready:
    """The convolution by the algorithm that `config` names."""
    cut, gemm = blocking(config), problem.gemm()
    shape = Shape(gemm.m, gemm.k, gemm.n, gemm.count, problem.groups)
    layout = image_layout(problem)
    images = _images(problem, cut, operands, vector, layout)
    if config.get("lowering") == "whole":
        return _im2col_whole(problem, shape, cut, operands, vector, layout, images)
    if problem.im2col_bytes() == 0:
        return _pointwise(shape, cut, operands, vector, images)
    if config["algorithm"] == "im2col":
        return _im2col(problem, shape, cut, operands, vector, layout, images)
    b = Matrix(images.b, 0, images.b_step)
    product = _product(shape, cut, operands, vector, b, IMAGE)
    product.set(slots=images.slots, offsets=_offsets(product, problem, layout, vector))
    tiles = split(whole_vectors(shape.n, vector.lanes), cut.nv, cut.grid[2])
    _set_pieces(product, problem, layout, vector, _tile_columns(tiles, shape.n, vector))
    steps = (*images.steps, (product, runner(driver.multiply, product.address,
                                             cut.threads())))  # fmt: skip
    return _ready(steps, operands, shape.items, images.slots, {})


Step = tuple[Plan, Runner]


@dataclass(frozen=True, slots=True)
class Images:
    """Where the items' images are to be read: x itself, or padded copies of a few at a time."""

    b: int
    b_step: int
    slots: int
    steps: tuple[Step, ...]


def _images(
    problem: Conv2d, cut: Blocking, operands: Operands, vector: Vector, layout: Layout
) -> Images:
    size, x = vector.itemsize, operands["x"]
    image_step = layout.channels * problem.height * problem.width * size
    items = problem.batch * problem.groups
    if problem.stride == (1, 1) and problem.pad == (0, 0):
        return Images(int(x.ctypes.data), image_step, items, ())
    plan, item_bytes = new_plan(vector, cut.grid), layout.elements() * size
    slots = min(items, max(cut.grid[0], _SLOTS_BYTES // item_bytes // cut.grid[0] * cut.grid[0]))
    phases = np.array(layout.phases, dtype=np.int64)
    plan.owned.append(phases)
    plan.set(
        image=x.ctypes.data, image_step=image_step, channels=layout.channels,
        height=problem.height, width=problem.width, plane_height=layout.height,
        plane_width=layout.width, phases=phases.ctypes.data, phase_count=len(phases),
        stride_y=problem.stride[0], stride_x=problem.stride[1], pad_y=problem.pad[0],
        pad_x=problem.pad[1], b=plan.workspace(slots * item_bytes), b_step=item_bytes, slots=slots,
    )  # fmt: skip
    run = runner(driver.pad_images, plan.address, cut.threads())
    return Images(int(plan.record["b"][0]), item_bytes, slots, ((plan, run),))


def _pointwise(
    shape: Shape, cut: Blocking, operands: Operands, vector: Vector, images: Images
) -> Ready:
    """Filters of one pixel: an image is its own column matrix."""
    b = Matrix(images.b, shape.n * vector.itemsize, images.b_step)
    product = _product(shape, cut, operands, vector, b, BY_ROWS)
    multiply = runner(driver.multiply, product.address, cut.threads())
    return Ready((multiply,), operands, (product,), {"multiply": multiply})


def _im2col(
    problem: Conv2d, shape: Shape, cut: Blocking, operands: Operands, vector: Vector,
    layout: Layout, images: Images,
) -> Ready:  # fmt: skip
    """The column matrices of a few items written out, then multiplied: two stages."""
    row = shape.n * vector.itemsize
    lowering = new_plan(vector, cut.grid)
    slots = min(images.slots, cut.grid[0])
    lowering.set(
        k=shape.k, n=shape.n, b=images.b, b_step=images.b_step, slots=images.slots,
        columns=lowering.workspace(slots * shape.k * row), columns_step=shape.k * row,
        columns_ld=row, column_slots=slots, groups=1,
        offsets=_offsets(lowering, problem, layout, vector),
    )  # fmt: skip
    _set_pieces(lowering, problem, layout, vector, [(0, shape.n)])
    columns = Matrix(int(lowering.record["columns"][0]), row, shape.k * row)
    product = _product(shape, cut, operands, vector, columns, BY_ROWS)
    product.set(slots=slots)
    multiply = (product, runner(driver.multiply, product.address, cut.threads()))
    lower = (lowering, runner(driver.lower_images, lowering.address, cut.threads()))
    before = (*images.steps, lower)
    stages = {
        "im2col": _waves(before, shape.items, slots),
        "multiply": _waves((multiply,), shape.items, slots),
    }
    return _ready((*before, multiply), operands, shape.items, slots, stages)


def _im2col_whole(
    problem: Conv2d, shape: Shape, cut: Blocking, operands: Operands, vector: Vector,
    layout: Layout, images: Images,
) -> Ready:  # fmt: skip
    """The column matrices of all images side by side, one product a group: three stages.

    Its rows are of all images' pixels, which the output, an image after the other, is made of last.
    """
    groups, batch, size = problem.groups, problem.batch, vector.itemsize
    row, whole = shape.n * size, batch * shape.n * size
    lowering = new_plan(vector, cut.grid)
    lowering.set(
        k=shape.k, n=shape.n, b=images.b, b_step=images.b_step, slots=images.slots,
        columns=lowering.workspace(groups * shape.k * whole), columns_step=row,
        columns_group=shape.k * whole, columns_ld=whole, column_slots=batch, groups=groups,
        offsets=_offsets(lowering, problem, layout, vector),
    )  # fmt: skip
    _set_pieces(lowering, problem, layout, vector, [(0, shape.n)])
    product = aligned_empty((groups, shape.m, batch, shape.n), problem.dtype)
    a = Matrix(int(operands["w"].ctypes.data), shape.k * size, shape.m * shape.k * size)
    b = Matrix(int(lowering.record["columns"][0]), whole, shape.k * whole)
    c = Matrix(int(product.ctypes.data), whole, shape.m * whole)
    together = Shape(shape.m, shape.k, batch * shape.n, groups, groups)
    plan = tiled_plan(together, vector, cut, a, b, c, BY_ROWS)
    plan.owned.append(product)
    lower = (lowering, runner(driver.lower_images, lowering.address, cut.threads()))
    lower_all = _waves((*images.steps, lower), shape.items, images.slots)
    multiply = runner(driver.multiply, plan.address, cut.threads())
    out = operands["out"].reshape(batch, groups, shape.m, shape.n)

    def rearrange() -> None:
        np.copyto(out, product.transpose(2, 0, 1, 3))

    stages = {"im2col": lower_all, "multiply": multiply, "output transform": rearrange}
    plans = (*(plan for plan, _ in images.steps), lowering, plan)
    return Ready(tuple(stages.values()), operands, plans, stages)


def _product(
    shape: Shape, cut: Blocking, operands: Operands, vector: Vector, b: Matrix, b_source: int
) -> Plan:  # fmt: skip
    """Filters times the column matrix, for each item."""
    size, w = vector.itemsize, operands["w"]
    a = Matrix(int(w.ctypes.data), shape.k * size, shape.m * shape.k * size)
    c = Matrix(int(operands["out"].ctypes.data), shape.n * size, shape.m * shape.n * size)
    return tiled_plan(shape, vector, cut, a, b, c, b_source)


def _offsets(plan: Plan, problem: Conv2d, layout: Layout, vector: Vector) -> int:
    offsets = tap_offsets(problem, layout, vector.itemsize)
    plan.owned.append(offsets)
    return int(offsets.ctypes.data)


def _tile_columns(tiles: tuple[int, int, int], n: int, vector: Vector) -> list[tuple[int, int]]:
    """The range of columns of each tile of an even split, and then of the lone column, if any."""
    size, larger, count = tiles
    edges = [(j * size + min(j, larger)) * vector.lanes for j in range(count)]
    lone = [n - 1] if has_lone_column(n, vector.lanes) else []
    return list(itertools.pairwise([*edges, *lone, n]))


def _set_pieces(
    plan: Plan, problem: Conv2d, layout: Layout, vector: Vector, columns: list[tuple[int, int]]
) -> None:
    # Where no tap reaches beyond a row of the output, its rows follow each other without a gap.
    p, q = problem.output_size()
    row_pixels = p * q if layout.width == q else q
    pieces, first = row_pieces(columns, row_pixels, layout, vector)
    plan.owned += [pieces, first]
    plan.set(pieces=pieces.ctypes.data, first_pieces=first.ctypes.data)


def _waves(steps: tuple[Step, ...], items: int, slots: int) -> Runner:
    """A call that takes as many items at a time as there are slots through all of the steps."""
    records = [plan.record for plan, _ in steps]
    calls = [run for _, run in steps]

    def run() -> None:
        for first in range(0, items, slots):
            for record in records:
                record["first_item"] = first
                record["stop_item"] = min(items, first + slots)
            for call in calls:
                call()

    return run


def _ready(
    steps: tuple[Step, ...], operands: Operands, items: int, slots: int, stages: dict[str, Runner]
) -> Ready:
    run = _waves(steps, items, slots)
    return Ready((run,), operands, tuple(plan for plan, _ in steps), stages)
