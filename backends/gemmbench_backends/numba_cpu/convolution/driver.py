"""The loops around the convolutions' kernels, compiled by Numba: C functions of (plan, thread).

Each does one thread's share and synchronises with nobody. What `numba_cpu/driver.py` says of its
one file holds for this one, which is why it imports nothing compiled from there.
"""

# Numba types what it compiles itself; to mypy an intrinsic lacks the arguments it is called with,
# and a decorated function has no type.
# mypy: disable-error-code="attr-defined, call-arg, no-any-return"
# mypy: disable-error-code="no-untyped-call, untyped-decorator, var-annotated"

from typing import Any

from llvmlite import ir
from numba import carray, cfunc, from_dtype, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from gemmbench_backends.numba_cpu.convolution.plan import (
    CONVOLUTION,
    DEPTHWISE,
    INPUT,
    MULTIPLY,
    OUTPUT,
)

_SIGNATURE = types.void(types.CPointer(from_dtype(CONVOLUTION)), types.int64)
_OFFSET_BYTES = 8  # of a table's entry

_compiled = njit(nogil=True, error_model="numpy")
_entry = cfunc(_SIGNATURE, cache=True, error_model="numpy")
_DEPTHWISE = types.void(types.CPointer(from_dtype(DEPTHWISE)), types.int64)


@intrinsic
def _call(_context: Any, address: Any, arguments: Any) -> Any:
    """Call the `void` function at `address` with a tuple of integers and pointers."""

    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        unpacked = cgutils.unpack_tuple(builder, values[1])
        kind = ir.FunctionType(ir.VoidType(), [value.type for value in unpacked])
        builder.call(builder.inttoptr(values[0], kind.as_pointer()), unpacked)
        return context.get_dummy_value()

    return types.void(address, arguments), generate


@intrinsic
def _clear(_context: Any, address: Any, nbytes: Any) -> Any:
    """Zero memory."""

    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        target = builder.inttoptr(values[0], ir.IntType(8).as_pointer())
        cgutils.memset(builder, target, values[1], 0)
        return context.get_dummy_value()

    return types.void(address, nbytes), generate


@_compiled
def _share(count: int, parts: int, part: int) -> tuple[int, int]:
    """Where part number `part` of `count` things begins and ends, split as evenly as it goes."""
    return count * part // parts, count * (part + 1) // parts


@_compiled
def _vector(p: Any, j: int) -> int:
    """First vector of filters of panel `j`."""
    return j * p.tile_vectors + min(j, p.extra_vectors)


@_compiled
def _strip(p: Any, s: int) -> tuple[int, int, int]:
    """Image, first and last row of tiles of strip `s`."""
    row = s % p.strips_per_image * p.strip_rows
    return s // p.strips_per_image, row, min(p.tile_rows, row + p.strip_rows)


@_compiled
def _bring_in(p: Any, group: int, image: int, row0: int, row1: int, pixels: int) -> None:
    """The input rows of a strip as pixels in lanes; what is padding stays or becomes zero."""
    low = p.row_step * row0 - p.pad_y
    high = p.row_step * (row1 - 1) + p.row_extent - p.pad_y
    first, stop = max(0, low), min(p.height, high)
    if p.clears and (first > low or stop < high):
        _clear(pixels, p.pixels_slot)
    count = (stop - first) * p.width
    if count <= 0:
        return
    source = p.x + image * p.x_step + group * p.x_group + first * p.width * p.itemsize
    table = p.to_table + (first - low) * p.width * _OFFSET_BYTES
    whole = p.channels // p.lanes * p.lanes
    for c in range(0, whole, p.lanes):
        to = pixels + c * p.itemsize
        _call(p.to_lanes, (p.lanes, source + c * p.x_plane, p.x_plane, count, to, table))
    few = p.channels - whole
    if few:
        to = pixels + whole * p.itemsize
        _call(p.to_few_lanes, (few, source + whole * p.x_plane, p.x_plane, count, to, table))


@_compiled
def _bring_out(
    p: Any, group: int, image: int, row0: int, row1: int, v0: int, v1: int, results: int
) -> None:
    """The output rows of a strip, filters of vectors v0 … v1-1, from lanes to planes."""
    first = row0 * p.tile_height
    count = (min(p.out_height, row1 * p.tile_height) - first) * p.out_width
    target = p.out + image * p.out_step + group * p.out_group
    target += first * p.out_width * p.itemsize
    for v in range(v0, v1):
        planes = min(p.lanes, p.filters - v * p.lanes)
        source = results + v * p.lanes * p.itemsize
        to = target + v * p.lanes * p.out_plane
        _call(p.to_planes, (planes, source, count, to, p.out_plane, p.from_table))


@_compiled
def _multiply(
    p: Any, count: int, a: int, weights: int, depth: int, c: int, ldc: int, j: int
) -> None:
    """`count` pixels at `a` times panel `j` of `weights`, whose rows are `depth` long."""
    v = _vector(p, j)
    narrow = 0 if j < p.extra_vectors else 1
    vector = p.lanes * p.itemsize
    width = (_vector(p, j + 1) - v) * vector
    panel = weights + v * vector * depth
    tiles = (count + p.tile - 1) // p.tile
    height, taller = count // tiles, count % tiles
    for chunk in range(p.chunks):
        tap = chunk * p.chunk_taps
        taps = min(p.taps, tap + p.chunk_taps) - tap
        b = panel + tap * p.inner * width
        offsets = p.tap_offsets + tap * _OFFSET_BYTES
        row = 0
        for i in range(tiles):
            rows = height + 1 if i < taller else height
            kernel = p.kernels[1 if chunk else 0, rows, narrow]
            table, to = p.rows + row * _OFFSET_BYTES, c + row * ldc + v * vector
            _call(kernel, (taps, offsets, p.inner, a, table, b, to, ldc))
            row += rows


@_compiled
def _columns(p: Any, thread: int) -> tuple[int, int]:
    """A thread's panels of filters."""
    return _share(p.column_tiles, p.grid_columns, thread % p.grid_columns)


@_compiled
def _units(p: Any, thread: int) -> tuple[int, int]:
    """A thread's blocks."""
    return _share(p.groups * p.blocks, p.grid_units, thread // p.grid_columns)


@_compiled
def _block(p: Any, unit: int) -> tuple[int, int, int]:
    """Group, first and last strip of a unit."""
    s0 = unit % p.blocks * p.block_strips
    return unit // p.blocks, s0, min(p.strips, s0 + p.block_strips)


@_compiled
def _multiply_strips(
    p: Any, group: int, s0: int, s1: int, j0: int, j1: int, pixels: int, results: int
) -> None:
    """Every strip of a block times panels j0 … j1-1 of weights."""
    weights = p.weights + group * p.weights_group
    for j in range(j0, j1):
        for s in range(s0, s1):
            _, row0, row1 = _strip(p, s)
            _multiply(
                p, (row1 - row0) * p.out_width, pixels + (s - s0) * p.pixels_slot, weights,
                p.weights_depth, results + (s - s0) * p.results_slot, p.ld_results, j,
            )  # fmt: skip


@_entry
def direct(plan: Any, thread: int) -> None:
    """Pixels in lanes, multiplied in place by panels of weights, and back."""
    p = carray(plan, (1,))[0]
    pixels, results = p.pixels + thread * p.pixels_step, p.results + thread * p.results_step
    j0, j1 = _columns(p, thread)
    first, stop = _units(p, thread)
    for unit in range(first, stop):
        group, s0, s1 = _block(p, unit)
        if p.stages & INPUT:
            for s in range(s0, s1):
                image, row0, row1 = _strip(p, s)
                _bring_in(p, group, image, row0, row1, pixels + (s - s0) * p.pixels_slot)
        if p.stages & MULTIPLY:
            _multiply_strips(p, group, s0, s1, j0, j1, pixels, results)
        if p.stages & OUTPUT:
            for s in range(s0, s1):
                image, row0, row1 = _strip(p, s)
                slot = results + (s - s0) * p.results_slot
                _bring_out(p, group, image, row0, row1, _vector(p, j0), _vector(p, j1), slot)


@_compiled
def _spread_block(p: Any, group: int, s0: int, s1: int, pixels: int, v: int) -> None:
    """Every tile of a block transformed."""
    vector, tile = p.lanes * p.itemsize, 0
    for s in range(s0, s1):
        image, row0, row1 = _strip(p, s)
        _bring_in(p, group, image, row0, row1, pixels)
        for row in range(row1 - row0):
            for column in range(p.tiles_per_row):
                source = pixels + row * p.tile_down + column * p.tile_across
                _call(p.spread, (source, v + tile * p.ldv, p.v_plane, p.vectors_in, vector, vector))
                tile += 1


@_compiled
def _gather_block(
    p: Any, group: int, s0: int, s1: int, v0: int, v1: int, m: int, results: int
) -> None:
    """Every tile of a block transformed back, filters of vectors v0 … v1-1."""
    vector, tile = p.lanes * p.itemsize, 0
    for s in range(s0, s1):
        image, row0, row1 = _strip(p, s)
        for row in range(row1 - row0):
            for column in range(p.tiles_per_row):
                source = m + tile * p.ldm + v0 * vector
                to = results + row * p.result_down + column * p.result_across + v0 * vector
                _call(p.gather, (source, to, p.m_plane, v1 - v0, vector, vector))
                tile += 1
        _bring_out(p, group, image, row0, row1, v0, v1, results)


@_compiled
def _tiles(p: Any, s0: int, s1: int) -> int:
    """How many tiles strips s0 … s1-1 have."""
    count = 0
    for s in range(s0, s1):
        _, row0, row1 = _strip(p, s)
        count += (row1 - row0) * p.tiles_per_row
    return count


@_compiled
def _multiply_complex(p: Any, count: int, v: int, weights: int, m: int, j: int) -> None:
    """`count` tiles of a complex plane times panel `j` of its weights."""
    first = _vector(p, j)
    narrow = 0 if j < p.extra_vectors else 1
    vector = p.lanes * p.itemsize
    panel = weights + first * vector * p.weights_depth
    tiles = (count + p.tile - 1) // p.tile
    height, taller = count // tiles, count % tiles
    row = 0
    for i in range(tiles):
        rows = height + 1 if i < taller else height
        table, to = p.rows + row * _OFFSET_BYTES, m + row * p.ldm + first * vector
        _call(
            p.kernels[0, rows, narrow],
            (p.inner, v, p.v_imaginary, table, panel, p.weights_imaginary, to, p.m_imaginary,
             p.ldm),
        )  # fmt: skip
        row += rows


@_compiled
def _multiply_plane(p: Any, count: int, plane: int, v: int, weights: int, m: int, j: int) -> None:
    """`count` tiles of a plane times panel `j` of its weights."""
    v, m = v + plane * p.v_plane, m + plane * p.m_plane
    weights += plane * p.weights_plane
    if p.complex_parts:
        _multiply_complex(p, count, v, weights, m, j)
    else:
        _multiply(p, count, v, weights, p.weights_depth, m, p.ldm, j)


@_entry
def by_planes(plan: Any, thread: int) -> None:
    """Tiles transformed, multiplied plane by plane as matrices, and transformed back."""
    p = carray(plan, (1,))[0]
    pixels, results = p.pixels + thread * p.pixels_step, p.results + thread * p.results_step
    v, m = p.v + thread * p.v_step, p.m + thread * p.m_step
    j0, j1 = _columns(p, thread)
    first, stop = _units(p, thread)
    for unit in range(first, stop):
        group, s0, s1 = _block(p, unit)
        if p.stages & INPUT:
            _spread_block(p, group, s0, s1, pixels, v)
        if p.stages & MULTIPLY:
            weights, tiles = p.weights + group * p.weights_group, _tiles(p, s0, s1)
            for plane in range(p.planes):
                for j in range(j0, j1):
                    _multiply_plane(p, tiles, plane, v, weights, m, j)
        if p.stages & OUTPUT:
            _gather_block(p, group, s0, s1, _vector(p, j0), _vector(p, j1), m, results)


@_compiled
def _packed_vectors(p: Any, thread: int) -> tuple[int, int]:
    """Vectors of filters, of all groups, that a thread packs."""
    count = _vector(p, p.column_tiles) * p.groups
    return _share(count, p.grid_units * p.grid_columns, thread)


@_compiled
def _panel_of(p: Any, v: int) -> int:
    """The panel that vector `v` of filters belongs to."""
    wide = p.extra_vectors * (p.tile_vectors + 1)
    if v < wide:
        return v // (p.tile_vectors + 1)
    return p.extra_vectors + (v - wide) // p.tile_vectors


@_entry
def pack_weights(plan: Any, thread: int) -> None:
    """Filters as panels: for every step along k, the filters' elements side by side."""
    p = carray(plan, (1,))[0]
    first, stop = _packed_vectors(p, thread)
    vectors = _vector(p, p.column_tiles)
    vector = p.lanes * p.itemsize
    for at in range(first, stop):
        group, v = at // vectors, at % vectors
        j = _panel_of(p, v)
        table = p.panel_tables + (0 if j < p.extra_vectors else 1) * p.w_elements * _OFFSET_BYTES
        to = p.weights + group * p.weights_group + _vector(p, j) * vector * p.weights_depth
        to += (v - _vector(p, j)) * vector
        source = p.w + group * p.w_group + v * p.lanes * p.w_filter
        planes = min(p.lanes, p.filters - v * p.lanes)
        _call(p.to_lanes, (planes, source, p.w_filter, p.w_elements, to, table))


@_entry
def transform_weights(plan: Any, thread: int) -> None:
    """Filters transformed, into panels for each plane."""
    p = carray(plan, (1,))[0]
    first, stop = _packed_vectors(p, thread)
    vectors = _vector(p, p.column_tiles)
    vector = p.lanes * p.itemsize
    scratch = p.scratch + thread * p.weights_depth * p.weight_step
    for at in range(first, stop):
        group, v = at // vectors, at % vectors
        source = p.w + group * p.w_group + v * p.lanes * p.w_filter
        planes = min(p.lanes, p.filters - v * p.lanes)
        _call(p.to_lanes, (planes, source, p.w_filter, p.w_elements, scratch, p.scratch_table))
        j = _panel_of(p, v)
        to = p.weights + group * p.weights_group + _vector(p, j) * vector * p.weights_depth
        to += (v - _vector(p, j)) * vector
        width = (_vector(p, j + 1) - _vector(p, j)) * vector
        _call(
            p.spread_weights,
            (scratch, to, p.weights_plane, p.weights_depth, p.weight_step, width),
        )


@cfunc(_DEPTHWISE, cache=True, error_model="numpy")
def depthwise(plan: Any, thread: int) -> None:
    """A thread's planes of the output, each from one plane of the input."""
    p = carray(plan, (1,))[0]
    at, stop = _share(p.planes, p.threads, thread)
    while at < stop:
        # A kernel goes on from plane to plane up to the last filter, if each has its own channel.
        filter_ = at % p.filters
        count = min(stop - at, p.filters - filter_) if p.multiplier == 1 else 1
        x, out = p.x + at // p.multiplier * p.x_plane, p.out + at * p.out_plane
        _call(p.kernel, (x, p.w + filter_ * p.w_filter, out, p.zeros, count))
        at += count
