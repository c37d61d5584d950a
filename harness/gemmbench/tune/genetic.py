"""A genetic search: children of two of the best, changed in places, one at a time.

A steady-state scheme: there are no generations, each result may become a parent at once. It
models nothing, so it depends on no distance between configs; the Gaussian process usually needs
fewer evaluations.
"""

import numpy as np

from gemmbench.space import Config, Rows, SearchSpace
from gemmbench.tune.listing import Listing

FOUNDERS = 16  # random configs before the first child
PARENTS = 12  # of the best so far
TOURNAMENT = 3  # parents drawn, of which the best is taken
CHANGES = 1.0  # axes of a child that take a random value, on average
ATTEMPTS = 100  # children made before one that is valid and new is given up


class GeneticSearch:
    """Starts from the default, then random configs, then children of the best."""

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self._listing = Listing(space)
        self._rng = np.random.default_rng(seed)
        self._sizes = np.array([len(axis.values) for axis in space.axes])
        self._free = np.ones(len(self._listing), np.bool_)
        self._results: list[tuple[float, int]] = []  # (seconds, number), the fastest first
        self._told = 0
        self._first = self._listing.number(space.default)

    def ask(self) -> Config | None:
        """A config that was not proposed before."""
        if not self._free.any():
            return None
        number = self._next()
        self._free[number] = False
        return self._listing.config(number)

    def tell(self, config: Config, seconds: float | None) -> None:
        """A result; failures are not parents."""
        number = self._listing.number(config)
        if number is not None:
            self._told += 1
            self._free[number] = False
            if seconds is not None:
                self._results = sorted([*self._results, (seconds, number)])[:PARENTS]

    def _next(self) -> int:
        first, self._first = self._first, None
        if first is not None and self._free[first]:
            return first
        if self._told >= FOUNDERS and self._results:
            for _ in range(ATTEMPTS):
                number = self._listing.find(self._child())
                if number is not None and self._free[number]:
                    return number
        return int(self._rng.choice(np.flatnonzero(self._free)))

    def _child(self) -> Rows:
        """Each value from one of two parents, some of them changed; it may not be valid."""
        mother, father = self._parent(), self._parent()
        child = np.where(self._rng.random(len(mother)) < 0.5, mother, father)
        changed = self._rng.random(len(child)) < CHANGES / len(child)
        return np.where(changed, self._rng.integers(self._sizes), child).astype(np.int32)

    def _parent(self) -> Rows:
        places = self._rng.integers(len(self._results), size=TOURNAMENT)
        row: Rows = self._listing.rows[self._results[int(places.min())][1]]
        return row
