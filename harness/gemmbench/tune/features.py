"""Where a config lies: what makes two values of an axis near, as tables of squared distances.

An axis has few values, so each notion of near is one small table, and the distance of two configs
is a weighted sum over tables. How much each counts is learned by the surrogate. Ordered values
are near in the logarithm. Integers that are not all powers of two get a second table, of their
number of trailing zero bits, because 96 behaves like 64 and 160 rather than like 95 and 97: what
matters is whether a vector, a warp or a cache line divides it. Categories are equal or not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gemmbench.space import Axis, Value

LOG_RATIO = 4.0  # largest over smallest value, from which on sizes are compared by their ratio

Table = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Coordinate:
    """One notion of near on one axis: `squared[i, j]` of values i and j, at most 1."""

    axis: int
    kind: Literal["size", "alignment", "sameness"]
    squared: Table


def coordinates(axes: Sequence[Axis]) -> list[Coordinate]:
    """The coordinates of all axes; an axis with one value has none."""
    return [
        coordinate
        for at, axis in enumerate(axes)
        if len(axis.values) > 1
        for coordinate in _of_axis(at, axis)
    ]


def _of_axis(at: int, axis: Axis) -> list[Coordinate]:
    numbers = _numbers(axis.values)
    if axis.kind in ("categorical", "boolean") or numbers is None:
        return [Coordinate(at, "sameness", 1.0 - np.eye(len(axis.values)))]
    found = [Coordinate(at, "size", _differences(_sizes(numbers)))]
    if _has_alignment(numbers):
        found.append(Coordinate(at, "alignment", _differences(trailing_zero_bits(numbers))))
    return found


def _numbers(values: Sequence[Value]) -> NDArray[np.float64] | None:
    """The values as numbers; None where one of them is text."""
    if any(isinstance(value, str) for value in values):
        return None
    return np.array(values, dtype=np.float64)


def _sizes(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """The logarithm where the values are positive and far apart, else the values themselves."""
    low, high = float(numbers.min()), float(numbers.max())
    return np.log2(numbers) if low > 0 and high / low >= LOG_RATIO else numbers


def _has_alignment(numbers: NDArray[np.float64]) -> bool:
    """Whether these are positive integers, more than two, and not all powers of two."""
    if len(numbers) < 3 or numbers.min() < 1 or np.any(numbers != np.round(numbers)):
        return False
    return bool(np.any(np.log2(numbers) != trailing_zero_bits(numbers)))


def trailing_zero_bits(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """How often 2 divides each of some positive integers."""
    integers = numbers.astype(np.int64)
    return np.log2((integers & -integers).astype(np.float64))


def _differences(places: NDArray[np.float64]) -> Table:
    """Squared differences of all pairs, scaled so that the largest is 1."""
    spread = float(np.ptp(places)) or 1.0
    scaled = places / spread
    table: Table = (scaled[:, None] - scaled[None, :]) ** 2
    return table
