"""A convolution by transforms of whole images: buffers, blocks of filters, and the four stages."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from gemmbench.backend import Array, Operands
from gemmbench.operands import aligned_empty
from gemmbench.problem import Conv2d
from gemmbench_backends.fft.buffers import (
    Multiplier,
    Placed,
    by_image,
    by_phase,
    depth_of,
    empty_spectra,
    head,
)
from gemmbench_backends.fft.filters import FilterTransforms, filter_transforms
from gemmbench_backends.fft.geometry import Geometry, transform_flops
from gemmbench_backends.fft.libraries import Library, Transform

BLOCK_BYTES = 2**26  # memory of one block of filters, their products and all temporaries: 64 MiB

Call = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Block:
    """Some filters of every group, all arrays frequency-major as a batched product wants them.

    spectra: (frequencies, groups, depth, size). products: (frequencies, groups, N, size).
    """

    spectra: Array
    products: Array
    filter_transform: Transform | None  # None with prepared spectra
    output_transform: Transform


@dataclass(frozen=True, slots=True)
class FftConvolution:
    """A convolution ready to run, a block of filters at a time to bound the memory.

    images: the phases of x, and where they go. signals: (frequencies, groups, N, depth), depth
    being the channels of a group times the phases.
    """

    geometry: Geometry
    images: tuple[Placed, ...]
    input_transform: Transform
    signals: Array
    blocks: tuple[Block, ...]
    multiply: Multiplier
    out: Array
    flops: int
    workspace_bytes: int

    @property
    def stages(self) -> Mapping[str, Callable[[], None]]:
        """The parts of `run()`, each over all blocks.

        Blocks share their buffers, as in `run()`, so that each part costs what it costs there;
        in order they give the answer where one block holds all filters.
        """
        stages: dict[str, Callable[[], None]] = {"input transform": self._transform_input}
        if self.blocks[0].filter_transform is not None:
            stages["filter transform"] = lambda: self._each(_transform_filters)
        stages["multiply"] = lambda: self._each(self._multiply)
        stages["output transform"] = lambda: self._each(_transform_output)
        return stages

    def run(self) -> None:
        """Transform the images; then block by block the filters, the product, and back."""
        self._transform_input()
        for block in self.blocks:
            _transform_filters(block)
            self._multiply(block)
            _transform_output(block)

    def output(self) -> Array:
        """The operand `out`."""
        return self.out

    def _each(self, step: Callable[[Block], None]) -> None:
        for block in self.blocks:
            step(block)

    def _transform_input(self) -> None:
        for image in self.images:
            image.copy()
        self.input_transform.run()

    def _multiply(self, block: Block) -> None:
        self.multiply(self.signals, block.spectra, block.products)


def _transform_filters(block: Block) -> None:
    if block.filter_transform is not None:
        block.filter_transform.run()


def _transform_output(block: Block) -> None:
    block.output_transform.run()


def prepare_convolution(
    problem: Conv2d, operands: Operands, geometry: Geometry, library: Library, config: "Chosen"
) -> FftConvolution:
    """Buffers and plans, and with prepared weights the filter spectra."""
    size = _filters_per_block(problem, geometry, library)
    n, groups, depth = problem.batch, problem.groups, depth_of(problem, geometry)
    pixels = aligned_empty((n, groups, depth, *geometry.points), problem.dtype)
    signals = empty_spectra(problem, geometry, groups, n, depth)
    transform = library.forward(
        pixels, by_image(signals, geometry).transpose(3, 2, 4, 0, 1), config.threads
    )
    pixels.fill(0)
    multiply = Multiplier(config.threads)
    filters = filter_transforms(problem, geometry, library, size, multiply, config.threads)
    blocks = tuple(_blocks(problem, operands, geometry, library, filters, size, config))
    filters.clear()
    held = [pixels, signals, blocks[0].products]
    if config.prepared:
        for block in blocks:
            _transform_filters(block)
        blocks = tuple(replace(block, filter_transform=None) for block in blocks)
        held += [block.spectra for block in blocks]
    else:
        held += [*filters.held(), blocks[0].spectra]
    return FftConvolution(
        geometry=geometry,
        images=tuple(_place_images(problem, operands["x"], geometry, pixels)),
        input_transform=transform,
        signals=signals,
        blocks=blocks,
        multiply=multiply,
        out=operands["out"],
        flops=transform_flops(problem, geometry, config.prepared),
        workspace_bytes=sum(array.nbytes for array in held) + _transform_bytes(transform, blocks),
    )


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a config says: whether filters are transformed ahead, and how many threads work."""

    prepared: bool
    threads: int


def _place_images(problem: Conv2d, x: Array, geometry: Geometry, pixels: Array) -> Iterator[Placed]:
    """Each phase of the images, and where it goes in `pixels`."""
    images = x.reshape(problem.batch, problem.groups, -1, problem.height, problem.width)
    split = by_phase(pixels, geometry)
    for i, j, down, along in geometry.each_phase():
        from_rows, to_rows = geometry.rows.pixels(down)
        from_columns, to_columns = geometry.columns.pixels(along)
        taken, at = (from_rows, from_columns), (to_rows, to_columns)
        yield Placed(images, taken, split[:, :, :, i, j], at)


def _blocks(
    problem: Conv2d, operands: Operands, geometry: Geometry, library: Library,
    transforms: FilterTransforms, size: int, config: Chosen,
) -> Iterator[Block]:  # fmt: skip
    """Blocks of `size` filters a group; but with prepared weights their spectra share a buffer."""
    n, groups, depth = problem.batch, problem.groups, depth_of(problem, geometry)
    filters = operands["w"].reshape(groups, -1, problem.channels // groups, *problem.kernel)
    outputs = operands["out"].reshape(n, groups, -1, *problem.output_size())
    products = empty_spectra(problem, geometry, groups, n, size)
    shared = empty_spectra(problem, geometry, groups, depth, 0 if config.prepared else size)
    for start in range(0, filters.shape[1], size):
        part = filters[:, start : start + size]
        count = part.shape[1]
        shape = (groups, depth, count)
        own = config.prepared
        spectra = empty_spectra(problem, geometry, *shape) if own else head(shared, *shape)
        product = head(products, groups, n, count)
        yield Block(
            spectra,
            product,
            transforms.bind(part, spectra),
            library.backward(
                by_image(product, geometry).transpose(3, 2, 4, 0, 1),
                geometry.points,
                outputs[:, :, start : start + size],
                geometry.step,
                config.threads,
            ),
        )


def _filters_per_block(problem: Conv2d, geometry: Geometry, library: Library) -> int:
    """Filters a group whose taps, spectra, products and temporaries fit in BLOCK_BYTES; >= 1.

    Their products fit in what the library is fastest with too, if that is not too few.
    """
    itemsize = np.dtype(problem.dtype).itemsize
    real, spectrum = itemsize * prod(geometry.points), 2 * itemsize * prod(geometry.frequencies)
    inputs, outputs = problem.channels * prod(geometry.phases), problem.batch * problem.groups
    each = (inputs + outputs) * (real + 2 * spectrum)
    near = max(library.fewest_filters, library.product_bytes // (outputs * spectrum))
    return max(1, min(BLOCK_BYTES // each, near, problem.filters // problem.groups))


def _transform_bytes(inputs: Transform, blocks: tuple[Block, ...]) -> int:
    """What the transforms hold, and the most that one of them takes during a call."""
    each = [block.output_transform for block in blocks]
    each += [t for t in (block.filter_transform for block in blocks) if t is not None]
    held = inputs.held_bytes + sum(transform.held_bytes for transform in each)
    return held + max(transform.call_bytes for transform in (inputs, *each))
