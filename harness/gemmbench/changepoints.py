"""Where a series of times changed its level: the energy statistic, tested by permutation.

A segment is cut where the two sides differ most, and the cut is kept if shuffled copies of the
segment seldom reach as much; both sides are then searched in turn. It finds a change of level or
of spread, and needs no assumption about their distribution but that, without a change, the order
of the values means nothing. A slow drift breaks that assumption and is reported as a step.

Source: Matteson & James, "A nonparametric approach for multiple change point analysis of
multivariate data", Journal of the American Statistical Association 109 (2014) 334-345, with the
exponent 1 and one cut a segment. The permutation test stops early: Besag & Clifford, "Sequential
Monte Carlo p-values", Biometrika 78 (1991) 301-304.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

SIGNIFICANCE = 0.01
SMALLEST_STEP = 0.01  # ln ratio; a sure change below 1 % is nothing to tell anybody
FEWEST_AFTER = 3  # values on each side of a cut, so that one odd run is no change
FEWEST = 12  # values: of 9 the rarest order has odds of 2 in binomial(9, 4), which is never sure
SHUFFLES = 1999
ENOUGH_EXCEEDED = 20  # shuffles at least as extreme, after which the cut is no longer significant

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Step:
    """A change of level: the index of the first value after it, and how sure it is."""

    index: int
    before: float  # medians of the values on either side, up to the next step
    after: float
    p_value: float


def find_steps(values: Sequence[float], seed: int = 0) -> list[Step]:
    """Steps in `values`, such as logarithms of times, in order; none in fewer than `FEWEST`.

    The same values and seed give the same steps.
    """
    series = np.asarray(values, dtype=np.float64)
    rng = np.random.default_rng(seed)
    cuts = sorted(_cuts(series, 0, len(series), rng))
    if not cuts:
        return []
    edges = [0, *(cut for cut, _ in cuts), len(series)]
    levels = [float(np.median(series[start:end])) for start, end in pairwise(edges)]
    return [
        Step(cut, before, after, p_value)
        for (cut, p_value), before, after in zip(cuts, levels[:-1], levels[1:], strict=True)
    ]


def _cuts(
    series: Matrix, start: int, end: int, rng: np.random.Generator
) -> list[tuple[int, float]]:
    """Index and p-value of every cut between `start` and `end`."""
    part = series[start:end]
    if len(part) < FEWEST:
        return []
    distances = np.abs(part[:, None] - part[None, :])
    place, height = _best_cut(distances)
    step = abs(float(np.median(part[place:]) - np.median(part[:place])))
    if step < SMALLEST_STEP:
        return []
    p_value = _p_value(distances, height, rng)
    if p_value > SIGNIFICANCE:
        return []
    cut = start + place
    return [(cut, p_value), *_cuts(series, start, cut, rng), *_cuts(series, cut, end, rng)]


def _best_cut(distances: Matrix) -> tuple[int, float]:
    """The cut with the largest scaled energy distance, and that distance.

    `distances`: (n, n), of n values to each other. With n₁ and n₂ values on the sides, the mean
    distance between them `b` and within them `w₁`, `w₂`: n₁·n₂/n · (2·b − w₁ − w₂), equation 5.
    """
    n = len(distances)
    first = np.cumsum(np.sum(np.tril(distances, -1), axis=1))  # pairs within [0, i]
    after = np.cumsum(np.sum(np.triu(distances, 1), axis=1)[::-1])[::-1]  # within [i, n)
    places = np.arange(FEWEST_AFTER, n - FEWEST_AFTER + 1)
    left, right = first[places - 1], after[places]
    between = first[-1] - left - right
    n1, n2 = places.astype(np.float64), (n - places).astype(np.float64)
    within = left / (n1 * (n1 - 1) / 2) + right / (n2 * (n2 - 1) / 2)
    heights = n1 * n2 / n * (2 * between / (n1 * n2) - within)
    best = int(np.argmax(heights))
    return int(places[best]), float(heights[best])


def _p_value(distances: Matrix, height: float, rng: np.random.Generator) -> float:
    """Share of shuffled copies whose best cut is at least as high, the series itself included."""
    exceeded = 0
    for shuffle in range(1, SHUFFLES + 1):
        order = rng.permutation(len(distances))
        exceeded += _best_cut(distances[np.ix_(order, order)])[1] >= height - 1e-12
        if exceeded == ENOUGH_EXCEEDED:
            return exceeded / shuffle
    return (1 + exceeded) / (1 + SHUFFLES)
