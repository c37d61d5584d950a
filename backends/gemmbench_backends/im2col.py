"""Layers as products: what a GEMM library needs around it to compute all kinds of problems.

A convolution is lowered into columns (im2col) and multiplied by its filters: image by image, or the
whole batch at once. Which library multiplies is none of this module's business: it gets a `Bind`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from gemmbench.backend import PER_IMAGE, WHOLE, Array, Operands, Prepared
from gemmbench.operands import aligned_empty
from gemmbench.problem import Conv2d, Gemm, Problem
from gemmbench.space import Axis, Config, SearchSpace

Multiply = Callable[[], object]
Bind = Callable[[Array, Array, Array], Multiply]
"""Makes the call that computes left @ right -> product. All are views of the same dtype, of shape
(..., m, k), (..., k, n) and (..., m, n); leading axes broadcast as in np.matmul. The addresses are
fixed, the contents are read at each call. A product is row-major, the others may be transposed."""


def lowerings(problem: Problem) -> tuple[str, ...]:
    """How many images a product may be made of: () where there is only one way."""
    several = isinstance(problem, Conv2d) and problem.batch > 1
    return (PER_IMAGE, WHOLE) if several else ()


def prepare_layer(
    problem: Problem, operands: Operands, bind: Bind, lowering: str = PER_IMAGE
) -> Prepared:
    """`problem` on `operands`, every product of it through `bind`."""
    if isinstance(problem, Conv2d):
        if lowering == WHOLE:
            return _prepare_whole(problem, operands, bind)
        return _prepare_conv2d(problem, operands, bind)
    out = operands["out"]
    if isinstance(problem, Gemm):
        return Product(bind(operands["a"], operands["b"], out), out)
    return Product(bind(operands["x"], operands["w"].T, out), out)


def only_lowering(choice: Config) -> SearchSpace | None:
    """The space of one point that says which lowering was asked for; None for the default."""
    way = choice.get("lowering", PER_IMAGE)
    if way == PER_IMAGE:
        return None
    return SearchSpace((Axis("lowering", (way,), "categorical"),), {"lowering": way})


@dataclass(frozen=True, slots=True)
class Product:
    """One call of a library, which writes to `out`."""

    run: Multiply
    out: Array

    @property
    def workspace_bytes(self) -> int:
        """0: what a library packs into its own buffers is not known here."""
        return 0

    def output(self) -> Array:
        """The operand `out`."""
        return self.out


@dataclass(frozen=True, slots=True)
class Lowered:
    """A convolution, image by image: im2col into one column buffer, then one product a group.

    `taps` sees the columns, (groups, k, P·Q), as (C, R, S, P, Q), the shape of each of `patches`.
    products: for each image the call that multiplies the filters with the columns.
    """

    images: tuple[Array, ...]
    interior: Array | None  # of the padded image; None where the patches view `images` themselves
    patches: tuple[Array, ...]
    taps: Array
    products: tuple[Multiply, ...]
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
            self.products[image]()

    def output(self) -> Array:
        """The operand `out`."""
        return self.out

    def _lower(self, image: int) -> None:
        if self.interior is not None:
            np.copyto(self.interior, self.images[image])
        np.copyto(self.taps, self.patches[image])

    def _lower_all(self) -> None:
        for image in range(len(self.images)):
            self._lower(image)

    def _multiply_all(self) -> None:
        for multiply in self.products:
            multiply()


def _prepare_conv2d(problem: Conv2d, operands: Operands, bind: Bind) -> Prepared:
    x, out, shape = operands["x"], operands["out"], problem.gemm()
    filters = operands["w"].reshape(problem.groups, shape.m, shape.k)
    products = out.reshape(problem.batch, problem.groups, shape.m, shape.n)
    if problem.im2col_bytes() == 0:  # each image is its own column matrix
        columns = x.reshape(problem.batch, problem.groups, shape.k, shape.n)
        return Product(bind(filters, columns, products), out)
    columns = aligned_empty((problem.groups, shape.k, shape.n), problem.dtype)
    taps = columns.reshape(problem.channels, *problem.kernel, *problem.output_size())
    interior, workspace_bytes = None, columns.nbytes
    if problem.pad == (0, 0):
        patches = tuple(_patches(problem, image) for image in x)
    else:
        (padded,), (interior,) = _padded_images(problem, 1)
        patches = (_patches(problem, padded),) * problem.batch
        workspace_bytes += padded.nbytes
    multiplies = tuple(bind(filters, columns, product) for product in products)
    return Lowered(tuple(x), interior, patches, taps, multiplies, out, workspace_bytes)


@dataclass(frozen=True, slots=True)
class LoweredWhole:
    """A convolution as one product a group for all images together, which lie side by side.

    lowered: (columns, patches) of each image, both (C, R, S, P, Q). product: (groups, m, N, P·Q),
    rearranged into `images` of the output, (N, groups, m, P·Q).
    """

    padded: tuple[Array, Array] | None  # the images' interior, and where they come from
    lowered: tuple[tuple[Array, Array], ...]
    multiply: Multiply
    product: Array
    images: Array
    out: Array
    workspace_bytes: int

    @property
    def stages(self) -> Mapping[str, Callable[[], object]]:
        """The parts of `run()`, in order."""
        return {
            "im2col": self._lower,
            "multiply": self.multiply,
            "output transform": self._rearrange,
        }

    def run(self) -> None:
        """Lower all images, multiply once, put the output's images one after the other."""
        self._lower()
        self.multiply()
        self._rearrange()

    def output(self) -> Array:
        """The operand `out`."""
        return self.out

    def _lower(self) -> None:
        if self.padded is not None:
            np.copyto(*self.padded)
        for columns, patches in self.lowered:
            np.copyto(columns, patches)

    def _rearrange(self) -> None:
        np.copyto(self.images, self.product.transpose(2, 0, 1, 3))


def _prepare_whole(problem: Conv2d, operands: Operands, bind: Bind) -> LoweredWhole:
    """Its columns are (groups, k, N·P·Q), images outside of pixels."""
    x, out, shape, n = operands["x"], operands["out"], problem.gemm(), problem.batch
    filters = operands["w"].reshape(problem.groups, shape.m, shape.k)
    columns = aligned_empty((problem.groups, shape.k, n * shape.n), problem.dtype)
    product = aligned_empty((problem.groups, shape.m, n * shape.n), problem.dtype)
    taps = columns.reshape(problem.channels, *problem.kernel, n, *problem.output_size())
    held, padded, images = [columns, product], None, x
    if problem.pad != (0, 0):
        images, interior = _padded_images(problem, n)
        padded, held = (interior, x), [*held, images]
    return LoweredWhole(
        padded,
        tuple((taps[:, :, :, at], _patches(problem, image)) for at, image in enumerate(images)),
        bind(filters, columns, product),
        product.reshape(problem.groups, shape.m, n, shape.n),
        out.reshape(n, problem.groups, shape.m, shape.n),
        out,
        sum(array.nbytes for array in held),
    )


def _padded_images(problem: Conv2d, count: int) -> tuple[Array, Array]:
    """Zeroed (count, C, H + 2·pad, W + 2·pad) images and the view of their interiors."""
    (top, left), height, width = problem.pad, problem.height, problem.width
    size = (height + 2 * top, width + 2 * left)
    padded = aligned_empty((count, problem.channels, *size), problem.dtype)
    padded.fill(0)
    return padded, padded[:, :, top : top + height, left : left + width]


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
