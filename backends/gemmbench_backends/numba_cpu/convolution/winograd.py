"""Convolutions by Winograd's minimal filtering: fewer products for more additions."""

from dataclasses import dataclass

from gemmbench.backend import Operands
from gemmbench.problem import Conv2d
from gemmbench.space import Config
from gemmbench_backends.numba_cpu.convolution.block import Convolution
from gemmbench_backends.numba_cpu.convolution.cooktoom import (
    MOST_POINTS,
    Matrix,
    Transform,
    cook_toom,
    growth,
    identity,
)
from gemmbench_backends.numba_cpu.convolution.layout import (
    MOST_WEIGHT_BYTES,
    PixelBuffer,
    phases,
    weight_bytes,
)
from gemmbench_backends.numba_cpu.convolution.planes import Tiling, prepare_planes
from gemmbench_backends.numba_cpu.convolution.transform import TileTransform, tile_transform_ir
from gemmbench_backends.numba_cpu.emit import Vector

TILES = (2, 3, 4)  # outputs of a tile, each way; 6 was never clearly faster and is less accurate


def unsupported(problem: Conv2d) -> str | None:
    """Why Winograd's method does not apply; None if it does."""
    if problem.dilation != (1, 1):
        return f"winograd takes no dilation, got {problem.dilation[0]}×{problem.dilation[1]}"
    taps = phases(problem).taps
    if max(taps) < 2:
        return "winograd needs at least 2 taps of a phase along one side: there is nothing to save"
    if max(taps) + min(TILES) - 1 > MOST_POINTS:
        return (
            f"winograd takes at most {MOST_POINTS + 1 - min(TILES)} taps of a phase, "
            f"got {taps[0]}×{taps[1]}"
        )
    if problem.channels == problem.groups:
        return "winograd multiplies matrices: one channel a group makes none"
    if not tiles(problem):
        return "winograd: the transformed weights would need more than 1 GiB"
    return None


def tiles(problem: Conv2d) -> tuple[int, ...]:
    """The output tiles there are for the taps of `problem`."""
    taps = phases(problem).taps
    planes = {m: (m + taps[0] - 1) * (m + taps[1] - 1) for m in TILES}
    return tuple(
        m
        for m in TILES
        if m + max(taps) - 1 <= MOST_POINTS
        and weight_bytes(problem, planes[m]) <= MOST_WEIGHT_BYTES
    )


def tiling(problem: Conv2d, m: int, vector: Vector) -> Tiling:
    """`problem` in tiles of m × m outputs."""
    down, along = transforms(problem, m)
    inputs = (down.points, along.points)
    return Tiling(problem, vector, (m, m), inputs, inputs[0] * inputs[1], 1, problem.pad)


def transforms(problem: Conv2d, m: int) -> tuple[Transform, Transform]:
    """Down the rows, along the columns."""
    down, along = (cook_toom(m, r) if r > 1 else identity(m) for r in phases(problem).taps)
    return down, along


def prepare_winograd(
    problem: Conv2d, config: Config, operands: Operands, vector: Vector
) -> Convolution:
    """The convolution ready to run; prepared weights are transformed here and now."""
    m = int(config["m"])
    down, along = transforms(problem, m)
    label = f"f{m}_{'x'.join(str(r) for r in phases(problem).taps)}"
    kernels = WinogradKernels(label, down, along, vector)
    grown = growth(down) * growth(along)
    return prepare_planes(tiling(problem, m, vector), kernels, config, operands, grown)


@dataclass(frozen=True, slots=True)
class WinogradKernels:
    """The three transforms of a tile, of one size of tile and of taps: `label`."""

    label: str
    down: Transform
    along: Transform
    vector: Vector

    def spread(self, pixels: PixelBuffer) -> tuple[str, str]:
        """V = Bᵀ·X·B."""
        return self._kernel("inputs", self.down.inputs, self.along.inputs, pixels)

    def gather(self, results: PixelBuffer) -> tuple[str, str]:
        """Y = Aᵀ·M·A."""
        return self._kernel("output", self.down.output, self.along.output, results)

    def spread_weights(self, filters: PixelBuffer) -> tuple[str, str]:
        """U = G·W·Gᵀ."""
        return self._kernel("weights", self.down.weights, self.along.weights, filters)

    def _kernel(
        self, side: str, rows: Matrix, columns: Matrix, near: PixelBuffer
    ) -> tuple[str, str]:
        transform = TileTransform(
            f"{side}_{self.label}", rows, columns, near.row_bytes, near.pixel_bytes, self.vector,
            side != "output",
        )  # fmt: skip
        return transform.name(), tile_transform_ir(transform)
