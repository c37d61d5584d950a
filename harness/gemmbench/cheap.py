"""The cheap layers of a network: what runs between its products, as values.

They are never raced: `network` runs them so that every product reads what a network really gives
it, and so that the share of products in the whole is known. Like a problem, a cheap layer is a
value: it allocates nothing and knows no library. Its shape follows from what it reads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, get_args

from gemmbench.problem import (
    Pair,
    ProblemError,
    Shape,
    fields_from_data,
    fields_to_data,
    kind_of,
)

MAX, AVERAGE = "max", "average"
METHODS = (MAX, AVERAGE)
UP, DOWN = "up", "down"
ROUNDINGS = (UP, DOWN)
IMAGE_RANK = 4  # (N, C, H, W)


@dataclass(frozen=True, slots=True)
class Relu:
    """out = max(x, 0)."""

    kind: ClassVar[str] = "relu"

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        """That of x."""
        return inputs[0]


@dataclass(frozen=True, slots=True)
class Lrn:
    """Local response normalisation across channels: x / (k + alpha/size · Σ x²)^beta.

    The sum runs over `size` channels around each. Source: Krizhevsky et al. 2012, section 3.3,
    with alpha divided by the size as Caffe does, src/caffe/layers/lrn_layer.cpp.
    """

    kind: ClassVar[str] = "lrn"
    size: int = 5
    alpha: float = 1.0
    beta: float = 0.75
    k: float = 1.0

    def __post_init__(self) -> None:
        if self.size % 2 == 0:
            raise ProblemError("size", f"got {self.size}, expected an odd number of channels.")

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        """That of x: (N, C, H, W)."""
        _check_image(inputs[0])
        return inputs[0]


@dataclass(frozen=True, slots=True)
class Pool:
    """The largest or the average pixel under a window. Sizes are (height, width).

    An average counts padding as zeros but nothing beyond it; a maximum counts neither.
    """

    kind: ClassVar[str] = "pool"
    method: str
    kernel: Pair
    stride: Pair = (1, 1)
    pad: Pair = (0, 0)
    round: str = DOWN

    def __post_init__(self) -> None:
        for pad, kernel in zip(self.pad, self.kernel, strict=True):
            if pad >= kernel:
                raise ProblemError(
                    "pad", f"got {pad}, expected less than the kernel {kernel}: or a window "
                    "would see nothing but padding."
                )  # fmt: skip

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        """(N, C, P, Q). Rounded up, a last window must begin inside the image or its padding.

        Source: Caffe, src/caffe/layers/pooling_layer.cpp, Reshape; PyTorch's ceil_mode is alike.
        """
        _check_image(inputs[0])
        sizes = [self._outputs(size, axis) for axis, size in enumerate(inputs[0][2:])]
        return (*inputs[0][:2], *sizes)

    def _outputs(self, size: int, axis: int) -> int:
        kernel, stride, pad = self.kernel[axis], self.stride[axis], self.pad[axis]
        room = size + 2 * pad - kernel
        if room < 0:
            raise ProblemError(
                "kernel", f"got {kernel}, larger than the padded image {size + 2 * pad}."
            )
        outputs = (-(-room // stride) if self.round == UP else room // stride) + 1
        begins_outside = self.round == UP and (outputs - 1) * stride >= size + pad
        return outputs - 1 if begins_outside else outputs


@dataclass(frozen=True, slots=True)
class Dropout:
    """The identity: at inference nothing is dropped. `ratio` says what training did."""

    kind: ClassVar[str] = "dropout"
    ratio: float = 0.5

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        """That of x."""
        return inputs[0]


@dataclass(frozen=True, slots=True)
class Softmax:
    """exp(x) over its sum across the channels, axis 1."""

    kind: ClassVar[str] = "softmax"

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        """That of x."""
        return inputs[0]


@dataclass(frozen=True, slots=True)
class BatchNorm:
    """scale · (x - mean) / √(variance + epsilon) + shift, all four constant at inference.

    Caffe's BatchNorm followed by its Scale. Source: Ioffe & Szegedy, arXiv:1502.03167.
    """

    kind: ClassVar[str] = "batchnorm"
    epsilon: float = 1e-5

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        """That of x."""
        return inputs[0]


@dataclass(frozen=True, slots=True)
class Add:
    """The sum of its inputs, element by element: the shortcut of a residual block."""

    kind: ClassVar[str] = "add"

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        """That of every input."""
        for shape in inputs[1:]:
            if shape != inputs[0]:
                raise ProblemError(
                    "from", f"reads {_text(inputs[0])} and {_text(shape)}; an add needs equal ones."
                )
        return inputs[0]


@dataclass(frozen=True, slots=True)
class Concat:
    """Its inputs one after another along the channels, axis 1."""

    kind: ClassVar[str] = "concat"

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        """(N, ΣC, H, W), or (N, ΣC)."""
        first = inputs[0]
        for shape in inputs[1:]:
            if (shape[0], shape[2:]) != (first[0], first[2:]):
                raise ProblemError(
                    "from", f"reads {_text(first)} and {_text(shape)}; a concat needs equal sizes "
                    "but for the channels."
                )  # fmt: skip
        return (first[0], sum(shape[1] for shape in inputs), *first[2:])


Cheap = Relu | Lrn | Pool | Dropout | Softmax | BatchNorm | Add | Concat
KINDS: dict[str, type[Any]] = {kind.kind: kind for kind in get_args(Cheap)}
JOINING = frozenset({Add.kind, Concat.kind})  # read two layers or more
ELEMENTWISE = frozenset({Relu.kind, Dropout.kind, BatchNorm.kind})  # may overwrite what they read
PARAMETERS = ("mean", "variance", "scale", "shift")  # of a batchnorm, one number a channel each


def parameter_shapes(layer: Cheap, inputs: Sequence[Shape]) -> dict[str, Shape]:
    """What a layer has learnt, by name: of a batchnorm (C,) each, of the others nothing."""
    return dict.fromkeys(PARAMETERS, (inputs[0][1],)) if isinstance(layer, BatchNorm) else {}


def cheap_to_data(layer: Cheap) -> dict[str, Any]:
    """`layer` as JSON-able data: {"kind": …, then its fields}; pairs become lists."""
    return {"kind": layer.kind, **fields_to_data(layer)}


def cheap_from_data(data: Mapping[str, Any]) -> Cheap:
    """The layer that `cheap_to_data` wrote. Raises ProblemError for an unknown kind."""
    made: Cheap = kind_of(data, KINDS)(**fields_from_data(data))
    return made


def volume(shape: Shape) -> int:
    """Elements of an array of this shape."""
    return prod(shape)


def _check_image(shape: Shape) -> None:
    if len(shape) != IMAGE_RANK:
        raise ProblemError("from", f"reads {_text(shape)}, expected images: batch×C×H×W.")


def _text(shape: Shape) -> str:
    return "×".join(map(str, shape))
