"""The format of a space file: axes, rules and a default as YAML or JSON, for one's own kernel.

    axes:
      mr: [1, 2, 3, 4, 6, 8]                  # ordered: near and far mean something
      kc: {pow2: [64, 128, 256, 512]}
      order: {categorical: [rows, panels]}
      prefetch: {boolean: [false, true]}
    constraints:
      - mr * nv <= 24
      - {name: block of A in L1, rule: mr * kc * 4 <= 32768}
    default: {mr: 4, kc: 256, order: rows, prefetch: false}

Without `default` it is the first valid config. A file for a backend that has a space of its own
must have all the axes of that; which values and rules they have is free (`offers.check_space`).
JSON is YAML, so a JSON file is read alike.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gemmbench.errors import GemmbenchError, did_you_mean
from gemmbench.expression import parse_rule
from gemmbench.space import AXIS_KINDS, Axis, AxisKind, Constraint, SearchSpace, Value, valid_rows
from gemmbench.strict_yaml import Unquoted, read_yaml

KEYS = ("axes", "constraints", "default")
FRACTION = re.compile(r"[-+]?[0-9]+\.[0-9]+([eE][-+]?[0-9]+)?")
TRUTH = {"true": True, "false": False}


def load_space(path: Path) -> SearchSpace:
    """The search space in the file at `path`.

    Raises GemmbenchError, naming the file and the place in it, for anything that is none.
    """
    where = path.name
    data = _mapping(read_yaml(path, where), where, KEYS)
    if "axes" not in data:
        raise GemmbenchError(f"{where}: the key 'axes' is missing.")
    axes = _axes(data["axes"], f"{where}: axes")
    values = {axis.name: axis.values for axis in axes}
    rules = _list(data.get("constraints", []), f"{where}: constraints", "rules")
    constraints = tuple(
        _constraint(rule, values, f"{where}: constraints[{at}]") for at, rule in enumerate(rules)
    )
    if "default" in data:
        given = _mapping(data["default"], f"{where}: default", tuple(values))
        default = {name: _value(value, f"{where}: default.{name}") for name, value in given.items()}
    else:
        default = _first_valid(axes, constraints, where)
    try:
        return SearchSpace(axes, default, constraints)
    except GemmbenchError as error:
        raise GemmbenchError(f"{where}: {error}") from error


def _axes(data: Any, where: str) -> tuple[Axis, ...]:
    if not isinstance(data, dict) or not data:
        raise GemmbenchError(f"{where}: expected a mapping of axis names to lists of values.")
    return tuple(_axis(name, given, f"{where}.{name}") for name, given in data.items())


def _axis(name: str, given: Any, where: str) -> Axis:
    kind: AxisKind = "ordered"
    if isinstance(given, dict):
        _mapping(given, where, AXIS_KINDS)
        if len(given) != 1:
            raise GemmbenchError(f"{where}: expected exactly one of {', '.join(AXIS_KINDS)}.")
        kind, given = next(iter(given.items()))
        where = f"{where}.{kind}"
    values = tuple(
        _value(value, f"{where}[{at}]") for at, value in enumerate(_list(given, where, "values"))
    )
    if not values:
        raise GemmbenchError(f"{where}: got [], expected at least one value.")
    try:
        return Axis(name, values, kind)
    except GemmbenchError as error:
        raise GemmbenchError(f"{where}: {error}") from error


def _constraint(given: Any, values: Mapping[str, tuple[Value, ...]], where: str) -> Constraint:
    if isinstance(given, str):
        return parse_rule(given, values, where)
    rule = _mapping(given, where, ("name", "rule"))
    for key in ("name", "rule"):
        if not isinstance(rule.get(key), str):
            raise GemmbenchError(f"{where}.{key}: expected text. Quote it.")
    parsed = parse_rule(rule["rule"], values, f"{where}.rule")
    return Constraint(rule["name"], parsed.axes, parsed.holds, parsed.holds_all)


def _first_valid(
    axes: tuple[Axis, ...], constraints: tuple[Constraint, ...], where: str
) -> dict[str, Value]:
    """The first config that breaks no constraint."""
    rows = next(valid_rows(axes, constraints), None)
    if rows is None:
        raise GemmbenchError(f"{where}: no config satisfies all of its constraints.")
    return {axis.name: axis.values[at] for axis, at in zip(axes, rows[0], strict=True)}


def _value(given: Any, where: str) -> Value:
    if isinstance(given, Unquoted) and given.text in TRUTH:
        return TRUTH[given.text]
    if isinstance(given, Unquoted):
        if not FRACTION.fullmatch(given.text):
            raise GemmbenchError(
                f'{where}: got {given}, which YAML does not read as text. Quote it: "{given}".'
            )
        return float(given.text)
    if not isinstance(given, int | str):
        raise GemmbenchError(f"{where}: expected a number, text, true or false.")
    return given


def _mapping(data: Any, where: str, keys: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise GemmbenchError(f"{where}: expected a mapping with the keys {', '.join(keys)}.")
    for key in data:
        if key not in keys:
            raise GemmbenchError(f"{where}: unknown key {key!r}.{did_you_mean(key, keys)}")
    return data


def _list(data: Any, where: str, what: str) -> list[Any]:
    if not isinstance(data, list):
        raise GemmbenchError(f"{where}: expected a list of {what}.")
    return data
