"""What the models of a suite file are made of: values, each checked and refused in our own words.

Every refusal is worded here or in the models, so that no message of pydantic's reaches a user.
"""

import copy
import re
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    GetJsonSchemaHandler,
    PlainValidator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from gemmbench.errors import did_you_mean
from gemmbench.problem import ITEMSIZE, Pair
from gemmbench.strict_yaml import Unquoted

MAX_SIZE = 2**31 - 1  # what a BLAS with 32-bit integers can be told
SHOWN_CHARACTERS = 60  # of a wrong value: enough to find it again, short enough for one line

EFFECT_FORM = "a share below 100 %, such as 5% or 0.05"
_POSITIVE = re.compile(r"\+?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]{1,3})?")


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


def _positive(value: Any, *, example: str) -> float:
    text = value.text if isinstance(value, Unquoted) else str(value)
    if isinstance(value, Unquoted | int) and _POSITIVE.fullmatch(text) and 0 < float(text) < inf:
        return float(text)
    raise refusal(f"{got(value)}, expected a positive number such as {example}.")


def _share(value: Any) -> float:
    text = value.text if isinstance(value, Unquoted) else str(value)
    if isinstance(value, Unquoted | int) and re.fullmatch("0|0?[.][0-9]+", text):
        return float(text)
    raise refusal(f"{got(value)}, expected a fraction from 0 to below 1, such as 0.5.")


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


@dataclass(frozen=True, slots=True, eq=False)
class Schema:
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

_POSITIVE_SCHEMA: dict[str, Any] = {"type": "number", "exclusiveMinimum": 0}

MaxError = Annotated[
    float, PlainValidator(partial(_positive, example="1e-4")), Schema(_POSITIVE_SCHEMA)
]
Positive = Annotated[
    float, PlainValidator(partial(_positive, example="0.75")), Schema(_POSITIVE_SCHEMA)
]
Share = Annotated[
    float,
    PlainValidator(_share),
    Schema({"type": "number", "minimum": 0, "exclusiveMaximum": 1}),
]
Size = Annotated[int, PlainValidator(_size), Schema(_integer_schema(1))]
Sizes = Annotated[Pair, PlainValidator(_pair), Schema(_pair_schema(1))]
Pads = Annotated[Pair, PlainValidator(partial(_pair, least=0)), Schema(_pair_schema(0))]
Image = Annotated[tuple[int, int, int], PlainValidator(_image), Schema(_tuple_schema(3, 1))]
Text = Annotated[str, PlainValidator(_text), Schema(_TEXT_SCHEMA)]
Name = Annotated[str, PlainValidator(_name), Schema(_TEXT_SCHEMA)]
Names = Annotated[tuple[str, ...], PlainValidator(_names), Schema(_NAMES_SCHEMA)]
Effect = Annotated[float, PlainValidator(_effect), Schema(_EFFECT_SCHEMA)]
Dtype = Annotated[str, PlainValidator(_dtype), Schema({"type": "string", "enum": list(ITEMSIZE)})]


def absent() -> Any:
    """The value of a key that was not given; unlike a default of None it keeps `null` an error."""
    return None


# The mappings. The docstrings under their fields are what an editor shows.


class MappingModel(BaseModel):
    """A mapping whose keys are the fields: none unknown, every required one given."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, use_attribute_docstrings=True
    )

    @model_validator(mode="before")
    @classmethod
    def _keys(cls, data: Any) -> Any:
        """`data`, a mapping that has every required key and none unknown."""
        fields = {field.alias or name: field for name, field in cls.model_fields.items()}
        if not isinstance(data, dict):
            expected = f"a mapping with the keys {', '.join(fields)}" if fields else "{}"
            raise refusal(f"{got(data)}, expected {expected}.")
        for key in data:
            if key not in fields:
                raise refusal(f"unknown key {key!r}.{did_you_mean(key, fields)}")
        for key, field in fields.items():
            if field.is_required() and key not in data:
                raise refusal(f"the key {key!r} is missing.")
        return data
