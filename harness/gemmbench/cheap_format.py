"""The cheap layers in a suite file: models that mirror them, as `suite_format` has of products.

None has a shape: it follows from the layers that it reads.
"""

from typing import Annotated, Any

from pydantic import PlainValidator

from gemmbench.cheap import (
    DOWN,
    METHODS,
    ROUNDINGS,
    Add,
    BatchNorm,
    Cheap,
    Concat,
    Dropout,
    Lrn,
    Pool,
    Relu,
    Softmax,
)
from gemmbench.errors import did_you_mean
from gemmbench.format_leaves import (
    MappingModel,
    Pads,
    Positive,
    Schema,
    Share,
    Size,
    Sizes,
    got,
    refusal,
)


def _method(value: Any) -> str:
    if value not in METHODS:
        raise refusal(f"{got(value)}.{did_you_mean(str(value), METHODS)}")
    return str(value)


def _rounding(value: Any) -> str:
    if value not in ROUNDINGS:
        raise refusal(f"{got(value)}.{did_you_mean(str(value), ROUNDINGS)}")
    return str(value)


Method = Annotated[str, PlainValidator(_method), Schema({"type": "string", "enum": list(METHODS)})]
Rounding = Annotated[
    str, PlainValidator(_rounding), Schema({"type": "string", "enum": list(ROUNDINGS)})
]


class CheapModel(MappingModel):
    """The base of the cheap kinds of layers."""

    def layer(self) -> Cheap:
        """The cheap layer. Raises ProblemError."""
        raise NotImplementedError


class ReluModel(CheapModel):
    """The larger of x and 0: {}."""

    def layer(self) -> Relu:
        """The layer itself."""
        return Relu()


class LrnModel(CheapModel):
    """Local response normalisation across channels, as Caffe's: x / (k + alpha/size Σx²)^beta."""

    size: Size = 5
    """Channels that the sum runs over, an odd number."""
    alpha: Positive = 1.0
    """Weight of the mean of the squares."""
    beta: Positive = 0.75
    """The exponent."""
    k: Positive = 1.0
    """What is added to the mean of the squares."""

    def layer(self) -> Lrn:
        """The layer itself. Raises ProblemError for an even size."""
        return Lrn(self.size, self.alpha, self.beta, self.k)


class PoolModel(CheapModel):
    """The largest or the average pixel under a window."""

    method: Method
    """max or average."""
    kernel: Sizes
    """Size of the window: a number or [height, width]."""
    stride: Sizes = (1, 1)
    """Step of the window: a number or [height, width]."""
    pad: Pads = (0, 0)
    """Padding on each side: a number or [height, width], less than the kernel."""
    round: Rounding = DOWN
    """Whether a window that hangs over the edge counts: up as in Caffe, or down."""

    def layer(self) -> Pool:
        """The layer itself. Raises ProblemError for a padding as large as the window."""
        return Pool(self.method, self.kernel, self.stride, self.pad, self.round)


class DropoutModel(CheapModel):
    """The identity: at inference nothing is dropped."""

    ratio: Share = 0.5
    """What training drops; it changes nothing here."""

    def layer(self) -> Dropout:
        """The layer itself."""
        return Dropout(self.ratio)


class SoftmaxModel(CheapModel):
    """exp(x) over its sum across the channels: {}."""

    def layer(self) -> Softmax:
        """The layer itself."""
        return Softmax()


class BatchNormModel(CheapModel):
    """Batch normalisation at inference with its scale and shift: constants a channel."""

    epsilon: Positive = 1e-5
    """Added to the variance."""

    def layer(self) -> BatchNorm:
        """The layer itself."""
        return BatchNorm(self.epsilon)


class AddModel(CheapModel):
    """The sum of the layers it reads, element by element: {}."""

    def layer(self) -> Add:
        """The layer itself."""
        return Add()


class ConcatModel(CheapModel):
    """The layers it reads, one after another along the channels: {}."""

    def layer(self) -> Concat:
        """The layer itself."""
        return Concat()
