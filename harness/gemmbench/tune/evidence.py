"""What earlier searches say about this one: other shapes, other machines, imported recordings.

A source may mislead, so it only seeds and informs. Its best configs, or the valid ones nearest to
them, are measured early, and its prediction for every config becomes a trend whose weight the
model learns from what is measured here; nothing is ruled out by it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gemmbench.space import Axis, Config, Value
from gemmbench.tune.features import Coordinate
from gemmbench.tune.listing import Listing
from gemmbench.tune.surrogate import Array, Surrogate
from gemmbench.tune.values import standardised

SOURCES = 3  # at most, the most alike
RESULTS = 128  # of a source at most: half of them its best
SEEDS = 5  # configs measured because the sources found them best
FEWEST = 5  # results that succeeded, below which a source says too little

Result = tuple[Config, float | None]  # seconds per call; None if it failed or was wrong
Source = Sequence[Result]


@dataclass(frozen=True, slots=True)
class Guess:
    """What the sources together say: configs to begin with, and a value for every config."""

    seeds: tuple[int, ...]
    trend: Array  # mean 0, deviation 1, low where it should be fast


def guess(
    listing: Listing, default: Config, found: Sequence[Coordinate], sources: Sequence[Source]
) -> Guess | None:
    """The guess from `sources`, the most alike first; None if they say nothing."""
    trends: list[Array] = []
    ranked: list[list[int]] = []
    for source in sources:
        if len(trends) == SOURCES:
            break
        numbers, seconds = _here(listing, default, found, _instructive(source))
        values = standardised(seconds)
        if values is None or np.isfinite(seconds).sum() < FEWEST:
            continue
        surrogate = Surrogate(listing.rows, found)
        surrogate.fit(numbers, values, np.arange(len(numbers)))
        prediction = surrogate.predict(values)[0].astype(np.float64)
        spread = float(prediction.std())
        if spread > 0:
            trends.append((prediction - prediction.mean()) / spread)
            ranked.append([numbers[at] for at in np.argsort(values, kind="stable")])
    if not trends:
        return None
    trend = np.mean(trends, axis=0)
    seeds = _in_turn(ranked)[:SEEDS]
    return Guess(tuple(seeds), trend / (float(trend.std()) or 1.0))


def _instructive(source: Source) -> Source:
    """The results to learn from: all, or the best and an even choice of the others."""
    if len(source) <= RESULTS:
        return source
    ordered = sorted(source, key=lambda result: np.inf if result[1] is None else result[1])
    best, others = ordered[: RESULTS // 2], ordered[RESULTS // 2 :]
    every = np.linspace(0, len(others) - 1, RESULTS - len(best)).astype(int)
    return [*best, *(others[at] for at in every)]


def _here(
    listing: Listing, default: Config, found: Sequence[Coordinate], source: Source
) -> tuple[list[int], Array]:
    """The configs nearest to a source's, with its seconds; the fastest where several coincide."""
    best: dict[int, float] = {}
    for config, seconds in source:
        row = _row(listing.axes, default, config)
        if row is None:
            continue
        exact = listing.find(row)
        number = _nearest(listing, found, row) if exact is None else exact
        value = np.nan if seconds is None else seconds
        best[number] = float(np.fmin(value, best.get(number, np.nan)))
    return list(best), np.array(list(best.values()), dtype=np.float64)


def _row(axes: Sequence[Axis], default: Config, config: Config) -> list[int] | None:
    """`config` on these axes: numbers become the nearest value, axes it lacks the default's.

    None where a category of it does not exist here.
    """
    row = [_place(axis, config.get(axis.name, default[axis.name])) for axis in axes]
    return None if None in row else [at for at in row if at is not None]


def _place(axis: Axis, value: Value) -> int | None:
    if value in axis.values:
        return axis.values.index(value)
    if axis.kind in ("categorical", "boolean") or isinstance(value, str):
        return None
    numbers = [v for v in axis.values if not isinstance(v, str)]
    if len(numbers) < len(axis.values):
        return None
    if value > 0 and min(numbers) > 0:
        return int(np.argmin(np.abs(np.log(np.array(numbers, np.float64) / value))))
    return int(np.argmin(np.abs(np.array(numbers, np.float64) - value)))


def _nearest(listing: Listing, found: Sequence[Coordinate], row: Sequence[int]) -> int:
    """The valid config nearest to value indices that are not valid together."""
    total = np.zeros(len(listing))
    for coordinate in found:
        if coordinate.kind in ("size", "sameness"):
            column: NDArray[np.int32] = listing.rows[:, coordinate.axis]
            total += np.sqrt(coordinate.squared[column, row[coordinate.axis]])
    return int(total.argmin())


def _in_turn(ranked: Sequence[Sequence[int]]) -> list[int]:
    """The best of each, then the second best of each, and so on, none twice."""
    turns = [
        ranking[place]
        for place in range(max(map(len, ranked)))
        for ranking in ranked
        if place < len(ranking)
    ]
    return list(dict.fromkeys(turns))
