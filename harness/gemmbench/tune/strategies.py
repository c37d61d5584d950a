"""The strategies by name. A new one is a class with `ask` and `tell` and one line here."""

from collections.abc import Callable

from gemmbench.errors import GemmbenchError, did_you_mean
from gemmbench.space import SearchSpace
from gemmbench.tune.strategy import FixedOrder, Strategy


def _gp(space: SearchSpace, seed: int) -> Strategy:
    from gemmbench.tune.bayesian import BayesianSearch  # scipy.optimize takes a while to import

    return BayesianSearch(space, seed)


def _genetic(space: SearchSpace, seed: int) -> Strategy:
    from gemmbench.tune.genetic import GeneticSearch

    return GeneticSearch(space, seed)


STRATEGIES: dict[str, Callable[[SearchSpace, int], Strategy]] = {
    "gp": _gp,
    "random": FixedOrder,
    "genetic": _genetic,
    "exhaustive": lambda space, _: FixedOrder(space, None),
}
DEFAULT_STRATEGY = "gp"


def check_strategy(name: str) -> None:
    """Raise GemmbenchError if there is no strategy called `name`."""
    if name not in STRATEGIES:
        raise GemmbenchError(f"--strategy: {name!r} is unknown.{did_you_mean(name, STRATEGIES)}")


def make_strategy(name: str, space: SearchSpace, seed: int) -> Strategy:
    """A fresh search of `space` by the strategy called `name`. Raises GemmbenchError."""
    check_strategy(name)
    return STRATEGIES[name](space, seed)
