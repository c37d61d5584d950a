"""The format of a suite file: pydantic models that mirror it and give its JSON Schema.

A new kind of layer is one model with a `problem` method and one field of `LayerModel`; the cheap
layers of a network are in `cheap_format`, the values that both are made of in `format_leaves`.
This module knows neither files nor which suites exist.
"""

import re
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from gemmbench.cheap_format import (
    AddModel,
    BatchNormModel,
    CheapModel,
    ConcatModel,
    DropoutModel,
    LrnModel,
    PoolModel,
    ReluModel,
    SoftmaxModel,
)
from gemmbench.format_leaves import (
    Dtype,
    Effect,
    Image,
    MappingModel,
    MaxError,
    Name,
    Names,
    Pads,
    Size,
    Sizes,
    Text,
    absent,
    got,
    refusal,
)
from gemmbench.problem import Conv2d, Gemm, Linear, Problem

DEFAULT_BATCH = 1
DEFAULT_DTYPE = "float32"
ONLY_OF_PRODUCTS = ("dtype", "batch", "count", "min_effect", "max_regression")
"""Keys that a cheap layer lacks: it takes type and batch from what it reads, and is never raced."""


def _some_layers(value: Any) -> Any:
    if not isinstance(value, list) or not value:
        raise refusal(f"{got(value)}, expected a list of layers.")
    return value


class DefaultsModel(MappingModel):
    """What a layer takes where it says nothing else."""

    dtype: Dtype = DEFAULT_DTYPE
    """Type of the elements."""
    batch: Size = DEFAULT_BATCH
    """Images of a convolution or rows of a linear layer; a gemm has no batch."""


class KindModel(MappingModel):
    """The base of the kinds of layers, each of which makes one problem."""

    batched: ClassVar[bool] = True

    def problem(self, batch: int, dtype: str) -> Problem:
        """The problem that the layer is. Raises ProblemError."""
        raise NotImplementedError


class Conv2dModel(KindModel):
    """A 2-D convolution."""

    in_: Image = Field(alias="in")
    """[channels, height, width] of one image."""
    out: Size
    """Channels of the output, which is the number of filters."""
    kernel: Sizes
    """Size of the filters: a number or [height, width]."""
    stride: Sizes = (1, 1)
    """Step of the filters: a number or [height, width]."""
    pad: Pads = (0, 0)
    """Zeros on each side of the image: a number or [height, width]."""
    dilation: Sizes = (1, 1)
    """Distance between the taps of a filter: a number or [height, width]."""
    groups: Size = 1
    """Independent groups of channels; divides the channels of input and output."""

    def problem(self, batch: int, dtype: str) -> Conv2d:
        """The convolution of `batch` images."""
        channels, height, width = self.in_
        return Conv2d(
            batch=batch,
            channels=channels,
            height=height,
            width=width,
            filters=self.out,
            kernel=self.kernel,
            stride=self.stride,
            pad=self.pad,
            dilation=self.dilation,
            groups=self.groups,
            dtype=dtype,
        )


class LinearModel(KindModel):
    """A fully connected layer."""

    in_: Size = Field(alias="in")
    """Features of a row of the input."""
    out: Size
    """Features of a row of the output."""

    def problem(self, batch: int, dtype: str) -> Linear:
        """The layer applied to `batch` rows."""
        return Linear(batch, self.in_, self.out, dtype)


class GemmModel(KindModel):
    """A matrix product of m x k by k x n: 256x1152x192, or a mapping."""

    batched: ClassVar[bool] = False
    as_text: ClassVar[str] = "[0-9]{1,10} ?[x×] ?[0-9]{1,10} ?[x×] ?[0-9]{1,10}"

    m: Size
    """Rows of the left matrix."""
    k: Size
    """Columns of the left matrix and rows of the right one."""
    n: Size
    """Columns of the right matrix."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, data: Any) -> Any:
        if isinstance(data, dict):
            return data
        if not isinstance(data, str) or not re.fullmatch(cls.as_text, data):
            raise refusal(f"{got(data)}, expected m x k x n, such as 256x1152x192.")
        return dict(zip("mkn", map(int, re.split("[x×]", data)), strict=True))

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        mapping = handler.resolve_ref_schema(handler(core_schema))
        about = mapping.pop("description")
        text = {"type": "string", "pattern": f"^{cls.as_text}$"}
        return {"description": about, "anyOf": [text, dict(mapping)]}

    def problem(self, batch: int, dtype: str) -> Gemm:
        """The product itself."""
        return Gemm(self.m, self.k, self.n, dtype)


def _exactly_one_kind(schema: dict[str, Any]) -> None:
    schema["oneOf"] = [{"required": [kind]} for kind in LayerModel.kinds()]


class LayerModel(MappingModel):
    """One layer: a name, exactly one kind, and what differs from the defaults."""

    model_config = ConfigDict(json_schema_extra=_exactly_one_kind)

    name: Name
    """Unique in the suite."""
    conv2d: Conv2dModel = Field(default_factory=absent)
    linear: LinearModel = Field(default_factory=absent)
    gemm: GemmModel = Field(default_factory=absent)
    relu: ReluModel = Field(default_factory=absent)
    lrn: LrnModel = Field(default_factory=absent)
    pool: PoolModel = Field(default_factory=absent)
    dropout: DropoutModel = Field(default_factory=absent)
    softmax: SoftmaxModel = Field(default_factory=absent)
    batchnorm: BatchNormModel = Field(default_factory=absent)
    add: AddModel = Field(default_factory=absent)
    concat: ConcatModel = Field(default_factory=absent)
    dtype: Dtype = Field(default_factory=absent)
    """Type of the elements, where it is not the default."""
    batch: Size = Field(default_factory=absent)
    """Images or rows, where it is not the default."""
    source: Text = Field(default_factory=absent)
    """Where the shape comes from, where it is not the suite's source."""
    count: Size = 1
    """How often the network repeats the layer."""
    from_: Names = Field(alias="from", default_factory=tuple)
    """Layers listed before, whose outputs it reads; the one before where not given."""
    min_effect: Effect = Field(default_factory=absent)
    """The smallest slowdown that `check` calls a regression, such as 2%."""
    max_regression: Effect = Field(default_factory=absent)
    """What `check` must rule out to call the layer OK, such as 10%."""

    @classmethod
    def kinds(cls) -> list[str]:
        """The keys that hold a kind."""
        annotations = [(name, field.annotation) for name, field in cls.model_fields.items()]
        return [
            name
            for name, annotation in annotations
            if isinstance(annotation, type) and issubclass(annotation, KindModel | CheapModel)
        ]

    @model_validator(mode="after")
    def _one_kind(self) -> "LayerModel":
        given = [name for name in self.kinds() if name in self.model_fields_set]
        if len(given) != 1:
            raise refusal(
                f"got {' and '.join(given) or 'no kind of layer'}, "
                f"expected exactly one of {', '.join(self.kinds())}."
            )
        kind = self.kind()
        excluded: tuple[str, ...] = ONLY_OF_PRODUCTS if isinstance(kind, CheapModel) else ()
        if isinstance(kind, KindModel) and not kind.batched:
            excluded = ("batch",)
        for key in excluded:
            if key in self.model_fields_set:
                raise refusal(f"a {given[0]} has no {key}. Remove the key {key!r}.")
        return self

    def kind_name(self) -> str:
        """The key of the one kind that is given."""
        return next(name for name in self.kinds() if name in self.model_fields_set)

    def kind(self) -> KindModel | CheapModel:
        """The one kind that is given."""
        kind: KindModel | CheapModel = getattr(self, self.kind_name())
        return kind


class SuiteModel(MappingModel):
    """A gemmbench suite: a named list of layers to measure."""

    suite: Name
    """Name of the suite."""
    description: Text = Field(default_factory=str)
    """What it is, in a sentence or two."""
    source: Text = Field(default_factory=str)
    """Where the shapes come from; a layer may name a source of its own."""
    max_error: MaxError | None = None
    """Largest error, over the rms of the answer, with which an algorithm may win a layer."""
    defaults: DefaultsModel = Field(default_factory=DefaultsModel)
    layers: Annotated[list[LayerModel], BeforeValidator(_some_layers), Field(min_length=1)]
