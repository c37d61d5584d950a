"""Bayesian optimisation: measure next where improvement is most to be expected.

Every valid config is known, so the expected improvement (Jones, Schonlau & Welch, Efficient
Global Optimization of Expensive Black-Box Functions, 1998, eq. 15) is computed for all that
remain, exactly and under all constraints, instead of being climbed by an optimiser that would
have to be told about both. Which choices helped is measured in docs/search.md.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from threadpoolctl import ThreadpoolController

from gemmbench.space import Config, SearchSpace
from gemmbench.tune.evidence import Source, guess
from gemmbench.tune.features import coordinates
from gemmbench.tune.listing import Listing
from gemmbench.tune.surrogate import Array, Array32, Surrogate
from gemmbench.tune.values import standardised

START = 12  # configs far from each other, before there is a model
START_POOL = 4000  # random configs that they are chosen from: the farthest of all are all corners
START_INFORMED = 8  # of them where other searches give a guess, their best included
FEW = 60  # measurements up to which the kernel is learned anew every
LEARN_EVERY = (5, 15)  # measurements, and from then on
LEARN_UNTIL = 256  # measurements; after so many the kernel is known
LEARN_FROM = 128  # measurements at most: half of them the best, the others drawn
USED = 512  # measurements that predictions rest on once there are more than
MOST_USED = 640  # of them, for time and memory: half the best, the others far from each other


class BayesianSearch:
    """Starts from the default and configs far from each other, then follows the model.

    With `sources`, earlier searches of the like, the most alike first, it starts from their best.
    The model's matrices are small: BLAS on two threads takes six times as long as on one, stalls
    for seconds, and rounds by how many there are, so that a seed would not fix the search.
    """

    def __init__(self, space: SearchSpace, seed: int, sources: Sequence[Source] = ()) -> None:
        self._blas = ThreadpoolController()
        self._listing = Listing(space)
        self._rng = np.random.default_rng(seed)
        self._coordinates = coordinates(space.axes)
        with self._blas.limit(limits=1, user_api="blas"):
            known = guess(self._listing, space.default, self._coordinates, sources)
        trend = known.trend if known else None
        self._surrogate = Surrogate(self._listing.rows, self._coordinates, trend)
        self._free = np.ones(len(self._listing), np.bool_)
        self._numbers: list[int] = []  # of the configs told, in that order
        self._seconds: list[float] = []  # NaN where it failed
        self._used: list[int] = []  # places of the measurements that predictions rest on
        self._seen = 0  # measurements that were considered for that
        self._learned = 0  # measurements when the kernel was learned last
        self._first_results = START_INFORMED if known else START
        default = self._listing.number(space.default) or 0
        self._start = [default, *known.seeds] if known else [default]
        count = len(self._listing)
        pool = self._rng.choice(count, min(count, START_POOL), replace=False)
        self._start = self._far_apart(self._start, self._first_results, pool)

    def ask(self) -> Config | None:
        """The config with the most expected improvement among those that remain."""
        if not self._free.any():
            return None
        number = self._first() if self._start else None
        if number is None:
            with self._blas.limit(limits=1, user_api="blas"):
                number = self._next()
        self._free[number] = False
        return self._listing.config(number)

    def tell(self, config: Config, seconds: float | None) -> None:
        """A result. One that is not in the space teaches nothing."""
        number = self._listing.number(config)
        if number is not None:
            self._free[number] = False
            self._numbers.append(number)
            self._seconds.append(np.nan if seconds is None else seconds)

    def _first(self) -> int | None:
        """The next of the first configs; None once there are results enough for a model."""
        while self._start and len(self._numbers) < self._first_results:
            number = self._start.pop(0)
            if self._free[number]:
                return number
        self._start = []
        return None

    def _next(self) -> int:
        remaining = np.flatnonzero(self._free)
        values = standardised(np.array(self._seconds))
        if values is None:
            return int(self._rng.choice(remaining))
        self._update(values)
        mean, deviation = self._surrogate.predict(values[self._used])
        gain = expected_improvement(mean[remaining], deviation[remaining], float(values.min()))
        return int(remaining[self._rng.choice(np.flatnonzero(gain == gain.max()))])

    def _update(self, values: Array) -> None:
        """Take the new measurements into the model, and learn its kernel when that is due."""
        done = len(self._numbers)
        self._used += range(self._seen, done)
        self._seen = done
        too_many = len(self._used) > MOST_USED
        if too_many:
            self._used = self._telling(values)
        numbers = [self._numbers[place] for place in self._used]
        due = LEARN_EVERY[done >= FEW]
        if not self._learned or (done - self._learned >= due and done <= LEARN_UNTIL):
            used = values[self._used]
            self._surrogate.fit(numbers, used, self._instructive(used))
            self._learned = done
        elif too_many:
            self._surrogate.condition(numbers)
        for number in numbers[self._surrogate.count :]:
            self._surrogate.add(number)

    def _telling(self, values: Array) -> list[int]:
        """Places of the best measurements, and of others that lie far from those and each other.

        Near the best the model has to be exact; elsewhere a sparse net shows that little is there.
        """
        numbers = np.array(self._numbers)
        order = np.argsort(values, kind="stable")
        best = order[: USED // 2]
        chosen = [int(numbers[place]) for place in best]
        kept = set(self._far_apart(chosen, USED, numbers[order[USED // 2 :]]))
        return [place for place, number in enumerate(self._numbers) if number in kept]

    def _instructive(self, values: Array) -> NDArray[np.intp]:
        """Places of the measurements that the kernel is learned from."""
        if len(values) <= LEARN_FROM:
            return np.arange(len(values))
        order = np.argsort(values, kind="stable")
        best, others = order[: LEARN_FROM // 2], order[LEARN_FROM // 2 :]
        return np.sort([*best, *self._rng.choice(others, LEARN_FROM - len(best), replace=False)])

    def _far_apart(self, first: Sequence[int], most: int, pool: NDArray[np.intp]) -> list[int]:
        """`first` and up to `most` with others of `pool`, each far from those before it."""
        chosen = list(dict.fromkeys(first))
        nearest = np.min([self._distances(pool, number) for number in chosen], axis=0)
        while len(chosen) < min(most, len(self._listing)):
            chosen.append(int(pool[nearest.argmax()]))
            nearest = np.minimum(nearest, self._distances(pool, chosen[-1]))
        return chosen

    def _distances(self, pool: Sequence[int] | NDArray[np.intp], number: int) -> Array:
        """Distance of some configs from one: the sum over axes of what size or sameness says."""
        rows = self._listing.rows
        total = np.zeros(len(pool))
        for coordinate in self._coordinates:
            if coordinate.kind in ("size", "sameness"):
                at = coordinate.axis
                total += np.sqrt(coordinate.squared[rows[pool, at], rows[number, at]])
        return total


def expected_improvement(mean: Array32, deviation: Array32, best: float) -> Array32:
    """By how much each undercuts `best` on average, counting no loss where it does not."""
    margin = (np.float32(best) - mean) / deviation
    density = np.exp(-0.5 * margin**2) / np.sqrt(2 * np.pi)
    gain: Array32 = deviation * (margin * ndtr(margin) + density)
    return gain
