"""Convolution through the frequency domain with scipy.fft, in the precision of the problem.

Image and filter are transformed whole (no tiles), multiplied per frequency and summed over the
channels as a batched complex product, and transformed back. A stride costs the full stride-1
output; that is what FFT convolution without polyphase splitting really does.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import log2, prod

import numpy as np

from gemmbench.backend import Array, Operands, Prepared
from gemmbench.errors import GemmbenchError
from gemmbench.machine import Machine
from gemmbench.operands import aligned_empty
from gemmbench.problem import Conv2d, Pair, Problem
from gemmbench.space import Config, SearchSpace
from gemmbench_backends.blas import limit_blas_threads

BLOCK_BYTES = 2**26  # memory of one block of filters, their products and all temporaries: 64 MiB
COMPLEX_MULTIPLY_ADD_FLOPS = 8  # real operations: 4 multiplies and 4 additions
COMPLEX_TYPES = {"float32": "complex64", "float64": "complex128"}
AXES = (-2, -1)


class Fft:
    """Convolutions by scipy.fft. Raises GemmbenchError for an option: none exists yet."""

    name = "fft"

    def __init__(self, option: str = "") -> None:
        if option:
            raise GemmbenchError(
                f"backend 'fft:{option}': got option {option!r}, 'fft' takes none. "
                "Name it 'fft': the FFT that SciPy brings."
            )

    def unavailable(self) -> str | None:
        """None: SciPy is a dependency."""
        return None

    def supports(self, problem: Problem) -> str | None:
        """None for a convolution."""
        if isinstance(problem, Conv2d):
            return None
        return f"fft computes conv2d, not {problem.kind}: only a convolution has a spectrum"

    def algorithms(self, problem: Problem) -> Mapping[str, Sequence[str]]:
        """Filters are transformed in each call, or ahead: at inference they are constant."""
        return {"fft": ("plain", "prepared")}

    def search_space(
        self, problem: Problem, machine: Machine, choice: Config
    ) -> SearchSpace | None:
        """None: nothing to tune."""
        return None

    def library(self) -> str:
        """SciPy's version; its FFT is pocketfft."""
        import scipy

        return f"scipy {scipy.__version__} pocketfft"

    def prepare(self, problem: Problem, config: Config, operands: Operands) -> Prepared:
        """Buffers, and with prepared weights the filter spectra. Products raise GemmbenchError."""
        if not isinstance(problem, Conv2d):
            raise GemmbenchError(f"backend 'fft': {self.supports(problem)}.")
        threads = int(config["threads"])
        limit_blas_threads(threads)
        return _prepare(problem, operands, config["weights"] == "prepared", threads)


@dataclass(frozen=True, slots=True)
class Geometry:
    """The transform of one problem. Sizes are (rows, columns)."""

    points: Pair  # lengths of the transform, fast ones
    used: Pair  # leading pixels of the image that the output depends on
    rows: Array  # where each filter tap goes, so that output pixel 0 is at index 0
    columns: Array

    @property
    def frequencies(self) -> Pair:
        """The half of the spectrum that a real transform keeps."""
        return (self.points[0], self.points[1] // 2 + 1)


def transform_geometry(problem: Conv2d) -> Geometry:
    """The smallest fast transform whose wrap-around touches no output pixel that is kept."""
    from scipy.fft import next_fast_len

    (used_rows, rows), (used_columns, columns) = (_least_points(problem, axis) for axis in (0, 1))
    points = (int(next_fast_len(rows)), int(next_fast_len(columns, real=True)))
    taps = [
        (problem.pad[axis] - problem.dilation[axis] * np.arange(problem.kernel[axis]))
        % points[axis]
        for axis in (0, 1)
    ]
    return Geometry(points, (used_rows, used_columns), taps[0], taps[1])


def _least_points(problem: Conv2d, axis: int) -> tuple[int, int]:
    """Pixels used along `axis`, and the least length of a circular convolution that is right.

    Output j sums the pixels j - pad … j - pad + extent - 1. The indices below 0 wrap to the end
    and share the zeros there with those past the image, so the padding is needed only
    once. Taps that coincide modulo that length read nothing but zeros.
    """
    size, pad = (problem.height, problem.width)[axis], problem.pad[axis]
    last = (problem.output_size()[axis] - 1) * problem.stride[axis]
    used = max(1, min(size, last + problem.kernel_extent()[axis] - pad))
    return used, max(used + pad, last + 1)


@dataclass(frozen=True, slots=True)
class Block:
    """Some filters of every group, all arrays frequency-major as a batched product wants them.

    filters: (groups, size, C/groups, R, S). spectra: (frequencies, groups, C/groups, size).
    products: (frequencies, groups, N, size). outputs: (N, groups, size, P, Q), a view of `out`.
    """

    filters: Array
    spectra: Array
    products: Array
    outputs: Array


@dataclass(frozen=True, slots=True)
class FftConvolution:
    """A convolution ready to run, a block of filters at a time to bound the memory.

    images: (N, C, rows, columns), the pixels used. signals: (frequencies, groups, N, C/groups).
    taps: (groups, size, C/groups, *points), zero but for the taps; None with prepared spectra.
    """

    problem: Conv2d
    geometry: Geometry
    threads: int
    images: Array
    signals: Array
    taps: Array | None
    blocks: tuple[Block, ...]
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
        if self.taps is not None:
            stages["filter transform"] = lambda: self._each(self._transform_filters)
        stages["multiply"] = lambda: self._each(self._multiply)
        stages["output transform"] = lambda: self._each(self._transform_output)
        return stages

    def run(self) -> None:
        """Transform the images; then block by block the filters, the product, and back."""
        self._transform_input()
        for block in self.blocks:
            self._transform_filters(block)
            self._multiply(block)
            self._transform_output(block)

    def output(self) -> Array:
        """The operand `out`."""
        return self.out

    def _each(self, step: Callable[[Block], None]) -> None:
        for block in self.blocks:
            step(block)

    def _transform_input(self) -> None:
        spectra = _forward(self.images, self.geometry, self.threads)
        grouped = spectra.reshape(
            self.problem.batch, self.problem.groups, -1, *self.geometry.frequencies
        )
        np.copyto(_by_frequency(self.signals, self.geometry), grouped.transpose(3, 4, 1, 0, 2))

    def _transform_filters(self, block: Block) -> None:
        if self.taps is not None:
            _transform_filters(block, self.taps, self.geometry, self.threads)

    def _multiply(self, block: Block) -> None:
        np.matmul(self.signals, block.spectra, out=block.products)

    def _transform_output(self, block: Block) -> None:
        from scipy.fft import irfft2

        # A view: pocketfft gathers strided input faster than a copy rearranges it.
        spectra = _by_frequency(block.products, self.geometry).transpose(3, 2, 4, 0, 1)
        full = irfft2(spectra, s=self.geometry.points, axes=AXES, workers=self.threads)
        (p, q), (down, right) = self.problem.output_size(), self.problem.stride
        kept = full[..., : (p - 1) * down + 1 : down, : (q - 1) * right + 1 : right]
        np.copyto(block.outputs, kept)


def transform_flops(problem: Conv2d, geometry: Geometry, prepared: bool) -> int:
    """Operations of the algorithm itself, by convention: it rates plausibility, not speed.

    2.5 · P · log2(P) a real transform of P points, and 8 a complex multiply-add.
    Source: https://www.fftw.org/speed/, "5 N log2(N) … / 2 for real-data FFTs".
    """
    n, c, k = problem.batch, problem.channels, problem.filters
    transforms = n * c + n * k + (0 if prepared else k * (c // problem.groups))
    points, frequencies = prod(geometry.points), prod(geometry.frequencies)
    products = n * c * (k // problem.groups) * frequencies
    return round(transforms * 2.5 * points * log2(points) + COMPLEX_MULTIPLY_ADD_FLOPS * products)


def _prepare(problem: Conv2d, operands: Operands, prepared: bool, threads: int) -> FftConvolution:
    geometry = transform_geometry(problem)
    rows, columns = geometry.used
    size = _filters_per_block(problem, geometry)
    groups, per_group = problem.groups, problem.channels // problem.groups
    taps = aligned_empty((groups, size, per_group, *geometry.points), problem.dtype)
    taps.fill(0)
    blocks = _make_blocks(problem, operands, geometry, size, shared=not prepared)
    if prepared:
        for block in blocks:
            _transform_filters(block, taps, geometry, threads)
    signals = _spectra(problem, geometry, groups, problem.batch, per_group)
    held = [signals, blocks[0].products, *(block.spectra for block in blocks if prepared)]
    held += [] if prepared else [taps, blocks[0].spectra]
    return FftConvolution(
        problem=problem,
        geometry=geometry,
        threads=threads,
        images=operands["x"][:, :, :rows, :columns],
        signals=signals,
        taps=None if prepared else taps,
        blocks=blocks,
        out=operands["out"],
        flops=transform_flops(problem, geometry, prepared),
        workspace_bytes=sum(array.nbytes for array in held)
        + _temporary_bytes(problem, geometry, 0 if prepared else size, size),
    )


def _make_blocks(
    problem: Conv2d, operands: Operands, geometry: Geometry, size: int, shared: bool
) -> tuple[Block, ...]:
    """Blocks of `size` filters a group; with `shared` their spectra lie in one buffer."""
    n, groups, per_group = problem.batch, problem.groups, problem.channels // problem.groups
    filters = operands["w"].reshape(groups, -1, per_group, *problem.kernel)
    outputs = operands["out"].reshape(n, groups, -1, *problem.output_size())
    products = _spectra(problem, geometry, groups, n, size)
    spectra = _spectra(problem, geometry, groups, per_group, size) if shared else None
    blocks = []
    for start in range(0, filters.shape[1], size):
        part = filters[:, start : start + size]
        shape = (groups, per_group, part.shape[1])
        blocks.append(
            Block(
                part,
                _spectra(problem, geometry, *shape) if spectra is None else _head(spectra, *shape),
                _head(products, groups, n, part.shape[1]),
                outputs[:, :, start : start + size],
            )
        )
    return tuple(blocks)


def _transform_filters(block: Block, taps: Array, geometry: Geometry, threads: int) -> None:
    placed = taps[:, : block.filters.shape[1]]
    placed[..., geometry.rows[:, None], geometry.columns] = block.filters
    spectra = _forward(placed, geometry, threads)
    np.copyto(_by_frequency(block.spectra, geometry), spectra.transpose(3, 4, 0, 2, 1))


def _forward(images: Array, geometry: Geometry, threads: int) -> Array:
    """Spectra of `images`, zero-padded to the transform, in the precision of `images`."""
    from scipy.fft import rfft2

    spectra: Array = rfft2(images, s=geometry.points, axes=AXES, workers=threads)
    return spectra


def _spectra(problem: Conv2d, geometry: Geometry, *shape: int) -> Array:
    return aligned_empty((prod(geometry.frequencies), *shape), COMPLEX_TYPES[problem.dtype])


def _head(buffer: Array, *shape: int) -> Array:
    """The beginning of `buffer` as a contiguous (frequencies, *shape) array."""
    whole = (buffer.shape[0], *shape)
    return buffer.reshape(-1)[: prod(whole)].reshape(whole)


def _by_frequency(array: Array, geometry: Geometry) -> Array:
    """A view of `array` with its first axis split into rows and columns of the spectrum."""
    return array.reshape(*geometry.frequencies, *array.shape[1:])


def _filters_per_block(problem: Conv2d, geometry: Geometry) -> int:
    """Filters a group whose taps, spectra, products and temporaries fit in BLOCK_BYTES; >= 1."""
    real, spectrum = _bytes_each(problem, geometry)
    inputs, outputs = problem.channels, problem.batch * problem.groups
    each = (inputs + outputs) * (real + 2 * spectrum)
    return max(1, min(BLOCK_BYTES // each, problem.filters // problem.groups))


def _temporary_bytes(problem: Conv2d, geometry: Geometry, transformed: int, size: int) -> int:
    """The largest of what scipy allocates at one time: in the input, filter and output transform.

    `transformed`: filters a group that a call transforms. `size`: filters a group of a block.
    """
    real, spectrum = _bytes_each(problem, geometry)
    inputs = problem.batch * problem.channels * (real + spectrum)
    filters = transformed * problem.channels * spectrum
    outputs = problem.batch * problem.groups * size * (real + spectrum)
    return max(inputs, filters, outputs)


def _bytes_each(problem: Conv2d, geometry: Geometry) -> Pair:
    """Bytes of one padded image and of its spectrum."""
    itemsize = np.dtype(problem.dtype).itemsize
    return itemsize * prod(geometry.points), 2 * itemsize * prod(geometry.frequencies)
