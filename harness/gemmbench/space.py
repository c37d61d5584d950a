"""What can be tuned: named axes, constraints between them, and a default that needs no search.

Constraints say which axes they read, so enumeration prunes a branch as soon as those are bound
and never walks the full product.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gemmbench.errors import GemmbenchError

Value = int | str | bool
Config = Mapping[str, Value]
AxisKind = Literal["ordered", "pow2", "categorical", "boolean"]


@dataclass(frozen=True, slots=True)
class Axis:
    """One knob. `ordered` values have a sense of near and far, `pow2` is near in log2."""

    name: str
    values: tuple[Value, ...]
    kind: AxisKind = "ordered"


@dataclass(frozen=True, slots=True)
class Constraint:
    """A rule over the axes it names: `holds` is called with their values, in that order."""

    name: str
    axes: tuple[str, ...]
    holds: Callable[..., bool]


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """All configs worth trying for one problem.

    Raises GemmbenchError if `default` is not one of them, or if a name or a value repeats.
    """

    axes: tuple[Axis, ...]
    default: Config
    constraints: tuple[Constraint, ...] = ()

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
        yield from self._extend({}, 0)

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
        return sum(1 for _ in self)

    def rejected_by(self, config: Config) -> str | None:
        """Name of the first constraint that `config` breaks; None if it is valid."""
        for constraint in self.constraints:
            if not constraint.holds(*(config[name] for name in constraint.axes)):
                return constraint.name
        return None

    def _extend(self, config: dict[str, Value], depth: int) -> Iterator[dict[str, Value]]:
        if depth == len(self.axes):
            yield dict(config)
            return
        axis = self.axes[depth]
        bound = {*config, axis.name}
        due = [c for c in self.constraints if axis.name in c.axes and bound.issuperset(c.axes)]
        for value in axis.values:
            config[axis.name] = value
            if all(c.holds(*(config[name] for name in c.axes)) for c in due):
                yield from self._extend(config, depth + 1)
        del config[axis.name]


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
    where = [{value: i for i, value in enumerate(axis.values)} for axis in space.axes]
    return {
        "axes": [[axis.name, list(axis.values), axis.kind] for axis in space.axes],
        "default": dict(space.default),
        "valid": [
            [where[i][config[axis.name]] for i, axis in enumerate(space.axes)]
            for config in _sample(space, most)
        ],
    }


def _sample(space: SearchSpace, most: int | None) -> list[dict[str, Value]]:
    configs = list(space)
    if most is None or len(configs) <= most:
        return configs
    chosen = random.Random(0).sample(configs, most)  # the same sample each time
    return [*chosen, *([] if space.default in chosen else [dict(space.default)])]


def space_from_data(data: Mapping[str, Any]) -> SearchSpace:
    """The space that `space_to_data` wrote, its constraints replaced by what is valid."""
    axes = tuple(Axis(name, tuple(values), kind) for name, values, kind in data["axes"])
    valid = [tuple(axes[i].values[at] for i, at in enumerate(row)) for row in data["valid"]]
    return SearchSpace(axes, data["default"], tuple(_listed(axes, valid)))


def _listed(axes: Sequence[Axis], valid: Sequence[tuple[Value, ...]]) -> Iterator[Constraint]:
    """One constraint a prefix of the axes, so that enumeration of a listed space prunes too."""
    names = tuple(axis.name for axis in axes)
    for depth in range(1, len(axes) + 1):
        prefixes = {row[:depth] for row in valid}

        def holds(*row: Value, prefixes: set[tuple[Value, ...]] = prefixes) -> bool:
            return row in prefixes

        yield Constraint("listed", names[:depth], holds)
