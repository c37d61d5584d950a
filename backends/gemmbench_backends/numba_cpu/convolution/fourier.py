"""Convolutions by the Fourier transform of tiles: straight-line transforms, channels in lanes.

A tile of L × L pixels (overlap-save: L - r + 1 of its outputs are right, and kept) is transformed
along its rows as real numbers, of which half the spectrum is enough, and then along the columns.
The spectrum's first and last column are real transforms too. An image that fits one tile is not
padded: what the circular convolution wraps around are zeros, if L is as large as image and
padding on one side.
"""

from collections.abc import Callable
from dataclasses import dataclass

from gemmbench.backend import Operands
from gemmbench.problem import Conv2d, Pair
from gemmbench.space import Config
from gemmbench_backends.numba_cpu.convolution.block import Convolution
from gemmbench_backends.numba_cpu.convolution.codelets import (
    Complex,
    Real,
    complex_transform,
    real_backward,
    real_forward,
    scale,
)
from gemmbench_backends.numba_cpu.convolution.layout import (
    MOST_WEIGHT_BYTES,
    PixelBuffer,
    phases,
    weight_bytes,
)
from gemmbench_backends.numba_cpu.convolution.planes import Tiling, prepare_planes
from gemmbench_backends.numba_cpu.emit import Function, Values, Vector

LENGTHS = (8, 10, 12, 14, 16, 18, 20, 24, 28, 30, 32)  # of a tile: even, with small factors


def unsupported(problem: Conv2d) -> str | None:
    """Why the Fourier transform does not apply; None if it does."""
    if problem.dilation != (1, 1):
        return f"fft takes no dilation, got {problem.dilation[0]}×{problem.dilation[1]}"
    if problem.channels == problem.groups:
        return "fft multiplies matrices: one channel a group makes none"
    taps = phases(problem).taps
    if max(taps) < 2:
        return "fft needs at least 2 taps of a phase along one side: there is nothing to save"
    if not any(_fits(problem, length) for length in LENGTHS):
        return f"fft takes at most {LENGTHS[-1] // 2 + 1} taps of a phase, got {taps[0]}×{taps[1]}"
    if not lengths(problem):
        return "fft: the transformed weights would need more than 1 GiB"
    return None


def lengths(problem: Conv2d) -> tuple[int, ...]:
    """The tiles there are for `problem`: half of their outputs right, or the image in one tile.

    Of those larger than the padded image the smallest.
    """
    found = []
    for length in LENGTHS:
        if _fits(problem, length):
            if 2 * weight_bytes(problem, _planes(length)) <= MOST_WEIGHT_BYTES:
                found.append(length)
            if wraps(problem, length):
                break
    return tuple(found)


def _fits(problem: Conv2d, length: int) -> bool:
    """Whether a tile holds the filter, and half its outputs are right or it holds the image."""
    taps = max(phases(problem).taps)
    return taps < length and (2 * taps <= length + 2 or wraps(problem, length))


def _planes(length: int) -> int:
    """Complex numbers in half the spectrum of a tile, its real columns halved too."""
    half = length // 2 + 1
    return 2 * half + (half - 2) * length


def wraps(problem: Conv2d, length: int) -> bool:
    """Whether the image fits one tile, its padding being what wraps around."""
    p, q = problem.output_size()
    if problem.stride != (1, 1) or max(p, q) > length:
        return False
    return max(problem.height + problem.pad[0], problem.width + problem.pad[1]) <= length


def tiling(problem: Conv2d, length: int, vector: Vector) -> Tiling:
    """`problem` in tiles of length × length pixels."""
    ry, rx = phases(problem).taps
    planes, inputs = _planes(length), (length, length)
    if wraps(problem, length):
        return Tiling(problem, vector, problem.output_size(), inputs, planes, 2, (0, 0))
    outputs = (length - ry + 1, length - rx + 1)
    return Tiling(problem, vector, outputs, inputs, planes, 2, problem.pad)


def prepare_fft(problem: Conv2d, config: Config, operands: Operands, vector: Vector) -> Convolution:
    """The convolution ready to run; prepared weights are transformed here and now."""
    length = int(config["points"])
    cut = tiling(problem, length, vector)
    whole = wraps(problem, length)
    kernels = FourierKernels(
        length,
        (problem.height, problem.width) if whole else (length, length),
        cut.outputs,
        phases(problem).taps,
        problem.pad if whole else (0, 0),
        cut,
    )
    return prepare_planes(cut, kernels, config, operands, growth=1.0)


@dataclass(frozen=True, slots=True)
class FourierKernels:
    """The transforms of tiles of `length` of which `used` pixels are not zero."""

    length: int
    used: Pair
    outputs: Pair
    taps: Pair
    shift: Pair  # by which the taps wrap around to the end
    tiling: Tiling

    def spread(self, pixels: PixelBuffer) -> tuple[str, str]:
        """V: the spectra of tiles."""
        rows, columns = range(self.used[0]), range(self.used[1])
        return self._forward("fft", pixels, list(rows), list(columns), self.tiling.channel_bytes)

    def spread_weights(self, filters: PixelBuffer) -> tuple[str, str]:
        """U: the conjugate spectra of filters, over L², which the way back does not divide by."""
        rows, columns = (
            [(tap - shift) % self.length for tap in range(taps)]
            for taps, shift in zip(self.taps, self.shift, strict=True)
        )
        plane = self.tiling.weight_plane
        return self._forward("fft_weights", filters, rows, columns, plane, conjugate=True)

    def gather(self, results: PixelBuffer) -> tuple[str, str]:
        """Y: the real parts that are kept."""
        size = "_".join(map(str, (self.length, *self.outputs, results.row_bytes)))
        name = f"ifft_{size}_{results.pixel_bytes}_{self.tiling.vector.suffix}"
        f = _function(name, self.tiling.vector)
        scratch = _scratch(f, self.length)
        back = _Backward(f, self, results, scratch)
        _over_vectors(f, back.emit)
        return name, f.text()

    def _forward(
        self, label: str, near: PixelBuffer, rows: list[int], columns: list[int], imaginary: int,
        *, conjugate: bool = False,
    ) -> tuple[str, str]:  # fmt: skip
        places = f"{len(rows)}_{rows[0]}_{len(columns)}_{columns[0]}"
        size = "_".join(map(str, (self.length, places, near.row_bytes, near.pixel_bytes)))
        name = f"{label}_{size}_{imaginary}_{self.tiling.vector.suffix}"
        f = _function(name, self.tiling.vector)
        forward = _Forward(
            f, self.length, near, rows, columns, imaginary, conjugate, _scratch(f, self.length)
        )
        _over_vectors(f, forward.emit)
        return name, f.text()


@dataclass(frozen=True, slots=True)
class _Forward:
    """From pixels to a spectrum; pixel (i, j) stands for element (rows[i], columns[j])."""

    f: Function
    length: int
    near: PixelBuffer
    rows: list[int]
    columns: list[int]
    imaginary: int  # bytes from a real part to its imaginary one
    conjugate: bool
    scratch: "_Scratch"

    def emit(self, source: str, target: str) -> None:
        """One vector of channels of one tile."""
        f, half = self.f, self.length // 2 + 1

        def row(state: Values) -> Values:
            where, to = state["from"][1], state["to"][1]
            x: list[Real] = [None] * self.length
            for j, column in enumerate(self.columns):
                x[column] = f.load(f.at(where, j * self.near.pixel_bytes))
            for k, value in enumerate(real_forward(f, x)):
                self.scratch.put(to, k, value)
            return {
                "from": ("ptr", f.at(where, self.near.row_bytes)),
                "to": ("ptr", f.at(to, self.scratch.row_bytes)),
            }

        start: Values = {"from": ("ptr", source), "to": ("ptr", self.scratch.address)}
        f.loop(str(len(self.rows)), start, row)
        self._column(f.at(self.scratch.address, 0), target, real=True)
        last = f.at(self.scratch.address, (half - 1) * self.scratch.pair)
        after = self._planes_on(target, half)
        self._column(last, after, real=True)

        def column(state: Values) -> Values:
            self._column(state["from"][1], state["to"][1], real=False)
            return {
                "from": ("ptr", f.at(state["from"][1], self.scratch.pair)),
                "to": ("ptr", self._planes_on(state["to"][1], self.length)),
            }

        inner: Values = {
            "from": ("ptr", f.at(self.scratch.address, self.scratch.pair)),
            "to": ("ptr", self._planes_on(after, half)),
        }
        f.loop(str(half - 2), inner, column)

    def _column(self, source: str, target: str, *, real: bool) -> None:
        """The transform of one column of the half spectrum, plane by plane."""
        f = self.f
        x: list[Complex] = [(None, None)] * self.length
        for i, row in enumerate(self.rows):
            x[row] = self.scratch.get(f.at(source, i * self.scratch.row_bytes), 0, real=real)
        done = real_forward(f, [re for re, _ in x]) if real else complex_transform(f, x, -1)
        where = target
        for re, im in done:
            if self.conjugate:
                share = 1.0 / self.length**2
                re, im = scale(f, re, share), scale(f, im, -share)
            f.store(re or "zeroinitializer", where)
            f.store(im or "zeroinitializer", f.at(where, self.imaginary))
            where = f.at(where, "%plane")

    def _planes_on(self, where: str, count: int) -> str:
        return self.f.at(where, self.f.new(f"mul i64 %plane, {count}"))


@dataclass(frozen=True, slots=True)
class _Backward:
    """From a spectrum to the pixels that are kept."""

    f: Function
    kernels: FourierKernels
    near: PixelBuffer
    scratch: "_Scratch"

    def emit(self, source: str, target: str) -> None:
        """One vector of filters of one tile."""
        f, length = self.f, self.kernels.length
        half = length // 2 + 1
        self._column(source, self.scratch.address, real=True)
        after = f.at(source, f.new(f"mul i64 %plane, {half}"))
        self._column(after, f.at(self.scratch.address, (half - 1) * self.scratch.pair), real=True)

        def column(state: Values) -> Values:
            self._column(state["from"][1], state["to"][1], real=False)
            return {
                "from": ("ptr", f.at(state["from"][1], f.new(f"mul i64 %plane, {length}"))),
                "to": ("ptr", f.at(state["to"][1], self.scratch.pair)),
            }

        inner: Values = {
            "from": ("ptr", f.at(after, f.new(f"mul i64 %plane, {half}"))),
            "to": ("ptr", f.at(self.scratch.address, self.scratch.pair)),
        }
        f.loop(str(half - 2), inner, column)

        def row(state: Values) -> Values:
            where, to = state["from"][1], state["to"][1]
            ends = (0, half - 1)
            x = [self.scratch.get(where, k, real=k in ends) for k in range(half)]
            pixels = real_backward(f, x, length)[: self.kernels.outputs[1]]
            for j, value in enumerate(pixels):
                f.store(value or "zeroinitializer", f.at(to, j * self.near.pixel_bytes))
            return {
                "from": ("ptr", f.at(where, self.scratch.row_bytes)),
                "to": ("ptr", f.at(to, self.near.row_bytes)),
            }

        start: Values = {"from": ("ptr", self.scratch.address), "to": ("ptr", target)}
        f.loop(str(self.kernels.outputs[0]), start, row)

    def _column(self, source: str, target: str, *, real: bool) -> None:
        """The rows that are kept of one column of the half spectrum, to scratch."""
        f, length, x = self.f, self.kernels.length, list[Complex]()
        where, imaginary = source, self.kernels.tiling.filter_bytes
        for _ in range(length // 2 + 1 if real else length):
            x.append((f.load(where), f.load(f.at(where, imaginary))))
            where = f.at(where, "%plane")
        if real:
            done: list[Complex] = [(value, None) for value in real_backward(f, x, length)]
        else:
            done = complex_transform(f, x, 1)
        for i, value in enumerate(done[: self.kernels.outputs[0]]):
            self.scratch.put(f.at(target, i * self.scratch.row_bytes), 0, value)


@dataclass(frozen=True, slots=True)
class _Scratch:
    """Half the spectra of a tile's rows, on the stack: pairs of registers."""

    f: Function
    address: str
    length: int

    @property
    def pair(self) -> int:
        """Bytes of a complex number."""
        return 2 * self.f.vector.nbytes

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return (self.length // 2 + 1) * self.pair

    def put(self, row: str, k: int, value: Complex) -> None:
        """Keep number `k` of the row at `row`."""
        re, im = value
        self.f.store(re or "zeroinitializer", self.f.at(row, k * self.pair))
        self.f.store(im or "zeroinitializer", self.f.at(row, k * self.pair + self.pair // 2))

    def get(self, row: str, k: int, *, real: bool) -> Complex:
        """Number `k` of the row at `row`; of a real one its imaginary part is not looked at."""
        re = self.f.load(self.f.at(row, k * self.pair))
        return re, None if real else self.f.load(self.f.at(row, k * self.pair + self.pair // 2))


def _function(name: str, vector: Vector) -> Function:
    """With the parameters of every tile transform: see `transform.tile_transform_ir`."""
    parameters = [("ptr noalias", "from"), ("ptr noalias", "to"), ("i64", "plane"),
                  ("i64", "count"), ("i64", "from_step"), ("i64", "to_step")]  # fmt: skip
    return Function(name, parameters, vector)


def _scratch(f: Function, length: int) -> _Scratch:
    count = length * (length // 2 + 1) * 2
    return _Scratch(f, f.new(f"alloca [{count} x {f.vector.type}], align 64"), length)


def _over_vectors(f: Function, emit: Callable[[str, str], None]) -> None:
    """`emit(from, to)` for one vector of channels after another."""

    def once(state: Values) -> Values:
        source, target = state["from"][1], state["to"][1]
        emit(source, target)
        return {
            "from": ("ptr", f.at(source, "%from_step")),
            "to": ("ptr", f.at(target, "%to_step")),
        }

    f.loop("%count", {"from": ("ptr", "%from"), "to": ("ptr", "%to")}, once)
