"""The format of a suite file: pydantic models that mirror it and give its JSON Schema.

Every refusal is worded here, so that no message of pydantic's reaches a user. A new kind of
layer is one model with a `problem` method and one field of `LayerModel`. This module knows
neither files nor which suites exist.
"""

import copy
import re
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Annotated, Any, ClassVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainValidator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from gemmbench.errors import did_you_mean
from gemmbench.problem import ITEMSIZE, Conv2d, Gemm, Linear, Pair, Problem
from gemmbench.strict_yaml import Unquoted

MAX_SIZE = 2**31 - 1  # what a BLAS with 32-bit integers can be told
SHOWN_CHARACTERS = 60  # of a wrong value: enough to find it again, short enough for one line

EFFECT_FORM = "a share below 100 %, such as 5% or 0.05"
_POSITIVE = re.compile(r"\+?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]{1,3})?")

DEFAULT_BATCH = 1
DEFAULT_DTYPE = "float32"


def refusal(message: str) -> PydanticCustomError:
    """What a validator raises: `message` reaches the user as it is, after the place."""
    return PydanticCustomError("suite", "{message}", {"message": message})


def got(value: Any) -> str:
    """'got …', the value cut to a length that fits a line."""
    if value is None:
        return "got nothing"
    if isinstance(value, dict):
        return "got a mapping"
    text = repr(value)
    return f"got {text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + '…'}"


# The leaves: each checks one value and says what was expected.


def _size(value: Any, *, least: int = 1) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise refusal(f"{got(value)}, expected an integer >= {least}.")
    if value > MAX_SIZE:
        raise refusal(f"{got(value)}, expected an integer <= {MAX_SIZE}.")
    return value


def _pair(value: Any, *, least: int = 1) -> Pair:
    if isinstance(value, int):
        return (_size(value, least=least), _size(value, least=least))
    if not isinstance(value, list) or len(value) != 2:
        raise refusal(f"{got(value)}, expected an integer >= {least} or [height, width].")
    return (_size(value[0], least=least), _size(value[1], least=least))


def _image(value: Any) -> tuple[int, int, int]:
    if not isinstance(value, list) or len(value) != 3:
        raise refusal(f"{got(value)}, expected [channels, height, width].")
    return (_size(value[0]), _size(value[1]), _size(value[2]))


def _text(value: Any) -> str:
    if isinstance(value, (int, Unquoted)):
        raise refusal(f'{got(value)}, which YAML does not read as text. Quote it: "{value!r}".')
    if not isinstance(value, str) or not value.strip():
        raise refusal(f"{got(value)}, expected text.")
    return " ".join(value.split())


def _name(value: Any) -> str:
    name = _text(value)
    if name != value or not name.isprintable():
        raise refusal(f"{got(value)}, expected a name in one line, without spaces around it.")
    return name


def _names(value: Any) -> tuple[str, ...]:
    if value == []:
        raise refusal("got [], expected the name of a layer, or a list of names.")
    return tuple(_name(item) for item in value) if isinstance(value, list) else (_name(value),)


def _max_error(value: Any) -> float:
    text = value.text if isinstance(value, Unquoted) else str(value)
    if isinstance(value, Unquoted | int) and _POSITIVE.fullmatch(text) and 0 < float(text) < inf:
        return float(text)
    raise refusal(f"{got(value)}, expected a positive number such as 1e-4.")


def _dtype(value: Any) -> str:
    if not isinstance(value, str) or value not in ITEMSIZE:
        raise refusal(f"{got(value)}.{did_you_mean(str(value), ITEMSIZE)}")
    return value


def _effect(value: Any) -> float:
    if isinstance(value, (int, str, Unquoted)) and not isinstance(value, bool):
        effect = parse_effect(value.text if isinstance(value, Unquoted) else str(value))
        if effect is not None:
            return effect
    raise refusal(f"{got(value)}, expected {EFFECT_FORM}.")


def parse_effect(text: str) -> float | None:
    """The fraction that '5%' or '0.05' means; None for anything else, and for 1 or more.

    A bare number from 1 on is refused, because 5 could be meant as 5 % or as five times.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*(%?)\s*", text)
    if match is None:
        return None
    effect = float(match[1]) / (100 if match[2] else 1)
    return effect if effect < 1 else None


def _some_layers(value: Any) -> Any:
    if not isinstance(value, list) or not value:
        raise refusal(f"{got(value)}, expected a list of layers.")
    return value


@dataclass(frozen=True, slots=True, eq=False)
class _Schema:
    """A leaf's JSON Schema. WithJsonSchema of pydantic < 2.12 shares it, and so its default."""

    schema: dict[str, Any]

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return copy.deepcopy(self.schema)


def _integer_schema(least: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": least, "maximum": MAX_SIZE}


def _tuple_schema(length: int, least: int) -> dict[str, Any]:
    items = _integer_schema(least)
    return {"type": "array", "items": items, "minItems": length, "maxItems": length}


def _pair_schema(least: int) -> dict[str, Any]:
    return {"anyOf": [_integer_schema(least), _tuple_schema(2, least)]}


_TEXT_SCHEMA: dict[str, Any] = {"type": "string", "minLength": 1}
_NAMES_SCHEMA: dict[str, Any] = {
    "anyOf": [_TEXT_SCHEMA, {"type": "array", "items": _TEXT_SCHEMA, "minItems": 1}]
}
_EFFECT_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "number", "minimum": 0, "exclusiveMaximum": 1},
        {"type": "string", "pattern": "^[0-9]{1,2}([.][0-9]+)? ?%$"},
    ]
}

MaxError = Annotated[
    float, PlainValidator(_max_error), _Schema({"type": "number", "exclusiveMinimum": 0})
]
Size = Annotated[int, PlainValidator(_size), _Schema(_integer_schema(1))]
Sizes = Annotated[Pair, PlainValidator(_pair), _Schema(_pair_schema(1))]
Pads = Annotated[Pair, PlainValidator(partial(_pair, least=0)), _Schema(_pair_schema(0))]
Image = Annotated[tuple[int, int, int], PlainValidator(_image), _Schema(_tuple_schema(3, 1))]
Text = Annotated[str, PlainValidator(_text), _Schema(_TEXT_SCHEMA)]
Name = Annotated[str, PlainValidator(_name), _Schema(_TEXT_SCHEMA)]
Names = Annotated[tuple[str, ...], PlainValidator(_names), _Schema(_NAMES_SCHEMA)]
Effect = Annotated[float, PlainValidator(_effect), _Schema(_EFFECT_SCHEMA)]
Dtype = Annotated[str, PlainValidator(_dtype), _Schema({"type": "string", "enum": list(ITEMSIZE)})]


def _absent() -> Any:
    """The value of a key that was not given; unlike a default of None it keeps `null` an error."""
    return None


# The mappings. The docstrings under their fields are what an editor shows.


class _Mapping(BaseModel):
    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, use_attribute_docstrings=True
    )

    @model_validator(mode="before")
    @classmethod
    def _keys(cls, data: Any) -> Any:
        """`data`, a mapping that has every required key and none unknown."""
        fields = {field.alias or name: field for name, field in cls.model_fields.items()}
        if not isinstance(data, dict):
            raise refusal(f"{got(data)}, expected a mapping with the keys {', '.join(fields)}.")
        for key in data:
            if key not in fields:
                raise refusal(f"unknown key {key!r}.{did_you_mean(key, fields)}")
        for key, field in fields.items():
            if field.is_required() and key not in data:
                raise refusal(f"the key {key!r} is missing.")
        return data


class DefaultsModel(_Mapping):
    """What a layer takes where it says nothing else."""

    dtype: Dtype = DEFAULT_DTYPE
    """Type of the elements."""
    batch: Size = DEFAULT_BATCH
    """Images of a convolution or rows of a linear layer; a gemm has no batch."""


class KindModel(_Mapping):
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


class LayerModel(_Mapping):
    """One layer: a name, exactly one kind, and what differs from the defaults."""

    model_config = ConfigDict(json_schema_extra=_exactly_one_kind)

    name: Name
    """Unique in the suite."""
    conv2d: Conv2dModel = Field(default_factory=_absent)
    linear: LinearModel = Field(default_factory=_absent)
    gemm: GemmModel = Field(default_factory=_absent)
    dtype: Dtype = Field(default_factory=_absent)
    """Type of the elements, where it is not the default."""
    batch: Size = Field(default_factory=_absent)
    """Images or rows, where it is not the default."""
    source: Text = Field(default_factory=_absent)
    """Where the shape comes from, where it is not the suite's source."""
    count: Size = 1
    """How often the network repeats the layer."""
    from_: Names = Field(alias="from", default_factory=tuple)
    """Layers listed before, whose outputs it reads; the one before where not given."""
    min_effect: Effect = Field(default_factory=_absent)
    """The smallest slowdown that `check` calls a regression, such as 2%."""
    max_regression: Effect = Field(default_factory=_absent)
    """What `check` must rule out to call the layer OK, such as 10%."""

    @classmethod
    def kinds(cls) -> list[str]:
        """The keys that hold a kind."""
        annotations = [(name, field.annotation) for name, field in cls.model_fields.items()]
        return [
            name
            for name, annotation in annotations
            if isinstance(annotation, type) and issubclass(annotation, KindModel)
        ]

    @model_validator(mode="after")
    def _one_kind(self) -> "LayerModel":
        given = [name for name in self.kinds() if name in self.model_fields_set]
        if len(given) != 1:
            raise refusal(
                f"got {' and '.join(given) or 'no kind of layer'}, "
                f"expected exactly one of {', '.join(self.kinds())}."
            )
        if "batch" in self.model_fields_set and not self.kind().batched:
            raise refusal(f"a {given[0]} has no batch. Remove the key 'batch'.")
        return self

    def kind_name(self) -> str:
        """The key of the one kind that is given."""
        return next(name for name in self.kinds() if name in self.model_fields_set)

    def kind(self) -> KindModel:
        """The one kind that is given."""
        kind: KindModel = getattr(self, self.kind_name())
        return kind


class SuiteModel(_Mapping):
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
