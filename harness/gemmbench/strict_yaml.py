"""A small, strict subset of YAML: mappings with text keys, lists, text and decimal integers.

YAML guesses types (`no` is False, `011` is 9, `1:30` is 90) and expands aliases without limit.
Here nothing is guessed and aliases are refused, so a file can't grow when it is read. What is
neither quoted text nor a plain decimal integer arrives as `Unquoted`, for the reader to name.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gemmbench.errors import GemmbenchError

MAX_BYTES = 1_000_000  # the largest shipped suite has 60 kB; a file beyond this is no suite

_TAG = "tag:yaml.org,2002:"
_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9]{0,99})")
# What YAML 1.2 readers take for a number though PyYAML (YAML 1.1) takes it for text: 1e3, 0o17.
_NUMBER_ELSEWHERE = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|0o[0-7]+")


@dataclass(frozen=True, slots=True)
class Unquoted:
    """An unquoted scalar that YAML reads as a truth value, null, a fraction, a date or 011."""

    text: str

    def __repr__(self) -> str:
        return self.text


class _Refused(yaml.MarkedYAMLError):
    """Legal YAML that a suite may not use."""


class _Loader(yaml.SafeLoader):
    """Composes nodes and refuses aliases; values are built by `_value`, not by constructors."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]  # the stubs miss it
            raise _Refused(
                problem=f"aliases are not allowed: got *{event.anchor}. Write the value out",
                problem_mark=event.start_mark,
            )
        node: yaml.Node | None = super().compose_node(parent, index)
        return node


def read_yaml(path: Path, shown: str) -> Any:
    """The one document in `path`: dicts, lists, str, int, None and `Unquoted`.

    Raises GemmbenchError, one line that begins with `shown`, for a file that can't be read, is
    too large, not UTF-8 or not YAML, and for aliases, tags, repeated keys and keys not text.
    """
    text = _read_text(path, shown)
    try:
        node = _Loader(text).get_single_node()
        return None if node is None else _value(node)
    except _Refused as error:
        raise GemmbenchError(f"{shown}: {_where(error)}: {error.problem}.") from error
    except yaml.MarkedYAMLError as error:
        raise GemmbenchError(f"{shown}: {_where(error)}: not YAML: {error.problem}.") from error
    except yaml.reader.ReaderError as error:
        raise GemmbenchError(
            f"{shown}: not YAML: character #x{int(error.character):04x} at position "
            f"{error.position} is not allowed in text."
        ) from error
    except RecursionError as error:
        raise GemmbenchError(f"{shown}: nested too deeply to be read.") from error


def _read_text(path: Path, shown: str) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise GemmbenchError(f"{shown}: cannot be read: {error.strerror}.") from error
    if len(data) > MAX_BYTES:
        raise GemmbenchError(f"{shown}: larger than {MAX_BYTES} bytes, the most that is read.")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise GemmbenchError(
            f"{shown}: not UTF-8 text: byte 0x{data[error.start]:02x} at position {error.start}."
        ) from error


def _where(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    return f"line {mark.line + 1}, column {mark.column + 1}" if mark else "somewhere"


def _value(node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node)
    expected = "map" if isinstance(node, yaml.MappingNode) else "seq"
    if node.tag != _TAG + expected:
        raise _Refused(
            problem=f"tags are not allowed: got {node.tag.replace(_TAG, '!!')!r}. Remove it",
            problem_mark=node.start_mark,
        )
    if isinstance(node, yaml.MappingNode):
        return _mapping(node)
    return [_value(item) for item in node.value]


def _mapping(node: yaml.MappingNode) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = _scalar(key_node) if isinstance(key_node, yaml.ScalarNode) else None
        if not isinstance(key, str):
            given = "a collection" if isinstance(key_node, yaml.CollectionNode) else key
            raise _Refused(
                problem=f"a key must be text: got {given}. Quote it, or name a known key",
                problem_mark=key_node.start_mark,
            )
        if key in result:
            raise _Refused(
                problem=f"the key {key!r} appears twice in one mapping. Remove one",
                problem_mark=key_node.start_mark,
            )
        result[key] = _value(value_node)
    return result


def _scalar(node: yaml.ScalarNode) -> str | int | Unquoted | None:
    if node.tag == _TAG + "str" and (node.style or not _NUMBER_ELSEWHERE.fullmatch(node.value)):
        return str(node.value)
    if node.tag == _TAG + "int" and _DECIMAL.fullmatch(node.value):
        return int(node.value)
    if node.tag == _TAG + "null" and not node.value:
        return None
    return Unquoted(" ".join(node.value.split()))
