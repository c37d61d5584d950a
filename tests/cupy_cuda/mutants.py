"""Planted defects: one edit of gemm.cu or image.cu each, which the checks must find.

(what is wrong, text, its replacement). A text that is no longer in the source fails the test that
uses it, so that the list keeps up with the kernel.
"""

from gemmbench_backends.cupy_cuda.tiles import Tiles

REGISTERS = Tiles(64, 32, 16, 4, 4, 32, 16, 2, "registers", 4, 4, 1)
ONE_STAGE = Tiles(64, 32, 16, 4, 4, 32, 16, 1, "registers", 4, 4, 1)
ASYNC = Tiles(64, 32, 16, 4, 4, 32, 16, 3, "async", 4, 4, 1)
SCALAR = Tiles(64, 32, 16, 4, 4, 32, 16, 2, "registers", 4, 1, 1)
WIDE = Tiles(64, 64, 16, 8, 8, 32, 64, 2, "registers", 4, 4, 1)

MUTANTS: dict[str, tuple[Tiles, str, str]] = {
    "no barrier after the first buffer": (
        REGISTERS, "b.stash(tiles.b[0]);\n    __syncthreads();", "b.stash(tiles.b[0]);"),
    "no barrier after the next buffer": (
        REGISTERS, "        }\n        __syncthreads();\n    }\n}", "        }\n    }\n}"),
    "no barrier before the only buffer is filled again": (
        ONE_STAGE, "if (STAGES == 1) __syncthreads();", ""),
    "the buffer is not flipped": (REGISTERS, "next = (step + 1) % STAGES", "next = step % STAGES"),
    "a barrier that some threads do not reach": (
        REGISTERS, "        multiply(acc, tiles.a[now]",
        "        if (threadIdx.x < 32) __syncthreads();\n        multiply(acc, tiles.a[now]"),
    "threads without rows leave early": (
        REGISTERS, "    if (steps > 0) {",
        "    if (row0 + chunk_row(0) >= m) return;\n    if (steps > 0) {"),
    "no guard along the outer index": (
        SCALAR, "if (outer >= outer_end || k >= k_end)", "if (k >= k_end)"),
    "no guard along k": (
        SCALAR, "if (outer >= outer_end || k >= k_end)", "if (outer >= outer_end)"),
    "a guard off by one": (SCALAR, "outer >= outer_end ||", "outer > outer_end ||"),
    "a guard along k off by one": (SCALAR, "k >= k_end) return", "k > k_end) return"),
    "rows are stored without a guard": (REGISTERS, "if (row >= m) continue;", ""),
    "columns are stored without a guard": (REGISTERS, "if (column >= n) continue;", ""),
    "the last step along k is left out": (
        REGISTERS, "(k_end - k0 + BK - 1) / BK", "(k_end - k0) / BK"),
    "a lane of a vector twice": (
        REGISTERS, "= held[g].at[v];", "= held[g].at[v == 2 ? 1 : v];"),
    "A is stored one step deeper": (
        REGISTERS, "tile[depth(g) + v][outer(g)] = held",
        "tile[depth(g) + v + 1][outer(g)] = held"),
    "beta is ignored": (REGISTERS, "fmaf(beta, sum.at[v], product) : product", "product : product"),
    "C is read though beta is 0": (
        SCALAR, "beta != 0.f ? fmaf(beta, sum.at[v], product) : product",
        "fmaf(beta, sum.at[v], product)"),
    "alpha is dropped": (REGISTERS, "alpha * acc[i][j + v]", "acc[i][j + v]"),
    "block rows and columns swapped": (
        REGISTERS, "blockIdx.y * BM, column0 = blockIdx.x * BN",
        "blockIdx.x * BM, column0 = blockIdx.y * BN"),
    "B takes the leading dimension of A": (REGISTERS, "b_stride, ldb, n", "b_stride, lda, n"),
    "chunks of columns overlap": (
        WIDE, "chunk * LANES_N * CHUNK + lane", "chunk * CHUNK + lane"),
    "warps swapped": (WIDE, "warp / (BN / WN) * WM", "warp / (BM / WM) * WN"),
    "shared tiles of A with a row too few": (
        REGISTERS,
        "a[STAGES][BK][BM + PAD];\n    float b[STAGES][BK][BN + PAD];\n};\n"
        "static_assert(sizeof(Tiles) ==",
        "a[STAGES][BK - 1][BM + PAD];\n    float b[STAGES][BK][BN + PAD];\n};\n"
        "static_assert(sizeof(Tiles) <="),
    "shared memory not aligned for vectors": (
        REGISTERS, "struct alignas(16) Tiles", "struct Tiles"),
    "copies are waited for one step too late": (
        ASYNC, "wait<STAGES - 2>();", "wait<STAGES - 1>();"),
    "no barrier after the copies arrived": (
        ASYNC, "        __syncthreads();  // all threads' copies",
        "        // all threads' copies"),
    "copies begin before the buffer was read": (
        ASYNC, "        wait<STAGES - 2>();\n        __syncthreads();",
        "        bring(step + STAGES);\n        wait<STAGES - 2>();\n        __syncthreads();"),
    "an empty step is not committed": (
        ASYNC, "        commit();  // an empty one too, so that wait() can count",
        "        if (step < steps) commit();"),
    "padding of a copy is not filled with zeros": (
        ASYNC, "read ? 4 * WIDTH : 0", "4 * WIDTH"),
    "the accumulators are not cleared": (
        REGISTERS, "float acc[TM][TN] = {};",
        "float acc[TM][TN];\n    acc[0][0] = c[0];"),
}  # fmt: skip

REFUSED: dict[str, tuple[Tiles, str, str]] = {  # by the compiler, before any check
    "shared rows shorter than they are used": (
        REGISTERS, "float (*tile)[OUTER + PAD]) const", "float (*tile)[OUTER + PAD + 4]) const"),
}  # fmt: skip

IMAGE_MUTANTS: dict[str, tuple[str, str]] = {
    "padding above is read": ("h >= 0 && ", ""),
    "padding to the left is read": ("w >= 0 && ", ""),
    "padding below is read": ("h < CONV_H &&", "h <= CONV_H &&"),
    "padding to the right is read": ("w < CONV_W;", "w <= CONV_W;"),
    "strides swapped": ("q * CONV_STRIDE_W", "q * CONV_STRIDE_H"),
    "dilations swapped": ("s * CONV_DILATION_W", "s * CONV_DILATION_H"),
    "taps transposed": ("tap / CONV_S, s = tap % CONV_S", "tap % CONV_R, s = tap / CONV_R"),
    "all images are the first": ("(long long)image * CONV_IMAGE + (c", "(c"),
}
