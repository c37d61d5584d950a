"""A config as the numbers behind gemm.cu: threads, shared memory, macros, and the product's layout.

Everything here is arithmetic that a machine without a GPU can do and check.
"""

from dataclasses import dataclass
from math import gcd

from gemmbench.problem import Conv2d, Gemm, Linear, Problem
from gemmbench.space import Config

FLOAT = 4  # bytes
WIDEST = 4  # floats in one load: 16 bytes
SHORTEST_COPY = 4  # bytes of cp.async
REACH = 1024  # rows, columns or steps that the last tile, or an empty share of k, goes past the end
MOST_COUNTED = 2**31 - 1 - REACH  # the kernels' rows, columns and depths are C's int


@dataclass(frozen=True, slots=True)
class Tiles:
    """One point of the space, without `split`, which is no matter for the compiler."""

    bm: int
    bn: int
    bk: int
    tm: int
    tn: int
    wm: int
    wn: int
    stages: int
    copy: str  # "registers" or "async"
    pad: int
    vec: int
    blocks: int  # that are to fit on an SM: a limit on registers

    @property
    def threads(self) -> int:
        """Of a block."""
        return self.bm * self.bn // (self.tm * self.tn)

    @property
    def shared_bytes(self) -> int:
        """Of a block: `stages` tiles of both operands, their rows padded."""
        return FLOAT * self.stages * self.bk * (self.bm + self.bn + 2 * self.pad)


@dataclass(frozen=True, slots=True)
class Layout:
    """One kind of product: C (m, n) = A (m, k) · B (k, n), `batches` of them in one launch.

    `lda`, `ldb`, `ldc` are leading dimensions in floats; an operand is K-major if it is contiguous
    along k. Strides from one product to the next are in floats; A repeats after `a_count`.
    With `image`, B is looked up in images (implicit GEMM) and n counts the pixels of all of them.
    """

    m: int
    n: int
    k: int
    a_k_major: bool
    b_k_major: bool
    lda: int
    ldb: int
    ldc: int
    batches: int = 1
    a_count: int = 1
    a_stride: int = 0
    b_stride: int = 0
    c_stride: int = 0
    c_width: int = 0  # floats of C that are surely contiguous; 0 is n
    image: Conv2d | None = None

    @property
    def widest_a(self) -> int:
        """Floats of A that may be loaded at once: every row begins at a multiple of them."""
        return gcd(WIDEST, self.lda, self.a_stride, self.k if self.a_k_major else self.m)

    @property
    def widest_b(self) -> int:
        """Likewise of B; 1 if it is gathered from images."""
        if self.image is not None:
            return 1
        return gcd(WIDEST, self.ldb, self.b_stride, self.k if self.b_k_major else self.n)

    @property
    def widest_c(self) -> int:
        """Likewise of C."""
        return gcd(WIDEST, self.ldc, self.c_stride, self.c_width or self.n)

    @property
    def c_floats(self) -> int:
        """Elements of all products together."""
        return self.batches * self.m * self.n


def layout(problem: Problem, algorithm: str) -> Layout:
    """How `problem` is laid out for the kernel by `algorithm`."""
    if isinstance(problem, Gemm):
        m, k, n = problem.m, problem.k, problem.n
        return Layout(m, n, k, True, False, k, n, n)
    if isinstance(problem, Linear):
        m, k, n = problem.batch, problem.in_features, problem.out_features
        return Layout(m, n, k, True, True, k, k, n)
    shape, groups = problem.gemm(), problem.groups
    m, k, pixels = shape.m, shape.k, shape.n
    if algorithm == "implicit-gemm":
        image_floats = problem.channels // groups * problem.height * problem.width
        return Layout(
            m, problem.batch * pixels, k, True, False, k, 0, pixels, batches=groups,
            a_count=groups, a_stride=m * k, b_stride=image_floats, c_stride=m * pixels,
            c_width=pixels, image=problem,
        )  # fmt: skip
    return Layout(
        m, pixels, k, True, False, k, pixels, pixels, batches=problem.batch * groups,
        a_count=groups, a_stride=m * k, b_stride=k * pixels, c_stride=m * pixels,
    )  # fmt: skip


def uncountable(problem: Problem, product: Layout) -> str | None:
    """Why the kernels' 32-bit indices are too short for `product`; None if they are not.

    Rows, columns and depths are 32 bits wide, and so are places inside the channels that one group
    sees of one image. Offsets of whole rows, images and products have 64 bits.
    """
    columns = "output pixels of all images" if product.image is not None else "columns"
    counts = {"rows": product.m, columns: product.n, "steps along k": product.k}
    if isinstance(problem, Conv2d):
        floats = problem.channels // problem.groups * problem.height * problem.width
        counts["floats of an image in a group"] = floats
    for what, count in counts.items():
        if count > MOST_COUNTED:
            return (
                f"{count} {what}, the kernels' 32-bit indices count {MOST_COUNTED}. "
                "Use a smaller --batch or a smaller layer"
            )
    return None


def tiles_of(config: Config) -> Tiles:
    """The tiles in `config`, whose other keys are ignored."""
    numbers = {
        name: int(config[name])
        for name in ("bm", "bn", "bk", "tm", "tn", "wm", "wn", "stages", "pad", "vec", "blocks")
    }
    return Tiles(copy=str(config["copy"]), **numbers)


def macros(tiles: Tiles, product: Layout) -> dict[str, int]:
    """The macros that make gemm.cu the kernel of `tiles` for products like `product`."""
    defined = {
        "BM": tiles.bm, "BN": tiles.bn, "BK": tiles.bk, "TM": tiles.tm, "TN": tiles.tn,
        "WM": tiles.wm, "WN": tiles.wn, "STAGES": tiles.stages,
        "ASYNC": int(tiles.copy == "async"), "PAD": tiles.pad,
        "VEC_A": min(tiles.vec, product.widest_a), "VEC_B": min(tiles.vec, product.widest_b),
        "VEC_C": min(tiles.vec, product.widest_c), "MINB": tiles.blocks,
        "A_K_MAJOR": int(product.a_k_major), "B_K_MAJOR": int(product.b_k_major),
        "SHARED_BYTES": tiles.shared_bytes, "IMPLICIT": int(product.image is not None),
    }  # fmt: skip
    return defined if product.image is None else defined | image_macros(product.image)


def image_macros(problem: Conv2d) -> dict[str, int]:
    """The geometry of a convolution as image.cu reads it."""
    pixels = problem.output_size()
    per_group = problem.channels // problem.groups
    sizes = {
        "C": per_group, "H": problem.height, "W": problem.width, "R": problem.kernel[0],
        "S": problem.kernel[1], "P": pixels[0], "Q": pixels[1],
        "STRIDE_H": problem.stride[0], "STRIDE_W": problem.stride[1],
        "PAD_H": problem.pad[0], "PAD_W": problem.pad[1],
        "DILATION_H": problem.dilation[0], "DILATION_W": problem.dilation[1],
        "IMAGE": problem.channels * problem.height * problem.width,
        "OUT_IMAGE": problem.filters * pixels[0] * pixels[1],
    }  # fmt: skip
    return {f"CONV_{name}": size for name, size in sizes.items()}


def estimated_registers(tiles: Tiles, product: Layout) -> int:
    """Registers of a thread, about: accumulators, operands, what is prefetched, and addresses.

    Measured on what NVRTC makes for sm_80 and sm_90; the compiler's own count decides later.
    """
    prefetched = 0
    if tiles.copy == "registers":
        prefetched = tiles.bk * (tiles.bm + tiles.bn) // tiles.threads
    addresses = 32 if product.image is None else 48
    return tiles.tm * tiles.tn + tiles.tm + tiles.tn + prefetched + addresses
