"""Which config to measure next. A strategy sees configs and seconds, and nothing else."""

import random
from typing import Protocol

from gemmbench.space import Config, SearchSpace


class Strategy(Protocol):
    """Proposes valid configs, each at most once, and learns what became of them."""

    def ask(self) -> Config | None:
        """The next config to measure; None when every one has been proposed."""

    def tell(self, config: Config, seconds: float | None) -> None:
        """What `config` cost a call; None if it failed or was wrong."""


class RandomSearch:
    """The default config first, then the valid ones in random order. A baseline, and honest."""

    def __init__(self, space: SearchSpace, seed: int) -> None:
        default = dict(space.default)
        others = [config for config in space if config != default]
        random.Random(seed).shuffle(others)
        self._queue = [*reversed(others), default]

    def ask(self) -> Config | None:
        """The next config of the shuffled list."""
        return self._queue.pop() if self._queue else None

    def tell(self, config: Config, seconds: float | None) -> None:
        """Nothing: the order is fixed."""
