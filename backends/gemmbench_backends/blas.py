"""Whatever BLAS NumPy is linked to: a product is one np.matmul, a convolution im2col and np.matmul.

It is the yardstick of every race: what a user gets without installing anything.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gemmbench.backend import Array, Operands, Prepared
from gemmbench.errors import GemmbenchError
from gemmbench.machine import Machine
from gemmbench.operands import aligned_empty
from gemmbench.problem import Conv2d, Gemm, Problem
from gemmbench.space import Config, SearchSpace

KINDS = ("gemm", "linear", "conv2d")
LIBRARY_NAMES = {"openblas": "OpenBLAS", "mkl": "MKL", "blis": "BLIS", "flexiblas": "FlexiBLAS"}


class Blas:
    """NumPy's own BLAS. Raises GemmbenchError for an option: none exists yet."""

    name = "blas"

    def __init__(self, option: str = "") -> None:
        if option:
            raise GemmbenchError(
                f"backend 'blas:{option}': got option {option!r}, 'blas' takes none. "
                "Name it 'blas': the BLAS that NumPy is linked to."
            )

    def unavailable(self) -> str | None:
        """None: NumPy always has a BLAS."""
        return None

    def supports(self, problem: Problem) -> str | None:
        """None for products and convolutions."""
        if problem.kind in KINDS:
            return None
        return f"blas computes {', '.join(KINDS)}, not {problem.kind}"

    def algorithms(self, problem: Problem) -> Mapping[str, Sequence[str]]:
        """A convolution is lowered by im2col; BLAS has no interface for weights packed ahead."""
        return {"im2col" if isinstance(problem, Conv2d) else "gemm": ("plain",)}

    def search_space(
        self, problem: Problem, machine: Machine, choice: Config
    ) -> SearchSpace | None:
        """None: BLAS chooses its own tiles."""
        return None

    def library(self) -> str:
        """Which BLAS really runs, its kernel and threads."""
        from threadpoolctl import threadpool_info

        pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
        # SciPy's wheel brings a BLAS of its own; np.matmul calls the one in NumPy's.
        pools.sort(key=lambda pool: "numpy" not in pool["filepath"])
        if not pools:
            linked = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
            return f"numpy {np.__version__}, {linked['name']} {linked['version']}"
        pool = pools[0]
        name = LIBRARY_NAMES.get(pool["internal_api"], pool["internal_api"])
        version = ".".join(str(pool["version"]).split(".")[:3])
        threads = f"{pool['num_threads']} thread{'s' if pool['num_threads'] > 1 else ''}"
        kernel = ", ".join(filter(None, (pool.get("architecture"), threads)))
        return f"numpy {np.__version__}, {name} {version} ({kernel})"

    def prepare(self, problem: Problem, config: Config, operands: Operands) -> Prepared:
        """Views for np.matmul, and for a convolution the column buffer and the padded image."""
        limit_blas_threads(int(config["threads"]))
        if isinstance(problem, Conv2d):
            return _prepare_conv2d(problem, operands)
        if isinstance(problem, Gemm):
            return Product(operands["a"], operands["b"], operands["out"], operands["out"])
        return Product(operands["x"], operands["w"].T, operands["out"], operands["out"])


def limit_blas_threads(threads: int) -> None:
    """Let every BLAS in this process use `threads` threads from now on.

    The environment says so too when a worker starts; a library loaded before that is told here.
    """
    from threadpoolctl import threadpool_limits

    threadpool_limits(limits=threads, user_api="blas")


@dataclass(frozen=True, slots=True)
class Product:
    """One np.matmul of views: left @ right -> product, a view of `out`."""

    left: Array
    right: Array
    product: Array
    out: Array

    @property
    def workspace_bytes(self) -> int:
        """0: what BLAS packs into its own buffers is not known here."""
        return 0

    def run(self) -> None:
        """Multiply."""
        np.matmul(self.left, self.right, out=self.product)

    def output(self) -> Array:
        """The operand `out`."""
        return self.out


@dataclass(frozen=True, slots=True)
class Lowered:
    """A convolution, image by image: im2col into one column buffer, then one product a group.

    filters: (groups, K/groups, k). columns: (groups, k, P·Q), seen by `taps` as (C, R, S, P, Q),
    the shape of each of `patches`. products: a (groups, K/groups, P·Q) view of `out` an image.
    """

    images: tuple[Array, ...]
    interior: Array | None  # of the padded image; None where the patches view `images` themselves
    patches: tuple[Array, ...]
    columns: Array
    taps: Array
    filters: Array
    products: tuple[Array, ...]
    out: Array
    workspace_bytes: int

    @property
    def stages(self) -> Mapping[str, Callable[[], None]]:
        """Both parts of `run()`, each over the whole batch.

        They share the columns of one image, as in `run()`, so that each costs what it costs
        there; after both, in order, the last image of the output is the right one.
        """
        return {"im2col": self._lower_all, "multiply": self._multiply_all}

    def run(self) -> None:
        """Lower and multiply one image after the other: its columns are still in cache."""
        for image in range(len(self.images)):
            self._lower(image)
            self._multiply(image)

    def output(self) -> Array:
        """The operand `out`."""
        return self.out

    def _lower(self, image: int) -> None:
        if self.interior is not None:
            np.copyto(self.interior, self.images[image])
        np.copyto(self.taps, self.patches[image])

    def _multiply(self, image: int) -> None:
        np.matmul(self.filters, self.columns, out=self.products[image])

    def _lower_all(self) -> None:
        for image in range(len(self.images)):
            self._lower(image)

    def _multiply_all(self) -> None:
        for image in range(len(self.images)):
            self._multiply(image)


def _prepare_conv2d(problem: Conv2d, operands: Operands) -> Prepared:
    x, out, shape = operands["x"], operands["out"], problem.gemm()
    filters = operands["w"].reshape(problem.groups, shape.m, shape.k)
    products = out.reshape(problem.batch, problem.groups, shape.m, shape.n)
    if problem.im2col_bytes() == 0:  # each image is its own column matrix
        columns = x.reshape(problem.batch, problem.groups, shape.k, shape.n)
        return Product(filters, columns, products, out)
    columns = aligned_empty((problem.groups, shape.k, shape.n), problem.dtype)
    taps = columns.reshape(problem.channels, *problem.kernel, *problem.output_size())
    interior, workspace_bytes = None, columns.nbytes
    if problem.pad == (0, 0):
        patches = tuple(_patches(problem, image) for image in x)
    else:
        padded, interior = _padded_image(problem)
        patches = (_patches(problem, padded),) * problem.batch
        workspace_bytes += padded.nbytes
    return Lowered(
        tuple(x), interior, patches, columns, taps, filters, tuple(products), out, workspace_bytes
    )


def _padded_image(problem: Conv2d) -> tuple[Array, Array]:
    """A zeroed (C, H + 2·pad, W + 2·pad) image and the view of its interior."""
    (top, left), height, width = problem.pad, problem.height, problem.width
    padded = aligned_empty((problem.channels, height + 2 * top, width + 2 * left), problem.dtype)
    padded.fill(0)
    return padded, padded[:, top : top + height, left : left + width]


def _patches(problem: Conv2d, image: Array) -> Array:
    """A (C, R, S, P, Q) view: the pixel of `image` under each filter tap and output pixel."""
    channel, row, column = image.strides
    (down, right), (tap_down, tap_right) = problem.stride, problem.dilation
    return np.lib.stride_tricks.as_strided(
        image,
        (problem.channels, *problem.kernel, *problem.output_size()),
        (channel, tap_down * row, tap_right * column, down * row, right * column),
        writeable=False,
    )
