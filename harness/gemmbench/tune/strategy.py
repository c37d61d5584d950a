"""Which config to measure next. A strategy sees configs and seconds, and nothing else."""

import random
from typing import Protocol

from gemmbench.space import Config, SearchSpace
from gemmbench.tune.listing import Listing


class Strategy(Protocol):
    """Proposes valid configs, each at most once, and learns what became of them.

    A config told without having been asked for counts as proposed, so that a search can be
    resumed; one that is not in the space is ignored.
    """

    def ask(self) -> Config | None:
        """The next config to measure; None when every one has been proposed."""

    def tell(self, config: Config, seconds: float | None) -> None:
        """What `config` cost a call; None if it failed or was wrong."""


class FixedOrder:
    """The default first, then all others: in the order of the space, or shuffled by `seed`."""

    def __init__(self, space: SearchSpace, seed: int | None) -> None:
        self._listing = Listing(space)
        self._queue = list(range(len(self._listing)))
        if seed is not None:
            random.Random(seed).shuffle(self._queue)
        default = self._listing.number(space.default)
        self._queue.sort(key=lambda number: number != default)
        self._queue.reverse()
        self._told: set[int | None] = set()

    def ask(self) -> Config | None:
        """The next config of the list that was not told already."""
        while self._queue:
            number = self._queue.pop()
            if number not in self._told:
                return self._listing.config(number)
        return None

    def tell(self, config: Config, seconds: float | None) -> None:
        """The order is fixed; a config that was not asked for is passed over later."""
        self._told.add(self._listing.number(config))
