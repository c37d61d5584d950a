"""What is computed: one operation with its shape and dtype, and what can be counted from that.

A problem is a value. It allocates nothing, reads nothing and knows no library; FLOPs and bytes
are derived from the shape alone.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar, get_args

from gemmbench.errors import GemmbenchError, did_you_mean

Shape = tuple[int, ...]
Pair = tuple[int, int]  # (height, width)
Kind = TypeVar("Kind")

ITEMSIZE = {"float32": 4, "float64": 8}  # bytes an element; the dtypes gemmbench knows


class ProblemError(GemmbenchError):
    """A shape that cannot be computed; `field` names the culprit, for whoever knows the file."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(field, message)  # both, or a copy of the error could not be made
        self.field = field
        self.message = message

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


@dataclass(frozen=True, slots=True)
class GemmShape:
    """`count` independent products of (m, k) by (k, n)."""

    m: int
    k: int
    n: int
    count: int = 1

    def __str__(self) -> str:
        times = f" ×{self.count}" if self.count > 1 else ""
        return f"{self.m}×{self.k}×{self.n}{times}"


@dataclass(frozen=True, slots=True)
class Gemm:
    """C = A·B with a: (m, k), b: (k, n), out: (m, n), row-major."""

    kind: ClassVar[str] = "gemm"
    m: int
    k: int
    n: int
    dtype: str = "float32"

    def __post_init__(self) -> None:
        _check_sizes(self, "m", "k", "n")
        _check_dtype(self.dtype)

    def gemm(self) -> GemmShape:
        """The product itself."""
        return GemmShape(self.m, self.k, self.n)

    def operand_shapes(self) -> dict[str, Shape]:
        """a: (m, k) and b: (k, n)."""
        return {"a": (self.m, self.k), "b": (self.k, self.n)}

    def output_shape(self) -> Shape:
        """(m, n)."""
        return (self.m, self.n)

    def reduction_length(self) -> int:
        """Products added up for one element of the output: k."""
        return self.k

    def flops(self) -> int:
        """Floating-point operations: 2·m·k·n, a multiply and an add counted apart."""
        return 2 * self.m * self.k * self.n

    def minimal_bytes(self) -> int:
        """Bytes moved if every operand is read once and the output written once."""
        return _minimal_bytes(self)

    def im2col_bytes(self) -> int:
        """0: a plain product needs no lowering."""
        return 0


@dataclass(frozen=True, slots=True)
class Linear:
    """A fully connected layer: out = x·wᵀ with x: (batch, in), w: (out, in), out: (batch, out)."""

    kind: ClassVar[str] = "linear"
    batch: int
    in_features: int
    out_features: int
    dtype: str = "float32"

    def __post_init__(self) -> None:
        _check_sizes(self, "batch", "in_features", "out_features")
        _check_dtype(self.dtype)

    def gemm(self) -> GemmShape:
        """m = batch, k = in_features, n = out_features."""
        return GemmShape(self.batch, self.in_features, self.out_features)

    def operand_shapes(self) -> dict[str, Shape]:
        """x: (batch, in_features) and w: (out_features, in_features)."""
        return {"x": (self.batch, self.in_features), "w": (self.out_features, self.in_features)}

    def output_shape(self) -> Shape:
        """(batch, out_features)."""
        return (self.batch, self.out_features)

    def reduction_length(self) -> int:
        """Products added up for one element of the output: in_features."""
        return self.in_features

    def flops(self) -> int:
        """Floating-point operations: 2 · batch · in_features · out_features."""
        return 2 * self.batch * self.in_features * self.out_features

    def minimal_bytes(self) -> int:
        """Bytes moved if every operand is read once and the output written once."""
        return _minimal_bytes(self)

    def im2col_bytes(self) -> int:
        """0: a fully connected layer needs no lowering."""
        return 0


@dataclass(frozen=True, slots=True)
class Conv2d:
    """A 2-D cross-correlation: x (N, C, H, W), w (K, C/groups, R, S) -> out (N, K, P, Q)."""

    kind: ClassVar[str] = "conv2d"
    batch: int
    channels: int
    height: int
    width: int
    filters: int
    kernel: Pair
    stride: Pair = (1, 1)
    pad: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    dtype: str = "float32"

    def __post_init__(self) -> None:
        _check_sizes(self, "batch", "channels", "height", "width", "filters", "groups")
        _check_pairs(self, 1, "kernel", "stride", "dilation")
        _check_pairs(self, 0, "pad")
        _check_dtype(self.dtype)
        for name in ("channels", "filters"):
            if getattr(self, name) % self.groups:
                raise ProblemError(
                    "groups",
                    f"got {self.groups}, which does not divide {name} {getattr(self, name)}.",
                )
        padded = (self.height + 2 * self.pad[0], self.width + 2 * self.pad[1])
        extent = self.kernel_extent()
        if extent[0] > padded[0] or extent[1] > padded[1]:
            raise ProblemError(
                "kernel",
                f"got {extent[0]}×{extent[1]} (dilated), larger than the padded input "
                f"{padded[0]}×{padded[1]}. Use a smaller kernel or more padding.",
            )

    def kernel_extent(self) -> Pair:
        """Input pixels that the dilated kernel spans, (height, width)."""
        return (
            self.dilation[0] * (self.kernel[0] - 1) + 1,
            self.dilation[1] * (self.kernel[1] - 1) + 1,
        )

    def output_size(self) -> Pair:
        """(P, Q): output pixels, rounded down as Caffe and PyTorch do for a convolution."""
        extent = self.kernel_extent()
        return (
            (self.height + 2 * self.pad[0] - extent[0]) // self.stride[0] + 1,
            (self.width + 2 * self.pad[1] - extent[1]) // self.stride[1] + 1,
        )

    def gemm(self) -> GemmShape:
        """What im2col makes of an image's group: m = K/groups, k = C/groups·R·S, n = P·Q."""
        p, q = self.output_size()
        return GemmShape(
            self.filters // self.groups, self.reduction_length(), p * q, self.batch * self.groups
        )

    def operand_shapes(self) -> dict[str, Shape]:
        """x: (N, C, H, W) and w: (K, C/groups, R, S)."""
        return {
            "x": (self.batch, self.channels, self.height, self.width),
            "w": (self.filters, self.channels // self.groups, *self.kernel),
        }

    def output_shape(self) -> Shape:
        """(N, K, P, Q)."""
        return (self.batch, self.filters, *self.output_size())

    def reduction_length(self) -> int:
        """Products added up for one element of the output: C/groups · R · S."""
        return self.channels // self.groups * self.kernel[0] * self.kernel[1]

    def flops(self) -> int:
        """Operations of the direct method: 2 · N · K · P · Q · (C/groups) · R · S.

        FFT and Winograd are rated by the same count, so GFLOP/s compares time to answer.
        """
        p, q = self.output_size()
        return 2 * self.batch * self.filters * p * q * self.reduction_length()

    def minimal_bytes(self) -> int:
        """Bytes moved if every operand is read once and the output written once."""
        return _minimal_bytes(self)

    def im2col_bytes(self) -> int:
        """Bytes of the im2col matrix of one image, all groups; 0 where the image already is one."""
        if self.kernel == (1, 1) and self.stride == (1, 1) and self.pad == (0, 0):
            return 0
        p, q = self.output_size()
        return self.groups * self.reduction_length() * p * q * ITEMSIZE[self.dtype]


Problem = Gemm | Linear | Conv2d
KINDS: dict[str, type[Gemm] | type[Linear] | type[Conv2d]] = {
    kind.kind: kind for kind in get_args(Problem)
}


def problem_to_data(problem: Problem) -> dict[str, Any]:
    """`problem` as JSON-able data: {"kind": …, then its fields}; pairs become lists."""
    return {"kind": problem.kind, **fields_to_data(problem)}


def problem_from_data(data: Mapping[str, Any]) -> Problem:
    """The problem that `problem_to_data` wrote. Raises ProblemError for an unknown kind."""
    return kind_of(data, KINDS)(**fields_from_data(data))


def fields_to_data(value: Any) -> dict[str, Any]:
    """The fields of a dataclass, JSON-able: pairs become lists."""
    return {
        key: list(field) if isinstance(field, tuple) else field
        for key, field in dataclasses.asdict(value).items()
    }


def fields_from_data(data: Mapping[str, Any]) -> dict[str, Any]:
    """What `fields_to_data` made into data, whose "kind" is no field."""
    return {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in data.items()
        if key != "kind"
    }


def kind_of(data: Mapping[str, Any], kinds: Mapping[str, Kind]) -> Kind:
    """The kind that `data` names, one of `kinds`. Raises ProblemError for another."""
    kind = str(data.get("kind"))
    if kind not in kinds:
        raise ProblemError("kind", f"got {kind!r}.{did_you_mean(kind, kinds)}")
    return kinds[kind]


def _minimal_bytes(problem: Problem) -> int:
    shapes = [*problem.operand_shapes().values(), problem.output_shape()]
    return ITEMSIZE[problem.dtype] * sum(_volume(shape) for shape in shapes)


def _volume(shape: Shape) -> int:
    total = 1
    for size in shape:
        total *= size
    return total


def _check_sizes(problem: Problem, *names: str) -> None:
    for name in names:
        value = getattr(problem, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ProblemError(name, f"got {value!r}, expected an integer >= 1.")


def _check_pairs(problem: Problem, least: int, *names: str) -> None:
    for name in names:
        pair = getattr(problem, name)
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise ProblemError(name, f"got {pair!r}, expected (height, width).")
        for value in pair:
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ProblemError(name, f"got {value!r}, expected an integer >= {least}.")


def _check_dtype(dtype: str) -> None:
    if dtype not in ITEMSIZE:
        raise ProblemError("dtype", f"got {dtype!r}.{did_you_mean(dtype, ITEMSIZE)}")
