"""Search spaces that somebody measured in full, so that a search can be replayed by looking up.

Two formats are read, also gzipped: CSV with one column an axis and `time_ms` last, empty where
the config failed; and Kernel Tuner's cache file, also one that an interrupted run left without
its end. Neither says how its values compare, so numbers count as ordered and text as categories.
"""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gemmbench.errors import GemmbenchError
from gemmbench.space import Axis, AxisKind, SearchSpace, Value

MILLISECONDS = 1e3
TIME_COLUMN = "time_ms"
NOT_IN_SPACE = "InvalidConfig"  # Kernel Tuner's mark of a config that breaks a restriction


@dataclass(frozen=True, slots=True)
class RecordedSpace:
    """A space and what each config cost: `seconds[i]` of row i of `space.listed`, NaN if it failed.

    A recording knows no default: the space's is the first row.
    """

    name: str
    space: SearchSpace
    seconds: NDArray[np.float64]

    def optimum(self) -> float:
        """Seconds of the fastest config."""
        return float(np.nanmin(self.seconds))


def load_recorded(path: Path) -> RecordedSpace:
    """The recorded space in a CSV file or a Kernel Tuner cache, either of them also gzipped.

    Raises GemmbenchError, naming the file, for anything else.
    """
    text = _read_text(path)
    name = path.name.removesuffix(".gz").removesuffix(".csv").removesuffix(".json")
    if text.lstrip().startswith("{"):
        names, configs, seconds = _from_kernel_tuner(text, path.name)
    else:
        names, configs, seconds = _from_csv(text, path.name)
    if not np.isfinite(seconds).any():
        raise GemmbenchError(f"{path.name}: no config in it has a time.")
    try:
        space = space_of(names, configs)
    except GemmbenchError as error:
        raise GemmbenchError(f"{path.name}: {error}") from error
    return RecordedSpace(name, space, np.array(seconds))


def space_of(names: Sequence[str], configs: Sequence[tuple[Value, ...]]) -> SearchSpace:
    """The space of exactly these configs; its default is the first. Raises GemmbenchError."""
    axes = tuple(_axis(name, {config[at] for config in configs}) for at, name in enumerate(names))
    places = [{value: i for i, value in enumerate(axis.values)} for axis in axes]
    rows = [[place[v] for place, v in zip(places, config, strict=True)] for config in configs]
    if len(set(map(tuple, rows))) < len(rows):
        raise GemmbenchError("a config is listed twice.")
    default = dict(zip(names, configs[0], strict=True))
    return SearchSpace(axes, default, listed=np.array(rows, np.int32))


def _axis(name: str, values: set[Value]) -> Axis:
    if any(isinstance(value, str) for value in values):
        return Axis(name, tuple(sorted(values, key=str)), "categorical")
    ordered = tuple(sorted(values))
    kind: AxisKind = "ordered"
    if all(type(value) is bool for value in ordered):
        kind = "boolean"
    elif all(type(v) is int and v > 0 and v & (v - 1) == 0 for v in ordered):
        kind = "pow2"
    return Axis(name, ordered, kind)


Parsed = tuple[list[str], list[tuple[Value, ...]], list[float]]


def _from_csv(text: str, shown: str) -> Parsed:
    lines = list(csv.reader(io.StringIO(text)))
    head = lines[0] if lines else []
    if len(head) < 2 or head[-1] != TIME_COLUMN:
        raise GemmbenchError(
            f"{shown}: neither a Kernel Tuner cache nor CSV with the last column {TIME_COLUMN!r}."
        )
    configs, seconds = [], []
    for number, line in enumerate(lines[1:], start=2):
        if not any(cell.strip() for cell in line) and len(line) < 2:
            continue  # a blank line
        if len(line) != len(head):
            raise GemmbenchError(
                f"{shown}: line {number}: got {len(line)} cells, expected {len(head)}."
            )
        configs.append(tuple(_cell(text) for text in line[:-1]))
        seconds.append(_milliseconds(line[-1], f"{shown}: line {number}"))
    return head[:-1], configs, seconds


def _milliseconds(text: str, where: str) -> float:
    """Seconds; NaN for an empty cell and for 'nan'."""
    if text.strip().lower() in ("", "nan"):
        return np.nan
    try:
        seconds = float(text) / MILLISECONDS
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < np.inf:
        raise GemmbenchError(f"{where}: {TIME_COLUMN}: got {text!r}, expected a positive number.")
    return seconds


def _cell(text: str) -> Value:
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    return {"True": True, "False": False}.get(text, text)


def _from_kernel_tuner(text: str, shown: str) -> Parsed:
    data = _parse_cache(text, shown)
    names, cache = data.get("tune_params_keys"), data.get("cache")
    if not isinstance(names, list) or not isinstance(cache, dict) or not cache:
        raise GemmbenchError(
            f"{shown}: no Kernel Tuner cache: it lacks 'tune_params_keys' or entries in 'cache'."
        )
    configs, seconds = [], []
    for key, entry in cache.items():
        if not isinstance(entry, dict) or not set(names) <= set(entry):
            raise GemmbenchError(f"{shown}: cache[{key!r}]: lacks a value of {names}.")
        if NOT_IN_SPACE not in (entry.get("time"), entry.get("__error__")):
            configs.append(tuple(_scalar(entry[name]) for name in names))
            seconds.append(_entry_seconds(entry))
    return list(names), configs, seconds


def _entry_seconds(entry: Mapping[str, Any]) -> float:
    """Seconds of a cache entry; NaN where it records an error instead of a time."""
    given = entry.get("time")
    if isinstance(given, bool) or not isinstance(given, int | float) or "__error__" in entry:
        return np.nan
    return given / MILLISECONDS if 0 < given < 1e20 else np.nan


def _scalar(value: Any) -> Value:
    return value if isinstance(value, int | float | str) else json.dumps(value)


def _parse_cache(text: str, shown: str) -> dict[str, Any]:
    """The cache as data, its end supplied where an interrupted run left none."""
    for candidate in _with_an_end(text):
        try:
            data = json.loads(candidate)
        except ValueError:
            continue
        if isinstance(data, dict):
            return data
    raise GemmbenchError(f"{shown}: neither JSON nor the beginning of a Kernel Tuner cache.")


def _with_an_end(text: str) -> Iterable[str]:
    """`text`, then `text` cut after its last complete entry and closed."""
    yield text
    for end in ("}", "}}"):
        yield text.rstrip().rstrip(",") + end
    last = text.rfind("},")
    if last > 0:
        yield text[: last + 1] + "}}"


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        return data.decode("utf-8-sig")  # some editors begin a file with a byte order mark
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise GemmbenchError(f"{path}: cannot be read: {reason}.") from error
    except UnicodeDecodeError as error:
        raise GemmbenchError(f"{path.name}: not UTF-8 text.") from error
