"""The plan of a product: every number that the driver's loops read, in one record of memory.

The driver knows addresses, byte strides and counts, nothing else: no dtype, no problem, no config.
Values change between runs only where a field says so.
"""

import numpy as np

IN_PLACE, PACK, FUSE, READY = range(4)  # where a kernel's panels of A and B come from
BY_ROWS, BY_COLUMNS, IMAGE = range(3)  # what B is before it is packed
LINE_BYTES = 64  # of a cache
PANELS_FIRST, ROWS_FIRST = range(2)  # which loop is innermost: down the rows or along the panels

_SHAPE = ("m", "n", "k", "itemsize", "lanes")
_OPERANDS = ("a", "lda", "a_step", "b", "ldb", "b_step", "c", "ldc", "c_step", "scale")
# An item is one product of a batch; slots are the items whose padded images are kept at a time.
_ITEMS = ("groups", "slots", "first_item", "stop_item")
# m is split into row_tiles tiles of tile_rows rows, the first extra_rows of them one row higher;
# the vectors of a row of C into column_tiles tiles in the same way. tail: lanes of the last vector
# that exist. lone: 1 if a single column follows them, which is computed as dot products.
_TILES = (
    "tile_rows", "extra_rows", "row_tiles", "tile_vectors", "extra_vectors", "column_tiles", "tail",
    "lone",
)  # fmt: skip
# mc and nc are in tiles. keeps_panels: 0 if a packed panel of B may be overwritten by the next.
# The last ahead_tiles of a block ask for the lines of the next panel, `unroll` of them a column.
_BLOCKS = (
    "kc", "mc", "nc", "order", "pack_a", "pack_b", "b_source", "keeps_panels", "ahead_tiles",
    "unroll",
)  # fmt: skip
# A thread's scratch is of one tile of C, and then of the lone column's block of B.
_THREADS = ("grid_items", "grid_rows", "grid_columns", "buffer_a", "buffer_a_step", "buffer_b",
            "buffer_b_step", "scratch", "scratch_step", "lone_at")  # fmt: skip
# Kernels that every register block shares, and the tables that gathering reads.
_SHARED = (
    "transpose", "transpose_spills", "gather", "gather_spills", "pad", "edge", "pack_edge",
    "column", "offsets", "pieces", "first_pieces",
)  # fmt: skip
_IMAGE = (
    "image", "image_step", "channels", "height", "width", "plane_height", "plane_width",
    "phases", "phase_count", "stride_y", "stride_x", "pad_y", "pad_x", "columns", "columns_step",
    "column_slots", "columns_group", "columns_ld",
)  # fmt: skip
_FLIP = ("flip_from", "flip_ld_from", "flip_to", "flip_ld_to", "flip_rows", "flip_columns")

_FIELDS = (*_SHAPE, *_OPERANDS, *_ITEMS, *_TILES, *_BLOCKS, *_THREADS, *_SHARED, *_IMAGE, *_FLIP)

# Addresses of micro-kernels: [stores the panel][low tile][narrow].
PLAN = np.dtype([(name, np.int64) for name in _FIELDS] + [("kernels", np.int64, (2, 2, 2))])
