"""What can be tuned: named axes, constraints between them, and a default that needs no search.

Constraints say which axes they read. Enumeration adds one axis after another to a table of value
indices and drops the rows that break a constraint as soon as its axes are all there, so the full
product is never walked; each constraint is asked once about each combination of its own axes.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gemmbench.errors import GemmbenchError, did_you_mean

BLOCK_ROWS = 2**19  # rows extended at once: about 40 MB at ten axes
KNOWN_ANSWERS = 2**22  # combinations of a constraint's axes up to which its answers are kept

Value = int | float | str | bool
Config = Mapping[str, Value]
ConfigKey = tuple[tuple[str, Value], ...]
Rows = NDArray[np.int32]  # (configs, axes): the index of each value on its axis
Columns = Sequence[NDArray[Any]]  # the values of some axes, one array an axis
AxisKind = Literal["ordered", "pow2", "categorical", "boolean"]
AXIS_KINDS: tuple[AxisKind, ...] = ("ordered", "pow2", "categorical", "boolean")


@dataclass(frozen=True, slots=True)
class Axis:
    """One knob. `ordered` values have a sense of near and far, `pow2` is near in log2.

    Raises GemmbenchError where the values do not suit the kind.
    """

    name: str
    values: tuple[Value, ...]
    kind: AxisKind = "ordered"

    def __post_init__(self) -> None:
        where = f"search space: axis {self.name!r}"
        if self.kind not in AXIS_KINDS:
            raise GemmbenchError(
                f"{where} is of the kind {self.kind!r}.{did_you_mean(self.kind, AXIS_KINDS)}"
            )
        if self.kind == "pow2":
            odd = [v for v in self.values if not _is_power_of_two(v)]
            if odd:
                raise GemmbenchError(
                    f"{where} is of the kind 'pow2': got {odd[0]!r}, expected powers of two."
                )
        if self.kind == "boolean" and not set(self.values) <= {False, True}:
            raise GemmbenchError(
                f"{where} is of the kind 'boolean': got {list(self.values)}, "
                "expected false and true."
            )


@dataclass(frozen=True, slots=True)
class Constraint:
    """A rule over the axes it names: `holds` is called with their values, in that order.

    `holds_all`, where given, answers for many configs at once, from one array an axis.
    """

    name: str
    axes: tuple[str, ...]
    holds: Callable[..., bool]
    holds_all: Callable[..., NDArray[np.bool_]] | None = None


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """All configs worth trying for one problem.

    `listed`, where given, are the valid configs themselves, and `constraints` are left out;
    `left_out` is what `rejections()` said where they were known.
    Raises GemmbenchError if `default` is not one of them, or if a name or a value repeats.
    """

    axes: tuple[Axis, ...]
    default: Config
    constraints: tuple[Constraint, ...] = ()
    listed: Rows | None = field(default=None, compare=False, repr=False)
    left_out: Mapping[str, int] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        _check_distinct(self)
        _check_default(self)
        names = [axis.name for axis in self.axes]
        for constraint in self.constraints:
            unknown = set(constraint.axes) - set(names)
            if unknown or not constraint.axes:
                raise GemmbenchError(
                    f"search space: constraint {constraint.name!r} reads {sorted(unknown)}, "
                    f"the axes are {names}."
                )
        broken = self.rejected_by(self.default)
        if broken:
            raise GemmbenchError(f"search space: the default config breaks {broken!r}.")

    def __iter__(self) -> Iterator[dict[str, Value]]:
        """Every valid config, in the order of the axes."""
        for block in self._blocks():
            yield from (self.config(row) for row in block)

    def __contains__(self, config: object) -> bool:
        """Whether `config` is on every axis, has no other key and breaks no constraint."""
        return (
            isinstance(config, Mapping)
            and set(config) == {axis.name for axis in self.axes}
            and all(config[axis.name] in axis.values for axis in self.axes)
            and self.rejected_by(config) is None
        )

    def size(self) -> int:
        """How many valid configs there are."""
        return sum(len(block) for block in self._blocks())

    def combinations(self) -> int:
        """How many configs there would be without constraints."""
        return prod(len(axis.values) for axis in self.axes)

    def rows(self) -> Rows:
        """Every valid config as a row of value indices, in the order of iteration."""
        blocks = list(self._blocks())
        return np.concatenate(blocks) if blocks else np.empty((0, len(self.axes)), np.int32)

    def config(self, row: Sequence[int] | Rows) -> dict[str, Value]:
        """The config whose value indices are `row`."""
        return {axis.name: axis.values[at] for axis, at in zip(self.axes, row, strict=True)}

    def rejected_by(self, config: Config) -> str | None:
        """Name of the first constraint that `config` breaks; None if it is valid."""
        if self.listed is not None:
            row = [axis.values.index(config[axis.name]) for axis in self.axes]
            return None if (self.listed == row).all(axis=1).any() else "listed"
        for constraint in self.constraints:
            if not constraint.holds(*(config[name] for name in constraint.axes)):
                return constraint.name
        return None

    def rejections(self) -> dict[str, int]:
        """How many combinations each constraint is the first to reject, by its name.

        They and `size()` add up to `combinations()`. Constraints are applied as soon as their
        axes are known, so the first is the one whose last axis comes first.
        """
        if self.listed is not None:
            missing = self.combinations() - len(self.listed)
            return dict(self.left_out) if self.left_out is not None else {"listed": missing}
        rejected = {constraint.name: 0 for constraint in self.constraints}
        for _ in self._blocks(rejected):
            pass
        return rejected

    def _blocks(self, rejected: dict[str, int] | None = None) -> Iterator[Rows]:
        """The valid rows, block by block; counts what each constraint rejects in `rejected`."""
        if self.listed is not None:
            yield self.listed
        else:
            yield from valid_rows(self.axes, self.constraints, rejected)


def valid_rows(
    axes: Sequence[Axis],
    constraints: Sequence[Constraint],
    rejected: dict[str, int] | None = None,
) -> Iterator[Rows]:
    """The value indices of every valid config, in blocks of at most about `BLOCK_ROWS`.

    What each constraint rejects is added to `rejected` under its name.
    """
    rules = [_Rule(axes, constraint) for constraint in constraints]
    yield from _extend(np.zeros((1, 0), np.int32), axes, rules, rejected)


def _extend(
    rows: Rows, axes: Sequence[Axis], rules: "Sequence[_Rule]", rejected: dict[str, int] | None
) -> Iterator[Rows]:
    depth = rows.shape[1]
    if depth == len(axes):
        yield rows
        return
    count = len(axes[depth].values)
    below = prod(len(axis.values) for axis in axes[depth + 1 :])
    parts = -(-len(rows) * count // BLOCK_ROWS)
    for part in np.array_split(rows, parts) if parts > 1 else [rows]:
        values = np.tile(np.arange(count, dtype=np.int32), len(part))
        longer = np.column_stack([np.repeat(part, count, axis=0), values])
        for rule in rules:
            if rule.last == depth:
                keep = rule.holds(longer)
                if rejected is not None:
                    rejected[rule.name] += int(len(keep) - keep.sum()) * below
                longer = longer[keep]
        if len(longer):
            yield from _extend(longer, axes, rules, rejected)


class _Rule:
    """A constraint over value indices, which remembers its answers where they are not too many."""

    def __init__(self, axes: Sequence[Axis], constraint: Constraint) -> None:
        names = [axis.name for axis in axes]
        self.name = constraint.name
        self.constraint = constraint
        self.at = [names.index(name) for name in constraint.axes]
        self.last = max(self.at)
        self.axes = [axes[at] for at in self.at]
        self.sizes = [len(axis.values) for axis in self.axes]
        product = prod(self.sizes)
        self.known = np.full(product, -1, np.int8) if product <= KNOWN_ANSWERS else None

    def holds(self, rows: Rows) -> NDArray[np.bool_]:
        """Whether each row, whose first columns are the axes so far, keeps the rule."""
        if self.known is None:
            return self._ask(rows[:, self.at])
        codes = np.ravel_multi_index(tuple(rows[:, self.at].T), self.sizes)
        new = np.unique(codes[self.known[codes] < 0])
        if len(new):
            combinations = np.column_stack(np.unravel_index(new, self.sizes))
            self.known[new] = self._ask(combinations)
        answers: NDArray[np.bool_] = self.known[codes] == 1
        return answers

    def _ask(self, combinations: NDArray[Any]) -> NDArray[np.bool_]:
        pairs = list(zip(self.axes, combinations.T, strict=True))
        if self.constraint.holds_all is not None:
            return self.constraint.holds_all(*(np.array(axis.values)[at] for axis, at in pairs))
        values = ([axis.values[i] for i in at.tolist()] for axis, at in pairs)
        return np.fromiter(map(bool, map(self.constraint.holds, *values)), np.bool_)


def _is_power_of_two(value: Value) -> bool:
    return type(value) is int and value > 0 and value & (value - 1) == 0


def _check_distinct(space: SearchSpace) -> None:
    """Raises GemmbenchError where two axes share a name or one axis lists a value twice."""
    names = [axis.name for axis in space.axes]
    if len(set(names)) < len(names):
        raise GemmbenchError(f"search space: an axis is named twice in {names}.")
    for axis in space.axes:
        if len(set(axis.values)) < len(axis.values):
            raise GemmbenchError(
                f"search space: axis {axis.name!r} lists a value twice in {list(axis.values)}."
            )


def _check_default(space: SearchSpace) -> None:
    """Raises GemmbenchError where the default has another key or a value not on its axis."""
    names = [axis.name for axis in space.axes]
    if set(space.default) - set(names):
        raise GemmbenchError(
            f"search space: the default has {sorted(set(space.default) - set(names))}, "
            f"the axes are {names}."
        )
    for axis in space.axes:
        if space.default.get(axis.name) not in axis.values:
            raise GemmbenchError(
                f"search space: default {axis.name}={space.default.get(axis.name)!r} "
                f"is not on its axis {list(axis.values)}."
            )


def space_to_data(space: SearchSpace, most: int | None = None) -> dict[str, Any]:
    """`space` as JSON-able data: its axes, its default, and its valid configs as value indices.

    Constraints are code and stay in the worker; what they leave over is what crosses the pipe,
    of more than `most` configs a random sample that holds the default.
    """
    return {
        "axes": [[axis.name, list(axis.values), axis.kind] for axis in space.axes],
        "default": dict(space.default),
        "valid": _sample(space, most).tolist(),
        "rejected": space.rejections(),
    }


def _sample(space: SearchSpace, most: int | None) -> Rows:
    rows = space.rows()
    if most is None or len(rows) <= most:
        return rows
    chosen = rows[random.Random(0).sample(range(len(rows)), most)]  # the same sample each time
    default = [axis.values.index(space.default[axis.name]) for axis in space.axes]
    if (chosen == default).all(axis=1).any():
        return chosen
    return np.concatenate([chosen, np.array([default], np.int32)])


def space_from_data(data: Mapping[str, Any]) -> SearchSpace:
    """The space that `space_to_data` wrote, its constraints replaced by what is valid."""
    axes = tuple(Axis(name, tuple(values), kind) for name, values, kind, *_ in data["axes"])
    listed = np.array(data["valid"], np.int32).reshape(-1, len(axes))
    return SearchSpace(axes, data["default"], listed=listed, left_out=data["rejected"])


def config_key(config: Config) -> ConfigKey:
    """Hashable, and equal for equal configs, whatever the order of their axes."""
    return tuple(sorted(config.items()))
