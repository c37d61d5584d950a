"""The plan of a convolution by blocks: every number that the driver's loops read, in one record.

A *strip* is some rows of tiles of one image: its input rows are brought into lanes, its output rows
back into planes. A *block* is some strips whose intermediates fit in cache together. A *unit* is a
block of one group, which is what threads share, beside the filters.

The driver knows addresses, byte strides and counts, nothing else: no dtype, no problem, no config.
"""

import numpy as np

MOST_ROWS = 32  # of a register block
WIDTHS = 2  # panels of weights are of two widths: wider ones first
INPUT, MULTIPLY, OUTPUT = 1, 2, 4  # bits of `stages`, what is done with each block
ALL_STAGES = INPUT | MULTIPLY | OUTPUT

_VECTOR = ("itemsize", "lanes")
# planes of x and out; *_step: from one image to the next, *_group: from one group to the next
_IMAGES = (
    "x", "x_step", "x_group", "x_plane", "height", "width", "channels",
    "out", "out_step", "out_group", "out_plane", "out_height", "out_width", "filters",
)  # fmt: skip
# row_step and row_extent: input rows from one row of tiles to the next, and of one
_STRIPS = (
    "pad_y", "row_step", "row_extent", "tile_height", "tile_rows", "tiles_per_row", "strip_rows",
    "strips_per_image", "strips", "block_strips", "blocks", "groups", "clears",
)  # fmt: skip
# strip buffers, in lanes: `slots` pixels and results; tables of where planes' pixels go
_LANES = (
    "pixels", "pixels_step", "pixels_slot", "results", "results_step", "results_slot", "ld_results",
    "to_table", "from_table", "tile_down", "tile_across", "result_down", "result_across",
)  # fmt: skip
# the transformed side: `planes` matrices V (tiles, channels) and M (tiles, filters)
_PLANES = (
    "planes", "complex_parts", "v", "v_step", "v_plane", "v_imaginary", "ldv", "m", "m_step",
    "m_plane", "m_imaginary", "ldm", "vectors_in",
)  # fmt: skip
_WEIGHTS = (
    "w", "w_group", "w_filter", "w_elements", "weights", "weights_group", "weights_plane",
    "weights_imaginary", "weights_depth", "scratch", "scratch_table", "panel_tables", "weight_step",
)  # fmt: skip
_PRODUCT = (
    "tile", "taps", "tap_offsets", "inner", "chunks", "chunk_taps", "rows", "tile_vectors",
    "extra_vectors", "column_tiles",
)  # fmt: skip
# stages: ALL_STAGES, but while one of them is timed apart
_THREADS = ("grid_units", "grid_columns", "stages")
_KERNELS = ("to_lanes", "to_few_lanes", "to_planes", "spread", "gather", "spread_weights")

_FIELDS = (*_VECTOR, *_IMAGES, *_STRIPS, *_LANES, *_PLANES, *_WEIGHTS, *_PRODUCT, *_THREADS,
           *_KERNELS)  # fmt: skip

_DEPTHWISE = (
    "x", "x_plane", "w", "w_filter", "out", "out_plane", "filters", "multiplier", "planes",
    "threads", "zeros", "kernel",
)  # fmt: skip
DEPTHWISE = np.dtype([(name, np.int64) for name in _DEPTHWISE])

# Addresses of panel kernels: [adds to C][height of the register block][narrower panel].
CONVOLUTION = np.dtype(
    [(name, np.int64) for name in _FIELDS] + [("kernels", np.int64, (2, MOST_ROWS + 1, WIDTHS))]
)
