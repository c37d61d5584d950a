"""The strategies by name. A new one is a class with `ask` and `tell` and one line here."""

from collections.abc import Callable, Sequence

from gemmbench.errors import GemmbenchError, did_you_mean
from gemmbench.space import SearchSpace
from gemmbench.tune.bayesian import BayesianSearch
from gemmbench.tune.evidence import Source
from gemmbench.tune.genetic import GeneticSearch
from gemmbench.tune.strategy import FixedOrder, Strategy

STRATEGIES: dict[str, Callable[[SearchSpace, int, Sequence[Source]], Strategy]] = {
    "gp": BayesianSearch,
    "random": lambda space, seed, _: FixedOrder(space, seed),
    "genetic": lambda space, seed, _: GeneticSearch(space, seed),
    "exhaustive": lambda space, *_: FixedOrder(space, None),
}
DEFAULT_STRATEGY = "gp"


def check_strategy(name: str) -> None:
    """Raise GemmbenchError if there is no strategy called `name`."""
    if name not in STRATEGIES:
        raise GemmbenchError(f"--strategy: {name!r} is unknown.{did_you_mean(name, STRATEGIES)}")


def make_strategy(
    name: str, space: SearchSpace, seed: int, sources: Sequence[Source] = ()
) -> Strategy:
    """A fresh search of `space` by the strategy called `name`. Raises GemmbenchError.

    `sources` are earlier searches of the like, the most alike first; only `gp` learns from them.
    """
    check_strategy(name)
    return STRATEGIES[name](space, seed, sources)
