"""Layers as products: what a GEMM library needs around it to compute all kinds of problems.

A convolution is lowered image by image into columns (im2col) and multiplied by its filters. Which
library multiplies is none of this module's business: it gets a `Bind`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from gemmbench.backend import Array, Operands, Prepared
from gemmbench.operands import aligned_empty
from gemmbench.problem import Conv2d, Gemm, Problem

Multiply = Callable[[], object]
Bind = Callable[[Array, Array, Array], Multiply]
"""Makes the call that computes left @ right -> product. All are views of the same dtype, of shape
(..., m, k), (..., k, n) and (..., m, n); leading axes broadcast as in np.matmul. The addresses are
fixed, the contents are read at each call. A product is row-major, the others may be transposed."""


def prepare_layer(problem: Problem, operands: Operands, bind: Bind) -> Prepared:
    """`problem` on `operands`, every product of it through `bind`."""
    if isinstance(problem, Conv2d):
        return _prepare_conv2d(problem, operands, bind)
    out = operands["out"]
    if isinstance(problem, Gemm):
        return Product(bind(operands["a"], operands["b"], out), out)
    return Product(bind(operands["x"], operands["w"].T, out), out)


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
        padded, interior = _padded_image(problem)
        patches = (_patches(problem, padded),) * problem.batch
        workspace_bytes += padded.nbytes
    multiplies = tuple(bind(filters, columns, product) for product in products)
    return Lowered(tuple(x), interior, patches, taps, multiplies, out, workspace_bytes)


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
