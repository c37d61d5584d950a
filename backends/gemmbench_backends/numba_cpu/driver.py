"""The loops around the kernels, compiled by Numba: C functions of (plan, thread).

Each does one thread's share and synchronises with nobody; `threads.py` runs the shares. Kernels
are called by addresses read from the plan, so what Numba caches on disk holds none, and one
compilation serves every dtype, shape and register block. All that Numba compiles is in this one
file, because its cache looks at the age of one file only.

Source of the loop order: Goto & van de Geijn 2008, "Anatomy of High-Performance Matrix
Multiplication"; Van Zee & van de Geijn 2015, "BLIS", which names the five loops.
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

from gemmbench_backends.numba_cpu.plan import (
    BY_COLUMNS,
    BY_ROWS,
    FUSE,
    IN_PLACE,
    LINE_BYTES,
    PACK,
    PANELS_FIRST,
    PLAN,
    READY,
)

_SIGNATURE = types.void(types.CPointer(from_dtype(PLAN)), types.int64)
_PIECE_BYTES = 24  # movement.PIECE_FIELDS numbers

_compiled = njit(nogil=True, error_model="numpy")
_entry = cfunc(_SIGNATURE, cache=True, error_model="numpy")


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
def _peek(_context: Any, address: Any) -> Any:
    """The 64-bit integer at `address`."""

    def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.load(builder.inttoptr(values[0], ir.IntType(64).as_pointer()))

    return types.int64(address), generate


@_compiled
def _share(count: int, parts: int, part: int) -> tuple[int, int]:
    """Where part number `part` of `count` things begins and ends, split as evenly as it goes."""
    return count * part // parts, count * (part + 1) // parts


@_compiled
def _even(count: int, block: int) -> int:
    """The block size at most `block` that splits `count` into equal blocks."""
    blocks = (count + block - 1) // block
    return (count + blocks - 1) // max(blocks, 1)


@_compiled
def _row(p: Any, i: int) -> int:
    """First row of tile row `i`."""
    return i * p.tile_rows + min(i, p.extra_rows)


@_compiled
def _vector(p: Any, j: int) -> int:
    """First vector of tile column `j`."""
    return j * p.tile_vectors + min(j, p.extra_vectors)


@_compiled
def _kind(p: Any, j: int) -> int:
    """Which kernels tile column `j` takes: 0 wide, 1 narrow."""
    return 0 if j < p.extra_vectors else 1


@_compiled
def _is_edge(p: Any, j: int) -> bool:
    """Whether tile column `j` has lanes that do not exist: B is packed, C goes by a scratch."""
    return j == p.column_tiles - 1 and p.tail < p.lanes


@_compiled
def _panel(p: Any, kb: int) -> int:
    """Bytes of a vector's share of a packed panel."""
    return p.lanes * p.itemsize * kb


@_compiled
def _pack_a(p: Any, a: int, i0: int, i1: int, kb: int, buffer: int) -> None:
    """Tiles i0 … i1-1 of A as panels of columns, one after the other."""
    for i in range(i0, i1):
        height = _row(p, i + 1) - _row(p, i)
        source = a + _row(p, i) * p.lda
        panel = buffer + (_row(p, i) - _row(p, i0)) * kb * p.itemsize
        for at in range((height - 1) // p.lanes, -1, -1):  # the others overwrite what it spills
            r = at * p.lanes
            rows, to = min(p.lanes, height - r), panel + r * p.itemsize
            _call(
                p.transpose_spills, (rows, kb, source + r * p.lda, p.lda, to, height * p.itemsize)
            )


@_compiled
def _pack_b(p: Any, b: int, j: int, k0: int, kb: int, panel: int) -> None:
    """Tile column `j` of B, rows k0 … k0+kb-1, as one panel."""
    vector = p.lanes * p.itemsize
    first, last = _vector(p, j), _vector(p, j + 1)
    width = (last - first) * vector
    if p.b_source == BY_ROWS:
        source = b + k0 * p.ldb + first * vector
        kernel = p.pack_edge if _is_edge(p, j) else p.kernels[1, 0, _kind(p, j)]
        _call(kernel, (kb, 0, 0, source, p.ldb, 0, 0, panel, p.tail, p.scale, 0, 0, 1, 0, 0, 0))
    elif p.b_source == BY_COLUMNS:
        for v in range(first, last):
            rows = min(p.lanes, p.n - v * p.lanes)
            source = b + v * p.lanes * p.ldb + k0 * p.itemsize
            to = panel + (v - first) * vector
            _call(p.transpose_spills, (rows, kb, source, p.ldb, to, width))
    else:
        begin, end = _peek(p.first_pieces + 8 * j), _peek(p.first_pieces + 8 * j + 8)
        pieces = p.pieces + begin * _PIECE_BYTES
        _call(p.gather_spills, (kb, b, p.offsets + 8 * k0, pieces, end - begin, panel, width))


@_compiled
def _lone_column(p: Any, b: int, k0: int, kb: int, scratch: int) -> int:
    """Where rows k0 … k0+kb-1 of B's lone column are, one after the other: copied, if need be."""
    if p.pack_b == READY:
        return b + p.k * _vector(p, p.column_tiles) * p.lanes * p.itemsize + k0 * p.itemsize
    to = scratch + p.lone_at
    _copy_lone(p, b, k0, kb, to)
    return to


@_compiled
def _copy_lone(p: Any, b: int, k0: int, kb: int, to: int) -> None:
    """Rows k0 … k0+kb-1 of B's lone column; what a gathered row spills is then overwritten."""
    if p.b_source == BY_ROWS:
        source = b + k0 * p.ldb + (p.n - 1) * p.itemsize
        _call(p.pad, (to, 0, source, p.ldb, kb, 0))
    elif p.b_source == BY_COLUMNS:
        source = b + (p.n - 1) * p.ldb + k0 * p.itemsize
        _call(p.pad, (to, 0, source, p.itemsize, kb, 0))
    else:
        pieces = p.pieces + _peek(p.first_pieces + 8 * p.column_tiles) * _PIECE_BYTES
        _call(p.gather_spills, (kb, b, p.offsets + 8 * k0, pieces, 1, to, p.itemsize))


@_compiled
def _lone(p: Any, a: int, column: int, c: int, i: int, k0: int, kb: int) -> None:
    """The lone column of C's tile row `i`, by dot products with rows of A, in place."""
    row, rows = _row(p, i), _row(p, i + 1) - _row(p, i)
    scale = p.scale if k0 == 0 else p.scale + 2 * p.itemsize
    to = c + row * p.ldc + (p.n - 1) * p.itemsize
    source = a + row * p.lda + k0 * p.itemsize
    _call(p.column, (rows, kb, source, p.lda, column, to, p.ldc, scale))


@_compiled
def _ahead(
    p: Any, b: int, part: int, j: int, j0: int, j1: int, k0: int, kb: int
) -> tuple[int, int]:
    """Which lines of the panel after `j` tile number `part` asks for: the first, and the stride.

    A kernel makes a trip every `unroll` steps, so that many tiles share a column of lines; the
    pointer goes on from tile to tile of a run.
    """
    vector = p.lanes * p.itemsize
    if j + 1 < j1:
        panel = b + k0 * p.ldb + _vector(p, j + 1) * vector
    else:
        panel = b + min(k0 + kb, p.k - 1) * p.ldb + _vector(p, j0) * vector
    column, share = part // p.unroll, part % p.unroll
    return panel + column * LINE_BYTES + share * (kb // p.unroll) * p.ldb, p.ldb


@_compiled
def _tiles(
    p: Any, a: int, b: int, c: int, i: int, j: int, tiles: int, i0: int, jc: int, k0: int, kb: int,
    fuses: bool, ahead: int, step: int, buffer_a: int, buffer_b: int, scratch: int,
) -> None:  # fmt: skip
    """Equal tiles from (i, j) on, in one call: down the rows, or along the columns.

    One tile, where it is an edge.
    """
    vector = p.lanes * p.itemsize
    row, v = _row(p, i), _vector(p, j)
    height, width = _row(p, i + 1) - row, _vector(p, j + 1) - v
    edge = _is_edge(p, j)
    if p.pack_a == IN_PLACE:
        a_row, lda, tile = p.lda, p.lda, a + row * p.lda + k0 * p.itemsize
    else:
        a_row, lda = kb * p.itemsize, height * p.itemsize
        tile = buffer_a + (row - _row(p, i0)) * a_row
    source, ldb, b_vector = b + k0 * p.ldb + v * vector, p.ldb, vector
    panel = buffer_b + p.keeps_panels * (v - _vector(p, jc)) * vector * kb
    if (p.pack_b != IN_PLACE or edge) and not fuses:
        source, ldb, b_vector = panel, width * vector, kb * vector
        if p.pack_b == READY:
            source = b + (k0 * _vector(p, p.column_tiles) + v * kb) * vector
    a_step, b_step, c_step = 0, width * b_vector, width * vector
    if p.order == PANELS_FIRST:
        a_step, b_step, c_step = height * a_row, 0, height * p.ldc
    to, ldc = c + row * p.ldc + v * vector, p.ldc
    scale = p.scale if k0 == 0 else p.scale + 2 * p.itemsize
    kernel = p.kernels[1 if fuses else 0, 0 if i < p.extra_rows else 1, _kind(p, j)]
    if edge:
        _call(kernel, (kb, tile, lda, source, ldb, scratch, width * vector, panel, p.lanes,
                       p.scale + 4 * p.itemsize, ahead, step, 1, 0, 0, 0))  # fmt: skip
        _call(p.edge, (height, width - 1, p.tail, scratch, width * vector, to, ldc, scale))
    else:
        _call(kernel, (kb, tile, lda, source, ldb, to, ldc, panel, p.lanes, scale,
                       ahead, step, tiles, a_step, b_step, c_step))  # fmt: skip


@_compiled
def _panels_first(
    p: Any, a: int, b: int, c: int, i0: int, i1: int, jc: int, j0: int, j1: int,
    k0: int, kb: int, first: bool, buffer_a: int, buffer_b: int, scratch: int, column: int,
) -> None:  # fmt: skip
    """Every tile of a block, all rows of a panel of B before the next panel."""
    for j in range(j0, j1):
        edge, lone = _is_edge(p, j), column != 0 and j == j1 - 1
        if first and (p.pack_b == PACK or (edge and p.pack_b != READY)):
            panel = buffer_b + p.keeps_panels * (_vector(p, j) - _vector(p, jc)) * _panel(p, kb)
            _pack_b(p, b, j, k0, kb, panel)
        asks = max(i0, i1 - p.ahead_tiles) if first else i1
        i = i0
        while i < i1:
            stop = min(i1, p.extra_rows) if i < p.extra_rows else i1
            ahead, step = c + _row(p, i) * p.ldc + _vector(p, j) * p.lanes * p.itemsize, 0
            if i < asks:
                stop = min(stop, asks)
            else:
                stop = min(stop, i + p.unroll - (i - asks) % p.unroll)
                ahead, step = _ahead(p, b, i - asks, j, j0, j1, k0, kb)
            fuses = first and i == i0 and p.pack_b == FUSE and not edge
            if fuses or edge or lone:
                stop = i + 1
            _tiles(p, a, b, c, i, j, stop - i, i0, jc, k0, kb, fuses, ahead, step,
                   buffer_a, buffer_b, scratch)  # fmt: skip
            if lone:
                _lone(p, a, column, c, i, k0, kb)
            i = stop


@_compiled
def _rows_first(
    p: Any, a: int, b: int, c: int, i0: int, i1: int, jc: int, j0: int, j1: int,
    k0: int, kb: int, first: bool, buffer_a: int, buffer_b: int, scratch: int, column: int,
) -> None:  # fmt: skip
    """Every tile of a block, all panels of B for a row of tiles before the next row."""
    for i in range(i0, i1):
        packs = first and i == i0 and p.pack_b != READY
        j = j0
        while j < j1:
            edge = _is_edge(p, j)
            fuses = packs and p.pack_b == FUSE and not edge
            stop = min(j1, p.extra_vectors) if j < p.extra_vectors else j1
            if stop == j1 and _is_edge(p, j1 - 1):
                stop -= 1
            if edge or (packs and p.pack_b != IN_PLACE):
                stop = j + 1
            if packs and (p.pack_b == PACK or edge):
                first_vector = p.keeps_panels * (_vector(p, j) - _vector(p, jc))
                _pack_b(p, b, j, k0, kb, buffer_b + first_vector * _panel(p, kb))
            _tiles(p, a, b, c, i, j, stop - j, i0, jc, k0, kb, fuses, c, 0,
                   buffer_a, buffer_b, scratch)  # fmt: skip
            j = stop
        if column != 0:
            _lone(p, a, column, c, i, k0, kb)


@_compiled
def _product(
    p: Any, a: int, b: int, c: int, i0: int, i1: int, j0: int, j1: int,
    buffer_a: int, buffer_b: int, scratch: int,
) -> None:  # fmt: skip
    """The three outer loops over one rectangle of tiles: nc, kc, mc."""
    mc, nc = _even(i1 - i0, p.mc), _even(j1 - j0, p.nc)
    for jc in range(j0, j1, nc):
        for k0 in range(0, p.k, p.kc):
            kb, column = min(p.kc, p.k - k0), 0
            if p.lone and j1 == p.column_tiles and jc + nc >= j1:
                column = _lone_column(p, b, k0, kb, scratch)
            for ic in range(i0, i1, mc):
                stop = min(i1, ic + mc)
                if p.pack_a == PACK:
                    _pack_a(p, a + k0 * p.itemsize, ic, stop, kb, buffer_a)
                if p.order == PANELS_FIRST:
                    _panels_first(p, a, b, c, ic, stop, jc, jc, min(j1, jc + nc), k0, kb, ic == i0,
                                  buffer_a, buffer_b, scratch, column)  # fmt: skip
                else:
                    _rows_first(p, a, b, c, ic, stop, jc, jc, min(j1, jc + nc), k0, kb, ic == i0,
                                buffer_a, buffer_b, scratch, column)  # fmt: skip


@_compiled
def _rectangle(p: Any, thread: int) -> tuple[int, int, int, int]:
    """A thread's tile rows and tile columns."""
    part = thread % (p.grid_rows * p.grid_columns)
    i0, i1 = _share(p.row_tiles, p.grid_rows, part // p.grid_columns)
    j0, j1 = _share(p.column_tiles, p.grid_columns, part % p.grid_columns)
    return i0, i1, j0, j1


@_entry
def multiply(plan: Any, thread: int) -> None:
    """C = alpha·A·B + beta·C for this thread's tiles of its items."""
    p = carray(plan, (1,))[0]
    i0, i1, j0, j1 = _rectangle(p, thread)
    at = thread // (p.grid_rows * p.grid_columns)
    first, stop = _share(p.stop_item - p.first_item, p.grid_items, at)
    if i0 < i1 and j0 < j1:
        for item in range(p.first_item + first, p.first_item + stop):
            _product(
                p, p.a + item % p.groups * p.a_step, p.b + item % p.slots * p.b_step,
                p.c + item * p.c_step, i0, i1, j0, j1,
                p.buffer_a + thread * p.buffer_a_step, p.buffer_b + thread * p.buffer_b_step,
                p.scratch + thread * p.scratch_step,
            )  # fmt: skip


@_entry
def multiply_dots(plan: Any, thread: int) -> None:
    """C = alpha·A·Bᵀ + beta·C by dot products along k, for few columns: A is read once.

    Tiles are rows of A by rows of Bᵀ; ldc and c_step are the strides of C's rows and columns.
    """
    p = carray(plan, (1,))[0]
    i0, i1 = _share(p.row_tiles, p.grid_rows, thread)
    for k0 in range(0, p.k, p.kc):
        kb = min(p.kc, p.k - k0)
        scale = p.scale if k0 == 0 else p.scale + 2 * p.itemsize
        for i in range(i0, i1):
            low = 0 if i < p.extra_rows else 1
            a = p.a + _row(p, i) * p.lda + k0 * p.itemsize
            for j in range(p.column_tiles):
                narrow = 0 if j < p.extra_vectors else 1
                b = p.b + _vector(p, j) * p.ldb + k0 * p.itemsize
                c = p.c + _row(p, i) * p.ldc + _vector(p, j) * p.c_step
                _call(
                    p.kernels[0, low, narrow],
                    (kb, a, p.lda, b, p.ldb, c, p.ldc, p.c_step, scale),
                )


@_entry
def multiply_rows(plan: Any, thread: int) -> None:
    """C = alpha·A·B + beta·C for a few rows: kc whole rows of B at a time, thread by columns.

    Tile rows are those of C that one kernel holds; nc is in vectors.
    """
    p = carray(plan, (1,))[0]
    v0, v1 = _share((p.n + p.lanes - 1) // p.lanes, p.grid_columns, thread)
    nc = _even(v1 - v0, p.nc)
    for v in range(v0, v1, nc):
        columns = min(min(v1, v + nc) * p.lanes, p.n) - v * p.lanes
        for k0 in range(0, p.k, p.kc):
            scale = p.scale if k0 == 0 else p.scale + 2 * p.itemsize
            last = 1 if k0 + p.kc > p.k else 0
            for i in range(p.row_tiles):
                a = p.a + _row(p, i) * p.lda + k0 * p.itemsize
                b = p.b + k0 * p.ldb + v * p.lanes * p.itemsize
                c = p.c + _row(p, i) * p.ldc + v * p.lanes * p.itemsize
                low = 0 if i < p.extra_rows else 1
                _call(p.kernels[last, low, 0], (columns, a, p.lda, b, p.ldb, c, p.ldc, scale))


@_entry
def flip(plan: Any, thread: int) -> None:
    """to = fromᵀ for this thread's share of flip_rows × flip_columns."""
    p = carray(plan, (1,))[0]
    blocks = (p.flip_rows + p.lanes - 1) // p.lanes
    first, stop = _share(blocks, p.grid_items * p.grid_rows * p.grid_columns, thread)
    for block in range(first, stop):
        r = block * p.lanes
        rows = min(p.lanes, p.flip_rows - r)
        source, to = p.flip_from + r * p.flip_ld_from, p.flip_to + r * p.itemsize
        _call(p.transpose, (rows, p.flip_columns, source, p.flip_ld_from, to, p.flip_ld_to))


@_compiled
def _pad_plane(p: Any, source: int, to: int, phase_y: int, phase_x: int) -> None:
    """Every stride-th pixel of one channel, from (phase_y, phase_x) of the padded image on."""
    size = p.itemsize
    left = min(max(0, (p.pad_x - phase_x + p.stride_x - 1) // p.stride_x), p.plane_width)
    right = min(max(left, (p.width - 1 + p.pad_x - phase_x) // p.stride_x + 1), p.plane_width)
    for i in range(p.plane_height):
        y = i * p.stride_y + phase_y - p.pad_y
        row = to + i * p.plane_width * size
        if 0 <= y < p.height:
            x = left * p.stride_x + phase_x - p.pad_x
            pixel = source + (y * p.width + x) * size
            _call(p.pad, (row, left, pixel, p.stride_x * size, right - left, p.plane_width - right))
        else:
            _call(p.pad, (row, p.plane_width, source, size, 0, 0))


@_entry
def pad_images(plan: Any, thread: int) -> None:
    """The padded images of the current items, split by stride phase: a share of their planes.

    A convolution of any stride and dilation then reads rows of adjacent pixels only.
    """
    p = carray(plan, (1,))[0]
    planes = p.channels * p.phase_count
    plane_bytes = p.plane_height * p.plane_width * p.itemsize
    threads = p.grid_items * p.grid_rows * p.grid_columns
    first, stop = _share((p.stop_item - p.first_item) * planes, threads, thread)
    for at in range(first, stop):
        item = p.first_item + at // planes
        channel, phase = at % planes // p.phase_count, at % p.phase_count
        channel_bytes = p.height * p.width * p.itemsize
        source = p.image + item * p.image_step + channel * channel_bytes
        to = p.b + item % p.slots * p.b_step + at % planes * plane_bytes
        y, x = _peek(p.phases + 16 * phase), _peek(p.phases + 16 * phase + 8)
        _pad_plane(p, source, to, y, x)


@_entry
def lower_images(plan: Any, thread: int) -> None:
    """The column matrices (k, n) of the current items: a share of their rows."""
    p = carray(plan, (1,))[0]
    threads = p.grid_items * p.grid_rows * p.grid_columns
    first, stop = _share(p.k, threads, thread)
    count = _peek(p.first_pieces + 8)
    for item in range(p.first_item, p.stop_item):
        columns = p.columns + item % p.groups * p.columns_group + first * p.columns_ld
        columns += item // p.groups % p.column_slots * p.columns_step
        image = p.b + item % p.slots * p.b_step
        _call(p.gather, (stop - first, image, p.offsets + 8 * first, p.pieces, count, columns,
                         p.columns_ld))  # fmt: skip


@_entry
def pack_weights(plan: Any, _thread: int) -> None:
    """All of B into panels at buffer_b, in the order in which a READY product reads them."""
    p = carray(plan, (1,))[0]
    vector = p.lanes * p.itemsize
    for k0 in range(0, p.k, p.kc):
        kb = min(p.kc, p.k - k0)
        block = p.buffer_b + k0 * _vector(p, p.column_tiles) * vector
        for j in range(p.column_tiles):
            _pack_b(p, p.b, j, k0, kb, block + _vector(p, j) * kb * vector)
    if p.lone:
        _copy_lone(p, p.b, 0, p.k, p.buffer_b + p.k * _vector(p, p.column_tiles) * vector)
